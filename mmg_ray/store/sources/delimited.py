"""csv and tsv, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv as pa_csv

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.columns import (
    MISSING_TOKENS,
    Columns,
    column_contents,
    first_as_names,
    index_position,
    position_of,
)
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.table import Contents, default_names

# Longest row that can be parsed: a transposed table of a million samples has rows of ~10 MB.
_BLOCK_BYTES = 1 << 26
_GZIP_MAGIC = b"\x1f\x8b"


def read_csv(location: Location, cfg: DataConfig) -> Contents:
    return _read(location, cfg, ",", "csv")


def read_tsv(location: Location, cfg: DataConfig) -> Contents:
    return _read(location, cfg, "\t", "tsv")


def read_text_columns(location: Location, delimiter: str) -> dict[str, list[str]]:
    """Every column of a small csv or tsv file with a header, as text."""
    kind = "tsv" if delimiter == "\t" else "csv"
    data = _text(location, kind)
    header, skip = _header(data, delimiter, location, kind)
    table = _parse(data, delimiter, len(header), skip, set(range(len(header))), location, kind)
    return {name.strip(): table.column(p).to_pylist() for p, name in enumerate(header)}


def _read(location: Location, cfg: DataConfig, delimiter: str, kind: str) -> Contents:
    data = _text(location, kind)
    header, skip = _header(data, delimiter, location, kind)
    named = not _is_data(header)
    names = header if named else default_names(len(header))
    index = index_position(names, cfg, location.url)
    # as text, so that 007 stays 007
    as_text = {position_of(name, names, "data.metadata", location.url) for name in cfg.metadata}
    if index is not None or cfg.transpose:
        as_text.add(index or 0)
    table = _parse(data, delimiter, len(header), skip if named else 0, as_text, location, kind)
    if named and index is None and cfg.transpose:
        index = first_as_names(table, header, location.url)
    columns = Columns(table, header if named else None, index, text_is_numeric=True)
    return column_contents(columns, cfg, location.url)


def _text(location: Location, kind: str) -> bytes:
    """The whole file, unzipped: it is about as large as the float64 table it becomes."""
    with open_file(location) as file:
        data = file.read()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise unreadable(location, f"gzipped {kind}", error) from None
    return data


def _header(data: bytes, delimiter: str, location: Location, kind: str) -> tuple[list[str], int]:
    """Cells of the first row, and how many lines to skip to pass it.

    R's write.table gives the header one cell less than the rows: the first column is then unnamed.
    """
    rows: list[list[str]] = []
    n_skip = 0
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    try:
        for row in csv.reader(text, delimiter=delimiter):
            n_skip += not rows
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == 2:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(location, f"{kind} in UTF-8", error) from None
    if not rows:
        raise DataError(f"{location.url} is empty; it needs a header and one row per sample")
    header = [cell.strip() for cell in rows[0]]
    other = "," if delimiter == "\t" else "\t"
    if len(header) == 1 and other in header[0]:
        raise DataError(
            f"{location.url} has one column only and its header {header[0][:40]!r} holds "
            f"{'commas' if other == ',' else 'tabs'}; set data.format: "
            f"{'csv' if other == ',' else 'tsv'}"
        )
    # a comma at the end of every row but the header's looks the same: its last cell is empty
    if len(rows) == 2 and len(rows[1]) == len(header) + 1 and rows[1][-1].strip():
        header = ["", *header]
    return header, n_skip


def _is_data(header: list[str]) -> bool:
    """Whether the first row is data, not names: all numbers, and not pandas' 0, 1, 2, ..."""
    if header == [str(v) for v in range(len(header))] and len(header) > 1:
        return False
    try:
        return bool([float(cell) for cell in header])
    except ValueError:
        return False


def _parse(
    data: bytes,
    delimiter: str,
    n_columns: int,
    n_skip: int,
    as_text: set[int],
    location: Location,
    kind: str,
) -> pa.Table:
    # positions as names: the file's own may repeat
    names = [str(p) for p in range(n_columns)]
    file: BinaryIO = pa.BufferReader(data)
    try:
        return pa_csv.read_csv(
            file,
            pa_csv.ReadOptions(
                column_names=names, skip_rows_after_names=n_skip, block_size=_BLOCK_BYTES
            ),
            pa_csv.ParseOptions(delimiter=delimiter),
            pa_csv.ConvertOptions(
                column_types={str(p): pa.string() for p in as_text}, null_values=MISSING_TOKENS
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # header only
            return pa.table({name: pa.nulls(0) for name in names})
        raise unreadable(location, kind, error) from None
