"""The test of ranks in cells: null for any n, power where moments have none, a bound that holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmg_ray.estimator.dependence import binned_ranks
from mmg_ray.estimator.ranks import bins
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.known_mi import checkerboard, gaussian, ring


def ranks(values: np.ndarray) -> np.ndarray:
    """(R, n) values -> (R, n) ranks 0..n-1."""
    return values.argsort(1).argsort(1)


def found_of(x: np.ndarray, y: np.ndarray, i: np.ndarray, j: np.ndarray) -> binned_ranks.Found:
    """Pairs of rows i of x and j of y, codes."""
    blocks = ([bins.binned(r.value, r.polynomials.size) for r in map(ranked, v)] for v in (x, y))
    return binned_ranks.pairs(*blocks, i, j)


def independent(n: int, rows: int, seed: int) -> binned_ranks.Found:
    """Rows x rows pairs of permutations."""
    x, y = ranks(np.random.default_rng(seed).standard_normal((2 * rows, n))).reshape(2, rows, n)
    return found_of(x, y, *np.divmod(np.arange(rows * rows), rows))


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_p_values_of_independent_pairs_are_right_enough_for_a_gate(n: int) -> None:
    found = independent(n, 100, n)
    for level in (0.5, 0.1, 0.005):
        assert 0.4 < (found.p_value <= level).mean() / level < 1.6, level
    assert (found.at_least > 0.04).mean() < 0.004


def test_it_is_pearsons_statistic() -> None:
    rng = np.random.default_rng(5)
    x, y = ranks(rng.standard_normal((2, 400)) + rng.standard_normal(400))
    found = found_of(x[None], y[None], np.zeros(1, int), np.zeros(1, int))
    k = int(np.sqrt(400 / 3))
    bins = [((v + 0.5) * k / 400).astype(int) for v in (x, y)]
    table = np.histogram2d(*bins, bins=k)[0]
    statistic, _, freedom, _ = stats.chi2_contingency(table, correction=False)
    expected = stats.chi2.sf(statistic * 399 / 400, freedom)
    assert found.p_value[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mean", [0.3, 1.5, 6.0])
def test_ties_stay_together_and_the_test_keeps_its_level(mean: float) -> None:
    rng = np.random.default_rng(int(10 * mean))
    counts = rng.poisson(mean, (2, 60, 500))
    found = found_of(*counts, *np.divmod(np.arange(3600), 60))
    for level in (0.5, 0.1, 0.005):
        assert 0.3 < (found.p_value <= level).mean() / level < 1.8, level
    binned = bins.binned(counts[0, 0], np.bincount(counts[0, 0]))
    assert all(len(np.unique(binned.bin[counts[0, 0] == v])) == 1 for v in np.unique(counts[0, 0]))
    assert binned.size.min() >= 500 / (2 * int(np.sqrt(500 / 3)))
    np.testing.assert_array_equal(np.bincount(binned.bin), binned.size)


def test_any_list_of_pairs_is_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(6)
    x, y = ranks(rng.standard_normal((20, 333))).reshape(2, 10, 333)
    i, j = rng.integers(10, size=(2, 37))
    together = found_of(x, y, i, j)
    for k, (u, v) in enumerate(zip(i, j, strict=True)):
        alone = found_of(x[[u]], y[[v]], np.zeros(1, int), np.zeros(1, int))
        assert alone.p_value[0] == pytest.approx(together.p_value[k], rel=1e-9)
        assert alone.at_least[0] == pytest.approx(together.at_least[k], abs=1e-12)


@pytest.mark.parametrize("task", [checkerboard(6), ring(0.25)], ids=["checks", "ring"])
def test_power_where_moments_have_little_and_a_bound_below_the_truth(task) -> None:
    pairs = [task.sample(np.random.default_rng([8, k]), 300) for k in range(30)]
    x, y = (ranks(np.stack(side)) for side in zip(*pairs, strict=True))
    found = found_of(x, y, np.arange(30), np.arange(30))
    assert np.median(found.p_value) < 1e-4
    assert (found.p_value < 0.005).mean() > 0.9
    assert np.median(found.at_least) < task.mi_nats


def test_the_bound_holds_for_weak_and_strong_lines() -> None:
    for rho in (0.3, 0.95):
        task = gaussian(rho)
        pairs = [task.sample(np.random.default_rng([9, k]), 1000) for k in range(20)]
        x, y = (ranks(np.stack(side)) for side in zip(*pairs, strict=True))
        found = found_of(x, y, np.arange(20), np.arange(20))
        assert (found.at_least < task.mi_nats).mean() > 0.8
