"""The law of the screen's statistic without ties and of many samples: a weighted sum of squared normals."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from mmg_ray.estimator.dependence.screen import WEIGHTS
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS

_POINTS, _ON_A_CONTOUR, _POLE = 161, 5, 0.05  # of the inversion of the generating function


@lru_cache(maxsize=4)
def limit_cumulant(order: int) -> np.ndarray:
    """(15, 15) cumulant 1, 2 or 3 of the limit, by the numbers of orders of both sides."""
    factor = {1: 1.0, 2: 2.0, 3: 8.0}[order]
    return factor * np.pad((WEIGHTS**order).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def limit_p(t: np.ndarray, k: int, m: int) -> np.ndarray:
    grid, log_tail = limit(k, m)
    slope = (log_tail[-1] - log_tail[-2]) / (grid[-1] - grid[-2])
    inside = np.interp(t, grid, log_tail)
    found: np.ndarray = np.exp(
        np.where(t > grid[-1], log_tail[-1] + slope * (t - grid[-1]), inside)
    )
    return found


def limit_statistic(p_value: np.ndarray, k: int, m: int) -> np.ndarray:
    """The t of which `limit_p` is this."""
    grid, log_tail = limit(k, m)
    slope = (log_tail[-1] - log_tail[-2]) / (grid[-1] - grid[-2])
    log_p = np.log(p_value)
    inside = np.interp(-log_p, -log_tail, grid)
    found: np.ndarray = np.where(
        log_p < log_tail[-1], grid[-1] + (log_p - log_tail[-1]) / slope, inside
    )
    return found


@cache
def limit(k: int = ORDERS, m: int = ORDERS) -> tuple[np.ndarray, np.ndarray]:
    """Log of P(sum_ab w_ab chi2_1 > t), a <= k and b <= m, on a grid of t, from the generating function.

    1 / (2 pi i) Int exp(K(s) - s t) / s ds through the saddle point c > 0 (Lugannani & Rice 1980). All
    singularities but that at 0 lie on the real axis right of 1/2, so the contour s = c + r (u^2 / 2 + i u) bends
    round them, where exp(-s t) falls off as a Gaussian: few points give ten digits down to 1e-40.
    """
    weights, times = np.unique(WEIGHTS[:k, :m][WEIGHTS[:k, :m] > 0], return_counts=True)
    grid = np.concatenate([np.linspace(0.0, 12.0, 61), np.geomspace(12.4, 200.0, 40)])
    t = grid[1:].reshape(-1, _ON_A_CONTOUR)  # neighbours share theirs
    middle = t[:, _ON_A_CONTOUR // 2]
    c = np.maximum(_saddle(weights, times, middle), 0.02)[:, None]
    r = np.minimum(2 / middle, 0.5)[:, None]
    # fine where c nears the poles at 0 and 1/2
    v = np.linspace(0.0, 1.0, _POINTS) * np.arcsinh(np.sqrt(80 / (t[:, :1] * r)) / _POLE)
    u = _POLE * np.sinh(v)
    s = c + r * (0.5 * u**2 + 1j * u)
    log_f = -np.log(s)
    for weight, n in zip(weights, times, strict=True):
        log_f -= 0.5 * n * np.log(1 - 2 * weight * s)
    step = r * (u + 1j) * _POLE * np.cosh(v) * v[:, 1:2]
    step[:, 0] *= 0.5
    peak = log_f[:, :1].real
    values = (np.exp(log_f - peak) * step)[:, None] * np.exp((c - s)[:, None] * t[:, :, None])
    log_tail = np.zeros_like(grid)
    log_tail[1:] = np.minimum(0.0, peak - c * t + np.log(values.imag.sum(axis=2) / np.pi)).ravel()
    return grid, log_tail


def _saddle(weights: np.ndarray, times: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Real s < 1/2 with d/ds log mgf = t (K,), by bisection; 0 below the mean."""
    low, high = np.zeros_like(t), np.full_like(t, 0.5)
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = (weights / (1 - 2 * np.outer(middle, weights))) @ times < t
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low
