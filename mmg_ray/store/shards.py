"""The edge table: one Parquet object per shard, the source of truth of a run.

An object's bytes are a pure function of (prepared data, configuration, shard id): no time, host or
library call order is in them. Its footer says which run and shard it belongs to, how many pairs have
which status and how many are stored as rows (see `kept`), so that one listing and one short read per
object tell all there is to know of a run's progress, and a truncated, renamed or foreign file is
recognised and counts as not done. It also holds a digest of every column and of itself: a reader
checks what it reads, so a changed bit is an error, never another number.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mmg_ray.errors import StoreError
from mmg_ray.schema import CURVE, EDGE_COLUMNS, SCHEMA_VERSION, Labels, PairEstimates, Status
from mmg_ray.store.csv_names import safe_texts
from mmg_ray.store.kept import KeptRows, best
from mmg_ray.store.location import Location

FOLDER = "edges"

_FOOTER_KEY = b"mmg_ray"
_DIGEST_KEY = b"mmg_ray.sha256"
_NAME = re.compile(r"shard-(\d+)-([0-9a-f]{12})\.parquet")
_TYPES = {
    "int32": pa.int32(),
    "float64": pa.float64(),
    "string": pa.string(),
    CURVE: pa.list_(pa.float32()),
}
# delimited text has no lists
CSV_COLUMNS = [column.name for column in EDGE_COLUMNS if column.dtype != CURVE]
# One row group per object keeps its footer at 5-10 kB whatever its rows: one read fetches it whole.
_ROW_GROUP_ROWS = 64 * 2**20
# hardly two estimates are equal: looking for repeats would take most of the time of writing
_REPEATING = [column.name for column in EDGE_COLUMNS if column.dtype in ("int32", "string")]
# rows digested, and read, at a time
_BLOCK_ROWS = 2**16
# objects up to this size are fetched in a request or two, larger ones a column's part at a time
_WHOLE_BYTES = 32 * 2**20
_PART_BYTES = 4 * 2**20
_RANKED = ("i", "j", "mi_nats", "mi_posterior", "p_value")
_TAIL_BYTES = 32 * 2**10
_TAILS_AT_ONCE = 256


@dataclass(frozen=True)
class Footer:
    """What a shard says of itself: the run and shard it belongs to, and its counts.

    Attributes:
        n_pairs: estimated.
        n_stored: of these, rows of the object.
        statuses: pairs by status, stored or not.
        digests: of the rows, by column.
        schema_version: of the columns.
    """

    fingerprint: str
    shard: int
    n_pairs: int
    n_stored: int
    statuses: dict[str, int]
    digests: dict[str, str]
    schema_version: int = SCHEMA_VERSION

    @property
    def digest(self) -> str:
        """sha256 of itself, and so of the rows."""
        return _sha256(self.text())

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @property
    def n_not_ok(self) -> int:
        """Pairs without a value."""
        return self.n_pairs - self.statuses.get(Status.OK, 0)


@dataclass(frozen=True)
class StoredShard:
    """A whole shard: its footer, bytes, and when it was stored (UTC, seconds; 0 if not known)."""

    footer: Footer
    size: int
    changed_s: float


@dataclass(frozen=True)
class Stored:
    """The objects of a run's shards.

    Attributes:
        whole: by shard.
        damaged: names of those whose footer is damaged, or another's.
    """

    whole: dict[int, StoredShard]
    damaged: list[str]


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


def shard_name(shard: int, fingerprint: str) -> str:
    """File name of a shard of the run with this fingerprint."""
    return f"shard-{shard:06d}-{fingerprint[:12]}.parquet"


def shard_of(name: str) -> int:
    """The shard that an object is named after."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1])


def write_shard(
    run: Location,
    fingerprint: str,
    shard: int,
    names: Sequence[str],
    kept: KeptRows,
) -> Footer:
    """Write what is kept of a shard in one put; return its footer."""
    pairs, estimates = kept.rows()
    table = edge_table(names, pairs, estimates)
    digests = _Digests(table.column_names)
    for batch in table.to_batches(max_chunksize=_BLOCK_ROWS):
        digests.add(batch)
    footer = Footer(
        fingerprint, shard, kept.n_pairs, len(pairs), kept.statuses, digests.hexdigests()
    )
    table = table.replace_schema_metadata({_FOOTER_KEY: footer.text(), _DIGEST_KEY: footer.digest})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        row_group_size=_ROW_GROUP_ROWS,
        use_dictionary=_REPEATING,
        write_page_checksum=True,
        write_statistics=False,  # no reader may skip rows by a number that is not checked
    )
    data = buffer.getvalue()
    (run / FOLDER / shard_name(shard, fingerprint)).write_bytes(data)
    return footer


def finished(run: Location, fingerprint: str) -> dict[int, Footer]:
    """Footers of the shards of `fingerprint` that are whole, by shard id."""
    return {shard: found.footer for shard, found in stored(run, fingerprint).whole.items()}


def stored(
    run: Location, fingerprint: str, before: Mapping[int, StoredShard] | None = None
) -> Stored:
    """The objects of the shards of `fingerprint`, those that are whole and those that are not.

    One listing, then one ranged read of at most 32 kB per object, many at a time. The footer is at
    a Parquet file's end, so a truncated object has none.

    Args:
        before: what an earlier call found; of these only objects that have changed are read again.
    """
    listed = _listed(run, fingerprint)
    known = {shard_name(shard, fingerprint): found for shard, found in (before or {}).items()}
    found = {
        shard: known[name]
        for name, (shard, size, changed_s) in listed.items()
        if name in known
        and changed_s
        and (known[name].size, known[name].changed_s) == (size, changed_s)
    }
    unread = sorted(name for name, (shard, _, _) in listed.items() if shard not in found)
    for k in range(0, len(unread), _TAILS_AT_ONCE):
        batch = {name: listed[name][1] for name in unread[k : k + _TAILS_AT_ONCE]}
        for name, tail in (run / FOLDER).read_tails(batch, _TAIL_BYTES).items():
            footer = _parse_footer(tail)
            if footer is not None and (name, fingerprint) == (
                shard_name(footer.shard, footer.fingerprint),
                footer.fingerprint,
            ):
                found[footer.shard] = StoredShard(footer, *listed[name][1:])
    damaged = [name for name, (shard, _, _) in sorted(listed.items()) if shard not in found]
    return Stored(found, damaged)


def _listed(run: Location, fingerprint: str) -> dict[str, tuple[int, int, float]]:
    """Shard id, bytes and time of change of each object that is named as one of this run.

    StoreError where all are another's: then the manifest is not the one that was written here.
    """
    named = {
        name: (match, entry)
        for name, entry in (run / FOLDER).listing().items()
        if (match := _NAME.fullmatch(name))
    }
    found = {
        name: (int(match[1]), *entry)
        for name, (match, entry) in named.items()
        if match[2] == fingerprint[:12]
    }
    if named and not found:
        theirs = next(iter(named.values()))[0][2]
        raise StoreError(
            f"{run.url} holds shards of run {theirs}, but its manifest is of run {fingerprint[:12]}. Restore "
            "its manifest.json, or delete it and run the configuration of the shards again, which keeps them"
        )
    return found


def _parse_footer(tail: bytes) -> Footer | None:
    """The footer in the last bytes of a Parquet file; None where there is no whole one."""
    try:
        # only the magic before the footer is looked at, so the end of the file is enough
        metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + tail))
        return _footer_of(metadata)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def _footer_of(metadata: pq.FileMetaData) -> Footer:
    """Raises KeyError, TypeError or ValueError where there is none, or it is not as it was written."""
    text = metadata.metadata[_FOOTER_KEY].decode()
    if metadata.metadata[_DIGEST_KEY].decode() != _sha256(text):
        raise ValueError("the checksum of its footer differs")
    footer = Footer(**{"schema_version": None, **json.loads(text)})
    if footer.schema_version != SCHEMA_VERSION:
        raise ValueError(
            f"its schema version is {footer.schema_version or 'unknown'}, and this version of mmg_ray reads "
            f"{SCHEMA_VERSION}"
        )
    return footer


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Digests:
    """sha256 of columns, a block of `_BLOCK_ROWS` rows after the other.

    Of the values alone, whatever the library, its version or the file's layout: a block counts as
    which rows are null, then, of texts and lists, their lengths, then the values, 0 or empty if null.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._hashes = {name: hashlib.sha256() for name in columns}

    def add(self, block: pa.RecordBatch) -> None:
        for name, total in self._hashes.items():
            column = block.column(name)
            total.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)).tobytes())
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
                total.update(column.fill_null(0).to_numpy(zero_copy_only=False).tobytes())

    def hexdigests(self) -> dict[str, str]:
        return {name: total.hexdigest() for name, total in self._hashes.items()}


class Edges:
    """The edge table of finished shards, read from storage when asked for, and checked."""

    def __init__(self, run: Location, fingerprint: str, shards: Sequence[int]) -> None:
        self._folder = run / FOLDER
        self._names = [shard_name(shard, fingerprint) for shard in sorted(shards)]

    def table(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """The rows, all in memory, in plan order.

        Args:
            columns: names to read; default all.
            where: rows to keep, as a pyarrow expression.
        """
        schema = edge_schema()
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self.batches(columns, where)), schema=schema)

    def batches(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows a part at a time, in plan order: bounded memory.

        StoreError where a file is damaged: at its end at the latest, so rows count when all came.
        """
        for part in self.parts(columns, where):
            yield from part

    def parts(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> list[Iterator[pa.RecordBatch]]:
        """The same a shard each, in plan order; several may be read at a time, in threads."""
        asked = edge_schema().names if columns is None else list(columns)
        return [self._part(name, asked, where) for name in self._names]

    def _part(
        self, name: str, asked: list[str], where: pc.Expression | None
    ) -> Iterator[pa.RecordBatch]:
        # what `where` looks at must be read, too; an expression shows its fields in its text only
        text = "" if where is None else str(where)
        read = [name for name in edge_schema().names if name in asked or name in text]
        with self._reading(name):
            for batch in self._read(name, read):
                rows = batch if where is None else batch.filter(where)
                if rows.num_rows:
                    yield rows.select(asked)

    def check(self) -> None:
        """Read everything and keep nothing; StoreError at the first damaged file."""
        for _ in self.batches():
            pass

    def _read(self, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        fs = self._folder.fs
        with fs.open(f"{self._folder.path}/{name}", "rb", cache_type="none") as file:
            parts = {"buffer_size": _PART_BYTES} if file.size > _WHOLE_BYTES else {}
            whole = not parts
            with pq.ParquetFile(
                file, pre_buffer=whole, page_checksum_verification=True, **parts
            ) as parquet:
                footer = _footer_of(parquet.metadata)
                digests = _Digests(columns)
                schema = pa.schema([edge_schema().field(column) for column in columns])
                for batch in parquet.iter_batches(_BLOCK_ROWS, columns=columns):
                    digests.add(batch)
                    yield pa.RecordBatch.from_arrays(
                        [batch.column(column) for column in columns], schema=schema
                    )
                if any(footer.digests[c] != d for c, d in digests.hexdigests().items()):
                    raise ValueError("the checksum of its rows differs")

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Arrow's or a storage backend's own
            raise StoreError(
                f"cannot read the edges {self._folder.url}/{name}: {error}. `mmg-ray run "
                f"{self._folder.url.removesuffix('/' + FOLDER)} --verify` finds damaged shards and computes "
                "them again"
            ) from error

    def strongest(self, k: int, by: str = "mi_nats") -> pa.Table:
        """The first `k` pairs in one of the `RANKINGS`; pairs without a value are left out."""
        first = {name: np.zeros(0) for name in (*_RANKED, "part")}
        for part, batches in enumerate(self.parts(_RANKED, pc.field("mi_nats").is_valid())):
            for batch in batches:
                new = dict(zip(_RANKED, (c.to_numpy(False) for c in batch.columns), strict=True))
                new["part"] = np.full(batch.num_rows, part)
                both = {name: np.concatenate([held, new[name]]) for name, held in first.items()}
                order = best(k, by, **{name: both[name] for name in _RANKED})
                first = {name: column[order] for name, column in both.items()}
        i, j, part_of = (first[name].astype(np.int64) for name in ("i", "j", "part"))
        return self.rows_of(np.stack([i, j], axis=1), np.unique(part_of))

    def rows_of(
        self, pairs: np.ndarray, parts: np.ndarray, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of some (P, 2) pairs i < j, in this order; pairs that are not stored are left out.

        Args:
            parts: positions of the shards to look in, in the order of `parts`.
        """
        i, j = (pa.array(ends) for ends in pairs.T)
        asked = edge_schema().names if columns is None else list(columns)
        read = [name for name in edge_schema().names if name in (*asked, "i", "j")]
        near = self.parts(read, pc.field("i").isin(i) & pc.field("j").isin(j))
        schema = pa.schema([edge_schema().field(name) for name in read])
        found = pa.Table.from_batches([b for part in parts for b in near[part]], schema=schema)
        place = {pair: row for row, pair in enumerate(map(tuple, pairs.tolist()))}
        ends = zip(*(found.column(end).to_pylist() for end in ("i", "j")), strict=True)
        row = np.array([place.get(pair, -1) for pair in ends], dtype=np.int64)
        kept = np.flatnonzero(row >= 0)
        return found.take(kept[np.argsort(row[kept])]).select(asked)

    def write_csv(self, file: BinaryIO) -> int:
        """Write every edge as comma-separated text with a header, without its curve; return the number of rows.

        Names as `mmg_ray.names` has them for delimited text.
        """
        n_rows = 0
        schema = pa.schema([edge_schema().field(name) for name in CSV_COLUMNS])
        with pa.csv.CSVWriter(file, schema) as writer:
            for batch in self.batches(CSV_COLUMNS):
                writer.write_batch(safe_texts(batch))
                n_rows += batch.num_rows
        return n_rows
