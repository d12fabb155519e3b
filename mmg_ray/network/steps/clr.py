"""Context likelihood of relatedness (Faith et al. 2007): an edge against the others of its ends."""

from __future__ import annotations

import numpy as np

from mmg_ray.network.stream import EdgeStream


def clr(edges: EdgeStream) -> EdgeStream:
    """Weight sqrt(z_i^2 + z_j^2) / sqrt(2), with z_i = max(0, (w - mean_i) / sd_i); those of 0 go.

    mean_i and sd_i are over all pairs of i that were estimated, of which those without an edge have
    weight 0. The factor makes the weight of an edge that stands out equally at both ends that z.
    """
    n = edges.n_variables
    total, squares = np.zeros(n), np.zeros(n)
    for batch in edges.batches():
        for end in (batch.i, batch.j):
            total += np.bincount(end, batch.weight, n)
            squares += np.bincount(end, batch.weight**2, n)
    partners = np.maximum(edges.partners, 1)
    mean = total / partners
    sd = np.sqrt(np.maximum(squares / partners - mean**2, 0.0))
    sd[sd <= 1e-12 * np.abs(mean)] = np.inf  # all edges alike: none stands out

    def z(end: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.maximum((weight - mean[end]) / sd[end], 0.0)

    weighted = edges.map(
        lambda batch: batch._replace(
            weight=np.hypot(z(batch.i, batch.weight), z(batch.j, batch.weight)) / np.sqrt(2)
        )
    )
    return weighted.where(lambda batch: batch.weight > 0)
