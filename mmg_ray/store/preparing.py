"""Preparing variables: from a table to ordinal codes and a quality table in storage, see `prepared`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError, StoreError
from mmg_ray.estimator.ranks.marginals import ordinal_codes, sparse_codes
from mmg_ray.schema import SCHEMA_KEY, SCHEMA_VERSION
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.identities import sample_identity
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import (
    CODES,
    CONDITION,
    DIGESTS,
    IDENTITY,
    METADATA,
    SEGMENTS,
    STRATA,
    VARIABLES,
)
from mmg_ray.store.quality import (
    QUALITY_SCHEMA,
    Quality,
    column_row,
    group_row,
    measure,
    measure_sparse,
)
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.groups import read_groups, resolve_groups
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.strata import strata_of
from mmg_ray.store.zarr_store import Recording

CHUNK_COLUMNS = 64
CHUNK_BYTES = 1 << 25  # uncompressed; very long tables get fewer columns to a chunk
# What a chunk that was never written reads as, to programs that check no digests. No code has this value.
_NEVER_WRITTEN = -2


def prepare(
    table: Table,
    cfg: DataConfig,
    run: Location,
    trials: str | None = None,
    each: Callable[[range], Iterable[int]] = iter,
) -> str:
    """Write the codes and the quality table of every variable under `run`; sha256 of the latter.

    A variable is a column, or a group of columns (data.groups); a column in a group is no variable
    of its own. A sparse table stays sparse: of its columns what is not 0 is ranked, and one chunk of codes is in memory.
    `trials` is the metadata column that parts the samples; `each` shows how far the columns are. Raises DataError for
    groups that do not fit the table (before anything is written), StoreError where nothing can be written.
    """
    groups = {} if cfg.groups is None else resolve_groups(read_groups(cfg.groups), table.names)
    written: Digests = {}
    if cfg.conditions:
        from mmg_ray.store.condition import write_condition  # torch takes seconds

        written[CONDITION] = write_condition(table, cfg.conditions, run / CONDITION)
    identity = sample_identity(table)
    if identity is not None:
        written[IDENTITY] = _write(run / IDENTITY, identity)
    if cfg.strata:
        written[STRATA] = _write(run / STRATA, strata_of(table, cfg.strata))
    if trials is not None:
        written[SEGMENTS] = _write(run / SEGMENTS, segments(table, trials))
    qualities = _write_codes(table, run, written, each)
    grouped = {v for members in groups.values() for v in members}
    rows = [
        column_row(name, v, qualities[v]) for v, name in enumerate(table.names) if v not in grouped
    ]
    rows += [group_row(name, members, table, qualities) for name, members in groups.items()]
    variables = pa.Table.from_pylist(
        [{"index": index, **row} for index, row in enumerate(rows)], schema=QUALITY_SCHEMA
    )
    # so that the digest of the variables stands for everything that was written
    variables = variables.replace_schema_metadata(
        {DIGESTS: json.dumps(written, sort_keys=True), SCHEMA_KEY: str(SCHEMA_VERSION)}
    )
    buffer = io.BytesIO()
    pq.write_table(variables, buffer)
    data = buffer.getvalue()
    (run / VARIABLES).write_bytes(data)
    return Digest.of(data).sha256


def segments(table: Table, trials: str | None) -> np.ndarray:
    """(S,) int64 samples at which a metadata column changes, and 0; DataError where there is no such column."""
    if trials is None:
        return np.zeros(1, dtype=np.int64)
    if trials not in table.metadata:
        raise DataError(
            f"lags.trials: {trials!r} is no metadata column{nearest(trials, table.metadata)} "
            "A csv, tsv or parquet file needs it listed in data.metadata"
        )
    column = np.asarray(table.metadata[trials])
    changes = np.flatnonzero(column[1:] != column[:-1]) + 1
    return np.append(0, changes).astype(np.int64)


def _write(place: Location, values: np.ndarray) -> Digest:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    data = buffer.getvalue()
    place.write_bytes(data)
    return Digest.of(data)


def _write_codes(
    table: Table, run: Location, written: Digests, each: Callable[[range], Iterable[int]]
) -> list[Quality]:
    n_rows = min(CHUNK_COLUMNS, max(1, CHUNK_BYTES // (4 * table.n_samples)), table.n_variables)
    qualities = []
    store = Recording(run, CODES)
    with _writable(run / CODES):
        array = _codes_array(store, run / CODES, (table.n_variables, table.n_samples), n_rows)
        for start in each(range(0, table.n_variables, n_rows)):
            stop = min(start + n_rows, table.n_variables)
            block = np.empty((stop - start, table.n_samples), dtype=np.int32)
            for row, v in enumerate(range(start, stop)):
                if isinstance(table.values, np.ndarray):
                    values = table.column(v)
                    block[row] = ordinal_codes(values)
                    qualities.append(measure(values, block[row]))
                else:
                    rows, values = table.stored(v)
                    block[row] = sparse_codes(table.n_samples, rows, values)
                    qualities.append(measure_sparse(values, block[row]))
            array[start:stop] = block
    written |= store.written
    return qualities


def _codes_array(
    store: Recording, location: Location, shape: tuple[int, int], n_rows: int
) -> zarr.Array[Any]:
    def create(where: Store) -> zarr.Array[Any]:
        return zarr.create_array(
            where,
            shape=shape,
            chunks=(n_rows, shape[1]),
            dtype="int32",
            fill_value=_NEVER_WRITTEN,
            compressors=ZstdCodec(level=3, checksum=True),
            overwrite=True,
        )

    # left by a driver that died, or being written by another one now: writing the same bytes over it
    # harms neither, deleting it first would
    in_memory: dict[str, Buffer] = {}
    create(MemoryStore(in_memory))
    metadata = in_memory[METADATA]
    place = location / METADATA
    if place.exists() and place.read_bytes() == metadata.to_bytes():
        store.note(METADATA, metadata)
        return zarr.open_array(store, mode="r+", zarr_format=3)
    return create(store)


@contextlib.contextmanager
def _writable(location: Location) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the same
        raise StoreError(
            f"cannot write {location.url}: {error}; check the rights and the free space, or set "
            "output.url"
        ) from error
