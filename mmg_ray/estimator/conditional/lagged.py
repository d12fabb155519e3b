"""Lags of pairs given a condition, and of groups: every lag by one Fourier transform, MI at the best by the denoisers.

A lag is positive where y follows x. The strength at a lag,

    T(lag) = sum_ab (sum_t f_a(x_t) g_b(y_(t + lag)))^2 / n_lag,

takes rank polynomials f, g of every coordinate, degree d over sqrt(d) and averaged over ties, 0 where a value is missing, over
the n_lag samples that have both. Given a condition, f and g lose the mean and the scale that go with it at their own times:
series of a common scale would depend beside ones that are shifted or paired anew, if only in their squares. The test
is of the largest T: the same is taken of series shifted against one another by more than the lags (one recording), or of trials
that are permuted, which leaves each its autocorrelation and its response to the trial's beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig, NullConfig
from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoothers
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.conditional.pairs import estimate_given
from mmg_ray.estimator.conditional.shifted import Functions, gumbel_p, largest_around, strength
from mmg_ray.estimator.lags import LagEstimates, LagSettings
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import PairEstimate, Status, Variable

_DEGREES, _OF_GROUPS = 4, 2
_SHIFTS = 1000  # of trials
_LEAST_SCALE = 0.3  # of the mean square: where little is left, rare events would weigh too much
_LEAST_LEFT = 1e-6  # a smaller share of the variance is rounding
_LEVEL = 0.05  # of the band
_KEPT = 400_000  # samples of all lags of transfer whose pasts are kept: 2 kB each


class _Scan(NamedTuple):
    """All lags of a pair: that of the largest T, its p-value, the (2 most + 1,) curve in nats and its band."""

    lag: int
    p_value: float
    curve: np.ndarray
    band: float


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
        self._segment = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n_samples)))
        self._n_segments = len(starts)
        self._length = n_samples // len(starts)
        self._place = np.arange(n_samples) + settings.most * self._segment
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
            given = self._given_at(lag)
            for k in (k for k, scan in enumerate(scans) if scan.lag == lag):
                here[k] = self._at_lag(*ends[k], lag, given)
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
        t = strength(a, b)
        every = np.arange(-most, most + 1)
        null = self._null(a, b, t)
        at = t[every]
        n = self._n_samples(a, b, every)
        # a weak dependence has T / (2 n) nats, and T of an independent pair on the average
        bias = float(np.median(t[self._apart()]))
        return _Scan(
            lag=int(every[at.argmax()]),
            p_value=self._p_value(at.max(), null),
            curve=((at - bias) / (2 * n)).astype(np.float32),
            band=float((np.quantile(null, 1 - _LEVEL) - bias) / (2 * n.mean())),
        )

    def _of(self, variable: Variable) -> Functions:
        if variable.name not in self._functions:
            self._functions[variable.name] = self._make(variable)
        return self._functions[variable.name]

    def _make(self, variable: Variable) -> Functions:
        degrees = np.arange(1, (_DEGREES if variable.dim == 1 else _OF_GROUPS) + 1)
        known = self._condition
        has = (variable.codes != marginals.MISSING).all(axis=1)
        if known is not None:
            has &= known.present
        parts = []
        for codes in variable.codes.T:
            values = np.zeros((len(codes), len(degrees)))
            if has.any():
                dense = np.unique(codes[has], return_inverse=True)[1]
                found = ranked(dense).at_samples()[:, : len(degrees)]
                values[has, : found.shape[1]] = found
            values /= np.sqrt(degrees)
            if self._smoother is not None and has.any():
                smooth = self._smoother(has)
                rest = values[has] - smooth(values[has])[0]
                square = rest**2
                left = square.mean(axis=0) > _LEAST_LEFT * (values[has] ** 2).mean(axis=0)
                rest = rest * left
                least = _LEAST_SCALE * square.mean(axis=0) + 1e-300
                # back to the weight of its degree, whatever the condition has taken
                scale = np.sqrt(np.maximum(smooth(square)[0], least) * degrees)
                values[has] = rest / scale
            parts.append(values)
        total = len(self._place) + self._settings.most * self._n_segments
        padded = np.zeros((total, sum(part.shape[1] for part in parts)))
        padded[self._place] = np.concatenate(parts, axis=1)
        present = np.zeros(total)
        present[self._place] = has
        return Functions(padded, present, np.fft.rfft(padded, axis=0), np.fft.rfft(present))

    def _apart(self) -> np.ndarray:
        """Shifts that leave no lag within `most`: of one recording beyond 2 most, of trials to others."""
        total = len(self._place) + self._settings.most * self._n_segments
        if self._n_segments == 1:
            return np.arange(2 * self._settings.most + 1, total - 2 * self._settings.most)
        return (self._length + self._settings.most) * np.arange(1, self._n_segments)

    def _null(self, x: Functions, y: Functions, t: np.ndarray) -> np.ndarray:
        """Largest strengths within the lags, of pairs that are independent."""
        most, centres = self._settings.most, self._apart()
        null = [largest_around(t, centres, most)]
        if self._n_segments == 1:
            return null[0]
        rng = numpy_stream(self._settings.seed, "trials")
        for _ in range(max(0, -(-_SHIFTS // self._n_segments) - 1)):
            order = rng.permutation(self._n_segments)
            values = y.values.reshape(self._n_segments, -1, y.values.shape[1])[order]
            present = y.present.reshape(self._n_segments, -1)[order]
            again = y._replace(
                wave=np.fft.rfft(values.reshape(y.values.shape), axis=0),
                known=np.fft.rfft(present.ravel()),
            )
            null.append(largest_around(strength(x, again), np.append(0, centres), most))
        return np.concatenate(null)

    def _p_value(self, largest: float, null: np.ndarray) -> float:
        if self._n_segments > 1:
            return (1 + int((null >= largest * (1 - 1e-9)).sum())) / (1 + len(null))
        return gumbel_p(largest, null, len(null) / (2 * self._settings.most + 1))

    def _n_samples(self, x: Functions, y: Functions, every: np.ndarray) -> np.ndarray:
        n = np.fft.irfft(x.known.conj() * y.known, len(x.present))
        found: np.ndarray = np.maximum(np.round(n[every]), 1.0)
        return found

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
        ends = [self._condition.at(rows) for rows in self._rows(lag)]
        return Conditioner(_together(ends), self._cfg.seed)

    def _at_lag(
        self, x: Variable, y: Variable, lag: int, given: Conditioner | None
    ) -> PairEstimate:
        """MI at a lag given the condition at the times of both; the test is made elsewhere."""
        left, right = self._rows(lag)
        block = None if self._n_segments == 1 else max(1, self._length - abs(lag))
        kind: NullConfig = NullConfig(
            kind="shift" if block is None else "block", max_permutations=0, block_samples=block
        )
        return self._estimate(_at(x, left), _at(y, right), given, replace(self._cfg, nulls=kind))

    def transfer(self, x: Variable, y: Variable) -> tuple[float, float]:
        """I(Y_t; X_(t - lag) | Y's own past) of the best lag, and its p-value, times how many were tried."""
        # given the past, samples are new
        cfg = replace(self._cfg, nulls=NullConfig())
        found = []
        for lag in self._settings.transfer:
            t = self._rows(-max(lag, *self._settings.own))[0]
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
            t = self._rows(-max(lag, *own))[0]
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
