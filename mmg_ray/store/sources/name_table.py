"""Small tables of names: groups and listed pairs."""

from __future__ import annotations

from mmg_ray.errors import DataError
from mmg_ray.store.sources.delimited import read_text_columns
from mmg_ray.store.sources.files import locate
from mmg_ray.store.sources.parquet import read_arrow
from mmg_ray.store.sources.select import nearest


def read_name_table(url: str, wanted: tuple[str, str], option: str) -> list[tuple[str, str]]:
    """Rows of the two columns `wanted` of a csv, tsv or parquet table, as text.

    Raises DataError, naming the configuration's `option`, for a missing column or an empty cell.
    """
    location = locate(url)
    name = location.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        columns = read_arrow(location).to_pydict()
    else:
        columns = read_text_columns(location, "\t" if name.endswith(".tsv") else ",")
    for column in wanted:
        if column not in columns:
            raise DataError(
                f"{option}: {url} has no column {column!r}{nearest(column, columns)} "
                f"It needs columns {', '.join(wanted)}"
            )
    rows = list(zip(*(columns[column] for column in wanted), strict=True))
    for number, (first, second) in enumerate(rows, start=1):
        if first in (None, "") or second in (None, ""):
            raise DataError(
                f"{option}: row {number} of {url} has an empty cell ({wanted[0]} {first!r}, "
                f"{wanted[1]} {second!r}); fill it or remove the row"
            )
    return [(str(first), str(second)) for first, second in rows]
