"""What sums of products at lags are when two series do not depend: means, variances, and the law of the largest.

- `shift`: either series keeps its own memory. Means in blocks of the recording are taken out, and variances in blocks
  compared, so that drift is no dependence; the variance of a sum is that of Bartlett (1946), n sum over lags h of R_a(h) R_b(h), R the autocovariances.
- `trial`: trials are paired anew. The mean over trials at each time is taken out, which is what both owe to the
  beginning of a trial; the variance is that of the sums of single trials.
- `jitter`: events are anywhere in windows of a fixed width (Amarasingham et al. 2012), so what is slower than the
  windows is no dependence. Mean and variance of coincidences are exact up to two events of a window being
  apart, and the average of jittering one series and the other.

The largest over lags: z at neighbouring lags have correlation r, and by the bound of Hunter (1976)
P(any |z| > u) <= P(|z| > u) + (L - 1) 2 P(z_1 < u < z_2), which is near it for what remembers itself
for longer than a sample, and L P(|z| > u) where r is 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtri, owens_t

from mmg_ray.estimator.dependence import permutation_law
from mmg_ray.estimator.lags import kernels
from mmg_ray.estimator.lags.moments import Lagged
from mmg_ray.estimator.lags.series import Series

_LEAST_VARIANCE = (
    0.1  # of that of independent samples: where a memory's estimate would leave nothing
)
_STEPS = 60  # of a bisection


class Null(NamedTuple):
    """Of a pair: sums have this mean and this standard deviation, (L, K, M) or what broadcasts to it.

    Attributes:
        neighbours: correlation of z at one lag and at the next. skewness: of the first sum.
        inflation: variance of the first sum over that of independent samples.
    """

    mean: np.ndarray
    sd: np.ndarray
    neighbours: float
    skewness: float
    inflation: float


def shift(x: Series, y: Series, most: int, n: np.ndarray) -> Null:
    """Of two series that keep their memory, (L,) samples that have both at each lag.

    Series that miss the same samples have more of them together than two that miss as many each on their own.
    """
    of_x, of_y = x.blocks(most), y.blocks(most)
    share = of_x.length / x.n
    slow = (of_x.means * share[:, None]).T @ of_y.means
    # of rates that drift alike, most scatter is where both are high
    alike = share @ (of_x.variance * of_y.variance)
    alike /= max((share @ of_x.variance) * (share @ of_y.variance), 1e-300)
    a, b = x.autocovariance(most), y.autocovariance(most)
    taper = 1 - np.arange(a.shape[1]) / x.n
    products = np.einsum("kh,mh,h->kmh", a, b, taper)
    variance = products[..., 0] + 2 * products[..., 1:].sum(-1)
    alone = np.outer(a[:, 0], b[:, 0])
    variance = np.maximum(variance, _LEAST_VARIANCE * alone) * alike
    # sums over all h of R_x(h) R_y(h + 1), both even; higher orders forget sooner
    next_to = a[:, :-1] @ b[:, 1:].T + a[:, 1:] @ b[:, :-1].T
    correlation = np.clip(next_to * alike / variance, 0.0, 0.9999)
    neighbours = float(np.average(correlation, weights=_weights(*correlation.shape) ** 2))
    # samples that a lag has, over what the blocks say; 1 where none is missing
    n_effective = n * (x.n / max(of_x.length @ (of_x.present * of_y.present), 1e-300))
    skewness = x.skewness * y.skewness / np.sqrt(x.n)
    inflation = float(variance[0, 0] / max(alone[0, 0], 1e-300))
    sd = np.sqrt(np.maximum(variance * n_effective[:, None, None], 1e-12))
    return Null(slow * n_effective[:, None, None], sd, neighbours, skewness, inflation)


def jitter(x: Series, y: Series, most: int, width: int) -> Null:
    """Of two series of events that are anywhere in their windows; the counts themselves are looked at."""
    of_x, of_y = (
        kernels.window_counts(*_events(a), a.missing_at, *_events(b), x.starts, width, most)
        for a, b in ((x, y), (y, x))
    )
    mean, variance = (0.5 * (a + b[::-1]) for a, b in zip(of_x, of_y, strict=True))
    sd = np.sqrt(np.maximum(variance, 1e-12))
    # coincidences are few of many chances
    skewness = float(np.mean(1 / np.sqrt(np.maximum(mean, 0.5))))
    return Null(mean[:, None, None], sd[:, None, None], 0.0, skewness, 1.0)


def trial(x: Series, y: Series, most: int) -> tuple[np.ndarray, Null]:
    """(L, K, M) sums less what both owe to the time in the trial, and their null; trials are of one length."""
    n_trials = len(x.starts) - 1
    a, b = (s.values().reshape(len(s.functions.T), n_trials, -1) for s in (x, y))
    a, b = (_less_mean(v, s.present().reshape(n_trials, -1)) for v, s in ((a, x), (b, y)))
    length = a.shape[2]
    sums = np.empty((2 * most + 1, len(a), len(b)))
    square = np.empty_like(sums)
    for k, lag in enumerate(range(-most, most + 1)):
        left = a[:, :, max(0, -lag) : length - max(0, lag)]
        right = b[:, :, max(0, lag) : length - max(0, -lag)]
        each = np.einsum("kst,mst->kms", left, right)
        sums[k], square[k] = each.sum(-1), np.square(each).sum(-1)
    # as many degrees of freedom as trials less one
    sd = np.sqrt(np.maximum(square.mean(axis=0) * n_trials / (n_trials - 1), 1e-12))
    r_x, r_y = (_within(v[0], most) for v in (a, b))
    total = r_x[0] * r_y[0] + 2 * (r_x[1:] @ r_y[1:])
    next_to = r_x[:-1] @ r_y[1:] + r_x[1:] @ r_y[:-1]
    neighbours = float(np.clip(next_to / max(total, 1e-300), 0.0, 0.9999))
    alone = r_x[0] * r_y[0] / x.n
    skewness = x.skewness * y.skewness / np.sqrt(x.n)
    return sums, Null(
        np.zeros(1), sd, neighbours, skewness, float(sd[0, 0] ** 2 / max(alone, 1e-300))
    )


def _less_mean(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(K, M, B) trials less their mean at each time, over (M, B) samples present; 0 elsewhere."""
    mean = values.sum(axis=1) / np.maximum(present.sum(axis=0), 1)
    return (values - mean[:, None]) * present


def _within(values: np.ndarray, most: int) -> np.ndarray:
    """(H + 1,) sums of products of (M, B) trials with themselves, H lags later at most."""
    reach = min(20 * most, values.shape[1] - 1)
    n_fft = 2 * values.shape[1]
    spectrum = (np.abs(np.fft.rfft(values, n_fft, axis=1)) ** 2).sum(axis=0)
    found: np.ndarray = np.fft.irfft(spectrum, n_fft)[: reach + 1]
    return found


def _events(x: Series) -> tuple[np.ndarray, np.ndarray]:
    """Samples that are not missing and not at the commonest value, and their counts."""
    there = x.level < len(x.size)
    return x.at[there], x.value[x.level[there]].astype(np.int64)


def coincidence_counts(found: Lagged, x: Series, y: Series) -> np.ndarray:
    """(L,) sums of the products of both counts."""
    assert found.tables is not None
    counts: np.ndarray = np.einsum("lxy,x,y->l", found.tables, x.value, y.value)
    return counts.astype(np.float64)


# --- p-values


def at_lags(sums: np.ndarray, null: Null) -> tuple[np.ndarray, np.ndarray]:
    """(L,) sums of weighted squares of z, whose weights are 1 / (a b) for degrees a, b, and their p-values.

    Far out p-values are all alike, and only the sums say which lag has the largest.
    """
    z = (sums - null.mean) / null.sd
    k, m = z.shape[1:]
    t = np.einsum("lab,ab->l", z**2, _weights(k, m))
    p = permutation_law.limit_p(t, min(k, m), max(k, m))
    p = permutation_law.skewed(np.clip(p, 1e-300, 1.0), np.full(len(t), null.skewness))
    return t, p


def _weights(k: int, m: int) -> np.ndarray:
    return 1 / np.outer(np.arange(1, k + 1), np.arange(1, m + 1))


def of_largest(p_value: float, n_lags: int, neighbours: float) -> float:
    """p-value of the least of p-values at so many lags."""
    u = -ndtri(0.5 * min(p_value, 1 - 1e-12))
    if u > 37:  # where the tails leave double precision
        return float(min(1.0, n_lags * p_value))
    rises = 4 * owens_t(u, np.sqrt((1 - neighbours) / (1 + neighbours)))
    # none above at the first lag, and then no rise above: p itself of lags that are all alike
    none = np.log1p(-min(p_value, 1 - 1e-12)) - (n_lags - 1) * rises
    return float(np.clip(-np.expm1(none), 1e-300, 1.0))


@lru_cache(maxsize=1024)
def band(n_lags: int, neighbours: float, level: float) -> float:
    """|z| that the largest of so many exceeds with this probability."""
    low, high = 0.0, 40.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        p = 2 * np.exp(log_ndtr(-middle))
        low, high = (middle, high) if of_largest(p, n_lags, neighbours) > level else (low, middle)
    return high
