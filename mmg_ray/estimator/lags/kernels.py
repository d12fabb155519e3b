"""Compiled counts of events at lags: integers, so that whatever follows does not depend on any order."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def coincidences(
    x_at: np.ndarray,
    x_level: np.ndarray,
    y_at: np.ndarray,
    y_level: np.ndarray,
    starts: np.ndarray,
    most: int,
    n_x: int,
    n_y: int,
) -> np.ndarray:
    """(2 most + 1, X, Y) events of x at t and of y at t + lag, lags -most..most, by their levels.

    `*_at` are ascending samples; no lag crosses a border of the segments starts[s]..starts[s + 1].
    """
    found = np.zeros((2 * most + 1, n_x, n_y), dtype=np.int64)
    first, segment = 0, 0
    for e in range(len(x_at)):
        t = x_at[e]
        while starts[segment + 1] <= t:
            segment += 1
        low = max(t - most, starts[segment])
        high = min(t + most, starts[segment + 1] - 1)
        while first < len(y_at) and y_at[first] < low:
            first += 1
        k = first
        while k < len(y_at) and y_at[k] <= high:
            found[y_at[k] - t + most, x_level[e], y_level[k]] += 1
            k += 1
    return found


@njit(cache=True)
def segment_sums(
    x_at: np.ndarray,
    x_weight: np.ndarray,
    x_means: np.ndarray,
    y_at: np.ndarray,
    y_weight: np.ndarray,
    y_means: np.ndarray,
    edges: np.ndarray,
    most: int,
) -> np.ndarray:
    """(S, 2 most + 1) sums over t of x_t y_(t + lag) within each segment, x being its (E,) weights at its events less
    its means everywhere, (S or 1, B or 1) of segments and of their samples."""
    n_segments = len(edges) - 1
    found = np.zeros((n_segments, 2 * most + 1))
    means_alone = np.zeros(2 * most + 1)
    by_time = x_means.shape[1] > 1
    a, b = 0, 0
    for s in range(n_segments):
        first, stop = edges[s], edges[s + 1]
        of_x, of_y = (x_means[0], y_means[0]) if by_time else (x_means[s], y_means[s])
        begin_b = b
        while b < len(y_at) and y_at[b] < stop:
            b += 1
        low = begin_b
        while a < len(x_at) and x_at[a] < stop:
            t, w = x_at[a], x_weight[a]
            while low < b and y_at[low] < t - most:
                low += 1
            k = low
            while k < b and y_at[k] <= t + most:
                found[s, y_at[k] - t + most] += w * y_weight[k]
                k += 1
            for u in range(max(t - most, first), min(t + most, stop - 1) + 1):
                found[s, u - t + most] -= w * (of_y[u - first] if by_time else of_y[0])
            a += 1
        for k in range(begin_b, b):
            t, w = y_at[k], y_weight[k]
            for u in range(max(t - most, first), min(t + most, stop - 1) + 1):
                found[s, t - u + most] -= w * (of_x[u - first] if by_time else of_x[0])
        if by_time and s > 0:  # segments are of one length
            found[s] += means_alone
            continue
        length = stop - first
        for k in range(2 * most + 1):
            lag = k - most
            if by_time:
                for t in range(max(0, -lag), length - max(0, lag)):
                    means_alone[k] += of_x[t] * of_y[t + lag]
            else:
                means_alone[k] = max(length - abs(lag), 0) * of_x[0] * of_y[0]
        found[s] += means_alone
    return found


@njit(cache=True)
def edge_counts(
    at: np.ndarray, level: np.ndarray, starts: np.ndarray, most: int, n_levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """(most + 1, L) events of each level in the first, and in the last, d samples of any segment."""
    first = np.zeros((most + 1, n_levels), dtype=np.int64)
    last = np.zeros((most + 1, n_levels), dtype=np.int64)
    segment = 0
    for e in range(len(at)):
        while starts[segment + 1] <= at[e]:
            segment += 1
        from_start, to_end = at[e] - starts[segment], starts[segment + 1] - 1 - at[e]
        if from_start < most:
            first[from_start + 1, level[e]] += 1
        if to_end < most:
            last[to_end + 1, level[e]] += 1
    for d in range(1, most + 1):
        for k in range(n_levels):
            first[d, k] += first[d - 1, k]
            last[d, k] += last[d - 1, k]
    return first, last


@njit(cache=True)
def window_counts(
    x_at: np.ndarray,
    x_count: np.ndarray,
    x_missing: np.ndarray,
    y_at: np.ndarray,
    y_count: np.ndarray,
    starts: np.ndarray,
    width: int,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(2 most + 1,) mean and variance of coincidences if each x were anywhere in its window of `width` samples that is
    not one of the ascending `x_missing`.

    Windows begin with each segment. The y that an x meets are those of a sample of its window shifted by the lag, any of
    them alike; two x of a window are taken as independent.
    """
    mean, variance = np.zeros(2 * most + 1), np.zeros(2 * most + 1)
    away, away_squares = (
        np.zeros(2 * most + 1),
        np.zeros(2 * most + 1),
    )  # what missing x do not meet
    e, segment = 0, 0
    low, gap = 0, 0
    while e < len(x_at):
        while starts[segment + 1] <= x_at[e]:
            segment += 1
        begin = x_at[e] - (x_at[e] - starts[segment]) % width
        end = min(begin + width, starts[segment + 1])
        total = 0
        while e < len(x_at) and x_at[e] < end:
            total += x_count[e]
            e += 1
        first, stop = starts[segment], starts[segment + 1]
        while low < len(y_at) and y_at[low] < max(begin - most, first):
            low += 1
        # counts of y in [begin + lag, end + lag), as the lag moves on
        size = end - begin
        away[:] = 0.0
        away_squares[:] = 0.0
        while gap < len(x_missing) and x_missing[gap] < begin:
            gap += 1
        c = low
        while gap < len(x_missing) and x_missing[gap] < end:
            t = x_missing[gap]
            while c < len(y_at) and y_at[c] < t - most:
                c += 1
            k = c
            while k < len(y_at) and y_at[k] <= t + most and y_at[k] < stop:
                away[y_at[k] - t + most] += y_count[k]
                away_squares[y_at[k] - t + most] += y_count[k] ** 2
                k += 1
            size -= 1
            gap += 1
        a = low
        while a < len(y_at) and y_at[a] < begin - most:
            a += 1
        b, inside, squares = a, 0, 0
        for k in range(2 * most + 1):
            lag = k - most
            while b < len(y_at) and y_at[b] < min(end + lag, stop):
                inside += y_count[b]
                squares += y_count[b] ** 2
                b += 1
            while a < b and y_at[a] < begin + lag:
                inside -= y_count[a]
                squares -= y_count[a] ** 2
                a += 1
            chance = (inside - away[k]) / size
            mean[k] += total * chance
            variance[k] += total * ((squares - away_squares[k]) / size - chance**2)
    return mean, variance


@njit(cache=True)
def strata_tables(
    target: np.ndarray,
    source: np.ndarray,
    past: np.ndarray,
    starts: np.ndarray,
    lags: np.ndarray,
    own: np.ndarray,
    n_levels: int,
    n_past: int,
) -> np.ndarray:
    """(P, C, T, S) counts of target at t and source at t - lag, in strata of the past at t - own.

    (N,) uint8 levels; a sample of which any is a level beyond `n_levels` or `n_past` is left out.
    """
    found = np.zeros((len(lags), n_past ** len(own), n_levels, n_levels), dtype=np.int64)
    reach = max(lags.max(), own.max())
    for segment in range(len(starts) - 1):
        for t in range(starts[segment] + reach, starts[segment + 1]):
            now, stratum, known = target[t], 0, target[t] < n_levels
            for k in own:
                known = known and past[t - k] < n_past
                stratum = stratum * n_past + past[t - k]
            if known:
                for p in range(len(lags)):
                    other = source[t - lags[p]]
                    if other < n_levels:
                        found[p, stratum, now, other] += 1
    return found
