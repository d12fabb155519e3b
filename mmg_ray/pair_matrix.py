"""Estimates of all pairs of variables as matrices, rows and edges."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmg_ray.schema import PairEstimate, PairEstimates
from mmg_ray.store.shards import edge_table


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

    def to_edges(self) -> pa.Table:
        """One row per pair, with the columns of `schema.EDGE_COLUMNS`; `.to_pandas()` works."""
        return edge_table(self.names, self.estimates.pairs, self.estimates.columns)

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
