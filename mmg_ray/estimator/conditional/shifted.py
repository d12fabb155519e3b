"""The dependence of two series at every shift of one against the other, and what the largest of many shifts is worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Functions(NamedTuple):
    """What a scan needs of a variable.

    Attributes:
        values: (L, F) of the samples, with `most` places of 0 after each segment. present: (L,).
        wave, known: their Fourier transforms.
    """

    values: np.ndarray
    present: np.ndarray
    wave: np.ndarray
    known: np.ndarray


def strength(x: Functions, y: Functions) -> np.ndarray:
    """(L,) T at every shift of y against x, the last being -1."""
    total = len(x.present)
    n = np.fft.irfft(x.known.conj() * y.known, total)
    found = np.zeros(total)
    for wave in x.wave.T:  # a row of products at a time
        found += (np.fft.irfft(wave.conj()[:, None] * y.wave, total, axis=0) ** 2).sum(axis=1)
    found /= np.maximum(n, 1.0)
    return found


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
