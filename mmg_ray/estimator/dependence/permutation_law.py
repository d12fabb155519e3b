"""The law of the screen's statistic under permutations of the samples: p-values for any ties.

T = (n - 1) sum w_ab S_ab^2 has, over permutations of one variable against the other, an exact mean, sum w_ab, and
an exact variance from sums over either variable alone (Kazi-Aoual et al. 1995, for sums of three products of
kernels here).

- Neither variable has ties: the law depends on n alone. It is that of a weighted sum of 43 squared normals, mapped
  by ``t + h(t, n) / n``, h a broken line in t through simulated permutations (`benchmarks/null.py`).
- Ties: the weighted sum of squared normals of the orders that there are, times the ratio of two gamma tails, one of
  the exact moments and one of those of the sum (Pearson III), and that of the skewness of the leading moment.
- Few samples are away from the commonest values of both variables, as of a rare gene beside any other: few
  terms make a sum, and no moments tell its tail. Given how many samples are away in both, a hypergeometric number,
  those few are drawn; the probabilities are added up over that number, so that far tails need no more draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mmg_ray.estimator.dependence.block_products import ORDER, Side
from mmg_ray.estimator.dependence.gamma_tail import SMALLEST, gamma_ratio, skewed
from mmg_ray.estimator.dependence.limit_law import limit_cumulant, limit_p, limit_statistic
from mmg_ray.estimator.dependence.screen import WEIGHTS
from mmg_ray.estimator.dependence.seldom_away import by_number_together
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS, RankPolynomials, polynomials
from mmg_ray.estimator.ranks.strata import Within

# h(t, n) = A + B / n at these t and straight in between, from 1e7 random permutations at each of nine
# n = 30 .. 200. Beyond the last it goes on as a straight line: rather too large a p-value than too small.
KNOTS = (2.5, 4.0, 5.5, 7.0, 9.0, 12.0, 16.0, 21.0, 27.0)
_A = (-17.0793, -5.06831, 3.67955, 3.47495, -3.4221, -13.4703, -2.44227, 39.9192, 111.513)
_B = (-191.365, -211.285, -214.898, -81.6762, 110.047, 952.529, 2249.82, 3880.82, 6373.97)
# Where at most so many samples are expected away from the commonest values of both variables, and the samples away
# in either make no more pairs than this, those away in both are drawn if the p-value of the moments is below this;
# it is farther off where fewer than two are expected.
_FEW_TOGETHER, _MOST_PAIRS_AWAY = 12.0, 2**20
_CONTENDER, _CONTENDER_FEWER = 0.02, 0.1

# T = tr K L summed over three pairs of kernels: low with low orders, fast with first, first with fast
_kernels = np.zeros((3, ORDERS))
_kernels[0, :ORDER] = 1 / np.arange(1, ORDER + 1)
_kernels[1, 0] = 1.0
_kernels[2, ORDER:] = 1 / np.arange(ORDER + 1, ORDERS + 1)
_OF_X, _OF_Y = (0, 2, 1), (0, 1, 2)


class Margin(NamedTuple):
    """What the law needs of one variable; the exact moments of T are sums of products of two such.

    Attributes:
        n_orders: of its polynomials. tied: whether samples share values.
        between: (9,) and within: (9,) for each two of its three kernels, what the variance takes of them.
        skewness: of its first polynomial. n_away: samples that are not at the commonest value.
    """

    n_orders: int
    tied: bool
    between: np.ndarray
    within: np.ndarray
    skewness: float
    n_away: int


def margin(of: Side) -> Margin:
    """Of a variable of n >= 4 samples; within strata of what is left of it there, as if anywhere."""
    p = of.polynomials
    if isinstance(of, Within):
        products, cube = _left_within(p.at, of.mean, of.size, _kernels)
        return _margin(p, products, cube, tied=True)
    return _of_values(p) if p.tied else _untied_margin(len(p.size))


@lru_cache(maxsize=64)
def _untied_margin(n: int) -> Margin:
    return _of_values(polynomials(np.ones(n, dtype=np.int64)))


def _of_values(of: RankPolynomials) -> Margin:
    diagonal = np.square(of.at) @ (_kernels * (np.arange(ORDERS) < of.n_orders)).T
    cube = float(of.size @ of.at[:, 0] ** 3)
    return _margin(of, (diagonal.T * of.size) @ diagonal, cube, tied=of.tied)


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _left_within(at: Any, mean: Any, size: Any, kernels: Any) -> Any:
    """(3, 3) sums over samples of products of the kernels' diagonals, and that of the cube of the first polynomial."""
    products, cube = np.zeros((3, 3)), 0.0
    diagonal = np.empty(3)
    for s in range(len(size)):
        for a in range(size.shape[1]):
            if size[s, a] > 0:
                diagonal[:] = 0.0
                for k in range(at.shape[1]):
                    if at[a, k] != 0.0:
                        square = (at[a, k] - mean[s, k]) ** 2
                        for kernel in range(3):
                            diagonal[kernel] += kernels[kernel, k] * square
                for k in range(3):
                    for m in range(3):
                        products[k, m] += size[s, a] * diagonal[k] * diagonal[m]
                cube += size[s, a] * (at[a, 0] - mean[s, 0]) ** 3
    return products, cube


def _margin(of: RankPolynomials, diagonals: np.ndarray, cube: float, tied: bool) -> Margin:
    n = float(of.size.sum())
    kernels = _kernels * (np.arange(ORDERS) < of.n_orders)
    trace, product = kernels.sum(1), kernels @ kernels.T
    both = np.outer(trace, trace)
    within = (n + 1) / n * diagonals - (n - 1) * (both + 2 * product)
    return Margin(
        n_orders=of.n_orders,
        tied=tied,
        between=((n - 1) * product - both).ravel(),
        within=within.ravel(),
        skewness=cube / n,
        n_away=int(n - of.size.max()),
    )


def variance(x: Sequence[Margin], y: Sequence[Margin], n: int) -> np.ndarray:
    """(U, V) exact variance of T over permutations, of all pairs of two blocks."""
    order = [np.ravel_multi_index(np.ix_(of, of), (3, 3)).ravel() for of in (_OF_X, _OF_Y)]
    between, within = (
        np.stack([getattr(m, name) for m in x])[:, order[0]]
        @ np.stack([getattr(m, name) for m in y])[:, order[1]].T
        for name in ("between", "within")
    )
    m = float(n)
    found: np.ndarray = 2 * between / ((m + 1) * (m - 2)) + within * (m - 1) / (
        (m + 1) * m * (m - 2) * (m - 3)
    )
    return found


class Tests(NamedTuple):
    """(P,) p-values of independence, the variance of T over that of its limit, and how much T is worth.

    `reduced` is what a sum of squared normals of the same p-value is of T, at most 1.
    """

    p_value: np.ndarray
    inflation: np.ndarray
    reduced: np.ndarray


def test(
    statistic: np.ndarray, x: Sequence[Side], y: Sequence[Side], i: np.ndarray, j: np.ndarray
) -> Tests:
    """Pairs x[i], y[j] of two blocks over the same n samples, of statistics (P,)."""
    n = len(x[0].value)
    of_x, of_y = ([margin(side) for side in block] for block in (x, y))
    orders = tuple(np.array([m.n_orders for m in block])[k] for block, k in ((of_x, i), (of_y, j)))
    inflation = variance(of_x, of_y, n)[i, j] / limit_cumulant(2)[orders]
    if isinstance(x[0], Within):
        inflation *= _between_strata(x, y, i, j)
    skewness = np.outer([m.skewness for m in of_x], [m.skewness for m in of_y])[i, j] / np.sqrt(n)
    tied = np.logical_or.outer([m.tied for m in of_x], [m.tied for m in of_y])[i, j]
    p_value = np.empty(len(statistic))
    for k, m in set(zip(*(o.tolist() for o in orders), strict=True)):
        rows = (orders[0] == k) & (orders[1] == m)
        base = limit_p(statistic[rows], min(k, m), max(k, m))
        if k == m == ORDERS:
            exact = ~tied[rows]
            base[exact] = untied_p(statistic[rows][exact], n)
        p_value[rows] = base
    p_value[tied] *= gamma_ratio(statistic[tied], orders[0][tied], orders[1][tied], inflation[tied])
    p_value = np.clip(p_value, SMALLEST, 1.0)
    p_value[tied] = skewed(p_value[tied], skewness[tied])
    pairs_away = np.outer([m.n_away for m in of_x], [m.n_away for m in of_y])[i, j]
    together = pairs_away / n
    few = (together < _FEW_TOGETHER) & (pairs_away <= _MOST_PAIRS_AWAY)
    contender = p_value < np.where(together < 2, _CONTENDER_FEWER, _CONTENDER)
    for row in np.flatnonzero(few & contender).tolist():
        p_value[row] = by_number_together(statistic[row], x[i[row]], y[j[row]])
    same = np.empty(len(statistic))
    for k, m in set(zip(*(o.tolist() for o in orders), strict=True)):
        rows = (orders[0] == k) & (orders[1] == m)
        same[rows] = limit_statistic(p_value[rows], min(k, m), max(k, m))
    return Tests(p_value, inflation, np.minimum(same / np.maximum(statistic, 1e-300), 1.0))


def _between_strata(
    x: Sequence[Side], y: Sequence[Side], i: np.ndarray, j: np.ndarray
) -> np.ndarray:
    """(P,) how much larger the variance of T is where what is left of both variables scatters more in the same strata."""
    of_x, of_y = (
        np.stack([side.covariance for side in b if isinstance(side, Within)]) for b in (x, y)
    )
    return _variance_ratio(of_x, of_y, i.astype(np.int64), j.astype(np.int64), WEIGHTS)


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _variance_ratio(x: Any, y: Any, i: Any, j: Any, weights: Any) -> Any:
    found = np.ones(len(i))
    n_groups, k = x.shape[1:3]
    for p in range(len(i)):
        total = uncorrelated = 0.0
        for a in range(k):
            for b in range(k // (a + 1)):
                for c in range(k):
                    for d in range(k // (c + 1)):
                        both = first = second = 0.0
                        for g in range(n_groups):
                            both += x[i[p], g, a, c] * y[j[p], g, b, d]
                            first += x[i[p], g, a, a] * y[j[p], g, b, b]
                            second += x[i[p], g, c, c] * y[j[p], g, d, d]
                        if first > 0 and second > 0:
                            add = weights[a, b] * weights[c, d] * both**2 / (first * second)
                            total += add
                            if a == c and b == d:
                                uncorrelated += add
        if uncorrelated > 0:
            found[p] = total / uncorrelated
    return found


def untied_p(t: np.ndarray | float, n: int) -> np.ndarray:
    """Probability of a statistic of at least `t` (any shape) among pairs of n samples without ties."""
    t = np.asarray(t, dtype=np.float64)
    return limit_p(t + _finite(t, n) / n, ORDERS, ORDERS)


def _finite(t: np.ndarray, n: int) -> np.ndarray:
    return broken_line(t, np.array(_A) + np.array(_B) / n)


def broken_line(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Straight between the values (K,) at the K `KNOTS` and beyond the last, level before the first."""
    slope = (values[-1] - values[-2]) / (KNOTS[-1] - KNOTS[-2])
    return np.interp(t, KNOTS, values) + slope * np.maximum(t - KNOTS[-1], 0.0)
