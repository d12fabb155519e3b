"""What a report says of a run, in numbers: read from storage a part at a time, whatever its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.network.graph import Network
from mmg_ray.network.modules import MOST_EDGES
from mmg_ray.report.calibration import Calibration, calibrate
from mmg_ray.report.figures import cluster_order
from mmg_ray.report.pairs import Detail, detail_of
from mmg_ray.schema import Status
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.run import Run
from mmg_ray.store.run_status import RunStatus

_HEAT_VARIABLES, _GRAPH_EDGES, _SHOWN, _DETAILED = 100, 150, 20, 6
LOCAL_CUTS = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the local false-discovery rate
# of MI in a histogram, nats: equal steps in log from what is as good as none
_MI_CUTS = np.concatenate([[0.0], np.geomspace(1e-3, 20, 44)])


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything on the page.

    Attributes:
        network: after the report's steps. modules: of its strongest edges, see `Network.modules`.
        quality: of the variables, as `Run.variables`.
        mi_cuts, mi_counts: (B + 1,), (B,) histogram of the stored MI, nats.
        p_counts: (20,) stored p-values in twentieths of 0..1.
        n_tests: pairs with a p-value, stored or not.
        denoisers, stops: pairs by tier, and by why they stopped there.
        strongest: rows of the edge table; of a run with lags the most significant.
        local: (cut, edges, mean) of some cuts of the local false-discovery rate: stored pairs up to it, and
            the mean of their rates, the share of independent pairs among them; empty without a posterior.
        details: the strongest pairs of scalars; of a run with lags none, whose rows have a curve.
        heat_names, heat: (H,), (H, H) MI of the variables of the strongest edges, NaN where none.
        lagged: whether the run has lags.
        calibration: known pairs estimated as this run's were; none of a run with lags.
        stored_bytes: of the edges. notes: what a job found and did before the run, a line each.
    """

    run: Run
    status: RunStatus
    network: Network
    modules: pa.Table
    quality: pa.Table
    mi_cuts: np.ndarray
    mi_counts: np.ndarray
    p_counts: np.ndarray
    n_tests: int
    denoisers: dict[str, int]
    stops: dict[str, int]
    strongest: list[dict[str, Any]]
    local: list[tuple[float, int, float]]
    details: list[Detail]
    heat_names: list[str]
    heat: np.ndarray
    lagged: bool
    calibration: list[Calibration]
    stored_bytes: int
    notes: list[str]

    def __repr__(self) -> str:
        return f"Findings({self.run.url!r}: {self.network!r})"


def find(run: Run, steps: Sequence[str] | None = None) -> Findings:
    """Look at a complete run.

    Args:
        steps: of its network; default `fdr=0.05`, or `top=5` where there are no p-values.

    Raises:
        StoreError: the run is not complete, or damaged. ConfigError: a wrong step.
    """
    status = run.status()
    n_tests = run.n_tests()
    if steps is None:
        steps = ["fdr=0.05"] if n_tests else ["top=5"]
    network = run.network(steps)
    lagged = run.manifest.resolved().lags.max_s is not None
    # the largest of many lags is never 0: most significant first
    strongest = run.strongest(_SHOWN, "p_value" if lagged else "mi_posterior").to_pylist()
    heat_of = _first_variables(network, strongest)
    place = np.full(len(network.names), -1)
    place[heat_of] = np.arange(len(heat_of))
    heat = np.full((len(heat_of),) * 2, np.nan)
    mi_counts, p_counts = np.zeros(len(_MI_CUTS) - 1), np.zeros(20)
    denoisers: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    below, rates = np.zeros(len(LOCAL_CUTS), dtype=np.int64), np.zeros(len(LOCAL_CUTS))
    columns = ["i", "j", "mi_nats", "p_value", "denoiser", "stop", "p_dependent"]
    for batch in run.edge_store().batches(columns):
        i, j, mi, p = (batch.column(k).to_numpy(zero_copy_only=False) for k in range(4))
        mi, p = mi.astype(float), p.astype(float)
        mi_counts += np.histogram(mi[~np.isnan(mi)].clip(0, _MI_CUTS[-1]), _MI_CUTS)[0]
        p_counts += np.histogram(p[~np.isnan(p)], np.linspace(0, 1, 21))[0]
        rate = 1 - batch.column(6).to_numpy(zero_copy_only=False).astype(float)
        for k, cut in enumerate(LOCAL_CUTS):
            below[k] += (rate <= cut).sum()
            rates[k] += rate[rate <= cut].sum()
        inside = (place[i] >= 0) & (place[j] >= 0)
        a, b = place[i[inside]], place[j[inside]]
        heat[a, b] = heat[b, a] = mi[inside]
        for name, counter in (("denoiser", denoisers), ("stop", stops)):
            for entry in batch.column(name).value_counts().to_pylist():
                if entry["values"] is not None:
                    counter[entry["values"]] += entry["counts"]
    order = cluster_order(heat)
    strong = replace(network, gather=lambda _: network.edges.slice(0, MOST_EDGES))
    prepared = run.prepared()
    return Findings(
        run=run,
        status=status,
        network=network,
        modules=strong.modules(),
        quality=run.variables(),
        mi_cuts=_MI_CUTS,
        mi_counts=mi_counts,
        p_counts=p_counts,
        n_tests=n_tests,
        denoisers=dict(denoisers.most_common()),
        stops=dict(stops.most_common()),
        strongest=strongest,
        local=[
            (cut, n, total / max(n, 1))
            for cut, n, total in zip(LOCAL_CUTS, below.tolist(), rates.tolist(), strict=True)
            if run.manifest.evidence is not None
        ],
        details=[] if lagged else _details(prepared, strongest),
        heat_names=[network.names[heat_of[k]] for k in order],
        heat=heat[np.ix_(order, order)],
        lagged=lagged,
        calibration=[] if lagged else _calibration(run, prepared),
        stored_bytes=run.stored_bytes(),
        notes=run.notes(),
    )


def top_edges(network: Network) -> pa.Table:
    """The edges of a network that a picture of it can show."""
    return network.edges.slice(0, _GRAPH_EDGES)


def _first_variables(network: Network, strongest: list[dict[str, Any]]) -> np.ndarray:
    """Variables of the edges of largest weight, as many as a heat map shows, sorted."""
    i, j = (network.edges[end].slice(0, 50 * _HEAT_VARIABLES).to_numpy() for end in ("i", "j"))
    found = dict.fromkeys(np.stack([i, j], axis=1).ravel().tolist())
    found |= dict.fromkeys(row[end] for row in strongest for end in ("i", "j"))
    return np.array(sorted(list(found)[:_HEAT_VARIABLES]), dtype=np.int64)


def _details(prepared: Prepared, rows: list[dict[str, Any]]) -> list[Detail]:
    scalar = [row for row in rows if prepared.dims[row["i"]] == prepared.dims[row["j"]] == 1]
    found = [detail_of(prepared, row) for row in scalar[:_DETAILED]]
    return [detail for detail in found if detail is not None]


def _calibration(run: Run, prepared: Prepared) -> list[Calibration]:
    """With the ties of the variables that have the median and the 9th decile of tied samples."""
    usable = [
        k for k, s in enumerate(prepared.statuses) if s is Status.OK and prepared.dims[k] == 1
    ]
    cfg = run.manifest.resolved().estimator
    n = run.manifest.n_samples
    if not usable or n < cfg.min_samples:
        return []
    ties = np.array(run.variables()["tie_share"].to_numpy())[usable]
    order = np.argsort(ties, kind="stable")
    places = np.ceil(np.array([0.5, 0.9]) * (len(order) - 1)).astype(int)
    chosen = [usable[k] for k in order[places].tolist()]
    loaded = prepared.load(sorted(set(chosen)))
    codes = [loaded[k].codes[:, 0] for k in chosen]
    x, y = (c[c != MISSING] for c in codes)
    closed = (
        EstimatorConfig(**{**vars(cfg), "denoiser": "auto"}) if cfg.denoiser == "neural" else cfg
    )
    return calibrate((x, y), n, closed)
