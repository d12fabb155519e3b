"""Lags of pairs given a condition, and of groups: every lag by Fourier transforms, MI at the best by the denoisers.

A lag is positive where y follows x. The strength T at a lag (`shifted`) is of rank polynomials of every coordinate, degree d over sqrt(d) and averaged over ties, 0
where a value is missing; of wide groups, of their leading principal components. Given a condition, they lose the mean and the scale that go
with it at their own times: series of a common scale would depend beside ones that are shifted or paired anew, if only in
their squares. The test is of the largest T: the same is taken of series shifted against one another by more than the lags (one
recording), or of segments that are permuted, which leaves each what it remembers: trials with their response to the
beginning, or blocks less their means.

MI of pairs above the gate's p-value is that of the quickest denoiser: a network would look for long and find nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig, NullConfig
from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoothers
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.conditional.over_time import (
    apart,
    blocks,
    less_means,
    of_variable,
    padded,
    permuted,
)
from mmg_ray.estimator.conditional.pairs import estimate_given
from mmg_ray.estimator.conditional.shifted import Functions, gumbel_p, largest_around, strength
from mmg_ray.estimator.lags import LagEstimates, LagSettings
from mmg_ray.estimator.lags.segments import LEAST_TRIALS, block_length
from mmg_ray.estimator.ranks import marginals
from mmg_ray.schema import PairEstimate, Status, Variable

_ENOUGH = 10  # of them above, and p is known without a law
_LEVEL = 0.05  # of the band
_KEPT = 400_000  # samples of all lags of transfer whose pasts are kept: 2 kB each
_ENOUGH_SAMPLES = 60_000  # given a condition, or of groups: smoothers take a second for so many, and errors are small


class _Scan(NamedTuple):
    """All lags of a pair: that of the largest T, its p-value, the (2 most + 1,) curve in nats and its band; at that lag the
    samples, the sum of products of the first functions, and how much T scatters, nats."""

    lag: int
    p_value: float
    curve: np.ndarray
    band: float
    n_samples: int
    product: float
    scatter: float


class LaggedPairs:
    """Pairs over one recording, or trials of one length, given a condition or nothing.

    Args:
        starts: (S,) first sample of each segment, of `n_samples`.
    """

    def __init__(
        self,
        starts: np.ndarray,
        n_samples: int,
        condition: Condition | None,
        settings: LagSettings,
        cfg: EstimatorConfig,
    ) -> None:
        self._settings, self._cfg, self._condition = settings, cfg, condition
        self._edges = np.append(starts, n_samples)
        self._segment = np.repeat(np.arange(len(starts)), np.diff(self._edges))
        self._n_segments = len(starts)
        self._length = n_samples // len(starts)
        self._functions: dict[str, Functions] = {}
        self._smoother = None if condition is None else Smoothers(condition, cfg.seed)
        self._pasts: tuple[str, dict[int, Conditioner]] = ("", {})  # of the last target, by lag

    def status(self, variable: Variable) -> Status:
        """Why a variable has no lags; determined where the condition says all of it."""
        if variable.status is not Status.OK or self._condition is None:
            return variable.status
        return Status.OK if self._of(variable).values.any() else Status.DETERMINED

    def forget(self, variables: Mapping[int, Variable]) -> None:
        """Keep what was made of these variables, and of no other."""
        names = {v.name for v in variables.values()}
        self._functions = {name: f for name, f in self._functions.items() if name in names}

    def estimate(self, variables: Mapping[int, Variable], pairs: np.ndarray) -> LagEstimates:
        """The (P, 2) pairs: all scans, then MI at one lag after the other, then transfer to one target after the other.

        What a condition says at a lag, or a target's past of it, takes longest to find, and all pairs of it share it.
        """
        ends = [(variables[int(i)], variables[int(j)]) for i, j in pairs]
        scans = [self._scan(x, y) for x, y in ends]
        here: dict[int, PairEstimate] = {}
        for lag in sorted({scan.lag for scan in scans}):
            given: Conditioner | None = None
            for k in (k for k, scan in enumerate(scans) if scan.lag == lag):
                seen = self._as_seen(*ends[k], scans[k])
                if seen is None:
                    given = given or self._given_at(lag)
                here[k] = seen or self._at_lag(*ends[k], scans[k], given)
        transfer = np.full((2, 2, len(ends)), np.nan)
        if self._settings.transfer:
            low = [k for k, scan in enumerate(scans) if scan.p_value <= self._settings.max_p_value]
            # the target of way 0, from i to j, is the second end
            ways = [(ends[k][1 - way], ends[k][way], k, way) for way in (0, 1) for k in low]
            for target, source, k, way in sorted(ways, key=lambda one: one[0].name):
                transfer[way, :, k] = self.transfer(source, target)
        found = [here[k] for k in range(len(ends))]
        return LagEstimates(
            lag=np.array([scan.lag for scan in scans], dtype=np.int64),
            p_value=np.array([scan.p_value for scan in scans], dtype=float),
            mi_nats=np.array([_number(e.mi_nats) for e in found], dtype=float),
            se_nats=np.array([_number(e.se_nats) for e in found], dtype=float),
            n_samples=np.array([e.n_samples for e in found], dtype=np.int64),
            sign=np.array([_number(e.spearman) for e in found], dtype=float),
            curve=np.array([scan.curve for scan in scans], dtype=np.float32),
            band=np.array([scan.band for scan in scans], dtype=float),
            transfer_ij=transfer[0, 0],
            transfer_p_ij=transfer[0, 1],
            transfer_ji=transfer[1, 0],
            transfer_p_ji=transfer[1, 1],
            message=[e.message for e in found],
        )

    def _scan(self, x: Variable, y: Variable) -> _Scan:
        most = self._settings.most
        a, b = self._of(x), self._of(y)
        every = np.arange(-most, most + 1)
        if self._settings.null == "shift":
            found = strength(a, b, most)
            elsewhere = apart(len(a.present), most)
            null = largest_around(found.t, elsewhere, most)
        else:
            starts, length = self._edges[:-1], self._length
            if self._settings.null == "block":
                length = block_length(self._edges, np.sqrt(a.memory * b.memory), most)
                starts, length = blocks(self._edges, length)
                a, b = (less_means(v, starts, length) for v in (a, b))
            rows = starts[:, None] + np.arange(length)
            found, null, elsewhere = permuted(a, b, rows, self._settings)
        at, n = found.t[every], found.n[every]
        # a weak dependence has T / (2 n) nats, and T of an independent pair on the average
        bias = float(np.median(found.t[elsewhere]))
        lag = int(every[at.argmax()])
        return _Scan(
            lag=lag,
            p_value=self._p_value(at.max(), null),
            curve=((at - bias) / (2 * n)).astype(np.float32),
            band=float((np.quantile(null, 1 - _LEVEL) - bias) / (2 * n.mean())),
            n_samples=round(float(found.n[lag])),
            product=float(found.first[lag]),
            scatter=float(found.t[elsewhere].std() / (2 * n.mean())),
        )

    def _as_seen(self, x: Variable, y: Variable, scan: _Scan) -> PairEstimate | None:
        """Of scalars that are not dependent for all that is seen, what the curve says."""
        gated = self._cfg.denoiser == "auto" and scan.p_value > self._cfg.cascade.p_value
        if not gated or max(x.dim, y.dim) > 1 or scan.n_samples < self._cfg.min_samples:
            return None
        mi = max(float(scan.curve[scan.lag + self._settings.most]), 0.0)
        rho = float(np.clip(scan.product / scan.n_samples, -1.0, 1.0))
        return PairEstimate(
            status=Status.OK,
            n_samples=scan.n_samples,
            denoiser="lags",
            mi_nats=mi,
            se_nats=scan.scatter,
            spearman=rho,
        )

    def _p_value(self, largest: float, null: np.ndarray) -> float:
        n_apart = float(len(null))
        if self._settings.null == "shift":
            n_apart /= 2 * self._settings.most + 1
        else:
            above = int((null >= largest * (1 - 1e-6)).sum())
            if above >= _ENOUGH:
                return (1 + above) / (1 + len(null))
        return gumbel_p(largest, null, n_apart)

    def _of(self, variable: Variable) -> Functions:
        if variable.name not in self._functions:
            null = self._settings.null
            made = of_variable(variable, self._condition, self._smoother, null == "block")
            if null == "shift":
                made = padded(made, self._segment, self._settings.most)
            self._functions[variable.name] = made
        return self._functions[variable.name]

    def _few_rows(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """Some of them where they are very many: segments, or samples of one recording, evenly."""
        left, right = self._rows(lag)
        step = len(left) // _ENOUGH_SAMPLES
        if step <= 1:
            return left, right
        if self._n_segments >= step * LEAST_TRIALS:
            chosen = self._segment[left] % step == 0
            return left[chosen], right[chosen]
        return left[::step], right[::step]

    def _rows(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples of x and of y that are `lag` apart within a segment."""
        n = len(self._segment)
        t = np.arange(max(0, -lag), n - max(0, lag))
        t = t[self._segment[t] == self._segment[t + lag]]
        return t, t + lag

    def _given_at(self, lag: int) -> Conditioner | None:
        """The condition at the times of both ends."""
        if self._condition is None:
            return None
        ends = [self._condition.at(rows) for rows in self._few_rows(lag)]
        return Conditioner(_together(ends), self._cfg.seed)

    def _at_lag(
        self, x: Variable, y: Variable, scan: _Scan, given: Conditioner | None
    ) -> PairEstimate:
        """MI at the lag found given the condition at the times of both; the test is made elsewhere."""
        left, right = self._few_rows(scan.lag)
        # series, without a test of their own
        cfg = replace(self._cfg, nulls=NullConfig(kind="shift", max_permutations=0))
        if cfg.denoiser == "auto" and scan.p_value > cfg.cascade.p_value:
            cfg = replace(cfg, denoiser="gaussian")
        found = self._estimate(_at(x, left), _at(y, right), given, cfg)
        n_there = int(np.maximum(np.diff(self._edges) - abs(scan.lag), 0).sum())
        if len(left) < n_there:
            note = f"MI of {len(left)} of {n_there} samples"
            found = replace(found, message="; ".join(filter(None, (found.message, note))))
        return found

    def transfer(self, x: Variable, y: Variable) -> tuple[float, float]:
        """I(Y_t; X_(t - lag) | Y's own past) of the best lag, and its p-value, times how many were tried."""
        # given the past, samples are new
        cfg = replace(self._cfg, nulls=NullConfig())
        found = []
        for lag in self._settings.transfer:
            t = self._few_rows(-max(lag, *self._settings.own))[0]
            found.append(self._estimate(_at(x, t - lag), _at(y, t), self._past(y, lag), cfg))
        tried = [e for e in found if e.mi_nats is not None]
        if not tried:
            return np.nan, np.nan
        p = min((e.p_value for e in tried if e.p_value is not None), default=np.nan)
        return max(e.mi_nats or 0.0 for e in tried), float(np.minimum(1.0, p * len(tried)))

    def _past(self, y: Variable, lag: int) -> Conditioner:
        """What is known of y before the times at which it is looked at, and the condition at those."""
        if self._pasts[0] != y.name:
            self._pasts = (y.name, {})
        made = self._pasts[1]
        if lag not in made:
            own = self._settings.own
            t = self._few_rows(-max(lag, *own))[0]
            past = [Condition.of("", len(t), list(y.codes[t - k].T), []) for k in own]
            if self._condition is not None:
                past.append(self._condition.at(t))
            given = Conditioner(_together(past), self._cfg.seed)
            if len(t) * len(self._settings.transfer) > _KEPT:
                return given
            made[lag] = given
        return made[lag]

    def _estimate(
        self, x: Variable, y: Variable, given: Conditioner | None, cfg: EstimatorConfig
    ) -> PairEstimate:
        if given is not None:
            given.forget()  # names of variables are those at other times
        return estimate_given({0: x, 1: y}, [(0, 1)], given, cfg)[0]


def _together(conditions: Sequence[Condition]) -> Condition:
    """All of several conditions; what repeats another says nothing and is left out later."""
    return Condition(
        "lags",
        np.concatenate([c.codes for c in conditions], axis=1),
        np.concatenate([c.categories for c in conditions], axis=1),
    )


def _at(variable: Variable, rows: np.ndarray) -> Variable:
    """A variable at other samples, its codes dense again."""
    return replace(variable, codes=marginals.dense_codes(variable.codes[rows]))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
