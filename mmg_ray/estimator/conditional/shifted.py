"""The dependence of two series at shifts of one against the other, and what the largest of many shifts is worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, rfft

_PIECE = 8192  # samples that are transformed together, at least
_APART = 50  # shifts that do not overlap, at least
_AT_ONCE = 2**24  # values of a transform


class Functions(NamedTuple):
    """Of a variable: (N, K) float32 functions, 0 where missing, (N,) whether present, and the samples for which it remembers
    itself, if that is asked for."""

    values: np.ndarray
    present: np.ndarray
    memory: float = np.nan


class Shifts(NamedTuple):
    """T at every one of R shifts of y against x that there are, the last being -1, of how many samples it is, and the sum of
    products of the first functions."""

    t: np.ndarray
    n: np.ndarray
    first: np.ndarray


def reach(total: int, most: int) -> int:
    """The largest shift of series of this length, either way; 0 where all are taken, circularly.

    Of long ones those near the lags say as much, in a small part of the time.
    """
    size = max(_PIECE, 1 << (2 * _APART * (2 * most + 1) - 1).bit_length())
    return size // 4 if total > 2 * size else 0


def strength(x: Functions, y: Functions, most: int) -> Shifts:
    """T = sum_ab (sum_t f_a(x_t) g_b(y_(t + shift)))^2 / n of the functions f and g of both."""
    far = reach(len(x.present), most)
    if far == 0:
        return circular(x, y)
    n = np.maximum(_near(x.present[:, None], y.present[:, None], far)[0, 0], 1.0)
    sums = _near(x.values, y.values, far)
    return Shifts(np.einsum("kmr,kmr->r", sums, sums, dtype=np.float64) / n, n, sums[0, 0])


def circular(x: Functions, y: Functions) -> Shifts:
    """The same at all circular shifts."""
    total = len(x.present)
    n = np.maximum(irfft(rfft(x.present).conj() * rfft(y.present), total), 1.0)
    t, first = np.zeros(total), np.zeros(total)
    of_y = rfft(y.values.T)
    for k, wave in enumerate(rfft(x.values.T)):  # a row of products at a time
        sums = irfft(wave.conj() * of_y, total)
        t += np.einsum("mr,mr->r", sums, sums)
        if k == 0:
            first = sums[0]
    return Shifts(t / n, n, first)


def _near(x: np.ndarray, y: np.ndarray, far: int) -> np.ndarray:
    """(K, M, 2 far + 1) sums at shifts of 0..far and -far..-1, by overlapping pieces of y against pieces of x."""
    n_x, n_y, size = x.shape[1], y.shape[1], 4 * far
    n_pieces = -(-len(x) // (2 * far))
    at_once = max(1, _AT_ONCE // (size * (n_x + n_y)))
    found = np.zeros((size // 2 + 1, n_x, n_y), dtype=np.complex64)
    for first in range(0, n_pieces, at_once):
        begin = 2 * far * np.arange(first, min(first + at_once, n_pieces))
        of_x = rfft(_cut(x, begin, 2 * far), size, axis=1)  # (P, F, K)
        of_y = rfft(_cut(y, begin - far, size), axis=1)
        # of strided arrays the product is ten times slower
        left = np.ascontiguousarray(of_x.conj().transpose(1, 2, 0))
        found += left @ np.ascontiguousarray(of_y.transpose(1, 0, 2))
    sums = irfft(found, size, axis=0)[: 2 * far + 1]
    return np.ascontiguousarray(np.roll(sums, -far, axis=0).transpose(1, 2, 0))


def _cut(values: np.ndarray, begin: np.ndarray, size: int) -> np.ndarray:
    """(P, size, F) values from each beginning on, 0 beyond both ends."""
    at = begin[:, None] + np.arange(size)
    inside = (at >= 0) & (at < len(values))
    return np.where(inside[..., None], values[np.clip(at, 0, len(values) - 1)], np.float32(0))


def largest_around(t: np.ndarray, centres: np.ndarray, most: int) -> np.ndarray:
    """(C,) the largest T within `most` of each centre."""
    around = (centres[:, None] + np.arange(-most, most + 1)) % len(t)
    found: np.ndarray = t[around].max(axis=1)
    return found


def gumbel_p(largest: float, null: np.ndarray, n_apart: float) -> float:
    """p-value of a maximum beside others, of which `n_apart` do not overlap."""
    roots = np.cbrt(null)
    # a prediction: mean and variance are known from n_apart values
    spread = roots.std() * np.sqrt((n_apart + 1) / (n_apart - 1))
    if not spread > 0:
        return 1.0
    z = np.euler_gamma + (np.cbrt(largest) - roots.mean()) / spread * np.pi / np.sqrt(6)
    return float(np.clip(-np.expm1(-np.exp(-z)), 1e-300, 1.0))
