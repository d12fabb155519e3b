"""What strata of the samples explain of the dependence of two variables, to be taken off the MI of their table.

With O the table of a pair, M the product of its margins and E the table of two variables that are independent within
strata, the dependence that is left is

    KL(O || E) = KL(O || M) - sum_ab O_ab log(E_ab / M_ab),

at most I(X; Y | strata), since it looks at all strata together. The first term is what is estimated of any table, the second
a mean over samples (`explained`); of tables of few values that is all. A denoiser, though, does not see all there is: where it
finds I(E) in place of KL(E || M), it misses as much in O, and

    I(O) - I(E) - sum_ab (O_ab - E_ab) log(E_ab / M_ab)

has lost what both miss. If strata say nothing E is M, and no more than I(O) is left.

What I(X; Y | strata) is more comes from a dependence that differs between strata. Where samples are many the mean over groups
of strata, each with tables of its own, has most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mmg_ray.estimator.dependence import contingency
from mmg_ray.estimator.pairs.estimates import BothWays, Found, lessened
from mmg_ray.estimator.pairs.tables import TABLE_BYTES, batches, tabulate
from mmg_ray.estimator.ranks.ranked_variable import Both, RankedVariable
from mmg_ray.estimator.ranks.strata import group_of

_SWEEPS = 3
_LEAST = 4.0  # product of the samples at two levels, beside the number of strata
_SAMPLES_OF_GROUP, _MOST_GROUPS = 500, 8
_EXPLAINED = 0.005  # nats from which strata explain something
_BINS = 12  # the logarithm is a smooth function of both: fine levels add noise to E alone


class Explained(NamedTuple):
    """Of P pairs, (P,) nats each: what strata explain, that less KL(E || M), and by how much the squared standard error of
    the MI of a table is larger than that of what is left."""

    mi: np.ndarray
    beyond: np.ndarray
    variance: np.ndarray

    def take(self, rows: np.ndarray) -> Explained:
        """Of some of the pairs."""
        return Explained(*(values[rows] for values in self))


def without(
    pairs: Sequence[Both],
    n_bins: int,
    shape: tuple[int, int],
    estimate: Callable[[np.ndarray, np.ndarray], BothWays],
    worth: np.ndarray,
) -> BothWays:
    """Estimates from tables of `shape` over the levels of `n_bins`, without what strata explain, (P,) `worth` as of any.

    Where strata explain something and samples are many, the mean over groups of strata: what of I(X; Y | strata) one table
    of all lacks, since the dependence differs between them, groups have.
    """
    of_all = explained(pairs)
    n_groups = np.where(of_all.mi > _EXPLAINED, _n_groups(pairs), 1)
    found = BothWays(*(Found(*np.zeros((5, len(pairs)))) for _ in range(2)))
    for part, groups in _parts(n_groups, 4 * shape[0] * shape[1]):
        some = [pairs[k] for k in part]
        counts = tabulate(some, n_bins, shape, groups)
        share = counts.sum(axis=(2, 3, 4)) / [[x.n] for x, _ in some]
        both = np.concatenate([counts.astype(np.float32), expected(counts, some, n_bins)])
        ways = estimate(both.reshape(-1, 2, *shape), np.tile(np.repeat(worth[part], groups), 2))
        _, beyond, variance = explained(some, groups) if groups > 1 else of_all.take(part)
        for put, way in zip(found, ways, strict=True):
            of_counts, of_expected = (
                _mean(way.take(rows), share)
                for rows in (slice(share.size), slice(share.size, None))
            )
            left = of_counts.less(of_expected.mi + beyond, variance)
            for values, new in zip(put, left, strict=True):
                values[part] = new
    return found


def without_any(
    pairs: Sequence[Both], n_bins: int, shape: tuple[int, int], worth: np.ndarray
) -> BothWays:
    """The same of contingency tables, which see all there is."""
    mi, se = np.zeros((2, len(pairs)))
    for part, groups in _parts(_n_groups(pairs), shape[0] * shape[1]):
        some = [pairs[k] for k in part]
        of_strata = explained(some, groups)
        counts = tabulate(some, n_bins, shape, groups).sum(axis=2)
        of_table = contingency.from_tables(counts, worth[part], of_strata.mi)
        mi[part], se[part] = of_table.mi, lessened(of_table.se, of_strata.variance)
    return contingency.alike(contingency.Table(mi, se))


def _n_groups(pairs: Sequence[Both]) -> np.ndarray:
    """(P,) of strata, each with samples enough for an estimate."""
    found: dict[str, int] = {}  # by samples
    for x, _ in pairs:
        if x.samples not in found:
            n_groups = max(1, min(x.n // _SAMPLES_OF_GROUP, _MOST_GROUPS, x.n_strata))
            while n_groups > 1:
                size = np.bincount(x.group_of_strata(n_groups), minlength=n_groups)
                if size.min() >= _SAMPLES_OF_GROUP / 2:
                    break
                n_groups -= 1
            found[x.samples] = n_groups
    return np.array([found[x.samples] for x, _ in pairs])


def _parts(n_groups: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Positions of pairs of as many groups, a few megabytes of tables of `size` at a time."""
    for groups in np.unique(n_groups).tolist():
        rows = np.flatnonzero(n_groups == groups)
        step = max(1, TABLE_BYTES // (8 * groups * size))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], groups


def _mean(of: Found, share: np.ndarray) -> Found:
    """Of (P G,) estimates of groups that have these (P, G) shares of the samples."""
    mean = Found(*((values.reshape(share.shape) * share).sum(axis=1) for values in of))
    return mean._replace(se=np.sqrt(np.square(of.se.reshape(share.shape) * share).sum(axis=1)))


def explained(pairs: Sequence[Both], n_groups: int = 1) -> Explained:
    """Of pairs of scalars, each over the samples and strata that both have; within groups of strata, on the average."""
    found = Explained(*np.zeros((3, len(pairs))))
    sizes = [[len(v.quantised(_BINS).size) for v in pair] for pair in pairs]
    n_x, n_y = np.array(sizes, dtype=np.int64).reshape(-1, 2).T
    sides = {side.key: side for pair in pairs for side in pair}
    joined = {key: _Joined.of_groups(side, n_groups) for key, side in sides.items()}
    for part, shape in batches(n_x, n_y):
        counts = tabulate([pairs[k] for k in part], _BINS, shape, n_groups).sum(axis=2)
        for k, tables in zip(part.tolist(), counts, strict=True):
            x, y = (joined[side.key] for side in pairs[k])
            for of_group in zip(tables, x, y, strict=True):
                share = of_group[0].sum() / pairs[k][0].n
                if share > 0:
                    mi, beyond, variance = _explained(*of_group)
                    found.mi[k] += share * mi
                    found.beyond[k] += share * beyond
                    found.variance[k] += share**2 * variance
    return found


class _Joined(NamedTuple):
    """(S, J) samples in each stratum at the levels of a variable, (L,) of them joined from `first` (J + 1,) on each, so that
    E of any two is known well enough."""

    size: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, size: np.ndarray) -> _Joined:
        """Of (S, L) samples; from the last level on."""
        least, total, first = np.sqrt(_LEAST * len(size)), 0, []
        of_level = size.sum(axis=0)
        for level in range(len(of_level) - 1, -1, -1):
            total += of_level[level]
            if total >= least:
                first.append(level)
                total = 0
        starts = np.array([0, *first[::-1][1:]])
        return cls(np.add.reduceat(size, starts, axis=1), np.append(starts, len(of_level)))

    @classmethod
    def of_groups(cls, side: RankedVariable, n_groups: int) -> list[_Joined]:
        """In each group of strata."""
        size = side.in_strata(_BINS).sum(axis=0)
        group = group_of(len(size), n_groups)
        return [cls.of(size[group == g]) for g in range(n_groups)]


def expected(counts: np.ndarray, pairs: Sequence[Both], n_bins: int) -> np.ndarray:
    """(P, G, 2, X, Y) counts over the levels of `n_bins` -> float32 of samples that were independent within strata."""
    found = np.zeros(counts.shape, dtype=np.float32)
    for table, there, pair in zip(counts, found, pairs, strict=True):
        x, y = (side.in_strata(n_bins) for side in pair)
        group = group_of(x.shape[1], len(table))
        for g in range(len(table)):
            for half in range(2):
                there[g, half, : x.shape[2], : y.shape[2]] = _together(
                    x[half][group == g], y[half][group == g], table[g, half]
                )
    return found


def expected_together(
    x: Sequence[RankedVariable], y: Sequence[RankedVariable], both: np.ndarray
) -> np.ndarray:
    """(U, V) samples expected away from the commonest values of both, of two blocks of variables over the same samples, of
    which `both` are."""
    of_x, of_y = (
        np.stack([np.bincount(np.asarray(v.stratum), np.asarray(v.non_modal, float)) for v in side])
        for side in (x, y)
    )
    size = np.bincount(np.asarray(x[0].stratum))
    per_pair = (size > 1) / np.maximum(size - 1, 1)
    itself = (size * per_pair).sum() / size.sum()  # weight of a sample with itself
    return np.maximum((of_x * per_pair) @ of_y.T - itself * both, 0.0)


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _together(x: Any, y: Any, counts: Any) -> Any:
    """(A, B) samples expected at levels of both, of (S, A) and (S, B) at those of either in each stratum, at least (A, B) at both.

    Of all pairs of different samples of a stratum: with itself each depends as the variables do. 0 where there is no such pair.
    """
    found, n_pairs = np.zeros((2, x.shape[1], y.shape[1]))
    for s in range(len(x)):
        size = x[s].sum()
        per_pair = 1.0 / (size - 1) if size > 1 else 0.0
        for a in range(x.shape[1]):
            if x[s, a]:
                for b in range(y.shape[1]):
                    n_pairs[a, b] += x[s, a] * y[s, b]
                    found[a, b] += x[s, a] * y[s, b] * per_pair
    for a in range(x.shape[1]):
        for b in range(y.shape[1]):
            if n_pairs[a, b] > 0:
                found[a, b] *= 1 - counts[a, b] / n_pairs[a, b]
    _to_margins(found, x.sum(axis=0), y.sum(axis=0))
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _to_margins(table: Any, of_x: Any, of_y: Any) -> None:
    """Scale (A, B) by rows and columns to these margins, from which strata of unlike sizes have taken it a little."""
    for _ in range(_SWEEPS):
        for a in range(len(of_x)):
            total = table[a].sum()
            if total > 0:
                table[a] *= of_x[a] / total
        for b in range(len(of_y)):
            total = table[:, b].sum()
            if total > 0:
                table[:, b] *= of_y[b] / total


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _explained(table: Any, x: Any, y: Any) -> Any:
    """Of (L, M) counts and either side's `_Joined` levels, what an `Explained` has."""
    counts = np.zeros((x.size.shape[1], y.size.shape[1]))
    for a in range(counts.shape[0]):
        for b in range(counts.shape[1]):
            counts[a, b] = table[x.first[a] : x.first[a + 1], y.first[b] : y.first[b + 1]].sum()
    expected = _together(x.size, y.size, counts)
    return _sums(counts, expected, x.size.sum(axis=0), y.size.sum(axis=0), float(len(x.size)))


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _sums(counts: Any, expected: Any, of_x: Any, of_y: Any, n_strata: float) -> Any:
    n = of_x.sum()
    total = of_expected = by_chance = 0.0
    mean, square = np.zeros(2), np.zeros(2)  # of the log ratios of O to M and to E
    for a in range(len(of_x)):
        for b in range(len(of_y)):
            product = float(of_x[a] * of_y[b])
            # the margins of a stratum scatter: E over M by sqrt(S / product) where nothing changes between strata
            if expected[a, b] > 0:
                by_chance += 0.5 * n_strata / n**2
                ratio = np.log(expected[a, b] * n / product)
                total += counts[a, b] / n * ratio
                of_expected += expected[a, b] / n * ratio
                if counts[a, b] > 0:
                    share = counts[a, b] / n
                    of_counts = np.log(counts[a, b] * n / product)
                    for k, value in enumerate((of_counts, of_counts - ratio)):
                        mean[k] += share * value
                        square[k] += share * value**2
    variance = square - mean**2
    return total - by_chance, total - of_expected, (variance[0] - variance[1]) / n
