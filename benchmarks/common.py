"""What the benchmarks share: pairs as variables, tiles of many pairs, KSG, tables in Markdown."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from sklearn.feature_selection import mutual_info_regression

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.pairs.directions import Directions, stack
from mmg_ray.estimator.pairs.tables import tabulate
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.ranked_variable import RankCache
from mmg_ray.plan.pairs import all_pairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import PairEstimates, Variable

Pair = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")
_PAIRS_AT_ONCE = 128


def machine(device: str = "cpu") -> str:
    """What timings were taken on, as far as the program can tell; one thread from here on."""
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if device == "cuda" else os.uname().machine
    return f"torch {torch.__version__}, {device} ({where}), one thread"


def variables(columns: np.ndarray) -> dict[int, Variable]:
    """(N, V) values -> V variables, by their position."""
    return {k: Variable(f"v{k}", ordinal_codes(v)[:, None]) for k, v in enumerate(columns.T)}


def estimate_pairs(
    pairs: Sequence[Pair], cfg: EstimatorConfig, device: str = "cpu"
) -> PairEstimates:
    """Estimates of separate pairs, each of two variables of its own, some at a time."""
    parts = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        columns = [side for pair in pairs[start : start + _PAIRS_AT_ONCE] for side in pair]
        rows = np.arange(len(columns)).reshape(-1, 2)
        parts.append(estimate_tile(variables(np.stack(columns, axis=1)), rows, cfg, device))
    return PairEstimates.concatenate(parts)


def directions(pairs: Sequence[Pair], device: str = "cpu") -> Directions:
    """Both directions of every pair, x given y first, as an estimator is given them."""
    sides = RankCache(seed=0)
    both = [
        [
            sides.of(Variable(f"{name}{k}", ordinal_codes(values)[:, None]))
            for k, values in enumerate(column)
        ]
        for name, column in zip("xy", zip(*pairs, strict=True), strict=True)
    ]
    return stack([*both[0], *both[1]], [*both[1], *both[0]], device)


def counts(pairs: Sequence[Pair]) -> np.ndarray:
    """(P, 2, X, Y) tables of every pair, as an estimator is given them."""
    sides = RankCache(seed=0)
    return tabulate(
        [
            tuple(
                sides.of(Variable(f"{name}{k}", ordinal_codes(values)[:, None]))
                for name, values in zip("xy", pair, strict=True)
            )
            for k, pair in enumerate(pairs)
        ]
    )


def tiles(n_variables: int, size: int) -> Iterator[np.ndarray]:
    """(P, 2) pairs i < j of each tile of `size` x `size` variables."""
    pairs = all_pairs(n_variables)
    plan = Plan(pairs, size, np.array([0, len(pairs.tiles(size)[0])]))
    return map(plan.tile_pairs, range(plan.n_tiles))


def ksg(pair: Pair, k: int) -> float:
    """MI by scikit-learn's estimator of Kraskov et al. (2004), nats; ties broken by tiny noise."""
    x, y = pair
    return float(mutual_info_regression(x[:, None], y, n_neighbors=k, random_state=0)[0])


def seconds(run: Callable[[], T], device: str = "cpu") -> tuple[float, T]:
    """Seconds of one call, and what it returns.

    On a CPU those of the processor, all threads added up: other programs on the machine then cost the
    less. On a GPU those on the wall.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    found = run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - started, found


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table whose columns line up."""
    cells = [[str(value) for value in row] for row in (header, *rows)]
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    first, *others = (
        f"| {' | '.join(v.ljust(w) for v, w in zip(row, width, strict=True))} |" for row in cells
    )
    print(first, f"|{'|'.join('-' * (w + 2) for w in width)}|", *others, sep="\n", flush=True)
