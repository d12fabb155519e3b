"""What sums of products at lags are when two series do not depend: means, variances, and the law of the largest.

- `shift`: either series keeps its own memory. Means in blocks of the recording are taken out, and variances in blocks
  compared, so that drift is no dependence; the variance of a sum is that of Bartlett (1946), n sum over lags h of R_a(h) R_b(h), R the autocovariances.
- `trial`: trials are paired anew. The mean over trials at each time is taken out, which is what both owe to the
  beginning of a trial; the variance is that of the sums of single trials (`segments`).
- `block`: blocks of one series are paired anew with those of the other, of ten correlation times and more. Their means
  are taken out, so that what is slower than a block is no dependence; the variance is that of the sums of
  single blocks, so that nothing else need stay the same over the recording.
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
from mmg_ray.estimator.lags import kernels, segments
from mmg_ray.estimator.lags.moments import Lagged
from mmg_ray.estimator.lags.series import Series, cut

_LEAST_VARIANCE = (
    0.1  # of that of independent samples: where a memory's estimate would leave nothing
)
_STEPS = 60  # of a bisection


class Null(NamedTuple):
    """Of a pair: sums have this mean and this standard deviation, (L, K, M) or what broadcasts to it.

    Attributes:
        neighbours: correlation of z at one lag and at the next. skewness: of the first sum.
        inflation: variance of the first sum over that of independent samples.
        freedom: degrees of freedom of the standard deviation, where that is found from few segments.
    """

    mean: np.ndarray
    sd: np.ndarray
    neighbours: float
    skewness: float
    inflation: float
    freedom: np.ndarray | float = np.inf

    def normal(self, sums: np.ndarray) -> np.ndarray:
        """Sums as normal variables: Student's t by Wallace (1959), which holds in far tails, too."""
        t = (sums - self.mean) / self.sd
        if not np.isfinite(self.freedom).all():
            return t
        size = np.sqrt(self.freedom * np.log1p(t**2 / self.freedom))
        return np.sign(t) * size * _wallace(self.freedom)

    def sum_of(self, z: float) -> float:
        """What the first sum is away from its mean where it is `z` as a normal variable."""
        sd, freedom = np.ravel(self.sd)[0], np.ravel(self.freedom)[0]
        if np.isfinite(freedom):
            z = np.sqrt(freedom * np.expm1((z / _wallace(freedom)) ** 2 / freedom))
        return float(z * sd)


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
    return _of_segments(segments.of_trials(x, y, most))


def block(x: Series, y: Series, most: int) -> tuple[np.ndarray, Null]:
    """(L, K, M) sums within blocks less their means, and their null; blocks are longer than both remember."""
    memory = float(np.sqrt(x.correlation_time(most) * y.correlation_time(most)))
    edges = cut(x.starts, segments.block_length(x.starts, memory, most))
    return _of_segments(segments.of_blocks(x, y, most, edges))


def _of_segments(found: segments.Scatter) -> tuple[np.ndarray, Null]:
    sd = np.sqrt(found.variance)
    null = Null(np.zeros(1), sd, found.neighbours, found.skewness, found.inflation, found.freedom)
    return found.sums, null


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
    z = null.normal(sums)
    k, m = z.shape[1:]
    t = np.einsum("lab,ab->l", z**2, _weights(k, m))
    p = permutation_law.limit_p(t, min(k, m), max(k, m))
    p = permutation_law.skewed(np.clip(p, 1e-300, 1.0), np.full(len(t), null.skewness))
    return t, p


def _wallace(freedom: np.ndarray | float) -> np.ndarray | float:
    return (8 * freedom + 1) / (8 * freedom + 3)


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
