"""Folders of suite2p: traces of regions of interest (ROIs), which of them are cells, the rate of frames."""

from __future__ import annotations

import io
import math
import pickletools
import re

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.readers.npz import read_npy
from mmg_ray.neural.recordings import MOST_VALUES, Recording, Series
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import locate, open_file

_CELLS, _TRACES = "iscell.npy", ("F.npy", "spks.npy")
_SETTINGS = ("settings.npy", "ops.npy")  # of suite2p 1.0 on, and before
_RATE, _NEUROPIL = "fs", ("neuropil_coefficient", "neucoeff")
_BOOKKEEPING = ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "FRAME")
_NUMBERS = ("BINFLOAT", "FLOAT", "BININT", "BININT1", "BININT2", "INT")
_PLANE = re.compile(r"plane\d+")


def planes_of(url: str) -> list[str]:
    """The folders of planes that `url`, a folder of suite2p or of one plane, means; none where it is neither."""
    place = Location(url)
    if any((place / name).exists() for name in _TRACES):
        return [place.url] if (place / _CELLS).exists() else []
    if not place.fs.isdir(place.path):
        return []
    inside = [path.rstrip("/").rsplit("/", 1)[-1] for path in place.fs.ls(place.path, detail=False)]
    planes = sorted((n for n in inside if _PLANE.fullmatch(n)), key=lambda n: int(n[5:]))
    return [url for name in planes for url in planes_of(f"{place.url.rstrip('/')}/{name}")]


def read_suite2p(cfg: NeuralConfig) -> Recording:
    """The trace that recording.trace asks for, of the ROIs that iscell.npy calls cells."""
    planes = planes_of(locate(cfg.data.path).url)
    if not planes:
        raise DataError(
            f"{cfg.data.path} is no folder of suite2p: neither it nor a plane0 in it has {' or '.join(_TRACES)} "
            f"beside {_CELLS}"
        )
    if set(cfg.recording.quality) - {"good"}:
        raise ConfigError(
            f"recording.quality is {list(cfg.recording.quality)}: of suite2p [good] takes the cells of {_CELLS}, "
            "[] every ROI"
        )
    notes: list[str] = []
    left_out: list[tuple[str, str]] = []
    series = []
    for url in planes:
        prefix = f"{Location(url).name}_" if len(planes) > 1 else ""
        series.append(_plane(Location(url), prefix, cfg, notes, left_out))
    return Recording(
        series=[s for s in series if s.names], in_seconds=True, notes=notes, left_out=left_out
    )


def _plane(
    folder: Location,
    prefix: str,
    cfg: NeuralConfig,
    notes: list[str],
    left_out: list[tuple[str, str]],
) -> Series:
    values = _trace(folder, cfg, notes)
    cells = read_npy(folder / _CELLS)
    if cells.ndim != 2 or cells.shape[1] != 2 or len(cells) != len(values):
        raise DataError(
            f"{folder.url}: {_CELLS} has shape {cells.shape} and there are {len(values)} traces; it has a row "
            "for each, (is a cell, probability)"
        )
    names = [f"{prefix}roi{k}" for k in range(len(values))]
    kept = (cells[:, 0] > 0) | (not cfg.recording.quality)
    left_out += [
        (names[k], f"is no cell by {_CELLS} (probability {cells[k, 1]:.2g}); see recording.quality")
        for k in np.flatnonzero(~kept)
    ]
    notes.append(
        f"suite2p: {int(kept.sum())} of {len(kept)} ROIs of {folder.name}"
        f"{', which are cells by ' + _CELLS if cfg.recording.quality else ', cells or not'}; "
        "recording.quality chooses"
    )
    rate_hz = _rate_hz(folder, cfg, notes)
    times = np.arange(values.shape[1]) / rate_hz
    return Series(times, values[kept].T, [names[k] for k in np.flatnonzero(kept)])


def _trace(folder: Location, cfg: NeuralConfig, notes: list[str]) -> np.ndarray:
    """(ROIs, frames) of spks.npy, or of F.npy less a share of Fneu.npy."""
    own = cfg.recording
    if own.trace == "spks":
        if own.neuropil is not None:
            raise ConfigError(
                "recording.neuropil is of recording.trace: F; spks were deconvolved from corrected traces"
            )
        notes.append("trace:   spks, deconvolved by suite2p; recording.trace chooses")
        return _matrix(folder, "spks.npy")
    share, source = own.neuropil, "by recording.neuropil"
    if share is None:
        share, source = _setting(folder, _NEUROPIL)
        if share is None:
            raise ConfigError(
                f"{folder.url}: neither {' nor '.join(_SETTINGS)} states the neuropil coefficient; set "
                "recording.neuropil (suite2p's default is 0.7; 0 leaves F as it is)"
            )
    values = _matrix(folder, "F.npy")
    if share:
        neuropil = _matrix(folder, "Fneu.npy")
        if neuropil.shape != values.shape:
            raise DataError(
                f"{folder.url}: F.npy has shape {values.shape} and Fneu.npy {neuropil.shape}"
            )
        values = values - share * neuropil
    notes.append(f"trace:   F - {share:g} Fneu, {source}; recording.trace and neuropil choose")
    return values


def _matrix(folder: Location, name: str) -> np.ndarray:
    if not (folder / name).exists():
        raise DataError(f"{folder.url} has no {name}; see recording.trace and recording.neuropil")
    values = read_npy(folder / name)
    if values.ndim != 2 or math.prod(values.shape) > MOST_VALUES:
        raise DataError(
            f"{folder.url}/{name} has shape {values.shape}, and traces are ROIs x frames, "
            f"{MOST_VALUES:,} values at most"
        )
    return values.astype(float)


def _rate_hz(folder: Location, cfg: NeuralConfig, notes: list[str]) -> float:
    """Frames a second of a plane: recording.rate_hz, else `fs` of the settings."""
    rate, source = cfg.recording.rate_hz, "by recording.rate_hz"
    if rate is None:
        rate, source = _setting(folder, (_RATE,))
    if rate is None or not 0 < rate < math.inf:
        raise DataError(
            f"{folder.url}: neither {' nor '.join(_SETTINGS)} states {_RATE} as a number; set recording.rate_hz, "
            "frames of a plane a second"
        )
    notes.append(f"rate:    {rate:g} frames a second, {source}")
    return rate


def _setting(folder: Location, keys: tuple[str, ...]) -> tuple[float | None, str]:
    """A number of suite2p's settings, and where it stands; None where it does not."""
    for name in _SETTINGS:
        if (folder / name).exists():
            with open_file(folder / name) as file:
                data = file.read()
            for key in keys:
                if (value := _number_after(data, key)) is not None:
                    return value, f"{key} of {name}"
    return None, ""


def _number_after(data: bytes, key: str) -> float | None:
    """The number that follows a key in an npy file of a pickled dict, whose opcodes are listed, never executed.

    None where none does, or several that differ.
    """
    file, found = io.BytesIO(data), set()
    try:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        after_key = False
        for code, value, _ in pickletools.genops(file):
            if code.name in _BOOKKEEPING:
                continue
            if after_key and isinstance(value, int | float) and code.name in _NUMBERS:
                found.add(float(value))
            after_key = isinstance(value, str) and value == key
    except (ValueError, OSError, EOFError, UnicodeError):
        return None
    return found.pop() if len(found) == 1 else None
