"""Samples that are alike in something, strata of it, and what is left of a variable within them.

Depth, batches and kinds of cells make variables depend that are independent among samples alike. Less its mean in the
stratum of each sample, a polynomial of ranks has no such part: ties stay together and zeros stay zeros, and a sum of
products of two is 0 on average for variables that are independent within strata, however both change between them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mmg_ray.estimator.ranks.levels import MOST, levels
from mmg_ray.estimator.ranks.rank_polynomials import (
    MOST_LEVERAGE,
    ORDERS,
    RankPolynomials,
    on_grid,
    polynomials,
)

_FIRST, _GROUPS = 5, 16
_TABLE = 4  # entries of a table of values and strata for a sample: beyond, sorting is cheaper
_LARGE = 150  # samples of a stratum on average, whose ranks in it are nearly those in its law
_FEW = 100  # strata, as of labels; parts of a number, which changes within them as well, are more
_TIED = 0.25  # chance that two samples of a stratum share their value: as of counts of mean 1.5
_LEFT = 1e-3  # of a polynomial's square within strata: of less the strata say all there is


class Within(NamedTuple):
    """A complete scalar within S strata, as the screen takes it.

    Attributes:
        value: (n,) level of each sample, of L. polynomials: of the levels, uncorrelated and of unit mean square within
            strata; `size` are the samples of each level.
        stratum: (n,) of each sample. mean: (S, 14) of the polynomials in each stratum.
        spread: (S, 14) their mean squares about it, so that sums over strata of products of two variables' are n - 1
            times the variances of their moments under permutations within strata.
        size: (S, L) samples of each level in each stratum.
        covariance: (K, 5, 5) of the first polynomials within K groups of strata that follow one another, times the root of
            the group's share of the samples.
    """

    value: np.ndarray
    polynomials: RankPolynomials
    stratum: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    size: np.ndarray
    covariance: np.ndarray

    def at_samples(self) -> np.ndarray:
        """(n, 14)."""
        return self.polynomials.at[self.value] - self.mean[self.stratum]


def counted(level: np.ndarray, stratum: np.ndarray, n_levels: int, n_strata: int) -> np.ndarray:
    """(S, L) samples of each level in each stratum."""
    at = stratum.astype(np.int64) * n_levels + level
    found = np.bincount(at, minlength=n_strata * n_levels).reshape(n_strata, n_levels)
    return found.astype(np.int32)


def group_of(n_strata: int, n_groups: int) -> np.ndarray:
    """(S,) the group of each stratum: of consecutive ones, all of as many or nearly."""
    return np.arange(n_strata) * n_groups // n_strata


def mean_within(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """(n,) mean of (n,) values over the stratum of each."""
    found: np.ndarray = (np.bincount(stratum, values) / np.maximum(np.bincount(stratum), 1))[
        stratum
    ]
    return found


def ranked_within(codes: np.ndarray, stratum: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(n,) complete codes of a variable of many values -> ordinal codes of its mid-ranks within strata; others as they are.

    Ranks within strata follow no stratum, and so all of a dependence there is in one table of them. Not so of small strata,
    whose ranks scatter, nor of many, the parts of a number: ranks would make much of what still follows it. Values that
    samples share stay, since ranks of so many ties would differ between strata by the ties alone. `shift` (S,) moves the ranks of each stratum by up to one, so that few ranks make no few values.
    """
    n, n_levels, n_strata = len(codes), int(codes.max()) + 1, len(shift)
    of_stratum = np.bincount(stratum, minlength=n_strata)
    if n < _LARGE * n_strata or n_strata > _FEW:
        return codes
    if n_levels * n_strata <= _TABLE * n:
        size = counted(codes, stratum, n_levels, n_strata)
        if (
            np.sum(np.sum(np.square(size, dtype=float), axis=1) / np.maximum(of_stratum, 1))
            > _TIED * n
        ):
            return codes
        middle = (np.cumsum(size, axis=1) - 0.5 * size)[stratum, codes]
    else:
        order = np.lexsort((codes, stratum))
        both = stratum[order].astype(np.int64) * n_levels + codes[order]
        first = np.flatnonzero(np.append(True, both[1:] != both[:-1]))
        ties, of_tie = np.diff(np.append(first, n)), stratum[order][first]
        if np.sum(ties**2 / of_stratum[of_tie]) > _TIED * n:
            return codes
        start = np.cumsum(of_stratum) - of_stratum
        middle = np.empty(n)
        middle[order] = np.repeat(first - start[of_tie] + 0.5 * ties, ties)
    rank = np.clip(middle + shift[stratum] - 0.5, 0.0, of_stratum[stratum]) / of_stratum[stratum]
    found: np.ndarray = np.unique(rank, return_inverse=True)[1].astype(np.int32)
    return found


def within(codes: np.ndarray, stratum: np.ndarray) -> Within:
    """Of (n,) complete ordinal codes and the strata 0, 1, ... of the samples."""
    of = levels(codes, MOST)
    n, n_strata = len(codes), int(stratum.max()) + 1
    size = counted(of.level, stratum, len(of.size), n_strata)
    marginal = polynomials(of.size)
    n_orders, at = marginal.n_orders, np.zeros((len(of.size), ORDERS))
    of_stratum = np.maximum(size.sum(axis=1), 1)
    means = (size @ marginal.at[:, :n_orders]) / of_stratum[:, None]
    square = np.eye(n_orders) - (means.T * (of_stratum / n)) @ means
    left = _leading(square, _LEFT)
    if left:
        triangle = np.linalg.cholesky(square[:left, :left])
        at[:, :left] = np.linalg.solve(triangle, marginal.at[:, :left].T).T
        means = np.linalg.solve(triangle, means[:, :left].T).T
        # of a sample that is the only one of its level in its stratum or nearly
        ruled = _highest(at[:, :left], means, size) > MOST_LEVERAGE * n
        left = max(1, int(ruled.argmax())) if ruled.any() else left
        at[:, left:] = 0.0
    at = on_grid(at, n)
    mean = on_grid((size @ at) / of_stratum[:, None], n)
    about = (size @ at**2) / of_stratum[:, None] - mean**2
    lone = of_stratum < 2
    weight = np.sqrt((n - 1) / np.where(lone, 1, of_stratum - 1)) * of_stratum / n
    spread = np.where(lone[:, None], 0.0, np.maximum(about, 0.0) * weight[:, None])
    return Within(
        of.level,
        RankPolynomials(at, left, of.size),
        stratum,
        mean,
        on_grid(spread, n),
        size,
        _covariance(at[:, :_FIRST], size),
    )


def random_ranks_within(
    codes: np.ndarray, stratum: np.ndarray, random: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """(n,) complete codes -> ranks 0..n-1 of the ranks within strata, ties broken by (n,) random numbers, within and
    between.

    Of variables that are independent within strata these are independent, so whatever knows of no strata may take them.
    """
    order = np.lexsort((random, codes, stratum))
    of_stratum = np.bincount(stratum)
    start = np.cumsum(of_stratum) - of_stratum
    share = np.empty(len(codes))
    share[order] = (np.arange(len(codes)) - start[stratum[order]] + 0.5) / of_stratum[
        stratum[order]
    ]
    found = np.empty(len(codes), dtype=np.int64)
    found[np.lexsort((other, share))] = np.arange(len(codes))
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _highest(at: Any, mean: Any, size: Any) -> Any:
    """(K,) largest squares of polynomials less their means, wherever there are samples."""
    found = np.zeros(at.shape[1])
    for s in range(len(size)):
        for a in range(size.shape[1]):
            if size[s, a] > 0:
                for k in range(len(found)):
                    found[k] = max(found[k], (at[a, k] - mean[s, k]) ** 2)
    return found


def _covariance(at: np.ndarray, size: np.ndarray) -> np.ndarray:
    group = group_of(len(size), min(_GROUPS, len(size)))
    first = np.flatnonzero(np.diff(group, prepend=-1))
    of_stratum, of_group = size.sum(axis=1), np.add.reduceat(size, first, axis=0)
    means = (size @ at) / np.maximum(of_stratum, 1)[:, None]
    between = np.add.reduceat(
        (of_stratum[:, None] * means)[:, :, None] * means[:, None], first, axis=0
    )
    products = np.matmul(at.T * of_group[:, None], at) - between
    n = np.maximum(of_group.sum(axis=1), 1) * size.sum()
    found: np.ndarray = products / np.sqrt(n)[:, None, None]
    return found


def _leading(square: np.ndarray, least: float) -> int:
    """How many leading polynomials have something left, each beside those before it."""
    for k in range(len(square)):
        # what is left of one beside those before it: a Schur complement
        rest = square[k, k]
        if k:
            rest -= square[k, :k] @ np.linalg.solve(square[:k, :k], square[:k, k])
        if rest < least:
            return k
    return len(square)
