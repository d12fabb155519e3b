"""Parquet: one column per variable (or, transposed, per sample)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from mmg_ray.config import DataConfig
from mmg_ray.store.location import Location
from mmg_ray.store.sources.columns import Columns, column_contents, first_as_names, index_position
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.identifiers import set_aside
from mmg_ray.store.sources.table import Contents


def read_parquet(location: Location, cfg: DataConfig) -> Contents:
    table = read_arrow(location)
    names = [str(name) for name in table.column_names]
    index = index_position(names, cfg, location.url)
    if index is None:
        index = _pandas_index(table.schema, names)
    if index is None and cfg.transpose and names:
        index = first_as_names(table, names, location.url)
    aside = set_aside(table, names, index, cfg)
    columns = Columns(
        table,
        names,
        aside.index,
        text_is_numeric=False,
        left_out=aside.left_out,
        doubts=aside.doubts,
        notes=aside.notes,
    )
    return column_contents(columns, cfg, location.url)


def read_arrow(location: Location) -> pa.Table:
    """The whole file: column projection by name mistakes 'a.b' for a part of 'a'."""
    with open_file(location) as file:
        try:
            return pq.ParquetFile(file).read()
        except (pa.ArrowException, OSError, EOFError) as error:
            raise unreadable(location, "parquet", error) from None


def _pandas_index(schema: pa.Schema, names: list[str]) -> int | None:
    """Position of a DataFrame's index, which pandas notes in the schema; ranges have no column."""
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    positions = [names.index(name) for name in stored if isinstance(name, str) and name in names]
    return positions[0] if positions else None
