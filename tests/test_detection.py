"""Pairs of variables that are nearly always at one value: exact against SciPy, uniform, and seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom, kstest

from mmg_ray.api import estimate_mi, mi_matrix
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import detection, table


def counts(rng: np.random.Generator, n: int, size: int) -> tuple[np.ndarray, ...]:
    a, b = rng.integers(1, n // 5, (2, size))
    return rng.hypergeometric(a, n - a, b).astype(float), a.astype(float), b.astype(float)


@pytest.mark.parametrize("n", [50, 700, 68_000])
def test_p_values_are_those_of_the_hypergeometric_law(n: int) -> None:
    rng = np.random.default_rng(0)
    both, a, b = counts(rng, n, 300)
    both[:150] = np.minimum(
        both[:150] + rng.integers(0, max(20, n // 30), 150), np.minimum(a, b)[:150]
    )
    within = rng.random(300)
    above, below = hypergeom.sf(both, n, a, b), hypergeom.cdf(both - 1, n, a, b)
    tail = np.where(both * n >= a * b, above, below) + within * hypergeom.pmf(both, n, a, b)
    expected = 2 * np.minimum(tail, 1 - tail)
    got = detection.p_values(both, a, b, n, within)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-300)
    assert got.min() < 1e-8


def test_p_values_of_independent_variables_are_uniform() -> None:
    rng = np.random.default_rng(1)
    values = rng.poisson(rng.uniform(0.01, 0.2, 120), (400, 120)).astype(float)
    values[rng.random(values.shape) < 0.001] += 0.5  # a few values of their own
    found = mi_matrix(values, config=EstimatorConfig("screen"))
    p = found.p_value[np.triu_indices(120, 1)]
    assert kstest(p, "uniform").pvalue > 0.001
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.004)


def test_mi_is_that_of_the_table() -> None:
    rng = np.random.default_rng(2)
    x = (rng.random(500) < 0.1).astype(int)
    y = np.where(rng.random(500) < 0.3, x, rng.random(500) < 0.1).astype(int)
    args = (np.array([(x & y).sum()]), np.array([x.sum()]), np.array([y.sum()]), 500)
    mi, se = detection.mutual_information(*args)
    expected = table.mutual_information(x, y)  # which takes off more than the first order
    assert mi[0] == pytest.approx(expected.mi, abs=0.3 * expected.se)
    assert se[0] == pytest.approx(expected.se, rel=0.1)


def test_genes_of_few_cells_are_found_together() -> None:
    # of 700 cells 4 and 9 have the genes, 3 both; other than by the levels, which are all unlike
    rng = np.random.default_rng(3)
    x, y = np.zeros((2, 700))
    x[:4], y[1:10] = rng.uniform(1, 2, 4), rng.uniform(1, 2, 9)
    order = rng.permutation(700)
    found = estimate_mi(x[order], y[order])
    exact = fisher_exact([[3, 1], [6, 690]]).pvalue
    assert exact / 3 < found.p_value <= 2 * exact
    plug_in = table.mutual_information((x > 0).astype(int), (y > 0).astype(int))
    assert found.mi_nats == pytest.approx(plug_in.mi, rel=0.5)
    assert found.mi_nats > 0.01
    # with holes in other samples, as well
    x[600:620], y[640:650] = np.nan, np.nan
    assert estimate_mi(x[order], y[order]).p_value < 3 * exact


def test_frequent_variables_are_left_to_the_screen() -> None:
    assert detection.away(np.array([0] * 79 + list(range(1, 22)))) is None
    away = detection.away(np.array([3] * 80 + [0] * 10 + [4] * 10))
    assert away is not None
    assert away.sum() == 20
