"""What all pairs of a run are conditioned on: columns of the table and metadata of the samples.

A Parquet file of one column each: an int32 code of every sample, -1 where missing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmg_ray.errors import DataError
from mmg_ray.estimator.conditional_ranks import Condition, label_codes
from mmg_ray.estimator.marginals import ordinal_codes
from mmg_ray.store.digests import Digest
from mmg_ray.store.location import Location
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest


def write_condition(table: Table, names: Sequence[str], place: Location) -> Digest:
    """Write the columns of `names`; the digest of the bytes. DataError for an unknown name.

    Variables of the table and metadata of numbers have an order, other metadata are labels.
    """
    columns = {name: _column(table, name) for name in names}
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


def read_condition(data: bytes, digest: str) -> Condition:
    """What `write_condition` wrote, from its bytes and their sha256."""
    stored = pq.read_table(io.BytesIO(data))
    numbers: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for field in stored.schema:
        kind = labels if (field.metadata or {}).get(b"kind") == b"label" else numbers
        kind.append(stored.column(field.name).to_numpy())
    return Condition.of(digest, stored.num_rows, numbers, labels)


def _column(table: Table, name: str) -> tuple[np.ndarray, bool]:
    """Codes of one column, and whether they are labels."""
    if name in table.names:
        return ordinal_codes(table.column(table.names.index(name))), False
    if name not in table.metadata:
        known = [*table.metadata, *table.names]
        raise DataError(
            f"data.conditions: {name!r} is neither a variable that is kept nor a metadata column"
            f"{nearest(name, known)} A text column of a csv, tsv or parquet file needs to be "
            "listed in data.metadata"
        )
    values = table.metadata[name]
    if values.dtype.kind in "iuf":
        return ordinal_codes(values), False
    return label_codes(values), True
