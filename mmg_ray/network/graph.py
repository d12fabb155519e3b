"""A network: variables, the edges that were kept between them, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmg_ray.schema import Column

NETWORK_COLUMNS: tuple[Column, ...] = (
    Column("i", "int32", "position of the first variable in `names`; the regulator if directed"),
    Column("j", "int32", "position of the second variable"),
    Column("source", "string", "name of variable i"),
    Column("target", "string", "name of variable j"),
    Column("weight", "float64", "what the last step left: MI in nats, or a score such as CLR's"),
    Column("mi_nats", "float64", "mutual information, nats"),
    Column("se_nats", "float64", "its standard error, nats"),
    Column("p_value", "float64", "of independence; null where no test was made"),
    Column("q_value", "float64", "smallest false-discovery rate at which the edge is found"),
    Column("spearman", "float64", "Spearman correlation, the edge's sign; null for groups"),
)


@dataclass(frozen=True, eq=False)
class Network:
    """The edges that are left of a run after steps, with what is needed to say how.

    Attributes:
        names: (V,) of every variable, of those without an edge too.
        edges: a row an edge, `NETWORK_COLUMNS`, the largest weight first.
        directed: whether an edge leads from source to target only.
        provenance: values that JSON can hold: the run's URL and fingerprint, the steps, versions.
    """

    names: tuple[str, ...]
    edges: pa.Table
    directed: bool
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        kind = "directed edges" if self.directed else "edges"
        return f"Network({len(self.names):,} variables, {self.edges.num_rows:,} {kind})"
