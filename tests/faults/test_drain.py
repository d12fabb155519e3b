"""Stopping as asked: SIGTERM and --stop-after end with 75, and the next start goes on."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import disturbed
import pytest

from mmg_ray import config
from mmg_ray.errors import RESUME, ConfigError, Drained
from mmg_ray.execute import driver, task
from mmg_ray.execute.drain import Abandoned, seconds
from mmg_ray.store import heartbeat
from mmg_ray.store.heartbeat import State
from mmg_ray.store.location import Location


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_sigterm_finishes_what_is_under_way_and_the_next_start_goes_on(
    tmp_path: Path, executor: str
) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, executor=executor)
    url = tree["output"]["url"]
    process = disturbed.start(tmp_path, tree, seconds=0.5)
    disturbed.wait_for_shards(process, url, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == RESUME
    said = (tmp_path / "driver.log").read_text()
    assert "the same command goes on" in said
    assert not re.search(r"Traceback|\*\*\* SIGTERM|stack trace", said, re.IGNORECASE), said
    assert len(disturbed.shards(url)) < 10
    assert heartbeat.read(Location(url)).state == State.STOPPED
    began = time.monotonic()
    driver.run(config.from_dict(disturbed.settings(tmp_path)))
    disturbed.survived(f"SIGTERM, {executor}", url, expected, time.monotonic() - began)


def test_what_does_not_finish_in_time_is_abandoned(tmp_path: Path) -> None:
    expected = disturbed.undisturbed(tmp_path)
    tree = disturbed.settings(tmp_path, drain_s=0.2)
    process = disturbed.start(tmp_path, tree, seconds=30.0, arguments=("--stop-after", "3s"))
    began = time.monotonic()
    assert process.wait(25) == RESUME
    assert time.monotonic() - began < 20
    assert disturbed.shards(tree["output"]["url"]) == {}
    began = time.monotonic()
    driver.run(config.from_dict(disturbed.settings(tmp_path)))
    disturbed.survived("wall time over", tree["output"]["url"], expected, time.monotonic() - began)


def test_a_time_limit_stops_a_run_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(item: task.ShardTask):
        time.sleep(0.2)
        return task.run_shard(item)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(driver, "run_shard", slow)
    with pytest.raises(Drained, match="the same command goes on"):
        driver.run(config.from_dict(disturbed.settings(tmp_path)), stop_after_s=0.5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert 0 < len(disturbed.shards(str(tmp_path / "run"))) < 10


@pytest.mark.parametrize("becomes", [KeyboardInterrupt, SystemError])
def test_abandoned_inside_of_ray_is_stopped_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: type[BaseException]
) -> None:
    """What a signal raises in Ray's compiled code comes out as another exception."""

    def waits(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        try:
            time.sleep(10)
        except Abandoned as error:
            raise becomes("returned a result with an exception set") from error

    monkeypatch.setattr(driver, "_work", waits)
    cfg = config.from_dict(disturbed.settings(tmp_path, drain_s=0.1))
    with pytest.raises(Drained, match="the same command goes on"):
        driver.run(cfg)
    assert heartbeat.read(Location(cfg.output.url)).state == State.STOPPED

    def fails(*_: object) -> None:
        raise becomes("of its own")

    monkeypatch.setattr(driver, "_work", fails)
    with pytest.raises(becomes, match="of its own"):
        driver.run(cfg)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2 d", 172800), ("1.5h", 5400)],
)
def test_lengths_of_time(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "3 weeks", "0", "-3s", "1h x"])
def test_what_is_no_length_of_time_is_said_so(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write 90|at least a second"):
        seconds(text)
