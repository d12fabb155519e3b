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

_POINTS = 64  # at which a variable with one value for all samples would be
_LEVELS_APART = 16
_SOURCE_LEVELS = 1024  # each is less than half of the finest bin of a knot
_NARROWING = 1.25  # of points towards the ends, as that of levels


class Points(NamedTuple):
    """Levels of V variables as points of the normal distribution, padded to the most.

    Attributes:
        first: (V, L + 1) int64 first point of each level. n: (V,) points that hold samples.
        share: (V, M) of the level's samples.
        score, square: (V, M) mean normal score of the samples at a point, and of its square.
        width: (V, M) of scores at a point, 0 where it is that of one sample.
    """

    first: np.ndarray
    n: np.ndarray
    share: np.ndarray
    score: np.ndarray
    square: np.ndarray
    width: np.ndarray


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

    def select(self, rows: np.ndarray) -> Entries:
        """Some of the directions; what is stored by entry stays in place."""
        return self._replace(
            start=self.start[rows], y=self.y[rows], n=self.n[rows], n_points=self.n_points[rows]
        )


def points(size: np.ndarray) -> Points:
    """Of variables with (V, L) samples at their levels."""
    cuts = ndtr(_NARROWING * ndtri(np.arange(1, _POINTS) / _POINTS))
    made = [_points(row, cuts) for row in size]
    longest = max(len(share) for _, _, share, *_ in made)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, longest - len(values)))

    return Points(
        np.stack([first for first, *_ in made]),
        np.array([n for _, n, *_ in made]),
        *(np.stack([padded(v) for v in values]) for values in list(zip(*made, strict=True))[2:]),
    )


def _points(size: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, ...]:
    edges = np.concatenate([[0], np.cumsum(size)]) / size.sum()
    width = np.diff(edges)
    places, level = [], []
    for wide in np.flatnonzero(width > 2 / _POINTS).tolist():
        low, high, held = edges[wide], edges[wide + 1], int(size[wide])
        inside = cuts[(cuts > low) & (cuts < high)]
        if len(inside) >= held:  # no more points than samples
            inside = low + (high - low) * np.arange(1, held) / held
        places.append(inside)
        level += [wide] * len(inside)
    n_points = 1 + np.bincount(np.array(level, dtype=np.int64), minlength=len(size))
    # a cut ends one point of its level and begins the next
    edges = np.insert(edges, np.array(level, dtype=np.int64) + 1, np.concatenate([[], *places]))
    of_points = np.diff(edges)
    share = of_points / np.where(width > 0, width, 1.0).repeat(n_points)
    score = ndtri(edges)
    density = np.exp(-0.5 * np.minimum(score**2, 1e3)) / np.sqrt(2 * np.pi)
    moment = np.where(density > 1e-300, density * np.clip(score, -50, 50), 0.0)
    there = np.where(of_points > 0, of_points, 1.0)
    mean = -np.diff(density) / there
    # k samples are at k places of an interval, a single one at its middle
    k = np.maximum(of_points * size.sum(), 1.0)
    within = (1 - np.diff(moment) / there - mean**2) * (1 - 1 / k**2)
    return (
        np.concatenate([[0], np.cumsum(n_points)]),
        (of_points > 0).sum(),
        share,
        mean,
        mean**2 + within,
        np.sqrt(12 * np.maximum(within, 0.0)),
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
    return Entries(start, *values, y, counts.sum(axis=(1, 2, 3)), n_points[index])


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
    bins = np.floor(_SOURCE_LEVELS * ndtr(ndtri(share) / _NARROWING))
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


@njit(cache=True)
def level_sums(
    start: np.ndarray, x: np.ndarray, square: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """(4, S, Y) samples of either half, and sums of x and of its square, at each level of y."""
    out = np.zeros((4, start.shape[0], start.shape[1] - 1))
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                w = weight[k, 0] + weight[k, 1]
                out[0, s, b] += weight[k, 0]
                out[1, s, b] += weight[k, 1]
                out[2, s, b] += w * x[k]
                out[3, s, b] += w * square[k]
    return out


@njit(cache=True, fastmath={"contract"})
def moments(
    start: np.ndarray, row: np.ndarray, weight: np.ndarray, curves: np.ndarray
) -> np.ndarray:
    """(S, 2, Y, J) sums of curves (rows, J) of the entries at each level of y, by half."""
    n_curves = curves.shape[1]
    out = np.zeros((start.shape[0], 2, start.shape[1] - 1, n_curves), np.float32)
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                one, two, r = weight[k, 0], weight[k, 1], row[k]
                for j in range(n_curves):
                    out[s, 0, b, j] += one * curves[r, j]
                    out[s, 1, b, j] += two * curves[r, j]
    return out


@njit(cache=True, fastmath=True)
def influence_sums(
    start: np.ndarray,
    row: np.ndarray,
    weight: np.ndarray,
    log_ratio: np.ndarray,
    curves: np.ndarray,
    of_level: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(S,) sums over samples of log_ratio + curves . of_level, and of its square.

    Args:
        of_level: (S, 2, Y, J) coefficients of the curves at each level of y, for samples of each half.
    """
    n_curves = curves.shape[1]
    first, second = np.zeros(start.shape[0]), np.zeros(start.shape[0])
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                r, one, two = row[k], np.float32(0.0), np.float32(0.0)
                for j in range(n_curves):
                    one += curves[r, j] * of_level[s, 0, b, j]
                    two += curves[r, j] * of_level[s, 1, b, j]
                one += log_ratio[k]
                two += log_ratio[k]
                first[s] += weight[k, 0] * one + weight[k, 1] * two
                second[s] += weight[k, 0] * one * one + weight[k, 1] * two * two
    return first, second


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


_CELLS = 4096  # of 0..1, from whose edges a row of the tables is looked for
_FULL = 64  # numbers in a bucket, from which they are not sorted one by one
_PLACES_PER_SPACING = 8  # of the samples of an entry, at least
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1)


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
