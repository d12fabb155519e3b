"""csv and tsv, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from itertools import islice
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
from mmg_ray.store.sources.header import holds_names
from mmg_ray.store.sources.identifiers import Aside, set_aside
from mmg_ray.store.sources.table import Contents, default_names

# Longest row that can be parsed: a transposed table of a million samples has rows of ~10 MB.
_BLOCK_BYTES = 1 << 26
_ROWS, _CELLS = 1000, 200_000  # that tell whether a first row of numbers is a sample
_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars", " ": "spaces"}
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
    delimiter = cfg.separator or delimiter
    header, skip = _header(data, delimiter, location, kind)
    named, notes = _named(data, header, skip, delimiter, cfg, location.url)
    if data.startswith(b"#") and skip > 1:
        notes.append(f"header:  comments before line {skip} are skipped")
    names = header if named else default_names(len(header))
    index = index_position(names, cfg, location.url)
    # as text, so that 007 stays 007
    as_text = {position_of(name, names, "data.metadata", location.url) for name in cfg.metadata}
    if index is not None or cfg.transpose:
        as_text.add(index or 0)
    skip = skip if named else skip - 1

    def parse(as_text: set[int], only: int | None = None) -> pa.Table:
        return _parse(
            data, delimiter, len(header), skip, as_text, location, kind, cfg.decimal, only
        )

    table = parse(as_text)
    if named and index is None and cfg.transpose:
        index = first_as_names(table, header, location.url)
    aside = set_aside(table, names, index, cfg) if named else Aside(index, frozenset(), {}, [])
    if aside.index is not None and aside.index != index:
        as_read = parse({aside.index}, aside.index).column(0)
        table = table.set_column(aside.index, str(aside.index), as_read)
    columns = Columns(
        table,
        header if named else None,
        aside.index,
        text_is_numeric=True,
        left_out=aside.left_out,
        doubts=aside.doubts,
        notes=[*notes, *aside.notes],
    )
    return column_contents(columns, cfg, location.url)


def _named(
    data: bytes, header: list[str], skip: int, delimiter: str, cfg: DataConfig, url: str
) -> tuple[bool, list[str]]:
    """Whether the first row holds names, as data.header says or the rows below it; and a note."""
    if cfg.header is not None:
        return cfg.header, []
    rows: list[list[str]] = []
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    if not any(_is_text(cell) for cell in header[1:] or header):  # else it is plain
        for row in islice(csv.reader(text, delimiter=delimiter), skip, None):
            if len(row) == len(header):
                rows.append([cell.strip() for cell in row])
            if len(rows) >= max(30, min(_ROWS, _CELLS // len(header))):
                break
    named, why = holds_names(header, rows)
    if named is None:
        raise DataError(
            f"the first row of {url} ({', '.join(header[:4])}{', ...' if len(header) > 4 else ''}) may be "
            f"names or a sample: {why}. Say which with data.header: true (names) or false (a sample)"
        )
    what = "holds names" if named else "is a sample, and variables are v0, v1, ..."
    return named, [f"header:  the first row {what}: {why} (data.header)"] * bool(why)


def _is_text(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return True
    return False


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
        # strict: a quote that is never closed would make the whole file one name
        for row in csv.reader(text, delimiter=delimiter, strict=True):
            n_skip += not rows
            start = row[0].lstrip() if row and not rows else ""
            # a program and its version; `#cell,A,B` is a header
            if start.startswith(("# ", "##")) or (start.startswith("#") and len(row) == 1):
                continue
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == 2:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(location, f"{kind} in UTF-8", error) from None
    if not rows:
        raise DataError(f"{location.url} is empty; it needs a header and one row per sample")
    header = [cell.strip() for cell in rows[0]]
    header[0] = header[0].lstrip("#").strip()
    if len(header) == 1:
        _refuse_other_separator(header[0], rows[-1], delimiter, location.url)
    # a comma at the end of every row but the header's looks the same: its last cell is empty
    if len(rows) == 2 and len(rows[1]) == len(header) + 1 and rows[1][-1].strip():
        header = ["", *header]
    return header, n_skip


def _refuse_other_separator(header: str, row: list[str], delimiter: str, url: str) -> None:
    """DataError where the only column holds what separates others: semicolons, tabs, spaces, ..."""
    below = delimiter.join(row)
    for other, name in _SEPARATORS.items():
        times = header.count(other)
        if other == delimiter or not times or abs(below.count(other) - times) > 1:
            continue
        way_out = (
            f"data.format: {'csv' if other == ',' else 'tsv'}"
            if {other, delimiter} == {",", "\t"}
            else f'data.separator: "{other}"'
        )
        more = " and data.decimal: ','" if other != "," and "," in below else ""
        if other == " " and "  " in header + below:
            way_out, more = "tabs or commas: columns are separated by runs of spaces", ""
        raise DataError(
            f"{url} has one column only and its header {header[:40]!r} holds {name}; set {way_out}{more}"
        )


def _parse(
    data: bytes,
    delimiter: str,
    n_columns: int,
    n_skip: int,
    as_text: set[int],
    location: Location,
    kind: str,
    decimal: str = ".",
    only: int | None = None,
) -> pa.Table:
    """Typed columns named by their positions; `only` one of them, if given."""
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
                column_types={str(p): pa.string() for p in as_text},
                null_values=MISSING_TOKENS,
                decimal_point=decimal,
                include_columns=None if only is None else [str(only)],
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # header only
            return pa.table({name: pa.nulls(0) for name in names})
        raise unreadable(location, kind, error) from None
