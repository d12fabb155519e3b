"""Vocabulary of the project: statuses, variables, pair estimates and the edge table's columns.

Nothing here imports another module of the package.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """Why a row of the edge table, or a variable, has or has not a value."""

    OK = "ok"
    CONSTANT = "constant"
    ALL_MISSING = "all_missing"
    TOO_FEW_SAMPLES = "too_few_samples"
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
    Status.TOO_FEW_SAMPLES: "collect more samples, or lower estimator.min_samples",
    Status.DIVERGED: "lower estimator.network.learning_rate",
    Status.FAILED: "see the row's message; please report it",
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
class PairEstimate:
    """What a denoiser says of one pair (i, j). All MI values in nats; None where not ``ok``.

    ``mi_nats`` combines the two directions ``mi_ij`` (j denoised given i: i informs j) and
    ``mi_ji``. ``gap`` is the direct form (a lower bound up to sampling noise), ``orthogonal`` the
    squared distance of the two denoisers; their distance is a warning of a poor fit. ``p_value`` is
    of independence, by a rank test of its own (`estimator.screen`); None for vectors.
    """

    status: Status
    n_samples: int
    denoiser: str
    mi_nats: float | None = None
    se_nats: float | None = None
    mi_ij: float | None = None
    mi_ji: float | None = None
    gap: float | None = None
    orthogonal: float | None = None
    p_value: float | None = None
    spearman: float | None = None
    ess: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a stored table: its name, type and meaning."""

    name: str
    dtype: str  # int32, float64, string
    doc: str


EDGE_COLUMNS: tuple[Column, ...] = (
    Column("i", "int32", "index of the first variable (row of the matrix), i < j"),
    Column("j", "int32", "index of the second variable"),
    Column("source", "string", "name of variable i"),
    Column("target", "string", "name of variable j"),
    Column("n_samples", "int32", "samples with both variables present"),
    Column("mi_nats", "float64", "mutual information, nats; null unless status is ok"),
    Column("se_nats", "float64", "its standard error, nats"),
    Column("mi_ij", "float64", "estimate from denoising j given i, nats"),
    Column("mi_ji", "float64", "estimate from denoising i given j, nats"),
    Column("gap", "float64", "direct form: held-out gap in denoising error, nats"),
    Column("orthogonal", "float64", "orthogonal form: squared distance of the denoisers, nats"),
    Column("p_value", "float64", "of independence, from the rank screen; null for groups"),
    Column("spearman", "float64", "Spearman correlation (sign of the edge); null for groups"),
    Column("ess", "float64", "effective share of the noise-level draws, 0..1"),
    Column("denoiser", "string", "which denoiser produced the row"),
    Column("status", "string", "ok, or why there is no value"),
    Column("message", "string", "reason and way out where status is not ok"),
)

# Every field of PairEstimate must be a column: a result that is computed is also stored.
assert {f.name for f in fields(PairEstimate)} <= {c.name for c in EDGE_COLUMNS}


@dataclass(frozen=True)
class Cost:
    """Projected cost of one pair, both directions."""

    flops: float
    peak_bytes: float  # extra memory while the pair is being estimated, per pair of a tile


@dataclass(frozen=True)
class Receipt:
    """What a finished shard reports to the driver: a few numbers, never results."""

    shard: int
    n_pairs: int
    n_not_ok: int
