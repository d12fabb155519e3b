"""The edge table as Arrow has it: its schema, estimates as rows, and digests of columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mmg_ray.network.significance import QValues, count
from mmg_ray.schema import CURVE, EDGE_COLUMNS, Labels, PairEstimates

_TYPES = {
    "int32": pa.int32(),
    "float64": pa.float64(),
    "string": pa.string(),
    CURVE: pa.list_(pa.float32()),
}


# rows digested, and read, at a time
BLOCK_ROWS = 2**16


def edge_schema() -> pa.Schema:
    """Arrow schema of the edge table; each field's metadata holds its meaning."""
    return pa.schema(
        [
            pa.field(column.name, _TYPES[column.dtype], metadata={"doc": column.doc})
            for column in EDGE_COLUMNS
        ]
    )


def edge_table(names: Sequence[str], pairs: np.ndarray, estimates: PairEstimates) -> pa.Table:
    """The (P, 2) pairs and their estimates as a table of `edge_schema`."""
    i, j = pairs.astype(np.int32).T
    columns = {
        "i": pa.array(i),
        "j": pa.array(j),
        "source": _texts(Labels(i, tuple(names))),
        "target": _texts(Labels(j, tuple(names))),
    }
    for name, column in estimates.columns().items():
        if isinstance(column, Labels):
            columns[name] = _texts(column)
        elif column.ndim == 2:
            columns[name] = _lists(column)
        else:
            columns[name] = pa.array(column, from_pandas=True)  # a NaN is a null
    return pa.Table.from_pydict(columns, schema=edge_schema())


def numbers(column: pa.Array) -> np.ndarray:
    """(n,) of a column of numbers, NaN where null; without nulls a view of what Arrow holds."""
    if column.null_count:
        return column.to_numpy(zero_copy_only=False)  # a copy, and it imports pandas
    return np.from_dlpack(column)


def with_q_column(table: pa.Table, n_tests: int | None) -> pa.Table:
    """The edge table with q_value behind p_value, over so many tests; null where these are not known."""
    p = table["p_value"].to_numpy()
    q = np.full(len(p), np.nan) if n_tests is None else QValues(count([p]), n_tests).of(p)
    place = table.column_names.index("p_value") + 1
    return table.add_column(place, "q_value", pa.array(q, from_pandas=True))


def _texts(labels: Labels) -> pa.Array:
    codes = pa.array(labels.codes, mask=labels.codes < 0)
    return pa.array(labels.texts, pa.string()).take(codes)


def _lists(values: np.ndarray) -> pa.Array:
    """(P, L) as P lists; a row of NaN, or of nothing, is a null."""
    length = values.shape[1]
    has = ~np.isnan(values).all(axis=1)
    ends = np.append(0, np.cumsum(np.where(has, length, 0))).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(ends), pa.array(values[has].ravel(), pa.float32()), mask=pa.array(~has)
    )


class ColumnDigests:
    """sha256 of columns, a block of `BLOCK_ROWS` rows after the other.

    Of the values alone, whatever the library, its version or the file's layout: a block counts as
    which rows are null, then, of texts and lists, their lengths, then the values, 0 or empty if null.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._hashes = {name: hashlib.sha256() for name in columns}

    def add(self, block: pa.RecordBatch) -> None:
        for name, total in self._hashes.items():
            column = block.column(name)
            # where nothing is null nothing is copied, which is half of the time
            n_nulls = column.null_count
            if n_nulls:
                total.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)).data)
            else:
                total.update(bytes(-(-len(column) // 8)))
            if pa.types.is_string(column.type):
                texts = column.fill_null("")
                _, ends, data = texts.buffers()
                ends = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
                total.update(np.diff(ends).tobytes())
                if data is not None:
                    total.update(memoryview(data)[ends[0] : ends[-1]])
            elif pa.types.is_list(column.type):
                total.update(pc.list_value_length(column).fill_null(0).to_numpy().tobytes())
                values = column.flatten()  # of no null
                total.update(values.fill_null(np.nan).to_numpy(zero_copy_only=False).tobytes())
            else:
                total.update(numbers(column.fill_null(0) if n_nulls else column).data)

    def hexdigests(self) -> dict[str, str]:
        return {name: total.hexdigest() for name, total in self._hashes.items()}
