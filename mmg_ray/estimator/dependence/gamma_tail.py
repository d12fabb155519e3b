"""Gamma tails (Pearson III): p-values corrected by the exact variance and skewness of a statistic."""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln, ndtri

from mmg_ray.estimator.dependence.limit_law import limit_cumulant

SMALLEST = 1e-300


def gamma_ratio(
    t: np.ndarray,
    k: np.ndarray,
    m: np.ndarray,
    inflation: np.ndarray,
) -> np.ndarray:
    """Tail of a gamma law with the moments of T over that of one with the moments of the limit.

    Of a squared sum Z^2 whose inflation comes from the fourth cumulant of Z, the third cumulant inflates as
    1 + 3 (inflation - 1); 2.4 for 3 is what simulated margins have, and more where little is summed up.
    """
    mean, var, third = (limit_cumulant(order)[k, m] for order in (1, 2, 3))
    inflation = np.maximum(inflation, 0.7)
    slope = 2.4 + np.clip(0.3 * (inflation - 1.5), 0.0, 0.6)
    tails = [
        log_gamma_tail((t - mean) / np.sqrt(v), c / v**1.5)
        for v, c in ((var * inflation, third * (1 + slope * (inflation - 1))), (var, third))
    ]
    found: np.ndarray = np.exp(np.clip(tails[0] - tails[1], -50.0, 650.0))
    return found


def skewed(p_value: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """The same where the leading moment S_11 has a skewness: in far tails T is its square.

    Both tails of a gamma law of that skewness stand for both tails of the normal one.
    """
    z = -ndtri(0.5 * p_value)
    skewness = np.maximum(np.abs(skewness), 1e-3)
    shape = 4 / skewness**2
    with np.errstate(divide="ignore"):
        below = np.log(gammainc(shape, np.maximum(shape - z * np.sqrt(shape), 0.0)))
    both = np.logaddexp(log_gamma_tail(z, skewness), below)
    found: np.ndarray = np.clip(np.exp(both), SMALLEST, 1.0)
    return found


def log_gamma_tail(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Log of P(Z > z) of a standardised gamma law of this skewness > 0."""
    shape = 4 / skewness**2
    x = np.maximum(shape + z * np.sqrt(shape), 1e-12)
    with np.errstate(divide="ignore"):
        near = np.log(gammaincc(shape, x))
    far = (shape - 1) * np.log(x) - x - gammaln(shape)
    return np.where(near > -600, near, far)
