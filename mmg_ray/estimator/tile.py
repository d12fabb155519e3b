"""Estimate all pairs of a tile in a few stacked batches; a bad pair becomes a status, never an error."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import marginals, screen
from mmg_ray.estimator.batch import Directions
from mmg_ray.estimator.denoisers import denoiser
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import PairEstimate, PairEstimates, Status, Stop, Variable

_SAMPLES_PER_DIMENSION = 2  # below it a covariance matrix says more of the noise than of the data


@dataclass(frozen=True, eq=False)
class _Pair:
    """A pair (a, b) and the samples (N,) in which both are present."""

    a: Variable
    b: Variable
    complete: np.ndarray

    @property
    def n(self) -> int:
        return int(self.complete.sum())

    @property
    def scalar(self) -> bool:
        return self.a.dim == self.b.dim == 1


class _Side(NamedTuple):
    """One direction before stacking: its pair's row, and target denoised given source."""

    row: int
    pair: _Pair
    target: Variable
    source: Variable


class _Direction(NamedTuple):
    """One direction after estimation."""

    mi: float
    se: float
    direct: float
    orthogonal: float
    ess: float


def estimate_tile(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    cfg: EstimatorConfig,
    device: str = "cpu",
) -> PairEstimates:
    """MI of each of the (P, 2) pairs (i, j), in the order given; never raises for what one contains.

    Pairs whose variables have a status other than ok, too few complete samples, or one value left
    among the complete samples, get that status. The rest is stacked by shape, both directions.
    """
    distinct = {
        index: replace(v, codes=marginals.distinct_coordinates(v.codes)) if v.dim > 1 else v
        for index, v in variables.items()
    }
    tile = [_pair(distinct[i], distinct[j]) for i, j in pairs]
    problems = [_problem(pair, cfg) for pair in tile]
    stacks: dict[tuple[int, int], list[_Side]] = defaultdict(list)
    for row, pair in enumerate(tile):
        if problems[row] is None:
            a, b = pair.a, pair.b
            stacks[b.dim, a.dim].append(_Side(row, pair, target=b, source=a))
            stacks[a.dim, b.dim].append(_Side(row, pair, target=a, source=b))
    ranks = _Ranks(cfg.seed)
    found: dict[tuple[int, bool], _Direction] = {}
    for sides in stacks.values():
        for side, direction in zip(sides, _estimate(sides, ranks, cfg, device), strict=True):
            found[side.row, side.target is side.pair.b] = direction
    return PairEstimates.from_rows(
        [
            problems[row] or _combine(pair, found[row, True], found[row, False], ranks, cfg)
            for row, pair in enumerate(tile)
        ]
    )


def _pair(a: Variable, b: Variable) -> _Pair:
    missing = (a.codes == marginals.MISSING).any(1) | (b.codes == marginals.MISSING).any(1)
    return _Pair(a, b, ~missing)


def _problem(pair: _Pair, cfg: EstimatorConfig) -> PairEstimate | None:
    """Why a pair has no value, or None where it can be estimated."""
    needed = max(cfg.min_samples, _SAMPLES_PER_DIMENSION * (pair.a.dim + pair.b.dim))
    for variable in (pair.a, pair.b):
        if variable.status is not Status.OK:
            return _without_value(pair, variable.status, variable.name, cfg)
    if pair.n < needed:
        what = f"{pair.n} complete samples of the {needed} needed"
        return _without_value(pair, Status.TOO_FEW_SAMPLES, what, cfg)
    for variable in (pair.a, pair.b):
        if (np.ptp(variable.codes[pair.complete], axis=0) == 0).all():
            what = f"{variable.name}, in the {pair.n} samples that both have"
            return _without_value(pair, Status.CONSTANT, what, cfg)
    return None


def _without_value(pair: _Pair, status: Status, what: str, cfg: EstimatorConfig) -> PairEstimate:
    return PairEstimate(status, pair.n, cfg.denoiser, message=f"{what}: {status.remedy}")


def _estimate(
    sides: list[_Side], ranks: _Ranks, cfg: EstimatorConfig, device: str
) -> list[_Direction]:
    """Stack directions of one shape, run the denoiser once, and take them apart again."""
    n = np.array([side.pair.n for side in sides])
    shape = (len(sides), int(n.max()))
    x = np.zeros((*shape, sides[0].target.dim))
    y = np.zeros((*shape, sides[0].source.dim))
    for s, (_, pair, target, source) in enumerate(sides):
        x[s, : n[s]] = marginals.rank_scores(ranks.randomised(target, pair.complete))
        y[s, : n[s]] = ranks.midrank_scores(source, pair.complete)
    batch = Directions(
        x=torch.from_numpy(x).to(device),
        y=torch.from_numpy(y).to(device),
        n=torch.from_numpy(n).to(device),
        target=tuple(_key(side.target, side.pair.complete) for side in sides),
        source=tuple(_key(side.source, side.pair.complete) for side in sides),
    )
    mi, direct, orthogonal, influence, ess = (
        value.cpu().numpy() for value in denoiser(cfg.denoiser).estimate(batch, cfg)
    )
    return [
        _Direction(
            mi=float(mi[s]),
            se=float(influence[s, : n[s]].std(ddof=1) / np.sqrt(n[s])),
            direct=float(direct[s]),
            orthogonal=float(orthogonal[s]),
            ess=float(ess[s]),
        )
        for s in range(len(sides))
    ]


def _key(variable: Variable, complete: np.ndarray) -> str:
    """Names a variable's scores: they are shared between pairs only over the same samples."""
    if complete.all():
        return variable.name
    return f"{variable.name}|{hashlib.blake2b(np.packbits(complete).tobytes()).hexdigest()}"


class _Ranks:
    """Ranks of a tile's variables, each sorted once: most pairs are over the same samples."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._randomised: dict[str, np.ndarray] = {}
        self._midrank_scores: dict[str, np.ndarray] = {}

    def randomised(self, variable: Variable, complete: np.ndarray) -> np.ndarray:
        """(n, D) ranks over the complete samples, ties broken at random."""
        key = _key(variable, complete)
        if key not in self._randomised:
            columns = [
                marginals.randomised_ranks(
                    codes, numpy_stream(self._seed, "ties", variable.name, d)
                )
                for d, codes in enumerate(variable.codes[complete].T)
            ]
            self._randomised[key] = np.stack(columns, axis=1)
        return self._randomised[key]

    def midrank_scores(self, variable: Variable, complete: np.ndarray) -> np.ndarray:
        """(n, D) normal scores of mid-ranks over the complete samples."""
        key = _key(variable, complete)
        if key not in self._midrank_scores:
            columns = [marginals.midrank_scores(codes) for codes in variable.codes[complete].T]
            self._midrank_scores[key] = np.stack(columns, axis=1)
        return self._midrank_scores[key]


def _rank_tests(pair: _Pair, ranks: _Ranks) -> tuple[float | None, float | None]:
    """Spearman correlation and the screen's p-value; None where a side is a vector."""
    if not pair.scalar:
        return None, None
    correlation = marginals.spearman(*(v.codes[pair.complete, 0] for v in (pair.a, pair.b)))
    if pair.n < screen.MIN_SAMPLES:
        return correlation, None
    rank_a, rank_b = (ranks.randomised(v, pair.complete)[:, 0] for v in (pair.a, pair.b))
    return correlation, float(screen.p_value(screen.statistic(rank_a, rank_b), pair.n))


def _combine(
    pair: _Pair, ij: _Direction, ji: _Direction, ranks: _Ranks, cfg: EstimatorConfig
) -> PairEstimate:
    """Both directions -> one estimate with its standard error."""
    if not np.isfinite([ij.mi, ji.mi, ij.se, ji.se]).all():
        return _without_value(pair, Status.DIVERGED, f"{pair.a.name} - {pair.b.name}", cfg)
    # the direction that shows more: both are low where the fit falls short, seldom high
    better = ij if ij.mi >= ji.mi else ji
    # ranks of n samples cannot show more than log n
    most = np.log(pair.n) if pair.scalar else np.inf
    correlation, p_value = _rank_tests(pair, ranks)
    return PairEstimate(
        Status.OK,
        pair.n,
        cfg.denoiser,
        Stop.FORCED,
        mi_nats=float(np.clip(better.mi, 0.0, most)),
        se_nats=better.se,
        mi_ij=ij.mi,
        mi_ji=ji.mi,
        gap=better.direct,
        orthogonal=better.orthogonal,
        p_value=p_value,
        spearman=correlation,
        ess=better.ess,
    )
