"""Trials of an NWB file: its table of trials, or of intervals of another name."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.readers.paths import matches, one_of

_TRIALS = "intervals/trials"


def trials_of(
    objects: dict[str, Any], cfg: NeuralConfig, notes: list[str]
) -> dict[str, np.ndarray]:
    """Columns of the table of trials, or of the intervals that bins.trials names; {} for a file of its own."""
    from pynwb.epoch import TimeIntervals

    tables = {path: o for path, o in objects.items() if isinstance(o, TimeIntervals)}
    name = cfg.bins.trials
    if name is not None and not matches(list(tables), name):
        return {}
    path = None
    if name is not None or _TRIALS in tables or cfg.bins.align is not None:
        path = one_of(list(tables), name, _TRIALS, "bins.trials", "table of intervals")
    if unused := sorted(tables.keys() - {path}):
        notes.append(f"trials:  no use of {', '.join(unused)}; bins.trials chooses")
    if path is None:
        return {}
    columns, unusable = _columns(tables[path])
    notes.append(f"trials:  {len(tables[path].id)} of {path}: {', '.join(columns)}")
    if unusable:
        listed = ", ".join(f"{column} ({reason})" for column, reason in unusable.items())
        notes.append(f"trials:  no use of columns {listed}")
    return columns


def _columns(table: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The columns of one value a row, and why others are of no use. One column costs no other."""
    columns: dict[str, np.ndarray] = {}
    unusable: dict[str, str] = {}
    for name in table.colnames:
        try:
            columns[name] = _flat(table[name])
        except (ValueError, TypeError, OSError, KeyError, IndexError) as error:
            unusable[name] = str(error)
    return columns, unusable


def _flat(column: Any) -> np.ndarray:
    """(n,) numbers, truth values or texts. ValueError, with the reason, for others."""
    from hdmf.common import DynamicTableRegion, VectorIndex
    from hdmf.common.table import EnumData

    if isinstance(column, VectorIndex):
        raise ValueError("several values a row")
    if isinstance(column, DynamicTableRegion):
        raise ValueError("rows of another table")
    values = np.asarray(column.data[:])
    if values.ndim != 1:
        raise ValueError(f"of shape {values.shape}")
    if isinstance(column, EnumData):
        return np.asarray(column.elements.data[:]).astype(str)[values]
    if values.dtype.kind in "biufU":
        return values
    if values.dtype.kind in "SO" and all(isinstance(v, str | bytes) for v in values.tolist()):
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values.tolist()], str)
    raise ValueError(f"of {values.dtype}")
