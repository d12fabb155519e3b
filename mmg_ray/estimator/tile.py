"""Estimate all pairs of a tile in a few stacked batches; a bad pair becomes a status, never an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import marginals
from mmg_ray.estimator.batch import Directions, Estimates
from mmg_ray.estimator.denoisers import denoiser
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import PairEstimate, Status, Variable


def estimate_tile(
    variables: Mapping[int, Variable],
    pairs: Sequence[tuple[int, int]],
    cfg: EstimatorConfig,
    device: str = "cpu",
) -> list[PairEstimate]:
    """MI of each pair (i, j), in the order given; never raises for what a pair contains.

    Pairs whose variables have a status other than ok, too few complete samples, or one value left
    among the complete samples, get that status. The rest is stacked by shape, both directions.
    """
    results: list[PairEstimate | None] = [None] * len(pairs)
    sides: dict[tuple[int, int], list[_Side]] = defaultdict(list)
    for row, (i, j) in enumerate(pairs):
        a, b = variables[i], variables[j]
        complete = _complete(a, b)
        n = int(complete.sum())
        status = _pair_status(a, b, complete, cfg)
        if status is not Status.OK:
            results[row] = PairEstimate(
                status, n, cfg.denoiser, message=f"{a.name} - {b.name}: {status.remedy}"
            )
            continue
        sides[b.dim, a.dim].append(_Side(row, True, b, a, complete))
        sides[a.dim, b.dim].append(_Side(row, False, a, b, complete))

    found: dict[tuple[int, bool], _Direction] = {}
    for group in sides.values():
        found |= _estimate_group(group, cfg, device)
    for row, (i, j) in enumerate(pairs):
        if results[row] is None:
            n = int(_complete(variables[i], variables[j]).sum())
            results[row] = _combine(
                found[row, True], found[row, False], variables[i], variables[j], n, cfg
            )
    return [r for r in results if r is not None]


class _Side:
    """One direction of one pair before stacking: target denoised given source."""

    def __init__(
        self, row: int, i_to_j: bool, target: Variable, source: Variable, complete: np.ndarray
    ) -> None:
        self.key = (row, i_to_j)
        self.target, self.source, self.complete = target, source, complete


class _Direction:
    """One direction of one pair after estimation."""

    def __init__(self, estimates: Estimates, s: int, n: int) -> None:
        self.mi = float(estimates.mi[s])
        self.direct = float(estimates.direct[s])
        self.orthogonal = float(estimates.orthogonal[s])
        self.ess = float(estimates.ess[s])
        self.influence = estimates.influence[s, :n].cpu().numpy()


def _complete(a: Variable, b: Variable) -> np.ndarray:
    present = (a.codes != marginals.MISSING).all(1) & (b.codes != marginals.MISSING).all(1)
    return np.asarray(present)


def _pair_status(a: Variable, b: Variable, complete: np.ndarray, cfg: EstimatorConfig) -> Status:
    for variable in (a, b):
        if variable.status is not Status.OK:
            return variable.status
    if complete.sum() < cfg.min_samples:
        return Status.TOO_FEW_SAMPLES
    for variable in (a, b):
        if (np.ptp(variable.codes[complete], axis=0) == 0).all():
            return Status.CONSTANT
    return Status.OK


def _estimate_group(
    group: list[_Side], cfg: EstimatorConfig, device: str
) -> dict[tuple[int, bool], _Direction]:
    """Stack directions of one shape, run the denoiser once, and take them apart again."""
    n = np.array([side.complete.sum() for side in group])
    shape = (len(group), int(n.max()))
    x = np.zeros((*shape, group[0].target.dim))
    y = np.zeros((*shape, group[0].source.dim))
    for s, side in enumerate(group):
        x[s, : n[s]] = _scores(side.target, side.complete, cfg.seed)
        y[s, : n[s]] = _scores(side.source, side.complete, None)
    batch = Directions(
        x=torch.from_numpy(x).to(device),
        y=torch.from_numpy(y).to(device),
        n=torch.from_numpy(n).to(device),
        target=tuple(side.target.name for side in group),
        source=tuple(side.source.name for side in group),
    )
    estimates = denoiser(cfg.denoiser).estimate(batch, cfg)
    return {side.key: _Direction(estimates, s, int(n[s])) for s, side in enumerate(group)}


def _scores(variable: Variable, complete: np.ndarray, seed: int | None) -> np.ndarray:
    """(n, D) normal scores over the complete samples: randomised with a seed, else mid-rank."""
    columns = []
    for d in range(variable.dim):
        codes = marginals.ordinal_codes(variable.codes[complete, d])
        if seed is None:
            columns.append(marginals.midrank_scores(codes))
        else:
            rng = numpy_stream(seed, "ties", variable.name, d)
            columns.append(marginals.randomised_scores(codes, rng))
    return np.stack(columns, axis=1)


def _combine(
    ij: _Direction, ji: _Direction, a: Variable, b: Variable, n: int, cfg: EstimatorConfig
) -> PairEstimate:
    """Both directions -> one estimate with its standard error."""
    if not np.isfinite([ij.mi, ji.mi]).all():
        return PairEstimate(
            Status.DIVERGED,
            n,
            cfg.denoiser,
            message=f"{a.name} - {b.name}: {Status.DIVERGED.remedy}",
        )
    # the direction that shows more: both are low where the fit falls short, seldom high
    better = ij if ij.mi >= ji.mi else ji
    scalar = a.dim == b.dim == 1
    complete = _complete(a, b)
    return PairEstimate(
        Status.OK,
        n,
        cfg.denoiser,
        mi_nats=max(0.0, better.mi),
        se_nats=float(better.influence.std(ddof=1) / np.sqrt(n)),
        mi_ij=ij.mi,
        mi_ji=ji.mi,
        gap=better.direct,
        orthogonal=better.orthogonal,
        spearman=marginals.spearman(a.codes[complete, 0], b.codes[complete, 0]) if scalar else None,
        ess=better.ess,
    )
