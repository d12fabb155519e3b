"""Every start is safe: two at once, of hosts whose clocks differ, in containers, on poor file systems."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import disturbed
import numpy as np
import pytest

from mmg_ray import config
from mmg_ray.errors import DataError, Drained, StoreError
from mmg_ray.execute import driver, planning
from mmg_ray.execute.drain import Drain
from mmg_ray.execute.driver_lock import driving
from mmg_ray.store import heartbeat
from mmg_ray.store.heartbeat import State
from mmg_ray.store.location import Location
from mmg_ray.store.process import Process, Seen, this_process


def started(folder: Path, times: int, *arguments: str) -> list[list[tuple[int, str]]]:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("double_start.py"), folder, str(times), *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "arguments", [["0"], ["5", "elsewhere"], ["-5", "elsewhere"]], ids=" ".join
)
def test_of_two_starts_at_once_one_works_and_one_says_so(
    tmp_path: Path, times: int, arguments: list[str]
) -> None:
    expected = disturbed.undisturbed(tmp_path)
    found = started(tmp_path, times, *arguments)
    assert len(found) == times
    for k, ends in enumerate(found):
        codes, said = zip(*ends, strict=True)
        text = "\n".join(said)
        assert sorted(codes) in ([0, 0], [0, 2]), text
        assert "Traceback" not in text
        assert "another driver" in text or "is complete" in text, text
        worked = [log.count("assembling the matrix") for log in said]
        assert sorted(worked) == [0, 1], text
        assert disturbed.shards(str(tmp_path / str(k) / "run")) == expected


def test_the_same_pid_in_two_containers(tmp_path: Path) -> None:
    """Both are pid 1 of their own namespace, on one volume: neither takes the other for itself."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("namespaces need the program unshare and root")
    tree = disturbed.settings(tmp_path)
    (tmp_path / "slow.py").write_text(disturbed.SLOW)
    (tmp_path / "run.yaml").write_text(json.dumps(tree))
    command = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, tmp_path / "slow.py",
               tmp_path / "run.yaml", "3"]  # fmt: skip
    if subprocess.run([*command[:4], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as first:
        disturbed.wait(lambda: disturbed.shards(tree["output"]["url"]), what="a first shard")
        assert heartbeat.read(Location(tree["output"]["url"])).process.pid == 1
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert second.returncode == 2, second.stderr
        assert "another driver is at work" in second.stderr
        (tmp_path / "go").touch()
        assert first.wait(120) == 0
    assert driver.Run(tree["output"]["url"]).status().complete


def test_a_process_is_known_by_more_than_its_pid() -> None:
    here = this_process()
    assert here.seen() == Seen.AT_WORK
    assert Process(here.namespace, here.pid, "1").seen() == Seen.GONE  # the pid was used again
    assert Process(here.namespace, 2**22 + 1, here.started).seen() == Seen.GONE
    assert Process("another machine", here.pid, here.started).seen() == Seen.UNKNOWN
    child = subprocess.Popen([sys.executable, "-c", ""])
    disturbed.wait(lambda: Process(here.namespace, child.pid, "").seen() == Seen.GONE)  # a zombie
    child.wait()


def test_a_driver_that_was_replaced_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended for so long that another took over; it finds out with its next heartbeat."""
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.05)
    place, drain = Location(str(tmp_path / "run")), Drain(1.0)
    (place / "manifest.json").write_json({})

    def replaced() -> None:
        with driving(place, drain):
            assert heartbeat.claim(place, "the next", 2)
            heartbeat.drop_claims(place, 1)
            disturbed.wait(lambda: drain.requested, 10)
            raise Drained

    with pytest.raises(StoreError, match="another driver is at work"):
        replaced()
    assert heartbeat.last_claim(place).session == "the next"
    assert heartbeat.read(place).state == State.RUNNING


def test_a_claim_of_a_term_that_is_over_is_withdrawn(tmp_path: Path) -> None:
    place = Location(str(tmp_path / "run"))
    heartbeat.write(place, heartbeat.first("earlier", 3))
    assert not heartbeat.claim(place, "held up", 2)
    assert not heartbeat.claim(place, "held up", 3)
    assert heartbeat.last_claim(place) is None
    assert heartbeat.claim(place, "in time", 4)
    assert not heartbeat.claim(place, "held up", 2)
    assert heartbeat.last_claim(place).session == "in time"


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.EXDEV])
def test_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", no_links)
    place = Location(str(tmp_path / "here"))
    assert [(place / "a").create_json(k) for k in range(3)] == [True, False, False]
    assert (place / "a").read_json() == 0
    assert place.names() == ["a"]
    assert driver.run(config.from_dict(disturbed.settings(tmp_path))).status().complete
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_start_that_begins_no_run_leaves_nothing(tmp_path: Path) -> None:
    place = Location(str(tmp_path / "run"))
    began = time.monotonic()

    def fails() -> None:
        with driving(place, Drain(1.0)):
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fails()
        assert place.names() == []
    assert time.monotonic() - began < heartbeat.INTERVAL_S


def test_an_input_that_is_replaced_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, read = disturbed.settings(tmp_path), planning.read_table

    def replaced(*arguments: Any) -> Any:
        np.save(tmp_path / "values.npy", np.random.default_rng(1).normal(size=(100, 16)))
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(planning, "read_table", replaced)
        with pytest.raises(DataError, match=r"was replaced or written to.*source digest changed"):
            driver.run(config.from_dict(tree))
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert driver.run(config.from_dict(tree)).status().complete
