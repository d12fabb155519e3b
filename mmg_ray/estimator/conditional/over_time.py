"""Functions of a variable over time, laid out so that none of their lags reaches from one segment into another."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoothers
from mmg_ray.estimator.conditional.shifted import (
    Functions,
    Shifts,
    circular,
    largest_around,
    reach,
)
from mmg_ray.estimator.lags import LagSettings
from mmg_ray.estimator.lags.segments import LEAST_BLOCKS
from mmg_ray.estimator.lags.series import of_events
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Variable

_DEGREES, _OF_GROUPS = 4, 2  # of the polynomials of a scalar, and of each coordinate of a group
_MOST_FUNCTIONS = 32
_LEAST_SCALE = 0.3  # of the mean square: where little is left, rare events would weigh too much
_LEAST_LEFT = 1e-6  # a smaller share of the variance is rounding
_NULLS = 1000  # of segments in other orders


def functions_of(dim: int) -> int:
    """How many functions a variable of so many coordinates has at most."""
    return _DEGREES if dim == 1 else min(_OF_GROUPS * dim, _MOST_FUNCTIONS)


def of_variable(
    variable: Variable,
    known: Condition | None,
    smoother: Smoothers | None,
    with_memory: bool,
) -> Functions:
    """Rank polynomials of every coordinate; given a condition, without the mean and the scale that go with it."""
    has = (variable.codes != marginals.MISSING).all(axis=1)
    if known is not None:
        has &= known.present
    n_orders = _DEGREES if variable.dim == 1 else _OF_GROUPS
    if variable.dim == 1 and has.any():
        # what two rare counts have in common is too little for more
        n_orders = 1 if of_events(np.bincount(variable.codes[has, 0]), int(has.sum())) else n_orders
    degrees = np.arange(1, n_orders + 1)
    parts = []
    for codes in variable.codes.T:
        values = np.zeros((len(codes), len(degrees)))
        if has.any():
            dense = np.unique(codes[has], return_inverse=True)[1]
            found = ranked(dense).at_samples()[:, : len(degrees)]
            values[has, : found.shape[1]] = found
        values /= np.sqrt(degrees)
        if smoother is not None and has.any():
            smooth = smoother(has)
            rest = values[has] - smooth(values[has])[0]
            square = rest**2
            left = square.mean(axis=0) > _LEAST_LEFT * (values[has] ** 2).mean(axis=0)
            rest = rest * left
            least = _LEAST_SCALE * square.mean(axis=0) + 1e-300
            # back to the weight of its degree, whatever the condition has taken
            scale = np.sqrt(np.maximum(smooth(square)[0], least) * degrees)
            values[has] = rest / scale
        parts.append(values)
    values = _leading(np.concatenate(parts, axis=1)).astype(np.float32)
    remembers = _memory(values) if with_memory else np.nan
    return Functions(values, has, remembers)


def padded(made: Functions, segment: np.ndarray, most: int) -> Functions:
    """With places of 0 after each of the (N,) segments, so that no lag reaches from one into the next."""
    place = np.arange(len(segment)) + most * segment
    total = len(segment) + most * (int(segment[-1]) + 1)
    values = np.zeros((total, made.values.shape[1]), dtype=np.float32)
    present = np.zeros(total, dtype=np.float32)
    values[place], present[place] = made.values, made.present
    return Functions(values, present)


def apart(total: int, most: int) -> np.ndarray:
    """Shifts of one recording that leave no lag within `most`."""
    far = reach(total, most)
    if far == 0:
        return np.arange(2 * most + 1, total - 2 * most)
    there = np.arange(2 * most + 1, far - most + 1)
    return np.concatenate([there, -there])


def permuted(
    x: Functions, y: Functions, rows: np.ndarray, settings: LagSettings
) -> tuple[Shifts, np.ndarray, np.ndarray]:
    """T at all shifts of (S, B) segments one after the other; the largest T of permuted ones; shifts between segments.

    Shifts by whole segments are the same order of y, each beside another of x: all at once by one transform.
    """
    n_segments, length = rows.shape
    stride, most = length + settings.most, settings.most
    rng = numpy_stream(settings.seed, "segments")

    def laid(made: Functions, order: np.ndarray) -> Functions:
        values = np.zeros((n_segments, stride, made.values.shape[1]), dtype=np.float32)
        present = np.zeros((n_segments, stride), dtype=np.float32)
        values[:, :length], present[:, :length] = (
            made.values[rows[order]],
            made.present[rows[order]],
        )
        return Functions(values.reshape(-1, values.shape[2]), present.ravel())

    given = np.arange(n_segments)
    of_x, elsewhere = laid(x, given), stride * np.arange(1, n_segments)
    found = circular(of_x, laid(y, given))
    null = [largest_around(found.t, elsewhere, most)]
    for _ in range(max(0, -(-_NULLS // n_segments) - 1)):
        again = circular(of_x, laid(y, rng.permutation(n_segments)))
        null.append(largest_around(again.t, np.append(0, elsewhere), most))
    around = elsewhere[:, None] + np.arange(-most, most + 1)
    return found, np.concatenate(null), around.ravel() % len(found.t)


def blocks(edges: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """First samples of blocks in segments between (S + 1,) edges, and their length; what is left over is left out.

    They are shorter than asked for where segments are, so that there are enough of them.
    """
    segments = np.diff(edges)
    while length > 1 and (segments // length).sum() < LEAST_BLOCKS:
        length //= 2
    starts = [
        np.arange(first, last - length + 1, length)
        for first, last in itertools.pairwise(edges.tolist())
    ]
    return np.concatenate(starts), length


def less_means(made: Functions, starts: np.ndarray, length: int) -> Functions:
    """Less the means in blocks of this length; 0 where missing."""
    rows = starts[:, None] + np.arange(length)
    there = made.present[rows]
    mean = made.values[rows].sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
    values = made.values.copy()
    values[rows] = (values[rows] - mean[:, None]) * there[..., None]
    return made._replace(values=values)


def _memory(values: np.ndarray) -> float:
    """Samples: the sum of squares of the autocorrelation of (N, K) functions, all together."""
    size = next_fast_len(2 * len(values), real=True)
    power = (np.abs(rfft(values.T, size)) ** 2).sum(axis=0, dtype=np.float64)
    r = irfft(power)[: len(values) // 4]
    return float(2 * np.sum((r / r[0]) ** 2) - 1)


def _leading(values: np.ndarray) -> np.ndarray:
    """(N, K) functions, or their leading principal components where they are many."""
    if values.shape[1] <= _MOST_FUNCTIONS:
        return values
    _, axes = np.linalg.eigh(values.T @ values)
    found: np.ndarray = values @ axes[:, ::-1][:, :_MOST_FUNCTIONS]
    return found
