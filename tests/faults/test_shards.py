"""What goes wrong with single shards, scripted: bad pairs, damaged files, dead workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import disturbed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmg_ray import config as configuration
from mmg_ray.config import ExecuteConfig
from mmg_ray.errors import RunError, StoreError
from mmg_ray.estimator.conditional.pairs import estimate_given
from mmg_ray.execute import driver, task
from mmg_ray.execute.executor import open_executor
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.serial import Serial
from mmg_ray.execute.task import ShardTask
from mmg_ray.schema import PairEstimates, Receipt, Status, Variable
from mmg_ray.store.run import Run


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[Executor]:
    with open_executor(ExecuteConfig(max_retries=2), task_bytes=1e8) as executor:
        from ray import cloudpickle

        # workers cannot import a test module
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield executor
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(params=["serial", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Serial() if request.param == "serial" else request.getfixturevalue("ray_executor")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    values = np.random.default_rng(0).normal(size=(100, 16))
    np.save(tmp_path / "values.npy", values)
    return {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 4, "shard_s": 1.0e-9},
        "execute": {"executor": "serial"},
        "output": {"url": str(tmp_path / "run")},
    }


def run(settings: dict[str, Any], url: Path | None = None) -> Run:
    output = {"output": {"url": str(url)}} if url else {}
    return driver.run(configuration.from_dict(settings | output))


def edge_files(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(folder) / "edges").iterdir()}


def change_times(folder: str | Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (Path(folder) / "edges").iterdir()}


# -- a bad pair --------------------------------------------------------------------------------


def test_a_pair_that_breaks_the_estimator_is_one_failed_row(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {(r["i"], r["j"]): r for r in run(settings).edge_store().table().to_pylist()}

    def poisoned(
        variables: Mapping[int, Variable],
        pairs: np.ndarray,
        **more: Any,
    ) -> PairEstimates:
        if [2, 9] in pairs.tolist():
            raise ZeroDivisionError("the matrix\nis singular")
        return estimate_given(variables, pairs, **more)

    monkeypatch.setattr(task, "estimate_given", poisoned)
    found = run(settings, tmp_path / "poisoned")
    assert found.status().statuses == {"failed": 1, "ok": len(good) - 1}
    for row in found.edge_store().table().to_pylist():
        pair = row["i"], row["j"]
        if pair == (2, 9):
            assert (row["status"], row["mi_nats"], row["n_samples"]) == (Status.FAILED, None, 100)
            assert row["message"] == "ZeroDivisionError: the matrix is singular"
        else:
            assert row["mi_nats"] == pytest.approx(good[pair]["mi_nats"], abs=1e-9)
    # the shards that do not hold it are byte for byte the same
    different = edge_files(found.url).items() ^ edge_files(settings["output"]["url"]).items()
    assert len({name for name, _ in different}) == 1
    disturbed.note("poisoned pair, a row that says so", found, 0.0)


# -- damaged storage ---------------------------------------------------------------------------


def test_truncated_foreign_and_lost_shards_are_computed_again(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    done = run(settings)
    other = run(settings | {"estimator": {"denoiser": "gaussian", "seed": 1}}, tmp_path / "other")
    before, times = edge_files(done.url), change_times(done.url)
    truncated, foreign, swapped, lost, empty, *whole = sorted(before)
    folder = Path(done.url) / "edges"
    (folder / truncated).write_bytes(before[truncated][:-7])
    (folder / foreign).write_bytes(edge_files(other.url)[sorted(edge_files(other.url))[1]])
    (folder / swapped).write_bytes(before[whole[0]])
    (folder / lost).unlink()
    (folder / empty).write_bytes(b"")
    (folder / "notes.txt").write_text("not a shard")
    (folder / f"{truncated}.123.tmp").write_bytes(b"left by a killed writer")
    assert done.status().shards_done == len(whole)
    assert run(settings).status().complete
    assert {name: edge_files(done.url)[name] for name in before} == before
    assert {name: change_times(done.url)[name] for name in whole} == {n: times[n] for n in whole}


def test_damage_in_the_middle_of_a_shard_is_an_error(settings: dict[str, Any]) -> None:
    """The footer is whole, so the shard counts as done; its pages' checksums tell."""
    done = run(settings)
    shard = max((Path(done.url) / "edges").iterdir(), key=lambda path: path.stat().st_size)
    whole = bytearray(shard.read_bytes())
    whole[100:900] = bytes(800)
    shard.write_bytes(whole)
    with pytest.raises(StoreError, match="run --verify"):
        done.edges()
    again = driver.run(configuration.from_dict(settings), verify=True)
    assert again.edge_store().table().num_rows == 120


@pytest.mark.parametrize("where", [0.02, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97])
def test_a_flipped_bit_anywhere_is_noticed(settings: dict[str, Any], where: float) -> None:
    """Either the bit changes nothing that is read, or the shard is refused, and computed again."""
    done = run(settings)
    expected, before = done.edge_store().table(), edge_files(done.url)
    shard = max((Path(done.url) / "edges").iterdir(), key=lambda path: path.stat().st_size)
    for bit in range(8):
        flipped = bytearray(before[shard.name])
        flipped[int(where * len(flipped)) + bit] ^= 1 << bit
        shard.write_bytes(flipped)
        try:
            found = done.edge_store().table()
            assert found.num_rows < expected.num_rows or found == expected
        except StoreError:
            driver.run(configuration.from_dict(settings), verify=True)
            assert edge_files(done.url) == before


def test_a_shard_that_was_edited_is_refused(settings: dict[str, Any]) -> None:
    """Rewritten with a value changed, its own page checksums right: the digest of its rows tells."""
    done = run(settings)
    shard = next((Path(done.url) / "edges").iterdir())
    table = pq.read_table(shard)
    mi = table.column("mi_nats").to_numpy().copy()
    mi[0] += 1
    pq.write_table(table.set_column(5, table.schema.field(5), pa.array(mi)), shard)
    for columns in (None, ["i", "mi_nats"]):
        with pytest.raises(StoreError, match="the checksum of its rows differs"):
            done.edge_store().table(columns)
    assert done.edge_store().table(["i", "j"]).num_rows == 120


def test_a_changed_manifest_is_refused(settings: dict[str, Any]) -> None:
    done = run(settings)
    before = edge_files(done.url)
    path = Path(done.url) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"n_pairs": 120', b'"n_pairs": 121'))
    for action in (lambda: run(settings), lambda: driver.Run(done.url)):
        with pytest.raises(StoreError, match=r"its checksum differs.*delete it and run the"):
            action()
    path.unlink()  # the way out that it names
    assert run(settings).status().complete
    assert edge_files(done.url) == before


def test_a_damaged_shard_is_a_clear_error_when_read(settings: dict[str, Any]) -> None:
    done = run(settings)
    edges = done.edge_store()
    shard = next((Path(done.url) / "edges").iterdir())
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(StoreError, match="cannot read the edges"):
        edges.table()


# -- failing shards ----------------------------------------------------------------------------


def test_a_failing_shard_does_not_stop_the_others(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flaky(item: ShardTask) -> Receipt:
        if item.shard == 1:
            raise StoreError("the bucket is asleep")
        return task.run_shard(item)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "run_shard", flaky)
        with pytest.raises(
            RunError, match=r"1 of .* shards failed.*shard 1: StoreError: the bucket"
        ):
            run(settings)
    stored = driver.Run(settings["output"]["url"])
    assert stored.status().shards_done == stored.manifest.n_shards - 1
    assert not stored.status().complete
    with pytest.raises(StoreError, match="has no matrix yet"):
        stored.matrix()
    times = change_times(stored.url)
    assert run(settings).status().complete
    assert times.items() <= change_times(stored.url).items()
    assert edge_files(stored.url) == edge_files(run(settings, tmp_path / "undisturbed").url)


def test_a_run_whose_shards_all_fail_gives_up(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def broken(item: ShardTask) -> Receipt:
        tried.append(item.shard)
        raise StoreError("no space left")

    monkeypatch.setattr(driver, "run_shard", broken)
    monkeypatch.setattr(driver, "_GIVE_UP", 3)
    with pytest.raises(RunError, match="the first 3 shards all failed"):
        run(settings)
    assert tried == [0, 1, 2]


# -- executors ---------------------------------------------------------------------------------


class Item(NamedTuple):
    """An item whose n-th attempt does what the n-th word of the script says."""

    script: tuple[str, ...]
    log: str


def scripted(item: Item) -> str:
    attempts = Path(item.log)
    with attempts.open("a") as file:
        file.write("x")
    word = item.script[min(attempts.stat().st_size, len(item.script)) - 1]
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "slow":
        time.sleep(0.5)
    if word == "store error":
        raise StoreError("try again")
    if word == "error":
        raise KeyError("never again")
    return word


def test_every_item_has_one_outcome(executor: Executor, tmp_path: Path) -> None:
    scripts = [("ok",), ("error",), ("slow",), *[("ok",)] * 20]
    items = [Item(script, str(tmp_path / str(k))) for k, script in enumerate(scripts)]
    outcomes = list(executor.map(scripted, items))
    assert sorted(outcome.item for outcome in outcomes) == sorted(items)
    for outcome in outcomes:
        if outcome.item.script == ("error",):
            assert (outcome.result, outcome.error) == (None, "KeyError: 'never again'")
        else:
            assert (outcome.result, outcome.error) == (outcome.item.script[0], "")
        assert Path(outcome.item.log).stat().st_size == 1


def test_no_items_have_no_outcomes(executor: Executor) -> None:
    assert list(executor.map(scripted, [])) == []


def test_lost_workers_and_storage_errors_are_tried_again(
    ray_executor: Executor, tmp_path: Path
) -> None:
    killed = Item(("kill", "ok"), str(tmp_path / "killed"))
    asleep = Item(("store error", "store error", "ok"), str(tmp_path / "asleep"))
    cursed = Item(("kill",), str(tmp_path / "cursed"))
    found = {o.item: o for o in ray_executor.map(scripted, [killed, asleep, cursed])}
    assert (found[killed].result, found[asleep].result) == ("ok", "ok")
    assert "WorkerCrashedError" in found[cursed].error
    attempts = {item: Path(item.log).stat().st_size for item in found}
    assert attempts == {killed: 2, asleep: 3, cursed: 3}
