"""Keep edges that are found at a false-discovery rate."""

from __future__ import annotations

import numpy as np

from mmg_ray.errors import ConfigError
from mmg_ray.network.significance import QValues, count
from mmg_ray.network.stream import EdgeStream


def independent(edges: EdgeStream, rate: float) -> EdgeStream:
    """Edges with a q-value of at most `rate`; the stream has Benjamini & Hochberg's."""
    return _kept(edges, rate)


def dependent(edges: EdgeStream, rate: float) -> EdgeStream:
    """The same by Benjamini & Yekutieli's q-values, which replace those of the stream."""
    return _kept(with_q_values(edges, dependent=True), rate)


def local(edges: EdgeStream, rate: float) -> EdgeStream:
    """Edges whose probability of being independent is at most `rate`."""
    if not 0 < rate <= 1:
        raise ConfigError(f"a local false-discovery rate is above 0 and at most 1; got {rate:g}")
    parts = (batch.p_dependent for batch in edges.batches() if len(batch.i))
    if (first := next(parts, None)) is not None and np.isnan(first).all():
        raise ConfigError(
            "no pair of this run has a posterior (series, groups and pairs given conditions have none), so there is "
            "no local false-discovery rate; use the step fdr instead"
        )
    return edges.where(lambda batch: 1 - batch.p_dependent <= rate)


def with_q_values(edges: EdgeStream, dependent: bool = False) -> EdgeStream:
    """The edges with q-values from their p-values and the number of tests."""
    counts = count(batch.p_value for batch in edges.batches())
    q = QValues(counts, edges.n_tests, dependent)
    return edges.map(lambda batch: batch._replace(q_value=q.of(batch.p_value)))


def _kept(edges: EdgeStream, rate: float) -> EdgeStream:
    if not 0 < rate <= 1:
        raise ConfigError(f"a false-discovery rate is above 0 and at most 1; got {rate:g}")
    if not edges.n_tests:
        raise ConfigError(
            "no pair of this run has a p-value (estimator.nulls.max_permutations is 0?), so there is no "
            "false-discovery rate; use the step mi, top or clr instead"
        )
    return edges.where(lambda batch: batch.q_value <= rate)
