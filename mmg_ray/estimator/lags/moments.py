"""Sums of products of two series at all lags, and counts of their values: the same numbers by events or sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmg_ray.estimator.lags import kernels
from mmg_ray.estimator.lags.series import Series

_SAMPLES_AT_ONCE = 2048


class Lagged(NamedTuple):
    """Of a pair, at L = 2 most + 1 lags.

    Attributes:
        sums: (L, K, M) of f_a(x_t) g_b(y_(t + lag)). n: (L,) samples that overlap and have both.
        tables: (L, X, Y) counts of both values, of samples that have both; None of dense series.
    """

    sums: np.ndarray
    n: np.ndarray
    tables: np.ndarray | None


def overlap(x: Series, most: int) -> np.ndarray:
    """(2 most + 1,) samples t of which t + lag is in the same segment."""
    length = np.diff(x.starts)
    found: np.ndarray = np.maximum(length[:, None] - np.abs(np.arange(-most, most + 1)), 0).sum(0)
    return found


def lagged(x: Series, y: Series, most: int) -> Lagged:
    """Products and counts at lags -most..most; positive lags: y follows."""
    if x.dense or y.dense:
        sums, n = _sums(x.values(), y.values(), x.starts, most), overlap(x, most)
        if x.any_missing or y.any_missing:
            of_x, of_y = (s.present()[None].astype(float) for s in (x, y))
            n = _sums(of_x, of_y, x.starts, most)[:, 0, 0].astype(np.int64)
        return Lagged(sums, n, None)
    tables = _tables(x, y, most)
    sums = np.einsum("lxy,xa,yb->lab", tables, _whole(x), _whole(y))
    present = tables[:, : len(x.size), : len(y.size)]
    return Lagged(sums, present.sum(axis=(1, 2)), present)


def _whole(x: Series) -> np.ndarray:
    """(L + 1, K) functions, 0 of the level of missing samples."""
    return np.concatenate([x.functions, np.zeros((1, x.functions.shape[1]))])


def _tables(x: Series, y: Series, most: int) -> np.ndarray:
    """(L, X + 1, Y + 1) counts of all samples that overlap, missing being the last level."""
    n_x, n_y = len(x.size) + 1, len(y.size) + 1
    found = kernels.coincidences(x.at, x.level, y.at, y.level, x.starts, most, n_x, n_y)
    lag = np.arange(-most, most + 1)
    early, late = np.maximum(lag, 0), np.maximum(-lag, 0)
    first_x, last_x = x.edge_counts(most)
    first_y, last_y = y.edge_counts(most)
    # of x at t and of y at t + lag, of samples that overlap
    of_x = np.bincount(x.level, minlength=n_x) - last_x[early] - first_x[late]
    of_y = np.bincount(y.level, minlength=n_y) - first_y[early] - last_y[late]
    found[:, 1:, 0] = (of_x - found.sum(axis=2))[:, 1:]
    found[:, 0, 1:] = (of_y - found.sum(axis=1))[:, 1:]
    found[:, 0, 0] = overlap(x, most) - found.sum(axis=(1, 2))
    return found


def _sums(x: np.ndarray, y: np.ndarray, starts: np.ndarray, most: int) -> np.ndarray:
    """(L, K, M) sums over t of (K, N) and (M, N) functions. Exact, since these are on a grid: in any order."""
    found = np.zeros((2 * most + 1, len(x), len(y)))
    for of_segments in sums_of_segments(x, y, starts, most):
        found += of_segments.sum(axis=0)
    return found


def sums_of_segments(
    x: np.ndarray, y: np.ndarray, edges: np.ndarray, most: int
) -> Iterator[np.ndarray]:
    """(S, L, K, M) sums over t of (K, N) and (M, N) functions in each of S segments, some at a time."""
    length = np.diff(edges)
    if len(length) > 1 and length[0] <= _SAMPLES_AT_ONCE and (length == length[0]).all():
        # short ones side by side: one by one their calls take longer than their sums
        size = int(length[0])
        a, b = (v.reshape(len(v), -1, size).transpose(1, 0, 2) for v in (x, y))
        b = np.pad(b, ((0, 0), (0, 0), (most, most))).transpose(0, 2, 1)
        yield np.stack([a @ b[:, k : k + size] for k in range(2 * most + 1)], axis=1)
        return
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        found = np.zeros((2 * most + 1, len(x), len(y)))
        around = np.pad(y[:, first:last], ((0, 0), (most, most)))
        for begin in range(0, last - first, _SAMPLES_AT_ONCE):
            part = x[:, first + begin : min(first + begin + _SAMPLES_AT_ONCE, last)]
            reach = around[:, begin : begin + part.shape[1] + 2 * most]
            windows = np.lib.stride_tricks.sliding_window_view(reach, part.shape[1], axis=1)
            found += np.tensordot(windows, part, axes=(2, 1)).transpose(1, 2, 0)
        yield found[None]
