"""Tests of the pairs of a tile: p-values, and what gates look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.columns import Columns
from mmg_ray.estimator.cascade.tile_pairs import TilePairs
from mmg_ray.estimator.dependence import (
    between_strata,
    binned_ranks,
    codetection,
    nulls,
    permutation_law,
    screen,
)
from mmg_ray.estimator.pairs.tables import batches, table_spearman, tabulate
from mmg_ray.estimator.ranks.levels import MOST
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable

_NEARLY_ALL = 0.9  # effective samples of the samples
_FROM_TABLES = 4000  # samples


def test_scalars(
    pairs: TilePairs,
    rows: np.ndarray,
    of_many_values: np.ndarray,
    columns: Columns,
    fine_structure: bool,
    device: str,
) -> None:
    """Test every scalar pair, and estimate its MI as if it were weak.

    What no moments show, bins and co-detection, is looked for in pairs that no table of their own values
    is for, `of_many_values` (R,).
    """
    whole = pairs.complete[rows]
    # counting pays where samples are many
    by_tables = whole & ~of_many_values & (columns.n_samples[rows] >= _FROM_TABLES)
    if by_tables.any():
        block = Block.of(pairs, rows[by_tables])
        _put(block, _by_tables(block), columns)
    if (whole & ~by_tables).any():
        block = Block.of(pairs, rows[whole & ~by_tables])
        _put(block, _by_samples(block, device, columns.moments is not None), columns)
        _beyond_moments(block.take(of_many_values[whole & ~by_tables]), columns, fine_structure)
    for k in np.flatnonzero(~whole).tolist():
        block = Block.one(int(rows[k]), *pairs[int(rows[k])])
        _put(block, _by_samples(block, device, columns.moments is not None), columns)
        if of_many_values[k]:
            _beyond_moments(block, columns, fine_structure)


class Block(NamedTuple):
    """P pairs left[i], right[j], all over the same samples, and their (P,) rows in the tile."""

    rows: np.ndarray
    left: Sequence[RankedVariable]
    right: Sequence[RankedVariable]
    i: np.ndarray
    j: np.ndarray

    @classmethod
    def of(cls, pairs: TilePairs, rows: np.ndarray) -> Block:
        """Pairs without missing values."""
        first, i = np.unique(pairs.pairs[rows, 0], return_inverse=True)
        second, j = np.unique(pairs.pairs[rows, 1], return_inverse=True)
        left, right = ([pairs.variable(v) for v in of.tolist()] for of in (first, second))
        return cls(rows, left, right, i, j)

    @classmethod
    def one(cls, row: int, a: RankedVariable, b: RankedVariable) -> Block:
        return cls(np.array([row]), [a], [b], np.zeros(1, int), np.zeros(1, int))

    @property
    def in_strata(self) -> bool:
        """Whether dependence within strata is looked for."""
        return self.left[0].stratum is not None

    def take(self, chosen: np.ndarray) -> Block:
        """Some of the pairs."""
        return self._replace(rows=self.rows[chosen], i=self.i[chosen], j=self.j[chosen])


class _Rank(NamedTuple):
    """Moments and Spearman's rho of P pairs."""

    moments: screen.Moments
    spearman: np.ndarray


def _by_samples(block: Block, device: str, squares: bool) -> _Rank:
    """By one product of either side of the block."""
    x, y = ([v.ranked for v in side] for side in (block.left, block.right))
    if len(block.rows) == 1:
        found = screen.moments(x[0], y[0])
    else:
        found = screen.block_moments(x, y, device, squares).at(block.i, block.j)
    return _Rank(found, _spearman(block))


def _spearman(block: Block) -> np.ndarray:
    a, b = (np.stack([v.standard_midranks for v in side]) for side in (block.left, block.right))
    found: np.ndarray = (a @ b.T)[block.i, block.j] / a.shape[1]
    return found


def _by_tables(block: Block) -> _Rank:
    """By the tables of pairs of few values, some at a time."""
    x, y = ([v.ranked for v in side] for side in (block.left, block.right))
    parts, found = [], []
    spearman = _spearman(block) if block.in_strata else np.empty(len(block.rows))
    n_x, n_y = (
        np.array([len(v.polynomials.size) for v in side])[of]
        for side, of in ((x, block.i), (y, block.j))
    )
    for part, shape in batches(n_x, n_y):
        i, j = block.i[part], block.j[part]
        pairs = [(block.left[a], block.right[b]) for a, b in zip(i, j, strict=True)]
        counts = tabulate(pairs, MOST, shape).sum(axis=1)
        parts.append(part)
        found.append(screen.table_moments(counts, x, y, i, j))
        if not block.in_strata:
            spearman[part] = table_spearman(counts)
    order = np.argsort(np.concatenate(parts))
    moments = screen.Moments(*(np.concatenate(of)[order] for of in zip(*found, strict=True)))
    return _Rank(moments, spearman)


def _put(block: Block, found: _Rank, columns: Columns) -> None:
    """P-values and weak MI of what was found of a block."""
    x, y = ([v.ranked for v in side] for side in (block.left, block.right))
    rows, n = block.rows, len(x[0].value)
    moments = found.moments
    p_value, scatter = np.full(len(rows), np.nan), np.sqrt(2 * moments.n_low) / n
    if n >= screen.MIN_SAMPLES:
        tests = permutation_law.test(moments.statistic, x, y, block.i, block.j)
        p_value, scatter = tests.p_value, scatter * np.sqrt(np.maximum(tests.inflation, 1.0))
        if columns.moments is not None:
            orders = (np.array([v.polynomials.n_orders for v in side]) for side in (x, y))
            of_pairs = [of[k] for of, k in zip(orders, (block.i, block.j), strict=True)]
            kept = moments.squares, np.stack(of_pairs, axis=1), n, tests.reduced
            for column, values in zip(columns.moments, kept, strict=True):
                column[rows] = values
    mi, se = screen.weak_mi(moments.chi_square, n, scatter)
    columns.low_square[rows], columns.n_low[rows] = moments.chi_square, moments.n_low
    columns.screen_mi[rows] = screen.linked_mi(moments.all_orders)
    columns.plausible_mi[rows] = screen.plausible_mi(moments.all_orders, n)
    columns.put_one_number(rows, screen.NAME, mi, se)
    columns.put(rows, screen.NAME, p_value=p_value, spearman=np.clip(found.spearman, -1.0, 1.0))


def _beyond_moments(block: Block, columns: Columns, fine_structure: bool) -> None:
    """Ranks in bins if asked for, not within strata; of pairs of two rare variables the MI of both being non-modal."""
    if fine_structure and len(block.rows) and not block.in_strata:
        x, y = ([v.binned for v in side] for side in (block.left, block.right))
        columns.put_binned(block.rows, binned_ranks.pairs(x, y, block.i, block.j))
    rare = [np.array([v.non_modal is not None for v in side]) for side in (block.left, block.right)]
    chosen = block.take(rare[0][block.i] & rare[1][block.j])
    if not len(chosen.rows):
        return
    (first, i), (second, j) = (np.unique(k, return_inverse=True) for k in (chosen.i, chosen.j))
    there = [
        np.stack([np.asarray(side[k].non_modal, dtype=np.float32) for k in of])
        for side, of in ((chosen.left, first), (chosen.right, second))
    ]
    of_block = (there[0] @ there[1].T).astype(np.float64)
    both = of_block[i, j]
    a, b = (v.sum(axis=1, dtype=np.float64)[k] for v, k in zip(there, (i, j), strict=True))
    n = there[0].shape[1]
    if block.in_strata:  # as many together as if those expected there were expected anywhere
        left, right = [chosen.left[k] for k in first], [chosen.right[k] for k in second]
        expected = between_strata.expected_together(left, right, of_block)[i, j]
        both = both * np.minimum(a * b / n / np.maximum(expected, 1e-9), 1.0)
    mi, se = codetection.mutual_information(both, a, b, n)
    columns.codetected_mi[chosen.rows], columns.codetected_se[chosen.rows] = mi, se


def test_by_shifts(
    pairs: TilePairs,
    scalars: np.ndarray,
    vectors: np.ndarray,
    columns: Columns,
    cfg: EstimatorConfig,
) -> None:
    """P-values where the screen has none: groups, too few samples, and all pairs of series."""
    p_value, n_effective = (columns.numbers[k] for k in ("p_value", "n_effective"))
    series = cfg.nulls.kind != "permutation"
    if not series:
        scalars = scalars[np.isnan(p_value[scalars])]
    for row in np.concatenate([scalars, vectors]).tolist():
        found = nulls.test(*pairs[row], cfg.nulls, cfg.seed)
        p_value[row] = found.p_value
        if series:
            n_effective[row] = found.n_effective
            if found.n_effective < _NEARLY_ALL * columns.n_samples[row]:
                _of_memory(row, found.level, found.spread, columns)


def take_memory(rows: np.ndarray, n_effective: np.ndarray, columns: Columns) -> None:
    """Scalar pairs of series whose independent samples (R,) are known."""
    columns.numbers["n_effective"][rows] = n_effective
    for row, share in zip(rows.tolist(), columns.worth(rows).tolist(), strict=True):
        if share < _NEARLY_ALL:
            _of_memory(row, 1 / share, 1 / share, columns)


def _of_memory(row: int, level: float, spread: float, columns: Columns) -> None:
    """A pair of series whose samples resemble those before them: bins and moments say more than there is.

    The moments of independent series are larger than those of independent samples, `level` and `spread` times, and are
    shrunk by as much.
    """
    columns.put_binned(np.array([row]), binned_ranks.NOTHING)
    if not columns.n_low[row]:  # a pair of groups
        return
    n, n_low = columns.n_samples[row], columns.n_low[row]
    square = columns.low_square[row] - n_low * (max(level, 1.0) - 1) / n
    scatter = np.sqrt(2 * n_low) / n * max(spread, 1.0)
    mi, _ = screen.weak_mi(np.array([square]), int(n), np.array([scatter]))
    columns.put_one_number(np.array([row]), screen.NAME, mi, columns.numbers["se_nats"][[row]])
