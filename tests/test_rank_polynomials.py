"""Polynomials of ranks: orthonormal in the law of the variable, few where there is little to see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.rank_polynomials import averaged, basis, on_grid, polynomials, ranked


def values(kind: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "continuous":
        return rng.standard_normal(n)
    if kind == "zeros":
        return np.where(rng.random(n) < 0.8, 0.0, rng.gamma(1.0, 1.0, n))
    return rng.poisson(float(kind), n).astype(float)


@pytest.mark.parametrize("kind", ["continuous", "zeros", "0.1", "1", "20"])
@pytest.mark.parametrize("n", [30, 500, 30_000])
def test_they_are_orthonormal_in_the_law_of_the_variable(kind: str, n: int) -> None:
    found = ranked(ordinal_codes(values(kind, n)))
    k = found.polynomials.n_orders
    at = found.at_samples()
    step = 2.0 ** -((52 - n.bit_length()) // 2)  # of the grid
    np.testing.assert_allclose(at[:, :k].T @ at[:, :k] / n, np.eye(k), atol=step)
    np.testing.assert_allclose(at.mean(0), 0, atol=step)
    assert not at[:, k:].any()
    assert found.polynomials.size.sum() == n
    assert found.polynomials.tied == (kind != "continuous" or n > 4000)
    # the first goes with the normal scores of ranks within the inner range
    z = stats.norm.ppf(0.5 + 0.9 * ((stats.rankdata(values(kind, n)) - 0.5) / n - 0.5))
    assert np.corrcoef(at[:, 0], z)[0, 1] > 0.97


def test_without_ties_they_are_functions_of_the_rank_alone() -> None:
    found = ranked(ordinal_codes(values("continuous", 200)))
    np.testing.assert_array_equal(found.polynomials.at, on_grid(basis(200), 200))
    assert found.polynomials.n_orders == 14


def test_what_a_few_samples_would_rule_is_left_out() -> None:
    codes = np.zeros(1000, dtype=np.int64)
    codes[:4] = [1, 2, 3, 4]
    assert ranked(codes).polynomials.n_orders == 1
    codes[:40] = 1
    codes[:4] = 2
    found = ranked(codes).polynomials
    assert found.n_orders == 1  # 4 of 1000 samples rule the second
    codes[:20] = 2
    assert ranked(codes).polynomials.n_orders == 2
    assert ranked(np.zeros(50, dtype=np.int64)).polynomials.n_orders == 0


def test_means_over_shared_ranks_hold_for_many_samples() -> None:
    size = np.array([40_000, 1, 9_999, 50_000])
    exact = np.add.reduceat(basis(100_000), np.cumsum(size) - size, axis=0) / size[:, None]
    np.testing.assert_allclose(averaged(size)[[0, 2, 3]], exact[[0, 2, 3]], atol=2e-4)
    assert polynomials(size).n_orders >= 1


def test_the_order_of_the_samples_is_nothing() -> None:
    x = values("zeros", 400)
    order = np.random.default_rng(1).permutation(400)
    one, two = (ranked(ordinal_codes(v)) for v in (x, x[order]))
    np.testing.assert_array_equal(one.at_samples()[order], two.at_samples())


def test_sums_of_products_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(2)
    for n in (70, 3000, 200_000):
        x, y = (on_grid(basis(min(n, 4000))[rng.integers(min(n, 4000), size=n)], n) for _ in "xy")
        products = x[:, 3] * y[:, 5]
        exact = math.fsum(products)
        assert exact == x[:, 3] @ y[:, 5] == products.sum() == np.cumsum(products)[-1]
