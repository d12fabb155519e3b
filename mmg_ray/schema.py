"""Vocabulary of the project: statuses, variables, pair estimates and the edge table's columns.

Nothing here imports another module of the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Generic, TypeVar

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
    Stop.NOT_SIGNIFICANT: "the rank test finds no dependence, so there is nothing to go deeper for",
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
class PairEstimate:
    """What a denoiser says of one pair (i, j). All MI values in nats; None where not ``ok``.

    ``mi_nats`` combines the two directions ``mi_ij`` (j denoised given i: i informs j) and
    ``mi_ji``. ``gap`` is the direct form (a lower bound up to sampling noise), ``orthogonal`` the
    squared distance of the two denoisers; their distance is a warning of a poor fit. ``mi_posterior`` and
    ``p_dependent`` are what the pair is in the light of all pairs of its matrix
    (`estimator.dependence.evidence`). ``p_value`` is
    of independence, by a test of its own (`estimator.screen`, `estimator.nulls`). ``n_effective`` says
    how many independent samples a time series is worth. ``stop`` says why no deeper denoiser was asked.
    The fields from ``lag_s`` to ``curve`` are those of a run with lags (`estimator.lags`); `EDGE_COLUMNS` says what each is.
    """

    status: Status
    n_samples: int
    denoiser: str
    stop: Stop | None = None
    mi_nats: float | None = None
    se_nats: float | None = None
    mi_ij: float | None = None
    mi_ji: float | None = None
    mi_posterior: float | None = None
    p_dependent: float | None = None
    gap: float | None = None
    orthogonal: float | None = None
    p_value: float | None = None
    spearman: float | None = None
    ess: float | None = None
    n_effective: float | None = None
    lag_s: float | None = None
    band: float | None = None
    transfer_ij: float | None = None
    transfer_ji: float | None = None
    transfer_p_ij: float | None = None
    transfer_p_ji: float | None = None
    curve: tuple[float, ...] | None = None
    message: str = ""


L = TypeVar("L", bound=str)


@dataclass(frozen=True, eq=False)
class Labels(Generic[L]):
    """A column of P texts of which few differ: no Python object per pair.

    Attributes:
        codes: (P,) int32 positions in ``texts``; -1 is none.
        texts: the different texts, in any order; some may be unused.
    """

    codes: np.ndarray
    texts: tuple[L, ...]

    @classmethod
    def of(cls, values: Sequence[L | None]) -> Labels[L]:
        """The column of these P texts."""
        texts = tuple(dict.fromkeys(value for value in values if value is not None))
        code = {text: k for k, text in enumerate(texts)}
        codes = [-1 if value is None else code[value] for value in values]
        return cls(np.array(codes, dtype=np.int32), texts)

    @classmethod
    def same(cls, text: L, n: int) -> Labels[L]:
        """A column of one text, n times."""
        return cls(np.zeros(n, dtype=np.int32), (text,))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> L | None:
        code = self.codes[row]
        return None if code < 0 else self.texts[code]

    def isin(self, texts: Sequence[str]) -> np.ndarray:
        """(P,) whether the text is one of these."""
        # the last place answers for code -1
        return np.array([text in texts for text in self.texts] + [False])[self.codes]

    def counts(self) -> dict[str, int]:
        """How often each text occurs, those that do."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))
        return {str(t): int(n) for t, n in zip(self.texts, counts, strict=True) if n}

    def take(self, rows: np.ndarray) -> Labels[L]:
        """The texts of these positions."""
        return Labels(self.codes.take(rows), self.texts)

    @classmethod
    def concatenate(cls, parts: Sequence[Labels[L]]) -> Labels[L]:
        """The columns one after the other."""
        code: dict[L, int] = {}
        codes = []
        for part in parts:
            new = [code.setdefault(text, len(code)) for text in part.texts]
            codes.append(np.array([*new, -1], dtype=np.int32)[part.codes])
        return cls(np.concatenate(codes), tuple(code))


@dataclass(frozen=True, eq=False)
class PairEstimates:
    """`PairEstimate` of P pairs, a column a field: how results flow from an estimator to storage.

    A NaN and a label's -1 are None of the single estimate. ``estimates[k]`` is one row and
    iteration gives them all, for people and tests; nothing on the way to storage makes rows.

    Attributes:
        status, denoiser, stop, message: (P,) labels.
        n_samples: (P,) int32.
        mi_nats, ..., transfer_p_ji: (P,) float64, NaN where there is none.
        curve: (P, L) float32, L lags, all NaN where there is none; L = 0 without lags.
    """

    status: Labels[Status]
    n_samples: np.ndarray
    denoiser: Labels[str]
    stop: Labels[Stop]
    mi_nats: np.ndarray
    se_nats: np.ndarray
    mi_ij: np.ndarray
    mi_ji: np.ndarray
    mi_posterior: np.ndarray
    p_dependent: np.ndarray
    gap: np.ndarray
    orthogonal: np.ndarray
    p_value: np.ndarray
    spearman: np.ndarray
    ess: np.ndarray
    n_effective: np.ndarray
    lag_s: np.ndarray
    band: np.ndarray
    transfer_ij: np.ndarray
    transfer_ji: np.ndarray
    transfer_p_ij: np.ndarray
    transfer_p_ji: np.ndarray
    curve: np.ndarray
    message: Labels[str]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns are of different lengths: {lengths}")

    @classmethod
    def from_rows(cls, rows: Sequence[PairEstimate]) -> PairEstimates:
        """The columns of single estimates."""
        values = {f.name: [getattr(row, f.name) for row in rows] for f in fields(cls)}
        return cls(**{name: _column(name, column) for name, column in values.items()})

    @classmethod
    def concatenate(cls, parts: Sequence[PairEstimates]) -> PairEstimates:
        """The pairs of all parts, at least one, in their order."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        return cls(**{name: _joined(column) for name, column in columns.items()})

    def take(self, rows: np.ndarray) -> PairEstimates:
        """The pairs at these (K,) positions."""
        columns = self.columns()
        return PairEstimates(
            **{
                n: c.take(rows, axis=0) if n == "curve" else c.take(rows)
                for n, c in columns.items()
            }
        )

    @property
    def ok(self) -> np.ndarray:
        """(P,) whether the pair has a value."""
        return self.status.isin([Status.OK])

    def columns(self) -> dict[str, Any]:
        """(P,) arrays and `Labels` by field name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __len__(self) -> int:
        return len(self.n_samples)

    def __getitem__(self, row: int) -> PairEstimate:
        return PairEstimate(**{name: _item(c[row]) for name, c in self.columns().items()})

    def __iter__(self) -> Iterator[PairEstimate]:
        return (self[row] for row in range(len(self)))


def _column(name: str, values: list[Any]) -> Any:
    dtype = next(column.dtype for column in EDGE_COLUMNS if column.name == name)
    if dtype == CURVE:
        none = np.full(max((len(v) for v in values if v is not None), default=0), np.nan)
        curves = [none if v is None else v for v in values]
        return np.array(curves, dtype=np.float32).reshape(len(values), len(none))
    return Labels.of(values) if dtype == "string" else np.array(values, dtype=dtype)


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Labels):
        return Labels.concatenate(parts)
    if parts[0].ndim == 2:  # curves: where no pair has one, there are no lags
        n_lags = max(part.shape[1] for part in parts)
        parts = [
            part if part.shape[1] else np.full((len(part), n_lags), np.nan, dtype=part.dtype)
            for part in parts
        ]
    return np.concatenate(parts)


def _item(value: Any) -> Any:
    """One value of a column as a field of `PairEstimate`."""
    if isinstance(value, np.ndarray):
        return None if np.isnan(value).all() else tuple(value.tolist())
    if not isinstance(value, np.generic):
        return value
    return None if np.isnan(value) else value.item()


# Raised whenever columns of a stored table, their meaning, or the layout of a stored file change; every table
# that is stored says with which version it was written, and readers check it.
SCHEMA_VERSION = 1
SCHEMA_KEY = "mmg_ray.schema_version"


CURVE = "list<float32>"


@dataclass(frozen=True)
class Column:
    """One column of a stored table: its name, type and meaning."""

    name: str
    dtype: str  # int32, float64, string, CURVE
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
    Column(
        "mi_posterior",
        "float64",
        "mean MI in the light of all pairs, nats: shrunk where samples say little; null where not asked",
    ),
    Column("p_dependent", "float64", "probability of dependence: 1 - local false-discovery rate"),
    Column("gap", "float64", "direct form: held-out gap in denoising error, nats"),
    Column("orthogonal", "float64", "orthogonal form: squared distance of the denoisers, nats"),
    Column("p_value", "float64", "of independence: exact for scalars, else by permutations"),
    Column("spearman", "float64", "Spearman correlation (sign of the edge); null for groups"),
    Column("ess", "float64", "effective share of the noise-level draws, 0..1"),
    Column(
        "n_effective",
        "float64",
        "time series: independent samples worth as much; null where samples are independent",
    ),
    Column(
        "lag_s",
        "float64",
        "lag of the largest dependence, s; positive: the target follows the source; null without lags",
    ),
    Column(
        "band", "float64", "what the largest of the curve exceeds in 5 % of independent pairs, nats"
    ),
    Column("transfer_ij", "float64", "transfer entropy from source to target, nats"),
    Column("transfer_ji", "float64", "transfer entropy from target to source, nats"),
    Column("transfer_p_ij", "float64", "its p-value, source to target"),
    Column("transfer_p_ji", "float64", "its p-value, target to source"),
    Column(
        "curve", CURVE, "MI at every lag, nats, from the most negative lag to the most positive"
    ),
    Column("denoiser", "string", "which denoiser produced the row"),
    Column("stop", "string", "why no deeper denoiser was asked; null unless status is ok"),
    Column("status", "string", "ok, or why there is no value"),
    Column(
        "message",
        "string",
        "reason and way out where status is not ok; what to know of an ok value",
    ),
)

# Every field of PairEstimate must be a column: a result that is computed is also stored.
assert {f.name for f in fields(PairEstimate)} <= {c.name for c in EDGE_COLUMNS}
assert [f.name for f in fields(PairEstimates)] == [f.name for f in fields(PairEstimate)]


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
