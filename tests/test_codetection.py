"""Pairs of variables that are nearly always at one value: exact against SciPy, uniform, and seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from mmg_ray.api import estimate_mi
from mmg_ray.estimator.dependence import codetection, contingency
from mmg_ray.estimator.ranks import bins


def test_mi_is_that_of_the_table() -> None:
    rng = np.random.default_rng(2)
    x = (rng.random(500) < 0.1).astype(int)
    y = np.where(rng.random(500) < 0.3, x, rng.random(500) < 0.1).astype(int)
    args = (np.array([(x & y).sum()]), np.array([x.sum()]), np.array([y.sum()]), 500)
    mi, se = codetection.mutual_information(*args)
    expected = contingency.mutual_information(x, y)  # which takes off more than the first order
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
    plug_in = contingency.mutual_information((x > 0).astype(int), (y > 0).astype(int))
    assert found.mi_nats == pytest.approx(plug_in.mi, rel=0.5)
    assert found.mi_nats > 0.01
    # with holes in other samples, as well
    x[600:620], y[640:650] = np.nan, np.nan
    assert estimate_mi(x[order], y[order]).p_value < 3 * exact


def test_frequent_variables_are_left_to_the_screen() -> None:
    assert bins.non_modal(np.array([0] * 79 + list(range(1, 22)))) is None
    away = bins.non_modal(np.array([3] * 80 + [0] * 10 + [4] * 10))
    assert away is not None
    assert away.sum() == 20
