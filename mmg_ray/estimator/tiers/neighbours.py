"""The local density ratio of two scalars by nearest neighbours, beside what a spline finds.

The log of a density ratio, averaged over samples, is the integrated gap of its own denoiser, so an
estimate of the ratio competes with a fitted denoiser on equal terms. Where the density has hard edges,
narrow branches or many waves, few functions cannot follow it, but boxes that shrink with the sample can:
Kraskov, Stoegbauer & Grassberger (2004, eq. 8), here on ranks, whose uniform margins leave the joint
density alone to vary. Their estimate scatters more, so what it is above the spline's counts by how likely
it is that the spline has missed something: an excess E of scatter S for E^2 / (E^2 + (c S)^2), the share
of E^2 that is not noise if noise is counted c times.

The four constants minimise the error over the tuning suite at n = 300, 1000, 5000 and 20,000; what each is
worth is in the table of `benchmarks/choice.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.special import digamma

from mmg_ray.estimator.ranks.ranked_variable import RankedVariable

NAME = "neighbours"  # of the rows that are theirs rather than the spline's
MIN_SAMPLES = 50
_SMALL, _SHARES, _LARGE = (3, 6), (0.6, 0.4), 12  # neighbours in the boxes
_MOST_FALL = 3.6  # over the root of n, nats, of the estimate from small boxes to large ones
_CAUTION = 3.0  # times their scatter counts against what neighbours see more
_WEAK = 0.03  # nats below which smooth functions see all that there is
_SHRINKAGE_BIAS = 0.75  # mean bias of a shrunken fit, as a share of its error
_LOWER = 0.25  # of the times that neighbours see clearly less, they are right
# Of the table of all samples, where neighbours see a part: bins, the samples that a cell takes, and bins from which its
# MI is looked at, as coarser ones hide too much. Found on the tuning suite at n = 20,000, 1e5 and 4e5.
_BINS, _SAMPLES_A_CELL, _FINE = (16, 32, 64, 112), 16, 64


class Found(NamedTuple):
    """MI and its standard error, nats; and how far it was moved towards the neighbours, 0..1."""

    mi: float
    se: float
    share: float


class Local(NamedTuple):
    """MI by neighbours, its scatter (a standard error), and how far it falls in larger boxes; nats."""

    mi: float
    scatter: float
    fall: float


class InBins(NamedTuple):
    """What the table of all samples says of a pair of which neighbours see a part.

    Attributes:
        luck: nats of MI that the part shows more than all samples.
        mi, rest: MI in bins, nats, with half of what finer bins would add, and that half: its uncertainty. Bins hide some of a
            dependence and add none, so that a fit below has missed it. 0 where the fit has not.
    """

    luck: float
    mi: float
    rest: float


def in_bins(
    x: RankedVariable, y: RankedVariable, chosen: np.ndarray, fitted: float, worth: float = 1.0
) -> InBins:
    """By the table of all n samples of a pair of scalars, of which neighbours see those `chosen` (n,).

    A sample is `worth` so many independent ones, less than one in a series.

    The mean log density ratio in bins over the chosen samples, less that over all, is by how much these are lucky: it is the same
    for a fit of all samples, so that what neighbours see beyond it is the fit's fault. The MI of a table, less the bias of its
    occupied cells (Miller 1955), falls short by about 1 / bins where edges are hard, which tells what finer ones would add.
    """
    n = len(chosen)
    n_bins = max(
        (bins for bins in _BINS if bins**2 * _SAMPLES_A_CELL <= n * worth), default=_BINS[0]
    )
    a, b = (side.quantised(n_bins) for side in (x, y))
    shape = len(a.size), len(b.size)
    of_sample = np.ravel_multi_index((a.level, b.level), shape)
    counts = np.bincount(of_sample, minlength=shape[0] * shape[1]).reshape(shape)
    log_ratio, mi, spread = _of_table(counts, worth)
    more = log_ratio.ravel()[of_sample[chosen]].mean() - (counts * log_ratio).sum() / n
    least = mi - 2 * spread
    if least <= fitted or n_bins < _FINE:
        return InBins(float(more), 0.0, 0.0)
    coarse = counts
    for axis, side in enumerate((x, y)):
        if side.n_levels > n_bins:  # else a level is a value, and none is finer
            coarse = np.add.reduceat(coarse, np.arange(0, shape[axis], 2), axis=axis)
    # bins of half the width add half as much, those of a quarter a quarter, ...: as much in all as was lost to `coarse`
    rest = max(mi - _of_table(coarse, worth)[1], 0.0) / 2
    return InBins(float(more), float(least + rest), float(rest))


def _of_table(counts: np.ndarray, worth: float) -> tuple[np.ndarray, float, float]:
    """(X, Y) log density ratios of cells, 0 where empty; their mean less its bias, MI in nats, and its standard error."""
    n, full = counts.sum(), counts > 0
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    ratio = np.log(
        np.where(full, counts, 1) / np.outer(rows, columns) * n,
        where=full,
        out=np.zeros(counts.shape),
    )
    mean = (counts * ratio).sum() / n
    bias = (full.sum() - (rows > 0).sum() - (columns > 0).sum() + 1) / (2 * n * worth)
    spread = np.sqrt(max((counts * ratio**2).sum() / n - mean**2, 0.0) / (n * worth))
    return ratio, float(mean - bias), float(spread)


def refine(
    u: np.ndarray,
    v: np.ndarray,
    mi: float,
    se: float,
    fit_error: float,
    at_least: float = 0.0,
    luck: float = 0.0,
) -> Found:
    """A fitted denoiser's estimate, moved towards the neighbours where these see more.

    Args:
        u, v: (R, n) ranks in (0, 1), uniform within their cells, of R ways to break ties; n >= 50. They may
            be of some of the samples that the fit had.
        mi, se: the estimate so far and its standard error, nats.
        fit_error: nats between the estimate and its held-out form, which is lower.
        at_least: nats that another test is sure of, where the fit may have found nothing.
        luck: nats that these samples have more than those that the fit had, see `in_bins`.
    """
    local = Local(*np.mean([_local(a, b) for a, b in zip(u, v, strict=True)], axis=0))
    seen = max(mi, at_least)
    dependent = seen**2 / (seen**2 + _WEAK**2)
    mi += _SHRINKAGE_BIAS * fit_error * dependent
    excess = local.mi - luck - mi
    missed = excess**2 / (excess**2 + (_CAUTION * local.scatter) ** 2 + 1e-18)
    share = missed * dependent if excess > 0 else 0.0
    # the truth is near one or the other: a mixture of both
    apart = missed * (1 - missed if excess > 0 else _LOWER) * excess**2
    variance = (1 - share) * se**2 + share * local.scatter**2 + apart + (0.5 * local.fall) ** 2
    return Found(mi + share * excess, float(np.sqrt(variance)), share)


def _local(u: np.ndarray, v: np.ndarray) -> Local:
    """By neighbours in one pair of ranks."""
    *small, large = _log_ratios(u, v)
    ratio = np.average(small, axis=0, weights=_SHARES)
    mi, root = ratio.mean(), np.sqrt(len(u))
    # a box takes the mean over edges and bends inside it, so the estimate falls as boxes grow: what it
    # falls from small to large ones, it falls again from none to small
    fall = min(max(mi - large.mean(), 0.0), _MOST_FALL / root)
    return Local(mi + fall, ratio.std() / root, fall)


def _log_ratios(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(3, n) log density ratios of each sample, for boxes of each number of neighbours."""
    n = len(u)
    psi = digamma(np.arange(1, n + 1))
    sizes = np.array([*_SMALL, _LARGE])
    inside = _distances(u, v, sizes) * (1 - 1e-12)
    of_ranks = _psi_within(u, inside, psi) + _psi_within(v, inside, psi)
    found: np.ndarray = (psi[sizes - 1] + psi[n - 1])[:, None] - of_ranks
    return found


@njit(cache=True)
def _distances(u: np.ndarray, v: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(K, n) larger of the two differences to the k-th nearest other sample, for the ascending (K,) k.

    Strips of u hold equally many samples, in the order of v. From a sample's place in a strip those nearest
    in v are looked at, up and down, while any may be among the nearest: since v is uniform too, these are few
    whatever the dependence.
    """
    n, most = len(u), sizes[-1]
    n_strips = max(1, int(np.sqrt(n / most)))
    by_u, order_v = np.argsort(u), np.argsort(v)
    first = np.array([s * n // n_strips for s in range(n_strips + 1)])
    strip = np.empty(n, np.int64)
    for s in range(n_strips):
        strip[by_u[first[s] : first[s + 1]]] = s
    filled = first[:-1].copy()
    a, b, sample = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for i in order_v:
        k = filled[strip[i]]
        filled[strip[i]] += 1
        a[k], b[k], sample[k] = u[i], v[i], i
    lowest, highest = np.empty(n_strips), np.empty(n_strips)
    for s in range(n_strips):
        lowest[s], highest[s] = u[by_u[first[s]]], u[by_u[first[s + 1] - 1]]
    out = np.empty((len(sizes), n))
    nearest = np.empty(most)
    for s in range(n_strips):
        # the place between those below and those above in v, in this strip and those beside it
        place = first[:-1].copy()
        for k in range(first[s], first[s + 1]):
            nearest[:] = np.inf
            _look(a, b, first[s], k, k + 1, first[s + 1], a[k], b[k], nearest)
            for step in (-1, 1):
                t = s + step
                while 0 <= t < n_strips:
                    apart = a[k] - highest[t] if step < 0 else lowest[t] - a[k]
                    if apart >= nearest[-1]:
                        break
                    if b[k] > b[first[t]] and place[t] == first[t]:
                        place[t] += np.searchsorted(b[first[t] : first[t + 1]], b[k])
                    while place[t] < first[t + 1] and b[place[t]] < b[k]:
                        place[t] += 1
                    _look(a, b, first[t], place[t], place[t], first[t + 1], a[k], b[k], nearest)
                    t += step
            for j in range(len(sizes)):
                out[j, sample[k]] = nearest[sizes[j] - 1]
    return out


@njit(cache=True)
def _look(
    a: np.ndarray,
    b: np.ndarray,
    begin: int,
    below: int,
    above: int,
    end: int,
    x: float,
    y: float,
    nearest: np.ndarray,
) -> None:
    """Put distances from (x, y) among the `nearest`, ascending: of places before `below` and from `above`."""
    k = below - 1
    while k >= begin and y - b[k] < nearest[-1]:
        _insert(max(abs(a[k] - x), y - b[k]), nearest)
        k -= 1
    k = above
    while k < end and b[k] - y < nearest[-1]:
        _insert(max(abs(a[k] - x), b[k] - y), nearest)
        k += 1


@njit(cache=True)
def _insert(distance: float, nearest: np.ndarray) -> None:
    if distance >= nearest[-1]:
        return
    k = len(nearest) - 1
    while k > 0 and nearest[k - 1] > distance:
        nearest[k] = nearest[k - 1]
        k -= 1
    nearest[k] = distance


@njit(cache=True)
def _psi_within(u: np.ndarray, inside: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """(K, n) psi of how many samples, itself included, are at less than `inside` (K, n) from each.

    The k-th of n ranks lies in the k-th of n intervals, so that no search is needed.
    """
    n = len(u)
    ordered = np.append(np.sort(u), np.inf)
    out = np.empty_like(inside)
    for j in range(len(inside)):
        for i in range(n):
            high, low = u[i] + inside[j, i], u[i] - inside[j, i]
            k = min(max(int(high * n), 0), n)
            count = k + (ordered[k] < high)
            k = min(max(int(low * n), 0), n)
            count -= k + (ordered[k] < low)
            out[j, i] = psi[max(count, 1) - 1]
    return out
