"""Formats of recordings: one small file each, and one entry in READERS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mmg_ray.errors import ConfigError
from mmg_ray.neural.checks import checked
from mmg_ray.neural.config import NeuralConfig, changed
from mmg_ray.neural.readers import beside, mne
from mmg_ray.neural.readers.mat import read_mat
from mmg_ray.neural.readers.neo import read_neo
from mmg_ray.neural.readers.npz import arrays, holds_spikes, read_npz
from mmg_ray.neural.readers.nwb import read_nwb
from mmg_ray.neural.readers.phy import folder_of, read_phy
from mmg_ray.neural.readers.pynapple import kind_of, read_pynapple
from mmg_ray.neural.readers.suite2p import planes_of, read_suite2p
from mmg_ray.neural.readers.table import read_series
from mmg_ray.neural.recordings import Recording
from mmg_ray.store.sources import OPTIONS
from mmg_ray.store.sources.files import locate
from mmg_ray.store.sources.select import nearest

__all__ = ["READERS", "Reader", "in_seconds", "read", "refuse_unused"]


@dataclass(frozen=True)
class Reader:
    """A format of recordings: its reader, and the configuration's fields that not all readers use.

    A field that is an option of some readers is refused where another one reads.
    """

    read: Callable[[NeuralConfig], Recording]
    options: frozenset[str]


_TABLE = {f"data.{name}" for name in (*OPTIONS, "format", "duplicate_names")}
_SPIKES = {"recording.unsorted", "recording.min_spikes"}
_UNIT, _TRANSPOSED = "recording.time_unit_s", "recording.transposed"
_RATE, _TIMES, _QUALITY = "recording.rate_hz", "recording.time_column", "recording.quality"

READERS: dict[str, Reader] = {
    "nwb": Reader(
        read_nwb,
        frozenset({"recording.series", "recording.units", _UNIT, _TRANSPOSED, *_SPIKES}),
    ),
    "spikes": Reader(read_npz, frozenset({_UNIT, *_SPIKES})),
    "pynapple": Reader(read_pynapple, frozenset({_UNIT, _TRANSPOSED, *_SPIKES})),
    "phy": Reader(read_phy, frozenset({_QUALITY, _UNIT, *_SPIKES})),
    "series": Reader(
        read_series,
        frozenset({_RATE, _TIMES, _UNIT, _TRANSPOSED, *_TABLE}),
    ),
    "mat": Reader(
        read_mat,
        frozenset(
            {
                "recording.variable",
                "recording.names",
                "data.transpose",
                _RATE,
                _TIMES,
                _UNIT,
                _TRANSPOSED,
                *_SPIKES,
            }
        ),
    ),
    "mne": Reader(mne.read_mne, frozenset({"recording.series"})),
    "suite2p": Reader(
        read_suite2p,
        frozenset({"recording.trace", "recording.neuropil", _QUALITY, _RATE}),
    ),
    "neo": Reader(read_neo, frozenset({_TRANSPOSED, *_SPIKES})),
}

_ENDINGS = {"nwb": (".nwb",), "mat": (".mat",), "mne": mne.ENDINGS}


def read(cfg: NeuralConfig) -> Recording:
    """The recording at data.path with what the configuration adds, in seconds.

    ConfigError or DataError for what is wrong, and for a field that the format does not use.
    """
    layout, why = _layout(cfg)
    refuse_unused(cfg, layout)
    found = in_seconds(READERS[layout].read(cfg), cfg)
    found = replace(found, notes=[f"layout:  {layout}, {why}", *found.notes])
    if cfg.between.stimulus_path is not None:
        found.stimuli.append(beside.stimuli(cfg.between.stimulus_path))
    if cfg.bins.trials is not None and not found.trials:
        found = replace(found, trials=beside.trials(cfg.bins.trials))
    if cfg.between.areas is not None and beside.is_table(cfg.between.areas):
        found = replace(found, areas=beside.areas(cfg.between.areas))
    return checked(found, cfg)


def in_seconds(found: Recording, cfg: NeuralConfig) -> Recording:
    """A recording as it was read, its own times in seconds; says what they were taken for."""
    if found.in_seconds:
        return found
    unit_s = cfg.recording.time_unit_s
    if unit_s is not None:
        found.notes.append(f"times:   of the recording are in units of {unit_s:g} s")
    elif found.spikes or not all(s.by_rate for s in found.series):
        found.notes.append("times:   taken as seconds, recording.time_unit_s is not set")
    return found.scaled(unit_s or 1.0)


def refuse_unused(cfg: NeuralConfig, layout: str) -> None:
    """ConfigError for a field that is set and that only other formats use."""
    every = set().union(*(reader.options for reader in READERS.values()))
    for option in sorted(every - READERS[layout].options):
        if changed(cfg, option):
            users = ", ".join(k for k, reader in READERS.items() if option in reader.options)
            raise ConfigError(
                f"{option} is set, and recordings of layout {layout} do not use it (only {users} do); "
                "leave it out"
            )


def _layout(cfg: NeuralConfig) -> tuple[str, str]:
    """The key of READERS, and how it was found."""
    wanted = cfg.recording.layout
    if wanted != "auto":
        if wanted not in READERS:
            raise ConfigError(
                f"recording.layout is {wanted!r}{nearest(wanted, READERS)} Known: auto, {', '.join(READERS)}"
            )
        return wanted, "by recording.layout"
    path = cfg.data.path
    locate(path)
    for layout, endings in _ENDINGS.items():
        if path.lower().endswith(endings):
            return layout, "by the ending of data.path"
    if path.lower().endswith(".npz") and cfg.data.key is None:
        with arrays(path) as found:
            if kind := kind_of(found):
                return "pynapple", f"a {kind}"
            if holds_spikes(found):
                return "spikes", "arrays of one axis"
    if folder_of(path) is not None:
        return "phy", "a folder with spike_times.npy"
    if planes_of(path):
        return "suite2p", "a folder with traces and iscell.npy"
    return "series", "times x channels"
