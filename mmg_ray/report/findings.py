"""What a report says of a run, in numbers: read from storage a part at a time, whatever its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.network.graph import Network
from mmg_ray.network.modules import MOST_EDGES, modules_of
from mmg_ray.report.calibration import Calibration, calibrate
from mmg_ray.report.figures import cluster_order
from mmg_ray.report.pairs import Detail, detail_of
from mmg_ray.report.subject import Subject
from mmg_ray.schema import Status

_HEAT_VARIABLES, _GRAPH_EDGES, _SHOWN, _DETAILED = 100, 150, 20, 6
LOCAL_CUTS = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the local false-discovery rate
# of MI in a histogram, nats: equal steps in log from what is as good as none
_MI_CUTS = np.concatenate([[0.0], np.geomspace(1e-3, 20, 44)])


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything on the page.

    Attributes:
        of: what it is about. network: after the report's steps. modules: of its strongest edges, see `Network.modules`.
        mi_cuts, mi_counts: (B + 1,), (B,) histogram of the stored MI, nats.
        p_counts: (20,) stored p-values in twentieths of 0..1.
        denoisers, stops: pairs by tier, and by why they stopped there.
        strongest: rows of the edge table; of a run with lags the most significant.
        local: (cut, edges, mean) of some cuts of the local false-discovery rate: stored pairs up to it, and
            the mean of their rates, the share of independent pairs among them; empty without a posterior.
        details: the strongest pairs of scalars; of a run with lags none, whose rows have a curve.
        heat_names, heat: (H,), (H, H) MI of the variables of the strongest edges, NaN where none.
        calibration: known pairs estimated as this run's were; none of a run with lags.
    """

    of: Subject
    network: Network
    modules: pa.Table
    mi_cuts: np.ndarray
    mi_counts: np.ndarray
    p_counts: np.ndarray
    denoisers: dict[str, int]
    stops: dict[str, int]
    strongest: list[dict[str, Any]]
    local: list[tuple[float, int, float]]
    details: list[Detail]
    heat_names: list[str]
    heat: np.ndarray
    calibration: list[Calibration]

    def __repr__(self) -> str:
        return f"Findings({self.of.where!r}: {self.network!r})"


def find(of: Subject, steps: Sequence[str] | None = None) -> Findings:
    """Look at all pairs of a run or a matrix.

    Args:
        steps: of its network; default `fdr=0.05`, or `top=5` where there are no p-values.

    Raises:
        StoreError: what is read is damaged. ConfigError: a wrong step.
    """
    if steps is None:
        steps = ["fdr=0.05"] if of.n_tests else ["top=5"]
    network = of.network(steps)
    # the largest of many lags is never 0: most significant first
    strongest = of.strongest(_SHOWN, "p_value" if of.lags else "mi_posterior").to_pylist()
    heat_of = _first_variables(network, strongest)
    place = np.full(len(network.names), -1)
    place[heat_of] = np.arange(len(heat_of))
    heat = np.full((len(heat_of),) * 2, np.nan)
    mi_counts, p_counts = np.zeros(len(_MI_CUTS) - 1), np.zeros(20)
    denoisers: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    below, rates = np.zeros(len(LOCAL_CUTS), dtype=np.int64), np.zeros(len(LOCAL_CUTS))
    columns = ["i", "j", "mi_nats", "p_value", "denoiser", "stop", "p_dependent"]
    for batch in of.batches(columns):
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
    return Findings(
        of=of,
        network=network,
        modules=modules_of(network.table.slice(0, MOST_EDGES), network.names),
        mi_cuts=_MI_CUTS,
        mi_counts=mi_counts,
        p_counts=p_counts,
        denoisers=dict(denoisers.most_common()),
        stops=dict(stops.most_common()),
        strongest=strongest,
        local=[
            (cut, n, total / max(n, 1))
            for cut, n, total in zip(LOCAL_CUTS, below.tolist(), rates.tolist(), strict=True)
            if of.evidence is not None
        ],
        details=[] if of.lags else _details(of, strongest),
        heat_names=[network.names[heat_of[k]] for k in order],
        heat=heat[np.ix_(order, order)],
        calibration=[] if of.lags else _calibration(of),
    )


def top_edges(network: Network) -> pa.Table:
    """The edges of a network that a picture of it can show."""
    return network.table.slice(0, _GRAPH_EDGES)


def _first_variables(network: Network, strongest: list[dict[str, Any]]) -> np.ndarray:
    """Variables of the edges of largest weight, as many as a heat map shows, sorted."""
    i, j = (network.table[end].slice(0, 50 * _HEAT_VARIABLES).to_numpy() for end in ("i", "j"))
    found = dict.fromkeys(np.stack([i, j], axis=1).ravel().tolist())
    found |= dict.fromkeys(row[end] for row in strongest for end in ("i", "j"))
    return np.array(sorted(list(found)[:_HEAT_VARIABLES]), dtype=np.int64)


def _details(of: Subject, rows: list[dict[str, Any]]) -> list[Detail]:
    scalar = [row for row in rows if of.dims[row["i"]] == of.dims[row["j"]] == 1]
    found = [detail_of(of.load, row, of.given) for row in scalar[:_DETAILED]]
    return [detail for detail in found if detail is not None]


def _calibration(of: Subject) -> list[Calibration]:
    """With the ties of the variables that have the median and the 9th decile of tied samples."""
    status = of.quality["status"].to_pylist()
    usable = [k for k, s in enumerate(status) if s == Status.OK and of.dims[k] == 1]
    cfg = of.settings
    if not usable or of.n_samples < cfg.min_samples:
        return []
    ties = np.array(of.quality["tie_share"].to_numpy())[usable]
    order = np.argsort(ties, kind="stable")
    places = np.ceil(np.array([0.5, 0.9]) * (len(order) - 1)).astype(int)
    chosen = [usable[k] for k in order[places].tolist()]
    loaded = of.load(sorted(set(chosen)))
    codes = [loaded[k].codes[:, 0] for k in chosen]
    x, y = (c[c != MISSING] for c in codes)
    closed = (
        EstimatorConfig(**{**vars(cfg), "denoiser": "auto"}) if cfg.denoiser == "neural" else cfg
    )
    return calibrate((x, y), of.n_samples, closed)
