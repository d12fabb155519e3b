"""p-values of two variables that are away from their commonest values in few samples together: one is rare, or both.

Given how many samples are away in both, a hypergeometric number, those few are drawn; the probabilities are added up over
that number, so that far tails need no more draws.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.special import gammaln

from mmg_ray.estimator.dependence.gamma_tail import SMALLEST, log_gamma_tail
from mmg_ray.estimator.dependence.screen import WEIGHTS
from mmg_ray.estimator.ranks.rank_polynomials import Ranked, RankPolynomials

_FIRST_DRAWS, _DRAWS = 100, 1_500  # for all numbers of them, then at least for those that matter
_MOST_DRAWS, _DRAWN_SAMPLES = 6_000, 25_000  # where few are together, more draws cost the same
_FARTHEST = 150  # such numbers above the expected one, which add less than 1e-100
_COUNTED, _LEAST_SKEWNESS = 20, 0.1  # draws beyond the statistic are enough to count
_NEGLIGIBLE = 1e-3
_ROUNDING = 1e-4  # of a statistic in single precision; draws that are as large count as larger


def by_number_together(t: float, x: Ranked, y: Ranked) -> float:
    """P(T >= t) of two variables that are away from their commonest values in few samples together.

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
    return float(np.clip(found.sum(), SMALLEST, 1.0))


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
    found[few] = np.exp(log_gamma_tail((np.sqrt(t) - mean[few]) / spread[few], skewness))
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
