"""Two networks side by side: which edges came, went, or changed beyond their errors."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from mmg_ray.network.changes import posterior
from mmg_ray.network.graph import Network
from mmg_ray.network.significance import QValues, count
from mmg_ray.schema import Column

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_COLUMNS: tuple[Column, ...] = (
    Column("source", "string", "name of one variable"),
    Column("target", "string", "name of the other"),
    Column("edge", "string", "gained (in the second network only), lost, or kept"),
    Column("changed", "bool", "whether the difference is beyond its error, q_value <= rate"),
    Column("mi_first", "float64", "MI in the first run, nats; null where it has no such row"),
    Column("mi_second", "float64", "MI in the second run, nats"),
    Column("difference", "float64", "second less first, nats"),
    Column("se_difference", "float64", "its standard error, the runs taken as independent, nats"),
    Column(
        "difference_posterior",
        "float64",
        "its mean in the light of all edges that are compared, nats: shrunk by what their differences and errors say",
    ),
    Column(
        "p_changed", "float64", "probability that the MI changed: 1 - local false-discovery rate"
    ),
    Column("p_value", "float64", "of no difference: by permutation if asked for, else normal"),
    Column("q_value", "float64", "smallest false-discovery rate, over all pairs of both runs"),
)

Values = Mapping[tuple[int, int], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two networks.

    Attributes:
        table: a row for each edge of either, `COMPARISON_COLUMNS`, the surest change first; an Arrow table.
        names: variables of both runs.
        only_first, only_second: variables of one run only; their edges are not compared.
        rate: false-discovery rate of `changed`.
        provenance: values that JSON can hold: both networks' own.
    """

    table: pa.Table
    names: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    rate: float
    provenance: dict[str, Any]

    @property
    def edges(self) -> pd.DataFrame:
        """The rows of `table`."""
        return self.table.to_pandas()

    @property
    def counts(self) -> dict[str, int]:
        """Edges gained, lost and kept, and those that changed beyond their errors."""
        of = Counter(self.table["edge"].to_pylist())
        changed = sum(self.table["changed"].to_pylist())
        return {**{kind: of[kind] for kind in ("gained", "lost", "kept")}, "changed": changed}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"Comparison({len(self.names):,} variables, edges: {counts})"

    def _repr_html_(self) -> str:
        """For notebooks: the counts and the ten surest changes."""
        names = [column.name for column in COMPARISON_COLUMNS]
        rows = "".join(
            "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in names) + "</tr>"
            for row in self.table.slice(0, 10).to_pylist()
        )
        titles = "".join(f"<th>{name}</th>" for name in names)
        return f"<p>{html.escape(repr(self))}</p><table><tr>{titles}</tr>{rows}</table>"


def pairs_of(network: Network, position: Mapping[str, int]) -> set[tuple[int, int]]:
    """Edges as sorted pairs of the positions of their names; those without a position are left out."""
    place = np.array([position.get(name, -1) for name in network.names])
    ends = np.stack([place[network.table[end].to_numpy()] for end in ("i", "j")], axis=1)
    return {(min(e), max(e)) for e in ends[(ends >= 0).all(axis=1)].tolist()}


def compare_networks(
    networks: tuple[Network, Network],
    values: tuple[Values, Values],
    names: tuple[str, ...],
    n_tests: int,
    rate: float,
    permuted: Mapping[tuple[int, int], float] | None = None,
) -> Comparison:
    """Put two networks side by side.

    Args:
        values: MI and standard error of pairs of positions in `names`, for either run; at least of the
            edges of both networks, where the run has them.
        names: of the variables of both runs.
        n_tests: pairs that both runs have; those that are no edge of either count as not different.
        rate: false-discovery rate of a change.
        permuted: p-values that take the place of those from the standard errors.
    """
    position = {name: k for k, name in enumerate(names)}
    first, second = (pairs_of(network, position) for network in networks)
    pairs = sorted(first | second)
    none = (np.nan, np.nan)
    a, b = (
        np.array([v.get(pair, none) for pair in pairs], dtype=float).reshape(-1, 2) for v in values
    )
    difference, se = b[:, 0] - a[:, 0], np.hypot(a[:, 1], b[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * ndtr(-np.abs(difference) / se)
    change = posterior(difference, se)
    if permuted is not None:
        p = np.array([permuted.get(pair, np.nan) for pair in pairs])
    q = QValues(count([p]), n_tests).of(p)
    edge = [_kind(pair in first, pair in second) for pair in pairs]
    order = np.lexsort((-np.abs(np.nan_to_num(difference)), np.nan_to_num(p, nan=2.0)))
    columns: dict[str, Any] = {
        "source": [names[i] for i, _ in pairs],
        "target": [names[j] for _, j in pairs],
        "edge": edge,
        "changed": q <= rate,
        "mi_first": a[:, 0],
        "mi_second": b[:, 0],
        "difference": difference,
        "se_difference": se,
        "difference_posterior": change.mean,
        "p_changed": change.probability,
        "p_value": p,
        "q_value": q,
    }
    types = {"string": pa.string(), "bool": pa.bool_(), "float64": pa.float64()}
    table = pa.table(
        {
            c.name: pa.array(columns[c.name], types[c.dtype], from_pandas=True)
            for c in COMPARISON_COLUMNS
        }
    ).take(pa.array(order))
    return Comparison(
        table=table,
        names=names,
        only_first=_others(networks[0], position),
        only_second=_others(networks[1], position),
        rate=rate,
        provenance={"first": networks[0].provenance, "second": networks[1].provenance},
    )


def _others(network: Network, position: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name in network.names if name not in position)


def _kind(in_first: bool, in_second: bool) -> str:
    return "kept" if in_first and in_second else "gained" if in_second else "lost"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
