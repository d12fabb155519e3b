"""The local density ratio of two scalars by nearest neighbours, where it shows more than a spline.

The log of a density ratio, averaged over samples, is the integrated gap of its own denoiser, so an
estimate of the ratio competes with a fitted denoiser on equal terms. Where the density has hard edges,
narrow branches or many waves, few functions cannot follow it, but boxes that shrink with the sample can:
Kraskov, Stoegbauer & Grassberger (2004, eq. 8), here on ranks, whose uniform margins leave the joint
density alone to vary. Their estimate scatters more, so it counts only by what it is clearly above.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

NAME = "neighbours"  # of the rows that are theirs rather than the spline's
MIN_SAMPLES = 50
_SMALL, _LARGE = (3, 6), 12  # neighbours in the boxes
_FALL = 0.4  # of the estimate from small boxes to large ones: what it falls again towards none
# an excess counts where it is clear of its own scatter, of this over the root of n, nats
_CLEAR_FALL, _CLEAR_EXCESS = 1.0, 1.4
_WEAK = 0.05  # nats below which smooth functions see all that there is
_DOUBT = 0.5  # of the difference of two estimates, as a standard error


class Found(NamedTuple):
    """MI and its standard error, nats; and how far it was moved towards the neighbours, 0..1."""

    mi: float
    se: float
    share: float


def refine(u: np.ndarray, v: np.ndarray, mi: float, se: float) -> Found:
    """A fitted denoiser's estimate, raised where neighbours clearly see more.

    Args:
        u, v: (R, n) ranks in (0, 1), uniform within their cells, of R ways to break ties; n >= 50.
        mi, se: the estimate so far and its standard error, nats.
    """
    root = np.sqrt(u.shape[1])
    found = [_local(a, b) for a, b in zip(u, v, strict=True)]
    local, scatter = np.mean(found, axis=0)
    excess = local - mi
    share = _clear(excess, _CLEAR_EXCESS / root) * mi**2 / (mi**2 + _WEAK**2)
    raised = (1 - share) * se + share * scatter
    return Found(mi + share * excess, float(np.hypot(raised, _DOUBT * excess)), share)


def _local(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """MI by neighbours and the standard error of its mean over samples, nats."""
    ratio = {k: log for k, log in zip((*_SMALL, _LARGE), _log_ratios(u, v), strict=True)}
    small = np.mean([ratio[k] for k in _SMALL], axis=0)
    mi, root = small.mean(), np.sqrt(len(u))
    # a box takes the mean over edges and bends inside it, so the estimate falls as boxes grow
    fall = mi - ratio[_LARGE].mean()
    return mi + _FALL * fall * _clear(fall, _CLEAR_FALL / root), small.std() / root


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


def _clear(excess: float, scatter: float) -> float:
    """0 for what is below its scatter, and below 0; 1 for what is far above."""
    return float(excess**4 / (excess**4 + scatter**4)) if excess > 0 else 0.0
