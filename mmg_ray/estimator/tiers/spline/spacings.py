"""Residuals of entries, and the entropy of their spacings."""

from __future__ import annotations

import numpy as np
from numba import njit

_CELLS = 4096  # of 0..1, from whose edges a row of the tables is looked for
_FULL = 64  # numbers in a bucket, from which they are not sorted one by one
_PLACES_PER_SPACING = 8  # of the samples of an entry, at least
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1)


@njit(cache=True, error_model="numpy")
def residuals(
    start: np.ndarray,
    x: np.ndarray,
    square: np.ndarray,
    location: np.ndarray,
    keep: np.ndarray,
    log_v: np.ndarray,
    say: np.ndarray,
    rank_noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) leave-one-out residual, log variance and log ratio log q(x | y) / phi(x) of the entries.

    Args:
        location, keep, log_v, say: (S, Y) m(y), 1 / (1 - leverage) of a sample on it, log v(y), and
            leverage / (1 - leverage) on that. rank_noise: (S,) of `warp`.
    """
    residual, others, log_ratio = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            m, k1, at, own = location[s, b], keep[s, b], log_v[s, b], say[s, b]
            inverse = np.exp(-at)
            for k in range(start[s, b], start[s, b + 1]):
                error = (x[k] - m) * k1
                squared = max(square[k] - 2 * m * x[k] + m * m, 0.0) * k1 * k1
                # one wild sample must not throw the fit, nor may its absence
                excess = min(squared * inverse - 1, 8.0)
                log_variance = at - min(own * excess, 1.0)
                precision = np.exp(-0.5 * log_variance)
                sd = min(1 / precision, 1.0)
                residual[k] = error * precision
                others[k] = log_variance
                log_ratio[k] = 0.5 * (
                    square[k] - squared * precision * precision - log_variance
                ) + min(rank_noise[s] / sd * np.sqrt(1 - sd), 0.2)
    return residual, others, log_ratio


@njit(cache=True, error_model="numpy")
def spacings(
    start: np.ndarray,
    residual: np.ndarray,
    log_v: np.ndarray,
    width: np.ndarray,
    weight: np.ndarray,
    span: np.ndarray,
    usual: np.ndarray,
    least: np.ndarray,
    uniform: np.ndarray,
    log_ratio: np.ndarray,
    row: np.ndarray,
) -> None:
    """Add log q_r(r) / phi(r) from the spacings of residuals r where it is evidently not 0.

    Args:
        residual, log_v, width, weight: (M,) of the entries. The samples of one are spread over its
            width, those of a heavy one at several places, or else levels would look like peaks.
        span: (S,) samples that a spacing spans. usual: (S,) mean log spacing of a normal r.
        least: (S,) mean log ratio from which r is evidently not normal.
        uniform: (rows,) Phi at the rows of the tables. log_ratio: (M,) added to, of these directions.
        row: (M,) of the tables: replaced by that of a residual's own normal score.
    """
    at_or_above = np.searchsorted(uniform, np.arange(_CELLS + 1) / _CELLS)
    for s in range(start.shape[0]):
        begin, end = start[s, 0], start[s, -1]
        lightest = span[s] / _PLACES_PER_SPACING
        n_places = np.empty(end - begin, np.int64)
        for k in range(end - begin):
            held = weight[begin + k, 0] + weight[begin + k, 1]
            n_places[k] = max(1, np.ceil(held / lightest)) if width[begin + k] > 0 else 1
        m = n_places.sum()
        u, held_at, owner = np.empty(m), np.empty(m), np.empty(m, np.int64)
        j = 0
        for k in range(end - begin):
            held = weight[begin + k, 0] + weight[begin + k, 1]
            spread = 0.0
            if width[begin + k] > 0:
                spread = width[begin + k] * np.exp(-0.5 * log_v[begin + k])
            phase = (k * _GOLDEN) % 1.0
            for i in range(n_places[k]):
                r = residual[begin + k] + spread * ((i + phase) / n_places[k] - 0.5)
                place = (min(max(r, -5.9999), 5.9999) + 6.0) * 200.0
                below = int(place)
                u[j] = uniform[below] + (place - below) * (uniform[below + 1] - uniform[below])
                held_at[j], owner[j] = held / n_places[k], k
                j += 1
        order = _ascending(u)
        # the k-th of n samples is at k of 0 .. n + 1, of which u = 0 and u = 1 are the ends
        at, value = np.empty(m + 2), np.empty(m + 2)
        at[0], value[0] = 0.0, 0.0
        total = 0.0
        for k in range(m):
            w = held_at[order[k]]
            at[k + 1], value[k + 1] = total + 0.5 * w + 0.5, u[order[k]]
            total += w
        at[m + 1], value[m + 1] = total + 1.0, 1.0
        last = total + 1.0 - span[s]
        from_start = np.empty(m + 2)
        j, n_starts, mean, all_held = 0, 0, 0.0, 0.0
        for k in range(m + 1):
            if at[k] > last + 1e-3:
                break
            to = at[k] + span[s]
            while j < m and at[j + 1] < to:
                j += 1
            rise = at[j + 1] - at[j]
            upper = value[j] + (value[j + 1] - value[j]) * min((to - at[j]) / rise, 1.0)
            from_start[k] = usual[s] - np.log(max(upper - value[k], 1e-12))
            w = held_at[order[k - 1]] if k > 0 else 1.0
            mean += w * from_start[k]
            all_held += w
            n_starts += 1
        mean /= all_held
        if mean <= least[s]:
            continue
        # the spacing around a sample: the one that begins half a span before it
        half = np.floor(0.5 * span[s])
        own, share = np.zeros(end - begin), np.zeros(end - begin)
        j, mean_own = 0, 0.0
        for k in range(m):
            middle = at[k + 1] - half
            while j + 1 < n_starts and at[j + 1] <= middle + 1e-3:
                j += 1
            entry = owner[order[k]]
            own[entry] += from_start[j] / n_places[entry]
            share[entry] += (at[k + 1] - 0.5) / total / n_places[entry]
            mean_own += held_at[order[k]] * from_start[j] / total
        for k in range(end - begin):
            # samples near the ends share their outermost spacing: correct to the mean of all
            log_ratio[begin + k] += own[k] + mean - mean_own
            r = at_or_above[int(share[k] * _CELLS)]
            while r < len(uniform) - 1 and uniform[r] < share[k]:
                r += 1
            if r > 0 and share[k] - uniform[r - 1] < uniform[r] - share[k]:
                r -= 1
            row[begin + k] = r


@njit(cache=True)
def _ascending(u: np.ndarray) -> np.ndarray:
    """Order of (m,) numbers in 0..1, by buckets: those of residuals are nearly equally full."""
    m = len(u)
    first = np.zeros(m + 1, np.int64)
    for k in range(m):
        first[min(int(u[k] * m), m - 1) + 1] += 1
    for b in range(m):
        first[b + 1] += first[b]
    order, value = np.empty(m, np.int64), np.empty(m)
    filled = first[:-1].copy()
    for k in range(m):
        b = min(int(u[k] * m), m - 1)
        order[filled[b]], value[filled[b]] = k, u[k]
        filled[b] += 1
    for b in range(m):
        begin, end = first[b], first[b + 1]
        if end - begin > _FULL:
            order[begin:end] = order[begin:end][np.argsort(value[begin:end], kind="mergesort")]
            continue
        for k in range(begin + 1, end):
            at, own, j = value[k], order[k], k
            while j > begin and value[j - 1] > at:
                value[j], order[j] = value[j - 1], order[j - 1]
                j -= 1
            value[j], order[j] = at, own
    return order
