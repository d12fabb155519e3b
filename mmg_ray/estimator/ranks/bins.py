"""A scalar in few bins: of equal count, or at its most frequent value and not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SAMPLES_PER_BIN, MOST_BINS = 3, 24  # on average, of pairs of bins; bins of a variable
RARE = 0.2  # of the samples at most are not at the value that is most frequent


class Binned(NamedTuple):
    """A scalar in few bins: (n,) uint8 bin of each sample, and (K,) samples of each."""

    bin: np.ndarray
    size: np.ndarray


def binned(value: np.ndarray, size: np.ndarray) -> Binned:
    """Of (n,) places of the samples' values and (L,) samples of each value, ties together.

    A value is in the bin of its mid-rank; what fills less than half of a bin joins the bin before it.
    """
    n = len(value)
    k = min(max(int(np.sqrt(n / _SAMPLES_PER_BIN)), 2), MOST_BINS)
    of_value = ((np.cumsum(size) - 0.5 * size) * k / n).astype(np.int64)
    for start in range(k - 1, -1, -1):  # the outermost first: each goes inwards, the first outwards
        inside = of_value == start
        if 0 < size[inside].sum() < n / (2 * k):
            others = of_value[~inside]
            if len(others):
                below = others[others < start]
                of_value[inside] = below.max() if len(below) else others.min()
    of_value = np.unique(of_value, return_inverse=True)[1]
    return Binned(of_value.astype(np.uint8)[value], np.bincount(of_value, size).astype(np.int64))


def non_modal(codes: np.ndarray) -> np.ndarray | None:
    """(n,) true where complete codes are not at their most frequent value; None unless this is rare."""
    counts = np.bincount(codes)
    if codes.size - counts.max() > RARE * codes.size:
        return None
    found: np.ndarray = codes != counts.argmax()
    return found
