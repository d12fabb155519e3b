"""Residuals of entries, and the entropy of their spacings."""

from __future__ import annotations

import numpy as np
from numba import njit

_CELLS = 4096  # of 0..1, from whose edges a row of the tables is looked for
_FULL = 64  # numbers in a bucket, from which they are not sorted one by one
_PLACES_PER_SPACING = 8  # of the samples of an entry, at least
_AT_ENDS, _NARROWEST = 1 / 8, 4.0  # of a spacing; samples: how wide it is at the ends
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
    of_all: np.ndarray,
    least: np.ndarray,
    uniform: np.ndarray,
    log_ratio: np.ndarray,
    row: np.ndarray,
) -> None:
    """Add log q_r(r) / phi(r) from the spacings of residuals r where it is evidently not 0.

    Args:
        residual, log_v, width, weight: (M,) of the entries. The samples of one are spread over its
            width, those of a heavy one at several places, or else levels would look like peaks.
        span: (S,) samples that a spacing spans. of_all: (S,) digamma of the n + 1 spacings of n samples.
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
        at, value = np.empty(m), np.empty(m)
        total = 0.0
        for k in range(m):
            w = held_at[order[k]]
            at[k], value[k] = total + 0.5 * w, u[order[k]]
            total += w
        if total < 2 * span[s]:  # so few samples, or values, show no shape
            continue
        # The spacing around a sample reaches as far to both sides. It ends at the first and the last sample, beyond which
        # there may be no density, and is narrower near them: as wide as elsewhere it would hide thin tails and blur edges.
        own, share = np.zeros(end - begin), np.zeros(end - begin)
        first, last = at[0], at[m - 1]
        narrow, wide = max(_NARROWEST, span[s] * _AT_ENDS) / 2, span[s] / 2
        below = above = 0
        mean = 0.0
        for k in range(m):
            half = min(max(min(at[k] - first, last - at[k]), narrow), wide)
            low = min(max(at[k] - half, first), last - 2 * half)
            high = low + 2 * half
            while below < m - 2 and at[below + 1] <= low:
                below += 1
            while above < m - 2 and at[above + 1] < high:
                above += 1
            of_low = (low - at[below]) / (at[below + 1] - at[below])
            of_high = min((high - at[above]) / (at[above + 1] - at[above]), 1.0)
            spacing = value[above] + (value[above + 1] - value[above]) * of_high
            spacing -= value[below] + (value[below + 1] - value[below]) * of_low
            ratio = _digamma(2 * half) - of_all[s] - np.log(max(spacing, 1e-12))
            entry = owner[order[k]]
            own[entry] += ratio / n_places[entry]
            share[entry] += at[k] / total / n_places[entry]
            mean += held_at[order[k]] * ratio / total
        if mean <= least[s]:
            continue
        for k in range(end - begin):
            log_ratio[begin + k] += own[k]
            r = at_or_above[int(share[k] * _CELLS)]
            while r < len(uniform) - 1 and uniform[r] < share[k]:
                r += 1
            if r > 0 and share[k] - uniform[r - 1] < uniform[r] - share[k]:
                r -= 1
            row[begin + k] = r


@njit(cache=True)
def _digamma(x: float) -> float:
    """Of x >= 4, to 1e-6."""
    return np.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)


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
