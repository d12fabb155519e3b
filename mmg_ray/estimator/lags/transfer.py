"""Transfer entropy of two series of events: what the past of one says of the other that its own past does not.

T(x -> y) = I(Y_t; X_(t - lag) | Y_(t - own)), from one table of counts in each stratum of y's past. The test is of the
sum over strata of products of both counts (Mantel 1963): given all margins its mean and variance are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from mmg_ray.estimator.dependence import contingency, permutation_law
from mmg_ray.estimator.lags import kernels
from mmg_ray.estimator.lags.series import Series

_LEVELS = 4  # of counts: 0, 1, 2, and more
_OF_PAST = 3  # at each of the lags of the past: 0, 1, and more
_MOST_STRATA = 243


class Transfer(NamedTuple):
    """Nats at the best lag, its p-value times how many were tried."""

    mi_nats: float
    p_value: float


def transfer(x: Series, y: Series, lags: Sequence[int], own: Sequence[int]) -> Transfer:
    """From x to y, series of events over the same segments."""
    used = np.array(own[: int(np.log(_MOST_STRATA) / np.log(_OF_PAST))], dtype=np.int64)
    target, source, past = _capped(y, _LEVELS), _capped(x, _LEVELS), _capped(y, _OF_PAST)
    tables = kernels.strata_tables(
        target, source, past, x.starts, np.array(lags, dtype=np.int64), used, _LEVELS, _OF_PAST
    )
    z, skewness = _mantel(tables)
    best = int(np.abs(z).argmax())
    p = permutation_law.skewed(
        np.clip(2 * ndtr(-np.abs(z[best : best + 1])), 1e-300, 1.0), skewness[best : best + 1]
    )
    filled = tables[best : best + 1]
    mi = contingency.from_tables(filled[:, filled[0].sum(axis=(1, 2)) > 0]).mi
    return Transfer(float(mi[0]), float(min(1.0, p[0] * len(lags))))


def _capped(x: Series, n_levels: int) -> np.ndarray:
    """(N,) uint8 order of the values, the largest ones together; `n_levels` where missing."""
    order = np.argsort(np.argsort(x.value))
    place = np.append(np.minimum(order, n_levels - 1), n_levels).astype(np.uint8)
    found: np.ndarray = place[x.levels()]
    return found


def _mantel(tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, C, A, B) -> (P,) z of the sum of products of both levels over strata, and its skewness if events are few."""
    n = tables.sum(axis=(2, 3)).astype(float)
    a, b = np.arange(tables.shape[2]), np.arange(tables.shape[3])
    of_a, of_b = tables.sum(axis=3), tables.sum(axis=2)
    mean_a, mean_b = ((of @ v) / np.maximum(n, 1) for of, v in ((of_a, a), (of_b, b)))
    var_a, var_b = (
        (of @ v**2) - np.maximum(n, 1) * mean**2
        for of, v, mean in ((of_a, a, mean_a), (of_b, b, mean_b))
    )
    products = np.einsum("pcab,a,b->pc", tables, a, b)
    expected = n * mean_a * mean_b
    variance = (var_a * var_b / np.maximum(n - 1, 1)).sum(axis=1)
    z = (products - expected).sum(axis=1) / np.sqrt(np.maximum(variance, 1e-300))
    return np.where(variance > 0, z, 0.0), 1 / np.sqrt(np.maximum(expected.sum(axis=1), 0.5))
