"""What is stored of a run: filtered runs against whole ones, and memory while a shard is filtered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmg_ray import config as configuration
from mmg_ray.config import EdgesConfig
from mmg_ray.errors import ConfigError, FingerprintError, MMGError, StoreError
from mmg_ray.execute import driver
from mmg_ray.report.figures import heat_map
from mmg_ray.schema import PairEstimate, PairEstimates, Status, Stop
from mmg_ray.store.kept import RANKINGS, KeptRows
from mmg_ray.store.run import Run

# few different values, so that ties are the rule
P_VALUES, MI_VALUES = (0.0, 1e-9, 0.01, 0.3, 0.3, None), (0.0, 0.05, 0.5)


def random_rows(rng: np.random.Generator, n: int) -> list[PairEstimate]:
    statuses = rng.choice(["ok", "ok", "ok", "constant", "failed"], n)
    return [
        PairEstimate(
            Status.OK,
            100,
            "gaussian",
            Stop.FORCED,
            mi_nats=float(rng.choice(MI_VALUES)),
            mi_posterior=(None, 0.05, 0.2)[rng.integers(3)],
            p_value=P_VALUES[rng.integers(len(P_VALUES))],
        )
        if status == "ok"
        else PairEstimate(Status(status), 100, "gaussian", message=str(status))
        for status in statuses
    ]


def expected_rows(
    cfg: EdgesConfig, rows: list[tuple[tuple[int, int], PairEstimate]]
) -> list[tuple[tuple[int, int], PairEstimate]]:
    """The rule of `KeptRows`, a row at a time over all rows at once."""
    passing = [
        (pair, e)
        for pair, e in rows
        if e.status is Status.OK
        and (cfg.max_p_value is None or e.p_value is None or e.p_value <= cfg.max_p_value)
    ]

    def significance(row: tuple[tuple[int, int], PairEstimate]) -> tuple:
        pair, e = row
        return np.inf if e.p_value is None else e.p_value, -(e.mi_nats or 0.0), pair

    by_mi = sorted(passing, key=lambda row: significance(row)[1:])[: cfg.top_k]
    by_p_value = sorted(passing, key=significance)[: cfg.top_k]

    def weight(row: tuple[tuple[int, int], PairEstimate]) -> tuple:
        _, e = row
        return -(e.mi_nats if e.mi_posterior is None else e.mi_posterior), *significance(row)[1:]

    by_posterior = sorted(passing, key=weight)[: cfg.top_k]
    stored = {pair for pair, _ in by_mi + by_p_value + by_posterior}
    return [(pair, e) for pair, e in rows if pair in stored or e.status is Status.FAILED]


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
    st.sampled_from([None, 1e-6, 0.01, 1.0]),
    st.one_of(st.none(), st.integers(1, 30)),
)
@settings(max_examples=150, deadline=None)
def test_the_rows_kept_tile_by_tile_are_those_of_the_whole(
    seed: int, tiles: list[int], max_p_value: float | None, top_k: int | None
) -> None:
    cfg = EdgesConfig(max_p_value=max_p_value, top_k=top_k)
    rng = np.random.default_rng(seed)
    kept, rows, n_failed = KeptRows(cfg), [], 0
    for n in tiles:
        estimates = random_rows(rng, n)
        pairs = np.stack([np.full(n, rng.integers(100)), len(rows) + np.arange(n)], axis=1)
        kept.add(pairs, PairEstimates.from_rows(estimates))
        rows += zip(map(tuple, pairs.tolist()), estimates, strict=True)
        n_failed += sum(e.status is Status.FAILED for e in estimates)
        if top_k is not None:  # whatever the number of rows seen
            assert kept._n_held <= 9 * (top_k + n_failed)
    pairs, found = kept.rows()
    expected = rows if not cfg.filtered else expected_rows(cfg, rows)
    assert list(zip(map(tuple, pairs.tolist()), found, strict=True)) == expected
    assert kept.n_pairs == len(rows)
    assert kept.statuses == Counter(e.status.value for _, e in rows)


def test_a_filter_holds_what_it_keeps_and_no_more() -> None:
    """A million pairs in tiles, of which few are held at any time."""
    rng = np.random.default_rng(0)
    n_tile, k = 10_000, 100
    row = PairEstimate(Status.OK, 100, "gaussian", Stop.FORCED, mi_nats=0.0, p_value=0.5)
    same = PairEstimates.from_rows([row]).take(np.zeros(n_tile, dtype=int))
    for cfg in (EdgesConfig(max_p_value=1e-4), EdgesConfig(top_k=k)):
        kept, every_p = KeptRows(cfg), []
        for tile in range(100):
            p = rng.uniform(size=n_tile)
            estimates = PairEstimates(**same.columns() | {"p_value": p, "mi_nats": -np.log(p)})
            pairs = np.stack([np.full(n_tile, tile), np.arange(n_tile) + tile + 1], axis=1)
            kept.add(pairs, estimates)
            every_p.append(p)
            assert sum(len(held) for _, held in kept._held) <= 4 * k
        p = np.sort(np.concatenate(every_p))
        expected = p[:k] if cfg.top_k else p[p <= 1e-4]
        np.testing.assert_array_equal(np.sort(kept.rows()[1].p_value), expected)
        assert kept.n_pairs == 1_000_000


# -- whole runs --------------------------------------------------------------------------------

N_VARIABLES = 20


@pytest.fixture
def settings_of(tmp_path: Path) -> Any:
    """Configurations of one table that differ in `edges`."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(150, N_VARIABLES))
    values[:, 1:6] += values[:, :1]
    values[:, 9] = 1.0
    np.save(tmp_path / "values.npy", values)

    def config(name: str, **edges: Any) -> configuration.Config:
        return configuration.from_dict(
            {
                "data": {"path": str(tmp_path / "values.npy")},
                "estimator": {"denoiser": "gaussian"},
                "plan": {"tile_variables": 4, "shard_s": 4.0e-5},
                "edges": edges,
                "execute": {"executor": "serial"},
                "output": {"url": str(tmp_path / name)},
            }
        )

    return config


def rows_of(run: Run) -> list[dict[str, Any]]:
    return run.edge_store().table().to_pylist()


def test_a_filtered_run_stores_the_same_rows_and_counts_all(settings_of: Any) -> None:
    whole = driver.run(settings_of("whole"))
    rows = rows_of(whole)
    assert whole.manifest.n_shards > 5
    assert whole.status().pairs_stored == len(rows) == whole.manifest.n_pairs

    significant = driver.run(settings_of("significant", max_p_value=0.01))
    expected = [r for r in rows if r["p_value"] is not None and r["p_value"] <= 0.01]
    assert 10 < len(expected) < 50
    assert rows_of(significant) == expected

    status = significant.status()
    assert status.complete
    assert status.statuses == whole.status().statuses == {"constant": 19, "ok": 171}
    assert (status.pairs_done, status.pairs_stored) == (190, len(expected))
    shards = (Path(significant.url) / "edges").iterdir()
    assert sum(pq.read_metadata(shard).num_rows for shard in shards) == len(expected)

    i, j = np.array([(r["i"], r["j"]) for r in expected]).T
    matrix = np.full((N_VARIABLES, N_VARIABLES), np.nan, dtype=np.float32)
    matrix[i, j] = matrix[j, i] = [r["mi_nats"] for r in expected]
    np.testing.assert_array_equal(significant.matrix()[:], matrix)


@pytest.mark.parametrize("by", RANKINGS)
def test_the_first_k_of_a_run_are_those_of_its_shards(settings_of: Any, by: str) -> None:
    whole = driver.run(settings_of("whole"))
    best = driver.run(settings_of("best", top_k=7))
    assert best.status().pairs_stored < whole.status().pairs_stored
    assert max(shard_sizes(best)) <= len(RANKINGS) * 7
    for k in (1, 4, 7):
        assert best.edge_store().strongest(k, by).equals(whole.edge_store().strongest(k, by))
    first = whole.edge_store().strongest(7, by).to_pylist()
    keys = [(r["p_value"], -r["mi_nats"]) if by == "p_value" else -r[by] for r in first]
    assert keys == sorted(keys)


def shard_sizes(run: Run) -> list[int]:
    return [pq.read_metadata(path).num_rows for path in (Path(run.url) / "edges").iterdir()]


def test_an_unknown_ranking_is_refused(settings_of: Any) -> None:
    run = driver.run(settings_of("run"))
    with pytest.raises(ConfigError, match="'gap'; known: mi_nats, mi_posterior, p_value"):
        run.strongest(3, by="gap")


def test_what_is_stored_is_part_of_a_run(settings_of: Any) -> None:
    run = driver.run(settings_of("run"))
    for edges in ({"max_p_value": 0.1}, {"top_k": 3}, {"matrix": False}):
        with pytest.raises(FingerprintError, match=rf"edges\.{next(iter(edges))} is"):
            driver.run(settings_of("run", **edges))
    assert driver.run(settings_of("run")).manifest == run.manifest


def test_a_run_without_a_matrix_is_complete_and_says_the_way_out(settings_of: Any) -> None:
    run = driver.run(settings_of("run", matrix=False))
    assert run.status().complete
    assert not run.status().matrix_done
    assert not (Path(run.url) / "matrix.zarr").exists()
    assert len(rows_of(run)) == run.manifest.n_pairs
    with pytest.raises(StoreError, match=r"edges\.matrix: false.*Run\.edges\(\)"):
        run.matrix()
    with pytest.raises(MMGError, match="has no matrix"):
        heat_map(run)
    assert driver.run(run.url).status() == run.status()  # only opened


def test_a_pair_that_failed_is_stored_whatever_the_filter(
    settings_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = driver.run_shard.__globals__["estimate_given"]

    def poisoned(variables: Any, pairs: np.ndarray, **more: Any) -> PairEstimates:
        if [3, 17] in pairs.tolist():
            raise ZeroDivisionError("singular")
        return estimate(variables, pairs, **more)

    monkeypatch.setattr("mmg_ray.execute.task.estimate_given", poisoned)
    run = driver.run(settings_of("run", max_p_value=1e-12, top_k=1))
    failed = [row for row in rows_of(run) if row["status"] != "ok"]
    assert [(row["i"], row["j"], row["status"]) for row in failed] == [(3, 17, "failed")]
    assert failed[0]["stop"] is None
