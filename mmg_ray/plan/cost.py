"""What a plan will cost, before anything is spent: seconds, bytes stored and peak memory of a task.

A projection. The CPU rates are round numbers near those measured on one thread of a server CPU, and
good to a factor of about two there; the GPU rate is a guess until one is measured. What a cascade
takes depends on how many pairs are strong, which nobody knows before: there it is an order of magnitude.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mmg_ray.config import EdgesConfig
from mmg_ray.plan.pairs import ListedPairs, PairSet
from mmg_ray.plan.tiles import Plan, tile_order
from mmg_ray.schema import Cost

CPU_FLOPS = 2e10  # floating-point operations per second and CPU thread
GPU_FLOPS = 4e12  # per GPU; not measured: a few per cent of the peak of a data-centre GPU
PAIR_S = 1.5e-6  # screen, row and file of one pair on the CPU, whatever the denoiser
PAIR_SAMPLE_S = 1e-9  # the same, per sample
TASK_BYTES = 7e8  # a worker with Python, torch and pyarrow loaded and warm
CUDA_BUILD_BYTES = 4.5e8  # more of either if torch is built for CUDA, GPU or not
DRIVER_BYTES = 6e8  # the driver with Python, torch, pyarrow and Ray loaded, without the table
TABLE_COPIES = 2.0  # of the table, while it is read and prepared
SHARD_BYTES = 4e3  # what the driver holds of one shard: its task, its footer
EDGE_BYTES = 80.0  # one row of the edge table, compressed
ROW_BYTES = 300.0  # the same in memory, while its shard is being written
MATRIX_BYTES = 3 * 2 * 4.0  # MI, standard error and p-value, both halves, float32
CODE_BYTES = 4.0  # one prepared value

CostOf = Callable[[int, int], Cost]  # (dim_x, dim_y) -> cost of one such pair


@dataclass(frozen=True)
class Workload:
    """What the cost of a tile depends on.

    Attributes:
        dims: (n_variables,) dimension of each variable.
        n_samples: rows of the table.
        cost: of one pair, by the dimensions of its two variables.
    """

    dims: np.ndarray
    n_samples: int
    cost: CostOf

    def seconds(self, gpu_share: float = 0.0) -> Callable[[int, int], float]:
        """Projected seconds of one pair on one CPU thread, or on a share of a GPU."""
        rate = GPU_FLOPS * gpu_share if gpu_share > 0 else CPU_FLOPS
        overhead = PAIR_S + PAIR_SAMPLE_S * self.n_samples

        def of_pair(dim_x: int, dim_y: int) -> float:
            cost = self.cost(dim_x, dim_y)
            return cost.flops / rate + cost.host_s + overhead

        return of_pair


@dataclass(frozen=True)
class Projection:
    """Projected cost of a plan.

    Attributes:
        task_s: seconds of all tasks together, on one CPU thread or one GPU share each.
        n_stored: rows of the edge table if no pair depended on another; a filter by p-value keeps
            the pairs that do as well.
        output_bytes: prepared variables, these rows and the matrices, as stored.
        peak_bytes: memory of the largest task.
        driver_bytes: memory of the driver; it does not grow with the number of pairs, but with the
            table, which it prepares.
    """

    task_s: float
    n_stored: float
    output_bytes: float
    peak_bytes: float
    driver_bytes: float


def tile_seconds(
    pairs: PairSet, tile_variables: int, work: Workload, gpu_share: float = 0.0
) -> np.ndarray:
    """(T,) projected seconds of each tile, in the order of their ids."""
    return _sum_over_tiles(pairs, tile_variables, work.dims, work.seconds(gpu_share))


def project(
    plan: Plan,
    work: Workload,
    edges: EdgesConfig,
    gpu_share: float = 0.0,
    table_bytes: float | None = None,
    build_bytes: float = 0.0,
) -> Projection:
    """Projected cost of a plan whose results are stored as `edges` says.

    Args:
        table_bytes: of the table in the driver's memory; default dense.
        build_bytes: of this build of torch beyond a CPU build.
    """
    if table_bytes is None:
        table_bytes = 8.0 * work.n_samples * float(work.dims.sum())
    seconds = tile_seconds(plan.pairs, plan.tile_variables, work, gpu_share)
    # a tile is one batch: the memory of its pairs adds up
    batch = _sum_over_tiles(
        plan.pairs, plan.tile_variables, work.dims, lambda dx, dy: work.cost(dx, dy).peak_bytes
    )
    widest = np.sort(work.dims)[-2 * plan.tile_variables :].sum()
    codes = CODE_BYTES * work.n_samples * float(widest)
    n_pairs = plan.shard_pairs()
    n_stored = float(_stored(n_pairs, edges).sum())
    matrix_bytes = MATRIX_BYTES * plan.n_pairs if edges.matrix else 0.0
    # how many pairs depend on one another is not known: memory is for all of them
    held = _stored(n_pairs, replace(edges, max_p_value=None)).max(initial=0.0)
    return Projection(
        task_s=float(seconds.sum()),
        n_stored=n_stored,
        output_bytes=CODE_BYTES * work.n_samples * float(work.dims.sum())
        + EDGE_BYTES * n_stored
        + matrix_bytes,
        peak_bytes=TASK_BYTES
        + build_bytes
        + codes
        + float(batch.max(initial=0.0))
        + ROW_BYTES * float(held),
        driver_bytes=DRIVER_BYTES
        + build_bytes
        + TABLE_COPIES * table_bytes
        + SHARD_BYTES * plan.n_shards,
    )


def _stored(n_pairs: np.ndarray, edges: EdgesConfig) -> np.ndarray:
    """Rows that shards of (n_shards,) so many independent pairs store."""
    rows = n_pairs * (1.0 if edges.max_p_value is None else edges.max_p_value)
    return rows if edges.top_k is None else np.minimum(rows, 2 * edges.top_k)


def _sum_over_tiles(
    pairs: PairSet, tile_variables: int, dims: np.ndarray, value: Callable[[int, int], float]
) -> np.ndarray:
    """(T,) sums over the pairs of each tile of a value that depends on their dimensions only."""
    kinds, kind = np.unique(dims, return_inverse=True)
    per_pair = np.array([[value(int(dx), int(dy)) for dy in kinds] for dx in kinds])
    tiles, n_pairs = pairs.tiles(tile_variables)
    if isinstance(pairs, ListedPairs):
        tile = np.repeat(np.arange(len(tiles)), n_pairs)
        order = np.lexsort((pairs.pairs // tile_variables).T[::-1])
        i, j = pairs.pairs[order].T
        sums = np.bincount(tile, per_pair[kind[i], kind[j]], minlength=len(tiles))
    else:
        # (B, U): how many variables of each dimension a block holds
        blocks = pairs.blocks(tile_variables)
        held = np.array([np.bincount(kind[block], minlength=kinds.size) for block in blocks])
        p, q = tiles.T
        sums = np.einsum("tu,tu->t", (held @ per_pair)[p], held[q])
        # a diagonal tile holds each unordered pair once and no variable with itself
        sums = np.where(p == q, (sums - held[p] @ np.diag(per_pair)) / 2, sums)
    return sums[tile_order(tiles)]
