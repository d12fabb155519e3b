"""p-values of two variables that are away from their commonest values in few samples together: one is rare, or both.

Given how many samples are away in both, a hypergeometric number, those few are drawn; the probabilities are added up over
that number, so that far tails need no more draws.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.special import gammaln

from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.dependence.block_products import Side
from mmg_ray.estimator.dependence.gamma_tail import SMALLEST, log_gamma_tail
from mmg_ray.estimator.dependence.screen import WEIGHTS
from mmg_ray.estimator.ranks.strata import Within

_FIRST_DRAWS, _DRAWS = 100, 1_500  # for all numbers of them, then at least for those that matter
_MOST_DRAWS, _DRAWN_SAMPLES = 6_000, 25_000  # where few are together, more draws cost the same
_FARTHEST = 150  # such numbers above the expected one, which add less than 1e-100
_COUNTED, _LEAST_SKEWNESS = 20, 0.1  # draws beyond the statistic are enough to count
_NEGLIGIBLE = 1e-3
_ROUNDING = 1e-4  # of a statistic in single precision; draws that are as large count as larger


def by_number_together(t: float, x: Side, y: Side) -> float:
    """P(T >= t) of two variables that are away from their commonest values in few samples together.

    Given that k samples are away in both, S_ab = (sum over them of (P_a - p_a)(P_b - p_b)) / n - p_a p_b, p the
    polynomials at the commonest values; which k of either side they are is drawn. k is hypergeometric. Within strata the
    mean of products of the means in each comes off as well, k is a sum of hypergeometric numbers, and those that meet
    are of one stratum, drawn with replacement.
    """
    of_x, of_y = _Away.of(x), _Away.of(y)
    n = len(x.value)
    usual = np.outer(of_x.common, of_y.common)
    weights = np.ascontiguousarray(WEIGHTS[: usual.shape[0], : usual.shape[1]])
    if isinstance(x, Within) and isinstance(y, Within):
        of_stratum = x.size.sum(axis=1)
        weights = weights / screen.variances(x, y)[: len(weights), : weights.shape[1]]
        usual += ((x.mean.T * (of_stratum / n)) @ y.mean)[: len(weights), : weights.shape[1]]
    else:
        of_stratum = np.array([n])
    k, share = _together(of_x.n_away, of_y.n_away, of_stratum)
    meet = partial(_meet, len(of_x.beyond), len(of_y.beyond))
    if len(of_stratum) > 1:
        meet = partial(_meet_in_strata, of_x.n_away, of_y.n_away, of_stratum)
    t *= 1 - _ROUNDING
    # each sample adds one product to S: so large is T at most
    longest = np.sqrt((of_x.beyond**2 @ weights @ (of_y.beyond**2).T).max(initial=0.0)) / n
    possible = (n - 1) * (np.sqrt((weights * usual**2).sum()) + k * longest) ** 2 >= t

    def adds(first: int, last: int, draws: int) -> np.ndarray:
        """What the numbers k[first] to k[last] add to the probability."""
        sides = of_x.beyond, of_y.beyond, usual, weights, n
        drawn = _statistics(k[first], k[last], *sides, meet(draws, k[last]))
        of = slice(first, last + 1)
        found: np.ndarray = share[of] * np.where(possible[of], _tails(drawn, t), 0.0)
        return found

    found = adds(0, len(k) - 1, _FIRST_DRAWS)
    matter = np.flatnonzero(found > _NEGLIGIBLE * found.max())
    if len(matter):
        draws = np.clip(_DRAWN_SAMPLES // max(k[matter[-1]], 1), _DRAWS, _MOST_DRAWS)
        found[matter[0] : matter[-1] + 1] = adds(matter[0], matter[-1], int(draws))
    return float(np.clip(found.sum(), SMALLEST, 1.0))


def _hypergeometric(k: np.ndarray, a: int, b: int, n: int) -> np.ndarray:
    """Probabilities that k samples of n are of a and of b of them."""
    found: np.ndarray = np.exp(_log_choose(a, k) + _log_choose(n - a, b - k) - _log_choose(n, b))
    return found


def _together(a: np.ndarray, b: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of samples away in both, of (S,) away in either of n in each stratum, and their probabilities."""
    most = int(
        min(np.minimum(a, b).sum(), round(float((a * b / np.maximum(n, 1)).sum())) + _FARTHEST)
    )
    least = int(np.maximum(0, a + b - n).sum())
    share = np.ones(1)
    for of_a, of_b, size in zip(a.tolist(), b.tolist(), n.tolist(), strict=True):
        if of_a and of_b:
            k = np.arange(min(of_a, of_b) + 1)
            one = np.where(k >= of_a + of_b - size, _hypergeometric(k, of_a, of_b, size), 0.0)
            share = np.convolve(share, one)[: most + 1]
    k = np.arange(least, len(share))
    return k, share[least:]


def _tails(drawn: np.ndarray, t: float) -> np.ndarray:
    """(K,) shares of K laws beyond t, from (D, K) draws: counted, or by the moments of the root where few are there.

    The root of the statistic, which is about the length of a normal vector away from 0, has nearly a gamma tail.
    """
    above, mean, spread, skewness = _of_roots(drawn, t)
    found: np.ndarray = above / len(drawn)
    few = (above < _COUNTED) & (spread > _ROUNDING * mean)  # all draws may be the same
    away = (np.sqrt(t) - mean[few]) / spread[few]
    found[few] = np.exp(log_gamma_tail(away, np.maximum(skewness[few], _LEAST_SKEWNESS)))
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _of_roots(drawn: Any, t: float) -> Any:
    """Of (D, K) draws, (K,) each: how many are at least t; mean, standard deviation and skewness of their roots."""
    n_draws, n_laws = drawn.shape
    above, mean, square, cube = np.zeros((4, n_laws))
    for draw in range(n_draws):
        for k in range(n_laws):
            above[k] += drawn[draw, k] >= t
            mean[k] += np.sqrt(drawn[draw, k])
    mean /= n_draws
    for draw in range(n_draws):
        for k in range(n_laws):
            away = np.sqrt(drawn[draw, k]) - mean[k]
            square[k] += away**2
            cube[k] += away**3
    spread = np.sqrt(square / n_draws)
    return above, mean, spread, cube / n_draws / np.maximum(spread, 1e-300) ** 3


class _Away(NamedTuple):
    """Polynomials (K,) at the commonest value, and (A, K) beyond that of the samples away from it, one stratum after the
    other, of (S,) each; of one where there are no strata."""

    common: np.ndarray
    beyond: np.ndarray
    n_away: np.ndarray

    @classmethod
    def of(cls, side: Side) -> _Away:
        p = side.polynomials
        at, common = p.at[:, : p.n_orders], int(p.size.argmax())
        times = (side.size if isinstance(side, Within) else p.size[None]).copy()
        times[:, common] = 0
        level = np.tile(np.arange(len(at)), len(times))
        return cls(
            at[common],
            np.repeat((at - at[common])[level], times.ravel(), axis=0),
            times.sum(axis=1),
        )


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _uniform(state: Any) -> Any:
    """The next state of a stream, and its number in (0, 1)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state, float(state >> np.uint64(11)) * 2.0**-53


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _meet(a: int, b: int, n_draws: int, most: int) -> Any:
    """(n_draws, 2, most) which of a and of b samples meet first, second, ...: no one twice.

    The stream is fixed: the same variables give the same p-value in any run.
    """
    state = np.uint64(0x9E3779B97F4A7C15)
    orders = (np.arange(a), np.arange(b))
    found = np.empty((n_draws, 2, most), dtype=np.int64)
    for draw in range(n_draws):
        for place in range(most):
            for side in range(2):
                order = orders[side]
                state, uniform = _uniform(state)
                other = place + int(uniform * (len(order) - place))
                order[place], order[other] = order[other], order[place]
                found[draw, side, place] = order[place]
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _meet_in_strata(a: Any, b: Any, n: Any, n_draws: int, most: int) -> Any:
    """The same of (S,) samples in each stratum of n, one stratum after the other; some may meet twice."""
    state = np.uint64(0x9E3779B97F4A7C15)
    chance = np.cumsum(a * b / np.maximum(n, 1))
    first_a, first_b = np.cumsum(a) - a, np.cumsum(b) - b
    # where to begin to look for a stratum: no search for each draw
    first = np.searchsorted(chance, np.arange(len(a)) / len(a) * chance[-1], side="right")
    found = np.empty((n_draws, 2, most), dtype=np.int64)
    for draw in range(n_draws):
        for place in range(most):
            state, uniform = _uniform(state)
            at = uniform * chance[-1]
            s = first[int(uniform * len(first))]
            while s < len(a) - 1 and chance[s] <= at:
                s += 1
            state, uniform = _uniform(state)
            found[draw, 0, place] = first_a[s] + int(uniform * a[s])
            state, uniform = _uniform(state)
            found[draw, 1, place] = first_b[s] + int(uniform * b[s])
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _statistics(
    first: int, last: int, x: Any, y: Any, usual: Any, weights: Any, n: int, meet: Any
) -> Any:
    """(draws, last - first + 1) statistics where `first` to `last` of x's (A, K) and y's (B, L) rows `meet`.

    A draw with k of them goes on to one with k + 1.
    """
    s = np.empty(usual.shape)
    found = np.empty((len(meet), last - first + 1))
    # most weights are 0: how many of a row are looked at
    width = np.zeros(len(weights), dtype=np.int64)
    for a in range(len(weights)):
        for b in range(weights.shape[1]):
            if weights[a, b] > 0:
                width[a] = b + 1
    for draw in range(len(meet)):
        s[:] = 0.0
        for k in range(last + 1):
            if k > 0:
                of_x, of_y = meet[draw, 0, k - 1], meet[draw, 1, k - 1]
                for a in range(len(width)):
                    for b in range(width[a]):
                        s[a, b] += x[of_x, a] * y[of_y, b]
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
