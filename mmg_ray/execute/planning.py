"""From a configuration and a table to a plan and what it will cost; nothing is written."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from mmg_ray.config import Config, DataConfig, ExecuteConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.cascade.denoisers import denoiser
from mmg_ray.estimator.cascade.tile import sees_fine_structure
from mmg_ray.estimator.dependence import nulls
from mmg_ray.execute import lags
from mmg_ray.execute.numerics import library_threads
from mmg_ray.execute.task import denoiser_of, device_of, estimate_of
from mmg_ray.plan.cost import CUDA_BUILD_BYTES, Projection, Workload, project, tile_seconds
from mmg_ray.plan.tiles import Plan, cut_shards
from mmg_ray.schema import Cost
from mmg_ray.store import scaled_counts, selection
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.preparing import prepare, segments
from mmg_ray.store.sources import Table, read_table, source_digest
from mmg_ray.store.sources.groups import read_groups, resolve_groups

log = logging.getLogger(__name__)

_TIMED_TILES = 3
_TIMED_S = 2.0
_TIMED_VARIABLES = 40  # of either side of a tile
_LOOKED_AT = 64  # variables
_RAY_START_S = 15.0  # to start Ray on this machine and to stop it


@dataclass(frozen=True)
class PlanSummary:
    """What a run will do and cost, before anything is spent.

    Attributes:
        device: cpu or cuda.
        task_s: projected seconds of all tasks, on one CPU thread or one GPU share each.
        n_workers: tasks at a time; None on a cluster, whose size is not asked for.
        wall_s: projected seconds until the run is complete; None where n_workers is.
        n_stored: rows of the edge table if no pair depended on another; a filter by p-value keeps
            the pairs that do as well.
        output_bytes: stored under the run's URL, with so many rows.
        peak_bytes: memory of the largest task.
        driver_bytes: memory of the driver.
        calibrated: measured time over the cost model's, which `task_s` contains; None unmeasured.
    """

    url: str
    denoiser: str
    device: str
    n_samples: int
    n_variables: int
    n_pairs: int
    tile_variables: int
    n_tiles: int
    n_shards: int
    task_s: float
    n_workers: int | None
    wall_s: float | None
    n_stored: float
    output_bytes: float
    peak_bytes: float
    driver_bytes: float
    calibrated: float | None = None


def input_digests(config: Config, table: Table | None = None) -> dict[str, str]:
    """sha256 of the data, of a file or of a table in memory, and of the file of pairs; reads all."""
    described = [
        *config.data.conditions,
        *config.data.strata,
        *([config.lags.trials] if config.lags.trials else []),
    ]
    return {
        "source digest": source_digest(config.data, table, described),
        "pairs digest": selection.digest(config.pairs),
    }


def read_input(config: Config, table: Table | None = None) -> Table:
    """The table, of the file or as it was handed over, with what was decided in reading it in the log."""
    table = read_table(config.data) if table is None else table
    for note in table.notes:
        log.info("%s", note)
    series = config.lags.max_s is not None
    if sees_fine_structure(config.estimator) and not config.data.strata and not series:
        scaled_counts.warn(table.column, table.n_variables)
    return table


def outline(table: Table, cfg: DataConfig) -> tuple[list[str], np.ndarray]:
    """Names and dimensions of the variables that `prepare` makes of a table: columns, then groups."""
    groups = {} if cfg.groups is None else resolve_groups(read_groups(cfg.groups), table.names)
    grouped = {column for members in groups.values() for column in members}
    alone = [name for column, name in enumerate(table.names) if column not in grouped]
    dims = [1] * len(alone) + [len(members) for members in groups.values()]
    return [*alone, *groups], np.array(dims)


def make_plan(config: Config, table: Table, names: list[str], dims: np.ndarray) -> Plan:
    """The plan of a run; ConfigError or DataError where pairs do not fit the variables, or lags the samples."""
    pairs = selection.resolve(config.pairs, names)
    size = denoiser(config.estimator.denoiser).tile_variables
    if config.lags.max_s is not None:
        size = lags.tile_variables(table.n_samples, n_events(config, table))
        starts = segments(table, config.lags.trials)
        lags.check_samples(config, starts, table.n_samples, dims)
    size = config.plan.tile_variables or size
    work = workload(config, dims, table.n_samples, n_events(config, table))
    seconds = tile_seconds(pairs, size, work, gpu_share(config.execute))
    return Plan(pairs, size, cut_shards(seconds, config.plan.shard_s))


def n_events(config: Config, table: Table) -> float:
    """Samples of a variable that are not 0, on the average of some: spikes, or all of a series; 0 without lags."""
    if config.lags.max_s is None:
        return 0.0
    some = np.unique(np.linspace(0, table.n_variables - 1, _LOOKED_AT).astype(int))
    return float(np.mean([np.count_nonzero(table.column(int(v))) for v in some]))


def projection(
    config: Config,
    plan: Plan,
    dims: np.ndarray,
    n_samples: int,
    n_events: float,
    table_bytes: float | None = None,
) -> Projection:
    """What a plan will cost; `n_events` of a variable on the average matter to lags alone."""
    work = workload(config, dims, n_samples, n_events)
    share = gpu_share(config.execute)
    return project(plan, work, config.edges, share, table_bytes, build_bytes())


def build_bytes() -> float:
    """Memory that this build of torch takes beyond a CPU build, in every process."""
    return CUDA_BUILD_BYTES if torch.version.cuda else 0.0


def calibrate(config: Config, table: Table, plan: Plan, dims: np.ndarray) -> float:
    """Measured over projected time of parts of a few tiles, here and now: what `task_s` is to be times by.

    Of tiles from all over the plan some variables of either side, as many pairs as two projected
    seconds hold. What is needed is prepared in a temporary folder; nothing is written at the run's URL.
    """
    work = workload(config, dims, table.n_samples, n_events(config, table))
    of_pair = work.seconds(gpu_share(config.execute))
    device = device_of(task_device(config.execute))
    tiles = np.unique(np.linspace(0, plan.n_tiles - 1, _TIMED_TILES + 2).astype(int)[1:-1])
    parts, expected = [], 0.0
    for tile in tiles.tolist():
        pairs = _some_of(plan.tile_pairs(tile))
        costs = np.cumsum([of_pair(int(dims[i]), int(dims[j])) for i, j in pairs])
        parts.append(pairs[: max(1, int(np.searchsorted(costs, _TIMED_S)))])
        expected += float(costs[len(parts[-1]) - 1])
    data = config.data
    if data.groups is None and not data.conditions:  # each variable is the column of its number
        needed = np.unique(np.concatenate(parts))
        parts = [np.searchsorted(needed, pairs) for pairs in parts]
        names = [table.names[v] for v in needed]
        table = replace(table, values=table.values[:, needed], names=names)
    # other programs on this machine are not the run's
    measured, clock = 0.0, time.process_time if device == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory(prefix="mmg_ray-") as folder, library_threads():
        prepare(table, data, Location(folder), config.lags.trials)
        prepared = Prepared.open(Location(folder))
        estimate = estimate_of(config, prepared, device)
        for k, pairs in enumerate(parts):
            held = prepared.load(np.unique(pairs).tolist())
            if k == 0:  # tables and kernels are made once a worker
                estimate(held, pairs)
            began = clock()
            estimate(held, pairs)
            measured += clock() - began
    return measured / expected if expected > 0 else 1.0


def _some_of(pairs: np.ndarray) -> np.ndarray:
    """The (P, 2) pairs of a tile among some of the variables of either side, in any order but always the same."""
    rng = np.random.default_rng(0)
    i, j = (rng.permutation(np.unique(side))[:_TIMED_VARIABLES] for side in pairs.T)
    some = pairs[np.isin(pairs[:, 0], i) & np.isin(pairs[:, 1], j)]
    return rng.permutation(some if len(some) else pairs)


def summarise(
    config: Config, plan: Plan, dims: np.ndarray, table: Table, calibrated: float | None = None
) -> PlanSummary:
    """A plan and its cost in numbers; times are multiplied by what `calibrate` found."""
    n_samples, events = table.n_samples, n_events(config, table)
    projected = projection(config, plan, dims, n_samples, events, table.nbytes)
    task_s = projected.task_s * (1.0 if calibrated is None else calibrated)
    workers = n_workers(config.execute, task_s, config.output.url)
    return PlanSummary(
        url=config.output.url,
        denoiser=denoiser_of(config),
        device="cuda" if gpu_share(config.execute) > 0 else "cpu",
        n_samples=n_samples,
        n_variables=plan.n_variables,
        n_pairs=plan.n_pairs,
        tile_variables=plan.tile_variables,
        n_tiles=plan.n_tiles,
        n_shards=plan.n_shards,
        task_s=task_s,
        n_workers=workers,
        wall_s=None if workers is None else task_s / min(workers, plan.n_shards),
        n_stored=projected.n_stored,
        output_bytes=projected.output_bytes,
        peak_bytes=projected.peak_bytes,
        driver_bytes=projected.driver_bytes,
        calibrated=calibrated,
    )


def workload(config: Config, dims: np.ndarray, n_samples: int, n_events: float) -> Workload:
    """The cost of a pair by the dimensions of its variables, as the denoiser states it, or the lags do."""
    if config.lags.max_s is not None:
        return Workload(dims, n_samples, lags.pair_cost(config, n_samples, n_events))
    cost = denoiser(config.estimator.denoiser).cost

    def of_pair(dim_x: int, dim_y: int) -> Cost:
        if dim_x == 0 or dim_y == 0:  # a variable without a usable column is not estimated
            return Cost(flops=0.0, peak_bytes=0.0)
        return cost(n_samples, dim_x, dim_y, config.estimator) + nulls.cost(
            n_samples, dim_x, dim_y, config.estimator.nulls
        )

    return Workload(dims, n_samples, of_pair)


def task_device(cfg: ExecuteConfig) -> str:
    """The device a task is told to use: Ray tasks get a GPU only if one is reserved for them.

    Ray leaves GPUs visible to tasks that reserved none, so workers must not look for themselves.
    """
    if cfg.executor != "serial" and cfg.device == "cuda" and cfg.num_gpus == 0:
        raise ConfigError(
            "execute.device is 'cuda' but execute.num_gpus is 0, so tasks get no GPU; set "
            "execute.num_gpus, for example 0.25 for four tasks on one GPU"
        )
    if cfg.device != "auto":
        return cfg.device
    if cfg.executor != "serial":
        return "cuda" if cfg.num_gpus > 0 else "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def gpu_share(cfg: ExecuteConfig) -> float:
    """Share of a GPU that a task has; 0 on the CPU."""
    if task_device(cfg) == "cpu":
        return 0.0
    return 1.0 if cfg.executor == "serial" else cfg.num_gpus


def executor_of(cfg: ExecuteConfig, task_s: float, url: str) -> Literal["ray", "serial"]:
    """Where tasks run that take so many seconds together: what the configuration names, or by the work.

    Ray on this machine takes seconds to start, and results are the same to the bit.
    """
    if cfg.executor != "auto":
        return cfg.executor
    if url.startswith("memory:"):  # which no other process sees
        return "serial"
    little = cfg.address == "local" and cfg.num_gpus == 0 and task_s < _RAY_START_S
    return "serial" if little else "ray"


def n_workers(cfg: ExecuteConfig, task_s: float, url: str) -> int | None:
    """Tasks that run at a time, of work that takes so many seconds; None on a cluster."""
    if executor_of(cfg, task_s, url) == "serial":
        return 1
    if cfg.address != "local":
        return None
    cores = os.cpu_count() or 1
    fits = cores / cfg.num_cpus
    if cfg.num_gpus > 0:
        fits = min(fits, torch.cuda.device_count() / cfg.num_gpus)
    return max(1, int(fits))
