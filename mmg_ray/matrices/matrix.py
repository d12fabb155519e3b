"""MI of all pairs of variables: matrices, edges, a network, a report."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from mmg_ray.config import EstimatorConfig, LagsConfig, to_dict
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.matrices.by_pair import EstimatesByPair
from mmg_ray.network.graph import Network, network
from mmg_ray.network.steps import apply
from mmg_ray.network.steps.fdr import with_q_values
from mmg_ray.network.stream import EdgeStream
from mmg_ray.results import Result
from mmg_ray.schema import Status, Variable
from mmg_ray.store.edge_table import edge_table, with_q_column
from mmg_ray.store.edges import batch_from, edge_fields
from mmg_ray.store.kept import best

if TYPE_CHECKING:
    from mmg_ray.report.subject import Subject

_ROWS = 2**16  # of the edge table at a time


@dataclass(frozen=True)
class Made:
    """Of what a matrix was made, and how.

    Attributes:
        what: the type of the data.
        variables: by position, as the estimators saw them: their ranks, n x 4 bytes each.
        quality: a row a variable, `store.quality.QUALITY_SCHEMA`.
        settings: of the estimator.
        given: names of what the pairs are estimated given.
        evidence: what was learned from all pairs, if anything.
    """

    what: str
    variables: dict[int, Variable]
    quality: pa.Table
    settings: EstimatorConfig
    given: list[str]
    evidence: Evidence | None


@dataclass(frozen=True, repr=False, eq=False)
class MIMatrix(Result):
    """MI of all pairs of V variables.

    Attributes:
        names: (V,) names of the variables.
        estimates: all that is known of each pair: ``estimates[i, j]``, i < j, or a column at a time.
        made: of what it was made, and how.
    """

    names: list[str]
    estimates: EstimatesByPair
    made: Made

    @cached_property
    def mi(self) -> pd.DataFrame:
        """(V, V) nats, symmetric; NaN on the diagonal and where there is no value."""
        return self.to_frame("mi_nats")

    @cached_property
    def se(self) -> pd.DataFrame:
        """(V, V) standard errors, nats."""
        return self.to_frame("se_nats")

    @cached_property
    def p_value(self) -> pd.DataFrame:
        """(V, V) of independence."""
        return self.to_frame("p_value")

    def matrix(self, name: str = "mi_nats") -> np.ndarray:
        """(V, V) one of the numbers of each pair, symmetric; NaN where there is none."""
        return self.estimates.matrix(name)

    def edges(self) -> pd.DataFrame:
        """A row a pair, with the columns of `schema.EDGE_COLUMNS` and q_value, as `Run.edges`."""
        return with_q_column(self.table(), self.n_tests).to_pandas()

    def strongest(self, k: int, by: str = "mi_nats") -> pd.DataFrame:
        """The first `k` rows: of highest MI, or "mi_posterior", or by "p_value" the most significant."""
        return self.table(self.first(k, by)).to_pandas()

    def variables(self) -> pd.DataFrame:
        """A row a variable: its name, quality and status, as `Run.variables`."""
        return self.made.quality.to_pandas()

    def table(self, rows: np.ndarray | slice = slice(None)) -> pa.Table:
        """Some rows as an Arrow table of `schema.EDGE_COLUMNS`."""
        at = np.arange(len(self.estimates))[rows]
        return edge_table(self.names, self.estimates.pairs[at], self.estimates.columns.take(at))

    def first(self, k: int, by: str) -> np.ndarray:
        """(<= k,) the first pairs that have a value in one of `store.kept.RANKINGS`."""
        columns = self.estimates.columns
        ok = np.flatnonzero(columns.ok)
        ranked = ("mi_nats", "mi_posterior", "p_value")
        numbers = {name: getattr(columns, name)[ok] for name in ranked}
        i, j = self.estimates.pairs[ok].T
        return ok[best(k, by, i, j, **numbers)]

    @property
    def n_tests(self) -> int:
        """Pairs that have a p-value."""
        columns = self.estimates.columns
        return int(np.isfinite(columns.p_value[columns.ok]).sum())

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
            >>> m.network(["fdr=0.05"]).edges[["source", "target"]].to_dict("records")
            [{'source': 'x', 'target': 'sum'}, {'source': 'e', 'target': 'sum'}]
        """
        columns, ok = self.estimates.columns, self.estimates.columns.ok
        i, j = self.estimates.pairs[ok].astype(np.int32).T
        numbers = (getattr(columns, name)[ok] for name in edge_fields(lagged=False)[2:])
        edges = batch_from(i, j, *numbers)
        n_variables = len(self.names)
        stream = EdgeStream(
            np.full(n_variables, n_variables - 1),
            self.n_tests,
            lambda: iter([edges]),
        )
        found = apply(with_q_values(stream), steps)
        provenance = {"mmg_ray": version("mmg-ray"), "steps": list(steps)}
        return network(found, self.names, None, provenance)

    def _subject(self) -> Subject:
        return OfMatrix(self)

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


class OfMatrix:
    """A matrix as what a report is about, see `report.subject.Subject`."""

    lags: LagsConfig | None = None

    def __init__(self, matrix: MIMatrix) -> None:
        self._matrix, made = matrix, matrix.made
        columns = matrix.estimates.columns
        self.where = "a matrix in memory"
        self.dims = np.ones(len(matrix.names), dtype=np.int64)
        self.quality = made.quality
        self.n_samples = made.variables[0].n_samples if made.variables else 0
        self.n_pairs = len(columns)
        self.n_tests = matrix.n_tests
        self.statuses = {Status(name): n for name, n in columns.status.counts().items()}
        self.settings, self.given, self.evidence = made.settings, made.given, made.evidence
        given = f", given {', '.join(made.given)}" if made.given else ""
        self.facts = {
            "data": f"{made.what} of {self.n_samples:,} samples x {len(matrix.names):,} variables{given}",
            "denoiser": f"{made.settings.denoiser}, seed {made.settings.seed}",
            "mmg_ray": version("mmg-ray"),
        }
        self.configuration = yaml.safe_dump({"estimator": to_dict(made.settings)}, sort_keys=False)
        self.notes: list[str] = []

    def network(self, steps: Sequence[str]) -> Network:
        return self._matrix.network(steps)

    def strongest(self, k: int, by: str) -> pa.Table:
        return self._matrix.table(self._matrix.first(k, by))

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.n_pairs, _ROWS):
            rows = self._matrix.table(slice(start, start + _ROWS))
            yield from rows.select(columns).combine_chunks().to_batches()

    def load(self, indices: Sequence[int]) -> dict[int, Variable]:
        return {k: self._matrix.made.variables[k] for k in indices}

    def cut_by(self, step: str) -> str:
        name, _, value = step.partition("=")
        return f"m.network().{name}({value})"
