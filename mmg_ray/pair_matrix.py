"""Estimates of all pairs of variables as matrices, rows and edges."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmg_ray.network.graph import Network, network
from mmg_ray.network.steps import apply
from mmg_ray.network.steps.fdr import with_q_values
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.schema import PairEstimate, PairEstimates
from mmg_ray.store.edge_table import edge_table
from mmg_ray.store.kept import first_weight

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class EstimatesByPair(Mapping[tuple[int, int], PairEstimate]):
    """All that is known of each pair (i, j), i < j, of V variables; a row is made when asked for.

    Attributes:
        pairs: (P, 2) every pair, sorted.
        columns: their estimates, a column a field.
    """

    def __init__(self, n_variables: int, columns: PairEstimates) -> None:
        self.pairs = np.stack(np.triu_indices(n_variables, k=1), axis=1)
        self.columns = columns
        self._n_variables = n_variables

    def __getitem__(self, pair: tuple[int, int]) -> PairEstimate:
        i, j = pair
        if not 0 <= i < j < self._n_variables:
            raise KeyError(pair)
        # the rows before i hold (V - 1) + ... + (V - i) pairs
        return self.columns[i * (2 * self._n_variables - i - 1) // 2 + j - i - 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return map(tuple, self.pairs.tolist())

    def __len__(self) -> int:
        return len(self.pairs)

    def matrix(self, name: str) -> np.ndarray:
        """(V, V) one of the numbers of each pair, symmetric; NaN where there is none."""
        values = np.full((self._n_variables, self._n_variables), np.nan)
        i, j = self.pairs.T
        values[i, j] = values[j, i] = getattr(self.columns, name)
        return values


@dataclass(frozen=True, repr=False)
class MIMatrix:
    """MI of all pairs of V variables.

    Attributes:
        names: (V,) names of the variables.
        mi: (V, V) nats, symmetric; NaN on the diagonal and where there is no value.
        se: (V, V) standard errors, nats.
        p_value: (V, V) of independence.
        estimates: all that is known of each pair: ``estimates[i, j]``, i < j, or a column at a time.
    """

    names: list[str]
    mi: np.ndarray
    se: np.ndarray
    p_value: np.ndarray
    estimates: EstimatesByPair

    def edges(self) -> pa.Table:
        """One row per pair, with the columns of `schema.EDGE_COLUMNS`, as `Run.edges`; `.to_pandas()` works."""
        return edge_table(self.names, self.estimates.pairs, self.estimates.columns)

    def network(self, steps: Sequence[str] = ()) -> Network:
        """The edges that steps leave, with q-values over all pairs, as `Run.network`.

        Args:
            steps: in this order, each `name` or `name=value`, such as ("fdr=0.05", "clr", "dpi=0.1");
                `network.steps.STEPS` lists them.

        Raises:
            ConfigError: a step that there is not, or a value that does not fit it.

        Examples:
            >>> import numpy as np, mmg_ray
            >>> x, e = np.random.default_rng(0).standard_normal((2, 500))
            >>> m = mmg_ray.mi_matrix(np.stack([x, e, x + e], axis=1), ["x", "e", "sum"])
            >>> m.network(["fdr=0.05"]).edges.select(["source", "target"]).to_pylist()
            [{'source': 'x', 'target': 'sum'}, {'source': 'e', 'target': 'sum'}]
        """
        columns, ok = self.estimates.columns, self.estimates.columns.ok
        i, j = self.estimates.pairs[ok].astype(np.int32).T
        mi, se, p, rho, posterior, dependent = (
            getattr(columns, name)[ok]
            for name in (
                "mi_nats",
                "se_nats",
                "p_value",
                "spearman",
                "mi_posterior",
                "p_dependent",
            )
        )
        weight, q = first_weight(mi, posterior), np.full(len(i), np.nan)
        edges = Batch(i, j, weight, mi, se, p, q, rho, dependent)
        n_variables = len(self.names)
        stream = EdgeStream(
            np.full(n_variables, n_variables - 1),
            int(np.isfinite(p).sum()),
            lambda: iter([edges]),
        )
        found = apply(with_q_values(stream), steps)
        provenance = {"mmg_ray": version("mmg-ray"), "steps": list(steps)}
        return network(found, self.names, None, provenance)

    def to_frame(self, name: str = "mi_nats") -> pd.DataFrame:
        """(V, V) one of the numbers of each pair, such as "spearman", with the names of the variables."""
        import pandas as pd

        return pd.DataFrame(self.estimates.matrix(name), index=self.names, columns=self.names)

    def to_anndata(self, adata: AnnData, steps: Sequence[str] = ()) -> AnnData:
        """Write `network(steps)` into an AnnData of these variables: .varp["mmg_ray_mi_nats"], ...

        In place, and returned. DataError where `adata` has none of the variables.
        """
        from mmg_ray.store.exports.anndata import annotate

        return annotate(self.network(steps), adata)

    def _repr_html_(self) -> str:
        """For notebooks: what it is and its ten strongest pairs."""
        columns = self.estimates.columns
        first = np.argsort(-np.nan_to_num(columns.mi_nats, nan=-1.0), kind="stable")[:10]
        first = first[columns.ok[first]]
        rows = "".join(
            f"<tr><td>{html.escape(str(self.names[i]))}</td><td>{html.escape(str(self.names[j]))}</td>"
            f"<td>{e.mi_nats:.4f} ± {e.se_nats:.4f}</td><td>{e.p_value:.3g}</td></tr>"
            for (i, j), e in zip(self.estimates.pairs[first], columns.take(first), strict=True)
        )
        head = "<tr><th>source</th><th>target</th><th>MI, nats</th><th>p_value</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>"

    def __repr__(self) -> str:
        n_ok = self.estimates.columns.ok.sum()
        return f"MIMatrix({len(self.names)} variables, {n_ok} of {len(self.estimates)} pairs ok)"
