"""The store fails: killed, misbehaving, full; and shards that arrive twice."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import time
from pathlib import Path

import disturbed
import fsspec
import pytest
from fault_proxy import FAULTS, FaultProxy

from mmg_ray import config
from mmg_ray.errors import MMGError
from mmg_ray.execute import driver, task


def recover(tree: dict, tries: int = 6) -> None:
    """Start again until it is complete, as a schedule would."""
    for attempt in range(tries):
        try:
            driver.run(config.from_dict(tree))
        except MMGError:
            if attempt + 1 == tries:
                raise
        else:
            return


def test_the_store_is_killed_and_comes_back(tmp_path: Path, s3_store, s3_url: str) -> None:
    expected = disturbed.undisturbed(tmp_path)
    url = f"{s3_url}/killed-store"
    tree = disturbed.settings(tmp_path, url)
    process = disturbed.start(tmp_path, tree, seconds=0.4)
    disturbed.wait_for_shards(process, url, 2)
    s3_store.kill()
    time.sleep(0.5)
    began = time.monotonic()
    s3_store.start()
    assert process.wait(120) in (0, 1, 2)
    recover(tree)
    disturbed.survived("kill -9 of the store", url, expected, time.monotonic() - began)


@pytest.mark.parametrize(
    "faults", [FAULTS, *(pytest.param((f,), marks=pytest.mark.full) for f in FAULTS)], ids=", ".join
)
def test_a_store_that_misbehaves(
    tmp_path: Path, s3_store, s3_url: str, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]
) -> None:
    expected = disturbed.undisturbed(tmp_path)
    proxy = FaultProxy(s3_store.port, every=6, faults=faults)
    url = f"{s3_url}/faulty-{'-'.join(faults).replace(' ', '_')}"
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        patch.setitem(
            fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 1, "connect_timeout": 1}}
        )
        fsspec.filesystem("s3").clear_instance_cache()
        began = time.monotonic()
        tree = disturbed.settings(tmp_path, url)
        recover(tree)
        took = time.monotonic() - began
    fsspec.filesystem("s3").clear_instance_cache()
    proxy.close()
    assert all(proxy.met.values()), proxy.met
    disturbed.survived(f"store: {', '.join(faults)}", url, expected, took)


def test_a_full_disk(tmp_path: Path) -> None:
    expected = disturbed.undisturbed(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.decode().strip()}")
    try:
        url = str(disk / "run")
        tree = disturbed.settings(tmp_path, url)
        process = disturbed.start(tmp_path, tree, seconds=0.2)
        disturbed.wait_for_shards(process, url, 2)
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        assert process.wait(60) in (1, 2)
        assert "No space left on device" in (tmp_path / "driver.log").read_text()
        (disk / "ballast").unlink()
        began = time.monotonic()
        recover(tree)
        disturbed.survived("full disk", url, expected, time.monotonic() - began)
        assert not list(disk.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """A quota, where no disk can be made: every shard is refused by the system."""
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(MMGError, match="too large"):
            driver.run(config.from_dict(tree))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    began = time.monotonic()
    recover(tree)
    disturbed.survived("quota", tree["output"]["url"], expected, time.monotonic() - began)


def test_a_shard_that_is_delivered_twice(tmp_path: Path) -> None:
    expected = disturbed.undisturbed(tmp_path)
    run = driver.run(config.from_dict(disturbed.settings(tmp_path)))
    began = time.monotonic()
    for shard in (0, 3, 3):
        task.run_shard(task.ShardTask(run.url, run.manifest.fingerprint, shard, "cpu"))
    disturbed.survived("shard delivered twice", run.url, expected, time.monotonic() - began)


def test_two_drivers_on_one_url(tmp_path: Path) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path)
    first = disturbed.start(tmp_path, tree, seconds=1.5)
    disturbed.wait_for_shards(first, tree["output"]["url"], 1)
    second = disturbed.start(tmp_path, tree, seconds=1.5)
    assert second.wait(60) == 2
    assert "another driver is at work" in (tmp_path / "driver.log").read_text()
    assert first.wait(60) == 0
    assert json.loads((tmp_path / "run" / "driver.json").read_text())["state"] == "complete"
    disturbed.survived("two drivers on one URL", tree["output"]["url"], expected, 0.0)
