"""What is wrong with recordings more often than with other files, named before work begins."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.orientation import wrong_way
from mmg_ray.neural.recordings import LONGEST_GAP, Recording, Series, some
from mmg_ray.neural.time_units import doubt, span
from mmg_ray.store.sources.select import choose_variables

_FASTEST_HZ = 1000.0  # no unit goes on at this
_SLOWEST_STEP_S = 60.0  # of a series of a brain
_LONGEST_S = 14 * 86_400.0


def checked(found: Recording, cfg: NeuralConfig) -> Recording:
    """What the configuration keeps of a recording in seconds. DataError for its faults, ConfigError without areas."""
    own, notes = cfg.recording, list(found.notes)
    names = [*found.spikes, *(n for s in found.series for n in s.names)]
    if not names:
        hint = "; ".join(found.notes) or "there are no spike trains"
        raise DataError(f"{cfg.data.path} has no units, and no series is asked for ({hint})")
    for what, of in (
        ("units or channels", names),
        ("stimuli", [n for s in found.stimuli for n in s.names]),
    ):
        counted = Counter(of)
        if repeated := sorted(name for name, n in counted.items() if n > 1):
            raise DataError(f"several {what} are called {repeated[0]!r}; rename them")
    if cfg.between.areas is not None and found.spikes and not found.areas:
        raise ConfigError(
            f"between.areas: {cfg.between.areas!r} is no column that this recording holds; name a csv or tsv with "
            "columns unit, area"
        )
    kept = {names[k] for k in choose_variables(names, cfg.data.variables, cfg.data.exclude)}
    left_out = [(name, "data.variables, data.exclude") for name in names if name not in kept]
    if left_out:
        notes.append(f"chosen:  {len(kept)} of {len(names)} by data.variables and data.exclude")
    sure = found.in_seconds or own.time_unit_s is not None
    spikes = {
        name: _train(name, times, own.unsorted == "sort", notes)
        for name, times in found.spikes.items()
        if name in kept
    }
    _check_unit(replace(found, spikes=spikes), sure, notes)
    for s in found.series:
        if (
            own.transposed == "error" and s.by_rate
        ):  # where a file has times, they say which axis is time
            _refuse_transposed(s)
    series = [_straight(s, sure, notes) for s in found.series]
    stimuli = [_straight(s, sure, notes) for s in found.stimuli]
    series = [
        replace(s, values=s.values[:, columns], names=[s.names[c] for c in columns])
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


def _check_unit(found: Recording, sure: bool, notes: list[str]) -> None:
    """DataError where spike times are not in seconds; a note where the configuration says that they are."""
    ends = [[t[0], t[-1]] for t in found.spikes.values() if len(t)]
    if not ends:
        return
    first, last = np.min(ends), np.max(ends)
    epochs = [found.observed[name] for name in found.spikes if len(found.observed.get(name, ()))]
    recorded = float(np.median([np.diff(e).sum() for e in epochs])) if epochs else 0.0
    length = recorded or float(last - first)
    rates = np.array([len(t) for t in found.spikes.values()]) / max(length, 1e-300)
    notes.append(
        f"units:   {len(found.spikes)}, {len(ends)} with spikes, from {first:.6g} to {last:.6g} s, at "
        f"{np.median(rates):.3g} Hz (median)"
    )
    if reason := doubt(found.spikes, length):
        if not sure:
            raise DataError(f"spike times: {reason}")
        if not found.in_seconds:
            notes.append(f"doubt:   {reason}. It is set, so the job goes on")
    for name, times in found.spikes.items():
        rate = (len(times) - 1) / max(float(np.ptp(times)), 1e-300) if len(times) > 20 else 0.0
        if rate > _FASTEST_HZ and not sure:
            raise DataError(
                f"unit {name!r}: {len(times)} spikes in {np.ptp(times):g} s are {rate:,.0f} a second; set "
                "recording.time_unit_s if times are not in seconds, or to 1 if they are"
            )


def _train(name: str, times: np.ndarray, sort: bool, notes: list[str]) -> np.ndarray:
    """A unit's (n,) seconds, going up."""
    if not np.isfinite(times).all():
        raise DataError(
            f"unit {name!r}: {int((~np.isfinite(times)).sum())} of {len(times)} spike times are "
            "missing or infinite; a spike without a time is none, so leave them out of the file"
        )
    back = np.flatnonzero(np.diff(times) < 0)
    if back.size:
        k = int(back[0])
        if not sort:
            counts = len(np.unique(times)) < len(times) / 2 and (times == np.floor(times)).all()
            raise DataError(
                f"unit {name!r}: spike times go back, first from {times[k]:g} to {times[k + 1]:g} s at "
                f"spike {k + 1} ({back.size} times in all). "
                + (
                    "They look like counts in bins: save all units as one array, bins x units, and set "
                    "recording.rate_hz to bins a second"
                    if counts
                    else "Trials or channels may have been joined, or units mixed up. If they are only out of "
                    "order, set recording.unsorted: sort"
                )
            )
        notes.append(f"sorted:  spike times of {name}, which went back {back.size} times")
        times = np.sort(times)
    return times


def _straight(s: Series, sure: bool, notes: list[str]) -> Series:
    """A series whose times go up; gaps and missing values are named."""
    who = some(s.names)
    if len(s.times) < 3:
        raise DataError(f"series {who}: {len(s.times)} times are no time series")
    times = s.times
    wrong = np.flatnonzero(~(np.diff(times) > 0))
    if wrong.size:
        k = int(wrong[0])
        raise DataError(
            f"series {who}: time does not go on from row {k} ({times[k]:g} s) to row {k + 1} "
            f"({times[k + 1]:g} s), nor in {wrong.size - 1} other places; sort the rows, or cut the "
            "file where a recording was begun again"
        )
    length = float(times[-1] - times[0])
    if not (sure or s.by_rate) and (s.step_s > _SLOWEST_STEP_S or length > _LONGEST_S):
        raise DataError(
            f"series {who}: as seconds, one value comes every {span(s.step_s)} and all take {span(length)}: "
            "these are milliseconds or microseconds, it seems. Set recording.time_unit_s: 0.001 or 1e-6, or 1 if "
            "they are seconds (of between.stimulus_path, `time` must be)"
        )
    notes.append(
        f"series:  {who}: a value every {s.step_s:.6g} s, from {times[0]:.6g} to {times[-1]:.6g} s"
    )
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > LONGEST_GAP * s.step_s)
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
            f"missing: {int(missing.sum()):,} values, in {some(channels)}, from {times[rows[0]]:g} to "
            f"{times[rows[-1]]:g} s; they cost the pairs of these channels only"
        )
    return s


def _refuse_transposed(s: Series) -> None:
    if reason := wrong_way(s.values):
        raise DataError(
            f"series {some(s.names)}: {s.values.shape[0]} times x {s.values.shape[1]} channels look the wrong "
            f"way round: {reason}. Set data.transpose (in an nwb file, write time first), or "
            "recording.transposed: ignore"
        )
