"""A run as its readers see it: everything from storage, nothing computed."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zarr

from mmg_ray.errors import StoreError
from mmg_ray.network.graph import Network, network
from mmg_ray.network.steps import apply
from mmg_ray.network.steps.fdr import with_q_values
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.plan.pairs import SourcePairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import Status
from mmg_ray.store import heartbeat, integrity, manifest, matrix, shards
from mmg_ray.store.edge_table import with_q_column
from mmg_ray.store.edges import Edges, batch_of, edge_fields
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.run_status import RunStatus
from mmg_ray.store.shards import Footer, Stored

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_RECENT = 100  # shards whose times give the rate


class Run:
    """A run at a URL, finished or not. Cheap to make: one small read.

    Attributes:
        url: where it is.
        manifest: its configuration, data digest and sizes.
    """

    def __init__(self, url: str) -> None:
        self._location = Location(url)
        self.url = self._location.url
        self.manifest = manifest.read(self._location)
        self._stored = Stored({}, [])

    def __repr__(self) -> str:
        m = self.manifest
        return (
            f"Run({self.url!r}: {m.n_variables:,} variables x {m.n_samples:,} samples, "
            f"{m.n_pairs:,} pairs, denoiser {m.config['estimator']['denoiser']}, "
            f"fingerprint {m.fingerprint[:12]})"
        )

    def _repr_html_(self) -> str:
        """For notebooks: what the run is, and how far."""
        s = self.status()
        done = "complete" if s.complete else f"{s.shards_done:,} of {s.n_shards:,} shards"
        if s.damaged:
            done += f", {len(s.damaged):,} objects are lost or damaged"
        return f"<p>{html.escape(repr(self))}: {done}</p>"

    @cached_property
    def names(self) -> list[str]:
        """Names of the variables, in the order of the matrix; read once."""
        return self.prepared().names

    def status(self) -> RunStatus:
        """How far the run is, from listings, the footers of its shards and what is small: storage alone."""
        footers = self._finished()
        whole = self._stored.whole.values()
        last = sorted((s.changed_s, s.footer.n_pairs) for s in whole)[-_RECENT:]
        took = last[-1][0] - last[0][0] if last else 0.0
        statuses: dict[str, int] = {}
        for footer in footers.values():
            for status, count in footer.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        wrong = integrity.glance(self._location, self.manifest)
        asked = self.manifest.resolved().edges.matrix
        damaged = [f"{shards.FOLDER}/{name} is damaged" for name in self._stored.damaged]
        damaged += [f"{path} {why}" for path, why in sorted(wrong.items())]
        return RunStatus(
            n_shards=self.manifest.n_shards,
            n_pairs=self.manifest.n_pairs,
            shards_done=len(footers),
            pairs_done=sum(footer.n_pairs for footer in footers.values()),
            pairs_stored=sum(footer.n_stored for footer in footers.values()),
            statuses=dict(sorted(statuses.items())),
            matrix_asked=asked,
            matrix_done=asked and self._has_matrix(footers, wrong),
            pairs_per_s=sum(n for _, n in last[1:]) / took if took > 0 else None,
            last_s=last[-1][0] if last and last[-1][0] else None,
            heartbeat=heartbeat.read(self._location),
            damaged=tuple(damaged),
        )

    def at_work(self) -> bool:
        """Whether a driver is at work on it.

        At once where its heartbeat is recent by the clock of this machine, or its process can be seen
        to have ended; otherwise by whether the heartbeat changes in six seconds.
        """
        return heartbeat.at_work(self._location, heartbeat.read(self._location))

    def edges(self) -> pd.DataFrame:
        """A row a pair of the finished shards, in plan order, with the columns of `schema.EDGE_COLUMNS` and q_value.

        Shards that are not done yet are missing from it, and the log says how many; no q-value is known
        before all are. StoreError where one is damaged. Half a gigabyte of memory for a million pairs; see
        `edge_store` for more than fit, and `network` for those that matter.
        """
        footers = self._readable()
        table = Edges(self._location, self.manifest.fingerprint, list(footers)).table()
        n_tests = None
        if len(footers) == self.manifest.n_shards:
            valued = table.select(["p_value"]).filter(pc.is_valid(table["mi_nats"]))
            n_tests = _n_tests(footers, valued.to_batches())
        return with_q_column(table, n_tests).to_pandas()

    def edge_store(self) -> Edges:
        """The same edges without q-values, as Arrow tables: whole, or a part at a time where they are larger than memory."""
        return Edges(self._location, self.manifest.fingerprint, list(self._readable()))

    def network(self, steps: Sequence[str] = ()) -> Network:
        """The edges that steps leave, with q-values; `network.steps.STEPS` lists the steps.

        Args:
            steps: in this order, each `name` or `name=value`, such as ("fdr=0.05", "clr", "dpi=0.1");
                as methods, ``run.network().fdr(0.05).clr().dpi(0.1)``.

        Edges of a bipartite run lead from its sources; of a run with lags from the end that is first to the one that
        follows, both ways at lag 0. Reads the edges once or twice a step; what
        the last step leaves must fit in memory.

        Raises:
            ConfigError: a step that there is not, or a value that does not fit it.
            StoreError: the run is not complete: how many tests it makes is part of a q-value.
        """
        plan, lagged = self.plan(), self.lagged
        found = apply(with_q_values(self._stream(plan.pairs.partners, lagged)), steps)
        provenance = {
            "mmg_ray": self.manifest.version,
            "run": self.url,
            "fingerprint": self.manifest.fingerprint,
            "denoiser": self.manifest.config["estimator"]["denoiser"],
            "n_samples": self.manifest.n_samples,
            "steps": list(steps),
        }
        return network(found, self.names, self.regulators(plan), provenance, lagged)

    def plan(self) -> Plan:
        """Which pairs, and how they were cut; one read."""
        return manifest.read_plan(self._location, self.manifest.plan_digest)

    @property
    def lagged(self) -> bool:
        """Whether it has lags."""
        return self.manifest.resolved().lags.max_s is not None

    @property
    def given(self) -> list[str]:
        """Names of what its pairs are estimated given, or within strata of."""
        data = self.manifest.resolved().data
        return [*data.conditions, *data.strata]

    def regulators(self, plan: Plan) -> np.ndarray | None:
        """(S,) sources of a bipartite run, which its edges lead from; None of other runs."""
        bipartite = self.manifest.resolved().pairs.mode == "bipartite"
        return plan.pairs.sources if bipartite and isinstance(plan.pairs, SourcePairs) else None

    def _stream(self, partners: np.ndarray, lagged: bool) -> EdgeStream:
        """The stored edges that have a value, as network steps take them."""
        edges = self.complete_edges()
        valued = pc.field("mi_nats").is_valid()

        def batches() -> Iterator[Batch]:
            return map(batch_of, edges.batches(edge_fields(lagged), valued))

        return EdgeStream(partners, self.n_tests(), batches)

    def complete_edges(self) -> Edges:
        """As `edge_store`; StoreError where a shard is missing: how many tests there are is part of a q-value."""
        footers = self._whole()
        if len(footers) < self.manifest.n_shards:
            raise StoreError(
                f"{self.url} has {len(footers)} of {self.manifest.n_shards} shards, and a network is "
                f"of all of them; go on with `mmg-ray run {self.url}`"
            )
        return Edges(self._location, self.manifest.fingerprint, list(footers))

    def n_tests(self) -> int:
        """Pairs that have a p-value, whether a filter stored them or not."""
        footers = self._readable()
        edges = Edges(self._location, self.manifest.fingerprint, list(footers))
        columns = ["p_value", "mi_nats"]
        return _n_tests(footers, edges.batches(columns, pc.field("mi_nats").is_valid()))

    def notes(self) -> list[str]:
        """What `mmg-ray genomics` or `mmg-ray neural` found and did before the run began, a line each; none of other runs."""
        return integrity.notes(self._location, self.manifest)

    def stored_bytes(self) -> int:
        """Bytes of the edges in storage."""
        return sum((self._location / shards.FOLDER).sizes().values())

    def strongest(self, k: int, by: str = "mi_nats") -> pd.DataFrame:
        """The first `k` edges so far: of highest MI, or "mi_posterior", or by "p_value" the most significant.

        Of a run with ``edges.top_k`` they are those of all its pairs as long as k is no more.
        """
        return self.edge_store().strongest(k, by).to_pandas()

    def matrix(self, name: str = "mi_nats") -> zarr.Array:
        """One of `MATRICES`, (n_variables, n_variables) float32; `[:]` reads it all.

        Symmetric, but lag_s, which a run with lags has: positive where the column's variable follows the row's. NaN on the diagonal, where there is no value, and where a filter left out the
        row. StoreError before the run is complete, and of a run without matrices.
        """
        if not self.manifest.resolved().edges.matrix:
            raise StoreError(
                f"{self.url} was run with edges.matrix: false, so it has no matrix; its edges hold "
                "the same values: Run.edges(), Run.edge_store() or Run.strongest(k). For a matrix, "
                "run it with edges.matrix: true at another output.url"
            )
        return matrix.open_matrix(self._location, self.manifest.fingerprint, name)

    def variables(self) -> pd.DataFrame:
        """A row a variable: its name, dimension, quality and status."""
        return self.prepared().qc().to_pandas()

    def prepared(self) -> Prepared:
        """The variables as the estimators saw them: ranks, in columns that are read as needed."""
        return Prepared.open(self._location, self.manifest.prepared_digest)

    def _has_matrix(self, footers: dict[int, Footer], wrong: dict[str, str]) -> bool:
        """Whether the matrices are there, of these shards, and nothing of them is in `wrong`."""
        if any(integrity.is_matrix(path) for path in wrong):
            return False
        fingerprint = self.manifest.fingerprint
        # of a run that lacks a shard, whether they will do when it is back is not known
        whole = len(footers) == self.manifest.n_shards
        made_of = matrix.made_of({shard: footer.digest for shard, footer in footers.items()})
        return matrix.written(self._location, fingerprint, made_of if whole else None) is not None

    def _readable(self) -> dict[int, Footer]:
        """Footers of the shards to read; what is missing is said."""
        footers = self._whole()
        if missing := self.manifest.n_shards - len(footers):
            log.warning(
                "%s lacks %d of its %d shards, so their pairs are missing here; `mmg-ray run %s` goes on",
                self.url,
                missing,
                self.manifest.n_shards,
                self.url,
            )
        return footers

    def _whole(self) -> dict[int, Footer]:
        """Footers of the shards that are done; StoreError where one is damaged."""
        footers = self._finished()
        if damaged := self._stored.damaged:
            raise StoreError(
                f"{len(damaged)} of {self.manifest.n_shards} shards of {self.url} are damaged, first "
                f"{shards.FOLDER}/{damaged[0]}; their pairs would be missing. `mmg-ray run {self.url} "
                "--verify` finds damaged shards and computes them again"
            )
        return footers

    def _finished(self) -> dict[int, Footer]:
        # looking again costs a listing, and a read of what is new
        found = shards.stored(self._location, self.manifest.fingerprint, self._stored.whole)
        n_shards = self.manifest.n_shards
        self._stored = Stored(
            found.whole, [n for n in found.damaged if shards.shard_of(n) < n_shards]
        )
        return {shard: whole.footer for shard, whole in self._stored.whole.items()}


def _n_tests(footers: dict[int, Footer], valued: Iterable[pa.RecordBatch]) -> int:
    """Pairs that have a p-value: those with a value, less the stored ones of these without a p-value."""
    ok = sum(footer.statuses.get(Status.OK, 0) for footer in footers.values())
    # every filter keeps pairs without a p-value
    return ok - sum(rows.column(0).null_count for rows in valued)
