"""Runs that a clock starts: dated, skipped when nothing changed, through Ray Jobs; their manifests."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from ray_settings import NOTICE_S
from s3_store import environment, free_port, listening

import mmg_ray
from mmg_ray.cli import main as cli
from mmg_ray.errors import RESUME
from mmg_ray.scheduled import nightly, submit
from mmg_ray.scheduled.submit import Jobs, JobsError

FOLDER = Path(nightly.__file__).parent
TOKEN = "5" * 64


@pytest.fixture
def config(tmp_path: Path) -> Path:
    np.save(tmp_path / "values.npy", np.random.default_rng(0).normal(size=(60, 8)))
    tree = {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": "gaussian"},
        "execute": {"executor": "serial"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "run.yaml"


def start(config: Path, day: str, *more: str) -> tuple[int, dict[str, Any]]:
    words = [str(config), "--base", str(config.parent / "base"), "--date", day, *more]
    with pytest.raises(SystemExit) as ended:
        nightly.main([*words, "--summary", str(config.parent / "summary.json")])
    return int(ended.value.code or 0), json.loads((config.parent / "summary.json").read_text())


def test_a_day_is_run_and_the_next_is_skipped_until_the_input_changes(config: Path) -> None:
    code, first = start(config, "2026-11-24")
    assert (code, first["state"], first["pairs_done"]) == (0, "complete", 28)
    assert mmg_ray.open_run(first["url"]).status().complete
    stored = json.loads((config.parent / "base/2026-11-24/summary.json").read_text())
    assert stored == first
    code, second = start(config, "2026-11-25")
    assert (code, second["state"], second["url"]) == (0, "skipped", first["url"])
    assert not (config.parent / "base/2026-11-25").exists()
    assert start(config, "2026-11-24")[1]["state"] == "complete"  # the same day again is harmless
    np.save(config.parent / "values.npy", np.random.default_rng(1).normal(size=(60, 8)))
    code, third = start(config, "2026-11-26")
    assert (code, third["state"]) == (0, "complete")
    assert third["fingerprint"] != first["fingerprint"]


def test_a_line_of_the_log_is_written_once(config: Path) -> None:
    said = CliRunner().invoke(cli, ["nightly", str(config), "--base", str(config.parent / "base")])
    lines = [line for line in said.stderr.splitlines() if "assembling the matrix" in line]
    assert (said.exit_code, len(lines)) == (0, 1)


def test_a_day_that_fails_says_so_to_machines(config: Path) -> None:
    code, summary = start(config, "2026-11-24", "--set", "data.variables=[none]")
    assert (code, summary["state"], summary["exit_code"]) == (2, "failed", 2)
    assert "none" in summary["message"]
    assert not (config.parent / "base/latest.json").exists()


def test_a_last_run_that_is_gone_or_damaged_is_no_reason_to_skip(config: Path) -> None:
    base = config.parent / "base"
    _, first = start(config, "2026-11-24")
    shutil.rmtree(first["url"])
    code, second = start(config, "2026-11-25")
    assert (code, second["state"]) == (0, "complete")
    next((base / "2026-11-25" / "edges").glob("*.parquet")).unlink()
    assert start(config, "2026-11-26")[1]["state"] == "complete"
    for k, damage in enumerate((b"{", b"\xff\x00", b"[]", b'{"url": 3}', b'{"fingerprint": null}')):
        (base / "latest.json").write_bytes(damage)
        assert start(config, f"2026-12-0{k + 1}")[1]["state"] == "complete"
    assert start(config, "2026-12-09")[1]["state"] == "skipped"


def test_a_changed_input_leaves_the_complete_run_of_its_date_alone(config: Path) -> None:
    _, first = start(config, "2026-11-24")
    stored = config.parent / "base/2026-11-24/summary.json"
    before = stored.read_bytes()
    np.save(config.parent / "values.npy", np.random.default_rng(1).normal(size=(60, 8)))
    code, again = start(config, "2026-11-24")
    assert (code, again["state"]) == (2, "failed")
    assert "source digest is" in again["message"]
    assert stored.read_bytes() == before
    assert json.loads((config.parent / "base/latest.json").read_text())["url"] == first["url"]


def test_ctrl_c_ends_with_130_and_a_summary(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmg_ray.execute.driver._work", interrupted)
    code, summary = start(config, "2026-11-24")
    assert (code, summary["exit_code"], summary["state"]) == (130, 130, "stopped")
    monkeypatch.undo()
    assert start(config, "2026-11-24")[1]["state"] == "complete"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, s3_store) -> Iterator[str]:
    """A Ray head on loopback with its Jobs API and a token; ended by its pid."""
    pytest.importorskip("aiohttp_cors", reason="the Jobs API needs ray[default]")
    port, dashboard = free_port(), free_port()
    env = {
        **os.environ,
        **environment(s3_store.port),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    command = [
        *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *("--node-ip-address=127.0.0.1", "--num-cpus=2", f"--object-store-memory={80 * 2**20}"),
    ]
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 90
        while not listening(dashboard):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_job_on_a_real_head_is_submitted_once_and_its_results_are_in_the_bucket(
    config: Path, head: str, s3_url: str
) -> None:
    jobs = Jobs(head, TOKEN)
    deadline = time.monotonic() + 60
    while True:  # it listens a moment before it answers
        try:
            assert jobs.find("none") is None
            break
        except JobsError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    with pytest.raises(JobsError, match="set RAY_AUTH_TOKEN"):
        Jobs(head, "wrong").find("none")
    command = [sys.executable, "-m", "mmg_ray", "nightly", str(config)]
    command += ["--base", f"{s3_url}/nightly", "--date", "2026-11-24"]
    command += ["--set", "execute.executor=ray", "--set", "execute.address=auto"]
    name = "nightly-2026-11-24"
    assert jobs.submit(name, command, {}) == (name, True)
    assert jobs.submit(name, command, {}) == (name, False)
    assert jobs.wait(name)["status"] == "SUCCEEDED", jobs.logs(name)
    assert jobs.submit(name, command, {}) == (name, False)
    summary = json.loads(jobs.logs(name).strip().splitlines()[-1])
    assert summary["state"] == "complete"
    assert mmg_ray.open_run(f"{s3_url}/nightly/2026-11-24").edge_store().table().num_rows == 28


def test_a_job_that_was_cut_short_is_started_again_under_its_id(tmp_path: Path, head: str) -> None:
    jobs, marker = Jobs(head, TOKEN), tmp_path / "marker"
    command = ["sh", "-c", f"test -e {marker} || {{ touch {marker}; exit 75; }}"]
    assert jobs.submit("cut-short", command, {}) == ("cut-short", True)
    assert submit.exit_code(jobs.wait("cut-short")) == RESUME
    assert jobs.submit("cut-short", command, {}) == ("cut-short-2", True)
    assert submit.exit_code(jobs.wait("cut-short-2")) == 0
    assert jobs.submit("cut-short", command, {}) == ("cut-short-2", False)


def test_a_cluster_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(JobsError, match="no Jobs API at"):
        Jobs(f"http://127.0.0.1:{free_port()}").find("x")


@pytest.mark.parametrize("ready", [True, False])
def test_a_head_that_no_node_has_joined_yet_is_waited_for(
    ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a head of Ray 2.56 answers in its first seconds, which a real one does too seldom to test."""
    answers: list[tuple[int, str]] = []

    class Head(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            late = ready and len(answers) == 2
            code, text = (200, "{}") if late else (500, "No available agent to submit job")
            answers.append((code, text))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(submit, "_POLL_S", 0.01)
    monkeypatch.setattr(submit, "_READY_S", 60.0 if ready else 0.05)
    with HTTPServer(("127.0.0.1", 0), Head) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        jobs = Jobs(f"http://127.0.0.1:{server.server_port}")
        if ready:
            assert jobs.submit("x", ["true"], {}) == ("x", True)
            assert [code for code, _ in answers] == [500, 500, 200]
        else:
            with pytest.raises(JobsError, match="No available agent"):
                jobs.submit("x", ["true"], {})
        server.shutdown()


def test_the_token_is_read_as_ray_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert submit.token() == ""
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert submit.token() == "abc"


# -- manifests: Kubernetes' own schemas, and of KubeRay's the fields that are used -------------------

KUBERNETES = "1.34"
# The fields of KubeRay's resources (its API reference, v1.7) that the manifests use, and their types.
# KubeRay's schemas are in no Python package. What is in `template` is Kubernetes' own.
POD, MAP, LIST = "pod", dict, list
GROUP = {"rayStartParams": MAP, "template": POD}
WORKERS = GROUP | {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
CLUSTER = {
    "rayVersion": str,
    "authOptions": {"mode": ("token",)},
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {"idleTimeoutSeconds": int},
    "headGroupSpec": GROUP,
    "workerGroupSpecs": [WORKERS],
}
JOB = {
    "entrypoint": str,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "backoffLimit": int,
    "rayClusterSpec": CLUSTER,
}


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "kubernetes" / f"{name}.yaml").read_text())


def check(tree: Any, form: Any, where: str = "spec") -> None:
    """AssertionError where a resource of KubeRay has a field that it does not know, or another type."""
    if form == POD:
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
        kubernetes_validate.validate(wrapped | {"template": tree}, KUBERNETES, strict=True)
    elif isinstance(form, dict):
        assert set(tree) <= set(form), where
        for name, value in tree.items():
            check(value, form[name], f"{where}.{name}")
    elif isinstance(form, list):
        for k, value in enumerate(tree):
            check(value, form[0], f"{where}[{k}]")
    elif isinstance(form, tuple):
        assert tree in form, where
    else:
        assert type(tree) is form, where


def pods(tree: Any) -> Iterator[dict[str, Any]]:
    """Every pod specification inside a manifest."""
    if isinstance(tree, dict):
        if "containers" in tree:
            yield tree
        for value in tree.values():
            yield from pods(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from pods(value)


def test_the_cron_job_is_valid_under_kubernetes_own_schema() -> None:
    tree = manifest("cronjob")
    assert tree["kind"] == "CronJob"
    kubernetes_validate.validate(tree, KUBERNETES, strict=True)
    assert len(tree["spec"]["schedule"].split()) == 5
    assert tree["spec"]["concurrencyPolicy"] == "Forbid"
    tree["spec"]["jobTemplate"]["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(tree, KUBERNETES, strict=True)


@pytest.mark.parametrize(("name", "kind", "form"), [("raycluster", "RayCluster", CLUSTER), ("rayjob", "RayJob", JOB)])  # fmt: skip
def test_ray_manifests(name: str, kind: str, form: dict[str, Any]) -> None:
    tree = manifest(name)
    assert (tree["apiVersion"], tree["kind"]) == ("ray.io/v1", kind)
    assert set(tree) == {"apiVersion", "kind", "metadata", "spec"}
    check(tree["spec"], form)
    cluster = tree["spec"].get("rayClusterSpec", tree["spec"])
    pinned = (Path(__file__).parents[1] / "constraints.txt").read_text()
    assert f"\nray=={cluster['rayVersion']}\n" in pinned
    assert cluster["authOptions"] == {"mode": "token"}
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"  # tasks never run beside the driver
    # the operator's submitter reaches the dashboard from another pod; a person by port-forward
    assert ("dashboard-host" in head["rayStartParams"]) == (kind == "RayCluster")
    for group in (head, *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        env = {variable["name"]: variable["value"] for variable in container["env"]}
        assert NOTICE_S.items() <= env.items()
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("name", ["raycluster", "rayjob", "cronjob"])
def test_pods_have_fixed_sizes_volumes_that_exist_and_no_secret_in_the_text(name: str) -> None:
    tree = manifest(name)
    assert re.fullmatch(r"[a-z0-9-]{1,47}", tree["metadata"]["name"])
    found = list(pods(tree))
    assert found
    for pod in found:
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            assert any("secretRef" in source for source in container["envFrom"])
            for variable in container["env"]:
                assert (
                    not re.search("TOKEN|SECRET|KEY", variable["name"]) or "valueFrom" in variable
                )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in (FOLDER / "systemd").iterdir():
        text = unit.read_text().replace("%h/mmg_ray/.venv/bin/mmg-ray", sys.executable)
        (tmp_path / unit.name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.glob("mmg-ray-nightly.*")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")


def commands() -> dict[str, list[str]]:
    """The command lines of every recipe."""
    (pod,) = pods(manifest("cronjob"))
    service = (FOLDER / "systemd/mmg-ray-nightly.service").read_text()
    return {
        "rayjob": shlex.split(manifest("rayjob")["spec"]["entrypoint"]),
        "cronjob": pod["containers"][0]["command"] + pod["containers"][0]["args"],
        "systemd": shlex.split(re.search("^ExecStart=(.*)$", service, re.MULTILINE)[1]),  # type: ignore[index]
        "cron": shlex.split(re.search(r"(\S*mmg-ray nightly .*) >>", service)[1]),  # type: ignore[index]
    }


@pytest.mark.parametrize("name", ["rayjob", "cronjob", "systemd", "cron"])
def test_the_commands_of_the_recipes_are_ones_that_exist(name: str) -> None:
    program, command, *words = commands()[name]
    assert program.endswith("mmg-ray")
    assert command == "nightly"
    context = nightly.main.make_context("nightly", words)
    assert context.params["base"] == "s3://bucket/nightly"


def test_recipes_are_written_and_never_over_edited_ones(tmp_path: Path) -> None:
    written = CliRunner().invoke(cli, ["nightly", "--recipes", str(tmp_path)])
    assert written.exit_code == 0
    files = [Path(line) for line in written.stdout.splitlines()]
    home = Path(nightly.__file__).parent
    assert {file.relative_to(tmp_path) for file in files} == {
        recipe.relative_to(home)
        for kind in ("kubernetes", "systemd")
        for recipe in (home / kind).iterdir()
    }
    assert "ExecStart=" in (tmp_path / "systemd" / "mmg-ray-nightly.service").read_text()
    assert CliRunner().invoke(cli, ["nightly", "--recipes", str(tmp_path)]).exit_code == 0
    files[0].write_text("edited")
    refused = CliRunner().invoke(cli, ["nightly", "--recipes", str(tmp_path)])
    assert refused.exit_code == 2
    assert str(files[0]) in refused.output
    assert files[0].read_text() == "edited"
