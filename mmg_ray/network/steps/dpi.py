"""Data processing inequality (ARACNE, Margolin et al. 2006): of a triangle, the weakest edge goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mmg_ray.errors import ConfigError
from mmg_ray.network.stream import EdgeStream

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def dpi(edges: EdgeStream, tolerance: float) -> EdgeStream:
    """Without edges w_ij < (1 - tolerance) min(w_ik, w_jk) for some k.

    If i and j depend on one another only through k, I(i; j) is at most either of the other two. All
    triangles are those of the edges given, whatever goes. Takes memory for the edges, and time in
    proportion to the sum of squared degrees: thin a dense network first (fdr, mi, top).
    """
    if not 0 <= tolerance < 1:
        raise ConfigError(f"the tolerance of step dpi is at least 0 and below 1; got {tolerance:g}")
    around = edges.adjacency
    place, through = entries(around), _strongest_way_around(around)
    present = edges.where(lambda batch: batch.weight > 0)
    return present.where(
        lambda batch: batch.weight >= (1 - tolerance) * through[place(batch.i, batch.j)]
    )


def _strongest_way_around(around: csr_array) -> np.ndarray:
    """(E,) for each stored entry (i, j): the largest min(w_ik, w_jk) over k; 0 without a triangle."""
    starts, ends, weight = around.indptr, around.indices, around.data
    found = np.zeros(len(weight))
    row = np.zeros(around.shape[0])
    for i in range(around.shape[0]):
        own = slice(starts[i], starts[i + 1])
        neighbours = ends[own]
        if len(neighbours) < 2:
            continue
        row[neighbours] = weight[own]
        # the edges of all neighbours, one after the other
        sizes = starts[neighbours + 1] - starts[neighbours]
        firsts = np.cumsum(sizes) - sizes
        theirs = np.arange(sizes.sum()) + np.repeat(starts[neighbours] - firsts, sizes)
        found[own] = np.maximum.reduceat(np.minimum(row[ends[theirs]], weight[theirs]), firsts)
        row[neighbours] = 0.0
    return found


def entries(graph: csr_array) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Where entries (i, j) of a sorted sparse matrix are stored, as a function of (B,) i and j."""
    n = np.int64(graph.shape[1])
    rows = np.repeat(np.arange(graph.shape[0], dtype=np.int64), np.diff(graph.indptr))
    keys = rows * n + graph.indices
    return lambda i, j: np.searchsorted(keys, i.astype(np.int64) * n + j)
