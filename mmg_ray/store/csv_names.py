"""Texts of a table for delimited files: no line end inside a row, nothing that a spreadsheet computes."""

from __future__ import annotations

from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.names import no_formula, visible

T = TypeVar("T", pa.Table, pa.RecordBatch)

# what `visible` or `no_formula` might change, for a first look at whole columns
_SUSPECT = r"^[=+\-@]|[\x00-\x1f\x7f-\x{9f}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"


def safe_texts(rows: T) -> T:
    """The rows, with the texts of every column as `mmg_ray.names` has them for delimited files."""
    columns = []
    for column, field in zip(rows.columns, rows.schema, strict=True):
        if pa.types.is_string(field.type):
            suspect = pc.match_substring_regex(column, _SUSPECT)
            if pc.any(suspect).as_py():
                texts = [t if t is None else no_formula(visible(t)) for t in column.to_pylist()]
                column = pa.array(texts, field.type)
        columns.append(column)
    return type(rows).from_arrays(columns, schema=rows.schema)
