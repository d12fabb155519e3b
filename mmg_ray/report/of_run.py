"""A stored run as what a report is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import yaml

from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.network.graph import Network
from mmg_ray.report import page
from mmg_ray.schema import Status, Variable
from mmg_ray.store.run import Run


def write_report(
    run: Run, url: str, steps: Sequence[str] | None = None, figures: str | None = None
) -> page.Report:
    """See `page.write`; StoreError where the run is not complete."""
    return page.write(OfRun(run), url, steps, figures)


class OfRun:
    """See `subject.Subject`. StoreError where the run is not complete, or damaged."""

    def __init__(self, run: Run) -> None:
        self._run, self._edges = run, run.complete_edges()
        self._prepared = run.prepared()
        m, status, config = run.manifest, run.status(), run.manifest.resolved()
        self.where = run.url
        self.dims = self._prepared.dims
        self.quality = self._prepared.qc()
        self.n_samples, self.n_pairs = m.n_samples, m.n_pairs
        self.n_tests = run.n_tests()
        self.statuses = {Status(name): n for name, n in status.statuses.items()}
        self.settings = config.estimator
        self.lags = config.lags if run.lagged else None
        self.given = run.given
        self.evidence = None if m.evidence is None else Evidence.from_json(m.evidence)
        self.facts = {
            "data": m.config["data"]["path"],
            "pairs": f"{config.pairs.mode}, {status.pairs_done:,} of {status.n_pairs:,} estimated, "
            f"{status.pairs_stored:,} stored",
            "denoiser": f"{config.estimator.denoiser}, seed {config.estimator.seed}",
            "begun": m.created,
            "speed": f"{status.pairs_per_s:,.0f} pairs a second over the last shards"
            if status.pairs_per_s
            else "not known",
            "shards": f"{status.shards_done:,}, {run.stored_bytes() / 1e6:,.1f} MB of edges",
            "shards that failed": f"{status.heartbeat.failed:,}"
            if status.heartbeat
            else "not known",
            "mmg_ray": m.version,
            "fingerprint": m.fingerprint,
        }
        self.configuration = yaml.safe_dump(m.config, sort_keys=False)
        self.notes = run.notes()

    def network(self, steps: Sequence[str]) -> Network:
        return self._run.network(steps)

    def strongest(self, k: int, by: str) -> pa.Table:
        return self._edges.strongest(k, by)

    def batches(self, columns: list[str]) -> Iterable[pa.RecordBatch]:
        return self._edges.batches(columns)

    def load(self, indices: Sequence[int]) -> dict[int, Variable]:
        return self._prepared.load(indices)

    def cut_by(self, step: str) -> str:
        return f"mmg-ray network {self._run.url} --step {step}"
