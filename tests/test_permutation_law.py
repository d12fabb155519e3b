"""The screen's p-values with ties: exact moments, limits, and levels against permutations of many margins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmg_ray.estimator.dependence import limit_law, screen
from mmg_ray.estimator.dependence import permutation_law as law
from mmg_ray.estimator.pairs.tables import table_spearman
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS, Ranked, ranked


def values(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "continuous":
        return rng.standard_normal(n)
    if kind.startswith("zeros"):
        here = rng.permutation(n) < round(float(kind[5:]) * n)
        return np.where(here, rng.gamma(1.0, 1.0, n), 0.0)
    return rng.poisson(float(kind), n).astype(float)


def permuted(x: Ranked, y: Ranked, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """(n_draws,) statistics of permutations."""
    n = len(x.value)
    a, b = (r.at_samples()[:, : r.polynomials.n_orders] for r in (x, y))
    weights = screen.WEIGHTS[: a.shape[1], : b.shape[1]]
    found = []
    for _ in range(n_draws // 1000):
        order = rng.random((1000, n)).argsort(1)
        s = np.einsum("na,cnb->cab", a, b[order], optimize=True) / n
        found.append((n - 1) * (weights * s**2).sum((1, 2)))
    return np.concatenate(found)


def p_values(t: np.ndarray, x: Ranked, y: Ranked) -> np.ndarray:
    one = np.zeros(len(t), dtype=np.int64)
    return law.test(t, [x], [y], one, one).p_value


@pytest.mark.parametrize(
    ("left", "right", "n"),
    [
        ("continuous", "0.2", 200),
        ("continuous", "zeros0.05", 300),
        ("0.2", "0.2", 300),
        ("0.05", "1", 300),
        ("zeros0.1", "zeros0.1", 300),
        ("0.05", "0.05", 400),
        ("zeros0.02", "zeros0.3", 300),
        ("3", "0.5", 50),
    ],
)
def test_the_level_holds_for_every_kind_of_margin(left: str, right: str, n: int) -> None:
    rng = np.random.default_rng([n, len(left), len(right)])
    x, y = (ranked(ordinal_codes(values(kind, n, rng))) for kind in (left, right))
    t = permuted(x, y, 20_000, rng)
    of_x, of_y = law.margin(x), law.margin(y)
    exact = law.variance([of_x], [of_y], n)[0, 0]
    error = np.sqrt((((t - t.mean()) ** 2 - t.var()) ** 2).mean() / t.size)
    assert t.var() == pytest.approx(exact, abs=4 * error)
    assert t.mean() == pytest.approx(
        screen.WEIGHTS[: of_x.n_orders, : of_y.n_orders].sum(), abs=4 * np.sqrt(exact / t.size)
    )
    far = np.sort(t)[-300:]
    p = p_values(far, x, y)
    for level in (0.01, 0.002):
        held = far[p <= level]
        share = (t >= held.min()).mean() if held.size else 0.0
        assert share < 1.5 * level + 3 * np.sqrt(level / t.size), level
    assert p.min() < 0.004  # it does go down
    share = np.array([(t >= value).mean() for value in far[:200]])
    assert 0.6 < np.median(p[:200] / share) < 2.5  # statistics of few values have steps


def test_far_tails_of_rare_pairs_are_those_of_the_hypergeometric_law() -> None:
    # of 1000 samples 12 have x and 15 have y, 6 both: T is a function of how many have both
    x, y = np.zeros((2, 1000), dtype=np.int64)
    x[:12], y[6:21] = 1, 1
    a, b = ranked(x), ranked(y)
    t = float(screen.moments(a, b).statistic[0])
    expected = stats.hypergeom.sf(5, 1000, 12, 15)
    assert expected < 1e-8
    assert p_values(np.array([t]), a, b)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "a", "b", "top"),
    [(700, 16, 179, 3), (700, 12, 179, 1), (1000, 60, 60, 4), (300, 8, 60, 60)],
)
def test_far_tails_of_seldom_pairs_whose_values_matter(n: int, a: int, b: int, top: int) -> None:
    """x is away from 0 in `a` samples, with up to `top` values, y in `b` with all different ones.

    Beside draws given how many are away together, as many for each number: so far tails have draws, too. Once such
    a p-value was 1e-300 where no draw of a few reached the statistic.
    """
    rng = np.random.default_rng([n, a, b])
    values = np.zeros((2, n), dtype=np.int64)
    values[0, :a], values[1, :b] = 1 + np.arange(a) % top, 1 + np.arange(b)
    x, y = (ranked(v) for v in values)
    at = [r.at_samples()[:, : r.polynomials.n_orders] for r in (x, y)]
    usual = np.outer(at[0][-1], at[1][-1])
    weights = screen.WEIGHTS[: usual.shape[0], : usual.shape[1]]
    beyond = at[0][:a] - at[0][-1], at[1][:b] - at[1][-1]
    together, n_draws = np.arange(min(a, b) + 1), 20_000
    share = stats.hypergeom.pmf(together, n, a, b)
    together = together[share > 1e-13]
    drawn = np.empty((len(together), n_draws))
    for row, k in enumerate(together):
        of_x, of_y = (
            v[rng.random((n_draws, len(v))).argpartition(k - 1, axis=1)[:, :k]] for v in beyond
        )
        s = np.einsum("dka,dkb->dab", of_x, of_y, optimize=True) / n - usual
        drawn[row] = (n - 1) * (weights * s**2).sum(axis=(1, 2))
    share = share[together]
    order = np.argsort(drawn.ravel())
    tail = np.cumsum(np.repeat(share / n_draws, n_draws)[order][::-1])[::-1]
    places = np.searchsorted(-tail, [-1e-3, -1e-5, -1e-7, -1e-9])
    p = p_values(drawn.ravel()[order][places], x, y)
    assert p[:2] / tail[places][:2] == pytest.approx(1.0, rel=0.35)
    assert 1 / 3 < p[2] / tail[places][2] < 4
    assert 1e-11 < p[3] < 1e-6  # the draws here do not tell it any better


def test_limit_is_the_weighted_sum_of_squared_normals() -> None:
    rng = np.random.default_rng(1)
    for k, m in ((ORDERS, ORDERS), (3, 1), (2, 14)):
        weights = screen.WEIGHTS[:k, :m][screen.WEIGHTS[:k, :m] > 0]
        draws = rng.standard_normal((200_000, weights.size)) ** 2 @ weights
        for share in (0.5, 0.1, 0.01, 1e-3):
            t = np.quantile(draws, 1 - share)
            error = 4 / np.sqrt(share * draws.size)
            assert law.limit_p(t, k, m) == pytest.approx(share, rel=error + 0.01)
    far = -np.log(law.untied_p(np.array([100.0, 102.0]), 10**9))
    assert np.diff(far)[0] == pytest.approx(1.0, abs=0.02)  # the heaviest weight, 1: exp(-t/2)


def test_power_with_ties_is_at_least_spearmans() -> None:
    """Counts of mean .2 that share part of a log-normal rate: ties broken at random find .43 of them."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(150):
        shared, own = rng.standard_normal((2, 2, 2000))
        rate = 0.2 * np.exp(np.sqrt(0.6) * shared[0] + np.sqrt(0.4) * own - 0.5)
        x, y = rng.poisson(rate)
        a, b = ranked(ordinal_codes(x)), ranked(ordinal_codes(y))
        p = p_values(np.atleast_1d(screen.moments(a, b).statistic), a, b)[0]
        found.append([p <= 0.01, stats.spearmanr(x, y).pvalue <= 0.01])
    ours, spearman = np.mean(found, axis=0)
    assert ours >= spearman - 0.05
    assert ours > 0.6


def test_the_limit_is_that_of_a_chi_square_and_of_simulated_sums() -> None:
    grid, log_tail = limit_law.limit(1, 1)
    np.testing.assert_allclose(log_tail[1:], stats.chi2.logsf(grid[1:], 1), rtol=1e-10)
    for k, m in ((1, 2), (3, 4), (14, 14)):
        grid, log_tail = limit_law.limit(k, m)
        weights = screen.WEIGHTS[:k, :m].ravel()
        drawn = np.random.default_rng(k).chisquare(1, (200_000, weights.size)) @ weights
        for t in np.quantile(drawn, [0.1, 0.5, 0.9, 0.999]):
            exact = np.exp(np.interp(t, grid, log_tail))
            assert (drawn > t).mean() == pytest.approx(exact, abs=5 * np.sqrt(exact / 2e5))


def test_tables_of_few_values_have_the_moments_of_their_samples() -> None:
    rng = np.random.default_rng(3)
    x = ordinal_codes(rng.poisson(1.0, 500).astype(float))
    y = ordinal_codes(np.minimum(rng.poisson(0.5 + x), 4).astype(float))
    a, b = ranked(x), ranked(y)
    counts = np.zeros((1, len(a.polynomials.size) + 2, len(b.polynomials.size)), dtype=np.int64)
    np.add.at(counts[0], (a.value, b.value), 1)
    one = np.zeros(1, dtype=np.int64)
    found = screen.table_moments(counts, [a], [b], one, one)
    for ours, theirs in zip(found, screen.moments(a, b), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    rho = stats.spearmanr(x, y).statistic
    np.testing.assert_allclose(table_spearman(counts), rho, atol=1e-7)
