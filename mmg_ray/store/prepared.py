"""Prepared variables: ordinal codes by column and a quality table, written once per run.

    prepared/codes.zarr         (n_columns, N) int32, one chunk = a few columns of all samples
    prepared/condition.parquet  what all pairs are conditioned on, if anything (see `condition`)
    prepared/identity.npy       (N,) uint64 hashes of the names of the samples, if all have one of their own
    prepared/segments.npy       (S,) int64 first samples of the trials of a run with lags, if it has several
    prepared/variables.parquet  one row per variable, and the digests of the others; written last, so it
                                says that all is there

A worker reads the few chunks that hold its tile's columns, checks their digests, and reads nothing else.
The bytes depend on the table and the groups alone: preparing twice, or twice at once, writes the same
objects.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError, MMGError, StoreError
from mmg_ray.estimator.ranks.marginals import ordinal_codes, sparse_codes
from mmg_ray.schema import SCHEMA_KEY, SCHEMA_VERSION, Status, Variable
from mmg_ray.store import digests
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.location import Location
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
from mmg_ray.store.zarr_store import Checked, Recording

if TYPE_CHECKING:
    from mmg_ray.estimator.conditional.conditional_ranks import Condition

CODES = "prepared/codes.zarr"
CONDITION = "prepared/condition.parquet"
IDENTITY = "prepared/identity.npy"
SEGMENTS = "prepared/segments.npy"
VARIABLES = "prepared/variables.parquet"

CHUNK_COLUMNS = 64
CHUNK_BYTES = 1 << 25  # uncompressed; very long tables get fewer columns to a chunk

# What a chunk that was never written reads as, to programs that check no digests. No code has this value.
_NEVER_WRITTEN = -2
_METADATA = "zarr.json"
_DIGESTS = b"mmg_ray.digests"


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
    identity = _identity(table)
    if identity is not None:
        written[IDENTITY] = _write(run / IDENTITY, identity)
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
        {_DIGESTS: json.dumps(written, sort_keys=True), SCHEMA_KEY: str(SCHEMA_VERSION)}
    )
    buffer = io.BytesIO()
    pq.write_table(variables, buffer)
    data = buffer.getvalue()
    (run / VARIABLES).write_bytes(data)
    return Digest.of(data).sha256


class Prepared:
    """The prepared variables of a run, read as needed.

    Attributes:
        names: of the V variables, in the order of their indices.
        dims: (V,) int64, usable columns of each; 0 only where the status is not ok.
        statuses: of each; messages are in `qc()`.
        n_samples: N, rows of the table.
        digests: of everything below prepared/ but the table of variables, which holds them.
    """

    def __init__(
        self, variables: pa.Table, codes: zarr.Array[Any], run: Location, written: Digests
    ) -> None:
        self.digests = written
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
        if digest is not None:
            digests.require(run, VARIABLES, data, Digest(digest))
        with _readable(run / VARIABLES):
            variables = pq.read_table(io.BytesIO(data), schema=QUALITY_SCHEMA)
            stored = pq.read_schema(io.BytesIO(data)).metadata or {}
            version = stored.get(SCHEMA_KEY.encode(), b"unknown").decode()
            if version != str(SCHEMA_VERSION):
                raise ValueError(
                    f"its schema version is {version}, and this version of mmg_ray reads {SCHEMA_VERSION}"
                )
            written = digests.from_json(json.loads(stored[_DIGESTS]))
        with _readable(run / CODES):
            codes = zarr.open_array(Checked(run, CODES, written), mode="r", zarr_format=3)
        return cls(variables, codes, run, written)

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

    def identity(self) -> np.ndarray | None:
        """(N,) uint64 of the samples: whichever others there are, each stays in its half of them.

        None where the samples have no names of their own; their rows are then what they are known by.
        """
        if IDENTITY not in self.digests:
            return None
        data = (self._run / IDENTITY).read_bytes()
        digests.require(self._run, IDENTITY, data, self.digests[IDENTITY])
        found: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return found

    def segments(self) -> np.ndarray:
        """(S,) int64 first sample of each trial; of one recording [0]."""
        if SEGMENTS not in self.digests:
            return np.zeros(1, dtype=np.int64)
        data = (self._run / SEGMENTS).read_bytes()
        digests.require(self._run, SEGMENTS, data, self.digests[SEGMENTS])
        found: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return found

    def condition(self) -> Condition | None:
        """What all pairs are conditioned on, or None. StoreError where it is lost or damaged."""
        digest = self.digests.get(CONDITION)
        if digest is None:
            return None
        from mmg_ray.store.condition import read_condition

        data = (self._run / CONDITION).read_bytes()
        digests.require(self._run, CONDITION, data, digest)
        return read_condition(data, digest.sha256)

    def qc(self) -> pa.Table:
        """The quality table, one row per variable; QUALITY_SCHEMA says what its columns mean."""
        return self._variables


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


def _identity(table: Table) -> np.ndarray | None:
    names = table.sample_names
    if names is None or len(set(names)) < len(names):
        return None
    hashes = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(hashes, dtype="<u8")


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
    metadata = in_memory[_METADATA]
    place = location / _METADATA
    if place.exists() and place.read_bytes() == metadata.to_bytes():
        store.note(_METADATA, metadata)
        return zarr.open_array(store, mode="r+", zarr_format=3)
    return create(store)


@contextlib.contextmanager
def _readable(location: Location) -> Iterator[None]:
    try:
        yield
    except MMGError:
        raise
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
