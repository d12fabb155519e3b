"""What the page asks for, as values that JSON can hold: computed from the index, and from storage for one pair."""

from __future__ import annotations

import io
from importlib import import_module
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.explore.index import LOOSEST_Q, RANKINGS, Index, index_of
from mmg_ray.network.modules import MOST_EDGES, listed, modules_of
from mmg_ray.store.csv_names import safe_texts
from mmg_ray.store.run import Run

SHOWN = 200  # rows of the table of edges
_MATCHES = 20  # of a search
_MODULE_Q, _MODULES = 0.05, 40
_PATIENCE_S = 0.5
# of a pair, beside what the index holds; some are of runs with lags only
_MORE = ("mi_nats", "se_nats", "p_value", "spearman", "mi_posterior", "p_dependent", "status")
_AND_MORE = ("message", "n_samples", "denoiser", "mi_ij", "mi_ji", "gap", "lag_s", "band", "curve")


class Filters(NamedTuple):
    """Which edges are asked for, and in which order.

    Attributes:
        variable: a name, or empty for all.
        max_q: largest q-value; min_mi: least MI, nats.
        by: one of `RANKINGS`.
    """

    variable: str = ""
    max_q: float = 0.05
    min_mi: float = 0.0
    by: str = "weight"

    @classmethod
    def parse(cls, query: Any) -> Filters:
        """From the text of a request; ConfigError naming what cannot be read."""
        try:
            max_q = float(query.get("max_q") or cls._field_defaults["max_q"])
            min_mi = float(query.get("min_mi") or cls._field_defaults["min_mi"])
        except ValueError:
            raise ConfigError("the q-value and the MI of a filter are numbers") from None
        by = query.get("by", "weight")
        if by not in RANKINGS:
            raise ConfigError(f"edges cannot be ranked by {by!r}; known: {', '.join(RANKINGS)}")
        if not 0 <= max_q <= 1:
            raise ConfigError(f"a q-value is from 0 to 1; got {max_q:g}")
        return cls(query.get("variable", ""), max_q, min_mi, by)


class Explorer:
    """A complete run, read in a thread of its own: `state` says how far, everything else waits for it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._read, self._of = 0, run.manifest.n_shards
        self._index: Index | None = None
        self._error: Exception | None = None
        self._reader = Thread(target=self._fill, daemon=True)
        self._reader.start()

    def _fill(self) -> None:
        def each(done: int, of: int) -> None:
            self._read, self._of = done, of

        try:
            self._index = index_of(self.run, each)
        except Exception as error:  # noqa: BLE001  # to be raised where it is waited for
            self._error = error
        # what charts of pairs need takes seconds to import
        Thread(target=import_module, args=["mmg_ray.report.pairs"], daemon=True).start()

    @property
    def index(self) -> Index:
        """Waits for the reading to end; its error is raised."""
        self._reader.join()
        if self._error is not None:
            raise self._error
        assert self._index is not None
        return self._index

    def facts(self) -> dict[str, Any]:
        """What is known without the edges."""
        m = self.run.manifest
        return {
            "url": self.run.url,
            "n_variables": m.n_variables,
            "n_samples": m.n_samples,
            "n_pairs": m.n_pairs,
            "denoiser": m.config["estimator"]["denoiser"],
            "conditions": list(m.config["data"]["conditions"]),
            "lagged": m.config["lags"]["max_s"] is not None,
            "shown": SHOWN,
            "loosest_q": LOOSEST_Q,
            "rankings": RANKINGS,
        }

    def state(self) -> dict[str, Any]:
        """How far the reading is, in half a second at the latest once it has ended."""
        self._reader.join(_PATIENCE_S)
        if self._reader.is_alive():
            return {"ready": False, "read": self._read, "of": self._of}
        index = self.index
        return {
            "ready": True,
            "n_tests": index.n_tests,
            "n_held": len(index.edges.i),
            "n_left_out": index.n_left_out,
        }

    def variables(self, text: str) -> list[dict[str, Any]]:
        """Variables whose name has the text: those that begin with it first, then those of most edges."""
        wanted, index = text.strip().lower(), self.index
        hits = [v for v, name in enumerate(index.names) if wanted in name.lower()]
        hits.sort(
            key=lambda v: (
                not index.names[v].lower().startswith(wanted),
                -index.n_edges(v),
                index.names[v],
            )
        )
        return [{"name": index.names[v], "n_edges": index.n_edges(v)} for v in hits[:_MATCHES]]

    def edges(self, filters: Filters) -> dict[str, Any]:
        """The first rows that pass, and how many there are."""
        at, n = self._find(filters, SHOWN)
        return {"n": n, "rows": _plain(self.index.table(at))}

    def csv(self, filters: Filters) -> bytes:
        """All rows that pass, as comma-separated text."""
        at, _ = self._find(filters, None)
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(safe_texts(self.index.table(at)), buffer)
        return buffer.getvalue()

    def modules(self) -> list[dict[str, Any]]:
        """Modules of the strongest edges, the largest first."""
        strong = self.index.network(_MODULE_Q, MOST_EDGES)
        found = modules_of(strong.table, strong.names)
        return [{"members": names} for names in listed(found)[:_MODULES]]

    def pair(self, source: str, target: str) -> dict[str, Any]:
        """Everything there is of one pair: its stored row, and its charts as SVG."""
        # torch takes seconds, and the first view does without
        from mmg_ray.report import lags, pairs

        i, j = sorted(self._variable(name) for name in (source, target))
        if i == j:
            raise ConfigError(f"a pair is of two variables; both are {source!r}")
        row = self._row(i, j)
        if row is None:
            return {"row": None, "charts": []}
        names, curve = self.index.names, row.pop("curve")
        row |= {"i": i, "j": j, "source": names[i], "target": names[j]}
        charts = []
        if self.index.lagged:
            if curve is not None and row["band"] is not None:
                settings = self.run.manifest.resolved().lags
                charts = [(lags.chart_of(settings, {**row, "curve": curve}), lags.OF_CURVE)]
        elif (detail := pairs.detail_of(self.run.prepared().load, row, self.run.given)) is not None:
            charts = [
                (pairs.scatter(detail), pairs.OF_SCATTER),
                (pairs.gap_chart(detail), pairs.of_gap(detail)),
            ]
        shown = {name: value for name, value in row.items() if value is not None}
        return {"row": shown, "charts": [(str(chart), said) for chart, said in charts]}

    def _find(self, filters: Filters, k: int | None) -> tuple[np.ndarray, int]:
        of = self._variable(filters.variable) if filters.variable else None
        return self.index.find(of, filters.max_q, filters.min_mi, filters.by, k)

    def _variable(self, name: str) -> int:
        try:
            return self.index.names.index(name)
        except ValueError:
            raise DataError(f"this run has no variable {name!r}") from None

    def _row(self, i: int, j: int) -> dict[str, Any] | None:
        """The stored row of a pair; None where a filter left it out, or it is not of this run."""
        shard = self.index.plan.shard_of(np.array([[i, j]]))
        if shard[0] < 0:
            return None
        rows = self.run.edge_store().rows_of(np.array([[i, j]]), shard, [*_MORE, *_AND_MORE])
        return next(iter(rows.to_pylist()), None)


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    return table.drop_columns(["i", "j"]).to_pylist()
