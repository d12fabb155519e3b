"""Both directions of scalar pairs by the correction alone: right for weak and moderate smooth pairs.

A pair is its tables of counts (see `counts`). The moments of both directions are two products with each
table, of the curves of levels, averaged over their ranks, and of the lookups at their mid-ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.special import ndtri

from mmg_ray.estimator.pairs.counts import margins
from mmg_ray.estimator.pairs.estimates import BothWays, Found, shrunk
from mmg_ray.estimator.tiers.spline import basis
from mmg_ray.estimator.tiers.spline.basis import Shape, Tables, adapted_levels, tables
from mmg_ray.estimator.tiers.spline.correction import Correction, correct

PENALTIES = (10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5, 10**0.5)
LIGHTER = 1
_SHAPE, _NOISE_LEVELS = Shape(6, 6, 24), 6
_PAIRS = 32  # at once: two directions of each are a block of systems
_SCATTER = 2.0  # of estimates of independent pairs, times n


def direct(counts: np.ndarray, worth: np.ndarray | None = None) -> BothWays:
    """MI of P scalar pairs: (P, 2, X, Y) counts of each half over the levels of x and y.

    `worth` (P,) is how many independent samples a sample counts for, by default one; less in a series.
    """
    worth = np.ones(len(counts)) if worth is None else worth
    return BothWays.concatenate(
        [BothWays.split(both_directions(counts[part], worth[part])) for part in parts(len(counts))]
    )


def parts(n_pairs: int) -> list[slice]:
    """Of pairs, that are estimated at once."""
    return [slice(start, start + _PAIRS) for start in range(0, n_pairs, _PAIRS)]


def direct_tables() -> Tables:
    """Those of the functions that are used."""
    return tables(_SHAPE, adapted_levels(_NOISE_LEVELS))


def both_directions(counts: np.ndarray, worth: np.ndarray) -> Found:
    """Of (2 P,) directions of a few pairs, x given y of all first."""
    t = direct_tables()
    s, n_samples, sides = moments(counts, t)
    worth = np.tile(worth, 2)
    n = n_samples * worth
    c = correct(s, n, t, PENALTIES, LIGHTER)
    nothing = np.zeros(len(n))
    on = sound(c, n)
    mean, square = _influences(counts, c.influence, sides)
    return estimates(c, n, nothing, nothing, on, on * worth * mean, on * worth * square)


class Curves(NamedTuple):
    """Of a variable of each of P pairs: (P, L, J) curves of its levels, and (P, L, Q) lookups."""

    target: np.ndarray
    source: np.ndarray


def level_curves(size: np.ndarray, t: Tables) -> Curves:
    """Of variables with (P, L) samples at their levels; each distinct row is made once."""
    distinct, index = distinct_rows(size)
    edges = np.pad(np.cumsum(distinct, axis=1), ((0, 0), (1, 0))) / distinct.sum(axis=1)[:, None]
    target = basis.averages(t, edges)
    source = t.lookups[basis.row(middle_scores(distinct))]
    return Curves(target[index], source[index])


def distinct_rows(size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, L) -> (V, L) rows that differ, and (P,) which each is: most variables share a few laws."""
    place: dict[bytes, int] = {}
    index = np.array([place.setdefault(row.tobytes(), len(place)) for row in size])
    return size[np.unique(index, return_index=True)[1]], index


def middle_scores(size: np.ndarray) -> np.ndarray:
    """(V, L) samples at levels -> normal scores of their mid-ranks."""
    n = size.sum(axis=1, keepdims=True)
    found: np.ndarray = ndtri((np.cumsum(size, axis=1) - 0.5 * size) / n)
    return np.clip(found, -basis.REACH, basis.REACH)


def moments(counts: np.ndarray, t: Tables) -> tuple[np.ndarray, np.ndarray, tuple[Curves, Curves]]:
    """(2 P, 2, J, Q) moments, x given y of all pairs first, (2 P,) samples, and curves of x and y."""
    of_x, of_y, of_half = margins(counts)
    x, y = (level_curves(size, t) for size in (of_x, of_y))
    share = counts.astype(np.float32)
    scale = 1 / np.maximum(of_half, 1)[..., None, None].astype(np.float32)
    given_y = np.matmul(share, y.source[:, None]) * scale
    given_x = np.matmul(share.swapaxes(2, 3), x.source[:, None]) * scale
    given_y = np.matmul(x.target[:, None].swapaxes(2, 3), given_y)
    given_x = np.matmul(y.target[:, None].swapaxes(2, 3), given_x)
    n = of_x.sum(axis=1)
    return np.concatenate([given_y, given_x]), np.concatenate([n, n]), (x, y)


def _influences(
    counts: np.ndarray, influence: np.ndarray, sides: tuple[Curves, Curves]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over samples of their influence and of its square, (2 P,) each."""
    x, y = sides
    of_x, of_y = np.split(influence, 2)
    given_y = np.matmul(np.matmul(x.target[:, None], of_x), y.source[:, None].swapaxes(2, 3))
    given_x = np.matmul(x.source[:, None], np.matmul(y.target[:, None], of_y).swapaxes(2, 3))
    sums = [_weighted_sums(counts, values) for values in (given_y, given_x)]
    mean, square = (np.concatenate(v) for v in zip(*sums, strict=True))
    return mean, square


@njit(cache=True, fastmath=True)
def _weighted_sums(counts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) sums of counts times values and times their squares, of (P, 2, X, Y) each."""
    first, second = np.zeros(len(counts)), np.zeros(len(counts))
    for p in range(len(counts)):
        weight, value = counts[p].ravel(), values[p].ravel()
        a = b = np.float32(0.0)
        for k in range(len(weight)):
            product = np.float32(weight[k]) * value[k]
            a += product
            b += product * value[k]
        first[p], second[p] = a, b
    return first, second


def sound(c: Correction, n: np.ndarray) -> np.ndarray:
    """(S,) 1 where a correction is a fit, 0 where it is noise.

    One that loses as much on held-out samples as it claims is noise, and what claims more on held-out
    samples than across fits is no least-squares fit any more.
    """
    found: np.ndarray = (c.direct > -0.5 * c.cross) & (c.direct < 1.2 * c.cross + 3 / n)
    return found.astype(np.float64)


def estimates(
    c: Correction,
    n: np.ndarray,
    log_ratio: np.ndarray,
    optimism: np.ndarray,
    on: np.ndarray,
    influence: np.ndarray,
    square: np.ndarray,
) -> Found:
    """The reference's mean log ratio, left-out and without optimism, and the correction's share.

    Args:
        log_ratio, optimism: (S,) nats of the reference. on: (S,) what of the correction counts.
        influence, square: (S,) sums over samples of what each adds to the estimate, and its square.
    """
    mi = log_ratio + optimism + on * c.cross
    direct = log_ratio + on * c.direct
    scatter = np.maximum(square - influence**2 / n, 0.0) / (n - 1) / n
    # mi and the direct form differ by the squared distance of fits to other samples, and what
    # shrinkage hides is of that size
    fit_error = np.maximum(mi - direct, 1 / n)
    return Found(
        mi=shrunk(mi, _SCATTER / n),
        se=np.sqrt(scatter + fit_error**2),
        direct=direct,
        orthogonal=log_ratio + 2 * optimism + on * c.orthogonal,
        ess=np.ones_like(mi),
    )
