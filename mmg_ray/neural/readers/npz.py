"""Spike times in an npz file: one array for each unit, or times beside the units they belong to."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import Recording
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import locate, open_file, unreadable

_TIMES, _OWNERS = ("spike_times", "times", "t"), ("spike_clusters", "units", "unit", "index")
_BROKEN = (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of an npz file, each read when it is asked for; pickled ones cannot be."""

    def __init__(self, url: str, archive: Any) -> None:
        self.url, self._archive = url, archive

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self:
            raise KeyError(name)
        try:
            return np.asarray(self._archive[name])
        except _BROKEN as error:
            if "allow_pickle" not in str(error):
                raise unreadable(locate(self.url), "npz", error) from None
            raise DataError(
                f"{self.url}: {name!r} holds Python objects, which are never unpickled. Save the spike "
                "times of each unit as an array of its own: np.savez(path, unit0=..., unit1=...)"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._archive.files

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


@contextlib.contextmanager
def arrays(url: str) -> Iterator[Arrays]:
    """The arrays of the npz file at `url`. DataError where it is none."""
    location = locate(url)
    with open_file(location) as file:
        data = io.BytesIO(file.read())
    try:
        archive = np.load(data, allow_pickle=False)
    except _BROKEN as error:
        raise unreadable(location, "npz", error) from None
    if not hasattr(archive, "files"):
        raise unreadable(location, "npz", "it holds one array, as npy files do")
    with archive:
        yield Arrays(url, archive)


def read_npy(location: Location) -> np.ndarray:
    """The array of numbers in an npy file. DataError where it holds none."""
    with open_file(location) as file:
        try:
            values = np.asarray(np.load(file, allow_pickle=False))
        except _BROKEN as error:
            raise unreadable(location, "npy", error) from None
    if values.dtype.kind not in "iuf":
        raise unreadable(location, "npy of numbers", f"it holds {values.dtype}")
    return values


def holds_spikes(found: Arrays) -> bool:
    """Whether an npz file is spike times rather than a table."""
    if pair(found) is not None:
        return True
    if {"indptr", "row"} & set(found):  # a sparse matrix as scipy writes it
        return False
    shapes = [a.shape for a in found.values()]
    return all(len(s) <= 1 for s in shapes) or (len(shapes) > 1 and all(map(_is_flat, shapes)))


def pair(found: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names of the array of times and of the one that says whose they are."""
    times = next((name for name in _TIMES if name in found), None)
    owners = next((name for name in _OWNERS if name in found), None)
    return None if times is None or owners is None else (times, owners)


def read_npz(cfg: NeuralConfig) -> Recording:
    """Spikes of an npz file; a unit of `keys` without any is silent."""
    with arrays(cfg.data.path) as found:
        names = pair(found)
        if names is None:
            single = [name for name in found if found[name].ndim == 0]
            notes = [f"npz:     no use of single values {', '.join(single)}"] if single else []
            spikes = {name: _times(found, name) for name in found if name not in single}
            return Recording(spikes=spikes, notes=notes)
        times, owners = names
        spikes = by_unit(
            _times(found, times), flat(found[owners]), f"{cfg.data.path}: {times}, {owners}"
        )
        silent = set(flat(found["keys"]).tolist()) if "keys" in found else set()
        spikes = {**{unit_name(u): np.empty(0) for u in sorted(silent)}, **spikes}
        unused = [name for name in found if name not in (*names, "keys")]
        notes = [f"npz:     no use of arrays {', '.join(unused)}"] if unused else []
        return Recording(spikes=spikes, notes=notes)


def by_unit(times: np.ndarray, owners: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """{unit: its times} of (n,) times and the (n,) units they belong to. DataError if they do not match."""
    if times.shape != owners.shape or times.ndim != 1:
        raise DataError(
            f"{where} have shapes {times.shape} and {owners.shape}; each spike needs a time and a unit"
        )
    order = np.argsort(owners, kind="stable")
    units, first = np.unique(owners[order], return_index=True)
    return {
        unit_name(unit): part
        for unit, part in zip(units.tolist(), np.split(times[order], first[1:]), strict=True)
    }


def unit_name(unit: Any) -> str:
    return f"unit{unit:g}" if isinstance(unit, int | float | np.number) else str(unit)


def flat(values: np.ndarray) -> np.ndarray:
    """(n,) of (n,), (n, 1) or (1, n), as MATLAB and sorters write columns; others as they are."""
    return values.ravel() if _is_flat(values.shape) else values


def _is_flat(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and 1 in shape)


def _times(found: Arrays, name: str) -> np.ndarray:
    values = flat(found[name])
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise DataError(
            f"{found.url}: {name!r} is {values.dtype} of shape {values.shape}, and spike times of a unit "
            "are numbers of shape (n,). For a table of samples set recording.layout: series and data.key"
        )
    return values
