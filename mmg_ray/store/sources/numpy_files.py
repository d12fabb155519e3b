"""NumPy's npy and npz. Nothing is ever unpickled: arrays of objects are refused."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

import numpy as np
from scipy import sparse

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.hdf5 import compressed
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents

NAMES_KEY = "names"
_SPARSE = frozenset({"format", "shape", "data"})  # what scipy.sparse.save_npz writes, and more
_BROKEN = (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error)


def read_npy(location: Location, cfg: DataConfig) -> Contents:
    with open_file(location) as file:
        _require_magic(file.read(6), b"\x93NUMPY", location, "npy")
        file.seek(0)
        try:
            values = np.load(file, allow_pickle=False)
        except _BROKEN as error:
            raise _explained(location, "npy", error) from None
    return array_contents(values.T if cfg.transpose else values, location.url, names=None)


def read_npz(location: Location, cfg: DataConfig) -> Contents:
    """The array data.key, or the only one beside an optional array `names` of variable names and data.metadata.

    A file of scipy.sparse.save_npz is one sparse matrix; both arrays may be beside it, too.
    """
    with open_file(location) as file:
        _require_magic(file.read(2), b"PK", location, "npz")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                names = archive[NAMES_KEY] if NAMES_KEY in archive.files else None
                metadata = {name: _metadata(archive, name, location.url) for name in cfg.metadata}
                if set(archive.files) >= _SPARSE and cfg.key is None:
                    values = _sparse(archive, location.url)
                else:
                    arrays = [key for key in archive.files if key not in metadata]
                    values = archive[choose_key(arrays, cfg.key, location.url)]
        except _BROKEN as error:
            raise _explained(location, "npz", error) from None
    return array_contents(
        values.T if cfg.transpose else values,
        location.url,
        names=None if names is None else as_names(names),
        metadata=metadata,
    )


def _metadata(archive: Any, name: str, url: str) -> np.ndarray:
    """(N,) a column that describes samples; an empty text is missing."""
    if name not in archive.files:
        raise DataError(f"data.metadata: {url} has no array {name!r}{nearest(name, archive.files)}")
    found: np.ndarray = archive[name]
    if found.ndim != 1:
        raise DataError(
            f"data.metadata: the array {name!r} of {url} has shape {found.shape}; one value a sample is asked for"
        )
    if found.dtype.kind == "U":
        texts = found.astype(object)
        texts[found == ""] = None
        return texts
    return found


def _sparse(archive: Any, url: str) -> sparse.spmatrix:
    """The matrix that scipy wrote, its indices checked. DataError for its rarer formats."""
    kind = archive["format"].item()
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if kind not in ("csr", "csc", "coo"):
        raise DataError(
            f"{url} is a sparse matrix of format {kind!r}; csr, csc and coo are read: save x.tocsr()"
        )
    n_rows, n_columns = (int(n) for n in archive["shape"])
    if kind != "coo":
        return compressed(archive, (n_rows, n_columns), kind == "csr", url)
    try:
        return sparse.coo_matrix(
            (archive["data"], (archive["row"], archive["col"])), shape=(n_rows, n_columns)
        )
    except ValueError as error:
        raise DataError(f"{url} is a damaged sparse matrix: {error}; save it again") from None


def choose_key(keys: list[str], wanted: str | None, url: str) -> str:
    """The array to read: data.key, or the only one that is not `names`."""
    arrays = [key for key in keys if key != NAMES_KEY]
    if wanted is not None:
        if wanted not in keys:
            raise DataError(f"data.key: {url} has no array {wanted!r}{nearest(wanted, keys)}")
        return wanted
    if len(arrays) != 1:
        raise DataError(
            f"{url} holds {len(arrays)} arrays ({', '.join(sorted(arrays)) or 'none'}); "
            "name the samples x variables one with data.key"
        )
    return arrays[0]


def as_names(stored: np.ndarray) -> list[str]:
    """Variable names from an array of text, bytes or numbers."""
    flat = stored.ravel().tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in flat]


def _require_magic(start: bytes, magic: bytes, location: Location, kind: str) -> None:
    if start != magic:
        raise unreadable(location, kind, f"it starts with {start!r} instead of {magic!r}")


def _explained(location: Location, kind: str, error: Exception) -> DataError:
    if "allow_pickle" in str(error):
        return DataError(
            f"{location.url} holds an array of Python objects, which are never unpickled; "
            "save numbers as x.astype(float) and names as np.array(names, dtype=str)"
        )
    return unreadable(location, kind, error)
