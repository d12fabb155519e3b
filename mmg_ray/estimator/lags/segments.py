"""Sums of products at lags, segment by segment: what scatters among trials, or blocks of a recording, is the null's scatter.

Each series first loses what is no dependence: of trials the mean over them at each time, which is what both owe to the
beginning of a trial; of blocks the mean of the block, which is drift. Segments then are independent of one another under the
null, whatever a series remembers within one and however its scatter changes from one to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmg_ray.estimator.lags import kernels
from mmg_ray.estimator.lags.moments import sums_of_segments
from mmg_ray.estimator.lags.series import Series

LEAST_TRIALS, LEAST_BLOCKS = 8, 20
_LEAST_FREEDOM = 3.0
_LAGS_IN_BLOCK = 10  # at least, so that most of a block has them all
_TIMES_IN_BLOCK = 10  # correlation times


class Scatter(NamedTuple):
    """Of a pair, at L lags.

    Attributes:
        sums: (L, K, M) over all segments. variance: (K, M) of a sum, the mean over lags.
        freedom: (K, M) degrees of freedom of the variance (Satterthwaite 1946). neighbours: correlation of sums at one
            lag and the next. inflation: variance of the first sum over that of independent samples.
    """

    sums: np.ndarray
    variance: np.ndarray
    skewness: float
    freedom: np.ndarray
    neighbours: float
    inflation: float


class Centred(NamedTuple):
    """A series of events less its means: (E,) weights at its events, less means that are (1, B) of the times of a
    trial or (S, 1) of segments, everywhere; `square` is the mean square of what is left."""

    weight: np.ndarray
    means: np.ndarray
    square: float


def block_length(starts: np.ndarray, memory: float, most: int) -> int:
    """Samples of blocks longer than what is remembered, samples, and than lags; there are 20 of them at least."""
    least = _LAGS_IN_BLOCK * (2 * most + 1)
    # doubled, so that pairs of many a memory share what is made of a series
    longest = least * 2 ** int(np.ceil(np.log2(max(_TIMES_IN_BLOCK * memory / least, 1.0))))
    return min(longest, int(starts[-1]) // LEAST_BLOCKS)


def of_trials(x: Series, y: Series, most: int) -> Scatter:
    """Of trials of one length, which are the segments of the series."""
    return _scatter(x, y, most, x.starts, of_trials=True)


def of_blocks(x: Series, y: Series, most: int, edges: np.ndarray) -> Scatter:
    """Of blocks between (S + 1,) edges."""
    return _scatter(x, y, most, edges, of_trials=False)


def _scatter(x: Series, y: Series, most: int, edges: np.ndarray, of_trials: bool) -> Scatter:
    # degrees of freedom that means have taken: that over segments, and that over trials at each time
    n_means = 2 if of_trials else 1
    if x.dense or y.dense:
        a, b = (_values(s, edges, of_trials) for s in (x, y))
        each = np.concatenate(list(sums_of_segments(a, b, edges, most)))
        squares = [float((v[0] ** 2).mean()) for v in (a, b)]
    else:
        of_x, of_y = (_centred(s, edges, of_trials) for s in (x, y))
        each = kernels.segment_sums(
            x.at, of_x.weight, of_x.means, y.at, of_y.weight, of_y.means, edges, most
        )[..., None, None]
        squares = [of_x.square, of_y.square]
    n = len(each)
    sums = each.sum(axis=0)
    each -= sums / n
    of_segment = np.square(each).mean(axis=1)  # (S, K, M)
    total = of_segment.sum(axis=0)
    variance = np.maximum(total * n / (n - n_means), 1e-12)
    next_to = np.einsum("slkm,slkm->km", each[:, :-1], each[:, 1:])
    correlation = np.clip(next_to / np.maximum(total * (each.shape[1] - 1), 1e-300), 0.0, 0.9999)
    orders = np.outer(*(1.0 / np.arange(1, k + 1) for k in correlation.shape))
    alone = squares[0] * squares[1] * x.n
    third = (each[:, :, 0, 0] ** 3).mean(axis=1).sum()
    return Scatter(
        sums,
        variance,
        float(third / max(total[0, 0], 1e-300) ** 1.5),
        _freedom(of_segment, n_means),
        float(np.average(correlation, weights=orders**2)),
        float(variance[0, 0] / max(alone, 1e-300)),
    )


def _freedom(of_segment: np.ndarray, n_means: int) -> np.ndarray:
    """Degrees of freedom of the sum over (S, ...) squares of segments that have lost so many means (Satterthwaite 1946)."""
    n = len(of_segment)
    total, spread = of_segment.sum(axis=0), of_segment.var(axis=0, ddof=1)
    found = 2 * total**2 / np.maximum(n * spread, 1e-300) * (n - n_means) / n
    # squares that are all alike say nothing of how uncertain they are
    return np.asarray(np.clip(found, _LEAST_FREEDOM, 1e6))


def _values(x: Series, edges: np.ndarray, of_trials: bool) -> np.ndarray:
    """(K, N) functions less their means over samples present; 0 where missing."""
    values, present = x.values(), x.present()
    if of_trials:
        parts = values.reshape(len(values), len(edges) - 1, -1)
        there = present.reshape(len(edges) - 1, -1)
        mean = parts.sum(axis=1) / np.maximum(there.sum(axis=0), 1)
        parts -= mean[:, None]  # a view of `values`
    else:
        n = np.add.reduceat(present, edges[:-1], dtype=np.int64)
        mean = np.add.reduceat(values, edges[:-1], axis=1) / np.maximum(n, 1)
        values -= np.repeat(mean, np.diff(edges), axis=1)
    values *= present
    return values


def _centred(x: Series, edges: np.ndarray, of_trials: bool) -> Centred:
    """Made once for the same segments."""
    key = (of_trials, edges.tobytes())
    if key not in x.centred:
        x.centred[key] = _center(x, edges, of_trials)
    return x.centred[key]


def _center(x: Series, edges: np.ndarray, of_trials: bool) -> Centred:
    n_segments = len(edges) - 1
    weight = x.away[x.level, 0] + 0.0
    gone = x.level == len(x.size)
    weight[gone] = 0.0
    segment = np.searchsorted(edges, x.at, side="right") - 1
    if of_trials:
        at, size, n = x.at - edges[segment], int(edges[1]), np.full(int(edges[1]), n_segments)
    else:
        at, size, n = segment, n_segments, np.diff(edges)
    total, square = (np.bincount(at, w, minlength=size) for w in (weight, weight**2))
    n_present = n - np.bincount(at[gone], minlength=size)
    mean = total / np.maximum(n_present, 1)
    weight[gone] = mean[at[gone]]  # so that nothing is left there
    left = float((square - n_present * mean**2).sum()) / x.n
    return Centred(weight, mean[None] if of_trials else mean[:, None], left)
