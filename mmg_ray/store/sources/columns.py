"""Contents of a table of typed columns (csv, tsv, parquet): which are variables, which not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, default_names

MISSING_TOKENS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_UNNAMED = ("", "index", "Unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class Columns:
    """A file's columns by position.

    Attributes:
        data: typed columns; a column's name in `data` means nothing.
        names: names of the columns, None where the file has no header.
        index: position of the column of sample names (transposed: of variable names), if any.
        text_is_numeric: whether a text column may hold numbers (csv), or is text by type.
        left_out: columns that are no variables. doubts: {column: what to say} of those that may be none.
        notes: what was decided.
    """

    data: pa.Table
    names: list[str] | None
    index: int | None
    text_is_numeric: bool
    left_out: frozenset[int] = frozenset()
    doubts: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def position_of(name: str, names: Sequence[str], key: str, url: str) -> int:
    """Position of a column that the configuration names under `key`, or DataError."""
    if name not in names:
        raise DataError(f"{key}: {url} has no column {name!r}{nearest(name, names)}")
    return names.index(name)


def index_position(names: Sequence[str], cfg: DataConfig, url: str) -> int | None:
    """The named index column, or a first column whose header says that it is one."""
    if cfg.index_column is not None:
        return position_of(cfg.index_column, names, "data.index_column", url)
    return 0 if names and names[0].strip() in _UNNAMED else None


def first_as_names(data: pa.Table, names: Sequence[str], url: str) -> int:
    """0, the first column of a transposed file, which names its variables.

    Raises DataError where it holds numbers: identifiers, or a sample in a file without names?
    Either guess, when wrong, would go unnoticed.
    """
    if _numbers(data.column(0), text_is_numeric=True) is None or data.num_rows == 0:
        return 0
    raise DataError(
        f"column {names[0]!r} of {url} should name the variables, as data.transpose is true, but "
        f"holds numbers. If they are identifiers, set data.index_column: {names[0]}; otherwise put "
        "a column of names before it"
    )


def column_contents(columns: Columns, cfg: DataConfig, url: str) -> Contents:
    """Contents of a columnar file, samples in rows or (data.transpose) in columns.

    In a transposed file the data.metadata columns describe variables: they are left out, and are
    no metadata of the samples.
    """
    names = columns.names or default_names(columns.data.num_columns)
    described = {name: position_of(name, names, "data.metadata", url) for name in cfg.metadata}
    others = set(described.values()) | {columns.index} | columns.left_out
    positions = [p for p in range(columns.data.num_columns) if p not in others]
    index = None if columns.index is None else _strings(columns.data.column(columns.index))
    heads = [names[p] for p in positions]
    if cfg.transpose:
        variables = default_names(columns.data.num_rows) if index is None else index
        return Contents(
            names=variables,
            n_samples=len(positions),
            take=lambda keep: _take_rows(columns, positions, heads, variables, keep, url),
            sample_names=None if columns.names is None else heads,
            notes=columns.notes,
        )
    return Contents(
        names=heads,
        n_samples=columns.data.num_rows,
        take=lambda keep: _take_columns(columns, positions, heads, keep, url),
        sample_names=index,
        metadata={name: _array(columns.data.column(p)) for name, p in described.items()},
        doubts={v: columns.doubts[p] for v, p in enumerate(positions) if p in columns.doubts},
        notes=columns.notes,
    )


def _take_columns(
    columns: Columns, positions: list[int], heads: list[str], keep: np.ndarray, url: str
) -> np.ndarray:
    values = np.empty((columns.data.num_rows, keep.size), order="F")
    for k, v in enumerate(keep):
        column = columns.data.column(positions[v])
        numbers = _numbers(column, text_is_numeric=columns.text_is_numeric)
        if numbers is None:
            row, value = _offender(column)
            if _DECIMAL_COMMA.fullmatch(value.strip()):
                raise DataError(
                    f"column {heads[v]!r} of {url} has {value!r} in row {row + 1} of the data: a decimal comma "
                    "(set data.decimal: ',') or a separator of thousands (write numbers without)"
                )
            raise DataError(
                f"column {heads[v]!r} of {url} is not numeric: {value!r} in row {row + 1} of the "
                f"data. If it names the samples, set data.index_column: {heads[v]}; if it describes "
                "them, list it in data.metadata; if variables are rows, set data.transpose: true; "
                "otherwise leave it out with data.exclude"
            )
        values[:, k] = numbers
    return values


def _take_rows(
    columns: Columns,
    positions: list[int],
    heads: list[str],
    variables: list[str],
    keep: np.ndarray,
    url: str,
) -> np.ndarray:
    values = np.empty((len(positions), keep.size))
    for s, position in enumerate(positions):
        # the kept rows first: a row of text that data.exclude names does no harm
        column = columns.data.column(position).take(pa.array(keep))
        numbers = _numbers(column, text_is_numeric=columns.text_is_numeric)
        if numbers is None:
            row, value = _offender(column)
            raise DataError(
                f"column {heads[s]!r} of {url} (a sample, as data.transpose is true) is not "
                f"numeric: {value!r} for variable {variables[keep[row]]!r}. If the column names the "
                f"variables, set data.index_column: {heads[s]}; if it describes them, list it in "
                "data.metadata; or leave that variable out with data.exclude"
            )
        values[s] = numbers
    return values


def _numbers(column: pa.ChunkedArray, *, text_is_numeric: bool) -> np.ndarray | None:
    """(N,) float64, missing as NaN; None where the column holds something else."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if _is_text(kind):
        if not text_is_numeric:
            return None
        trimmed = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(trimmed, value_set=pa.array(MISSING_TOKENS, type=trimmed.type))
        column = pc.if_else(missing, None, trimmed)
    elif not (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        return None
    try:
        numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowInvalid:
        return None
    return numbers


def _offender(column: pa.ChunkedArray) -> tuple[int, str]:
    """Row and text of the first value that is no number; of the first value if all are."""
    texts = [None if value is None else str(value) for value in column.to_pylist()]
    present = [(row, text) for row, text in enumerate(texts) if text is not None]
    return next(((row, text) for row, text in present if not _is_number(text)), present[0])


def _is_number(text: str) -> bool:
    text = text.strip()
    try:
        float(text)
    except ValueError:
        return text in MISSING_TOKENS
    return True


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _strings(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _array(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.to_numpy()
    return values
