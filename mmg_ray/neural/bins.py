"""What a sample is: bins of the whole recording, or bins of its trials; counts and means in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import MOST_VALUES, Recording, Series
from mmg_ray.neural.time_units import span
from mmg_ray.store.sources.select import nearest

TRIAL = "trial"
_SPIKE_BIN_S = 0.05
_MOST_BINS = 20_000_000  # five and a half hours in bins of a millisecond
_MANY_TRIALS, _LEAST_SPAN = 10, 0.01  # so many trials take more than this of a recording
_MOST_USES = 10  # of a sample, by trials that overlap
_LEAST_COVER = 0.1  # of what is cut into bins, that spikes span


def width(found: Recording, cfg: NeuralConfig, notes: list[str]) -> float:
    """Seconds of a bin. ConfigError where it is not to be told, or finer than a series."""
    every = [*found.series, *found.stimuli]
    steps = [s.step_s for s in every]
    chosen = cfg.bins.width_s
    if chosen is None:
        if not found.spikes and max(steps) > 1.01 * min(steps):
            raise ConfigError(
                f"time series are sampled every {min(steps):g} to {max(steps):g} s; set bins.width_s"
            )
        chosen = max([_SPIKE_BIN_S, *steps]) if found.spikes else max(steps)
        source = (
            "the default" if chosen == _SPIKE_BIN_S and found.spikes else "the sampling of a series"
        )
        notes.append(f"bins:    {chosen:.6g} s, {source}; bins.width_s is not set")
    if steps and chosen < 0.99 * max(steps):
        slow = every[int(np.argmax(steps))]
        raise ConfigError(
            f"bins.width_s = {chosen:g} is finer than the sampling of {slow.names[0]!r}, one value every "
            f"{slow.step_s:g} s, so most samples would be missing; set it to {max(steps):g} or more"
        )
    return chosen


def whole(found: Recording, cfg: NeuralConfig, width_s: float, notes: list[str]) -> np.ndarray:
    """(1, B + 1) edges over all that was recorded; a series' own samples are in the middle of bins."""
    every = [*found.series, *found.stimuli]
    fired = _span_of_spikes(found)
    if every:  # only what series cover: before and after there would be nothing to pair
        start, stop = _common(every)
    elif fired is None:
        raise DataError("no unit has a spike")
    else:
        start, stop = fired
    own = cfg.recording
    start = start if own.start_s is None else max(start, own.start_s)
    stop = stop if own.stop_s is None else min(stop, own.stop_s)
    n_bins = int((stop - start) / width_s * (1 + 1e-9) + 1e-6)
    if n_bins < cfg.estimator.min_samples:
        raise DataError(
            f"from {start:g} to {stop:g} s there are {max(n_bins, 0)} bins of {width_s:g} s, fewer than "
            f"estimator.min_samples, {cfg.estimator.min_samples}; see bins.width_s, recording.start_s, and "
            "data.transpose if times are columns"
        )
    bound(1, n_bins, found, width_s)
    if every:
        _refuse_apart((start, stop), found, cfg)
    notes.append(f"used:    from {start:.6g} to {stop:.6g} s")
    edges: np.ndarray = (start + width_s * np.arange(n_bins + 1))[None]
    return edges


def trials(
    found: Recording,
    cfg: NeuralConfig,
    width_s: float,
    notes: list[str],
    left_out: list[tuple[str, str]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(M, B + 1) edges and the columns of the M trials that are used."""
    align = str(cfg.bins.align)
    if align not in found.trials:
        raise ConfigError(
            f"bins.align: {align!r} is no column of the trials{nearest(align, found.trials)}"
        )
    if found.trials[align].dtype.kind not in "iuf":
        raise ConfigError(
            f"bins.align: the column {align!r} of the trials holds {found.trials[align][:1].tolist()}, no times"
        )
    begin, end = cfg.bins.window_s
    n_bins = int((end - begin) / width_s + 1e-6)
    if n_bins < 1:
        raise ConfigError(f"bins.window_s {begin:g} to {end:g} s holds no bin of {width_s:g} s")
    at = np.asarray(found.trials[align], float)
    bound(len(at), n_bins, found, width_s)
    order = np.argsort(at, kind="stable")
    first, last = _covered(found, cfg)
    inside = (at[order] + begin >= first - 1e-9) & (
        at[order] + begin + n_bins * width_s <= last + 1e-9
    )
    for k in order[~inside]:
        reason = "has no time" if not np.isfinite(at[k]) else "reaches beyond the recording"
        left_out.append((f"trial {k}", reason))
    if not inside.all():
        notes.append(
            f"trials:  {int((~inside).sum())} left out, without a time or beyond the recording"
        )
    order = order[inside]
    if len(order) < 2:
        raise DataError(f"{len(order)} trials are left of {len(at)}; see bins.align, bins.window_s")
    edges = at[order][:, None] + begin + width_s * np.arange(n_bins + 1)
    _look_at_spikes(found, edges, cfg, notes)
    if (apart := float(np.median(np.diff(at[order])))) * _MOST_USES < n_bins * width_s:
        raise ConfigError(
            f"bins.window_s: {begin:g} to {end:g} s around trials that are {apart:g} s apart would use every sample "
            f"more than {_MOST_USES} times; it is in seconds, as the times of trials are"
        )
    if close := int((np.diff(at[order]) < n_bins * width_s).sum()):
        notes.append(f"trials:  {close} begin before the one before them ends: samples repeat")
    return edges, {TRIAL: order, **{k: v[order] for k, v in found.trials.items()}}


def bound(n_segments: int, n_bins: int, found: Recording, width_s: float) -> None:
    """ConfigError before more is allocated than a recording can need."""
    n = n_segments * n_bins
    series = [*found.series, *found.stimuli]
    n_variables = len(found.spikes) + sum(len(s.names) for s in series)
    if n > _MOST_BINS or n * n_variables > MOST_VALUES:
        raise ConfigError(
            f"{span(n * width_s)} in bins of {width_s:g} s are {n:,} samples of {n_variables:,} variables, more "
            f"than {_MOST_BINS:,} samples or {MOST_VALUES:,} values. If times are not in seconds, set "
            "recording.time_unit_s; else widen bins.width_s, or use less: recording.start_s and stop_s, "
            "data.variables"
        )


def counts(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M, B) spikes from each edge, (M, B + 1), up to the next."""
    if len(edges) == 1:  # fewer spikes than bins: look for them
        at = np.searchsorted(edges[0], times, side="right") - 1
        at = at[(at >= 0) & (at < edges.shape[1] - 1)]
        return np.bincount(at, minlength=edges.shape[1] - 1)[None].astype(float)
    found: np.ndarray = np.diff(np.searchsorted(times, edges), axis=1).astype(float)
    return found


def means(series: Series, edges: np.ndarray) -> np.ndarray:
    """(M, B, C) of the values from each edge up to the next; NaN where there is none.

    Each bin is summed by itself: one value is that value, and equal counts stay tied.
    """
    at = np.searchsorted(series.times, edges)
    ends = np.stack([at[:, :-1], at[:, 1:]], axis=-1)
    total, n = np.empty((2, *ends.shape[:2], len(series.names)))
    for c in range(len(series.names)):
        present = np.isfinite(series.values[:, c])
        total[..., c] = _sums(np.where(present, series.values[:, c], 0.0), ends)
        n[..., c] = _sums(present.astype(float), ends)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = total / n
    return found


def _sums(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(M, B) sums of (T,) values over the rows from ends[..., 0] up to ends[..., 1]."""
    padded = np.append(values, 0.0)  # so that rows may end with the series
    sums: np.ndarray = np.add.reduceat(padded, ends.ravel())[::2].reshape(ends.shape[:2])
    return np.where(ends[..., 0] < ends[..., 1], sums, 0.0)  # of no rows, reduceat gives the next


def recorded(intervals: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M, B) whether a bin lies inside the union of (k, 2) intervals."""
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    ends = np.maximum.accumulate(intervals[:, 1])
    apart = np.append(True, intervals[1:, 0] > ends[:-1] + 1e-9)
    starts, stops = (
        intervals[apart, 0],
        ends[np.append(np.flatnonzero(apart)[1:] - 1, len(ends) - 1)],
    )
    at = np.searchsorted(starts, edges[:, :-1] + 1e-9, side="right") - 1
    inside: np.ndarray = (at >= 0) & (edges[:, 1:] <= stops[at] + 1e-9)
    return inside


def _common(every: list[Series]) -> tuple[float, float]:
    """From and to of what all series cover."""
    return (
        max(float(s.times[0]) - s.step_s / 2 for s in every),
        min(float(s.times[-1]) + s.step_s / 2 for s in every),
    )


def _span_of_spikes(found: Recording) -> tuple[float, float] | None:
    """From and to of what units were recorded, or of their spikes; None where there are none."""
    begins, ends = [], []
    for name, times in found.spikes.items():
        if name in found.observed:
            begins.append(found.observed[name].min())
            ends.append(found.observed[name].max())
        elif len(times):
            begins.append(times[0])
            ends.append(np.nextafter(times[-1], np.inf))
    return (float(min(begins)), float(max(ends))) if begins else None


def _covered(found: Recording, cfg: NeuralConfig) -> tuple[float, float]:
    every = [*found.series, *found.stimuli]
    # when recording of spikes ended is not to be told from the last of them
    first, last = _common(every) if every else (-np.inf, np.inf)
    own = cfg.recording
    return (
        first if own.start_s is None else max(first, own.start_s),
        last if own.stop_s is None else min(last, own.stop_s),
    )


def _refuse_apart(used: tuple[float, float], found: Recording, cfg: NeuralConfig) -> None:
    """DataError where spikes span little of what series cover: their times differ in unit or origin."""
    many = {u: t for u, t in found.spikes.items() if len(t) >= cfg.recording.min_spikes}
    fired = _span_of_spikes(replace(found, spikes=many))
    if fired is None:
        return
    shared = min(used[1], fired[1]) - max(used[0], fired[0])
    own = cfg.recording
    chosen = own.start_s is not None or own.stop_s is not None
    if shared < _LEAST_COVER * (used[1] - used[0]) and not chosen:
        raise DataError(
            f"spikes span {fired[0]:g} to {fired[1]:g} s, and time series {used[0]:g} to {used[1]:g} s: their "
            "times differ in unit or origin, it seems (recording.time_unit_s is of data.path alone). If not, "
            "say what is used: recording.start_s and stop_s"
        )


def _look_at_spikes(
    found: Recording, edges: np.ndarray, cfg: NeuralConfig, notes: list[str]
) -> None:
    """DataError where most trials lie outside of all spikes, or all in a moment; a note where some do."""
    fired = _span_of_spikes(found)
    if fired is None:
        return
    outside = int(((edges[:, -1] < fired[0]) | (edges[:, 0] > fired[1])).sum())
    brief = len(edges) >= _MANY_TRIALS and np.ptp(edges[:, 0]) < _LEAST_SPAN * (fired[1] - fired[0])
    chosen = cfg.recording.start_s is not None or cfg.recording.stop_s is not None
    if outside > len(edges) / 2 or (brief and not chosen):
        raise DataError(
            f"{outside} of {len(edges)} trials lie outside of all spikes: trials from {edges[0, 0]:g} to "
            f"{edges[-1, -1]:g} s, spikes from {fired[0]:g} to {fired[1]:g} s. Their times differ in unit or "
            "origin, it seems. recording.time_unit_s is of all times of data.path; bins.trials may be a table "
            "in seconds. If they do not, say what is used: recording.start_s and stop_s"
        )
    if outside:
        notes.append(
            f"trials:  {outside} lie before the first or after the last spike of all units, and count as silent; "
            "recording.start_s and stop_s leave them out"
        )
