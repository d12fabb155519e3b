"""Every byte of a run is checked: nothing lost, changed or exchanged is read as if it were right."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mmg_ray import config as configuration
from mmg_ray.errors import RunError, StoreError
from mmg_ray.execute import driver, task
from mmg_ray.runs import Run, open_run
from mmg_ray.store import integrity, matrix
from mmg_ray.store.location import Location

N_VARIABLES, N_SAMPLES = 70, 40  # two chunks of codes


def configure(folder: Path, seed: int = 0) -> configuration.Config:
    """A run of several shards, with conditions, on `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(size=(N_SAMPLES, N_VARIABLES))
    values[:, 1] += values[:, 0]
    header = ",".join(f"v{k}" for k in range(N_VARIABLES))
    np.savetxt(folder / "table.csv", values, delimiter=",", header=header, comments="")
    return configuration.from_dict(
        {
            "data": {"path": str(folder / "table.csv"), "conditions": ["v69"]},
            "estimator": {"denoiser": "screen"},
            "plan": {"tile_variables": 35, "shard_s": 1.0e-9},
            "execute": {"executor": "serial"},
            "output": {"url": str(folder / "run")},
        }
    )


@contextmanager
def small_chunks() -> Iterator[None]:
    """Matrices of several bands and chunks each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "BAND_BYTES", 4 * len(matrix.MATRICES) * N_VARIABLES * 40)
        patch.setattr(matrix, "_CHUNK_COLUMNS", 40)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of two complete runs of the same shape."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with small_chunks():
        for seed, folder in enumerate(folders):
            driver.run(configure(folder, seed))
    return folders


@pytest.fixture
def run(made: tuple[Path, Path], tmp_path: Path) -> Iterator[Path]:
    """A copy of the first run; its input lies where it did."""
    shutil.copytree(made[0] / "run", tmp_path / "run")
    task._opened.cache_clear()
    with small_chunks():
        yield tmp_path / "run"


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(run)): p.read_bytes()
        for p in run.rglob("*")
        if p.is_file() and p.name != "driver.json"
    }


def again(run: Path, verify: bool = False) -> Run:
    return driver.run(str(run), ["execute.executor=serial"], verify=verify)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    assert first != second
    one.write_bytes(second)
    two.write_bytes(first)


MATRIX_DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "a chunk flipped": lambda run, _: flip(run / "matrix.zarr/mi_nats/c/0/1"),
    "a chunk deleted": lambda run, _: (run / "matrix.zarr/mi_nats/c/1/0").unlink(),
    "chunks of two arrays swapped": lambda run, _: swap(
        run / "matrix.zarr/mi_nats/c/0/0", run / "matrix.zarr/se_nats/c/0/0"
    ),
    "chunks of one array swapped": lambda run, _: swap(
        run / "matrix.zarr/mi_nats/c/0/0", run / "matrix.zarr/mi_nats/c/1/1"
    ),
    "a chunk of another run": lambda run, other: shutil.copy(
        other / "matrix.zarr/mi_nats/c/0/0", run / "matrix.zarr/mi_nats/c/0/0"
    ),
    "all of another run": lambda run, other: shutil.copytree(
        other / "matrix.zarr", run / "matrix.zarr", dirs_exist_ok=True
    ),
    "another run's, with its digests": lambda run, other: [
        shutil.copytree(other / "matrix.zarr", run / "matrix.zarr", dirs_exist_ok=True),
        shutil.copy(other / "matrix.json", run / "matrix.json"),
    ],
    "names flipped": lambda run, _: flip(run / "matrix.zarr/source/c/0"),
    "fill_value edited": lambda run, _: (run / "matrix.zarr/mi_nats/zarr.json").write_text(
        (run / "matrix.zarr/mi_nats/zarr.json").read_text().replace('"NaN"', "0.0")
    ),
    "a zarr.json deleted": lambda run, _: (run / "matrix.zarr/mi_nats/zarr.json").unlink(),
    "zarr.json of the group deleted": lambda run, _: (run / "matrix.zarr/zarr.json").unlink(),
    "matrix.zarr deleted": lambda run, _: shutil.rmtree(run / "matrix.zarr"),
    "matrix.json deleted": lambda run, _: (run / "matrix.json").unlink(),
    "matrix.json flipped": lambda run, _: flip(run / "matrix.json"),
    "matrix.json no text": lambda run, _: (run / "matrix.json").write_bytes(b"\xff\xfe"),
    "matrix.json a list": lambda run, _: (run / "matrix.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", MATRIX_DAMAGE)
def test_a_damaged_matrix_is_refused_and_assembled_again(
    run: Path, made: tuple[Path, Path], damage: str
) -> None:
    before = contents(run)
    expected = open_run(str(run)).matrix()[:]
    MATRIX_DAMAGE[damage](run, made[1] / "run")
    assert contents(run) != before
    found = open_run(str(run))
    if damage == "names flipped":
        np.testing.assert_array_equal(found.matrix()[:], expected)
    else:
        with pytest.raises(StoreError, match=r"mmg-ray run .*"):
            found.matrix()[:]
    # of the same size: only who reads it all can tell
    hidden = ("chunk" in damage and "deleted" not in damage) or damage == "names flipped"
    status = found.status()
    assert status.complete == status.matrix_done
    sizes = {path: len(data) for path, data in contents(run).items()}
    assert status.complete == (hidden and sizes == {p: len(data) for p, data in before.items()})
    done = again(run, verify=hidden)
    assert done.status().complete
    np.testing.assert_array_equal(done.matrix()[:], expected)
    assert contents(run) == before


def test_matrices_carry_checksums_for_other_readers(run: Path) -> None:
    import zarr

    flip(run / "matrix.zarr/p_value/c/0/0")
    with pytest.raises(RuntimeError, match=r"[Cc]hecksum|corrupt|error"):
        zarr.open_group(run / "matrix.zarr", mode="r")["p_value"][:]


CODES_DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "swapped": lambda run, _: swap(
        run / "prepared/codes.zarr/c/0/0", run / "prepared/codes.zarr/c/1/0"
    ),
    "another run's": lambda run, other: shutil.copytree(
        other / "prepared/codes.zarr", run / "prepared/codes.zarr", dirs_exist_ok=True
    ),
    "a chunk deleted": lambda run, _: (run / "prepared/codes.zarr/c/1/0").unlink(),
    "condition deleted": lambda run, _: (run / "prepared/condition.parquet").unlink(),
    "condition flipped": lambda run, _: flip(run / "prepared/condition.parquet"),
    "variables flipped": lambda run, _: flip(run / "prepared/variables.parquet"),
    "plan flipped": lambda run, _: flip(run / "plan.npz"),
    "plan deleted": lambda run, _: (run / "plan.npz").unlink(),
    "prepared deleted": lambda run, _: shutil.rmtree(run / "prepared"),
}


@pytest.mark.parametrize("damage", CODES_DAMAGE)
def test_damaged_codes_never_make_an_edge(run: Path, made: tuple[Path, Path], damage: str) -> None:
    before = contents(run)
    CODES_DAMAGE[damage](run, made[1] / "run")
    for shard in (run / "edges").iterdir():
        shard.unlink()
    if damage in ("swapped", "another run's"):
        shard = task.ShardTask(str(run), open_run(str(run)).manifest.fingerprint, 1, "cpu")
        with pytest.raises(StoreError, match=r"codes\.zarr/c/\d/0 is not what the run wrote"):
            task.run_shard(shard)
    done = again(run)
    assert done.status().complete
    assert contents(run) == before


def test_a_chunk_of_codes_with_a_flipped_bit_fails_its_shards_until_it_is_verified(
    run: Path,
) -> None:
    """Its size is right, so only a worker that reads it can tell."""
    before = contents(run)
    flip(run / "prepared/codes.zarr/c/1/0")
    for shard in (run / "edges").iterdir():
        shard.unlink()
    with pytest.raises(RunError, match=r"codes\.zarr/c/1/0 is not what the run wrote.*--verify"):
        again(run)
    assert contents(run).items() & before.items() == contents(run).items() - {
        ("prepared/codes.zarr/c/1/0", (run / "prepared/codes.zarr/c/1/0").read_bytes())
    }
    assert again(run, verify=True).status().complete
    assert contents(run) == before


def test_an_edited_fill_value_hides_no_lost_chunk(run: Path) -> None:
    metadata = run / "prepared/codes.zarr/zarr.json"
    metadata.write_text(metadata.read_text().replace('"fill_value": -2', '"fill_value": 0'))
    (run / "prepared/codes.zarr/c/0/0").unlink()
    with pytest.raises(StoreError, match=r"zarr\.json is not what the run wrote"):
        open_run(str(run)).variables()
    assert not open_run(str(run)).status().complete


def test_what_cannot_be_prepared_again_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    done = driver.run(configure(folder))
    (folder / "table.csv").unlink()
    (Path(done.url) / "prepared/codes.zarr/c/0/0").unlink()
    task._opened.cache_clear()
    before = contents(Path(done.url))
    with pytest.raises(StoreError, match=r"c/0/0 is lost.*cannot be made again.*table\.csv"):
        again(Path(done.url))
    assert contents(Path(done.url)) == before
    np.save(folder / "other.npy", np.zeros((3, 3)))
    (folder / "other.npy").rename(folder / "table.csv")
    with pytest.raises(StoreError, match=r"cannot be made again.*source digest"):
        again(Path(done.url))
    assert (
        open_run(done.url).edge_store().table().num_rows == done.manifest.n_pairs
    )  # nothing else is lost


def test_readers_refuse_a_damaged_shard_and_say_what_is_missing(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    n_rows = open_run(str(run)).edge_store().table().num_rows
    lost, truncated, *_ = sorted((run / "edges").iterdir())
    lost.unlink()
    found = open_run(str(run))
    assert not caplog.text
    assert found.edge_store().table().num_rows < n_rows
    assert "lacks 1 of its 3 shards" in caplog.text
    with pytest.raises(StoreError, match="2 of 3 shards"):
        found.network()
    truncated.write_bytes(truncated.read_bytes()[:-9])
    for read in (found.edges, lambda: found.strongest(3), found.network, found.n_tests):
        with pytest.raises(StoreError, match=rf"first edges/{truncated.name}.*--verify"):
            read()
    status = found.status()
    assert (status.shards_done, status.complete) == (1, False)
    assert status.damaged == (f"edges/{truncated.name} is damaged",)
    assert again(run).edge_store().table().num_rows == n_rows


def test_the_manifest_of_another_run_changes_nothing(run: Path, made: tuple[Path, Path]) -> None:
    before = contents(run)
    shutil.copy(made[1] / "run/manifest.json", run / "manifest.json")
    found = open_run(str(run))
    for action in (found.status, found.edges, found.network, lambda: again(run)):
        with pytest.raises(StoreError, match=r"holds shards of run .* its manifest is of run"):
            action()
    (run / "manifest.json").write_bytes(before["manifest.json"])
    assert contents(run) == before
    assert open_run(str(run)).status().complete


def test_a_matrix_of_other_shards_does_not_count(run: Path) -> None:
    """Shards computed again on another machine may differ in their last bits."""
    place, found = Location(str(run)), open_run(str(run)).manifest
    there = matrix.written(place, found.fingerprint)
    assert there is not None
    matrix.finish(place, found.fingerprint, matrix.made_of({0: "another"}), there)
    assert not open_run(str(run)).status().complete
    assert again(run).status().complete


def test_files_of_a_job_are_covered(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, found = Location(str(run)), open_run(str(run)).manifest
    paths = ["genomics.json", "network/network.csv"]
    for path in paths:
        (place / path).write_bytes(b"one" * 50)
    integrity.record_files(place, found.fingerprint, paths)
    assert open_run(str(run)).status().complete
    for path in paths:
        flip(run / path)
        status = open_run(str(run)).status()
        assert not status.complete
        assert status.damaged[0].startswith(f"{path} is not what the run wrote")
        again(run)
        assert f"{path} is not what the run wrote" in caplog.text
        flip(run / path)
    (run / paths[1]).unlink()
    assert open_run(str(run)).status().damaged == ("network/network.csv is lost",)
    integrity.forget_files(place)  # the job begins again
    assert open_run(str(run)).status().complete
    (run / "files.json").unlink()
    assert "files.json is lost" in open_run(str(run)).status().damaged[0]


def test_verify_reads_all_and_leaves_a_whole_run_as_it_is(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = contents(run)
    with caplog.at_level("INFO", "mmg_ray"):
        assert again(run, verify=True).status().complete
    assert contents(run) == before
    n_others = sum(not p.startswith(("edges/", "environments/")) for p in before)
    n_others -= len({"manifest.json"})
    assert f"{n_others - 1} other objects were read, 0 are" in caplog.text


def test_a_damaged_record_of_a_machine_stops_nobody(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = next((run / "environments").iterdir())
    for data in (record.read_bytes().replace(b"3", b"4"), b"[1]", b"\xff"):
        record.write_bytes(data)
        next((run / "edges").iterdir()).unlink()
        assert again(run).status().complete
        assert f"{record.name} is damaged" in caplog.text
        caplog.clear()
