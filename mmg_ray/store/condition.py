"""What all pairs of a run are conditioned on: columns of the table and metadata of the samples.

A Parquet file of one column each: an int32 code of every sample, -1 where missing.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmg_ray.errors import DataError
from mmg_ray.estimator.conditional.conditional_ranks import Condition, label_codes, warnings_of
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.store.digests import Digest
from mmg_ray.store.location import Location
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.strata import few_whole

log = logging.getLogger(__name__)


def write_condition(table: Table, names: Sequence[str], place: Location) -> Digest:
    """Write the columns of `names`; the digest of the bytes. DataError for an unknown name.

    Variables of the table and metadata of numbers have an order, other metadata are labels.
    """
    require_known(table, names)
    columns = {name: _column(table, name) for name in names}
    _warn(columns, table.n_samples)
    schema = pa.schema(
        [
            pa.field(name, pa.int32(), metadata={"kind": "label" if label else "number"})
            for name, (_, label) in columns.items()
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.table([codes for codes, _ in columns.values()], schema=schema), buffer)
    data = buffer.getvalue()
    place.write_bytes(data)
    return Digest.of(data)


def require_known(table: Table, names: Sequence[str]) -> None:
    """DataError for a name that is neither a variable of the table nor metadata of its samples."""
    for name in names:
        if name not in table.names and name not in table.metadata:
            raise DataError(
                f"data.conditions: {name!r} is neither a variable that is kept nor a metadata column"
                f"{nearest(name, [*table.metadata, *table.names])} A text column of a csv, tsv or parquet "
                "file needs to be listed in data.metadata; of pooled cells, only what is alike within a "
                "pool is known"
            )


def read_condition(data: bytes, digest: str) -> Condition:
    """What `write_condition` wrote, from its bytes and their sha256."""
    stored = pq.read_table(io.BytesIO(data))
    numbers: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for field in stored.schema:
        kind = labels if (field.metadata or {}).get(b"kind") == b"label" else numbers
        kind.append(stored.column(field.name).to_numpy())
    return Condition.of(digest, stored.num_rows, numbers, labels)


def _warn(columns: Mapping[str, tuple[np.ndarray, bool]], n_samples: int) -> None:
    """Say which columns are no condition; DataError where no sample has all of them."""
    kinds: tuple[dict[str, np.ndarray], ...] = ({}, {})
    for name, (codes, is_label) in columns.items():
        kinds[is_label][f"data.conditions: {name!r}"] = codes
    numbers, labels = kinds
    condition = Condition.of("", n_samples, list(numbers.values()), list(labels.values()))
    for warning in warnings_of(condition, [*numbers], [*labels]):
        log.warning("%s", warning)


def _column(table: Table, name: str) -> tuple[np.ndarray, bool]:
    """Codes of one column, and whether they are labels."""
    if name in table.names:
        return ordinal_codes(table.column(table.names.index(name))), False
    values = table.metadata[name]
    numbers = _numbers(values)
    if numbers is None:
        return label_codes(values, f"data.conditions: {name!r}"), True
    return ordinal_codes(numbers), False


def _numbers(values: np.ndarray) -> np.ndarray | None:
    """(N,) float64 of metadata that are numbers, as text too; None for labels: a few whole ones are those.

    Metadata of a csv file are text, so that 007 stays 007: years of age and a batch look the same.
    """
    if values.dtype.kind in "iuf":
        return values
    if values.dtype.kind != "O" and values.dtype.kind not in "US":
        return None
    if any(isinstance(value, bool | np.bool_) for value in values):
        return None
    try:
        numbers = np.array([np.nan if pd.isna(v) or v == "" else float(v) for v in values])
    except (TypeError, ValueError):
        return None
    return None if few_whole(numbers[np.isfinite(numbers)]) else numbers
