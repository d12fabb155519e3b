"""NWB: units, the time series that are asked for, tables of trials. All are named by their paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.readers import beside
from mmg_ray.neural.readers.nwb_trials import trials_of
from mmg_ray.neural.readers.paths import choose, matches, one_of, short_names
from mmg_ray.neural.recordings import MOST_VALUES, Recording, Series, channel_names
from mmg_ray.store.sources.files import locate, open_file, unreadable
from mmg_ray.store.sources.select import nearest

_UNITS = "units"


def read_nwb(cfg: NeuralConfig) -> Recording:
    """The recording in an NWB file. DataError or ConfigError for what cannot be read or is not there."""
    try:
        import h5py
        import pynwb
    except ImportError:
        raise ConfigError("nwb files need the package pynwb: pip install 'mmg-ray[nwb]'") from None
    location = locate(cfg.data.path)
    with open_file(location) as raw:
        try:
            with h5py.File(raw, "r") as file, pynwb.NWBHDF5IO(file=file, mode="r") as io_:
                objects = {_path(io_.manager, o): o for o in io_.read().objects.values()}
                return _recording(dict(sorted(objects.items())), cfg)
        except (DataError, ConfigError):
            raise
        except Exception as error:  # noqa: BLE001  # h5py's, hdmf's, pynwb's own
            raise unreadable(location, "nwb", error) from None


def _path(manager: Any, found: Any) -> str:
    """Where an object lies in the file: acquisition/lfp, processing/behavior/speed."""
    builder = manager.get_builder(found)
    return str(found.name if builder is None else builder.path.removeprefix("root/"))


def _recording(objects: dict[str, Any], cfg: NeuralConfig) -> Recording:
    from pynwb import TimeSeries
    from pynwb.image import ImageSeries

    every = {path: o for path, o in objects.items() if isinstance(o, TimeSeries)}
    numbers = {
        path: o
        for path, o in every.items()
        if getattr(getattr(o.data, "dtype", None), "kind", "") in ("b", "i", "u", "f")
        and not isinstance(o, ImageSeries)
    }
    notes = [f"nwb:     time series: {', '.join(numbers) or 'none'}"]
    others = sorted(every.keys() - numbers.keys())
    if others:
        notes.append(f"nwb:     no series of numbers: {', '.join(others)}")
    trials = trials_of(objects, cfg, notes)
    chosen: dict[str, dict[str, list[str]]] = {"recording.series": {}, "between.stimulus": {}}
    for name in cfg.recording.series:
        if not matches(list(numbers), name) and (unusable := matches(others, name)):
            raise ConfigError(
                f"recording.series: {', '.join(unusable[0])} holds texts or images, and channels are numbers"
            )
        chosen["recording.series"][name] = choose(
            list(numbers), name, "recording.series", "time series"
        )
    for name in cfg.between.stimulus:
        found = matches(list(numbers), name)
        if found and name in trials:
            raise ConfigError(
                f"between.stimulus: {name!r} is a column of the trials and a time series ("
                f"{'; '.join(', '.join(one) for one in found)}); name the series by its path, the column "
                f"as trials/{name}"
            )
        if found:
            chosen["between.stimulus"][name] = choose(
                list(numbers), name, "between.stimulus", "time series"
            )
    prefixes = short_names(
        list(dict.fromkeys(p for of in chosen.values() for ps in of.values() for p in ps))
    )
    series: dict[str, dict[str, Series]] = {option: {} for option in chosen}
    for option, named in chosen.items():
        for name, paths in named.items():
            for path in paths:
                series[option].setdefault(path, _series(numbers[path], path, prefixes[path], name))
    _refuse_clashes(series)
    spikes, observed, areas = _spikes(objects, cfg, notes)
    if (column := cfg.between.areas) is not None and not beside.is_table(column):
        for path, one in series["recording.series"].items():
            areas |= _areas_of_channels(numbers[path], one.names, column)
    return Recording(
        spikes=spikes,
        observed=observed,
        areas=areas,
        trials=trials,
        series=list(series["recording.series"].values()),
        stimuli=list(series["between.stimulus"].values()),
        notes=notes,
    )


# --- time series


def _series(found: Any, path: str, prefix: str, name: str) -> Series:
    if found.data.size > MOST_VALUES:
        raise DataError(
            f"time series {path!r} holds {found.data.size:,} values (shape {found.data.shape}), more than fit; store "
            "one of fewer channels or of a lower rate beside it"
        )
    values = np.asarray(found.data[:], float) * found.conversion + (found.offset or 0.0)
    values = values.reshape(len(values), -1)
    by_rate = found.timestamps is None
    if by_rate:
        times = (found.starting_time or 0.0) + np.arange(len(values)) / found.rate
    else:
        times = np.asarray(found.timestamps[:], float)
    if len(times) != len(values):
        raise DataError(
            f"time series {path!r} has {len(times)} times and data of shape {found.data.shape}: the "
            "first axis must be time"
        )
    return Series(times, values, channel_names(prefix, values.shape[1]), name, by_rate)


def _refuse_clashes(series: Mapping[str, Mapping[str, Series]]) -> None:
    """ConfigError where channels of two series would be variables of one name."""
    owners: dict[str, str] = {}
    for of in series.values():
        for path, one in of.items():
            for channel in one.names:
                other = owners.setdefault(channel, path)
                if other != path:
                    raise ConfigError(
                        f"{channel!r} would be the name of a channel of {other} and of one of {path}; choose one "
                        "of them in recording.series and between.stimulus, or rename one in the file"
                    )


# --- units


def _spikes(
    objects: dict[str, Any], cfg: NeuralConfig, notes: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
    from pynwb.misc import Units

    tables = {path: o for path, o in objects.items() if isinstance(o, Units)}
    path = one_of(list(tables), cfg.recording.units, _UNITS, "recording.units", "table of units")
    if path is None:
        return {}, {}, {}
    if unused := sorted(tables.keys() - {path}):
        notes.append(f"units:   of {path}; no use of {', '.join(unused)}")
    units = tables[path]
    if "spike_times" not in units.colnames:
        notes.append(f"units:   {path} has no column spike_times, so it holds no spikes")
        return {}, {}, {}
    _check_index(units, path)
    ids = units.id[:].tolist()
    if len(set(ids)) < len(ids):
        notes.append("units:   ids are repeated, so units are numbered by row")
        ids = list(range(len(ids)))
    names = [f"unit{i}" for i in ids]
    spikes = {name: np.asarray(units["spike_times"][k], float) for k, name in enumerate(names)}
    observed = {}
    if "obs_intervals" in units.colnames:
        every = {
            n: np.asarray(units["obs_intervals"][k], float).reshape(-1, 2)
            for k, n in enumerate(names)
        }
        observed = {name: intervals for name, intervals in every.items() if len(intervals)}
        if len(observed) < len(every):
            notes.append(
                f"units:   {len(every) - len(observed)} without obs_intervals are taken as recorded throughout"
            )
    column = cfg.between.areas
    if column is not None and beside.is_table(column):
        column = None
    used = {"spike_times", "obs_intervals", column}
    if unused := [name for name in units.colnames if name not in used]:
        notes.append(f"units:   no use of columns {', '.join(unused)}")
    areas = {} if column is None else dict(zip(names, _areas(units, column, notes), strict=True))
    return spikes, observed, areas


def _check_index(units: Any, path: str) -> None:
    """DataError where the index of spike times does not divide them: slices would be empty or short, unsaid."""
    index = units["spike_times"]
    ends = np.asarray(index.data[:]).astype(np.int64)
    n = len(index.target.data)
    if (np.diff(ends, prepend=0) < 0).any() or (len(ends) and ends[-1] != n):
        raise DataError(
            f"{path}: spike_times_index does not go up to the number of spike times, {n}; write the file again"
        )


def _areas(units: Any, column: str, notes: list[str]) -> list[str]:
    """Of each unit the value of its own column, else that of its electrodes or their group."""
    rows = range(len(units.id))
    every: list[list[str]]
    if column in units.colnames:
        every = [_texts(units[column][k]) for k in rows]
    elif "electrodes" in units.colnames and any(
        column in units["electrodes"][k].columns for k in rows
    ):
        every = [_texts(units["electrodes"][k][column]) for k in rows]
    elif "electrode_group" in units.colnames and hasattr(units["electrode_group"][0], column):
        every = [_texts(getattr(units["electrode_group"][k], column)) for k in rows]
    else:
        raise DataError(
            f"between.areas: {column!r} is a column neither of the units nor of their electrodes"
            f"{nearest(column, units.colnames)}"
        )
    if several := sum(len(set(texts)) > 1 for texts in every):
        notes.append(f"areas:   {several} units have several values of {column}; the first counts")
    return [texts[0] if texts else "" for texts in every]


def _areas_of_channels(series: Any, names: list[str], column: str) -> dict[str, str]:
    """Of each channel the value of a column of its electrodes, or of its regions of interest."""
    region = getattr(series, "electrodes", None) or getattr(series, "rois", None)
    if region is None or column not in region.table.colnames or len(region.data) != len(names):
        return {}
    cells = (_texts(region.table[column][int(row)]) for row in region.data[:])
    return {name: texts[0] for name, texts in zip(names, cells, strict=True) if texts}


def _texts(value: Any) -> list[str]:
    """What stands in a cell as texts: one, or those of a list. Groups of electrodes by their names."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, float | np.floating) and np.isnan(value):
        return [""]
    value = value.decode() if isinstance(value, bytes) else value
    return [str(getattr(value, "name", value))]
