"""Channels of MNE's Raw and Epochs: data channels, without those that are marked as bad."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from mmg_ray.arrays.columns import is_of
from mmg_ray.errors import DataError

log = logging.getLogger(__name__)


class Channels(NamedTuple):
    """C channels of a Raw or an Epochs object.

    Attributes:
        names: (C,).
        values: (E, T, C) in MNE's units (V, T, ...), E = 1 for Raw; NaN where an annotation says that it is bad.
        left_out: (name, reason) of every other channel.
        notes: what MNE knows and is not done here.
    """

    names: list[str]
    values: np.ndarray
    left_out: list[tuple[str, str]]
    notes: list[str]


def is_mne(values: Any) -> bool:
    """Whether this is a Raw or an Epochs object, found without importing MNE."""
    return is_of(values, "mne.io.base", "BaseRaw") or is_of(values, "mne.epochs", "BaseEpochs")


def say(found: Channels, what: str) -> None:
    """Log which channels of `what` are left out, and what else MNE knows."""
    if found.left_out:
        listed = ", ".join(f"{name} {reason}" for name, reason in found.left_out)
        log.warning("%s: %d channels are left out: %s", what, len(found.left_out), listed)
    for note in found.notes:
        log.warning("%s: %s", what, note)


def channels_of(found: Any, kinds: Collection[str] = ()) -> Channels:
    """Data channels (EEG, MEG, sEEG, ECoG, DBS, fNIRS, ...) and those of other `kinds`, as MNE calls them.

    DataError where no channel is left.
    """
    import mne

    types = found.get_channel_types()
    if unknown := sorted(set(kinds) - set(types)):
        raise DataError(
            f"no channel is of type {unknown[0]!r}; types of channels: {', '.join(sorted(set(types)))}"
        )
    data = {found.ch_names[k] for k in mne.pick_types(found.info, meg=True, eeg=True, csd=True, seeg=True,
            ecog=True, dbs=True, fnirs=True, ref_meg=False, exclude=())}  # fmt: skip
    bad = set(found.info["bads"])
    names, left_out = [], []
    for name, kind in zip(found.ch_names, types, strict=True):
        if name not in data and kind not in kinds:
            left_out.append((name, f"is a channel of type {kind}, no data channel"))
        elif name in bad:
            left_out.append((name, "is marked as bad (info['bads'])"))
        else:
            names.append(name)
    if not names:
        raise DataError(
            f"no channel is left of {len(types)}, of types {', '.join(sorted(set(types)))}; {len(bad)} are marked "
            "as bad. Set their types with set_channel_types"
        )
    notes = []
    waiting = sum(not projector["active"] for projector in found.info["projs"])
    if waiting:
        notes.append(f"{waiting} projectors are not applied; apply_proj() does")
    if hasattr(found, "annotations") and is_of(found, "mne.io.base", "BaseRaw"):
        values = found.get_data(picks=names, reject_by_annotation="NaN", verbose="error")[None]
        if lost := int(np.isnan(values).any(axis=(0, 1)).sum()):
            notes.append(f"{lost:,} samples lie in segments annotated as bad, and are missing")
    else:
        values = found.get_data(picks=names, verbose="error")
    return Channels(names, np.moveaxis(values, 1, 2), left_out, notes)
