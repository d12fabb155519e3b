"""The law of the screen's statistic under permutations of the samples: p-values for any ties.

T = (n - 1) sum w_ab S_ab^2 has, over permutations of one variable against the other, an exact mean, sum w_ab, and
an exact variance from sums over either variable alone (Kazi-Aoual et al. 1995, for sums of three products of
kernels here).

- Neither variable has ties: the law depends on n alone. It is that of a weighted sum of 43 squared normals, mapped
  by ``t + h(t, n) / n``, h a broken line in t through simulated permutations (`benchmarks/null.py`).
- Ties: the weighted sum of squared normals of the orders that there are, times the ratio of two gamma tails, one of
  the exact moments and one of those of the sum (Pearson III), and that of the skewness of the leading moment.
- Two variables that are away from their commonest values so seldom that only a few samples are away in both: few
  terms make a sum, and no moments tell its tail. Given how many samples are away in both, a hypergeometric number,
  those few are drawn; the probabilities are added up over that number, so that far tails need no more draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.special import gammainc, gammaincc, gammaln, ndtri

from mmg_ray.estimator.dependence.screen import ORDER, WEIGHTS
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS, Ranked, RankPolynomials, polynomials

# h(t, n) = A + B / n at these t and straight in between, from 1e7 random permutations at each of nine
# n = 30 .. 200. Beyond the last it goes on as a straight line: rather too large a p-value than too small.
KNOTS = (2.5, 4.0, 5.5, 7.0, 9.0, 12.0, 16.0, 21.0, 27.0)
_A = (-17.0793, -5.06831, 3.67955, 3.47495, -3.4221, -13.4703, -2.44227, 39.9192, 111.513)
_B = (-191.365, -211.285, -214.898, -81.6762, 110.047, 952.529, 2249.82, 3880.82, 6373.97)

# Of variables away from their commonest values in at most this share of the samples, both in at most so many that
# are expected, the samples away in both are drawn where the p-value of the moments is below this; it is
# farther off where fewer than two are expected.
_SELDOM, _FEW_TOGETHER = 0.3, 12.0
_CONTENDER, _CONTENDER_FEWER = 0.02, 0.1
_FIRST_DRAWS, _DRAWS = 100, 1_500  # for all numbers of them, then at least for those that matter
_MOST_DRAWS, _DRAWN_SAMPLES = 6_000, 25_000  # where few are together, more draws cost the same
_FARTHEST = 150  # such numbers above the expected one, which add less than 1e-100
_COUNTED, _LEAST_SKEWNESS = 20, 0.1  # draws beyond the statistic are enough to count
_NEGLIGIBLE = 1e-3
_ROUNDING = 1e-4  # of a statistic in single precision; draws that are as large count as larger
_SMALLEST = 1e-300
_POINTS, _ON_A_CONTOUR, _POLE = 161, 5, 0.05  # of the inversion of the generating function

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


def margin(of: RankPolynomials) -> Margin:
    """From the polynomials of a variable of n >= 4 samples."""
    return _margin(of) if of.tied else _untied_margin(len(of.size))


@lru_cache(maxsize=64)
def _untied_margin(n: int) -> Margin:
    return _margin(polynomials(np.ones(n, dtype=np.int64)))


def _margin(of: RankPolynomials) -> Margin:
    n = float(of.size.sum())
    present = np.arange(ORDERS) < of.n_orders
    kernels = _kernels * present
    trace, product = kernels.sum(1), kernels @ kernels.T
    diagonal = np.square(of.at) @ kernels.T / n
    both = np.outer(trace, trace)
    within = n * (n + 1) * (diagonal.T * of.size) @ diagonal - (n - 1) * (both + 2 * product)
    return Margin(
        n_orders=of.n_orders,
        tied=of.tied,
        between=((n - 1) * product - both).ravel(),
        within=within.ravel(),
        skewness=float((of.size / n) @ of.at[:, 0] ** 3),
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
    statistic: np.ndarray, x: Sequence[Ranked], y: Sequence[Ranked], i: np.ndarray, j: np.ndarray
) -> Tests:
    """Pairs x[i], y[j] of two blocks over the same n samples, of statistics (P,)."""
    n = len(x[0].value)
    of_x, of_y = ([margin(side.polynomials) for side in block] for block in (x, y))
    orders = tuple(np.array([m.n_orders for m in block])[k] for block, k in ((of_x, i), (of_y, j)))
    inflation = variance(of_x, of_y, n)[i, j] / _limit_cumulant(2)[orders]
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
    p_value[tied] *= _gamma_ratio(
        statistic[tied], orders[0][tied], orders[1][tied], inflation[tied]
    )
    p_value = np.clip(p_value, _SMALLEST, 1.0)
    p_value[tied] = skewed(p_value[tied], skewness[tied])
    away = np.array([m.n_away for m in of_x])[i] / n, np.array([m.n_away for m in of_y])[j] / n
    together = n * away[0] * away[1]
    few = (np.maximum(*away) <= _SELDOM) & (together < _FEW_TOGETHER)
    contender = p_value < np.where(together < 2, _CONTENDER_FEWER, _CONTENDER)
    for row in np.flatnonzero(few & contender).tolist():
        p_value[row] = _by_number_together(statistic[row], x[i[row]], y[j[row]])
    same = np.empty(len(statistic))
    for k, m in set(zip(*(o.tolist() for o in orders), strict=True)):
        rows = (orders[0] == k) & (orders[1] == m)
        same[rows] = _limit_statistic(p_value[rows], min(k, m), max(k, m))
    return Tests(p_value, inflation, np.minimum(same / np.maximum(statistic, 1e-300), 1.0))


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


# --- the limit: weighted sums of squared normals


@lru_cache(maxsize=4)
def _limit_cumulant(order: int) -> np.ndarray:
    """(15, 15) cumulant 1, 2 or 3 of the limit, by the numbers of orders of both sides."""
    factor = {1: 1.0, 2: 2.0, 3: 8.0}[order]
    return factor * np.pad((WEIGHTS**order).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def limit_p(t: np.ndarray, k: int, m: int) -> np.ndarray:
    grid, log_tail = limit(k, m)
    slope = (log_tail[-1] - log_tail[-2]) / (grid[-1] - grid[-2])
    inside = np.interp(t, grid, log_tail)
    found: np.ndarray = np.exp(
        np.where(t > grid[-1], log_tail[-1] + slope * (t - grid[-1]), inside)
    )
    return found


def _limit_statistic(p_value: np.ndarray, k: int, m: int) -> np.ndarray:
    """The t of which `limit_p` is this."""
    grid, log_tail = limit(k, m)
    slope = (log_tail[-1] - log_tail[-2]) / (grid[-1] - grid[-2])
    log_p = np.log(p_value)
    inside = np.interp(-log_p, -log_tail, grid)
    found: np.ndarray = np.where(
        log_p < log_tail[-1], grid[-1] + (log_p - log_tail[-1]) / slope, inside
    )
    return found


@cache
def limit(k: int = ORDERS, m: int = ORDERS) -> tuple[np.ndarray, np.ndarray]:
    """Log of P(sum_ab w_ab chi2_1 > t), a <= k and b <= m, on a grid of t, from the generating function.

    1 / (2 pi i) Int exp(K(s) - s t) / s ds through the saddle point c > 0 (Lugannani & Rice 1980). All
    singularities but that at 0 lie on the real axis right of 1/2, so the contour s = c + r (u^2 / 2 + i u) bends
    round them, where exp(-s t) falls off as a Gaussian: few points give ten digits down to 1e-40.
    """
    weights, times = np.unique(WEIGHTS[:k, :m][WEIGHTS[:k, :m] > 0], return_counts=True)
    grid = np.concatenate([np.linspace(0.0, 12.0, 61), np.geomspace(12.4, 200.0, 40)])
    t = grid[1:].reshape(-1, _ON_A_CONTOUR)  # neighbours share theirs
    middle = t[:, _ON_A_CONTOUR // 2]
    c = np.maximum(_saddle(weights, times, middle), 0.02)[:, None]
    r = np.minimum(2 / middle, 0.5)[:, None]
    # fine where c nears the poles at 0 and 1/2
    v = np.linspace(0.0, 1.0, _POINTS) * np.arcsinh(np.sqrt(80 / (t[:, :1] * r)) / _POLE)
    u = _POLE * np.sinh(v)
    s = c + r * (0.5 * u**2 + 1j * u)
    log_f = -np.log(s)
    for weight, n in zip(weights, times, strict=True):
        log_f -= 0.5 * n * np.log(1 - 2 * weight * s)
    step = r * (u + 1j) * _POLE * np.cosh(v) * v[:, 1:2]
    step[:, 0] *= 0.5
    peak = log_f[:, :1].real
    values = (np.exp(log_f - peak) * step)[:, None] * np.exp((c - s)[:, None] * t[:, :, None])
    log_tail = np.zeros_like(grid)
    log_tail[1:] = np.minimum(0.0, peak - c * t + np.log(values.imag.sum(axis=2) / np.pi)).ravel()
    return grid, log_tail


def _saddle(weights: np.ndarray, times: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Real s < 1/2 with d/ds log mgf = t (K,), by bisection; 0 below the mean."""
    low, high = np.zeros_like(t), np.full_like(t, 0.5)
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = (weights / (1 - 2 * np.outer(middle, weights))) @ times < t
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


# --- finite n, by moments


def _gamma_ratio(
    t: np.ndarray,
    k: np.ndarray,
    m: np.ndarray,
    inflation: np.ndarray,
) -> np.ndarray:
    """Tail of a gamma law with the moments of T over that of one with the moments of the limit.

    Of a squared sum Z^2 whose inflation comes from the fourth cumulant of Z, the third cumulant inflates as
    1 + 3 (inflation - 1); 2.4 for 3 is what simulated margins have, and more where little is summed up.
    """
    mean, var, third = (_limit_cumulant(order)[k, m] for order in (1, 2, 3))
    inflation = np.maximum(inflation, 0.7)
    slope = 2.4 + np.clip(0.3 * (inflation - 1.5), 0.0, 0.6)
    tails = [
        _log_gamma_tail((t - mean) / np.sqrt(v), c / v**1.5)
        for v, c in ((var * inflation, third * (1 + slope * (inflation - 1))), (var, third))
    ]
    found: np.ndarray = np.exp(np.clip(tails[0] - tails[1], -50.0, 650.0))
    return found


def skewed(p_value: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """The same where the leading moment S_11 has a skewness: in far tails T is its square.

    Both tails of a gamma law of that skewness stand for both tails of the normal one.
    """
    z = -ndtri(0.5 * p_value)
    skewness = np.maximum(np.abs(skewness), 1e-3)
    shape = 4 / skewness**2
    with np.errstate(divide="ignore"):
        below = np.log(gammainc(shape, np.maximum(shape - z * np.sqrt(shape), 0.0)))
    both = np.logaddexp(_log_gamma_tail(z, skewness), below)
    found: np.ndarray = np.clip(np.exp(both), _SMALLEST, 1.0)
    return found


def _log_gamma_tail(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Log of P(Z > z) of a standardised gamma law of this skewness > 0."""
    shape = 4 / skewness**2
    x = np.maximum(shape + z * np.sqrt(shape), 1e-12)
    with np.errstate(divide="ignore"):
        near = np.log(gammaincc(shape, x))
    far = (shape - 1) * np.log(x) - x - gammaln(shape)
    return np.where(near > -600, near, far)


# --- few samples away together


def _by_number_together(t: float, x: Ranked, y: Ranked) -> float:
    """P(T >= t) of two variables that are seldom away together.

    Given that k samples are away in both, S_ab = (sum over them of (P_a - p_a)(P_b - p_b)) / n - p_a p_b, p the
    polynomials at the commonest values; which k of either side they are is drawn. k is hypergeometric.
    """
    of_x, of_y = _Away.of(x.polynomials), _Away.of(y.polynomials)
    n, a, b = len(x.value), len(of_x.beyond), len(of_y.beyond)
    usual = np.outer(of_x.common, of_y.common)
    weights = np.ascontiguousarray(WEIGHTS[: usual.shape[0], : usual.shape[1]])
    least, most = max(0, a + b - n), min(a, b, round(a * b / n) + _FARTHEST)
    k = np.arange(least, most + 1)
    share = np.exp(_log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n, b))
    t *= 1 - _ROUNDING
    # each sample adds one product to S: so large is T at most
    longest = np.sqrt((of_x.beyond**2 @ weights @ (of_y.beyond**2).T).max()) / n
    possible = (n - 1) * (np.sqrt((weights * usual**2).sum()) + k * longest) ** 2 >= t

    def adds(first: int, last: int, draws: int) -> np.ndarray:
        """What the numbers k[first] to k[last] add to the probability."""
        drawn = _statistics(k[first], k[last], of_x.beyond, of_y.beyond, usual, weights, n, draws)
        of = slice(first, last + 1)
        found: np.ndarray = share[of] * np.where(possible[of], _tails(drawn, t), 0.0)
        return found

    found = adds(0, len(k) - 1, _FIRST_DRAWS)
    matter = np.flatnonzero(found > _NEGLIGIBLE * found.max())
    if len(matter):
        draws = np.clip(_DRAWN_SAMPLES // max(k[matter[-1]], 1), _DRAWS, _MOST_DRAWS)
        found[matter[0] : matter[-1] + 1] = adds(matter[0], matter[-1], int(draws))
    return float(np.clip(found.sum(), _SMALLEST, 1.0))


def _tails(drawn: np.ndarray, t: float) -> np.ndarray:
    """(K,) shares of K laws beyond t, from (D, K) draws: counted, or by the moments of the root where few are there.

    The root of the statistic, which is about the length of a normal vector away from 0, has nearly a gamma tail.
    """
    above = (drawn >= t).sum(axis=0)
    root = np.sqrt(drawn)
    mean, spread = root.mean(axis=0), root.std(axis=0)
    found: np.ndarray = above / len(drawn)
    few = (above < _COUNTED) & (spread > _ROUNDING * mean)  # all draws may be the same
    away = (root[:, few] - mean[few]) / spread[few]
    skewness = np.maximum((away**3).mean(axis=0), _LEAST_SKEWNESS)
    found[few] = np.exp(_log_gamma_tail((np.sqrt(t) - mean[few]) / spread[few], skewness))
    return found


class _Away(NamedTuple):
    """Polynomials (K,) at the commonest value, and (A, K) beyond that of the samples away from it."""

    common: np.ndarray
    beyond: np.ndarray

    @classmethod
    def of(cls, p: RankPolynomials) -> _Away:
        at, common = p.at[:, : p.n_orders], int(p.size.argmax())
        times = p.size.copy()
        times[common] = 0
        return cls(at[common], np.repeat(at - at[common], times, axis=0))


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _statistics(
    first: int,
    last: int,
    x: Any,
    y: Any,
    usual: Any,
    weights: Any,
    n: int,
    n_draws: int,
) -> Any:
    """(n_draws, last - first + 1) statistics where `first` to `last` of x's (A, K) and y's (B, L) rows meet.

    A draw with k of them goes on to one with k + 1. The stream is fixed: the same variables give the same p-value in
    any run.
    """
    state = np.uint64(0x9E3779B97F4A7C15)
    of_x, of_y = np.arange(len(x)), np.arange(len(y))
    s = np.empty(usual.shape)
    found = np.empty((n_draws, last - first + 1))
    # most weights are 0: how many of a row are looked at
    width = np.zeros(len(weights), dtype=np.int64)
    for a in range(len(weights)):
        for b in range(weights.shape[1]):
            if weights[a, b] > 0:
                width[a] = b + 1
    for draw in range(n_draws):
        s[:] = 0.0
        for k in range(last + 1):
            if k > 0:
                place = k - 1
                for order in (of_x, of_y):
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    uniform = float(state >> np.uint64(11)) * 2.0**-53
                    other = place + int(uniform * (len(order) - place))
                    order[place], order[other] = order[other], order[place]
                for a in range(len(width)):
                    for b in range(width[a]):
                        s[a, b] += x[of_x[place], a] * y[of_y[place], b]
            if k >= first:
                total = 0.0
                for a in range(len(width)):
                    for b in range(width[a]):
                        total += weights[a, b] * (s[a, b] / n - usual[a, b]) ** 2
                found[draw, k - first] = (n - 1) * total
    return found


def _log_choose(n: int, k: Any) -> np.ndarray:
    found: np.ndarray = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return found
