"""The local density ratio of two scalars by nearest neighbours, beside what a spline finds.

The log of a density ratio, averaged over samples, is the integrated gap of its own denoiser, so an
estimate of the ratio competes with a fitted denoiser on equal terms. Where the density has hard edges,
narrow branches or many waves, few functions cannot follow it, but boxes that shrink with the sample can:
Kraskov, Stoegbauer & Grassberger (2004, eq. 8), here on ranks, whose uniform margins leave the joint
density alone to vary. Their estimate scatters more, so of what it is above the spline's a third counts,
and all of it where it is clearly above: a third adds next to nothing to the scatter of a spline that is
right, and takes a third off the bias of one that is not.

The weights and widths below minimise the error over the tuning suite at n = 300, 1000 and 5000.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

NAME = "neighbours"  # of the rows that are theirs rather than the spline's
MIN_SAMPLES = 50
_SMALL, _SHARES, _LARGE = (3, 6), (0.6, 0.4), 12  # neighbours in the boxes
_MOST_FALL = 3.4  # over the root of n, nats, of the estimate from small boxes to large ones
_CLEAR = 3.5  # over the root of n, nats, from where an excess over the spline is no scatter
_LEAST_SHARE = 1 / 3
_WEAK = 0.04  # nats below which smooth functions see all that there is
_HIDDEN = 0.55  # of the nats by which a fit may be off: what shrinkage hides, on average
_DOUBT_EXCESS, _DOUBT_FALL = 0.4, 0.5  # of differences between estimates, as standard errors


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


def refine(
    u: np.ndarray,
    v: np.ndarray,
    mi: float,
    se: float,
    unsure: float,
    at_least: float = 0.0,
    n_samples: int | None = None,
) -> Found:
    """A fitted denoiser's estimate, moved towards the neighbours where these see more.

    Args:
        u, v: (R, n) ranks in (0, 1), uniform within their cells, of R ways to break ties; n >= 50.
        mi, se: the estimate so far and its standard error, nats.
        unsure: nats between the estimate and its held-out form, which is lower.
        at_least: nats that another test is sure of, where the fit may have found nothing.
        n_samples: of the fit, by default n. Where it had more than the neighbours, what these see
            within their scatter counts for less, as the fit's own scatter is less.
    """
    n = u.shape[1]
    root, part = np.sqrt(n), np.sqrt(n / (n_samples or n))
    local = Local(*np.mean([_local(a, b) for a, b in zip(u, v, strict=True)], axis=0))
    mi += _HIDDEN * unsure * mi**2 / (mi**2 + _WEAK**2)
    excess, share = local.mi - mi, 0.0
    beyond = excess**4 / (excess**4 + (_CLEAR / root) ** 4)
    if excess > 0:
        seen = max(mi, at_least) ** 1.5 * local.mi**0.5
        share = max(beyond, _LEAST_SHARE * part) * seen / (seen + _WEAK**2)
    raised = (1 - share) * se + share * local.scatter
    doubt = np.hypot(_DOUBT_EXCESS * excess * max(beyond, part), _DOUBT_FALL * local.fall)
    return Found(mi + share * excess, float(np.hypot(raised, doubt)), share)


def _local(u: np.ndarray, v: np.ndarray) -> Local:
    """By neighbours in one pair of ranks."""
    *small, large = _log_ratios(u, v)
    ratio = np.average(small, axis=0, weights=_SHARES)
    mi, root = ratio.mean(), np.sqrt(len(u))
    # a box takes the mean over edges and bends inside it, so the estimate falls as boxes grow: what it
    # falls from small to large ones, it falls again from none to small
    fall = min(max(mi - large.mean(), 0.0), _MOST_FALL / root)
    return Local(mi + fall, ratio.std() / root, fall)


def _log_ratios(u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    """(n,) log density ratios of each sample, for boxes of each number of neighbours."""
    n = len(u)
    points = np.stack([u, v], axis=1)
    sizes = (*_SMALL, _LARGE)
    distances = cKDTree(points).query(points, k=[k + 1 for k in sizes], p=np.inf)[0]
    counts = _Counts(u), _Counts(v)
    psi = digamma(np.arange(1, n + 1))
    return [
        psi[k - 1] + psi[n - 1] - sum(psi[np.maximum(side.within(d), 1) - 1] for side in counts)
        for k, d in zip(sizes, distances.T, strict=True)
    ]


class _Counts:
    """How many others are nearer than a distance; on ranks no search is needed."""

    def __init__(self, u: np.ndarray) -> None:
        self._u, self._ordered = u, np.append(np.sort(u), np.inf)

    def within(self, distance: np.ndarray) -> np.ndarray:
        """(n,) values at less than these (n,) distances from each, itself included."""
        inside = distance * (1 - 1e-12)
        return self._below(self._u + inside) - self._below(self._u - inside)

    def _below(self, value: np.ndarray) -> np.ndarray:
        # the k-th of n values lies in the k-th of n cells
        n = len(self._u)
        cell = np.clip((value * n).astype(np.int64), 0, n)
        return cell + (self._ordered[cell] < value)
