"""Scan pairs of series over lags: the lag of the largest dependence, whether there is any, how much, and from where.

A lag is positive where the second series follows the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import DataError
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import contingency
from mmg_ray.estimator.lags import nulls
from mmg_ray.estimator.lags.moments import Lagged, lagged
from mmg_ray.estimator.lags.segments import LEAST_BLOCKS, LEAST_TRIALS
from mmg_ray.estimator.lags.series import MISSING, RARE, Series
from mmg_ray.estimator.lags.transfer import transfer
from mmg_ray.schema import Cost, Variable

_LEVEL = 0.05  # of the band
_SAMPLES_TOGETHER = 2**19  # of dense pairs whose MI is estimated side by side


@dataclass(frozen=True)
class LagSettings:
    """What a scan looks for.

    Attributes:
        most: lags -most..most, samples. null: see `nulls`. jitter: width of its windows, samples.
        transfer: lags of the source in transfer entropy, samples; () asks for none. own: of the target's past.
        max_p_value: transfer entropy is of pairs up to this p-value.
    """

    most: int
    null: Literal["shift", "block", "trial", "jitter"] = "shift"
    jitter: int = 0
    transfer: tuple[int, ...] = ()
    own: tuple[int, ...] = (1, 2)
    max_p_value: float = 1.0
    seed: int = 0


@dataclass
class LagEstimates:
    """Of P pairs, NaN where there is none.

    Attributes:
        lag: (P,) samples, of the largest dependence; positive: the second follows. p_value: (P,) of the largest.
        mi_nats, se_nats: (P,) there. n_samples: (P,) there. sign: (P,) rank correlation there.
        curve: (P, 2 most + 1) float32, MI at each lag, nats. band: (P,) nats, which the largest of the curve
            exceeds with probability 5 % if there is no dependence.
        transfer_ij, transfer_ji: (P,) transfer entropy from the first and from the second, nats, and p-values.
        message: (P,) what to know.
    """

    lag: np.ndarray
    p_value: np.ndarray
    mi_nats: np.ndarray
    se_nats: np.ndarray
    n_samples: np.ndarray
    sign: np.ndarray
    curve: np.ndarray
    band: np.ndarray
    transfer_ij: np.ndarray
    transfer_ji: np.ndarray
    transfer_p_ij: np.ndarray
    transfer_p_ji: np.ndarray
    message: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, n_pairs: int, most: int) -> LagEstimates:
        """Of pairs that are to be filled in."""

        def none() -> np.ndarray:
            return np.full(n_pairs, np.nan)

        def zero() -> np.ndarray:
            return np.zeros(n_pairs, dtype=np.int64)

        return cls(
            lag=zero(),
            p_value=none(),
            mi_nats=none(),
            se_nats=none(),
            n_samples=zero(),
            sign=none(),
            curve=np.full((n_pairs, 2 * most + 1), np.nan, dtype=np.float32),
            band=none(),
            transfer_ij=none(),
            transfer_ji=none(),
            transfer_p_ij=none(),
            transfer_p_ji=none(),
            message=[""] * n_pairs,
        )


def scan_tile(
    series: Mapping[int, Series], pairs: np.ndarray, settings: LagSettings
) -> LagEstimates:
    """Scan each of the (P, 2) pairs of series, which are all over the same samples and segments and vary.

    Raises:
        DataError: lags that no segment has room for; trials of several lengths, or fewer than 8;
            jitter of a dense series.
    """
    found = LagEstimates.empty(len(pairs), settings.most)
    dense = []
    for row, (i, j) in enumerate(np.asarray(pairs).tolist()):
        more = _scan(series[i], series[j], settings, found, row)
        if more is not None:
            dense.append(_AtLag(row, i, j, int(found.lag[row]), more))
    dense.sort(key=lambda at: at.lag)
    for _, members in groupby(dense, key=lambda at: at.lag):
        together = list(members)
        size = max(1, _SAMPLES_TOGETHER // series[together[0].i].n)
        for start in range(0, len(together), size):
            _by_values(series, together[start : start + size], found)
    return found


class _AtLag(NamedTuple):
    """A row of a pair (i, j) of dense series, its best lag, and how much more its samples scatter than independent ones."""

    row: int
    i: int
    j: int
    lag: int
    inflation: float


def _scan(
    x: Series, y: Series, settings: LagSettings, found: LagEstimates, row: int
) -> float | None:
    """A pair at all lags; what its MI at the best lag is to be inflated by where that takes values, which is left to do."""
    _check(x, y, settings)
    more = None
    most, n_lags = settings.most, 2 * settings.most + 1
    counts = lagged(x, y, most)
    sums = counts.sums
    if settings.null == "jitter":
        null = nulls.jitter(x, y, most, settings.jitter)
        looked_at = nulls.coincidence_counts(counts, x, y)[:, None, None]
    else:
        if settings.null == "trial":
            sums, null = nulls.trial(x, y, most)
        elif settings.null == "block":
            sums, null = nulls.block(x, y, most)
        else:
            null = nulls.shift(x, y, most, counts.n)
        looked_at = sums
    t, p = nulls.at_lags(looked_at, null)
    # of equal ones the lag nearest to 0, for either order of the pair
    lags = np.arange(-most, most + 1)
    best = int(np.lexsort((lags < 0, np.abs(lags), -t))[0])
    found.lag[row] = lags[best]
    found.p_value[row] = nulls.of_largest(float(p[best]), n_lags, null.neighbours)
    found.n_samples[row] = counts.n[best]
    found.sign[row] = sums[best, 0, 0] / max(counts.n[best], 1)
    u = nulls.band(n_lags, round(null.neighbours, 2), _LEVEL)
    if counts.tables is not None:
        _by_tables(counts, null, best, found, row)
    else:
        _by_moments(counts, found, row)
        more = max(null.inflation, 1.0)  # of samples that remember each other
    n_mean = max(counts.n.mean(), 1.0)
    away = null.sum_of(u) if settings.null != "jitter" else u * np.sqrt(n_mean * null.inflation)
    size = away / n_mean
    found.band[row] = -0.5 * np.log1p(-min(size**2, 0.999))
    if (
        settings.transfer
        and found.p_value[row] <= settings.max_p_value
        and not (x.dense or y.dense)
    ):
        ij = transfer(x, y, settings.transfer, settings.own)
        ji = transfer(y, x, settings.transfer, settings.own)
        found.transfer_ij[row], found.transfer_p_ij[row] = ij
        found.transfer_ji[row], found.transfer_p_ji[row] = ji
    return more


def _by_tables(counts: Lagged, null: nulls.Null, best: int, found: LagEstimates, row: int) -> None:
    """MI at every lag from the counts of values, less its bias; of samples that remember each other more."""
    assert counts.tables is not None
    table = contingency.from_tables(counts.tables[:, None], 1 / max(null.inflation, 1.0))
    found.curve[row] = table.mi
    found.mi_nats[row] = max(float(table.mi[best]), 0.0)
    found.se_nats[row] = table.se[best]


def _by_moments(counts: Lagged, found: LagEstimates, row: int) -> None:
    """MI at every lag as the screen has it."""
    n = np.maximum(counts.n, 1)
    square = np.square(counts.sums / n[:, None, None]).sum(axis=(1, 2))
    bias = float(np.median(square))  # most lags show chance alone
    found.curve[row] = 0.5 * np.log1p(np.maximum(square - bias, 0.0))


def _by_values(
    series: Mapping[int, Series], members: Sequence[_AtLag], found: LagEstimates
) -> None:
    """MI of pairs of one best lag from their values at it, side by side: one by one they take several times as long."""
    lag, any_of = members[0].lag, series[members[0].i]
    left = np.arange(any_of.n)
    segment = np.searchsorted(any_of.starts, left, side="right")
    left = left[(left + lag >= 0) & (left + lag < any_of.n)]
    left = left[segment[left] == segment[left + lag]]
    # a series that is first in one pair and second in another is two variables
    first = {at.i: 2 * at.i for at in members}
    second = {at.j: 2 * at.j + 1 for at in members}
    variables = {
        **{k: Variable(series[i].name, _codes(series[i])[left][:, None]) for i, k in first.items()},
        **{
            k: Variable(f"{series[j].name}, later", _codes(series[j])[left + lag][:, None])
            for j, k in second.items()
        },
    }
    pairs = [(first[at.i], second[at.j]) for at in members]
    n_effective = len(left) / np.array([at.inflation for at in members])
    made = estimate_tile(variables, pairs, EstimatorConfig(), n_effective=n_effective)
    for at, e in zip(members, made, strict=True):
        found.n_samples[at.row] = e.n_samples
        found.mi_nats[at.row] = np.nan if e.mi_nats is None else e.mi_nats
        found.se_nats[at.row] = np.nan if e.se_nats is None else e.se_nats
        found.sign[at.row] = found.sign[at.row] if e.spearman is None else e.spearman
        found.message[at.row] = e.message


def _codes(x: Series) -> np.ndarray:
    """(N,) int32 ordinal codes, -1 where missing."""
    order = np.argsort(np.argsort(x.value)).astype(np.int32)
    found: np.ndarray = np.append(order, MISSING).astype(np.int32)[x.levels()]
    return found


def _check(x: Series, y: Series, settings: LagSettings) -> None:
    length = np.diff(x.starts)
    if settings.most < 1 or settings.most > length.max() // 2:
        raise DataError(
            f"lags of up to {settings.most} samples do not fit segments of at most {length.max()}; take 1 to "
            f"{length.max() // 2}"
        )
    if settings.null == "trial" and (len(length) < LEAST_TRIALS or (length != length[0]).any()):
        raise DataError(
            f"the null of trials needs {LEAST_TRIALS} trials of one length or more; there are {len(length)}, of "
            f"{length.min()} to {length.max()} samples. Use the null shift"
        )
    if settings.null == "block" and x.n // LEAST_BLOCKS <= 2 * settings.most:
        raise DataError(
            f"the null of blocks needs {LEAST_BLOCKS} blocks longer than lags of {settings.most} samples either "
            f"way; there are {x.n} samples. Use the null shift"
        )
    if settings.null == "jitter" and (x.dense or y.dense or settings.jitter < 2):
        name = x.name if x.dense else y.name
        raise DataError(
            f"interval jitter moves events within windows of 2 samples and more, here {settings.jitter}; {name} has "
            "a value of its own at most samples, or windows are too narrow. Use the null shift"
        )


def cost(n_samples: int, n_events: float, settings: LagSettings) -> Cost:
    """Projected cost of a pair of series of so many events; of dense ones where events are many. On the CPU.

    Measured on one thread, from 60,000 samples to 1,440,000: good to a half. Memory is what the series of a tile keep,
    a share for each of its pairs.
    """
    n_lags = 2 * settings.most + 1
    if is_dense(n_samples, n_events):
        return Cost(0.0, 10.0 * n_samples, host_s=n_samples * (3.7e-7 + 4e-9 * n_lags))
    together = n_events**2 / n_samples  # within a lag
    of_pair = 4.5e-4 + 2.5e-6 * n_lags + 2.3e-8 * n_events + 3e-9 * together * n_lags
    memory = (
        2e-6 * together
    )  # autocovariances, which grow with the square, shared by the pairs of a tile
    return Cost(0.0, 1.0 * n_samples, host_s=of_pair + memory)


def is_dense(n_samples: int, n_events: float) -> bool:
    """Whether a series of so many samples away from its commonest value is taken sample by sample."""
    return n_events > RARE * n_samples
