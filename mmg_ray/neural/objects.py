"""Recordings as Python packages hold them, and what stands beside them, as the readers of files give theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mmg_ray.arrays import read as read_columns
from mmg_ray.arrays.columns import is_of
from mmg_ray.arrays.contents import table_of
from mmg_ray.arrays.mne_objects import is_mne
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.checks import checked
from mmg_ray.neural.config import NeuralConfig, changed
from mmg_ray.neural.readers import in_seconds, mne, neo, pynapple, refuse_unused
from mmg_ray.neural.readers.npz import unit_name
from mmg_ray.neural.readers.table import dense, series_of
from mmg_ray.neural.recordings import Recording, Series
from mmg_ray.start import configured

_TSD = ("Tsd", "TsdFrame", "TsdTensor")
_FILE_ALONE = {
    "recording.layout": "",
    "between.stimulus_path": ", and stimuli in memory are the argument stimuli",
}


def in_memory(
    data: Any,
    url: str | None,
    overrides: Iterable[str] = (),
    trials: Any = None,
    areas: Mapping[Any, str] | None = None,
    stimuli: Any = None,
) -> tuple[NeuralConfig, Recording]:
    """The configuration of a run of a recording in memory, and the recording; arguments as of `mmg_ray.neural.run`.

    Raises:
        ConfigError, DataError: as `readers.read`, or two sources of trials, areas or stimuli.
    """
    cfg = configured(NeuralConfig, data, url, overrides)
    for option, own in _FILE_ALONE.items():
        if changed(cfg, option):
            raise ConfigError(f"{option} is of files{own}; leave it out")
    layout, found = _read(data, cfg)
    refuse_unused(cfg, layout)
    found = in_seconds(found, cfg)
    found.notes.insert(0, f"layout:  {layout}, of a {type(data).__name__} in memory")
    if trials is not None:
        found = replace(found, trials=_trials(trials, cfg))
    if areas is not None:
        if cfg.between.areas is not None:
            raise ConfigError("areas and between.areas are both set; leave out one")
        cfg = replace(cfg, between=replace(cfg.between, areas="the argument areas"))
        found = replace(found, areas=_areas(areas, found))
    if stimuli is not None:
        found.stimuli.append(_stimuli(stimuli))
    return cfg, checked(found, cfg)


def _read(data: Any, cfg: NeuralConfig) -> tuple[str, Recording]:
    """The key of READERS whose fields are of use, and what there is."""
    if is_of(data, "pynapple", "TsGroup", "Ts", *_TSD):
        return "pynapple", _of_pynapple(data, cfg)
    if is_mne(data):
        return "mne", mne.of_object(data, cfg)
    if (segment := _segment(data)) is not None:
        return "neo", neo.of_segment(segment, f"the {type(data).__name__}")
    if isinstance(data, Mapping):
        spikes = {unit_name(k): _spikes(k, v) for k, v in data.items()}
        if len(spikes) < len(data):
            raise DataError(
                f"{len(data)} units have {len(spikes)} names: 3 and 'unit3' are one; rename them"
            )
        return "spikes", Recording(spikes=spikes)
    notes: list[str] = []
    found = _of_table(data, cfg, notes)
    return "series", Recording(series=[found], notes=notes)


def _spikes(name: Any, times: Any) -> np.ndarray:
    """(n,) times of a unit."""
    if is_of(times, "pynapple", "Ts"):
        times = times.times()
    if hasattr(times, "rescale"):  # neo, or another array with units
        times = times.rescale("s").magnitude
    found = np.asarray(times)
    if found.ndim != 1 or found.dtype.kind not in "iuf":
        raise DataError(
            f"unit {name!r} is {found.dtype} of shape {found.shape}, and spike times of a unit are numbers of "
            "shape (n,). Of series pass a DataFrame or an array, times x channels"
        )
    return found


def _of_pynapple(data: Any, cfg: NeuralConfig) -> Recording:
    support = np.stack([data.time_support.start, data.time_support.end], axis=1).astype(float)
    notes = [f"kind:    {type(data).__name__} of pynapple", *pynapple.gaps(support)]
    if is_of(data, "pynapple", *_TSD):
        return Recording(series=[_tsd(data, "series")], notes=notes)
    if is_of(data, "pynapple", "Ts"):
        return Recording(spikes={"unit": data.times()}, observed={"unit": support}, notes=notes)
    spikes = {unit_name(key): np.asarray(data[key].times(), float) for key in data.keys()}  # noqa: SIM118
    columns = [name for name in data.metadata_columns if name != "rate"]
    areas = {}
    if cfg.between.areas in columns:
        values = [str(value) for value in data[cfg.between.areas]]
        areas = dict(zip(spikes, values, strict=True))
    if unused := [name for name in columns if name != cfg.between.areas]:
        notes.append(f"areas:   no use of columns {', '.join(unused)}")
    return Recording(
        spikes=spikes, observed=dict.fromkeys(spikes, support), areas=areas, notes=notes
    )


def _tsd(data: Any, stem: str) -> Series:
    columns = list(data.columns) if is_of(data, "pynapple", "TsdFrame") else None
    values = np.asarray(data.values, float)
    return pynapple.series_named(np.asarray(data.times(), float), values, stem, columns)


def _segment(data: Any) -> Any:
    """Neo's Segment in this, or of its parts; None where it is not of neo."""
    if is_of(data, "neo", "Segment"):
        return data
    if is_of(data, "neo", "Block"):
        if len(data.segments) != 1:
            raise DataError(
                f"the Block holds {len(data.segments)} segments, and a recording is one; pass one of them"
            )
        return data.segments[0]
    if is_of(data, "neo", "AnalogSignal"):
        return _segment_of([], [data])
    parts = (
        list(data)
        if isinstance(data, list | tuple) or type(data).__name__ == "SpikeTrainList"
        else []
    )
    if parts and all(is_of(part, "neo", "SpikeTrain") for part in parts):
        return _segment_of(parts, [])
    return None


def _segment_of(trains: list[Any], signals: list[Any]) -> Any:
    import neo

    found = neo.Segment()
    found.spiketrains.extend(trains)
    found.analogsignals.extend(signals)
    return found


def _of_table(data: Any, cfg: NeuralConfig, notes: list[str]) -> Series:
    """Channels of a table, at the times of its index if that is of times."""
    kept = replace(cfg.data, conditions=(), groups=None, variables=("*",), exclude=())
    table = table_of(data, kept)
    times = _times_in(read_columns(data, "data").index, notes)
    if times is None:
        return series_of(table, cfg, notes)
    for option in ("rate_hz", "time_column"):
        if getattr(cfg.recording, option) is not None:
            raise ConfigError(
                f"recording.{option} and the index of the data both say when samples are; leave out one "
                "(reset_index(drop=True) drops an index)"
            )
    return Series(times, dense(table), table.names)


def _times_in(index: Any, notes: list[str]) -> np.ndarray | None:
    """(T,) seconds in the labels of samples; None where they are numbers of rows, or names."""
    if index is None or is_of(index, "pandas", "RangeIndex"):
        return None
    kind = index.dtype.kind
    if kind in "mM":
        if kind == "M":
            notes.append(f"times:   of the index, seconds from {index[0]}")
            index = index - index[0]
        return np.asarray(index / np.timedelta64(1, "s"), dtype=float)
    if kind == "f":
        notes.append("times:   of the index")
        return np.asarray(index, float)
    if kind in "iu" and not np.array_equal(index, np.arange(len(index))):
        raise DataError(
            f"the index of the data holds whole numbers from {index[0]} to {index[-1]}, which may be times or "
            "numbers of rows. Make it seconds (floating-point numbers), or drop it with reset_index(drop=True)"
        )
    return None


def _trials(given: Any, cfg: NeuralConfig) -> dict[str, np.ndarray]:
    """The columns of trials: an IntervalSet or a Ts of pynapple, a DataFrame or a mapping."""
    if cfg.bins.trials is not None:
        raise ConfigError(
            "bins.trials names a file of trials, and trials were passed; leave out one"
        )
    if is_of(given, "pynapple", "Ts"):
        columns = {"t": given.times()}
    elif is_of(given, "pynapple", "IntervalSet"):
        columns = dict(given.as_dataframe().items())
    elif isinstance(given, Mapping) or is_of(given, "pandas", "DataFrame"):
        columns = dict(given.items())
    else:
        raise DataError(
            f"trials is a {type(given).__name__}; it is a DataFrame, a mapping of columns, or an IntervalSet or Ts "
            "of pynapple"
        )
    if cfg.bins.align is None:
        raise ConfigError(
            "trials are of no use without bins.align, the column of the times to align to: one of "
            f"{', '.join(map(str, columns))}"
        )
    found = {str(name): np.asarray(column) for name, column in columns.items()}
    for name, column in found.items():
        if column.ndim != 1 or len(column) != len(next(iter(found.values()))):
            raise DataError(
                f"column {name!r} of trials has shape {column.shape}; every trial has one value"
            )
        if column.dtype.kind == "b":
            found[name] = column.astype(float)
        elif column.dtype.kind not in "iuf":
            found[name] = column.astype(str)
    return found


def _areas(given: Mapping[Any, str], found: Recording) -> dict[str, str]:
    """{unit or channel: area}; units may go by their numbers."""
    names = {*found.spikes, *(name for series in found.series for name in series.names)}
    areas = {name if name in names else unit_name(name): str(of) for name, of in given.items()}
    if unknown := [name for name in areas if name not in names]:
        raise DataError(
            f"areas: {unknown[0]!r} is no unit and no channel ({len(unknown)} are none)"
        )
    return areas


def _stimuli(given: Any) -> Series:
    """A Tsd or TsdFrame of pynapple, or a table whose index, or column `time`, is in seconds."""
    if is_of(given, "pynapple", *_TSD):
        return _tsd(given, "stimulus")
    samples = read_columns(given, "stimuli")
    names = samples.names or [f"stimulus{k}" for k in range(len(samples.columns))]
    values = samples.numbers()
    if "time" in names:
        k = names.index("time")
        return Series(values[:, k], np.delete(values, k, axis=1), [n for n in names if n != "time"])
    is_dates = samples.index is not None and samples.index.dtype.kind == "M"  # from when on?
    times = None if is_dates else _times_in(samples.index, [])
    if times is None:
        raise DataError(
            "stimuli have no times in seconds of the recording: they are a Tsd or TsdFrame of pynapple, or a DataFrame "
            "with a column 'time' or an index of seconds or durations"
        )
    return Series(times, values, names)
