"""Dependence that no smooth function of low order sees: Pearson's test of ranks in cells of equal count.

Branches that cancel, checks and changes of scale that go up and down have no moment to speak of, but
their samples crowd into some cells. The p-value of a pair stays that of the screen; this one, right to
a tenth for n >= 300 and up to twice too large below, is for gates, and the bound for the neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from mmg_ray.estimator.screen import linked_mi

_SAMPLES_PER_CELL, _MOST_CELLS = 3, 24  # on average; cells a side
_SCATTER = 2.0  # standard deviations of the statistic under independence that say nothing


class Found(NamedTuple):
    """Of pairs, arrays of one shape: p-value of independence, and nats that they have at least."""

    p_value: np.ndarray
    at_least: np.ndarray


def pairs(ranks_x: np.ndarray, ranks_y: np.ndarray, i: np.ndarray, j: np.ndarray) -> Found:
    """Pairs of rows i of (U, n) and j of (V, n) permutations of 0..n-1; i and j, and the results (P,)."""
    n = ranks_x.shape[1]
    k = min(max(int(np.sqrt(n / _SAMPLES_PER_CELL)), 2), _MOST_CELLS)
    sizes = np.bincount(np.arange(n) * k // n)
    weights = 1 / np.outer(sizes, sizes).ravel()
    cells_x, cells_y = ranks_x * k // n, ranks_y * k // n
    square = np.empty(len(i))
    for u in np.unique(i).tolist():
        of_u = np.flatnonzero(i == u)
        tables = k * k * np.arange(len(of_u))[:, None] + k * cells_x[u] + cells_y[j[of_u]]
        counts = np.bincount(tables.ravel(), minlength=len(of_u) * k * k).reshape(-1, k * k)
        square[of_u] = counts**2 @ weights
    freedom = (k - 1) ** 2
    statistic = (n - 1) * (square - 1)  # has mean `freedom` under permutations
    clear = statistic - freedom - _SCATTER * np.sqrt(2 * freedom)
    return Found(chi2.sf(statistic, freedom), linked_mi(clear / n))
