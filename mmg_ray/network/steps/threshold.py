"""Keep edges from a value on."""

from __future__ import annotations

from mmg_ray.network.stream import EdgeStream


def mi(edges: EdgeStream, least: float) -> EdgeStream:
    """Edges of at least this MI, nats."""
    return edges.where(lambda batch: batch.mi_nats >= least)


def weight(edges: EdgeStream, least: float) -> EdgeStream:
    """Edges of at least this weight."""
    return edges.where(lambda batch: batch.weight >= least)
