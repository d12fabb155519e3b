"""Times x channels, of any table that a run reads."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import Recording, Series
from mmg_ray.store.sources import Table, read_table
from mmg_ray.store.sources.select import choose_variables, nearest

_UNITS_S = {"ms": 1e-3, "msec": 1e-3, "millis": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "µs": 1e-6,
            "usec": 1e-6, "micros": 1e-6, "microseconds": 1e-6, "ns": 1e-9, "nanoseconds": 1e-9,
            "min": 60.0, "minutes": 60.0, "hours": 3600.0}  # fmt: skip

_TIME_WORDS = {
    "time",
    "times",
    "timestamp",
    "timestamps",
    "t",
    "sec",
    "secs",
    "seconds",
    "s",
} | set(_UNITS_S)
_OWNER_WORDS = {"unit", "units", "cluster", "cluster_id", "spike_clusters", "neuron", "cell"}
_FEWEST_STEPS = 20


def read_series(cfg: NeuralConfig) -> Recording:
    """Channels by recording.time_column, or by recording.rate_hz."""
    own = cfg.recording
    # what is kept is chosen with the units and channels of every format
    data = replace(cfg.data, conditions=(), groups=None, samples={}, variables=("*",), exclude=())
    known = [] if own.time_column is None else [own.time_column]
    table = read_table(data, known, doubts=False)
    notes = list(table.notes)
    if table.metadata:
        notes.append(
            f"metadata: columns {', '.join(table.metadata)} are no channels, and of no other use here"
        )
    return Recording(series=[series_of(table, cfg, notes)], notes=notes)


def series_of(table: Table, cfg: NeuralConfig, notes: list[str]) -> Series:
    """Channels of a table at the times of recording.time_column, or by recording.rate_hz."""
    own = cfg.recording
    if own.time_column is None:
        if own.time_unit_s is not None:
            raise ConfigError(
                "recording.time_unit_s is of times, and the table has none; set recording.time_column, or "
                "recording.rate_hz alone"
            )
        _refuse_times(table, cfg)
        times = np.arange(table.n_samples) / (own.rate_hz or 1.0)
        if own.rate_hz is None:
            notes.append("rate:    no recording.rate_hz, so a second is a sample")
        return Series(times, dense(table), table.names, by_rate=True)
    if own.rate_hz is not None:
        raise ConfigError(
            "recording.rate_hz and recording.time_column both say when samples are; leave out one"
        )
    if own.time_column not in table.names:
        raise DataError(
            f"recording.time_column: {own.time_column!r} is no column of numbers"
            f"{nearest(own.time_column, table.names)}"
        )
    if own.time_unit_s is None and (unit_s := unit_in(own.time_column)) is not None:
        raise ConfigError(
            f"recording.time_column {own.time_column!r} does not sound like seconds; set "
            f"recording.time_unit_s: {unit_s:g}, or 1 if they are"
        )
    return timed(table, own.time_column)


def timed(table: Table, time_column: str) -> Series:
    """All other columns at the times of one."""
    k = table.names.index(time_column)
    kept = [v for v in range(table.n_variables) if v != k]
    return Series(table.column(k), dense(table)[:, kept], [table.names[v] for v in kept])


def dense(table: Table) -> np.ndarray:
    return np.stack([table.column(v) for v in range(table.n_variables)], axis=1)


def unit_in(name: str) -> float | None:
    """Seconds of the unit, other than seconds, that a column's name ends with: `t_ms`, `time [us]`."""
    words = re.findall(r"[a-zµ]+", name.lower())
    return _UNITS_S.get(words[-1]) if words else None


def _refuse_times(table: Table, cfg: NeuralConfig) -> None:
    """ConfigError for a column that is kept as a channel and holds times, or numbers the rows."""
    kept = choose_variables(table.names, cfg.data.variables, cfg.data.exclude)
    for v in kept.tolist():
        name, steps = table.names[v], np.diff(table.column(v))
        if name in cfg.data.variables or len(steps) < _FEWEST_STEPS or not (steps > 0).all():
            continue
        words = set(re.findall(r"[a-z]+", name.lower()))
        if words & _TIME_WORDS or np.ptp(steps) < 1e-3 * steps.mean():
            spikes = (
                " (Spikes, one a row, are read from an npz file of spike_times and spike_clusters.)"
                if _OWNER_WORDS & {n.lower() for n in table.names}
                else ""
            )
            raise ConfigError(
                f"column {name!r} goes up in every row, as times or numbers of rows do; set recording.time_column: "
                f"{name}, or leave it out with data.exclude, or name it in data.variables if it is a channel{spikes}"
            )
