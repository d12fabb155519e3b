"""What `status` says of a run that is at work, dead, stopped or failing: from storage alone."""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mmg_ray import config
from mmg_ray.cli import main
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver
from mmg_ray.store import heartbeat
from mmg_ray.store.heartbeat import State
from mmg_ray.store.location import Location
from mmg_ray.store.process import Process, this_process

ELSEWHERE = Process("another machine", 1, "1")


@pytest.fixture
def place(tmp_path: Path) -> Location:
    """A run that lacks a shard."""
    np.save(tmp_path / "values.npy", np.random.default_rng(0).normal(size=(60, 10)))
    tree = {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 4, "shard_s": 1.0e-9},
        "execute": {"executor": "serial"},
        "output": {"url": str(tmp_path / "run")},
    }
    run = driver.run(config.from_dict(tree))
    files = sorted((tmp_path / "run" / "edges").iterdir())
    files[-1].unlink()
    for k, file in enumerate(files[:-1]):
        os.utime(file, (time.time() - 100 + k, time.time() - 100 + k))
    return Location(run.url)


def shown(place: Location, *options: str) -> str:
    result = CliRunner().invoke(main, ["status", place.url, *options])
    assert result.exit_code == 0
    return " ".join(result.stdout.split())


def sign(place: Location, **fields) -> None:
    heartbeat.write(place, replace(heartbeat.first("another", 1), **fields))


def test_a_run_at_work(place: Location) -> None:
    sign(place, typical_s=2.0, in_flight={"3": 50.0, "4": 3.0}, failed=1, first_error="shard 1: no")
    text = shown(place)
    assert "driver running, last shard" in text
    assert "pairs/s" in text
    assert "stragglers shard 3 (50 s); usual is 2 s" in text
    assert "failed 1 shards; first, shard 1: no" in text
    assert "go on with" not in text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"updated": 0.0, "process": ELSEWHERE}, "dead"),
        ({"process": replace(this_process(), pid=2**22 + 1)}, "dead"),
        ({"process": replace(this_process(), started="1")}, "dead"),
        ({"state": State.STOPPED}, "stopped as asked"),
        ({"state": State.FAILED}, "ended with failures"),
    ],
)
def test_a_run_that_nobody_works_on(place: Location, fields: dict, says: str) -> None:
    sign(place, **fields)
    text = shown(place, "--watch")  # ends by itself
    assert f"driver {says}" in text
    assert "go on with: mmg-ray run" in text


@pytest.mark.parametrize("hours", [-3, 0, 3])
def test_a_driver_on_a_host_with_another_clock_is_seen_at_work(
    place: Location, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.2)
    over = threading.Event()

    def beat(count: int) -> None:
        sign(place, count=count, updated=time.time() + 3600 * hours, process=ELSEWHERE)

    def work() -> None:
        for count in itertools.count(1):
            beat(count)
            if over.wait(0.1):
                return

    beat(0)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert "driver running" in shown(place)
        with pytest.raises(StoreError, match="another driver is at work"):
            driver.run(place.url)
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("hours", [-3, 0, 3])
def test_a_driver_that_is_silent_is_dead_whatever_its_clock(
    place: Location, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.1)
    monkeypatch.setattr(heartbeat, "SILENT_S", 0.5)
    sign(place, updated=time.time() + 3600 * hours, process=ELSEWHERE)
    assert "driver dead" in shown(place) or hours == 0
    assert driver.run(place.url).status().complete


def test_a_sign_that_cannot_be_read_is_none(place: Location) -> None:
    (place / heartbeat.HEARTBEAT).write_bytes(b"{")
    assert heartbeat.read(place) is None
    assert "driver not running" in shown(place)
