"""A scalar as a few levels: the form in which pairs are counted, whatever the number of samples.

A value that many samples share (0!) is a level of its own; the other samples are binned by rank, in bins of
equal counts that narrow towards the ends, where normal scores are far apart. The tables of counts of two
variables over their levels are all that the closed-form denoisers need of a pair. Levels depend on the values
alone, not on the order of the samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

MOST = 255  # levels are one byte
BINS = 112  # of samples whose values few others share
FINE_BINS = 224  # for what follows curves closely
_SHARED = 2 / BINS  # of the samples at one value: it is a level of its own
_NARROWING = 1.25  # bins are equal steps of z / this: outermost ones are that much further out in z


class Levels(NamedTuple):
    """A scalar variable over n complete samples as L levels, ascending.

    Attributes:
        level: (n,) uint8 of each sample. size: (L,) int64 samples at each.
    """

    level: np.ndarray
    size: np.ndarray

    @property
    def n(self) -> int:
        return len(self.level)

    @property
    def edges(self) -> np.ndarray:
        """(L + 1,) samples below each level, and n."""
        return np.concatenate([[0], np.cumsum(self.size)])

    @property
    def middle_scores(self) -> np.ndarray:
        """(L,) normal scores of mid-ranks."""
        return ndtri((self.edges[:-1] + 0.5 * self.size) / self.size.sum())


def levels(codes: np.ndarray, n_bins: int = BINS) -> Levels:
    """Levels of (n,) complete ordinal codes; every value is one where there are at most `n_bins`.

    Else values shared by more than `_SHARED` of the samples stand alone, and the others are binned: at most
    `n_bins` bins and 2 levels more for each shared value; fewer bins where these would be more than `MOST`.
    """
    count = np.bincount(codes)
    present = count > 0
    count = count[present]
    if len(count) <= n_bins:
        of_value = np.arange(len(count))
    else:
        alone = count > _SHARED * codes.size
        others = np.where(alone, 0, count)
        share = (np.cumsum(others) - 0.5 * others) / others.sum()
        n_bins = min(n_bins, MOST - 2 * int(alone.sum()))
        bins = np.floor(n_bins * ndtr(ndtri(share) / _NARROWING)).astype(np.int64)
        # a shared value parts the bin that it falls into
        parted = np.cumsum(alone) + np.concatenate([[0], np.cumsum(alone)[:-1]])
        new = np.diff(bins, prepend=bins[0]) != 0
        new |= np.diff(parted, prepend=parted[0]) != 0
        of_value = np.cumsum(new)
    of_code = np.cumsum(present) - 1
    level = of_value[of_code[codes]].astype(np.uint8)
    return Levels(level, np.bincount(level).astype(np.int64))
