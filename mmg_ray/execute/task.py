"""What a worker does, without Ray: estimate one shard, or fill one band of the matrix.

A task is given a few bytes that say where the run is, and reads and writes storage itself. It is a
pure function of (prepared data, configuration, shard id), so it may run anywhere, twice or again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.config import Config, EstimatorConfig
from mmg_ray.errors import MMGError, StoreError
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.conditional.pairs import estimate_given
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.execute.lags import DENOISER, LagEstimator
from mmg_ray.execute.numerics import library_threads, numerical_environment
from mmg_ray.execute.outcome import describe
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import PairEstimate, PairEstimates, Receipt, Status, Variable
from mmg_ray.store import digests, environments, manifest, matrix, shards
from mmg_ray.store.digests import Digests
from mmg_ray.store.edges import Edges
from mmg_ray.store.kept import KeptRows
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.reuse import Reuse

_MESSAGE_CHARACTERS = 500

Estimate = Callable[[Mapping[int, Variable], np.ndarray], PairEstimates]  # of (P, 2) pairs


class ShardTask(NamedTuple):
    """Estimate one shard of the run at `url`; device is auto, cpu or cuda."""

    url: str
    fingerprint: str
    shard: int
    device: str


class BandTask(NamedTuple):
    """Fill rows [first, last) of the matrix of the run at `url`."""

    url: str
    fingerprint: str
    first: int
    last: int


class CheckTask(NamedTuple):
    """Read some objects of the run at `url`, with their digests by path."""

    url: str
    expected: Digests


def run_shard(task: ShardTask) -> Receipt:
    """Estimate the pairs of a shard, write what is kept as one object and say how it went.

    A pair that makes the estimator fail becomes a row with its reason. Raises StoreError where
    storage cannot be read or written.
    """
    run, config, plan, prepared, learned = _opened(task.url, task.fingerprint)
    _record_environment(task.url, task.fingerprint)
    device = device_of(task.device)
    kept = KeptRows(config.edges)
    held: dict[int, Variable] = {}
    reuse = None if config.plan.reuse is None else Reuse(config)
    with library_threads():
        estimate = estimate_of(config, prepared, device, learned)
        for tile in plan.shard_tiles(task.shard):
            pairs = plan.tile_pairs(tile)
            held = _load(prepared, pairs, held)
            kept.add(*_taken_or_made(reuse, held, pairs, estimate, denoiser_of(config)))
    footer = shards.write_shard(run, task.fingerprint, task.shard, prepared.names, kept)
    return Receipt(task.shard, footer.n_pairs, footer.n_not_ok, footer.digest)


def check_shard(task: ShardTask) -> str:
    """What is wrong with a finished shard, "" if nothing is: every byte that matters is read."""
    try:
        Edges(Location(task.url), task.fingerprint, [task.shard]).check()
    except StoreError as error:
        return str(error)
    return ""


def check_files(task: CheckTask) -> dict[str, str]:
    """What is wrong with these objects, by path; every byte is read."""
    run = Location(task.url)
    found = {path: digests.check(run, path, digest) for path, digest in task.expected.items()}
    return {path: why for path, why in found.items() if why}


def fill_band(task: BandTask) -> Digests:
    """Fill a band of the matrix from the edges; the digests of its chunks."""
    run, config, plan, *_ = _opened(task.url, task.fingerprint)
    matrices = matrix.of_run(config)
    return matrix.write_band(run, task.fingerprint, plan, task.first, task.last, matrices)


@lru_cache(maxsize=1)
def _opened(url: str, fingerprint: str) -> tuple[Location, Config, Plan, Prepared, Evidence | None]:
    """What every task of a run needs; a worker reads it once."""
    run = Location(url)
    found = manifest.read(run)
    if found.fingerprint != fingerprint:
        raise StoreError(
            f"{url} now holds run {found.fingerprint[:12]}, not {fingerprint[:12]}: it was replaced "
            "while this run was going on. Start again at another URL"
        )
    plan = manifest.read_plan(run, found.plan_digest)
    prepared = Prepared.open(run, found.prepared_digest)
    learned = None if found.evidence is None else Evidence.from_json(found.evidence)
    return run, found.resolved(), plan, prepared, learned


@lru_cache(maxsize=1)
def _record_environment(url: str, _fingerprint: str) -> None:
    """Once a worker: with what the shards it computes are computed."""
    environments.record(Location(url), numerical_environment())


def _load(
    prepared: Prepared, pairs: np.ndarray, held: Mapping[int, Variable]
) -> dict[int, Variable]:
    """The variables of `pairs`; those of the tile before are kept, consecutive tiles share half."""
    needed = np.unique(pairs).tolist()
    loaded = prepared.load([index for index in needed if index not in held])
    return {index: held[index] if index in held else loaded[index] for index in needed}


def _taken_or_made(
    reuse: Reuse | None,
    variables: Mapping[int, Variable],
    pairs: np.ndarray,
    estimate: Estimate,
    denoiser: str,
) -> tuple[np.ndarray, PairEstimates]:
    """The pairs of a tile and their estimates, those of an earlier run where it has them."""
    if reuse is None:
        return pairs, _estimate(variables, pairs, estimate, denoiser)
    there, taken = reuse.take(pairs, variables)
    made = _estimate(variables, pairs[~there], estimate, denoiser)
    order = np.argsort(np.argsort(there, kind="stable"), kind="stable")
    return pairs, PairEstimates.concatenate([made, taken]).take(order)


def _estimate(
    variables: Mapping[int, Variable], pairs: np.ndarray, estimate: Estimate, denoiser: str
) -> PairEstimates:
    """The estimates of a tile; if it fails as a whole, of each pair on its own."""
    try:
        return estimate(variables, pairs)
    except MMGError:
        raise  # about the run, not about a pair
    except Exception:  # noqa: BLE001  # whatever one pair does must not lose the others
        return PairEstimates.from_rows(
            [_estimate_one(variables, pair, estimate, denoiser) for pair in pairs]
        )


def _estimate_one(
    variables: Mapping[int, Variable], pair: np.ndarray, estimate: Estimate, denoiser: str
) -> PairEstimate:
    try:
        return estimate(variables, pair[None])[0]
    except MMGError:
        raise
    except Exception as error:  # noqa: BLE001  # the reason is kept in the row
        codes = np.concatenate([variables[index].codes for index in pair], axis=1)
        return PairEstimate(
            Status.FAILED,
            n_samples=int((codes != MISSING).all(axis=1).sum()),
            denoiser=denoiser,
            message=describe(error)[:_MESSAGE_CHARACTERS],
        )


def estimate_of(
    config: Config, prepared: Prepared, device: str, learned: Evidence | None = None
) -> Estimate:
    """How the pairs of a run are estimated: over their samples, or at the lag where they depend most."""
    if config.lags.max_s is not None:
        return LagEstimator(config, prepared.segments(), prepared.n_samples, prepared.condition())
    return partial(
        estimate_given,
        given=given_of(prepared, config.estimator),
        cfg=config.estimator,
        device=device,
        identity=prepared.identity(),
        strata=prepared.strata(),
        model=learned,
    )


def denoiser_of(config: Config) -> str:
    """The name that stands in rows of pairs that failed."""
    return config.estimator.denoiser if config.lags.max_s is None else DENOISER


def given_of(prepared: Prepared, cfg: EstimatorConfig) -> Conditioner | None:
    """What the pairs of a run are conditioned on, if anything."""
    condition = prepared.condition()
    return None if condition is None else Conditioner(condition, cfg.seed)


def device_of(name: str) -> str:
    """cpu or cuda; auto is the GPU where there is one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
