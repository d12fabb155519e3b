"""A run that takes over what an earlier one has: only pairs of new or changed variables are estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmg_ray import config as configuration
from mmg_ray.errors import ConfigError
from mmg_ray.execute import driver, task
from mmg_ray.plan.pairs import all_pairs, listed, source_pairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.store.run import Run


def data(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((80, 6))
    x[:, 1:3] += x[:, :1]
    return pd.DataFrame(x, columns=[f"v{k}" for k in range(6)])


def make(folder: Path, name: str, table: pd.DataFrame, *settings: str) -> Run:
    table.to_csv(folder / f"{name}.csv", index=False)
    fixed = ["execute.executor=serial", "plan.tile_variables=2", f"output.url={folder / name}"]
    text = f"data: {{path: {folder / f'{name}.csv'}}}"
    return driver.run(configuration.load(text, [*fixed, *settings]))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(tmp_path_factory.mktemp("earlier"), "first", data())


def estimated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of pairs of each call of the estimator."""
    counts: list[int] = []
    real = task.estimate_given

    def counted(variables: Any, pairs: Any, **more: Any) -> Any:
        counts.append(len(pairs))
        return real(variables, pairs, **more)

    monkeypatch.setattr(task, "estimate_given", counted)
    return counts


def test_only_new_and_changed_variables_are_estimated(
    earlier: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = data()
    table["v5"] = table["v5"] ** 2  # changed
    table["new"] = table["v0"] + np.random.default_rng(1).standard_normal(80)
    table = table[["new", "v4", "v3", "v2", "v1", "v0", "v5"]]  # the order does not matter
    counts = estimated(monkeypatch)
    whole = make(tmp_path, "whole", table)
    assert sum(counts) == 21
    counts.clear()
    found = make(tmp_path, "second", table, f"plan.reuse={earlier.url}")
    assert sum(counts) == 21 - 10  # pairs among the five that are as they were
    a, b = (run.edges() for run in (whole, found))
    assert (
        a[["i", "j", "source", "target", "status"]] == b[["i", "j", "source", "target", "status"]]
    ).all(None)
    for name in ("mi_nats", "se_nats", "mi_ij", "mi_ji", "p_value", "spearman"):
        np.testing.assert_allclose(a[name], b[name], atol=1e-4, err_msg=name)
    assert whole.network(["fdr=0.05"]).table.num_rows == found.network(["fdr=0.05"]).table.num_rows
    assert found.manifest.fingerprint != whole.manifest.fingerprint


def test_monotone_maps_are_no_change(earlier: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counts = estimated(monkeypatch)
    make(tmp_path, "maps", np.exp(data()), f"plan.reuse={earlier.url}")
    assert sum(counts) == 0


def test_other_samples_are_a_change(earlier: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counts = estimated(monkeypatch)
    make(tmp_path, "other", data(3), f"plan.reuse={earlier.url}")
    assert sum(counts) == 15


def test_another_estimator_is_refused(earlier: Run, tmp_path: Path):
    with pytest.raises(ConfigError, match="its estimator section differs"):
        make(tmp_path, "seed", data(), f"plan.reuse={earlier.url}", "estimator.seed=1")
    filtered = make(tmp_path, "filtered", data(), "edges.max_p_value=0.01")
    with pytest.raises(ConfigError, match="some of its pairs only"):
        make(tmp_path, "again", data(), f"plan.reuse={filtered.url}")


@pytest.mark.parametrize(
    "pairs",
    [
        all_pairs(11),
        source_pairs(11, np.array([7, 2, 9])),
        listed(11, np.array([[0, 5], [10, 3], [4, 5], [1, 9]])),
    ],
)
def test_the_shard_of_a_pair(pairs: Any):
    n_tiles = len(pairs.tiles(3)[0])
    plan = Plan(pairs, 3, np.unique(np.r_[0:n_tiles:2, n_tiles]))
    i, j = np.triu_indices(11, 1)
    every = np.stack([i, j], axis=1)
    found = dict(zip(map(tuple, every.tolist()), plan.shard_of(every).tolist(), strict=True))
    for shard in range(plan.n_shards):
        for tile in plan.shard_tiles(shard):
            for pair in plan.tile_pairs(tile).tolist():
                assert found[tuple(pair)] == shard
