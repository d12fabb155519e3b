"""From a recording to samples x variables: bins of the whole, or bins of trials.

Samples lie in M segments (the whole, or trials) of B bins each, in this order: sample m B + b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import Recording, Series
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest

TIME, TRIAL, PHASE, RATE = "time_s", "trial", "time_in_trial_s", "population_rate"
_SPIKE_BIN_S = 0.05
_FEWEST_OF_RATE = 10  # units that a population rate needs: each is part of it


class Samples(NamedTuple):
    """What a run is given.

    Attributes:
        table: M B samples x variables.
        n_segments: M. width_s: of a bin.
        stimuli: variables of the table that are stimuli; empty for cells with cells.
        areas: {variable: area}; empty for cells as they are.
        notes: what was found and done, a line each. left_out: (name, reason).
    """

    table: Table
    n_segments: int
    width_s: float
    stimuli: list[str]
    areas: dict[str, str]
    notes: list[str]
    left_out: list[tuple[str, str]]

    @property
    def segments(self) -> np.ndarray:
        """(M, B, V) values."""
        values = np.asarray(self.table.values)
        return values.reshape(self.n_segments, -1, values.shape[1])

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """(M, B) values of variables or metadata. DataError for a name that is neither."""
        found = {}
        for name in names:
            if name in self.table.names:
                values = self.table.column(self.table.names.index(name))
            elif name in self.table.metadata:
                values = np.asarray(self.table.metadata[name])
            else:
                known = [*self.table.names, *self.table.metadata]
                raise DataError(f"data.conditions: there is no {name!r}{nearest(name, known)}")
            found[name] = values.reshape(self.n_segments, -1)
        return found


def samples(found: Recording, cfg: NeuralConfig) -> Samples:
    """Count and average. ConfigError or DataError, naming value, reason and way out."""
    notes, left_out = list(found.notes), list(found.left_out)
    width = _width(found, cfg)
    edges, labels = (
        _trials(found, cfg, width, notes, left_out)
        if cfg.bins.align
        else (_whole(found, cfg, width), {})
    )
    n_bins = edges.shape[1] - 1
    columns: dict[str, np.ndarray] = {}
    for name, times in found.spikes.items():
        n = counts(times, edges)
        if name in found.observed:
            n = np.where(_seen(found.observed[name], edges), n, np.nan)
            if np.isnan(n).any():
                notes.append(f"missing: {name} was not looked at in {np.isnan(n).sum():,} samples")
        inside = np.nansum(n)
        if inside < cfg.recording.min_spikes:
            reason = "no spikes" if not len(times) else f"{inside:.0f} spikes in the samples"
            left_out.append((name, f"{reason}, recording.min_spikes is {cfg.recording.min_spikes}"))
        else:
            columns[name] = n.ravel()
    silent = [name for name, _ in left_out if name in found.spikes and name not in columns]
    if silent:
        notes.append(
            f"units:   {len(silent)} left out, of fewer than {cfg.recording.min_spikes} spikes in the "
            f"samples: {', '.join(silent[:5])}{', ...' if len(silent) > 5 else ''}"
        )
    rate = list(columns.values())
    for series in found.series:
        columns |= dict(
            zip(series.names, means(series, edges).reshape(-1, len(series.names)).T, strict=True)
        )
    stimuli = _stimuli(found, cfg, edges, labels)
    if shared := sorted(stimuli.keys() & columns.keys()):
        raise DataError(f"{shared[0]!r} is both a stimulus and a variable; rename one")
    n_cells = len(columns)
    columns = stimuli | columns  # first, so that they are the sources
    if n_cells < (1 if stimuli else 2):
        raise DataError(
            f"{n_cells} variables are left, and pairs need two; lower recording.min_spikes, or widen "
            "recording.start_s, stop_s or bins.window_s"
        )
    middle = (edges[:, :-1] + edges[:, 1:]) / 2
    metadata = {TIME: middle.ravel(), **{k: np.repeat(v, n_bins) for k, v in labels.items()}}
    if cfg.bins.align:
        metadata[PHASE] = np.tile(
            (np.arange(n_bins) + 0.5) * width + cfg.bins.window_s[0], len(edges)
        )
    if RATE in cfg.data.conditions:
        if len(rate) < _FEWEST_OF_RATE:
            raise ConfigError(
                f"data.conditions: {RATE} of {len(rate)} units: each is part of it, so that any two "
                f"would seem to oppose each other; it takes {_FEWEST_OF_RATE}"
            )
        metadata[RATE] = np.nansum(rate, axis=0)
        notes.append(
            f"rate:    {RATE} counts the pair's own spikes, too, which lets two of {len(rate)} "
            f"independent units correlate by about {-1 / (len(rate) - 1):.3f}"
        )
    areas = _areas(found, cfg, [name for name in columns if name not in stimuli], left_out, notes)
    if areas:
        columns = {name: c for name, c in columns.items() if name in areas or name in stimuli}
    table = Table(np.stack(list(columns.values()), axis=1), list(columns), None, metadata)
    each = f" in {len(edges):,} trials" if cfg.bins.align else ""
    notes.append(
        f"run:     {table.n_samples:,} samples of {width:g} s{each} x {table.n_variables:,} variables"
    )
    return Samples(table, len(edges), width, list(stimuli), areas, notes, left_out)


def counts(times: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M, B) spikes from each edge, (M, B + 1), up to the next."""
    found: np.ndarray = np.diff(np.searchsorted(times, edges), axis=1).astype(float)
    return found


def means(series: Series, edges: np.ndarray) -> np.ndarray:
    """(M, B, C) of the values from each edge up to the next; NaN where there is none."""
    present = np.isfinite(series.values)
    zero = np.zeros((1, series.values.shape[1]))
    centre = np.nan_to_num(np.nanmean(series.values, axis=0)) if present.any() else 0.0
    total = np.concatenate([zero, np.where(present, series.values - centre, 0.0).cumsum(axis=0)])
    n = np.concatenate([zero, present.cumsum(axis=0)])
    at = np.searchsorted(series.times, edges)
    n_in = n[at[:, 1:]] - n[at[:, :-1]]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (total[at[:, 1:]] - total[at[:, :-1]]) / n_in + centre
    return found


def _width(found: Recording, cfg: NeuralConfig) -> float:
    """Seconds of a bin. ConfigError where it is not to be told, or finer than a series."""
    every = [*found.series, *found.stimuli]
    steps = [s.step_s for s in every]
    width = cfg.bins.width_s
    if width is None:
        if not found.spikes and max(steps) > 1.01 * min(steps):
            raise ConfigError(
                f"time series are sampled every {min(steps):g} to {max(steps):g} s; set bins.width_s"
            )
        width = max([_SPIKE_BIN_S, *steps]) if found.spikes else max(steps)
    if steps and width < 0.99 * max(steps):
        slow = every[int(np.argmax(steps))]
        raise ConfigError(
            f"bins.width_s = {width:g} is finer than the sampling of {slow.names[0]!r}, one value every "
            f"{slow.step_s:g} s, so most samples would be missing; set it to {max(steps):g} or more"
        )
    return width


def _whole(found: Recording, cfg: NeuralConfig, width: float) -> np.ndarray:
    """(1, B + 1) edges over all that was recorded; a series' own samples are in the middle of bins."""
    every = [*found.series, *found.stimuli]
    begins = [s.times[0] - s.step_s / 2 for s in every]
    ends = [s.times[-1] + s.step_s / 2 for s in every]
    for name, times in found.spikes.items():
        if name in found.observed and len(found.observed[name]):
            begins.append(found.observed[name].min())
            ends.append(found.observed[name].max())
        elif len(times):
            begins.append(times[0])
            ends.append(np.nextafter(times[-1], np.inf))
    if not begins:
        raise DataError("no unit has a spike")
    # with a series, only what it covers: before and after there would be nothing to pair
    start = max(s.times[0] - s.step_s / 2 for s in every) if every else min(begins)
    stop = min(s.times[-1] + s.step_s / 2 for s in every) if every else max(ends)
    own = cfg.recording
    start = start if own.start_s is None else max(start, own.start_s)
    stop = stop if own.stop_s is None else min(stop, own.stop_s)
    n_bins = int((stop - start) / width * (1 + 1e-9) + 1e-6)
    if n_bins < cfg.estimator.min_samples:
        raise DataError(
            f"from {start:g} to {stop:g} s there are {max(n_bins, 0)} bins of {width:g} s, fewer than "
            f"estimator.min_samples, {cfg.estimator.min_samples}; see bins.width_s, recording.start_s"
        )
    edges: np.ndarray = (start + width * np.arange(n_bins + 1))[None]
    return edges


def _trials(
    found: Recording,
    cfg: NeuralConfig,
    width: float,
    notes: list[str],
    left_out: list[tuple[str, str]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(M, B + 1) edges and the columns of the M trials that are used."""
    align = str(cfg.bins.align)
    if align not in found.trials:
        raise ConfigError(
            f"bins.align: {align!r} is no column of the trials{nearest(align, found.trials)}"
        )
    begin, end = cfg.bins.window_s
    n_bins = int((end - begin) / width + 1e-6)
    if n_bins < 1:
        raise ConfigError(f"bins.window_s {begin:g} to {end:g} s holds no bin of {width:g} s")
    at = np.asarray(found.trials[align], float)
    order = np.argsort(at, kind="stable")
    first, last = _covered(found, cfg)
    inside = (at[order] + begin >= first - 1e-9) & (
        at[order] + begin + n_bins * width <= last + 1e-9
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
    if close := int((np.diff(at[order]) < n_bins * width).sum()):
        notes.append(f"trials:  {close} begin before the one before them ends: samples repeat")
    edges = at[order][:, None] + begin + width * np.arange(n_bins + 1)
    return edges, {TRIAL: order, **{k: v[order] for k, v in found.trials.items()}}


def _covered(found: Recording, cfg: NeuralConfig) -> tuple[float, float]:
    every = [*found.series, *found.stimuli]
    if every:
        first = max(s.times[0] - s.step_s / 2 for s in every)
        last = min(s.times[-1] + s.step_s / 2 for s in every)
    else:  # when recording of spikes ended is not to be told from the last of them
        first, last = -np.inf, np.inf
    own = cfg.recording
    return (
        first if own.start_s is None else max(first, own.start_s),
        last if own.stop_s is None else min(last, own.stop_s),
    )


def _seen(observed: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M, B) whether a bin lies inside one of (k, 2) intervals."""
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    inside = (low >= observed[:, 0] - 1e-9) & (high <= observed[:, 1] + 1e-9)
    return np.asarray(inside.any(axis=-1))


def _stimuli(
    found: Recording, cfg: NeuralConfig, edges: np.ndarray, labels: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The columns of stimuli, of the time series or of the trials."""
    columns: dict[str, np.ndarray] = {}
    for series in found.stimuli:
        columns |= dict(
            zip(series.names, means(series, edges).reshape(-1, len(series.names)).T, strict=True)
        )
    if not cfg.between.stimulus:
        return columns
    chosen: dict[str, np.ndarray] = {}
    for name in cfg.between.stimulus:
        own = {
            c: v
            for c, v in columns.items()
            if c == name or (c.startswith(name) and c[len(name) :].isdigit())
        }
        if not own and name in labels:
            if labels[name].dtype.kind not in "iuf":
                raise ConfigError(
                    f"between.stimulus: {name!r} of the trials is no number; use data.conditions"
                )
            own = {name: np.repeat(labels[name].astype(float), edges.shape[1] - 1)}
        if not own:
            raise ConfigError(
                f"between.stimulus: no time series, column or number of the trials is called {name!r}"
                f"{nearest(name, [*columns, *labels])}"
            )
        chosen |= own
    return chosen


def _areas(
    found: Recording,
    cfg: NeuralConfig,
    names: list[str],
    left_out: list[tuple[str, str]],
    notes: list[str],
) -> dict[str, str]:
    if cfg.between.areas is None:
        return {}
    areas = {name: found.areas[name] for name in names if found.areas.get(name)}
    without = [name for name in names if name not in areas]
    left_out += [(name, "has no area") for name in without]
    if without:
        notes.append(
            f"areas:   none of {', '.join(without[:5])}: {len(without)} variables left out"
        )
    sizes = {area: list(areas.values()).count(area) for area in sorted(set(areas.values()))}
    if len(sizes) < 2:
        raise DataError(
            f"between.areas: {len(sizes)} areas ({', '.join(sizes)}), and pairs need two"
        )
    notes.append(f"areas:   {', '.join(f'{area} ({n})' for area, n in sizes.items())}")
    return areas
