"""What `status` says of a run that is at work, dead, stopped or failing: from storage alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mmg_ray import config
from mmg_ray.cli import main
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver
from mmg_ray.store import pulse
from mmg_ray.store.location import Location
from mmg_ray.store.pulse import Pulse, State


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
    pulse.write(place, Pulse(**{**vars(pulse.new("another")), "pid": os.getppid(), **fields}))


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
        ({"updated": time.time() - 1000}, "dead"),
        ({"pid": 2**22 + 1}, "dead"),
        ({"state": State.STOPPED}, "stopped as asked"),
        ({"state": State.FAILED}, "ended with failures"),
    ],
)
def test_a_run_that_nobody_works_on(place: Location, fields: dict, says: str) -> None:
    sign(place, **fields)
    text = shown(place, "--watch")  # ends by itself
    assert f"driver {says}" in text
    assert "go on with: mmg-ray run" in text


def test_a_driver_that_is_at_work_keeps_the_run(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "INTERVAL_S", 0.05)
    sign(place)
    read, beats = pulse.read, []

    def beating(run: Location) -> Pulse | None:
        beats.append(0)
        sign(place, updated=time.time() + 0.001 * len(beats))
        return read(run)

    monkeypatch.setattr(pulse, "read", beating)
    with pytest.raises(StoreError, match="another driver is at work"):
        driver.run(place.url)


def test_a_sign_that_cannot_be_read_is_none(place: Location) -> None:
    (place / pulse.PULSE).write_bytes(b"{")
    assert pulse.read(place) is None
    assert "driver not running" in shown(place)
