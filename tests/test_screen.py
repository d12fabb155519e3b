"""The screen's p-values: uniform under independence, whatever the marginals; small where they should be."""

import numpy as np
import pytest
from scipy import stats

from mmg_ray.estimator import screen


def null_statistics(n: int, columns: int, seed: int) -> np.ndarray:
    """T of all pairs of two sets of random permutations: (columns^2,)."""
    rng = np.random.default_rng(seed)
    a, b = (
        np.stack([screen.basis(n)[rng.permutation(n)] for _ in range(columns)]).astype(np.float32)
        for _ in range(2)
    )
    s = a.transpose(0, 2, 1).reshape(-1, n) @ b.transpose(1, 0, 2).reshape(n, -1) / n
    s = s.reshape(columns, screen.ORDER, columns, screen.ORDER)
    weights = screen.WEIGHTS[:, None].astype(np.float32)
    return (n - 1) * (weights * s**2).sum((1, 3)).ravel()


def test_statistic_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    x, y = rng.permutation(50), rng.permutation(50)
    basis = screen.basis(50)
    np.testing.assert_allclose(basis.T @ basis / 50, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(basis.mean(0), 0, atol=1e-12)
    total = 0.0
    for a in range(6):
        for b in range(6):
            total += np.mean(basis[x, a] * basis[y, b]) ** 2 / ((a + 1) * (b + 1))
    assert screen.statistic(x, y) == pytest.approx(49 * total)
    assert abs(np.corrcoef(basis[:, 0], np.arange(50))[0, 1]) == pytest.approx(1)


def test_limit_is_the_weighted_sum_of_squared_normals():
    draws = np.random.default_rng(1).standard_normal((400_000, 36)) ** 2 @ screen.WEIGHTS.ravel()
    for share in (0.5, 0.1, 0.01, 1e-3):
        t = np.quantile(draws, 1 - share)
        error = 4 / np.sqrt(share * draws.size)
        assert screen.p_value(t, 10**9) == pytest.approx(share, rel=error)
    far = -np.log(screen.p_value(np.array([100.0, 102.0]), 10**9))
    assert np.diff(far)[0] == pytest.approx(1.0, abs=0.02)  # the heaviest weight, 1: exp(-t/2)


@pytest.mark.parametrize("n", [30, 50, 200, 1000])
def test_p_values_are_uniform_under_independence(n):
    p = screen.p_value(null_statistics(n, 700, seed=n), n)
    thinned = p.reshape(700, 700).diagonal()  # pairs that share no variable
    assert stats.kstest(thinned, "uniform").pvalue > 0.001
    for share, tolerance in ((0.5, 0.02), (0.1, 0.03), (0.01, 0.06), (1e-3, 0.2)):
        assert np.mean(p < share) == pytest.approx(share, rel=tolerance)


def test_dependence_of_any_shape_is_found():
    rng = np.random.default_rng(2)
    x, e = rng.standard_normal((2, 500))
    ranks = [np.argsort(np.argsort(v)) for v in (x, 0.3 * x + e, x**2 + e, e * np.exp(0.5 * x))]
    for y in ranks[1:]:
        assert screen.p_value(screen.statistic(ranks[0], y), 500) < 1e-4
