"""Is a pair dependent, where ranks alone do not say: groups, time series, very few samples.

A null sets the samples of y against those of x in other ways, as likely as the given one if the two are
independent. All nulls here are one: samples, in blocks, are put in some order and y is shifted against x
by 1, 2, ... blocks, circularly.

- permutation: the order is random. Its shifts are a group, so the test is exact (Hemerik & Goeman 2018);
  further orders give further shifts.
- shift: the order is that of time. Both series keep their autocorrelation; they must be stationary.
- block: blocks of many correlation times, or trials, in random order.

The Fourier transform gives all shifts of an order at once, so that a thousand cost little more than ten.
Orders are drawn until the data are exceeded `ENOUGH` times or the budget is spent: permutations go to
contenders (Besag & Clifford 1991). p = (1 + b) / (1 + B), b of B shifts being at least as extreme.

The statistic of scalars is the screen's, of polynomials averaged over ties. That of vectors is the largest of three, each brought to a
normal scale by its moments over the shifts: squared canonical correlations, those of random smooth
functions of all coordinates together, and the screens of all pairs of coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmg_ray.config import NullConfig
from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Cost

ENOUGH = 10  # then p is known to a third
_SHIFTS = 1000  # of one order
_WAVES, _WIDTH, _MIXED = 64, 1.5, 8  # random functions, their scale, and how many are kept
_MOST = 64  # columns of a view
_GUARD = 4.0  # correlation times around lag 0 in which a shift is no null
_BLOCK = 10.0  # correlation times of a block
_LEAST_BLOCKS = 20
_CELLS = 2**22  # correlations held at once


class NullTest(NamedTuple):
    """What a null says of a pair.

    Attributes:
        p_value: (1 + b) / (1 + B); NaN where there is no room for any shift, or none is asked for.
        n_shifts: B.
        n_effective: of the n samples, how many independent ones would scatter as much.
        level, spread: mean and standard deviation of the statistic of scalars over the shifts, over those that
            independent samples have; 1 of vectors.
    """

    p_value: float
    n_shifts: int
    n_effective: float
    level: float = 1.0
    spread: float = 1.0


def test(a: RankedVariable, b: RankedVariable, cfg: NullConfig, seed: int) -> NullTest:
    """Test two variables over the same n samples; its stream is keyed by both names."""
    n_effective = effective_samples(a, b) if cfg.kind != "permutation" else float(a.n)
    if not cfg.max_permutations:
        return NullTest(np.nan, 0, n_effective)
    time = a.n / n_effective
    size = _block(a.n, time, cfg)
    length = a.n // size
    views = _scalar_views(a, b) if a.dim == b.dim == 1 else _vector_views(a, b, seed)
    apart = np.arange(length)
    if cfg.kind == "shift":
        lag = size * np.minimum(apart, length - apart)
        apart = apart[(lag == 0) | (lag >= _GUARD * time)]
    exceeded = total = 0
    seen = np.zeros(2)  # sums of the statistic and of its square
    if len(apart) > 1:
        rng = numpy_stream(seed, "null", *sorted((a.name, b.name)))
        for rows in _orders(a.n, size, cfg.kind, rng):
            t = _statistic(views, rows, size)[apart]
            exceeded += int((t[1:] >= t[0] - 1e-9 * abs(t[0])).sum())
            total += len(t) - 1
            seen += t[1:].sum(), (t[1:] ** 2).sum()
            if exceeded >= ENOUGH or total + len(t) - 1 > cfg.max_permutations:
                break
    if not total:
        return NullTest(np.nan, 0, n_effective)
    found = NullTest((1 + exceeded) / (1 + total), total, n_effective)
    if views.largest:
        return found
    mean, square = seen / total
    usual = [np.outer((x**2).mean(0), (y**2).mean(0)) for x, y in views.views]
    expected, scatter = sum(float(u.sum()) for u in usual), sum(float((u**2).sum()) for u in usual)
    return found._replace(
        level=float(mean / expected),
        spread=float(np.sqrt(max(square - mean**2, 0.0) / (2 * scatter))),
    )


def effective_samples(a: RankedVariable, b: RankedVariable) -> float:
    """n / (1 + 2 sum_k r_a(k) r_b(k)): what autocorrelation r leaves of n for their correlation.

    Bartlett (1935), of normal scores, a vector's r being the mean over its white coordinates; summed
    up to five times the sum (Sokal 1997), and never above n.
    """
    product = _autocorrelation(_white(a)) * _autocorrelation(_white(b))
    time = 1 + 2 * np.cumsum(product[1:])
    window = np.arange(1, len(product)) >= 5 * time
    stop = int(window.argmax()) if window.any() else len(time) - 1
    return a.n / float(np.clip(time[stop], 1.0, a.n / 2))


def _autocorrelation(x: np.ndarray) -> np.ndarray:
    """(n, p) -> (n // 2,) at lags 0, 1, ..., the mean over columns."""
    n = len(x)
    power = np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2
    r = np.fft.irfft(power.sum(1), 2 * n)[: max(n // 2, 2)]
    found: np.ndarray = r / r[0]
    return found


def _block(n: int, time: float, cfg: NullConfig) -> int:
    """Samples that are moved together: so many that there are no more shifts than asked for."""
    most = cfg.max_permutations if cfg.kind == "shift" else min(cfg.max_permutations, _SHIFTS)
    size = -(-n // (most + 1))
    if cfg.kind == "block":
        wanted = int(np.ceil(_BLOCK * time)) if cfg.block_samples is None else cfg.block_samples
        size = max(size, min(wanted, max(1, n // _LEAST_BLOCKS)))
    return size


def _orders(n: int, size: int, kind: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Orders of the samples, one block after the other; a rest smaller than a block is left out."""
    length = n // size
    if kind == "shift":
        yield np.arange(length * size)
    while kind != "shift":
        if kind == "block":
            yield (rng.permutation(length)[:, None] * size + np.arange(size)).ravel()
        else:
            yield rng.permutation(n)[: length * size]


# --- statistics

View = tuple[np.ndarray, np.ndarray]  # (n, K) of one side, (n, L) of the other


class _Views(NamedTuple):
    """Functions whose squared correlations are added up; with `largest`, the best of the sums counts."""

    views: list[View]
    largest: bool


def _scalar_views(a: RankedVariable, b: RankedVariable) -> _Views:
    (low_a, fast_a), (low_b, fast_b) = (_functions(side.codes[:, 0]) for side in (a, b))
    # sums as in the screen: the first orders with one another, fast waves with the first order
    views = [(low_a, low_b), (fast_a, low_b[:, :1]), (low_a[:, :1], fast_b)]
    return _Views(views, largest=False)


def _vector_views(a: RankedVariable, b: RankedVariable, seed: int) -> _Views:
    white = _white(a), _white(b)
    views = [white, (_mixed(white[0], a.name, seed), _mixed(white[1], b.name, seed))]
    if max(a.dim, b.dim) <= _MOST:
        views.append((_orders_of(a), _orders_of(b)))
    return _Views(views, largest=True)


def _white(side: RankedVariable) -> np.ndarray:
    """(n, K) normal scores rotated to uncorrelated coordinates of unit variance, the largest first."""
    return _principal(side.midrank_scores, _MOST)


def _mixed(white: np.ndarray, name: str, seed: int) -> np.ndarray:
    """(n, K) leading components of random waves over all coordinates (Rahimi & Recht 2007)."""
    waves = numpy_stream(seed, "waves", name).standard_normal((white.shape[1], _WAVES // 2))
    phase = white @ waves / (_WIDTH * np.sqrt(white.shape[1]))
    return _principal(np.concatenate([np.cos(phase), np.sin(phase)], axis=1), _MIXED)


def _orders_of(side: RankedVariable) -> np.ndarray:
    """(n, D K) rank polynomials of each coordinate, of as many degrees as there is room for."""
    degrees = max(1, _MOST // side.dim)
    return np.concatenate([_functions(codes)[0][:, :degrees] for codes in side.codes.T], axis=1)


def _functions(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5) and (n, 9) polynomials of the ranks of one variable, times the roots of their weights."""
    values = ranked(codes).at_samples()
    values = values / np.sqrt(np.arange(1, values.shape[1] + 1))
    return values[:, : screen.ORDER], values[:, screen.ORDER :]


def _principal(x: np.ndarray, most: int) -> np.ndarray:
    left, size, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    found: np.ndarray = left[:, size > 1e-4 * size[0]][:, :most] * np.sqrt(len(x))
    return found


def _statistic(of: _Views, rows: np.ndarray, size: int) -> np.ndarray:
    """(L,) at shifts of 0, 1, ... blocks."""
    sums = [_squared(x[rows], y[rows], size) for x, y in of.views]
    if not of.largest:
        total: np.ndarray = np.sum(sums, axis=0)
        return total
    return np.max([_normal(total) for total in sums], axis=0)


def _squared(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """(L,) n sum of squared correlations of (n, K) with (n, M), shifted by 0, 1, ... blocks."""
    n = len(x)
    length = n // size
    # (F, K, size) and (F, size, M): blocks are moved, the samples of a block stay together
    of_x, of_y = (np.fft.rfft(v.reshape(length, size, -1), axis=0) for v in (x, y))
    of_x, of_y = of_x.transpose(0, 2, 1), of_y.conj()
    piece = max(1, _CELLS // (length * y.shape[1]))
    total = np.zeros(length)
    for k in range(0, x.shape[1], piece):
        correlation = np.fft.irfft(of_x[:, k : k + piece] @ of_y, length, axis=0)
        total += np.einsum("lkm,lkm->l", correlation, correlation)
    return total / n


def _normal(t: np.ndarray) -> np.ndarray:
    """A sum of squares, (L,), on a normal scale: Wilson & Hilferty (1931), its moments as found."""
    mean, variance = t.mean(), t.var()
    if variance <= 1e-12 * mean**2:
        return np.zeros_like(t)
    spread = variance / (9 * mean**2)  # 2 / (9 degrees of freedom)
    found: np.ndarray = (np.cbrt(t / mean) - (1 - spread)) / np.sqrt(spread)
    return found


def cost(n_samples: int, dim_x: int, dim_y: int, cfg: NullConfig) -> Cost:
    """Projected cost of one pair, an independent one: the first order of shifts."""
    scalar = dim_x == dim_y == 1
    if cfg.max_permutations == 0 or (scalar and cfg.kind == "permutation"):
        return Cost(flops=0.0, peak_bytes=0.0)
    size = _block(n_samples, 1.0, cfg)
    length = n_samples // size
    widths = [min(_MOST, 6 * dim) for dim in (dim_x, dim_y)]
    cells = 52 if scalar else widths[0] * widths[1] + dim_x * dim_y + _MIXED**2
    flops = 8.0 * n_samples * cells + 5.0 * length * cells * np.log2(max(length, 2))
    return Cost(flops=flops, peak_bytes=16.0 * min(cells * length, _CELLS), host_s=1e-3)
