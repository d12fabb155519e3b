"""Reading the edge table of a run: a part at a time, checked against the digests of its footers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mmg_ray.errors import StoreError
from mmg_ray.network.graph import LAG_COLUMNS
from mmg_ray.network.stream import Batch
from mmg_ray.schema import CURVE, EDGE_COLUMNS
from mmg_ray.store.csv_names import safe_texts
from mmg_ray.store.edge_table import BLOCK_ROWS, ColumnDigests, edge_schema, numbers
from mmg_ray.store.kept import best, first_weight
from mmg_ray.store.location import Location
from mmg_ray.store.shards import FOLDER, footer_of, shard_name

# delimited text has no lists
CSV_COLUMNS = [column.name for column in EDGE_COLUMNS if column.dtype != CURVE]
# objects up to this size are fetched in a request or two, larger ones a column's part at a time
_WHOLE_BYTES = 32 * 2**20
_PART_BYTES = 4 * 2**20
_RANKED = ("i", "j", "mi_nats", "mi_posterior", "p_value")
_EDGE_FIELDS = (
    "i",
    "j",
    "mi_nats",
    "se_nats",
    "p_value",
    "spearman",
    "mi_posterior",
    "p_dependent",
)


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
                footer = footer_of(parquet.metadata)
                digests = ColumnDigests(columns)
                schema = pa.schema([edge_schema().field(column) for column in columns])
                for batch in parquet.iter_batches(BLOCK_ROWS, columns=columns, use_threads=False):
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


def edge_fields(lagged: bool) -> list[str]:
    """Columns of the edge table that a `Batch` is made of."""
    return [*_EDGE_FIELDS, *(column.name for column in LAG_COLUMNS if lagged)]


def batch_of(rows: pa.RecordBatch) -> Batch:
    """Rows of the edge table that have a value, `edge_fields`, as network steps take them; no q-values yet."""
    return batch_from(*map(numbers, rows.columns))


def batch_from(i: np.ndarray, j: np.ndarray, mi: np.ndarray, *others: np.ndarray) -> Batch:
    """The same from (B,) columns in the order of `edge_fields`."""
    se, p, rho, posterior, dependent, *lags = (
        values.astype(float, copy=False) for values in others
    )
    weight, q = first_weight(mi, posterior), np.full(len(i), np.nan)
    of_lags = np.stack(lags, axis=1) if lags else None
    return Batch(i, j, weight, mi, se, p, q, rho, dependent, of_lags)
