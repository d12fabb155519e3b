"""Keep the strongest edges of each variable."""

from __future__ import annotations

import numpy as np

from mmg_ray.errors import ConfigError
from mmg_ray.network.stream import EdgeStream


def top(edges: EdgeStream, k: float) -> EdgeStream:
    """Edges that are among the k of largest weight of either end; of equal weights all."""
    count = int(k)
    if count != k or count < 1:
        raise ConfigError(f"step top needs a whole number of edges, 1 or more; got {k:g}")
    # (V, k) the largest weights so far: a reading in memory of V k numbers
    best = np.full((edges.n_variables, count), -np.inf)
    for batch in edges.batches():
        ends = np.concatenate([batch.i, batch.j])
        weight = np.tile(batch.weight, 2)
        ahead = weight > best[ends, 0]
        ends, weight = ends[ahead], weight[ahead]
        order = np.lexsort((-weight, ends))
        ends, weight = ends[order], weight[order]
        starts = np.flatnonzero(np.r_[True, ends[1:] != ends[:-1]]) if len(ends) else ends
        place = np.arange(len(ends)) - np.repeat(starts, np.diff(np.r_[starts, len(ends)]))
        inside = place < count
        rows = ends[starts]
        new = np.full((len(rows), count), -np.inf)
        new[np.searchsorted(rows, ends[inside]), place[inside]] = weight[inside]
        both = np.concatenate([best[rows], new], axis=1)
        best[rows] = np.sort(np.partition(both, count - 1, axis=1)[:, -count:], axis=1)
    least = best[:, 0]
    return edges.where(lambda batch: batch.weight >= np.minimum(least[batch.i], least[batch.j]))
