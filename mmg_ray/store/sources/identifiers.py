"""Columns of a table that are no measurements: names of samples, numbers of rows, times."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.config import DataConfig

# a name of identifiers as a whole (cell, sample, barcode, id) or by its end (cell_id, cellID, Sample.Name)
INDEX_NAME = re.compile(
    r"^(unnamed: \d+(\.\d+)?|\.{3}\d+|__index_level_\d+__|index|idx|id|row|rowname|row_?names?|nr|no"
    r"|cell|cells|barcode|barcodes|sample|samples|subject|patient|donor|participant|observation|obs"
    r"|spot|unit)$|([_ .-](id|ids|idx|index|barcode|name|number|no|nr))$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"[a-z](ID|Id)$")
_TIME = re.compile(
    r"^(time|times|t|timestamp|timestamps|datetime|date|day|days|hour|hours|seconds?|secs?|frames?|year"
    r"|tr)$|^time[_ .(\[-]|[_ .-]time$|^t[_ .(\[-](s|ms|us|sec)\b",
    re.IGNORECASE,
)
ANNOTATION = ("Chr", "Start", "End", "Strand", "Length")  # of a gene, as featureCounts writes it
_FEWEST = 5  # rows that tell


@dataclass(frozen=True)
class Aside:
    """What of a table's columns, by position, is no variable.

    Attributes:
        index: the column of sample names. left_out: other identifiers.
        doubts: {column: what to say} of those that may be variables.
        notes: what was decided.
    """

    index: int | None
    left_out: frozenset[int]
    doubts: dict[int, str]
    notes: list[str]


def set_aside(data: pa.Table, names: list[str], index: int | None, cfg: DataConfig) -> Aside:
    """Decide by name and content. What the configuration names is what it says.

    Args:
        names: of the columns. index: the column of names, where the configuration or the file says.
    """
    said = {*cfg.variables, *cfg.exclude, *cfg.conditions, *cfg.metadata}
    own = None if index is None else names[index]
    notes: list[str] = []
    left_out: set[int] = set()
    doubts: dict[int, str] = {}
    annotated = [p for p, name in enumerate(names) if name in ANNOTATION and name not in said]
    if len(annotated) == len(ANNOTATION):
        left_out |= set(annotated)
        notes.append(f"columns: {', '.join(ANNOTATION)} describe genes and are left out")
    for p, name in enumerate(names):
        if name in said or p == index or p in left_out or data.num_rows < _FEWEST:
            continue
        like = INDEX_NAME.search(name) is not None or _CAMEL.search(name) is not None
        if not like and not (p == 0 or _TIME.search(name)):
            continue
        kind, values = _content(data.column(p))
        if cfg.transpose:  # columns are samples
            if like and kind == "unique" and index is not None:
                left_out.add(p)
                notes.append(f"columns: {name!r} holds identifiers and is left out, beside {own!r}")
        elif like and kind in ("unique", "text") and (index is None or kind == "unique"):
            if index is None:
                index, own = p, name
                notes.append(
                    f"index:   column {name!r} names the samples, by its name and its unique values; if it is "
                    f"a variable, name it in data.variables: ['*', {name}]"
                )
            else:
                left_out.add(p)
                notes.append(
                    f"columns: {name!r} holds identifiers and is left out, beside {own!r}; if it is a "
                    f"variable, name it in data.variables: ['*', {name}]"
                )
        elif like and kind == "repeated":
            doubts[p] = _doubt(
                name, "is named like an identifier and holds whole numbers that repeat"
            )
        elif values is not None and _TIME.search(name) and bool((np.diff(values) > 0).all()):
            doubts[p] = _doubt(name, "is named like a time and goes up from row to row")
        elif values is not None and _counts(values):
            doubts[p] = _doubt(name, f"counts the rows from {values[0]:g}")
    return Aside(index, frozenset(left_out), doubts, notes)


def _doubt(name: str, why: str) -> str:
    return (
        f"column {name!r} {why}: is it a variable? Leave it out with data.exclude: [{name}]; list it in "
        f"data.metadata, or as data.index_column, if it describes or names samples; or name it in "
        f"data.variables: ['*', {name}] if it is a variable (of recordings: recording.time_column)"
    )


def _content(column: pa.ChunkedArray) -> tuple[str, np.ndarray | None]:
    """unique or repeated (whole numbers), text (unique), or other; and the values of numbers."""
    if column.null_count:
        return "other", None
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        unique = pc.count_distinct(column).as_py() == len(column)
        numeric = all(re.fullmatch(r"\d+", text) for text in column.slice(0, 1000).to_pylist())
        return ("unique" if numeric else "text") if unique else "other", None
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return "other", None
    values = column.to_numpy().astype(float)
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        return "other", values
    if len(np.unique(values)) == len(values):
        return "unique", values
    return "repeated" if pa.types.is_integer(kind) else "other", values


def _counts(values: np.ndarray) -> bool:
    """Whether it is 0, 1, 2, ... or 1, 2, 3, ..."""
    return values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0])
