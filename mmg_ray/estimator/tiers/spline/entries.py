"""The non-empty entries of tables of counts: a table is a weighted sample, and an entry is its sample.

Entries of a direction "x given y" are sorted by the level of y, so that sums over x within a level of y
are sums over neighbours. A level of x that many samples share becomes several points, an entry at each:
its samples are anywhere between its quantiles, as if its ties had been broken in all ways at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.special import ndtr, ndtri

from mmg_ray.estimator.tiers.spline.points import NARROWING, Points, points

_LEVELS_APART = 16
_SOURCE_LEVELS = 1024  # each is less than half of the finest bin of a knot


class Entries(NamedTuple):
    """Entries of S directions with Y levels of the source.

    Attributes:
        start: (S, Y + 1) int64 where the entries of each level of y begin, and end, in what follows.
        x, square: (M,) float32 mean normal score of the target, and of its square. width: (M,)
            float32 of scores at its point.
        weight: (M, 2) float32 samples of each half.
        y: (S, Y) mid-rank normal scores. n: (S,) samples. n_points: (S,) of the target's.
    """

    start: np.ndarray
    x: np.ndarray
    square: np.ndarray
    width: np.ndarray
    weight: np.ndarray
    y: np.ndarray
    n: np.ndarray
    n_points: np.ndarray

    def of(self, s: int) -> slice:
        """The entries of one direction."""
        return slice(int(self.start[s, 0]), int(self.start[s, -1]))

    def counting(self, worth: np.ndarray) -> Entries:
        """The same, a sample of direction s counted as `worth[s]` of one."""
        if (worth == 1).all():
            return self
        of_entry = np.empty(len(self.weight), dtype=np.float32)
        for s, share in enumerate(worth.tolist()):
            of_entry[self.of(s)] = share
        return self._replace(weight=self.weight * of_entry[:, None], n=self.n * worth)

    def select(self, rows: np.ndarray) -> Entries:
        """Some of the directions; what is stored by entry stays in place."""
        return self._replace(
            start=self.start[rows], y=self.y[rows], n=self.n[rows], n_points=self.n_points[rows]
        )


def entries(
    counts: np.ndarray, of_target: Points, index: np.ndarray, y: np.ndarray, swapped: bool
) -> Entries:
    """Entries of P pairs of (P, 2, X, Y) counts, x given y; or y given x if `swapped`.

    Args:
        of_target: points of distinct variables. index: (P,) which is the target of each pair.
        y: (P, L) scores of the source.
    """
    start = _starts(counts, of_target.first, index, swapped)
    first, n_points, share, score, square, width = of_target
    values = _filled(counts, first, share, score, square, width, index, start, swapped)
    n = np.rint(counts.sum(axis=(1, 2, 3), dtype=np.float64)).astype(np.int64)
    return Entries(start, *values, y, n, n_points[index])


def joined(parts: Sequence[Entries]) -> Entries:
    """The directions of all parts in turn, whose levels are padded to a multiple above the most."""
    most = max(e.y.shape[1] for e in parts)
    n_levels = -(-most // _LEVELS_APART) * _LEVELS_APART
    offset = np.cumsum([0, *(len(e.x) for e in parts[:-1])])
    starts, scores = [], []
    for e, first in zip(parts, offset, strict=True):
        short = (0, 0), (0, n_levels - e.y.shape[1])
        starts.append(np.pad(e.start + first, short, mode="edge"))
        scores.append(np.pad(e.y, short, mode="edge"))
    x, square, width, weight, n, n_points = (
        np.concatenate([getattr(e, name) for e in parts])
        for name in ("x", "square", "width", "weight", "n", "n_points")
    )
    return Entries(
        np.concatenate(starts), x, square, width, weight, np.concatenate(scores), n, n_points
    )


def entries_of_samples(x: np.ndarray, y: np.ndarray, half: np.ndarray) -> Entries:
    """One direction, x given y, every value a level of its own.

    Args:
        x, y: (n,) codes 0, 1, ... that all occur; neighbouring values of y are merged where they are more than
            `_SOURCE_LEVELS`. half: (n,) 0 or 1.
    """
    y = _merged(y)
    size_x, size_y = np.bincount(x), np.bincount(y)
    of_x, of_y, both = _distinct(x, y, half, size_x, size_y)
    at = points(size_x[None])
    n_points = np.diff(at.first[0])[of_x]
    entry = np.repeat(np.arange(len(of_x)), n_points)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(n_points) - n_points, n_points)
    point = at.first[0][of_x[entry]] + within
    return Entries(
        np.searchsorted(of_y[entry], np.arange(len(size_y) + 1))[None],
        at.score[0, point].astype(np.float32),
        at.square[0, point].astype(np.float32),
        at.width[0, point].astype(np.float32),
        (both[entry] * at.share[0, point, None]).astype(np.float32),
        ndtri((np.cumsum(size_y) - 0.5 * size_y) / len(y))[None],
        np.array([len(y)]),
        at.n,
    )


@njit(cache=True)
def _distinct(
    x: np.ndarray, y: np.ndarray, half: np.ndarray, size_x: np.ndarray, size_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) x and (M,) y that occur together, ascending in y, then in x, and (M, 2) samples of each half there."""
    n = len(x)
    by_x, order = np.empty(n, np.int64), np.empty(n, np.int64)
    filled = np.cumsum(size_x) - size_x
    for sample in range(n):
        by_x[filled[x[sample]]] = sample
        filled[x[sample]] += 1
    filled = np.cumsum(size_y) - size_y
    for k in by_x:
        order[filled[y[k]]] = k
        filled[y[k]] += 1
    of_x, of_y = np.empty(n, np.int64), np.empty(n, np.int64)
    both = np.zeros((n, 2))
    m = -1
    for k in order:
        if m < 0 or x[k] != of_x[m] or y[k] != of_y[m]:
            m += 1
            of_x[m], of_y[m] = x[k], y[k]
        both[m, half[k]] += 1
    return of_x[: m + 1], of_y[: m + 1], both[: m + 1]


def _merged(y: np.ndarray) -> np.ndarray:
    """Codes of at most `_SOURCE_LEVELS` levels, in bins that narrow towards the ends."""
    size = np.bincount(y)
    if len(size) <= _SOURCE_LEVELS:
        return y
    share = (np.cumsum(size) - 0.5 * size) / len(y)
    bins = np.floor(_SOURCE_LEVELS * ndtr(ndtri(share) / NARROWING))
    found: np.ndarray = np.cumsum(np.diff(bins, prepend=bins[0]) != 0)[y]
    return found


@njit(cache=True)
def _starts(counts: np.ndarray, first: np.ndarray, index: np.ndarray, swapped: bool) -> np.ndarray:
    n_pairs, _, n_x, n_y = counts.shape
    if swapped:
        n_x, n_y = n_y, n_x
    start = np.zeros((n_pairs, n_y + 1), np.int64)
    total = 0
    for p in range(n_pairs):
        of = first[index[p]]
        start[p, 0] = total
        for b in range(n_y):
            for a in range(n_x):
                if swapped:
                    there = counts[p, 0, b, a] + counts[p, 1, b, a] > 0
                else:
                    there = counts[p, 0, a, b] + counts[p, 1, a, b] > 0
                if there:
                    total += of[a + 1] - of[a]
            start[p, b + 1] = total
    return start


@njit(cache=True)
def _filled(
    counts: np.ndarray,
    first: np.ndarray,
    share: np.ndarray,
    score: np.ndarray,
    square: np.ndarray,
    width: np.ndarray,
    index: np.ndarray,
    start: np.ndarray,
    swapped: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n_pairs, _, n_x, n_y = counts.shape
    if swapped:
        n_x, n_y = n_y, n_x
    total = start[-1, -1]
    x, of_square = np.empty(total, np.float32), np.empty(total, np.float32)
    of_width, weight = np.empty(total, np.float32), np.empty((total, 2), np.float32)
    k = 0
    for p in range(n_pairs):
        v = index[p]
        for b in range(n_y):
            for a in range(n_x):
                if swapped:
                    one, two = counts[p, 0, b, a], counts[p, 1, b, a]
                else:
                    one, two = counts[p, 0, a, b], counts[p, 1, a, b]
                if one + two == 0:
                    continue
                for point in range(first[v, a], first[v, a + 1]):
                    x[k], of_square[k] = score[v, point], square[v, point]
                    of_width[k] = width[v, point]
                    weight[k, 0], weight[k, 1] = one * share[v, point], two * share[v, point]
                    k += 1
    return x, of_square, of_width, weight
