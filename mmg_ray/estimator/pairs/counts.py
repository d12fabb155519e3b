"""Counts of many pairs over the levels of both variables, one table for each half of the samples.

Integers, so whatever follows from a table does not depend on the order of the samples. A missing value is
a level like any other: the caller gives it the last one, and margins over the complete samples are what is
left when it is cut off.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# of the samples, away from the commonest level: below it only those are visited
_SPARSE = 0.6


def tables(
    x: np.ndarray,
    y: np.ndarray,
    half: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    shape: tuple[int, int],
    n_parts: int = 2,
) -> np.ndarray:
    """(P, 2, X, Y) int32 samples of each half at every level of the rows i of x and j of y.

    Args:
        x, y: (U, n) and (V, n) uint8 levels. half: (n,) uint8, 0 or 1, or of other parts of the samples, `n_parts`.
        i, j: (P,) rows of x and y. shape: (X, Y), more than any level.

    Raises:
        ValueError: a level that the shape has no place for.
    """
    for levels, size in zip((x, y), shape, strict=True):
        if levels.size and levels.max() >= size:  # the kernels write wherever a level says
            raise ValueError(f"level {levels.max()} of a table of {size}")
    found = np.zeros((len(i), n_parts, *shape), dtype=np.int32)
    i, j = np.asarray(i, dtype=np.int64), np.asarray(j, dtype=np.int64)
    common = _commonest(x, shape[0])
    away = x != common[:, None]
    sparse = away.sum(axis=1) < _SPARSE * x.shape[1]
    if sparse.any():
        used = np.unique(i[sparse[i]])
        n_away = away[used].sum(axis=1)
        start = np.zeros((len(x), 2), dtype=np.int64)
        start[used, 1] = np.cumsum(n_away)
        start[used, 0] = start[used, 1] - n_away
        at = np.nonzero(away[used])[1].astype(np.int32)
        of_y = _histograms(y, half, shape[1], n_parts)
        _count_away(x, y, half, i, j, sparse, common, start, at, of_y, found)
    _count_all(x, y, half, i, j, sparse, found)
    return found


@njit(cache=True)
def margins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, 2, X, Y) tables -> int64 samples at the levels of x, (P, X), and of y, (P, Y), and float64 in each half, (P, 2).

    Of tables that are no counts but have their margins, float32, whole numbers as well.
    """
    n_pairs, _, n_x, n_y = counts.shape
    of_x, of_y, of_half = np.zeros((n_pairs, n_x)), np.zeros((n_pairs, n_y)), np.zeros((n_pairs, 2))
    for p in range(n_pairs):
        for h in range(2):
            for a in range(n_x):
                row = counts[p, h, a]
                total = 0.0
                for b in range(n_y):
                    total += row[b]
                    of_y[p, b] += row[b]
                of_x[p, a] += total
                of_half[p, h] += total
    return np.rint(of_x).astype(np.int64), np.rint(of_y).astype(np.int64), of_half


@njit(cache=True)
def _commonest(x: np.ndarray, n_levels: int) -> np.ndarray:
    """(V,) uint8 level of most samples of each row."""
    found = np.empty(len(x), dtype=np.uint8)
    for v in range(len(x)):
        count = np.zeros(n_levels, dtype=np.int64)
        for level in x[v]:
            count[level] += 1
        found[v] = count.argmax()
    return found


@njit(cache=True)
def _histograms(y: np.ndarray, half: np.ndarray, n_levels: int, n_parts: int) -> np.ndarray:
    """(V, 2, Y) int32 samples of each half at every level of each row."""
    found = np.zeros((len(y), n_parts, n_levels), dtype=np.int32)
    for v in range(len(y)):
        for s in range(y.shape[1]):
            found[v, half[s], y[v, s]] += 1
    return found


@njit(cache=True)
def _count_all(
    x: np.ndarray,
    y: np.ndarray,
    half: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    sparse: np.ndarray,
    found: np.ndarray,
) -> None:
    for p in range(len(i)):
        if sparse[i[p]]:
            continue
        of_x, of_y, table = x[i[p]], y[j[p]], found[p]
        for s in range(len(half)):
            table[half[s], of_x[s], of_y[s]] += 1


@njit(cache=True)
def _count_away(
    x: np.ndarray,
    y: np.ndarray,
    half: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    sparse: np.ndarray,
    common: np.ndarray,
    start: np.ndarray,
    at: np.ndarray,
    histograms: np.ndarray,
    found: np.ndarray,
) -> None:
    """The samples away from the commonest level of x; those at it are the rest of the margins of y."""
    n_x, n_y = found.shape[2:]
    for p in range(len(i)):
        if not sparse[i[p]]:
            continue
        of_x, of_y, table, usual = x[i[p]], y[j[p]], found[p], common[i[p]]
        for k in range(start[i[p], 0], start[i[p], 1]):
            s = at[k]
            table[half[s], of_x[s], of_y[s]] += 1
        for h in range(found.shape[1]):
            row = histograms[j[p], h].copy()
            for a in range(n_x):
                for b in range(n_y):
                    row[b] -= table[h, a, b]
            for b in range(n_y):
                table[h, usual, b] = row[b]
