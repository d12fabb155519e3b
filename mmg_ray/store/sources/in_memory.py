"""A table that was handed over in Python instead of a file: what its configuration says, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.store.sources.table import Table

IN_MEMORY = "(in memory)"  # data.path of such a run


def require_file(path: str) -> None:
    """DataError with the way out where `path` stands for a table in memory."""
    if path == IN_MEMORY:
        raise DataError(
            "the table of this run was handed over in memory and is in no file. Make the call or the "
            "command again that began it: mmg_ray.run(data, url=...), mmg-ray genomics or mmg-ray neural"
        )


def table_digest(table: Table, described: Sequence[str] = ()) -> str:
    """sha256 of names, samples and values, dense or sparse alike, and of these columns of metadata."""
    found = hashlib.sha256()
    found.update(json.dumps([table.n_samples, table.names, table.sample_names]).encode())
    for v in range(table.n_variables):
        rows, values = _not_zero(table, v)
        found.update(np.append(rows.size, rows).astype("<i8").tobytes())
        # any NaN is missing, whatever its bits
        found.update(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
    for name in described:
        if name in table.metadata:
            found.update(json.dumps([name, _plain(table.metadata[name])]).encode())
    return found.hexdigest()


def _not_zero(table: Table, v: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(table.values, np.ndarray):
        column = table.values[:, v]
        rows = np.flatnonzero(column)
        return rows, column[rows]
    rows, values = table.stored(v)
    order = np.argsort(rows, kind="stable")
    order = order[values[order] != 0]
    return rows[order], values[order]


def _plain(column: np.ndarray) -> list[float | str | None]:
    import pandas as pd  # takes a third of a second, and looking at a run does without

    kind = float if column.dtype.kind in "iuf" else str
    return [None if pd.isna(value) else kind(value) for value in column]
