"""The spline denoiser of scalar pairs: closed form, deterministic, no noise drawn, no gradient steps.

direct     the correction alone, in the normal scores of the target: weak and moderate smooth pairs
warped     location, scale and shape first, then the correction in the residual: any pair

Either is a cross-fitted MMG estimate, see `warp` and `correction`, made from a pair's tables of counts
(see `counts`) at a cost that does not grow with samples, or from samples where tables are too coarse. In
the residual the noise levels follow the pair: noise of one size there is small where x is well known and
large where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmg_ray.estimator.pairs.counts import margins
from mmg_ray.estimator.pairs.estimates import BothWays, Found
from mmg_ray.estimator.pairs.tables import Samples
from mmg_ray.estimator.tiers.spline import basis
from mmg_ray.estimator.tiers.spline import direct as plain
from mmg_ray.estimator.tiers.spline.basis import NoiseLevels, Shape, Tables, adapted_levels, tables
from mmg_ray.estimator.tiers.spline.correction import Correction, correct
from mmg_ray.estimator.tiers.spline.direct import direct
from mmg_ray.estimator.tiers.spline.entries import Entries, entries, entries_of_samples, joined
from mmg_ray.estimator.tiers.spline.entry_sums import influence_sums, level_sums, moments
from mmg_ray.estimator.tiers.spline.points import points
from mmg_ray.estimator.tiers.spline.warp import Warp, n_knots, warp
from mmg_ray.schema import Cost

__all__ = ["STRONG_NATS", "direct", "gap_curve", "warped", "warped_samples"]

STRONG_NATS = 2.0  # from which levels are too coarse to show how close a pair is
_RESIDUAL, _RESIDUAL_LEVELS = Shape(8, 8, 40), 4
_FINE = Shape(12, 12, 90)
_FINE_PENALTIES = (10**-5.5, 10**-4.5, 10**-3.5, 10**-2.5)
_FINE_SAMPLES = 2000  # of fewer they find no more
_LARGE = 0.02  # nats of correction above which finer functions may find more
_WARPED_SAMPLES = 30  # below it a curve on knots goes through every sample
_FLAT = 0.05  # variance of m(y) below which it is not tried as a coordinate


def warped(counts: np.ndarray, worth: np.ndarray | None = None) -> BothWays:
    """MI of P scalar pairs: (P, 2, X, Y) counts of each half over the levels of x and y, `worth` as of `direct`."""
    worth = np.ones(len(counts)) if worth is None else worth
    return BothWays.concatenate(
        [_warped(counts[part], worth[part]) for part in plain.parts(len(counts))]
    )


def warped_samples(samples: Sequence[Samples], worth: np.ndarray | None = None) -> BothWays:
    """MI of P strong scalar pairs from samples: every value a level of its own."""
    worth = np.ones(len(samples)) if worth is None else worth
    return BothWays.concatenate(
        [_warped_samples(samples[part], worth[part]) for part in plain.parts(len(samples))]
    )


def _warped_samples(samples: Sequence[Samples], worth: np.ndarray) -> BothWays:
    """Some pairs, all of like numbers of values; so strong that the correction alone is no match."""
    both = [*samples, *(Samples(of.y, of.x, of.half) for of in samples)]
    e = joined([entries_of_samples(of.x, of.y, of.half) for of in both])
    return BothWays.split(_in_residuals(e.counting(np.tile(worth, 2))))


def _warped(counts: np.ndarray, worth: np.ndarray) -> BothWays:
    simple = plain.both_directions(counts, worth)
    e = _entries(counts).counting(np.tile(worth, 2))
    return BothWays.split(_better(simple, _in_residuals(e), e.n))


def _entries(counts: np.ndarray) -> Entries:
    """Both directions of P pairs, x given y of all first."""
    of_x, of_y, _ = margins(counts)
    sides = []
    for size in (of_x, of_y):
        distinct, index = plain.distinct_rows(size)
        sides.append((points(distinct), index, plain.middle_scores(distinct)[index]))
    (points_x, index_x, score_x), (points_y, index_y, score_y) = sides
    return joined(
        [
            entries(counts, points_x, index_x, score_y, swapped=False),
            entries(counts, points_y, index_y, score_x, swapped=True),
        ]
    )


def _better(simple: Found, warped: Found, n: np.ndarray) -> Found:
    """Whichever of the two is better on held-out samples."""
    ahead = (simple.direct > warped.direct) | (n < _WARPED_SAMPLES)
    return Found(*(np.where(ahead, a, b) for a, b in zip(simple, warped, strict=True)))


def _in_residuals(e: Entries) -> Found:
    """Warped estimates of directions, those with like numbers of knots together."""
    there = np.diff(e.start, axis=1) > 0
    knots = np.array(
        [n_knots(n, k) for n, k in zip(e.n.tolist(), there.sum(axis=1).tolist(), strict=True)]
    )
    parts, order = [], []
    for count in np.unique(knots).tolist():
        rows = np.flatnonzero(knots == count)
        parts.append(_of_knots(e.select(rows), count))
        order.append(rows)
    back = np.argsort(np.concatenate(order))
    return Found(*(np.concatenate(values)[back] for values in zip(*parts, strict=True)))


def _of_knots(e: Entries, knots: int) -> Found:
    """The best on held-out samples of three corrections of a warp.

    The second coordinate of a correction is y or, where x follows a curve of y, that curve: a residual
    then depends on the place along it. A large correction is done again with finer functions.
    """
    w = warp(e, knots)
    t = tables(_RESIDUAL, adapted_levels(_RESIDUAL_LEVELS))
    score = e.y.copy()
    best = _correct(e, w.row, t.curves, _lookups(t, score), w.samples, t)
    samples = w.samples.sum(axis=0)
    explained = (samples * w.location**2).sum(axis=1) / e.n
    follows = np.flatnonzero(explained > _FLAT)
    if len(follows):
        location = _standard(w.location[follows], samples[follows])
        again = _correct(
            e.select(follows), w.row, t.curves, _lookups(t, location), w.samples[:, follows], t
        )
        ahead = again.direct > best.direct[follows]
        best = _put(best, again, follows, ahead)
        score[follows[ahead]] = location[ahead]
    found = _found(e, best, w.row, t.curves, _lookups(t, score), w.log_ratio, w.optimism)
    large = np.flatnonzero((best.cross > _LARGE) & (e.n >= _FINE_SAMPLES))
    if len(large):
        t = tables(_FINE, adapted_levels(_RESIDUAL_LEVELS))
        some, lookups = e.select(large), _lookups(t, score[large])
        finer = _correct(some, w.row, t.curves, lookups, w.samples[:, large], t, _FINE_PENALTIES)
        noise = finer.cross - finer.direct  # 1/2 Int E (f_1 - f_2)^2 / 2
        holds = (finer.direct > best.direct[large]) & (noise < best.cross[large])
        fine = _found(some, finer, w.row, t.curves, lookups, w.log_ratio, w.optimism[large])
        for values, new in zip(found, fine, strict=True):
            values[large[holds]] = new[holds]
    return found


def _lookups(t: Tables, score: np.ndarray) -> np.ndarray:
    """(S, Y, Q) at scores (S, Y)."""
    found: np.ndarray = t.lookups[basis.row(score)]
    return found


def _correct(
    e: Entries,
    row: np.ndarray,
    curves: np.ndarray,
    lookups: np.ndarray,
    samples: np.ndarray,
    t: Tables,
    penalties: tuple[float, ...] = plain.PENALTIES,
) -> Correction:
    """The correction of S directions.

    Args:
        row: (M,) which of the curves (rows, J) is that of each entry. lookups: (S, Y, Q).
        samples: (2, S, Y) of each half at each level of y.
    """
    sums = moments(e.start, row, e.weight, curves)
    n = np.maximum(samples.sum(axis=2).T, 1)[..., None, None].astype(np.float32)
    s = np.matmul(sums.swapaxes(2, 3), lookups[:, None]) / n
    return correct(s, e.n, t, penalties, plain.LIGHTER)


def _found(
    e: Entries,
    c: Correction,
    row: np.ndarray,
    curves: np.ndarray,
    lookups: np.ndarray,
    log_ratio: np.ndarray,
    optimism: np.ndarray,
) -> Found:
    """Estimates of S directions: the reference's log ratio (M,) and the correction to it."""
    on = plain.sound(c, e.n)
    of_level = np.matmul(lookups[:, None], c.influence.swapaxes(2, 3))
    of_level *= on[:, None, None, None].astype(np.float32)
    sums = influence_sums(e.start, row, e.weight, log_ratio, curves, of_level)
    left_out = level_sums(e.start, log_ratio, log_ratio, e.weight)[2].sum(axis=1) / e.n
    return plain.estimates(c, e.n, left_out, optimism, on, *sums)


def _put(all_of: Correction, some: Correction, rows: np.ndarray, where: np.ndarray) -> Correction:
    """The corrections of all directions, those of `rows` replaced where it says so."""
    found = []
    for a, b in zip(all_of, some, strict=True):
        a[rows[where]] = b[where]
        found.append(a)
    return Correction(*found)


def _standard(values: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(S, Y) with zero mean and unit mean square over the (S, Y) samples."""
    n = samples.sum(axis=1, keepdims=True)
    centred = values - (samples * values).sum(axis=1, keepdims=True) / n
    square = (samples * centred**2).sum(axis=1, keepdims=True) / n
    found: np.ndarray = centred / np.sqrt(np.maximum(square, 1e-12))
    return found


def gap_curve(counts: np.ndarray, logsnr: np.ndarray) -> np.ndarray:
    """Gap in denoising error, E|eps - eps_hat(z)|^2 - E|eps - eps_hat(z, y)|^2, of x given y.

    Args:
        counts: (1, 2, X, Y) of one pair. logsnr: (K,) noise levels of the target's normal score.

    Returns:
        (K,), the larger of two held-out gaps at each level, each at most the MMSE gap but for
        noise: of smooth functions of z and y, and of the best denoiser of location and scale alone.
    """
    t = tables(_RESIDUAL, NoiseLevels(tuple(logsnr.tolist()), (1.0,) * len(logsnr)))
    s, n, _ = plain.moments(counts, t)
    smooth = correct(s[:1], n[:1], t, plain.PENALTIES, plain.LIGHTER).held_out[0]
    e = _entries(counts).select(np.arange(1))
    w = warp(e, n_knots(int(e.n[0]), int((np.diff(e.start) > 0).sum())))
    alpha2 = 1 / (1 + np.exp(-logsnr))
    found: np.ndarray = alpha2 * np.maximum(smooth, _location_scale_gap(e, w, alpha2))
    return found


def _location_scale_gap(e: Entries, w: Warp, alpha2: np.ndarray) -> np.ndarray:
    """(K,) E[2 w f - f^2] of the Wiener denoiser f = a z + b of x | y ~ N(m, v), left out."""
    chosen = e.of(0)
    x, residual, v = (
        u[chosen, None].astype(np.float64) for u in (e.x, w.residual, np.exp(w.log_v))
    )
    mean = x - residual * np.sqrt(v)
    alpha, sigma = np.sqrt(alpha2), np.sqrt(1 - alpha2)
    a = sigma / alpha * (1 / (alpha2 * v + sigma**2) - 1)
    b = -sigma * mean / (alpha2 * v + sigma**2)
    at = a * alpha * x + b  # f without noise
    gap = 2 * (alpha * sigma * a - sigma * x * at) - at**2 - (a * sigma) ** 2
    found: np.ndarray = np.average(gap, axis=0, weights=e.weight[chosen].sum(axis=1))
    return found


def cost(n_samples: int, n_neighbour_samples: int) -> Cost:
    """Projected cost of one warped pair with its neighbours, and of tables until they are full."""
    flops = 2.5e7 + 2.1e4 * min(n_samples, n_neighbour_samples) + 2e3 * min(n_samples, 50_000)
    return Cost(flops=flops, peak_bytes=1e6 + 20.0 * n_samples)
