"""Recordings as files hold them: spike times, time series, areas and trials, in seconds.

What is wrong with recordings more often than with other files is named here, before work begins.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.store.sources import Table, read_table
from mmg_ray.store.sources.files import locate, open_file, unreadable
from mmg_ray.store.sources.select import choose_variables, nearest

_LONGEST_GAP = 1.5  # steps of a series' own sampling
_SMOOTHER = 0.3  # neighbours of one axis correlate so much more than those of the other
_FASTEST_HZ = 1000.0  # no unit goes on at this
_TIMES, _OWNERS = ("spike_times", "times", "t"), ("spike_clusters", "units", "unit", "index")


@dataclass(frozen=True)
class Series:
    """C channels at T times.

    Attributes:
        times: (T,) seconds, going up. values: (T, C), NaN is missing. names: (C,).
    """

    times: np.ndarray
    values: np.ndarray
    names: list[str]

    @property
    def step_s(self) -> float:
        """Seconds from one time to the next, gaps left out: the mean, which rounded times do not move."""
        steps = np.diff(self.times)
        return float(steps[steps < _LONGEST_GAP * np.median(steps)].mean())


@dataclass(frozen=True)
class Recording:
    """All that is used of a file.

    Attributes:
        spikes: {unit: (n,) seconds, going up}.
        observed: {unit: (k, 2) from and to} where a file says when a unit was looked at.
        series: time series, each with its own times. stimuli: those that are no answer.
        areas: {unit or channel: area}.
        trials: {column: (n,)}.
        notes: what was found, a line each. left_out: (name, reason).
    """

    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    stimuli: list[Series] = field(default_factory=list)
    areas: dict[str, str] = field(default_factory=dict)
    trials: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def read(cfg: NeuralConfig) -> Recording:
    """The recording at data.path with what the configuration adds. DataError for what is wrong."""
    layout = _layout(cfg)
    reader = {"nwb": _nwb, "spikes": _npz, "series": _table, "neo": _neo}[layout]
    found = reader(cfg)
    if cfg.recording.series and layout != "nwb":
        raise ConfigError(f"recording.series names time series of an nwb file; this is {layout}")
    if cfg.between.stimulus_path is not None:
        found.stimuli.append(_timed(cfg.between.stimulus_path, "time"))
    if cfg.bins.trials is not None:
        found = replace(found, trials=_columns(cfg.bins.trials))
    if cfg.between.areas is not None and layout != "nwb":
        found = replace(found, areas=_areas(cfg.between.areas))
    return _checked(found, cfg)


# --- formats


def _layout(cfg: NeuralConfig) -> str:
    if cfg.recording.layout != "auto":
        return cfg.recording.layout
    path = cfg.data.path.lower()
    if path.endswith(".nwb"):
        return "nwb"
    if path.endswith(".npz"):
        arrays = _arrays(cfg.data.path)
        if cfg.data.key is None and all(a.ndim <= 1 for a in arrays.values()):
            return "spikes"
    return "series"


def _arrays(url: str) -> dict[str, np.ndarray]:
    location = locate(url)
    with open_file(location) as file:
        try:
            with np.load(io.BytesIO(file.read()), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, OSError, KeyError, EOFError) as error:
            raise unreadable(location, "npz", error) from None


def _npz(cfg: NeuralConfig) -> Recording:
    """One array of times for each unit; or `spike_times` and `spike_clusters`, as sorters, or `t` and
    `index`, as pynapple writes them."""
    arrays = _arrays(cfg.data.path)
    times = next((name for name in _TIMES if name in arrays), None)
    owners = next((name for name in _OWNERS if name in arrays), None)
    if times is not None and owners is not None:
        t, unit = arrays[times], arrays[owners]
        if t.shape != unit.shape or t.ndim != 1:
            raise DataError(
                f"{cfg.data.path}: {times} has shape {t.shape} and {owners} {unit.shape}; each spike "
                "needs a time and a unit"
            )
        units = np.unique(unit)
        spikes = {_unit_name(u): t[unit == u] for u in units}
        for known in np.setdiff1d(
            arrays.get("keys", units), units
        ):  # pynapple lists silent ones, too
            spikes[_unit_name(known)] = np.empty(0)
        return Recording(spikes=spikes)
    wrong = [name for name, a in arrays.items() if a.ndim != 1 or a.dtype.kind not in "iuf"]
    if wrong:
        shape, dtype = arrays[wrong[0]].shape, arrays[wrong[0]].dtype
        raise DataError(
            f"{cfg.data.path}: {wrong[0]!r} is {dtype} of shape {shape}, and spike times of a unit are "
            "numbers of shape (n,). For a table of samples set recording.layout: series and data.key"
        )
    return Recording(spikes={name: np.asarray(a, float) for name, a in arrays.items()})


def _unit_name(unit: Any) -> str:
    return f"unit{unit:g}" if isinstance(unit, int | float | np.number) else str(unit)


def _table(cfg: NeuralConfig) -> Recording:
    """Times x channels, of any format that a run reads."""
    own = cfg.recording
    # of a csv the reader would take a column of times for names of samples
    data = replace(cfg.data, conditions=(), groups=None, samples={}, variables=("*",), exclude=())
    table = read_table(data)
    if own.time_column is None:
        rate = own.rate_hz or 1.0
        times = np.arange(table.n_samples) / rate
        series = Series(times, _dense(table), table.names)
        notes = [] if own.rate_hz else ["rate:    no recording.rate_hz, so a second is a sample"]
        return Recording(series=[series], notes=notes)
    if own.time_column in table.names:
        k = table.names.index(own.time_column)
        times, kept = table.column(k), [v for v in range(table.n_variables) if v != k]
        names = [table.names[v] for v in kept]
        return Recording(series=[Series(times, _dense(table)[:, kept], names)])
    raise DataError(
        f"recording.time_column: {own.time_column!r} is no column of numbers"
        f"{nearest(own.time_column, table.names)}"
    )


def _dense(table: Table) -> np.ndarray:
    return np.stack([table.column(v) for v in range(table.n_variables)], axis=1)


def _neo(cfg: NeuralConfig) -> Recording:
    """Spike trains and analog signals of any file that neo reads, pickles excepted."""
    try:
        import neo
    except ImportError:
        raise ConfigError(
            "recording.layout: neo needs the package: pip install --constraint constraints.txt neo"
        ) from None
    location = locate(cfg.data.path)
    if location.path.endswith((".pkl", ".pickle")):
        raise DataError(
            f"{location.url} is a pickle, and nothing is ever unpickled; write nwb or npz"
        )
    try:
        segments = neo.get_io(str(location.path)).read_block().segments
    except Exception as error:  # noqa: BLE001  # of any of its readers
        raise unreadable(location, "neo", error) from None
    if len(segments) != 1:
        raise DataError(
            f"{location.url} holds {len(segments)} segments, and a recording is one; write each to a file, "
            "or trials as one segment with a table of their times (bins.trials)"
        )
    segment = segments[0]
    spikes, series = {}, []
    for k, train in enumerate(segment.spiketrains):
        name = train.name or str(train.annotations.get("id", f"unit{k}"))
        spikes[name] = np.asarray(train.rescale("s").magnitude, float)
    for k, signal in enumerate(segment.analogsignals):
        prefix = signal.name or f"signal{k}"
        values = np.asarray(signal.magnitude, float)
        series.append(
            Series(np.asarray(signal.times.rescale("s").magnitude), values, _named(prefix, values))
        )
    return Recording(spikes=spikes, series=series)


def _nwb(cfg: NeuralConfig) -> Recording:
    """Units, the time series that are asked for, and trials."""
    try:
        import h5py
        import pynwb
    except ImportError:
        raise ConfigError("nwb files need the package pynwb: pip install 'mmg-ray[nwb]'") from None
    location = locate(cfg.data.path)
    with open_file(location) as raw:
        try:
            with h5py.File(raw, "r") as file, pynwb.NWBHDF5IO(file=file, mode="r") as io_:
                return _of_nwb(io_.read(), cfg, pynwb.TimeSeries)
        except (DataError, ConfigError):
            raise
        except Exception as error:  # noqa: BLE001  # h5py's, hdmf's, pynwb's own
            raise unreadable(location, "nwb", error) from None


def _of_nwb(nwb: Any, cfg: NeuralConfig, kind: Any) -> Recording:
    spikes, observed, areas = {}, {}, {}
    if nwb.units is not None and "spike_times" in nwb.units.colnames:
        units = nwb.units
        for k, number in enumerate(units.id[:]):
            name = f"unit{number}"
            spikes[name] = np.asarray(units["spike_times"][k], float)
            if "obs_intervals" in units.colnames:
                observed[name] = np.asarray(units["obs_intervals"][k], float).reshape(-1, 2)
            if cfg.between.areas is not None:
                areas[name] = _area_of(units, k, cfg.between.areas)
    every: dict[str, Any] = {o.name: o for o in nwb.objects.values() if isinstance(o, kind)}
    numbers = {name: s for name, s in every.items() if getattr(s.data, "dtype", None) is not None}
    trials = {}
    if nwb.trials is not None:
        trials = {name: np.asarray(nwb.trials[name][:]) for name in nwb.trials.colnames}
    stimuli = [name for name in cfg.between.stimulus if name in numbers]
    flat = {name: c for name, c in trials.items() if c.ndim == 1 and c.dtype.kind in "biufSUO"}
    notes = [f"nwb:     time series: {', '.join(numbers) or 'none'}"]
    if len(flat) < len(trials):
        notes.append(f"trials:  no use of columns {', '.join(sorted(trials.keys() - flat.keys()))}")
    return Recording(
        spikes=spikes,
        observed=observed,
        areas=areas,
        trials={k: c.astype(str) if c.dtype.kind in "SO" else c for k, c in flat.items()},
        series=[_of_series(numbers, name, "recording.series") for name in cfg.recording.series],
        stimuli=[_of_series(numbers, name, "between.stimulus") for name in stimuli],
        notes=notes,
    )


def _area_of(units: Any, k: int, column: str) -> str:
    if column in units.colnames:
        return str(units[column][k])
    if "electrodes" in units.colnames:  # of the first electrode
        rows = units["electrodes"][k]
        if column in rows.columns and len(rows):
            return str(rows[column].iloc[0])
    raise DataError(
        f"between.areas: {column!r} is a column neither of the units nor of their electrodes"
        f"{nearest(column, units.colnames)}"
    )


def _of_series(numbers: dict[str, Any], name: str, option: str) -> Series:
    if name not in numbers:
        raise DataError(f"{option}: no time series {name!r}{nearest(name, numbers)}")
    found = numbers[name]
    values = np.asarray(found.data[:], float) * found.conversion + (found.offset or 0.0)
    values = values.reshape(len(values), -1)
    if found.timestamps is not None:
        times = np.asarray(found.timestamps[:], float)
    else:
        times = (found.starting_time or 0.0) + np.arange(len(values)) / found.rate
    if len(times) != len(values):
        raise DataError(
            f"time series {name!r} has {len(times)} times and data of shape {found.data.shape}: the "
            "first axis must be time"
        )
    return Series(times, values, _named(name, values))


def _named(prefix: str, values: np.ndarray) -> list[str]:
    n = values.shape[1]
    return [prefix] if n == 1 else [f"{prefix}{c}" for c in range(n)]


def _columns(url: str) -> dict[str, np.ndarray]:
    """The columns of a csv or tsv, numbers where all are."""
    with open_file(locate(url)) as file:
        text = file.read().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text), delimiter="\t" if ".tsv" in url else ","))
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


def _timed(url: str, time_column: str) -> Series:
    table = read_table(DataConfig(path=url))
    if time_column not in table.names:
        raise DataError(
            f"{url} has no column {time_column!r} of seconds{nearest(time_column, table.names)}"
        )
    k = table.names.index(time_column)
    kept = [v for v in range(table.n_variables) if v != k]
    return Series(table.column(k), _dense(table)[:, kept], [table.names[v] for v in kept])


def _areas(url: str) -> dict[str, str]:
    columns = _columns(url)
    if not {"unit", "area"} <= set(columns):
        raise DataError(f"{url} needs columns unit, area; it has {', '.join(columns)}")
    return {str(u): str(a) for u, a in zip(columns["unit"], columns["area"], strict=True)}


# --- faults


def _checked(found: Recording, cfg: NeuralConfig) -> Recording:
    """The recording in seconds, with what the configuration keeps of it."""
    own, notes = cfg.recording, list(found.notes)
    names = [*found.spikes, *(n for s in found.series for n in s.names)]
    if not names:
        hint = found.notes[0] if found.notes else "there are no spike trains"
        raise DataError(f"{cfg.data.path} has no units, and no series is asked for ({hint})")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"several units or channels are called {repeated[0]!r}; rename them")
    kept = {names[k] for k in choose_variables(names, cfg.data.variables, cfg.data.exclude)}
    left_out = [(name, "data.variables, data.exclude") for name in names if name not in kept]
    spikes = {
        name: _train(
            name, np.asarray(times, float) * own.time_unit_s, own.unsorted == "sort", notes
        )
        for name, times in found.spikes.items()
        if name in kept
    }
    series = [_straight(s, own.time_unit_s, cfg, notes, answers=True) for s in found.series]
    stimuli = [_straight(s, own.time_unit_s, cfg, notes, answers=False) for s in found.stimuli]
    series = [
        Series(s.times, s.values[:, columns], [s.names[c] for c in columns])
        for s in series
        if (columns := [c for c, name in enumerate(s.names) if name in kept])
    ]
    return replace(
        found,
        spikes=spikes,
        series=series,
        stimuli=stimuli,
        notes=notes,
        left_out=[*found.left_out, *left_out],
    )


def _train(name: str, times: np.ndarray, sort: bool, notes: list[str]) -> np.ndarray:
    if not np.isfinite(times).all():
        raise DataError(
            f"unit {name!r}: {int((~np.isfinite(times)).sum())} of {len(times)} spike times are "
            "missing or infinite; a spike without a time is none, so leave them out of the file"
        )
    back = np.flatnonzero(np.diff(times) < 0)
    if back.size:
        k = int(back[0])
        if not sort:
            raise DataError(
                f"unit {name!r}: spike times go back, first from {times[k]:g} to {times[k + 1]:g} s at "
                f"spike {k + 1} ({back.size} times in all). Trials or channels may have been joined, or "
                "units mixed up. If they are only out of order, set recording.unsorted: sort"
            )
        notes.append(f"sorted:  spike times of {name}, which went back {back.size} times")
        times = np.sort(times)
    if len(times) > 20 and (rate := (len(times) - 1) / max(np.ptp(times), 1e-300)) > _FASTEST_HZ:
        raise DataError(
            f"unit {name!r}: {len(times)} spikes in {np.ptp(times):g} s are {rate:,.0f} a second; set "
            "recording.time_unit_s if times are not in seconds"
        )
    if len(times) > 20 and rate < 1e-3 and (times == np.floor(times)).all():
        raise DataError(
            f"unit {name!r}: spike times are whole numbers, {1 / rate:,.0f} apart: samples or "
            "microseconds, it seems. Set recording.time_unit_s (1e-6, or 1 / the sampling rate)"
        )
    return times


def _straight(
    s: Series, unit_s: float, cfg: NeuralConfig, notes: list[str], *, answers: bool
) -> Series:
    """A series in seconds whose times go up; gaps and missing values are named."""
    who = _some(s.names)
    if len(s.times) < 3:
        raise DataError(f"series {who}: {len(s.times)} times are no time series")
    times = s.times * (unit_s if len(s.times) else 1.0)
    wrong = np.flatnonzero(~(np.diff(times) > 0))
    if wrong.size:
        k = int(wrong[0])
        raise DataError(
            f"series {who}: time does not go on from row {k} ({times[k]:g} s) to row {k + 1} "
            f"({times[k + 1]:g} s), nor in {wrong.size - 1} other places; sort the rows, or cut the "
            "file where a recording was begun again"
        )
    if answers and cfg.recording.turned == "error":
        _refuse_turned(s)
    s = Series(times, s.values, s.names)
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > _LONGEST_GAP * s.step_s)
    if gaps.size:
        lost = float((steps[gaps] - s.step_s).sum())
        k = int(gaps[0])
        notes.append(
            f"gaps:    {gaps.size} in {who}, {lost:g} s in all, the first from {times[k]:g} to "
            f"{times[k + 1]:g} s: missing samples"
        )
    missing = ~np.isfinite(s.values)
    if missing.any():
        rows = np.flatnonzero(missing.any(axis=1))
        channels = [s.names[c] for c in np.flatnonzero(missing.any(axis=0))]
        notes.append(
            f"missing: {int(missing.sum()):,} values, in {_some(channels)}, from {times[rows[0]]:g} to "
            f"{times[rows[-1]]:g} s; they cost the pairs of these channels only"
        )
    return s


def _refuse_turned(s: Series) -> None:
    """DataError where neighbours along the channels are alike and those along time are not."""
    if min(s.values.shape) < 8:
        return
    along_time, across = _neighbours(s.values), _neighbours(s.values.T)
    if across > along_time + _SMOOTHER and s.values.shape[1] > s.values.shape[0]:
        raise DataError(
            f"series {_some(s.names)}: {s.values.shape[0]} times x {s.values.shape[1]} channels look "
            f"the wrong way round: neighbouring times correlate by {along_time:.2f}, neighbouring "
            f"channels by {across:.2f}. Set data.transpose (in an nwb file, write time first), or "
            "recording.turned: ignore"
        )


def _neighbours(values: np.ndarray) -> float:
    """Median over columns of the correlation of a row with the next."""
    centred = values - np.nanmean(values, axis=0, where=np.isfinite(values).any(axis=0))
    power = np.nanmean(centred**2, axis=0)
    lagged = np.nanmean(centred[1:] * centred[:-1], axis=0)
    found = lagged[power > 0] / power[power > 0]
    return float(np.median(found)) if found.size else 0.0


def _some(names: Sequence[str] | Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f", ... ({len(listed)})" if len(listed) > 3 else "")
