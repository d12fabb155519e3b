"""The edge table: one Parquet object per shard, the source of truth of a run.

An object's bytes are a pure function of (prepared data, configuration, shard id): no time, host or
library call order is in them. Its footer says which run and shard it belongs to, how many pairs have
which status and how many are stored as rows (see `kept`), so that one listing and one short read per
object tell all there is to know of a run's progress, and a truncated, renamed or foreign file is
recognised and counts as not done. It also holds a digest of every column and of itself: a reader
checks what it reads, so a changed bit is an error, never another number.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mmg_ray.errors import StoreError
from mmg_ray.schema import EDGE_COLUMNS, SCHEMA_VERSION, Status
from mmg_ray.store.edge_table import BLOCK_ROWS, ColumnDigests, edge_table
from mmg_ray.store.kept import KeptRows
from mmg_ray.store.location import Location

FOLDER = "edges"
_FOOTER_KEY = b"mmg_ray"
_DIGEST_KEY = b"mmg_ray.sha256"
_NAME = re.compile(r"shard-(\d+)-([0-9a-f]{12})\.parquet")
# One row group per object keeps its footer at 5-10 kB whatever its rows: one read fetches it whole.
_ROW_GROUP_ROWS = 64 * 2**20
# hardly two estimates are equal: looking for repeats would take most of the time of writing
_REPEATING = [column.name for column in EDGE_COLUMNS if column.dtype in ("int32", "string")]
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
    digests = ColumnDigests(table.column_names)
    for batch in table.to_batches(max_chunksize=BLOCK_ROWS):
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
        return footer_of(metadata)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def footer_of(metadata: pq.FileMetaData) -> Footer:
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
