"""Which comes first: the lag at which a pair depends most, its significance, and transfer entropy.

A lag is positive where x leads y: x at t goes with y at t + lag. The strength at a lag,

    T(lag) = sum_ab (sum_t f_a(x_t) g_b(y_(t + lag)))^2 / (a b n_lag),

takes rank polynomials f, g of degree 1..4 averaged over ties, 0 where a value is missing, over the n_lag
samples that have both. One Fourier transform gives it at every lag. Given a condition, f and g are
what it leaves of them at their own times, see `functions`. The test is of the largest T within
the lags asked for, so that looking at many costs nothing: the same is taken of series that are turned
against one another by more than that (continuous recordings), or of trials that are paired anew, which
leaves each its own autocorrelation and its response to the trial's beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmg_ray.api import estimate_mi, transfer_entropy
from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoother, label_codes
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import PairEstimate

_DEGREES = 4
_SHIFTS = 1000  # of trials
_LEAST_SCALE = 0.3  # of the mean square: where little is left, rare events would weigh too much

Known = Mapping[str, np.ndarray]  # conditions, (M, B) numbers or labels each


class Scan(NamedTuple):
    """What lags say of a pair.

    Attributes:
        lags: (L,) bins, from -most to most. strength: (L,) T.
        peak: the lag of the largest T. p_value: of that, for independent series.
    """

    lags: np.ndarray
    strength: np.ndarray
    peak: int
    p_value: float


class Functions(NamedTuple):
    """What a scan needs of a variable: made once, used in all its pairs.

    Attributes:
        values: (M, P, K) rank polynomials over their roots of degree, 0 where missing and in the
            padding. present: (M, P). wave, known: their Fourier transforms over all M P.
    """

    values: np.ndarray
    present: np.ndarray
    wave: np.ndarray
    known: np.ndarray


def condition_of(known: Known) -> Condition:
    """Numbers have an order, anything else are labels."""
    flat = [values.ravel() for values in known.values()]
    numbers = [marginals.ordinal_codes(v.astype(float)) for v in flat if v.dtype.kind in "iuf"]
    labels = [label_codes(v) for v in flat if v.dtype.kind not in "iuf"]
    return Condition.of(", ".join(known), flat[0].size, numbers, labels)


def functions(
    x: np.ndarray, most: int, condition: Condition | None = None, seed: int = 0
) -> Functions:
    """Of (M, B) values of one variable, for scans up to `most` bins either way.

    Given a condition, each function loses the mean and the scale that go with it: series of a
    common scale would depend beside ones that are turned or paired anew, if only in their squares.
    """
    n_segments, n_bins = x.shape
    codes = marginals.ordinal_codes(x.ravel())
    has = codes != marginals.MISSING
    if condition is not None:
        has &= condition.present
    degrees = np.arange(1, _DEGREES + 1)
    values = np.zeros((n_segments * n_bins, _DEGREES))
    if has.any():
        values[has] = ranked(codes[has]).at_samples()[:, :_DEGREES] / np.sqrt(degrees)
    if condition is not None and has.any():
        smooth = Smoother(condition.at(has), seed)
        rest = values[has] - smooth(values[has])[0]
        square = rest**2
        scale = np.maximum(smooth(square)[0], _LEAST_SCALE * square.mean(axis=0) + 1e-300)
        values[has] = rest / np.sqrt(scale * degrees)
    padding = ((0, 0), (0, most), (0, 0))  # no lag then reaches into the next segment
    padded = np.pad(values.reshape(n_segments, n_bins, -1), padding)
    present = np.pad(has.reshape(n_segments, n_bins), padding[:2]).astype(float)
    flat = padded.reshape(-1, _DEGREES)
    return Functions(padded, present, np.fft.rfft(flat, axis=0), np.fft.rfft(present.ravel()))


def scan(x: Functions, y: Functions, most: int, seed: int = 0) -> Scan:
    """All lags up to `most` bins either way. ConfigError where they leave no room for a null."""
    n_segments, length = x.present.shape
    every = np.arange(-most, most + 1)
    t = _strength(x, y)
    at = t[every]
    centres = (
        np.arange(2 * most + 1, len(t) - 2 * most)
        if n_segments == 1
        else length * np.arange(1, n_segments)
    )
    if n_segments == 1 and len(centres) < 2 * len(every):
        raise ConfigError(
            f"lags of up to {most} bins either way are too many for a series of {length - most}; lower "
            "lags.max_s"
        )
    null = [_largest(t, centres, most)]
    if n_segments == 1:
        p = _gumbel(at.max(), null[0], len(centres) / len(every))
        return Scan(every, at, int(every[at.argmax()]), p)
    rng = numpy_stream(seed, "trials")
    for _ in range(max(0, -(-_SHIFTS // n_segments) - 1)):
        order = rng.permutation(n_segments)
        again = y._replace(
            wave=np.fft.rfft(y.values[order].reshape(-1, _DEGREES), axis=0),
            known=np.fft.rfft(y.present[order].ravel()),
        )
        null.append(_largest(_strength(x, again), length * np.arange(n_segments), most))
    others = np.concatenate(null)
    p = (1 + int((others >= at.max() * (1 - 1e-9)).sum())) / (1 + len(others))
    return Scan(every, at, int(every[at.argmax()]), p)


def _strength(x: Functions, y: Functions) -> np.ndarray:
    """(M P,) T at every shift of y against x, the last being -1."""
    total = x.present.size
    n = np.fft.irfft(x.known.conj() * y.known, total)
    sums = np.fft.irfft(x.wave.conj()[:, :, None] * y.wave[:, None, :], total, axis=0)
    found: np.ndarray = (sums**2).sum((1, 2)) / np.maximum(n, 1.0)
    return found


def _largest(t: np.ndarray, centres: np.ndarray, most: int) -> np.ndarray:
    """(C,) the largest T within `most` of each centre."""
    around = (centres[:, None] + np.arange(-most, most + 1)) % len(t)
    found: np.ndarray = t[around].max(axis=1)
    return found


def _gumbel(largest: float, null: np.ndarray, n_apart: float) -> float:
    """p-value of a maximum beside others, of which `n_apart` do not overlap."""
    roots = np.cbrt(null)
    # a prediction: mean and variance are known from n_apart values
    spread = roots.std() * np.sqrt((n_apart + 1) / (n_apart - 1))
    if not spread > 0:
        return 1.0
    z = np.euler_gamma + (np.cbrt(largest) - roots.mean()) / spread * np.pi / np.sqrt(6)
    return float(np.clip(-np.expm1(-np.exp(-z)), 1e-300, 1.0))


def aligned(x: np.ndarray, y: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples of (M, B) series that are `lag` apart, within segments: two (n,) arrays."""
    n_bins = x.shape[1]
    left, right = max(0, -lag), max(0, lag)
    return x[:, left : n_bins - right].ravel(), y[:, right : n_bins - left].ravel()


def at_lag(
    x: np.ndarray, y: np.ndarray, lag: int, cfg: EstimatorConfig, known: Known | None = None
) -> PairEstimate:
    """MI of two (M, B) series, y `lag` bins after x, given conditions at the times of both."""
    condition = {}
    for name, values in (known or {}).items():
        of_x, of_y = aligned(values, values, lag)
        condition[name] = of_x
        if (of_x != of_y).any():
            condition[f"{name}, {lag:+} bins"] = of_y
    return estimate_mi(*aligned(x, y, lag), condition=condition or None, config=cfg)


class Transfer(NamedTuple):
    """Transfer entropy of the best lag; `p_value` counts how many were tried."""

    lag: int
    mi_nats: float
    se_nats: float
    p_value: float


def transfer(
    x: np.ndarray,
    y: np.ndarray,
    lags: Sequence[int],
    own: Sequence[int],
    cfg: EstimatorConfig,
    known: Known | None = None,
) -> Transfer | None:
    """From x to y, (M, B) each: I(Y_t; X_(t - lag) | Y's own past), the lag of largest value.

    Given conditions, they are known at time t.

    None where no lag has a value. p-values are of the rank test, and hold if y has no memory beyond
    `own`; of several lags the least p-value counts, times their number (Bonferroni).
    """
    # missing samples between segments, so that no past is that of another trial
    padding = ((0, 0), (0, max(*lags, *own)))
    a, b = (np.pad(v, padding, constant_values=np.nan).ravel() for v in (x, y))
    condition = {
        name: np.pad(values, padding, mode="edge").ravel() for name, values in (known or {}).items()
    }
    every = [
        (lag, transfer_entropy(a, b, lag, own_lags=own, condition=condition or None, config=cfg))
        for lag in lags
    ]
    tried = [(lag, found) for lag, found in every if found.mi_nats is not None]
    if not tried:
        return None
    p = np.array([np.nan if f.p_value is None else f.p_value for _, f in tried])
    lag, best = max(tried, key=lambda item: item[1].mi_nats or 0.0)
    return Transfer(
        lag,
        float(best.mi_nats or 0.0),
        float("nan") if best.se_nats is None else best.se_nats,
        float(np.minimum(1.0, p.min() * len(tried))),
    )


def pairs_of(names: Sequence[str], stimuli: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions of the pairs: all, or stimuli with all others, the stimulus first."""
    if stimuli:
        first = [names.index(s) for s in stimuli]
        rest = [k for k in range(len(names)) if k not in set(first)]
        yield from ((i, j) for i in first for j in rest)
    else:
        yield from ((i, j) for i in range(len(names)) for j in range(i + 1, len(names)))
