"""Dependence that no smooth function of low order sees: Pearson's test of ranks in bins of equal count.

Branches that cancel, checks and changes of scale that go up and down have no moment to speak of, but
their samples crowd into some bins. The p-value of a pair stays that of the screen; this one, right to
a tenth for n >= 300 and up to twice too large below, is for gates, and the bound for the neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.stats import chi2

from mmg_ray.estimator.dependence.screen import linked_mi
from mmg_ray.estimator.ranks.bins import MOST_BINS, Binned

_SCATTER = 2.0  # standard deviations of the statistic under independence that say nothing


class Found(NamedTuple):
    """Of pairs, (P,): p-value of independence, and nats that they have at least and at most."""

    p_value: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray


NOTHING = Found(np.ones(1), np.zeros(1), np.zeros(1))  # of a pair


def pairs(x: Sequence[Binned], y: Sequence[Binned], i: np.ndarray, j: np.ndarray) -> Found:
    """Pairs x[i], y[j] of two blocks over the same n samples; i and j (P,)."""
    n = len(x[0].bin)
    of_x, of_y = (np.stack([side.bin for side in block]) for block in (x, y))
    inverse_x, inverse_y = (
        np.stack([np.pad(1.0 / side.size, (0, MOST_BINS - len(side.size))) for side in block])
        for block in (x, y)
    )
    square = _sums(of_x, of_y, inverse_x, inverse_y, i.astype(np.int64), j.astype(np.int64))
    widths = [np.array([len(side.size) for side in block])[k] for block, k in ((x, i), (y, j))]
    freedom = (widths[0] - 1) * (widths[1] - 1)
    statistic = (n - 1) * (square - 1)  # has mean `freedom` under permutations
    scatter = _SCATTER * np.sqrt(2 * freedom)
    return Found(
        chi2.sf(statistic, np.maximum(freedom, 1)),
        linked_mi((statistic - freedom - scatter) / n),
        linked_mi((statistic - freedom + scatter) / n),
    )


@njit(cache=True)
def _sums(bin_x: Any, bin_y: Any, inverse_x: Any, inverse_y: Any, i: Any, j: Any) -> Any:
    """(P,) sums over pairs of bins of count^2 / (count of one * count of the other)."""
    n = bin_x.shape[1]
    counts = np.empty((inverse_x.shape[1], inverse_y.shape[1]), dtype=np.int32)
    found = np.empty(len(i))
    for pair in range(len(i)):
        counts[:] = 0
        for sample in range(n):
            counts[bin_x[i[pair], sample], bin_y[j[pair], sample]] += 1
        total = 0.0
        for a in range(counts.shape[0]):
            for b in range(counts.shape[1]):
                c = float(counts[a, b])
                total += c * c * inverse_x[i[pair], a] * inverse_y[j[pair], b]
        found[pair] = total
    return found
