"""Statuses, why a cascade stops, variables, costs and receipts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """Why a row of the edge table, or a variable, has or has not a value."""

    OK = "ok"
    CONSTANT = "constant"
    ALL_MISSING = "all_missing"
    DETERMINED = "determined"
    TOO_FEW_SAMPLES = "too_few_samples"
    UNSUPPORTED = "unsupported"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def remedy(self) -> str:
        """One sentence on what a user can do about it."""
        return _REMEDIES[self]


_REMEDIES = {
    Status.OK: "nothing to do",
    Status.CONSTANT: "one value only, so its MI is 0 by definition; leave it out with data.exclude",
    Status.ALL_MISSING: "no usable value; leave it out with data.exclude",
    Status.DETERMINED: "the condition says all of it, so its MI given that is 0 by definition",
    Status.TOO_FEW_SAMPLES: "collect more samples, or lower estimator.min_samples",
    Status.UNSUPPORTED: "set estimator.denoiser to auto, neural or gaussian, which take groups",
    Status.DIVERGED: "lower estimator.network.learning_rate",
    Status.FAILED: "see the row's message; please report it",
}

# the estimator's fault, where every other status is of the data: such a row is never left out
FAILURES = (Status.DIVERGED, Status.FAILED)


class Stop(StrEnum):
    """Why the cascade of denoisers went no deeper than the one that made the estimate."""

    FORCED = "forced"
    NOT_SIGNIFICANT = "not_significant"
    WEAK = "weak"
    CONVERGED = "converged"

    @property
    def reason(self) -> str:
        """The same in one sentence."""
        return _REASONS[self]


_REASONS = {
    Stop.FORCED: "the configuration asks for one denoiser, so nothing deeper was tried",
    Stop.NOT_SIGNIFICANT: "the test finds no dependence, so there is nothing to go deeper for",
    Stop.WEAK: "so weak a dependence shows in full here: a deeper denoiser would find no more",
    Stop.CONVERGED: "the deepest denoiser that helps this pair",
}


@dataclass(frozen=True)
class Variable:
    """One variable as the estimators see it: ordinal codes, never raw values.

    Attributes:
        name: unique within a run; random streams are keyed by it.
        codes: (N, D) int32. ``codes[n, d]`` counts the distinct values of coordinate d below
            the value of sample n (a dense rank, ties share one code); -1 is missing. MI depends
            on nothing else of the values.
        status: OK, or why every pair of this variable gets no value.
    """

    name: str
    codes: np.ndarray
    status: Status = Status.OK

    @property
    def n_samples(self) -> int:
        return int(self.codes.shape[0])

    @property
    def dim(self) -> int:
        return int(self.codes.shape[1])


@dataclass(frozen=True)
class Cost:
    """Projected cost of one pair, both directions."""

    flops: float
    peak_bytes: float  # extra memory while the pair is being estimated, per pair of a tile
    host_s: float = 0.0  # on the CPU, whatever the device: arranging what the flops are done on

    def __add__(self, other: Cost) -> Cost:
        """Of both, one after the other."""
        return Cost(
            self.flops + other.flops,
            max(self.peak_bytes, other.peak_bytes),
            self.host_s + other.host_s,
        )


@dataclass(frozen=True)
class Receipt:
    """What a finished shard reports to the driver: a few numbers, never results.

    Attributes:
        digest: of the object that was stored; empty where nothing is.
    """

    shard: int
    n_pairs: int
    n_not_ok: int
    digest: str = ""
