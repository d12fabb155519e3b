"""Tables of counts of pairs of ranked variables, those over the same samples counted together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmg_ray.estimator.pairs.counts import tables
from mmg_ray.estimator.ranks.levels import BINS
from mmg_ray.estimator.ranks.rank_polynomials import on_grid
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable

_LEVELS_APART = 16  # tables within so many levels are of one shape
_FEW, _MANY = 32, 128  # or up to so many, and within so many beyond
TABLE_BYTES = 2**25  # of the tables of some pairs


class Samples(NamedTuple):
    """One pair: (n,) codes 0, 1, ... of x and of y, which all occur, and the half of each sample, 0 or 1."""

    x: np.ndarray
    y: np.ndarray
    half: np.ndarray


def tabulate(
    pairs: Sequence[tuple[RankedVariable, RankedVariable]],
    n_bins: int = BINS,
    shape: tuple[int, int] | None = None,
    n_groups: int = 0,
) -> np.ndarray:
    """(P, 2, X, Y) int32 counts of each half over the levels of scalar sides, 0 beyond those.

    `n_bins` is that of `levels`. `shape` is (X, Y), by default the most levels that a side has. With `n_groups` it is
    (P, G, 2, X, Y) of so many groups of strata instead.
    """
    if shape is None:
        n_x, n_y = (
            max(len(side.quantised(n_bins).size) for side in sides)
            for sides in zip(*pairs, strict=True)
        )
        shape = n_x, n_y
    n_parts = 2 * max(n_groups, 1)
    found = np.zeros((len(pairs), n_parts, *shape), dtype=np.int32)
    over: dict[str, list[int]] = defaultdict(list)
    for p, (a, _) in enumerate(pairs):
        over[a.samples].append(p)
    for members in over.values():
        first, second = zip(*(pairs[p] for p in members), strict=True)
        (x, i), (y, j) = _distinct(first, n_bins), _distinct(second, n_bins)
        part = first[0].half
        if n_groups:
            part = part + 2 * first[0].group_of_strata(n_groups)
        found[members] = tables(x, y, part, i, j, shape, n_parts)
    return found.reshape(len(pairs), n_groups, 2, *shape) if n_groups else found


def batches(
    n_x: np.ndarray, n_y: np.ndarray, few_shapes: bool = False
) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Positions of pairs whose tables are of like size, a few megabytes at a time, and a shape that holds them.

    Args:
        n_x, n_y: (P,) levels of both sides.
        few_shapes: for what takes many pairs in hardly more time than one.
    """
    levels = np.stack([n_x, n_y], axis=1)
    shapes = (
        np.where(levels <= _FEW, _FEW, -(-levels // _MANY) * _MANY)
        if few_shapes
        else rounded(levels)
    )
    distinct, place = np.unique(shapes, axis=0, return_inverse=True)
    for k, (x, y) in enumerate(distinct.tolist()):
        members = np.flatnonzero(place.ravel() == k)
        size = max(1, TABLE_BYTES // (8 * x * y))
        for start in range(0, len(members), size):
            yield members[start : start + size], (x, y)


def rounded(n_levels: Any) -> Any:
    """Numbers of levels up to a multiple, so that tables of like size are of one shape."""
    return -(-n_levels // _LEVELS_APART) * _LEVELS_APART


def table_spearman(counts: np.ndarray) -> np.ndarray:
    """(P,) Spearman's rho of (P, X, Y) counts over values of which neither variable has one alone."""
    n = counts.sum(axis=(1, 2))[:, None]
    scores = []
    for size in (counts.sum(axis=2), counts.sum(axis=1)):
        rank = np.cumsum(size, axis=1) - 0.5 * size - 0.5 * n
        # one after the other, so that empty levels at the end change nothing
        square = np.cumsum(size * rank**2, axis=1)[:, -1:] / n
        scores.append(on_grid(rank / np.sqrt(square), int(n.max())))
    found: np.ndarray = np.einsum("pxy,px,py->p", counts, *scores) / n[:, 0]
    return found


def _distinct(sides: Sequence[RankedVariable], n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """(U, n) levels of the sides that differ, and which is that of each."""
    distinct = {side.key: side for side in sides}
    place = {key: k for k, key in enumerate(distinct)}
    x = np.stack([side.quantised(n_bins).level for side in distinct.values()])
    return x, np.array([place[side.key] for side in sides])
