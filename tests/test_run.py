"""Whole runs over real files and a real Ray: the same bytes from every executor, order and resume."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import false_discovery_control

from mmg_ray import config as configuration
from mmg_ray.config import Config, ExecuteConfig
from mmg_ray.errors import ConfigError, DataError, FingerprintError, StoreError
from mmg_ray.execute import driver, task
from mmg_ray.execute.executor import open_executor
from mmg_ray.execute.outcome import Outcome
from mmg_ray.execute.progress import Tally, duration, progress, speed
from mmg_ray.execute.serial import Serial
from mmg_ray.runs import Run, open_run
from mmg_ray.schema import EDGE_COLUMNS, Receipt, Status
from mmg_ray.store import matrix
from mmg_ray.store.location import Location

N_VARIABLES, N_SAMPLES = 14, 120
CONSTANT, EMPTY = 3, 8


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One Ray for the module; runs find it initialised, use it and leave it running."""
    with open_executor(ExecuteConfig(), task_bytes=1e8):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A run of several shards that takes a moment."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_SAMPLES, N_VARIABLES))
    values[:, 1] += values[:, 0]
    values[:, CONSTANT] = 2.0
    values[:, EMPTY] = np.nan
    values[:90, 5] = np.nan
    np.save(tmp_path / "values.npy", values)
    return {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 4, "shard_s": 1.0e-9},
        "execute": {"executor": "serial"},
        "output": {"url": str(tmp_path / "run")},
    }


def config(settings: dict[str, Any], **sections: dict[str, Any]) -> Config:
    merged = {
        name: settings.get(name, {}) | sections.get(name, {}) for name in {*settings, *sections}
    }
    return configuration.from_dict(merged)


def edge_files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(run.url) / "edges").iterdir()}


def files(folder: Path) -> dict[str, int]:
    """Every file under a folder with its time of change."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize(
    "estimator",
    [
        {"denoiser": "gaussian"},
        {"denoiser": "neural", "network": {"n_steps": 30, "width": 16}},
    ],
    ids=lambda estimator: estimator["denoiser"],
)
def test_serial_and_ray_write_the_same_bytes(
    settings: dict[str, Any], tmp_path: Path, estimator: dict[str, Any]
) -> None:
    settings |= {"estimator": estimator}
    serial = driver.run(config(settings))
    on_ray = driver.run(
        config(settings, execute={"executor": "ray"}, output={"url": str(tmp_path / "on_ray")})
    )
    assert serial.manifest.n_shards > 3
    assert edge_files(serial) == edge_files(on_ray)
    np.testing.assert_array_equal(serial.matrix()[:], on_ray.matrix()[:])
    assert on_ray.status().complete
    import ray

    assert ray.is_initialized()


def test_any_order_of_shards_writes_the_same_bytes(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = edge_files(driver.run(config(settings)))

    class Backwards(Serial):
        def map(self, fn: Callable, items: Iterable) -> Iterator[Outcome]:
            return super().map(fn, list(items)[::-1])

    @contextmanager
    def backwards(cfg: ExecuteConfig, task_bytes: float) -> Iterator[Serial]:
        assert cfg.executor == "serial"
        assert task_bytes > 0
        yield Backwards()

    monkeypatch.setattr(driver, "open_executor", backwards)
    task._opened.cache_clear()
    assert edge_files(driver.run(config(settings, output={"url": str(tmp_path / "b")}))) == expected


def test_rows_follow_the_plan_and_the_schema(settings: dict[str, Any]) -> None:
    run = driver.run(config(settings))
    table = run.edge_store().table()
    assert table.column_names == [column.name for column in EDGE_COLUMNS]
    assert table.num_rows == run.manifest.n_pairs == N_VARIABLES * (N_VARIABLES - 1) // 2
    rows = table.to_pylist()
    assert len({(row["i"], row["j"]) for row in rows}) == len(rows)
    names = run.names
    assert all(row["i"] < row["j"] and row["source"] == names[row["i"]] for row in rows)
    first = next((Path(run.url) / "edges").iterdir())
    assert b"nats" in pq.read_schema(first).field("mi_nats").metadata[b"doc"]


def test_unusable_variables_give_rows_with_a_status(settings: dict[str, Any]) -> None:
    run = driver.run(config(settings, estimator={"min_samples": 40}))
    for row in run.edge_store().table().to_pylist():
        pair = {row["i"], row["j"]}
        if EMPTY in pair and CONSTANT not in pair:
            assert row["status"] == Status.ALL_MISSING
        elif CONSTANT in pair and EMPTY not in pair:
            assert row["status"] == Status.CONSTANT
        elif 5 in pair and not pair & {CONSTANT, EMPTY}:
            assert (row["status"], row["n_samples"]) == (Status.TOO_FEW_SAMPLES, 30)
        elif not pair & {CONSTANT, EMPTY, 5}:
            assert row["status"] == Status.OK
        assert (row["mi_nats"] is None) == (row["status"] != Status.OK)
        assert bool(row["message"]) == (row["status"] != Status.OK)
    assert sum(run.status().statuses.values()) == run.manifest.n_pairs
    assert run.status().pairs_not_ok == 13 + 12 + 11


def test_a_second_driver_does_not_empty_the_matrix_of_the_first(settings: dict[str, Any]) -> None:
    run = driver.run(config(settings))
    expected = run.matrix()[:]
    matrix.create(Location(run.url), run.names)  # the second begins, and dies
    np.testing.assert_array_equal(run.matrix()[:], expected)
    assert np.isfinite(expected).any()


def test_the_matrix_is_symmetric_and_equals_the_edges(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "BAND_BYTES", 4 * 12 * N_VARIABLES)  # bands of 4 rows
    assert len(matrix.bands(N_VARIABLES)) == 4
    run = driver.run(config(settings))
    for name in ("mi_nats", "se_nats"):
        expected = np.full((N_VARIABLES, N_VARIABLES), np.nan, dtype=np.float32)
        for row in run.edge_store().table().to_pylist():
            value = np.nan if row[name] is None else row[name]
            expected[row["i"], row["j"]] = expected[row["j"], row["i"]] = value
        np.testing.assert_array_equal(run.matrix(name)[:], expected)
    assert run.matrix()[0, 1] > 0.2
    with pytest.raises(StoreError, match="known: mi_nats, se_nats"):
        run.matrix("q_value")


def test_the_strongest_edges_come_first(settings: dict[str, Any]) -> None:
    run = driver.run(config(settings))
    top = run.edge_store().strongest(5).to_pylist()
    assert (top[0]["source"], top[0]["target"]) == ("v0", "v1")
    every = sorted(
        (r["mi_nats"] for r in run.edge_store().table().to_pylist() if r["mi_nats"] is not None),
        reverse=True,
    )
    assert [row["mi_nats"] for row in top] == every[:5]


def test_bipartite_and_listed_pairs(settings: dict[str, Any], tmp_path: Path) -> None:
    everything = {
        (r["i"], r["j"]): r["mi_nats"]
        for r in driver.run(config(settings)).edge_store().table().to_pylist()
    }
    (tmp_path / "sources.txt").write_text("v9\nnot_measured\n")
    (tmp_path / "pairs.csv").write_text("source,target\nv7,v2\nv0,v1\nv2,v7\n")
    expected = {
        "bipartite": {pair for pair in everything if {0, 9} & set(pair)},
        "list": {(2, 7), (0, 1)},
    }
    given = {
        "bipartite": {"sources": ["v0"], "sources_file": str(tmp_path / "sources.txt")},
        "list": {"path": str(tmp_path / "pairs.csv")},
    }
    for mode, pairs in expected.items():
        run = driver.run(
            config(
                settings,
                pairs={"mode": mode, **given[mode]},
                output={"url": str(tmp_path / mode)},
            )
        )
        found = {(r["i"], r["j"]): r["mi_nats"] for r in run.edge_store().table().to_pylist()}
        assert set(found) == pairs
        assert all(found[pair] == pytest.approx(everything[pair], abs=1e-9) for pair in pairs)
        # the list is stored: a run at a URL needs neither it nor the data
    (tmp_path / "pairs.csv").unlink()
    next((tmp_path / "list" / "edges").iterdir()).unlink()
    assert driver.run(str(tmp_path / "list")).status().complete


def test_mistakes_in_the_pairs_are_explained(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("source,target\nv0,v1\nv2,v99\n")
    (tmp_path / "self.tsv").write_text("source\ttarget\nv2\tv2\n")
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"mode": "bipartite", "sources": ["V0"]},
            ConfigError,
            "'V0' matches no variable.*did you mean 'v0'",
        ),
        ({"mode": "bipartite"}, ConfigError, "give pairs.sources or pairs.sources_file"),
        ({"sources": ["v0"]}, ConfigError, "set pairs.mode: bipartite"),
        (
            {"mode": "list", "path": str(tmp_path / "pairs.csv")},
            DataError,
            "pair 2: 'v99' is no variable.*did you",
        ),
        (
            {"mode": "list", "path": str(tmp_path / "self.tsv")},
            DataError,
            "'v2' is paired with itself",
        ),
    ]
    for pairs, error, message in cases:
        with pytest.raises(error, match=message):
            driver.run(config(settings, pairs=pairs))


def test_groups_are_variables(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("variable,group\nv0,g\nv2,g\nv4,h\nv6,h\n")
    run = driver.run(config(settings, data={"groups": str(tmp_path / "groups.csv")}))
    assert run.names[-2:] == ["g", "h"]
    row = next(
        r for r in run.edge_store().table().to_pylist() if (r["source"], r["target"]) == ("v1", "g")
    )
    assert row["mi_nats"] > 0.2
    assert row["spearman"] is None


def test_a_complete_run_is_only_opened(settings: dict[str, Any], tmp_path: Path) -> None:
    run = driver.run(config(settings))
    before = files(tmp_path)
    assert driver.run(config(settings)).status() == run.status()
    assert driver.run(run.url).status().complete
    assert files(tmp_path) == before


def test_another_configuration_is_refused_and_nothing_touched(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    run = driver.run(config(settings))
    before = files(tmp_path / "run")
    with pytest.raises(FingerprintError, match=r"estimator\.seed is 0 there and 7 here"):
        driver.run(config(settings, estimator={"seed": 7}))
    with pytest.raises(FingerprintError, match=r"plan\.tile_variables is 4 there and 5 here"):
        driver.run(run.url, ["plan.tile_variables=5"])
    values = np.load(settings["data"]["path"])
    values[0, 0] += 1
    np.save(settings["data"]["path"], values)
    with pytest.raises(FingerprintError, match="source digest"):
        driver.run(config(settings))
    assert files(tmp_path / "run") == before


def test_where_a_run_executes_is_not_part_of_it(settings: dict[str, Any], tmp_path: Path) -> None:
    run = driver.run(config(settings))
    moved = tmp_path / "moved.npy"
    Path(settings["data"]["path"]).rename(moved)
    again = driver.run(
        config(settings, data={"path": str(moved)}, execute={"max_retries": 0, "executor": "ray"})
    )
    assert again.manifest == run.manifest


def test_a_run_killed_before_its_manifest_is_prepared_anew(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver.manifest, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            driver.run(config(settings))
    with pytest.raises(StoreError, match="holds no run"):
        open_run(settings["output"]["url"])
    assert driver.run(config(settings)).status().complete


def test_plan_writes_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    before = files(tmp_path)
    summary = driver.plan_run(config(settings))
    assert files(tmp_path) == before
    assert not (tmp_path / "run").exists()
    run = driver.run(config(settings))
    m = run.manifest
    assert (summary.n_pairs, summary.n_tiles, summary.n_shards) == (
        m.n_pairs,
        m.n_tiles,
        m.n_shards,
    )
    assert summary.wall_s == summary.task_s > 0


def test_memory_is_for_serial_runs_only(settings: dict[str, Any]) -> None:
    url = "memory://test_run/run"
    assert driver.run(config(settings, output={"url": url})).status().complete
    with pytest.raises(ConfigError, match="only this process can see"):
        driver.run(config(settings, output={"url": url}, execute={"executor": "ray"}))


def test_a_place_that_cannot_be_written_is_a_clear_error(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    url = str(tmp_path / "file" / "run")
    with pytest.raises(StoreError, match=f"cannot write {url}"):
        driver.run(config(settings, output={"url": url}))


def test_a_gpu_must_be_reserved_to_be_used(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"execute\.num_gpus is 0"):
        driver.run(config(settings, execute={"executor": "ray", "device": "cuda"}))


def test_neither_a_configuration_nor_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is neither a configuration"):
        driver.run(str(tmp_path))


def test_a_cluster_that_is_not_there_is_a_clear_error() -> None:
    from mmg_ray.execute import on_ray

    with pytest.raises(ConfigError, match=r"'127\.0\.0\.1:1', but Ray cannot be reached there"):
        on_ray._connect(ExecuteConfig(address="127.0.0.1:1"))


def test_progress_off_a_terminal_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(n_shards=100, n_pairs=1000)
    tally.resume(shards=10, pairs=100, not_ok=1)
    with caplog.at_level(logging.INFO, "mmg_ray"), progress(tally, io.StringIO()) as show:
        for shard in range(10, 100):
            tally.add(Receipt(shard, n_pairs=10, n_not_ok=1))
            show()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 9
    assert lines[-1].startswith("shards 100/100, pairs 1,000/1,000")
    assert "91 without a value" in lines[-1]


def test_speed_counts_this_session_only() -> None:
    now = iter([0.0, 10.0, 10.0])
    tally = Tally(n_shards=4, n_pairs=400, clock=lambda: next(now))
    tally.resume(shards=2, pairs=200, not_ok=0)
    tally.add(Receipt(2, n_pairs=100, n_not_ok=0))
    assert tally.pairs_per_s == 10.0
    assert tally.seconds_left == 10.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.123, "0.12 s"),
        (45, "45 s"),
        (600, "10 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.8312, "0.83 pairs/s"), (6.0, "6 pairs/s"), (1480.2, "1,480 pairs/s")]
)
def test_speeds_read_well(rate: float, text: str) -> None:
    assert speed(rate) == text


class TestNetwork:
    def test_q_values_count_every_test(self, settings):
        run = driver.run(config(settings, estimator={"denoiser": "auto"}))
        edges = run.edges().dropna(subset=["p_value"])
        edges["exact"] = false_discovery_control(edges["p_value"])
        same = edges.pop("q_value")
        found = run.network().edges.merge(edges, on=["source", "target"])
        assert sorted(same) == sorted(found["q_value"])
        assert len(found) == len(edges) == 66  # 12 variables with values
        assert found["q_value"].to_numpy() == pytest.approx(found["exact"].to_numpy(), rel=2e-3)
        assert found["weight"].is_monotonic_decreasing
        kept = run.network(["fdr=0.05"])
        assert kept.table["source"].to_pylist() == ["v0"]
        assert kept.names == tuple(run.names)
        assert kept.provenance["fingerprint"] == run.manifest.fingerprint

    def test_rows_that_were_not_stored_count_too(self, settings, tmp_path):
        whole = driver.run(config(settings, estimator={"denoiser": "screen"}))
        thin = driver.run(
            config(
                settings,
                estimator={"denoiser": "screen"},
                edges={"max_p_value": 0.2, "matrix": False},
                output={"url": str(tmp_path / "thin")},
            )
        )
        all_edges, few = (run.network().edges for run in (whole, thin))
        assert 1 < len(few) < len(all_edges)
        both = few.merge(all_edges, on=["source", "target"])
        # at least: a row that is not there cannot lower a q-value
        assert (both["q_value_x"] >= both["q_value_y"] * (1 - 1e-9)).all()
        assert both["q_value_x"][0] == pytest.approx(both["q_value_y"][0], rel=2e-3)

    def test_of_sources_is_directed(self, settings):
        bipartite = {"mode": "bipartite", "sources": ["v1", "v7"]}
        run = driver.run(config(settings, pairs=bipartite))
        found = run.network()
        assert found.directed
        assert set(found.table["source"].to_pylist()) == {"v1", "v7"}

    def test_of_part_of_a_run_is_refused(self, settings):
        run = driver.run(config(settings))
        next((Path(run.url) / "edges").iterdir()).unlink()
        with pytest.raises(StoreError, match="a network is of all of them"):
            run.network()

    def test_notebooks_show_a_run(self, settings):
        assert "complete" in driver.run(config(settings))._repr_html_()
