"""EEG and MEG in any file that the package MNE reads: fif, edf, bdf, ... Epochs are trials."""

from __future__ import annotations

from typing import Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from mmg_ray.arrays.columns import is_of
from mmg_ray.arrays.mne_objects import Channels, channels_of
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import MOST_VALUES, Recording, Series
from mmg_ray.store.sources.files import locate, unreadable

ENDINGS = (".fif", ".fif.gz", ".edf", ".bdf")
_EPOCHS = ("epo.fif", "epo.fif.gz")  # as MNE wants them to be called
_ONSET = "onset"
_ROUNDING_S = 1e-9


def read_mne(cfg: NeuralConfig) -> Recording:
    """Data channels in seconds from the first sample, and the annotations or events as trials."""
    try:
        import mne
    except ImportError:
        raise ConfigError(
            "files of fif, edf and bdf need the package mne: pip install 'mmg-ray[mne]'"
        ) from None
    location = locate(cfg.data.path)
    if not isinstance(location.fs, LocalFileSystem):
        raise DataError(f"{location.url}: MNE reads local files; copy it here first")
    is_epochs = location.path.endswith(_EPOCHS)
    try:
        if is_epochs:
            found = mne.read_epochs(location.path, preload=False, verbose="error")
        else:
            found = mne.io.read_raw(location.path, verbose="error")
        size = found.info["nchan"] * len(found.times) * (len(found) if is_epochs else 1)
        if size > MOST_VALUES:
            raise DataError(
                f"{location.url} holds {size:,} values, more than fit; resample or crop it with MNE"
            )
        return of_object(found, cfg)
    except (DataError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001  # of any of its readers
        raise unreadable(location, "a file of MNE", error) from None


def of_object(found: Any, cfg: NeuralConfig) -> Recording:
    """The same of MNE's Raw or Epochs."""
    channels = channels_of(found, cfg.recording.series)
    of = _raw if is_of(found, "mne.io.base", "BaseRaw") else _epochs
    return of(found, channels, cfg)


def _raw(found: Any, channels: Channels, cfg: NeuralConfig) -> Recording:
    import mne

    rate_hz = float(found.info["sfreq"])
    trials = {}
    notes = _notes(channels, rate_hz)
    if len(found.annotations) and cfg.bins.trials is None:
        # bad segments are no events, and neither are the edges of files that were joined
        events, kinds = mne.events_from_annotations(found, verbose="error")
        called = {number: name for name, number in kinds.items()}
        trials = {
            _ONSET: (events[:, 0] - found.first_samp) / rate_hz,
            "description": np.array([called[number] for number in events[:, 2].tolist()], str),
        }
        notes.append(f"trials:  {len(events)} annotations: {', '.join(sorted(kinds))}")
    values = channels.values[0]
    return Recording(
        series=[Series(_times(len(values), rate_hz), values, channels.names)],
        trials=trials,
        in_seconds=True,
        notes=notes,
        left_out=channels.left_out,
    )


def _epochs(found: Any, channels: Channels, cfg: NeuralConfig) -> Recording:
    """Epochs one after the other, since those of a recording may overlap; bins of trials stay within one."""
    rate_hz = float(found.info["sfreq"])
    first, last = float(found.times[0]), float(found.times[-1]) + 1 / rate_hz
    if cfg.bins.trials is not None:
        raise ConfigError("bins.trials: epochs are trials already; leave it out")
    if cfg.bins.align != _ONSET:
        raise ConfigError(
            f"epochs are trials: set bins.align: {_ONSET}, and bins.window_s within {first:g} to {last:g} s"
        )
    begin, end = cfg.bins.window_s
    if begin < first - _ROUNDING_S or end > last + _ROUNDING_S:
        raise ConfigError(
            f"bins.window_s {begin:g} to {end:g} s reaches beyond the epochs, {first:g} to {last:g} s"
        )
    n_epochs, n_times, n_channels = channels.values.shape
    called = {number: name for name, number in found.event_id.items()}
    trials = {
        _ONSET: n_times / rate_hz * np.arange(n_epochs) - first,
        "event": np.array([called[number] for number in found.events[:, 2].tolist()], str),
    }
    if found.metadata is not None:
        for name, column in found.metadata.items():
            trials[str(name)] = column.to_numpy(str if column.dtype.kind not in "biuf" else None)
    dropped = [
        (f"epoch {k}", f"dropped in MNE: {', '.join(reasons)}")
        for k, reasons in enumerate(found.drop_log)
        if reasons and "IGNORED" not in reasons
    ]
    notes = _notes(channels, rate_hz)
    notes.append(
        f"trials:  {n_epochs} epochs of {n_times} samples ({', '.join(sorted(found.event_id))}), {len(dropped)} "
        "dropped before; laid one after the other, so times are not those of the recording"
    )
    values = channels.values.reshape(n_epochs * n_times, n_channels)
    return Recording(
        series=[Series(_times(len(values), rate_hz), values, channels.names)],
        trials=trials,
        in_seconds=True,
        notes=notes,
        left_out=[*channels.left_out, *dropped],
    )


def _times(n: int, rate_hz: float) -> np.ndarray:
    """(n,) seconds, of each sample the middle of the step that it begins: no bin of whole steps ends on one."""
    times: np.ndarray = (np.arange(n) + 0.5) / rate_hz
    return times


def _notes(channels: Channels, rate_hz: float) -> list[str]:
    listed = [f"{name} ({reason})" for name, reason in channels.left_out]
    return [
        f"mne:     {len(channels.names)} channels at {rate_hz:g} Hz",
        *([f"mne:     left out: {', '.join(listed)}"] if listed else []),
        *(f"mne:     {note}" for note in channels.notes),
    ]
