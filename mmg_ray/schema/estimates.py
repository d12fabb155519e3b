"""What is estimated of pairs: a row, and the columns of many rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np

from mmg_ray.schema.columns import CURVE, EDGE_COLUMNS
from mmg_ray.schema.vocabulary import Status, Stop


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


# Every field of PairEstimate must be a column: a result that is computed is also stored.
assert {f.name for f in fields(PairEstimate)} <= {c.name for c in EDGE_COLUMNS}
assert [f.name for f in fields(PairEstimates)] == [f.name for f in fields(PairEstimate)]
