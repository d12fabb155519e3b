"""Values that are counts scaled by depth are noticed; others are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mmg_ray
from mmg_ray.config import EstimatorConfig
from mmg_ray.genomics import pbmc
from mmg_ray.store.scaled_counts import warning_of

RNG = np.random.default_rng(0)
N, V = 200, 60


def counts(mean: float) -> np.ndarray:
    """Of cells of different depths."""
    depth = RNG.lognormal(0, 0.4, (N, 1))
    return RNG.negative_binomial(2, 2 / (2 + mean * depth * RNG.lognormal(0, 1, V)))


def scaled(of: np.ndarray) -> np.ndarray:
    return of / np.maximum(of.sum(axis=1, keepdims=True), 1) * 1e4


SCALED = {
    "log-normalised": np.log1p(scaled(counts(0.5))),
    "rounded": np.round(np.log1p(scaled(counts(2.0))), 3),
    "counts per million": scaled(counts(0.2)),
    "square roots": np.sqrt(scaled(counts(1.0))),
}
OTHERS = {
    "counts": counts(1.0),
    "log of counts": np.log1p(counts(1.0)),
    "normal": RNG.standard_normal((N, V)),
    "two decimals": np.round(RNG.exponential(1.0, (N, V)), 2),
    "halves": RNG.integers(0, 9, (N, V)) / 2,
    "half precision": RNG.standard_normal((N, V)).astype(np.float16),
    "one variable many times": np.repeat(RNG.standard_normal((N, 1)), V, axis=1),
    "ranks within samples": RNG.permuted(np.tile(np.arange(V) / V, (N, 1)), axis=1),
    "mostly missing": np.where(RNG.random((N, V)) < 0.9, np.nan, RNG.standard_normal((N, V))),
    "two variables": RNG.standard_normal((N, 2)),
    "no sample": np.empty((0, 3)),
    "no variable": np.empty((5, 0)),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_counts_are_noticed(name):
    values = SCALED[name]
    assert "as of counts scaled by depth" in str(warning_of(lambda v: values[:, v], V))


@pytest.mark.parametrize("name", OTHERS)
def test_other_values_are_not(name):
    values = OTHERS[name]
    assert warning_of(lambda v: values[:, v], values.shape[1]) is None


def test_blood_cells_as_their_package_scaled_them(caplog):
    adata = pytest.importorskip("anndata").read_h5ad(pbmc.matrix()).raw.to_adata()
    some = adata[:, adata.var_names[:12]]
    mmg_ray.mi_matrix(some, denoiser="screen")  # sees no fine structure
    assert "scaled by depth" not in caplog.text
    mmg_ray.mi_matrix(some)
    assert caplog.text.count("scaled by depth") == 1


def test_a_run_says_it_before_it_begins(tmp_path, caplog):
    table = pd.DataFrame(SCALED["log-normalised"][:, :8])
    table.columns = [f"gene{k}" for k in range(8)]
    for k, fine in enumerate(("false", "true")):
        settings = [f"estimator.cascade.fine_structure={fine}", "execute.executor=serial"]
        mmg_ray.run(table, settings, url=str(tmp_path / fine))
        assert caplog.text.count("scaled by depth") == k


def test_without_fine_structure_their_lines_are_not_found():
    """What the warning is for, and that its way out is one: independent counts of one depth."""
    drawn = np.random.default_rng(1).poisson(RNG.lognormal(7, 0.5, (400, 1)) * np.full(3, 1e-3))
    depth = RNG.integers(800, 4000, 400)
    values = np.log1p(drawn / depth[:, None])
    plain = EstimatorConfig(cascade={"fine_structure": False})
    strongest = [np.nanmax(mmg_ray.mi_matrix(values, config=c).mi) for c in (None, plain)]
    assert strongest[0] > 2 * strongest[1]
