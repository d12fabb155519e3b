"""Modules of a network: groups of variables with more edges among themselves than chance would make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmg_ray.schema import Column

MOST_EDGES = 50_000  # of largest weight, which the modules of a large network are found in
SMALLEST = 3  # variables of a module that is listed

MODULE_COLUMNS: tuple[Column, ...] = (
    Column("module", "int32", "1 is the module of most variables"),
    Column("variable", "string", "its name"),
    Column("n_edges", "int32", "edges of the variable within its module"),
    Column("strength", "float64", "sum of their weights; the hub of a module has the largest"),
)


def listed(modules: pa.Table) -> list[list[str]]:
    """The variables of each module that has `SMALLEST` or more, the best connected first; modules by size."""
    parts: dict[int, list[str]] = {}
    ends = (modules.column(name).to_pylist() for name in ("module", "variable"))
    for module, name in zip(*ends, strict=True):
        parts.setdefault(module, []).append(name)
    return [part for part in parts.values() if len(part) >= SMALLEST]


def modules_of(
    edges: pa.Table, names: Sequence[str], resolution: float = 1.0, seed: int = 0
) -> pa.Table:
    """Communities of largest modularity (Louvain; Blondel et al. 2008) over the edges of weight above 0.

    A row a variable with an edge, `MODULE_COLUMNS`; modules by size, the variables of each by strength. Directions
    are ignored.

    Args:
        edges: with columns i, j and weight. names: of the variables that i and j number.
        resolution: above 1 gives more and smaller modules.
        seed: of the order in which variables are visited.
    """
    import networkx as nx

    table = edges.select(["i", "j", "weight"]).to_pandas()
    table = table[table.weight > 0]
    graph = nx.Graph()
    graph.add_nodes_from(np.unique(table[["i", "j"]]).tolist())
    graph.add_weighted_edges_from(table.itertuples(index=False, name=None))
    found = nx.community.louvain_communities(graph, resolution=resolution, seed=seed)
    rows = []
    for k, members in enumerate(sorted(found, key=lambda part: (-len(part), min(part))), start=1):
        inside = graph.subgraph(members)
        strength = dict(inside.degree(weight="weight"))
        rows += [
            (k, names[v], inside.degree(v), strength[v])
            for v in sorted(members, key=lambda v: (-strength[v], v))
        ]
    columns = list(zip(*rows, strict=True)) or [()] * len(MODULE_COLUMNS)
    types = {"int32": pa.int32(), "string": pa.string(), "float64": pa.float64()}
    return pa.table(
        {
            column.name: pa.array(values, types[column.dtype])
            for column, values in zip(MODULE_COLUMNS, columns, strict=True)
        }
    )
