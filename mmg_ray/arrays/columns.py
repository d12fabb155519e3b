"""The values of one column: numbers, booleans or labels, and which of them are missing.

MI depends on the order and the ties of numbers alone. So numbers that float64 does not hold (integers beyond
2^53, times in nanoseconds, decimals) become their dense ranks, which keep both.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mmg_ray.errors import DataError

_EXACT = 2**53  # integers up to here are exact in float64
_MISSING_TYPES = ("NoneType", "NAType", "NaTType", "MaskedConstant")


class Kind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    CATEGORY = "category"

    @property
    def is_label(self) -> bool:
        """Whether the values have no order."""
        return self in (Kind.TEXT, Kind.CATEGORY)


class Column(NamedTuple):
    """One column of n samples.

    Attributes:
        kind: of its values.
        values: (n,) float64, NaN where missing, in the order and with the ties of what was passed; of
            labels (n,) texts as objects, None where missing.
        n_infinite: infinite values, which count as missing.
    """

    kind: Kind
    values: np.ndarray
    n_infinite: int = 0


def is_of(values: Any, package: str, *names: str) -> bool:
    """Whether `values` is an instance of one of these classes of a package, which is not imported for it."""
    module = sys.modules.get(package)
    return isinstance(values, tuple(getattr(module, n) for n in names if hasattr(module, n)))


def read_column(values: Any, name: str) -> Column:
    """The column in a 1-D array, Series, list, ...; DataError, which calls it `name`, if it has none."""
    if isinstance(values, Column):
        return values
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _arrow(values, name)
    if is_of(values, "pandas", "Series", "Index"):
        values = values.array
    if is_of(values, "pandas.api.extensions", "ExtensionArray"):
        return _pandas(values, name)
    if np.ma.isMaskedArray(values):
        return _placed(np.asarray(values.data), np.ma.getmaskarray(values), name)
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return _placed(array, np.array([_is_missing(v) for v in array], dtype=bool), name)
    if array.dtype.kind in "mM":
        return _placed(array.astype(np.int64), np.isnat(array), name)
    return _placed(array, np.zeros(len(array), dtype=bool), name)


def _pandas(values: Any, name: str) -> Column:
    if hasattr(values, "categories"):
        if values.ordered:
            return _placed(np.asarray(values.codes), np.asarray(values.codes) < 0, name)
        codes = np.asarray(values.codes)
        texts = np.array([str(c) for c in values.categories] + [None], dtype=object)
        return Column(Kind.CATEGORY, texts[codes])
    absent = np.asarray(values.isna(), dtype=bool)
    # times, periods and time differences as integers
    return _placed(np.asarray(getattr(values, "asi8", values)), absent, name)


def _arrow(values: pa.Array | pa.ChunkedArray, name: str) -> Column:
    kind = values.type
    if pa.types.is_dictionary(kind):
        texts = [None if v is None else str(v) for v in values.cast(kind.value_type).to_pylist()]
        return Column(Kind.CATEGORY, np.array(texts, dtype=object))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        absent = values.is_null().to_numpy(zero_copy_only=False)
        filled = values.fill_null(False if pa.types.is_boolean(kind) else 0)
        return _placed(filled.to_numpy(zero_copy_only=False), absent, name)
    return read_column(np.array([*values.to_pylist(), None], dtype=object)[:-1], name)


def _placed(values: np.ndarray, absent: np.ndarray, name: str) -> Column:
    """The column of values (n,) that count where `absent` (n,) is false."""
    present = values[~absent]
    kind = _kind_of(present, name)
    if kind is Kind.TEXT:
        texts = np.full(len(values), None, dtype=object)
        texts[~absent] = [v.decode() if isinstance(v, bytes) else str(v) for v in present]
        return Column(kind, texts)
    numbers_ = np.full(len(values), np.nan)
    numbers_[~absent], infinite = _numbers(present, name)
    return Column(kind, numbers_, infinite)


def _kind_of(values: np.ndarray, name: str) -> Kind:
    """What values without missing ones are; DataError for what is neither numbers nor labels."""
    code = values.dtype.kind
    if code == "b":
        return Kind.BOOLEAN
    if code in "iuf":
        return Kind.NUMBER
    if code in "US":
        return Kind.TEXT
    if code == "c" or (
        code == "O" and any(isinstance(v, (complex, np.complex128)) for v in values)
    ):
        raise DataError(
            f"{name} is not numeric: it is complex. Pass its real and imaginary part, or its "
            "magnitude, as numbers"
        )
    if code != "O":
        raise DataError(f"{name} is not numeric: its type is {values.dtype}")
    kinds: dict[Kind | None, Any] = {_kind_of_object(v): v for v in values}
    if None in kinds:
        odd = kinds[None]
        raise DataError(
            f"{name} is not numeric: it holds {_short(odd)} of type {type(odd).__name__}; pass numbers, "
            "one of each sample"
        )
    if Kind.TEXT in kinds and len(kinds) > 1:
        raise DataError(
            f"{name} mixes numbers and text, such as {_short(kinds[Kind.TEXT])}. If the text stands for "
            "missing values, make it NaN; if the numbers are labels, make them text"
        )
    if set(kinds) == {Kind.BOOLEAN}:
        return Kind.BOOLEAN
    return Kind.TEXT if set(kinds) == {Kind.TEXT} else Kind.NUMBER


def _kind_of_object(value: Any) -> Kind | None:
    if isinstance(value, (bool, np.bool_)):
        return Kind.BOOLEAN
    if isinstance(value, (str, bytes)):
        return Kind.TEXT
    ordered = (numbers.Real, Decimal, date, time, timedelta, np.datetime64, np.timedelta64)
    return Kind.NUMBER if isinstance(value, ordered) else None


def _numbers(values: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """float64 of the same order and ties, infinite values as NaN, and how many these are."""
    if values.dtype.kind in "iub":
        wide = (
            values.dtype.itemsize == 8
            and len(values)
            and max(-int(values.min()), int(values.max())) > _EXACT
        )
        return (_dense_ranks(values) if wide else values.astype(np.float64)), 0
    if values.dtype.kind == "f":
        infinite = np.isinf(values)
        if values.dtype.itemsize > 8:
            found = np.full(len(values), np.nan)
            there = np.isfinite(values)
            found[there] = _dense_ranks(values[there])
        else:
            found = np.where(infinite, np.nan, values.astype(np.float64))
        return found, int(infinite.sum())
    infinite = np.array(
        [isinstance(v, (numbers.Real, Decimal)) and _is_infinite(v) for v in values], bool
    )
    finite = values[~infinite].tolist()
    found = np.full(len(values), np.nan)
    try:
        found[~infinite] = _as_floats(finite)
    except TypeError as error:
        raise DataError(f"{name} has values that cannot be put in order: {error}") from None
    return found, int(infinite.sum())


def _as_floats(values: Sequence[Any]) -> np.ndarray:
    """Objects of any ordered types as float64: themselves where these hold them, else dense ranks."""
    if all(
        isinstance(v, (float, np.floating))
        or (isinstance(v, (int, np.integer)) and abs(int(v)) <= _EXACT)
        for v in values
    ):
        return np.array(values, dtype=np.float64)
    position = {value: k for k, value in enumerate(sorted(set(values)))}
    return np.array([position[value] for value in values], dtype=np.float64)


def _dense_ranks(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].astype(np.float64)


def _is_missing(value: Any) -> bool:
    if type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating, Decimal)) and bool(value != value)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, (float, np.floating, Decimal)) and math.isinf(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
