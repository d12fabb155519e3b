"""The screen's p-values: uniform under independence, whatever the marginals; small where they should be."""

import numpy as np
import pytest
from scipy import stats

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.dependence.permutation_law import untied_p
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.rank_polynomials import basis, ranked
from mmg_ray.schema import Variable


def null_statistics(n: int, columns: int, seed: int) -> np.ndarray:
    """T of all pairs of two sets of random permutations: (columns^2,)."""
    a, b = np.random.default_rng(seed).random((2, columns, n)).argsort(-1)
    return block(a, b).statistic.ravel()


def block(x: np.ndarray, y: np.ndarray) -> screen.Moments:
    """All pairs of rows of codes."""
    x, y = ([ranked(row) for row in side] for side in (x, y))
    return screen.block_moments(x, y, squares=True)


def single(x: np.ndarray, y: np.ndarray) -> screen.Moments:
    return screen.moments(ranked(x), ranked(y))


def test_statistic_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    x, y = rng.permutation(50), rng.permutation(50)
    at = basis(50)
    total = squares = 0.0
    for a, b in np.ndindex(14, 14):
        if max(a, b) < 5 or min(a, b) == 0:
            square = np.mean(at[x, a] * at[y, b]) ** 2
            total += square / ((a + 1) * (b + 1))
            squares += square - 1 / 49
    found = single(x, y)
    assert found.statistic == pytest.approx(49 * total)
    assert found.all_orders == pytest.approx(squares)


def test_a_pair_has_the_same_bits_in_any_block():
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((40, 700)).argsort(-1) for _ in "xy")
    whole, part = block(x, y), block(x[3:20], y[11:])
    for one, other, alone in zip(whole, part, single(x[5], y[30]), strict=True):
        np.testing.assert_array_equal(one[3:20, 11:], other)
        np.testing.assert_array_equal(one[5, 30], alone[0])


@pytest.mark.parametrize("n", [30, 50, 200, 1000])
def test_p_values_are_uniform_under_independence(n):
    p = untied_p(null_statistics(n, 700, seed=n), n)
    thinned = p.reshape(700, 700).diagonal()  # pairs that share no variable
    assert stats.kstest(thinned, "uniform").pvalue > 0.001
    for share, tolerance in ((0.5, 0.02), (0.1, 0.03), (0.01, 0.06), (1e-3, 0.2)):
        assert np.mean(p < share) == pytest.approx(share, rel=tolerance)


def test_dependence_of_any_shape_is_found():
    rng = np.random.default_rng(2)
    x, e = rng.standard_normal((2, 500))
    ranks = [np.argsort(np.argsort(v)) for v in (x, 0.3 * x + e, x**2 + e, e * np.exp(0.5 * x))]
    for y in ranks[1:]:
        assert untied_p(single(ranks[0], y).statistic, 500) < 1e-4


def test_fast_waves_are_found():
    rng = np.random.default_rng(5)
    x, e = rng.standard_normal((2, 300))
    x = 3**0.5 * (2 * rng.random(300) - 1)
    for y in (np.sin(8 * x) + e, np.sign(np.sin(8 * x)) + e):
        ranks = [np.argsort(np.argsort(v)) for v in (x, y)]
        for a, b in (ranks, ranks[::-1]):
            found = single(a, b)
            assert untied_p(found.statistic, 300) < 0.01
            assert screen.linked_mi(found.all_orders) > 0.05
            assert found.all_orders > 1.5 * found.chi_square


def test_blocks_and_single_pairs_have_the_same_moments():
    rng = np.random.default_rng(3)
    for n in (30, 31, 5000):  # the last in two pieces of samples
        x, y = (np.stack([rng.permutation(n) for _ in range(k)]) for k in (3, 4))
        y[0] = x[0]
        y[1] //= 3  # with ties, and of few values
        x[2], y[3] = x[2] > n // 3, np.minimum(y[3], 3)
        together = block(x, y)
        for i, j in np.ndindex(3, 4):
            alone = single(x[i], y[j])
            assert together.statistic[i, j] == pytest.approx(alone.statistic, rel=1e-4, abs=1e-4)
            assert together.n_low[i, j] == alone.n_low
            for name in ("chi_square", "all_orders"):
                assert getattr(together, name)[i, j] == pytest.approx(
                    getattr(alone, name), rel=1e-4, abs=2e-6
                )


@pytest.mark.parametrize("n", [30, 200])
def test_moments_have_the_mean_they_are_corrected_by(n):
    """Under independence sums of squares, less their mean, average to 0."""
    rng = np.random.default_rng(n)
    x, y = (np.stack([rng.permutation(n) for _ in range(80)]) for _ in range(2))
    moments = block(x, y)
    for found in (moments.chi_square, moments.all_orders):
        assert abs(found.mean()) < 4 * found.std() / 80
        assert found.std() * n > 3  # so that a constant 0 would not do


@pytest.mark.parametrize("rho", [0.1, 0.3])
def test_weak_mi_is_the_mi_of_weak_gaussian_pairs(rho):
    n, n_pairs = 2000, 60
    rng = np.random.default_rng(4)
    x, e = rng.standard_normal((2, n_pairs, n))
    ranks = [v.argsort(1).argsort(1) for v in (x, rho * x + np.sqrt(1 - rho**2) * e)]
    found = block(*ranks).chi_square
    scatter = np.full(n_pairs, np.sqrt(2 * screen._LOW.sum()) / n)
    mi, se = screen.weak_mi(found.diagonal(), n, scatter)
    exact = -0.5 * np.log1p(-(rho**2))
    # drawn to 0 by up to its scatter under independence, 2.6 / n
    assert mi.mean() == pytest.approx(
        exact, abs=4 * mi.std() / np.sqrt(n_pairs) + 0.03 * exact + 3 / n
    )
    assert 0.6 < se.mean() / mi.std() < 1.6
    independent = screen.weak_mi(found[~np.eye(n_pairs, dtype=bool)], n, scatter[0])[0]
    assert independent.mean() < 0.002


def tied(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    if kind == "zeros":
        return np.where(rng.random(shape) < 0.9, 0.0, rng.standard_normal(shape))
    return rng.poisson(float(kind), shape).astype(float)


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize(("left", "right"), [("0.5", "2"), ("zeros", "zeros"), ("zeros", "0.5")])
def test_p_values_of_tied_data_are_uniform_under_independence(n, left, right):
    """Through the tile, as in a run; up to the steps of discrete statistics."""
    n_pairs = 400
    rng = np.random.default_rng([n, len(left), len(right)])
    values = np.concatenate([tied(left, rng, (n_pairs, n)), tied(right, rng, (n_pairs, n))])
    variables = {k: Variable(f"v{k}", ordinal_codes(row)[:, None]) for k, row in enumerate(values)}
    pairs = [(k, n_pairs + k) for k in range(n_pairs)]
    found = estimate_tile(variables, pairs, EstimatorConfig("screen"))
    p = found.p_value[found.ok]  # a variable of zeros only has none
    assert p.size > 0.97 * n_pairs
    for level in (0.5, 0.2, 0.05, 0.01):
        assert np.mean(p <= level) < level + 4 * np.sqrt(level / p.size), level
    assert np.mean(p < 0.2) > 0.1
