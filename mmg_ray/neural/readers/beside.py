"""Tables beside a recording: stimuli, trials, areas. Their times are in seconds."""

from __future__ import annotations

import csv
import io

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.readers import pynapple
from mmg_ray.neural.readers.npz import unit_name
from mmg_ray.neural.readers.table import timed
from mmg_ray.neural.recordings import Series
from mmg_ray.store.sources import read_table
from mmg_ray.store.sources.files import locate, open_file, unreadable
from mmg_ray.store.sources.select import nearest

_TIME = "time"


def stimuli(url: str) -> Series:
    """A table with a column `time`, or a series that pynapple wrote."""
    if url.endswith(".npz"):
        return pynapple.read_series(url)
    table = read_table(DataConfig(path=url), [_TIME], doubts=False)
    if _TIME not in table.names:
        raise DataError(f"{url} has no column {_TIME!r} of seconds{nearest(_TIME, table.names)}")
    return timed(table, _TIME)


def trials(url: str) -> dict[str, np.ndarray]:
    """The columns of a csv or tsv, or of an IntervalSet or a Ts that pynapple wrote."""
    return pynapple.read_epochs(url) if url.endswith(".npz") else _columns(url)


def is_table(name: str) -> bool:
    """Whether between.areas names a table rather than a column of the recording itself."""
    return name.endswith((".csv", ".tsv", ".txt"))


def areas(url: str) -> dict[str, str]:
    """{unit: area} of a csv or tsv of these columns; units may go by their numbers."""
    columns = _columns(url)
    if not {"unit", "area"} <= set(columns):
        raise ConfigError(
            f"between.areas: {url} needs columns unit, area; it has {', '.join(columns)}"
        )
    found = {}
    for unit, area in zip(columns["unit"].tolist(), columns["area"].tolist(), strict=True):
        # 3 is the unit called unit3, or the channel called 3
        for name in [unit_name(unit), f"{unit:g}"] if isinstance(unit, float) else [unit]:
            found[name] = str(area)
    return found


def _columns(url: str) -> dict[str, np.ndarray]:
    """The columns of a csv or tsv, numbers where all are."""
    location = locate(url)
    with open_file(location) as file:
        data = file.read()
    try:
        text = io.StringIO(data.decode("utf-8-sig"))
        rows = list(csv.reader(text, delimiter="\t" if ".tsv" in url else ","))
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(location, "csv or tsv", error) from None
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(
            f"{url} is no table: a line of names and as many values in every other line"
        )
    columns = {}
    for name, column in zip(rows[0], zip(*rows[1:], strict=True), strict=True):
        try:
            columns[name] = np.array([float(v) if v.strip() else np.nan for v in column])
        except ValueError:
            columns[name] = np.array(column)
    return columns
