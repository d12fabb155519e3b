"""Files of pynapple: what its objects save, an npz file each. Nothing of it is unpickled.

Since version 0.9 the metadata of units and channels are a pickle, so that they cannot be used.
"""

from __future__ import annotations

import itertools
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.readers.npz import Arrays, arrays, by_unit, unit_name
from mmg_ray.neural.recordings import Recording, Series

_KINDS = ("Ts", "Tsd", "TsdFrame", "TsdTensor", "TsGroup", "IntervalSet")
_OWN = {"type", "_metadata", "t", "d", "index", "keys", "columns", "start", "end"}


def kind_of(found: Arrays) -> str | None:
    """The class that wrote an npz file, None where it was not pynapple; the first versions do not say."""
    names = set(found)
    if "type" in names:
        values = found["type"].ravel()
        kind = str(values[0]) if values.size and values.dtype.kind in "US" else ""
        return kind if kind in _KINDS else None
    if not {"start", "end"} <= names <= _OWN:
        return None
    if "t" not in names:
        return "IntervalSet"
    if "index" in names:
        return "TsGroup"
    if "columns" in names:
        return "TsdFrame"
    return "TsdTensor" if "d" in names else "Ts"  # a Tsd is a tensor of no further axes


def read_pynapple(cfg: NeuralConfig) -> Recording:
    """Spikes of Ts and TsGroup, series of Tsd, TsdFrame and TsdTensor; outside of time_support is a gap."""
    with arrays(cfg.data.path) as found:
        kind = kind_of(found)
        if kind is None:
            raise DataError(
                f"{cfg.data.path} was not written by pynapple: it is none of {', '.join(_KINDS)}; see "
                "recording.layout"
            )
        if kind == "IntervalSet":
            raise DataError(
                f"{cfg.data.path} is an IntervalSet: times without a recording. Set it as bins.trials, with "
                "bins.align: start, and the recording as data.path"
            )
        notes = [f"kind:    {kind} of pynapple"]
        epochs = np.stack([found["start"], found["end"]], axis=1).astype(float)
        notes += gaps(epochs)
        columns = sorted(set(found) - _OWN)
        area = cfg.between.areas if cfg.between.areas in columns else None
        unused = [name for name in columns if name != area]
        if unused:
            notes.append(f"areas:   no use of columns {', '.join(unused)}")
        if "_metadata" in found:
            notes.append(
                "areas:   what the object has of metadata is a pickle, which is never read; areas are taken of a "
                "table with columns unit, area (between.areas)"
            )
        if kind not in ("Ts", "TsGroup"):
            return Recording(series=[_series(found, kind, notes)], notes=notes)
        if kind == "Ts":
            spikes = {_stem(found.url): found["t"]}
        else:
            keys = found["keys"]
            spikes = {unit_name(k): np.empty(0) for k in keys.tolist()}
            spikes |= by_unit(found["t"], found["index"], f"{cfg.data.path}: t, index")
            if "d" in found:
                notes.append(
                    "kind:    no use of the values d of its Tsd: their times alone are spikes"
                )
        areas = {}
        if area is not None:
            areas = dict(zip(spikes, map(str, found[area].tolist()), strict=True))
        return Recording(
            spikes=spikes, observed=dict.fromkeys(spikes, epochs), areas=areas, notes=notes
        )


def gaps(epochs: np.ndarray) -> list[str]:
    """What is to be said of (k, 2) epochs of time_support."""
    if len(epochs) < 2:
        return []
    return [
        f"gaps:    time_support is {len(epochs)} epochs, {np.diff(epochs).sum():g} s in all; samples that lie "
        "outside of them are missing"
    ]


def read_series(url: str) -> Series:
    """The series of a Tsd, TsdFrame or TsdTensor that stands beside a recording."""
    with arrays(url) as found:
        kind = kind_of(found)
        if kind not in ("Tsd", "TsdFrame", "TsdTensor"):
            raise ConfigError(
                f"between.stimulus_path: {url} is {kind or 'no file of pynapple'}, and a stimulus is a Tsd, "
                "TsdFrame or TsdTensor, or a table with a column `time`"
            )
        return _series(found, kind, [])


def read_epochs(url: str) -> dict[str, np.ndarray]:
    """Columns start and end of an IntervalSet, or t of a Ts."""
    with arrays(url) as found:
        kind = kind_of(found)
        columns = {"IntervalSet": ("start", "end"), "Ts": ("t",)}.get(kind or "")
        if columns is None:
            raise ConfigError(
                f"bins.trials: {url} is {kind or 'no file of pynapple'}, and trials are an IntervalSet, a Ts, "
                "or a csv or tsv table"
            )
        return {name: found[name].astype(float) for name in columns}


def _series(found: Arrays, kind: str, notes: list[str]) -> Series:
    values = np.asarray(found["d"], float)
    stem = _stem(found.url)
    if kind == "TsdFrame":
        try:
            columns = found["columns"].tolist()
        except DataError:
            columns = list(range(values.shape[1]))
            notes.append(
                f"names:   those of the columns are a pickle, which is never read: {stem}_0, {stem}_1, ... in "
                "the file's order"
            )
    else:
        columns = None
    return series_named(found["t"].astype(float), values, stem, columns)


def series_named(
    times: np.ndarray, values: np.ndarray, stem: str, columns: list[Any] | None
) -> Series:
    """Of (T, ...) values: text columns by their names, others and axes without columns numbered after `stem`."""
    if columns is None:
        places = itertools.product(*map(range, values.shape[1:]))
        names = ["_".join([stem, *map(str, place)]) for place in places]
    else:
        names = [c if isinstance(c, str) else f"{stem}_{c}" for c in columns]
    return Series(times, values.reshape(len(values), -1), names)


def _stem(url: str) -> str:
    return PurePosixPath(url.split("::")[0]).stem
