"""A network: variables, the edges that were kept between them, and where they come from."""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.errors import ConfigError, DataError, MMGError
from mmg_ray.network.chain import Chain
from mmg_ray.network.modules import modules_of
from mmg_ray.network.steps import apply
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.schema import Column

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

NETWORK_COLUMNS: tuple[Column, ...] = (
    Column("i", "int32", "position of the first variable in `names`; the regulator if directed"),
    Column("j", "int32", "position of the second variable"),
    Column("source", "string", "name of variable i"),
    Column("target", "string", "name of variable j"),
    Column(
        "weight",
        "float64",
        "what the last step left: the posterior mean of the MI, nats, or a score such as CLR's",
    ),
    Column("mi_nats", "float64", "mutual information, nats"),
    Column("se_nats", "float64", "its standard error, nats"),
    Column("p_value", "float64", "of independence; null where no test was made"),
    Column("q_value", "float64", "smallest false-discovery rate at which the edge is found"),
    Column("spearman", "float64", "Spearman correlation, the edge's sign; null for groups"),
    Column("p_dependent", "float64", "probability of dependence: 1 - local false-discovery rate"),
)

# beside them, of a run with lags
LAG_COLUMNS: tuple[Column, ...] = (
    Column("lag_s", "float64", "by so much the target follows the source, s; 0: an edge both ways"),
    Column("transfer_ij", "float64", "transfer entropy from source to target, nats"),
    Column("transfer_ji", "float64", "transfer entropy from target to source, nats"),
    Column("transfer_p_ij", "float64", "its p-value, source to target"),
    Column("transfer_p_ji", "float64", "its p-value, target to source"),
)
_FROM_TARGET = [0, 2, 1, 4, 3]  # the same seen from the other end


@dataclass(frozen=True, eq=False)
class Network(Chain):
    """The edges that are left of a run after steps, with what is needed to say how.

    Steps are methods, too: ``run.network().fdr(0.05).clr()`` is ``run.network(["fdr=0.05", "clr"])``.

    Attributes:
        names: (V,) of every variable, of those without an edge too.
        directed: whether an edge leads from source to target only.
        provenance: values that JSON can hold: the run's URL and fingerprint, the steps, versions.
    """

    names: tuple[str, ...]
    directed: bool
    provenance: dict[str, Any]
    stream: EdgeStream | None = field(repr=False)  # that more steps take; None of a consensus
    gather: Callable[[EdgeStream | None], pa.Table] = field(repr=False)

    @property
    def edges(self) -> pd.DataFrame:
        """A row an edge, `NETWORK_COLUMNS`, of a run with lags `LAG_COLUMNS`, the largest weight first."""
        return self.table.to_pandas()

    @cached_property
    def table(self) -> pa.Table:
        """The same as an Arrow table, where millions of edges take least memory.

        Read when first asked for, so that edges which a later step drops are never held.
        """
        return self.gather(self.stream)

    def then(self, step: str) -> Self:
        """The network after one more step, `name` or `name=value`; ConfigError where there is no such."""
        if self.stream is None:
            raise ConfigError(
                f"step {step}: a consensus takes no more steps; give them to the networks it is of"
            )
        steps = [*self.provenance.get("steps", []), step]
        return replace(
            self,
            stream=apply(self.stream, [step]),
            provenance={**self.provenance, "steps": steps},
        )

    def __repr__(self) -> str:
        kind = "directed edges" if self.directed else "edges"
        return f"Network({len(self.names):,} variables, {self.table.num_rows:,} {kind})"

    def _repr_html_(self) -> str:
        """For notebooks: what it is and its ten strongest edges."""
        head = self.table.column_names[2:]
        rows = "".join(
            "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in head) + "</tr>"
            for row in self.table.slice(0, 10).to_pylist()
        )
        titles = "".join(f"<th>{name}</th>" for name in head)
        return f"<p>{html.escape(repr(self))}</p><table><tr>{titles}</tr>{rows}</table>"

    def of(self, name: str) -> pd.DataFrame:
        """The edges of one variable, the largest weight first; DataError where there is no such variable."""
        return edges_of(self, name).to_pandas()

    def modules(self, resolution: float = 1.0, seed: int = 0) -> pd.DataFrame:
        """Groups of variables with many edges among themselves, a row a variable, `modules.MODULE_COLUMNS`.

        Communities by modularity (Louvain); `resolution` above 1 gives more and smaller ones. Lists for an enrichment
        test: ``net.modules().groupby("module").variable.agg(list)``.
        """
        return modules_of(self.table, self.names, resolution, seed).to_pandas()

    def to_networkx(self) -> nx.Graph:
        """A NetworkX Graph, or DiGraph if directed: nodes are names, edges have every number there is."""
        import networkx as nx

        graph = nx.DiGraph() if self.directed else nx.Graph()
        graph.add_nodes_from(self.names)
        every = self.numbers
        for row in self.table.to_pylist():
            numbers = {name: row[name] for name in every if row[name] is not None}
            graph.add_edge(row["source"], row["target"], **numbers)
        return graph

    def to_igraph(self) -> Any:
        """An igraph Graph with the vertex attribute `name` and every number of the edges."""
        try:
            import igraph
        except ImportError:
            raise MMGError(
                "igraph is not installed; pip install 'mmg-ray[igraph]', or use to_networkx()"
            ) from None
        ends = zip(*(self.table[end].to_pylist() for end in ("i", "j")), strict=True)
        return igraph.Graph(
            len(self.names),
            list(ends),
            directed=self.directed,
            vertex_attrs={"name": list(self.names)},
            edge_attrs={name: self.table[name].to_pylist() for name in self.numbers},
        )

    @property
    def numbers(self) -> list[str]:
        """Names of the columns that are numbers."""
        return [f.name for f in self.table.schema if pa.types.is_floating(f.type)]

    @property
    def connected(self) -> np.ndarray:
        """Sorted positions of the variables that have an edge."""
        ends = [self.table.column(name).to_numpy() for name in ("i", "j")]
        return np.unique(np.concatenate(ends))


def edges_of(network: Network, name: str) -> pa.Table:
    """The rows of `Network.table` of one variable; DataError where there is no such variable."""
    if name not in network.names:
        near = difflib.get_close_matches(name, network.names, n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"there is no variable {name!r} in the network{hint}")
    is_end = (pc.equal(network.table[end], name) for end in ("source", "target"))
    return network.table.filter(pc.or_(*is_end))


def network(
    stream: EdgeStream,
    names: Sequence[str],
    sources: np.ndarray | None,
    provenance: dict[str, Any],
    lagged: bool = False,
) -> Network:
    """The edges of a stream.

    Args:
        sources: positions of regulators, for a directed network: edges lead from them, both ways
            between two of them; None for an undirected one. Edges of a run with lags lead from the end that is first.
        lagged: whether it is one of a run with lags.
    """
    leads = None
    if sources is not None:
        leads = np.zeros(len(names), dtype=bool)
        leads[sources] = True
    gather = partial(_gathered, names=names, leads=leads, lagged=lagged)
    return Network(tuple(names), lagged or leads is not None, provenance, stream, gather)


def _gathered(
    stream: EdgeStream | None, names: Sequence[str], leads: np.ndarray | None, lagged: bool
) -> pa.Table:
    assert stream is not None
    edges = Batch.concatenate(list(stream.batches()))
    if lagged:
        edges = _by_lag(edges)
    elif leads is not None:
        forward, back = edges.take(leads[edges.i]), edges.take(leads[edges.j])
        edges = Batch.concatenate([forward, turned(back)])
    return table_of(edges.take(np.lexsort((edges.j, edges.i, -edges.weight))), names, lagged)


def table_of(edges: Batch, names: Sequence[str], lagged: bool) -> pa.Table:
    """Edges in their order as a table of `NETWORK_COLUMNS`, of a run with lags `LAG_COLUMNS`, too."""
    texts = pa.array(names, pa.string())
    columns: dict[str, pa.Array] = {"i": pa.array(edges.i), "j": pa.array(edges.j)}
    columns |= {"source": texts.take(columns["i"]), "target": texts.take(columns["j"])}
    numbers = edges._asdict()
    shown = NETWORK_COLUMNS
    lags = numbers.pop("lags")
    if lagged:
        shown += LAG_COLUMNS
        numbers |= dict(zip((column.name for column in LAG_COLUMNS), lags.T, strict=True))
    columns |= {name: pa.array(column, from_pandas=True) for name, column in numbers.items()}
    return pa.table({column.name: columns[column.name] for column in shown})


def _by_lag(edges: Batch) -> Batch:
    """Each edge from the end that is first to the one that follows; both ways where neither is."""
    if edges.lags is None:  # no edge
        edges = edges._replace(lags=np.zeros((0, len(LAG_COLUMNS))))
    assert edges.lags is not None
    lag = edges.lags[:, 0]
    forward, back = edges.take(lag >= 0), edges.take(lag <= 0)
    return Batch.concatenate([forward, turned(back)])


def turned(edges: Batch) -> Batch:
    """The edges seen from their other ends."""
    lags = edges.lags
    if lags is not None:
        lags = lags[:, _FROM_TARGET] * [-1, 1, 1, 1, 1]
        lags[:, 0] += 0.0  # no -0
    return edges._replace(i=edges.j, j=edges.i, lags=lags)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
