"""Does a pair depend in the same way under two conditions? Permutations of the samples' labels.

    D = sum_ab (S_ab - S'_ab)^2 / (a b)

over the rank moments S and S' of the two conditions (see `screen`), a, b = 1..6. Ranks are taken within a
condition, so variables that are only shifted, scaled or otherwise more or less there make no difference.
A permutation assigns the samples, as their ranks within their own condition, to the two conditions at random,
or swaps paired samples (one subject under both), and ranks them anew. They are drawn until D has been exceeded
`nulls.ENOUGH` times or the budget is spent; p = (1 + b) / (1 + B).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.dependence.nulls import ENOUGH
from mmg_ray.estimator.ranks.rank_polynomials import basis
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.estimator.streams import numpy_stream

_FIRST, _MOST = 100, 1000  # permutations of the first round, and of a later one
_CELLS = 2**22  # samples of permutations held at once
_WEIGHT = 1 / np.outer(np.arange(1, screen.ORDER + 1), np.arange(1, screen.ORDER + 1))


class DifferenceTest(NamedTuple):
    """p_value = (1 + b) / (1 + B), n_permutations = B; statistic: D."""

    p_value: float
    n_permutations: int
    statistic: float


def test_difference(
    first: tuple[RankedVariable, RankedVariable],
    second: tuple[RankedVariable, RankedVariable],
    max_permutations: int,
    paired: bool,
    seed: int,
) -> DifferenceTest:
    """Test the same pair of scalars under two conditions; its stream is keyed by both names.

    Args:
        first, second: both sides of the pair under either condition, over n and n' samples.
        paired: sample k of the first and of the second belong together; n is n'.
    """
    n, n_second = first[0].n, second[0].n
    pooled = [
        np.concatenate([a.uniform[0], b.uniform[0]]) for a, b in zip(first, second, strict=True)
    ]
    orders = [np.argsort(u, kind="stable") for u in pooled]
    as_given = np.arange(n + n_second)[None] < n
    statistic = _statistic(orders, as_given)[0]
    rng = numpy_stream(seed, "difference", *sorted((first[0].name, first[1].name)))
    exceeded = total = 0
    while exceeded < ENOUGH and total < max_permutations:
        count = min(_FIRST if total == 0 else _MOST, max_permutations - total)
        size = max(1, _CELLS // (n + n_second))
        for start in range(0, count, size):
            rows = min(size, count - start)
            if paired:
                swapped = rng.random((rows, n)) < 0.5
                labels = np.concatenate([~swapped, swapped], axis=1)
            else:
                labels = rng.permuted(np.repeat(as_given, rows, axis=0), axis=1)
            found = _statistic(orders, labels)
            exceeded += int((found >= statistic * (1 - 1e-9)).sum())
        total += count
    p_value = (1 + exceeded) / (1 + total) if total else float("nan")
    return DifferenceTest(p_value, total, float(statistic))


def _statistic(orders: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """(B,) D of samples of which (B, n + n') `labels` says whether they are of the first condition.

    Args:
        orders: of each variable, the samples by its value.
    """
    found = []
    for member in (labels, ~labels):
        n = int(member[0].sum())
        rows, samples = np.nonzero(member)
        values = []
        for order in orders:
            # how many members come before each sample
            sorted_ranks = np.cumsum(member[:, order], axis=1) - 1
            ranks = np.empty_like(sorted_ranks)
            ranks[:, order] = sorted_ranks
            mine = ranks[rows, samples].reshape(len(member), n)
            values.append(basis(n)[:, : screen.ORDER][mine])
        found.append(values[0].transpose(0, 2, 1) @ values[1] / n)
    total: np.ndarray = (_WEIGHT * (found[0] - found[1]) ** 2).sum((1, 2))
    return total
