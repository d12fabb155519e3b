"""MRNET (Meyer et al. 2007): minimum redundancy, maximum relevance, for every variable as the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmg_ray.network.steps.dpi import entries
from mmg_ray.network.stream import EdgeStream

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def mrnet(edges: EdgeStream) -> EdgeStream:
    """Weight of an edge: the larger of its scores with either end as the target; edges of none go.

    For a target j, neighbours are chosen one by one, each time the one of largest
    w_ij - mean of w_ik over the k chosen before, until that is not above 0: its score. Takes memory
    for the edges; an edge that is not there has weight 0.
    """
    graph = edges.adjacency
    score = np.zeros(len(graph.data))
    for j in range(graph.shape[0]):
        own = slice(graph.indptr[j], graph.indptr[j + 1])
        score[own] = _scores(graph, graph.indices[own], graph.data[own])

    place = entries(graph)

    def larger(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return np.maximum(score[place(i, j)], score[place(j, i)])

    present = edges.where(lambda batch: batch.weight > 0)
    weighted = present.map(lambda batch: batch._replace(weight=larger(batch.i, batch.j)))
    return weighted.where(lambda batch: batch.weight > 0)


def _scores(graph: csr_array, candidates: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """(D,) score of each candidate for one target; 0 for those that are not chosen."""
    scores, redundancy = np.zeros(len(candidates)), np.zeros(len(candidates))
    left = np.ones(len(candidates), dtype=bool)
    for chosen in range(len(candidates)):
        gain = np.where(left, relevance - redundancy / max(chosen, 1), -np.inf)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        scores[best], left[best] = gain[best], False
        own = slice(graph.indptr[candidates[best]], graph.indptr[candidates[best] + 1])
        # what the new one shares with the others: its edges, sorted, looked up
        neighbours, weight = graph.indices[own], graph.data[own]
        place = np.minimum(np.searchsorted(neighbours, candidates), len(neighbours) - 1)
        redundancy += np.where(neighbours[place] == candidates, weight[place], 0.0)
    return scores
