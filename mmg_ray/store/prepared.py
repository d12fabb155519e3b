"""Prepared variables: ordinal codes by column and a quality table, written once per run.

    prepared/codes.zarr         (n_columns, N) int32, one chunk = a few columns of all samples
    prepared/condition.parquet  what all pairs are conditioned on, if anything (see `condition`)
    prepared/variables.parquet  one row per variable; written last, so it says that all is there

A worker reads the few chunks that hold its tile's columns, and nothing else. The bytes depend on
the table and the groups alone: preparing twice, or twice at once, writes the same objects.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import ZstdCodec

from mmg_ray.config import DataConfig
from mmg_ray.errors import StoreError
from mmg_ray.estimator.marginals import MISSING, ordinal_codes
from mmg_ray.schema import Status, Variable
from mmg_ray.store.location import Location, require_digest
from mmg_ray.store.quality import QUALITY_SCHEMA, Quality, column_row, group_row, measure
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.groups import read_groups, resolve_groups
from mmg_ray.store.zarr_store import zarr_store

if TYPE_CHECKING:
    from mmg_ray.estimator.conditional_ranks import Condition

CODES = "prepared/codes.zarr"
VARIABLES = "prepared/variables.parquet"

CHUNK_COLUMNS = 64
CHUNK_BYTES = 1 << 25  # uncompressed; very long tables get fewer columns to a chunk

# What a chunk that was never written reads as. No code has this value, so a lost chunk is noticed.
_NEVER_WRITTEN = -2


def prepare(table: Table, cfg: DataConfig, run: Location) -> str:
    """Write the codes and the quality table of every variable under `run`; sha256 of the latter.

    A variable is a column, or a group of columns (data.groups); a column in a group is no variable
    of its own. One column at a time is made dense. Raises DataError for groups that do not fit
    the table (before anything is written), StoreError where nothing can be written.
    """
    groups = {} if cfg.groups is None else resolve_groups(read_groups(cfg.groups), table.names)
    from mmg_ray.store.condition import (
        write_condition,
    )  # torch takes seconds: a reader does without

    condition = write_condition(table, cfg.conditions, run) if cfg.conditions else ""
    qualities = _write_codes(table, run / CODES)
    grouped = {v for members in groups.values() for v in members}
    rows = [
        column_row(name, v, qualities[v]) for v, name in enumerate(table.names) if v not in grouped
    ]
    rows += [group_row(name, members, table, qualities) for name, members in groups.items()]
    variables = pa.Table.from_pylist(
        [{"index": index, **row} for index, row in enumerate(rows)], schema=QUALITY_SCHEMA
    )
    if condition:  # so that the digest of the variables stands for it as well
        variables = variables.replace_schema_metadata({"condition": condition})
    buffer = io.BytesIO()
    pq.write_table(variables, buffer)
    data = buffer.getvalue()
    (run / VARIABLES).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


class Prepared:
    """The prepared variables of a run, read as needed.

    Attributes:
        names: of the V variables, in the order of their indices.
        dims: (V,) int64, usable columns of each; 0 only where the status is not ok.
        statuses: of each; messages are in `qc()`.
        n_samples: N, rows of the table.
    """

    def __init__(
        self, variables: pa.Table, codes: zarr.Array[Any], run: Location, condition: str
    ) -> None:
        self._condition = condition
        self._variables = variables
        self._codes = codes
        self._run = run
        self._columns: list[list[int]] = variables.column("columns").to_pylist()
        self.names: list[str] = variables.column("name").to_pylist()
        self.dims: np.ndarray = variables.column("n_columns").to_numpy().astype(np.int64)
        self.statuses = [Status(status) for status in variables.column("status").to_pylist()]
        self.n_samples = int(codes.shape[1])

    @classmethod
    def open(cls, run: Location, digest: str | None = None) -> Prepared:
        """What `prepare` wrote under `run`; two small requests. StoreError if it is not whole.

        Args:
            digest: what `prepare` returned, to be told of a table that was changed since.
        """
        data = (run / VARIABLES).read_bytes()
        require_digest(run / VARIABLES, data, digest)
        with _readable(run / VARIABLES):
            variables = pq.read_table(io.BytesIO(data), schema=QUALITY_SCHEMA)
            stored = pq.read_schema(io.BytesIO(data)).metadata or {}
        with _readable(run / CODES):
            codes = zarr.open_array(
                zarr_store(run / CODES, read_only=True), mode="r", zarr_format=3
            )
        prepared = cls(variables, codes, run, stored.get(b"condition", b"").decode())
        last = max((column for columns in prepared._columns for column in columns), default=-1)
        if codes.ndim != 2 or last >= codes.shape[0]:
            raise StoreError(
                f"{(run / CODES).url} has shape {codes.shape}, but {VARIABLES} needs column {last}: "
                "they are of different runs. Prepare the run anew at another URL"
            )
        return prepared

    @property
    def n_variables(self) -> int:
        return len(self.names)

    def load(self, indices: Sequence[int]) -> dict[int, Variable]:
        """The variables of these indices: each chunk that holds one of their columns is read once.

        Raises StoreError where a chunk is lost or damaged.
        """
        needed = np.unique(
            np.array([c for index in indices for c in self._columns[index]], dtype=np.int64)
        )
        codes = np.empty((0, self.n_samples), dtype=np.int32)
        if needed.size:
            with _readable(self._run / CODES):
                codes = np.asarray(self._codes.oindex[needed, :])
        if codes.size and codes.min() < MISSING:
            lost = needed[codes.min(axis=1) < MISSING]
            raise StoreError(
                f"{(self._run / CODES).url} lacks the chunk of column {lost[0]}; it was deleted or "
                "never written. Restore it, or prepare the run anew at another URL"
            )
        return {
            index: Variable(
                name=self.names[index],
                codes=np.ascontiguousarray(
                    codes[np.searchsorted(needed, self._columns[index])].T, dtype=np.int32
                ),
                status=self.statuses[index],
            )
            for index in indices
        }

    def condition(self) -> Condition | None:
        """What all pairs are conditioned on, or None. StoreError where it is lost or damaged."""
        from mmg_ray.store.condition import read_condition

        return read_condition(self._run, self._condition) if self._condition else None

    def qc(self) -> pa.Table:
        """The quality table, one row per variable; QUALITY_SCHEMA says what its columns mean."""
        return self._variables


def _write_codes(table: Table, location: Location) -> list[Quality]:
    n_rows = min(CHUNK_COLUMNS, max(1, CHUNK_BYTES // (4 * table.n_samples)), table.n_variables)
    qualities = []
    with _writable(location):
        array = _codes_array(location, (table.n_variables, table.n_samples), n_rows)
        for start in range(0, table.n_variables, n_rows):
            stop = min(start + n_rows, table.n_variables)
            block = np.empty((stop - start, table.n_samples), dtype=np.int32)
            for row, v in enumerate(range(start, stop)):
                values = table.column(v)
                block[row] = ordinal_codes(values)
                qualities.append(measure(values, block[row]))
            array[start:stop] = block
    return qualities


def _codes_array(location: Location, shape: tuple[int, int], n_rows: int) -> zarr.Array[Any]:
    store = zarr_store(location)
    chunks = (n_rows, shape[1])
    if (location / "zarr.json").exists():
        # left by a driver that died, or being written by another one now: writing the same bytes
        # over it harms neither, deleting it first would
        with contextlib.suppress(OSError, ValueError, RuntimeError, KeyError, TypeError):
            array = zarr.open_array(store, mode="r+", zarr_format=3)
            if (array.shape, array.chunks, array.fill_value) == (shape, chunks, _NEVER_WRITTEN):
                return array
    return zarr.create_array(
        store,
        shape=shape,
        chunks=chunks,
        dtype="int32",
        fill_value=_NEVER_WRITTEN,
        compressors=ZstdCodec(level=3, checksum=True),  # a damaged chunk is an error, not a number
        overwrite=True,
    )


@contextlib.contextmanager
def _readable(location: Location) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreError(
            f"there is nothing at {location.url}; the run was not prepared, or its URL is wrong"
        ) from None
    except Exception as error:  # zarr's, Arrow's, a codec's or a storage backend's own
        raise StoreError(
            f"{location.url} cannot be read ({error}); it was truncated or changed by hand. "
            "Restore it, or prepare the run anew at another URL"
        ) from error


@contextlib.contextmanager
def _writable(location: Location) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the same
        raise StoreError(
            f"cannot write {location.url}: {error}; check the rights and the free space, or set "
            "output.url"
        ) from error
