"""From a recording to samples x variables: bins of the whole, or bins of trials.

Samples lie in M segments (the whole, or trials) of B bins each, in this order: sample m B + b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural import bins
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import Recording, some
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest

TIME, PHASE, RATE = "time_s", "time_in_trial_s", "population_rate"
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
        values = self.table.values
        dense = values if isinstance(values, np.ndarray) else values.toarray()
        return dense.reshape(self.n_segments, -1, dense.shape[1])


def samples(found: Recording, cfg: NeuralConfig) -> Samples:
    """Count and average. ConfigError or DataError, naming value, reason and way out."""
    notes, left_out = list(found.notes), list(found.left_out)
    width = bins.width(found, cfg, notes)
    edges, labels = (
        bins.trials(found, cfg, width, notes, left_out)
        if cfg.bins.align
        else (bins.whole(found, cfg, width, notes), {})
    )
    n_bins = edges.shape[1] - 1
    columns: dict[str, np.ndarray | sparse.csc_array] = {}
    rate = np.zeros(len(edges) * n_bins)
    unseen: dict[int, list[str]] = {}
    for name, times in found.spikes.items():
        n = bins.counts(times, edges)
        if name in found.observed:
            n = np.where(bins.recorded(found.observed[name], edges), n, np.nan)
            if lost := int(np.isnan(n).sum()):
                unseen.setdefault(lost, []).append(name)
        inside = np.nansum(n)
        if inside < cfg.recording.min_spikes:
            reason = "no spikes" if not len(times) else f"{inside:.0f} spikes in the samples"
            left_out.append((name, f"{reason}, recording.min_spikes is {cfg.recording.min_spikes}"))
        else:
            rate += np.nan_to_num(n.ravel())
            columns[name] = sparse.csc_array(n.reshape(-1, 1))  # most bins hold no spike
    for lost, units in unseen.items():
        notes.append(f"missing: {some(units)} not recorded in {lost:,} samples")
    silent = [name for name, _ in left_out if name in found.spikes and name not in columns]
    if silent:
        notes.append(
            f"units:   {len(silent)} left out, of fewer than {cfg.recording.min_spikes} spikes in the "
            f"samples: {', '.join(silent[:5])}{', ...' if len(silent) > 5 else ''}"
        )
    n_units = len(columns)
    for series in found.series:
        columns |= dict(
            zip(
                series.names,
                bins.means(series, edges).reshape(-1, len(series.names)).T,
                strict=True,
            )
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
        if n_units < _FEWEST_OF_RATE:
            raise ConfigError(
                f"data.conditions: {RATE} of {n_units} units: each is part of it, so that any two "
                f"would seem to oppose each other; it takes {_FEWEST_OF_RATE}"
            )
        metadata[RATE] = rate
        notes.append(
            f"rate:    {RATE} counts the pair's own spikes, too, which lets two of {n_units} "
            f"independent units correlate by about {-1 / (n_units - 1):.3f}"
        )
    areas = _areas(found, cfg, [name for name in columns if name not in stimuli], left_out, notes)
    if areas:
        columns = {name: c for name, c in columns.items() if name in areas or name in stimuli}
    table = Table(_table(list(columns.values())), list(columns), None, metadata)
    each = f" in {len(edges):,} trials" if cfg.bins.align else ""
    notes.append(
        f"run:     {table.n_samples:,} samples of {width:g} s{each} x {table.n_variables:,} variables"
    )
    return Samples(table, len(edges), width, list(stimuli), areas, notes, left_out)


def _table(columns: list[np.ndarray | sparse.csc_array]) -> np.ndarray | sparse.csc_matrix:
    """(N, V) of columns: sparse where there are spikes."""
    if not any(sparse.issparse(column) for column in columns):
        return np.stack(columns, axis=1)
    as_sparse = (c if sparse.issparse(c) else sparse.csc_array(c[:, None]) for c in columns)
    return sparse.csc_matrix(sparse.hstack(list(as_sparse), format="csc"))


def _stimuli(
    found: Recording, cfg: NeuralConfig, edges: np.ndarray, labels: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The columns of stimuli, of the time series or of the trials."""
    columns: dict[str, np.ndarray] = {}
    for series in found.stimuli:
        means = bins.means(series, edges).reshape(-1, len(series.names)).T
        columns |= dict(zip(series.names, means, strict=True))
    if not cfg.between.stimulus:
        return columns
    asked = {column: series.name for series in found.stimuli for column in series.names}
    chosen: dict[str, np.ndarray] = {}
    for name in cfg.between.stimulus:
        own = {c: v for c, v in columns.items() if name in (c, asked[c])}
        label = name.removeprefix("trials/")
        if own and name in labels:
            raise ConfigError(
                f"between.stimulus: {name!r} is a series and a column of the trials; rename one, or name "
                f"the column as trials/{name}"
            )
        if not own and label in labels:
            if labels[label].dtype.kind not in "iuf":
                raise ConfigError(
                    f"between.stimulus: {label!r} of the trials is no number; use data.conditions"
                )
            own = {label: np.repeat(labels[label].astype(float), edges.shape[1] - 1)}
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
