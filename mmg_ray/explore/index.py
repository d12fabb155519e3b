"""The edges of a run that are worth looking at, in memory and in order: one reading of the edge table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from mmg_ray.network.graph import Network, network, table_of, turned
from mmg_ray.network.significance import QValues, count
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import Status
from mmg_ray.store.edge_table import numbers
from mmg_ray.store.edges import batch_of, edge_fields
from mmg_ray.store.run import Run

LOOSEST_Q = 0.2  # pairs above it are counted and not held
_HELD = 5_000_000  # edges in memory at most, 100 bytes each
_READERS = min(4, os.cpu_count() or 1)
RANKINGS = {
    "weight": "posterior mean of the MI",
    "mi_nats": "MI",
    "p_value": "p-value",
}


@dataclass(frozen=True, eq=False)
class Index:
    """What the page of a run is made of.

    Attributes:
        names: (V,) of the variables.
        edges: of q-value up to `LOOSEST_Q`, or without one, the largest weight first.
        n_tests: pairs that have a p-value. n_left_out: edges beyond `_HELD`, of the smallest weights.
        plan: which pairs were estimated, and where they are stored.
        sources: (S,) regulators of a bipartite run, which its edges lead from; None of other runs.
        lagged: whether the run has lags: its edges lead from the end that is first.
    """

    names: list[str]
    edges: Batch
    n_tests: int
    n_left_out: int
    plan: Plan
    sources: np.ndarray | None
    lagged: bool

    def find(
        self, variable: int | None, max_q: float, min_mi: float, by: str, k: int | None = None
    ) -> tuple[np.ndarray, int]:
        """(<= k,) positions in `edges` of the first in a ranking, of all or of one variable; how many there are.

        Args:
            max_q: largest q-value; edges without one pass 1.
            min_mi: least MI, nats.
        """
        edges = self.edges
        at = np.arange(len(edges.i)) if variable is None else self._edges_of(variable)
        q = np.nan_to_num(edges.q_value[at], nan=1.0)
        at = at[(q <= max_q) & (edges.mi_nats[at] >= min_mi)]
        if by == "weight":  # in whose order they are
            return at[:k], len(at)
        key = -edges.mi_nats[at] if by == "mi_nats" else np.nan_to_num(edges.p_value[at], nan=2.0)
        return at[np.argsort(key, kind="stable")[:k]], len(at)

    def n_edges(self, variable: int) -> int:
        """Edges that are held of a variable."""
        return int(self._starts[variable + 1] - self._starts[variable])

    def network(self, max_q: float, k: int) -> Network:
        """The network of the `k` edges of largest weight up to a q-value."""
        at, _ = self.find(None, max_q, -np.inf, "weight", k)
        some = self.edges.take(at)
        stream = EdgeStream(self.plan.pairs.partners, self.n_tests, lambda: iter([some]))
        return network(stream, self.names, self.sources, {}, self.lagged)

    def table(self, positions: np.ndarray) -> pa.Table:
        """Edges in this order, a row a pair, as `graph.table_of`: from the regulator, or from the end that is first."""
        return table_of(self.edges.take(positions), self.names, self.lagged)

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        ends = np.concatenate([self.edges.i, self.edges.j])
        starts = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=len(self.names)))])
        return np.argsort(ends, kind="stable"), starts

    @property
    def _starts(self) -> np.ndarray:
        return self._ends[1]

    def _edges_of(self, variable: int) -> np.ndarray:
        order, starts = self._ends
        return np.sort(order[starts[variable] : starts[variable + 1]] % len(self.edges.i))


def index_of(run: Run, each: Callable[[int, int], Any] = lambda *_: None) -> Index:
    """Read the edges of a complete run once, several shards at a time.

    Args:
        each: called with how many shards are read, and of how many.

    Raises:
        StoreError: the run is not complete, or a shard is damaged.
    """
    store, plan, lagged = run.complete_edges(), run.plan(), run.lagged
    parts = store.parts(edge_fields(lagged))
    held: list[Batch] = []
    counts, n_without, n_left_out = count([]), 0, 0
    with ThreadPoolExecutor(_READERS) as pool:
        for done, (without, some) in enumerate(pool.map(_read, parts), start=1):
            counts += count(batch.p_value for batch in some)
            n_without += without
            held += some
            if sum(len(batch.i) for batch in held) > 2 * _HELD:
                held, out = _strongest(held)
                n_left_out += out
            each(done, len(parts))
    n_tests = run.status().statuses.get(Status.OK, 0) - n_without
    if n_tests:
        q_values = QValues(counts, n_tests)
        most = q_values.largest_p(LOOSEST_Q)
        held = [batch.take(~(batch.p_value > most)) for batch in held]
        held = [batch._replace(q_value=q_values.of(batch.p_value)) for batch in held]
    (whole, *_), out = _strongest(held)
    whole = whole.take(np.lexsort((whole.j, whole.i, -whole.weight)))
    names, sources = run.names, run.regulators(plan)
    return Index(
        names,
        _facing(whole, sources, len(names)),
        n_tests,
        n_left_out + out,
        plan,
        sources,
        lagged,
    )


def _read(batches: Iterator[pa.RecordBatch]) -> tuple[int, list[Batch]]:
    """How many estimated pairs of a shard have no p-value, and the edges that may have a q-value up to `LOOSEST_Q`.

    No q-value is below its p-value, and larger p-values take no part in a q-value up to there.
    """
    n_without, held = 0, []
    for batch in batches:
        if batch.column("mi_nats").null_count:
            batch = batch.filter(batch.column("mi_nats").is_valid())
        p = batch.column("p_value")
        n_without += p.null_count
        likely = pa.array(~(numbers(p) > LOOSEST_Q))
        held.append(batch_of(batch.filter(likely)))  # Arrow lets other readers go on meanwhile
    return n_without, held


def _facing(edges: Batch, sources: np.ndarray | None, n_variables: int) -> Batch:
    """Each edge once, from the regulator to its target, or from the end that is first to the one that follows."""
    if edges.lags is not None:
        other = edges.lags[:, 0] < 0
    elif sources is not None:
        leads = np.isin(np.arange(n_variables), sources)
        other = ~leads[edges.i]
    else:
        return edges
    order = np.argsort(np.concatenate([np.flatnonzero(~other), np.flatnonzero(other)]))
    return Batch.concatenate([edges.take(~other), turned(edges.take(other))]).take(order)


def _strongest(held: list[Batch]) -> tuple[list[Batch], int]:
    """The edges of largest weight, as many as there may be in memory, and how many are let go."""
    whole = Batch.concatenate(held)
    n_out = len(whole.i) - _HELD
    if n_out <= 0:
        return [whole], 0
    return [whole.take(np.argpartition(whole.weight, n_out)[n_out:])], n_out
