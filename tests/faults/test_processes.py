"""Processes that die: a task's worker, a node, the driver, and a node that cannot be reached."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import disturbed
import pytest
from ray_settings import NOTICE_S
from s3_store import free_port

from mmg_ray import config
from mmg_ray.execute import driver

CLUSTER_ENV = {
    **NOTICE_S,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0" * 64,
}


def workers_of(pid: int) -> list[int]:
    """Processes below `pid` that run a shard, by Ray's title of them."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        with contextlib.suppress(OSError):
            if above == pid and b"ray::slow_shard" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def test_kill_9_of_a_worker(tmp_path: Path) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, executor="ray")
    process = disturbed.start(tmp_path, tree, seconds=0.5)
    disturbed.wait_for_shards(process, tree["output"]["url"], 2)
    disturbed.wait(lambda: workers_of(process.pid), what="a worker at work")
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(120) == 0
    disturbed.survived(
        "kill -9 of a worker", tree["output"]["url"], expected, time.monotonic() - began
    )


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_kill_9_of_the_driver(tmp_path: Path, executor: str) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, executor=executor)
    url = tree["output"]["url"]
    process = disturbed.start(tmp_path, tree)
    disturbed.wait_for_shards(process, url, 2)
    process.kill()
    process.wait()
    time.sleep(1.0)  # a worker may still be writing when its driver dies
    folder = Path(url) / "edges"
    before = {name: (folder / name).stat().st_mtime_ns for name in disturbed.names(url)}
    assert 2 <= len(before) < 10
    began = time.monotonic()
    driver.run(config.from_dict(disturbed.settings(tmp_path)))
    disturbed.survived(
        f"kill -9 of the driver, {executor}", url, expected, time.monotonic() - began
    )
    after = {name: (folder / name).stat().st_mtime_ns for name in before}
    assert after == before  # finished work was not repeated


@pytest.fixture
def cluster() -> Iterator[dict]:
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("cluster.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **CLUSTER_ENV},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        told = json.loads(process.stdout.readline())
        yield told | {"asks": process.stdin, "says": process.stdout}
        process.stdin.close()
        process.wait(60)


def test_kill_9_of_a_raylet(tmp_path: Path, cluster: dict) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, executor="ray", address=cluster["address"])
    process = disturbed.start(tmp_path, tree, seconds=1.0, **CLUSTER_ENV)
    disturbed.wait_for_shards(process, tree["output"]["url"], 2)
    os.kill(cluster["raylets"][0], signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(150) == 0, (tmp_path / "driver.log").read_text()
    disturbed.survived(
        "kill -9 of a raylet", tree["output"]["url"], expected, time.monotonic() - began
    )


@pytest.mark.full
def test_every_node_leaves_and_another_comes(tmp_path: Path, cluster: dict) -> None:
    """As spot instances do: for a while the cluster has no room for a single task."""
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, executor="ray", address=cluster["address"])
    url = tree["output"]["url"]
    process = disturbed.start(tmp_path, tree, seconds=1.0, **CLUSTER_ENV)
    disturbed.wait_for_shards(process, url, 2)
    for raylet in cluster["raylets"]:
        os.kill(raylet, signal.SIGKILL)
    time.sleep(10)
    assert process.poll() is None, (tmp_path / "driver.log").read_text()
    assert len(disturbed.names(url)) < 10
    began = time.monotonic()
    cluster["asks"].write(b"\n")
    cluster["asks"].flush()
    assert json.loads(cluster["says"].readline())
    assert process.wait(150) == 0, (tmp_path / "driver.log").read_text()
    disturbed.survived("every node leaves, another comes", url, expected, time.monotonic() - began)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: 10.77.5.1 and 10.77.5.2."""
    names = (f"mmg-a-{os.getpid()}", f"mmg-b-{os.getpid()}")
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need the program ip and root")
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip(
            "link",
            "add",
            "veth",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "veth",
            "netns",
            names[1],
        )
        for k, name in enumerate(names, start=1):
            _ip("-n", name, "addr", "add", f"10.77.5.{k}/24", "dev", "veth")
            for device in ("veth", "lo"):
                _ip("-n", name, "link", "set", device, "up")
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    yield names
    for name in names:
        _ip("netns", "del", name)


@pytest.mark.full
def test_a_cut_link_between_two_hosts(tmp_path: Path, hosts: tuple[str, str]) -> None:
    expected = disturbed.undisturbed(tmp_path)
    ray, port = str(Path(sys.executable).with_name("ray")), free_port()
    head = f"10.77.5.1:{port}"
    common = [
        "--block",
        "--num-cpus=1",
        f"--memory={2 * 2**30}",
        f"--object-store-memory={80 * 2**20}",
    ]
    starts = [
        ["--head", f"--port={port}", "--node-ip-address=10.77.5.1", "--include-dashboard=false"],
        [f"--address={head}", "--node-ip-address=10.77.5.2"],
    ]
    env = {**os.environ, **CLUSTER_ENV}
    nodes = []
    try:
        for name, words in zip(hosts, starts, strict=True):
            command = ["ip", "netns", "exec", name, ray, "start", *words, *common]
            with (tmp_path / "nodes.log").open("a") as log:
                nodes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
            time.sleep(12)
        tree = disturbed.settings(tmp_path, executor="ray", address=head)
        (tmp_path / "slow.py").write_text(disturbed.SLOW)
        (tmp_path / "run.yaml").write_text(json.dumps(tree))
        with (tmp_path / "driver.log").open("a") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", hosts[0], sys.executable, tmp_path / "slow.py",
                 tmp_path / "run.yaml", "1.5"],
                cwd=tmp_path, env=env, stdout=log, stderr=log,
            )  # fmt: skip
        disturbed.wait_for_shards(process, tree["output"]["url"], 3)
        _ip("-n", hosts[0], "link", "set", "veth", "down")
        began = time.monotonic()
        assert process.wait(300) == 0, (tmp_path / "driver.log").read_text()
        disturbed.survived(
            "cut link between hosts", tree["output"]["url"], expected, time.monotonic() - began
        )
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(15)
            node.kill()
