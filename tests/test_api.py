"""The public functions on arrays: shapes, symmetry, bad input, agreement with each other."""

import anndata
import numpy as np
import pandas as pd
import pytest

import mmg_ray
from mmg_ray import config
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.errors import ConfigError, DataError

FAST = EstimatorConfig(network=NetworkConfig(n_steps=200))


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 5))
    values[:, 1] = values[:, 0] ** 2 + 0.5 * values[:, 1]
    values[:, 3] = 1.0
    values[::4, 4] = np.nan
    return pd.DataFrame(values, columns=list("abcde"))


def test_estimate_mi_is_symmetric_and_repeatable(table):
    forward = mmg_ray.estimate_mi(table["a"], table["b"], config=FAST)
    backward = mmg_ray.estimate_mi(table["b"].to_numpy(), list(table["a"]), config=FAST)
    assert forward.mi_nats == pytest.approx(backward.mi_nats, abs=1e-4)
    assert (forward.mi_ij, forward.mi_ji) == pytest.approx((backward.mi_ji, backward.mi_ij), 1e-3)
    assert forward == mmg_ray.estimate_mi(table["a"], table["b"], config=FAST)
    assert 0.4 < forward.mi_nats < 1.0  # the linear term alone is below .01


def test_matrix_holds_every_pair_and_no_silent_nan(table):
    m = mmg_ray.mi_matrix(table, denoiser="gaussian")
    assert m.names == list("abcde")
    np.testing.assert_array_equal(m.mi, m.mi.T)
    assert list(m.mi.index) == list(m.mi.columns) == m.names
    assert m.mi.loc["d"].isna().all()
    assert m.estimates[0, 3].status is mmg_ray.Status.CONSTANT
    assert m.estimates[0, 4].n_samples == 300
    assert repr(m) == "MIMatrix(5 variables, 6 of 10 pairs ok)"
    edges = m.edges()
    assert len(edges) == 10
    assert edges.loc[edges.status == "constant", "mi_nats"].isna().all()
    row = edges[(edges.source == "a") & (edges.target == "b")].iloc[0]
    assert row.mi_nats == m.mi.loc["a", "b"]
    assert row.se_nats == m.se.loc["b", "a"]
    assert row.p_value == m.p_value.loc["a", "b"] == m.p_value.loc["b", "a"]
    assert row.stop == mmg_ray.Stop.FORCED


def test_the_network_of_a_matrix_is_that_of_a_run(tmp_path, table):
    """In memory and stored: the same edges, q-values and steps; the one note of difference is where from."""
    table.to_csv(tmp_path / "t.csv", index=False)
    cfg = config.from_dict(
        {
            "data": {"path": str(tmp_path / "t.csv")},
            "estimator": {"denoiser": "screen"},
            "execute": {"executor": "serial"},
            "output": {"url": str(tmp_path / "run")},
        }
    )
    run = mmg_ray.run(cfg)
    m = mmg_ray.mi_matrix(table, denoiser="screen")
    pd.testing.assert_frame_equal(m.edges(), run.edges())
    pd.testing.assert_frame_equal(m.variables(), run.variables())
    for by in ("mi_nats", "mi_posterior", "p_value"):
        pd.testing.assert_frame_equal(m.strongest(3, by), run.strongest(3, by))
    expected = m.network().edges.set_index(["source", "target"]).q_value
    q = m.edges().dropna(subset="mi_nats").set_index(["source", "target"]).q_value
    pd.testing.assert_series_equal(q.sort_index(), expected.sort_index())
    for steps in ((), ("fdr=0.5",), ("mi=0.01", "clr"), ("dpi=0.1",)):
        assert m.network(steps).table.equals(run.network(steps).table), steps
    assert m.network(["fdr=0.05"]).provenance["steps"] == ["fdr=0.05"]
    with pytest.raises(mmg_ray.MMGError, match="no network step"):
        m.network(["fdd=0.05"])
    pd.testing.assert_frame_equal(m.to_frame(), run.to_frame(), check_dtype=False)
    np.testing.assert_array_equal(m.matrix().astype(np.float32), run.matrix()[:])
    frame = m.to_frame("spearman")
    assert frame.loc["a", "b"] == frame.loc["b", "a"] == run.edges().spearman[0]
    adata = anndata.AnnData(table.to_numpy(), var=pd.DataFrame(index=list(table.columns)))
    stored = run.to_anndata(adata.copy(), ["fdr=0.5"]).varp["mmg_ray_mi_nats"]
    assert (m.to_anndata(adata, ["fdr=0.5"]).varp["mmg_ray_mi_nats"] != stored).nnz == 0


def test_estimates_are_found_by_pair(table):
    m = mmg_ray.mi_matrix(table, denoiser="gaussian")
    assert list(m.estimates) == [(i, j) for i in range(5) for j in range(i + 1, 5)]
    for (i, j), estimate in m.estimates.items():
        np.testing.assert_equal(
            estimate.mi_nats, None if np.isnan(m.mi.iloc[j, i]) else m.mi.iloc[j, i]
        )
    assert (3, 0) not in m.estimates
    assert (0, 5) not in m.estimates


def test_one_variable_has_no_pairs(table):
    m = mmg_ray.mi_matrix(table[["a"]], denoiser="gaussian")
    assert (m.mi.shape, len(m.estimates), len(m.edges())) == ((1, 1), 0, 0)


def test_estimator_protocol(table):
    x, y = table[["a", "c"]].to_numpy(), table[["b"]].to_numpy()
    estimator = mmg_ray.MMGEstimator(denoiser="gaussian", seed=3)
    assert estimator.estimate(x, y) == estimator.fit(x, y).mi_
    assert np.isnan(estimator.estimate(x, np.ones(400)))
    assert estimator.result_.status is mmg_ray.Status.CONSTANT
    assert np.isnan([estimator.mi_, estimator.se_, estimator.p_value_]).all()


def test_estimator_by_the_conventions_of_scikit_learn(table):
    base = pytest.importorskip("sklearn.base")
    estimator = mmg_ray.MMGEstimator("gaussian", seed=1, config=FAST).fit(table["a"], table["b"])
    copy = base.clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.config is not estimator.config or copy.config == FAST
    assert not hasattr(copy, "mi_")
    assert copy.fit(table["a"], table["b"]).mi_ == estimator.mi_
    assert "seed=1" in repr(copy)
    assert estimator.set_params(seed=None).get_params()["seed"] is None
    expected = mmg_ray.estimate_mi(table["a"], table["b"], denoiser="gaussian", config=FAST)
    found = estimator.fit(table["a"], table["b"])
    assert (found.mi_, found.se_, found.p_value_) == (
        expected.mi_nats, expected.se_nats, expected.p_value
    )  # fmt: skip
    with pytest.raises(ConfigError, match="no parameter 'sed'"):
        estimator.set_params(sed=1)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (np.zeros(5), np.zeros(6), "x has 5 samples and y has 6"),
        (["a", 1], [1, 2], "column|x mixes numbers and text, such as 'a'"),
        (np.zeros(3) + 1j, np.zeros(3), "x is not numeric: it is complex"),
        (np.zeros((0, 2)), np.zeros((0, 2)), r"x has shape \(0, 2\): there are no samples"),
        (np.zeros((2, 2, 2)), np.zeros(2), r"x has shape \(2, 2, 2\)"),
    ],
)
def test_bad_arrays_are_named(x, y, expected):
    with pytest.raises(DataError, match=expected):
        mmg_ray.estimate_mi(x, y)


def test_bad_names_and_denoisers_are_named(table):
    with pytest.raises(DataError, match="got 5, 1 of them different"):
        mmg_ray.mi_matrix(table.to_numpy(), names=["a"] * 5)
    with pytest.raises(ConfigError, match="'neurall'; known denoisers: auto, screen"):
        mmg_ray.estimate_mi(table["a"], table["b"], denoiser="neurall")


def test_few_or_all_missing_samples_are_a_status_not_a_number():
    nothing = mmg_ray.estimate_mi(np.full(50, np.nan), np.arange(50.0))
    few = mmg_ray.estimate_mi(np.arange(2.0), np.arange(2.0))
    assert (nothing.status, nothing.mi_nats) == (mmg_ray.Status.ALL_MISSING, None)
    assert (few.status, few.mi_nats) == (mmg_ray.Status.TOO_FEW_SAMPLES, None)
    assert "min_samples" in few.message
    flat = mmg_ray.estimate_mi(np.arange(50.0), np.ones(50))
    assert flat.message.startswith("y: one value only")


@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_the_gap_curve_is_that_of_a_gaussian_pair(rho):
    x, e = np.random.default_rng(6).standard_normal((2, 3000))
    logsnr, gap = mmg_ray.mmse_gap(x, rho * x + np.sqrt(1 - rho**2) * e)
    signal, noise = 1 / (1 + np.exp(-logsnr)), 1 / (1 + np.exp(logsnr))
    variance = 1 - rho**2
    exact = signal - signal * variance / (signal * variance + noise)
    np.testing.assert_allclose(gap, exact, atol=0.02)
    assert np.trapezoid(gap, logsnr) / 2 == pytest.approx(-0.5 * np.log(variance), rel=0.05)


def test_the_gap_curve_refuses_what_has_none():
    x = np.arange(50.0)
    with pytest.raises(DataError, match="two"):
        mmg_ray.mmse_gap(np.ones((50, 2)), x)
    with pytest.raises(DataError, match="constant"):
        mmg_ray.mmse_gap(x, np.ones(50))
    with pytest.raises(DataError, match="30 needed"):
        mmg_ray.mmse_gap(x[:20], x[:20])
