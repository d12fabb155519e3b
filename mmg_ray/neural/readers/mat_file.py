"""What a MATLAB file holds, by path: v4 to v7.2 through scipy, v7.3, which is HDF5, through h5py."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from scipy import sparse
from scipy.io import matlab

from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.hdf5 import BROKEN, compressed, open_hdf5

_DEEPEST = 8  # structs within structs
_NUMBERS = {"double", "single", "logical"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_HDF5 = 2  # major version of a v7.3 file


@dataclass(frozen=True)
class Numbers:
    """A matrix of the `shape` that MATLAB says, read when it is asked for."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def is_vector(self) -> bool:
        return len(self.shape) == 2 and min(self.shape) == 1 < max(self.shape)

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) == 2 and min(self.shape) > 1

    def __str__(self) -> str:
        return f"numbers {' x '.join(map(str, self.shape))}"


@dataclass(frozen=True)
class Vectors:
    """A cell array of vectors, or a field of a struct array that holds one in each element."""

    parts: list[Numbers]

    def read(self) -> list[np.ndarray]:
        return [part.read().ravel().astype(float) for part in self.parts]

    def __str__(self) -> str:
        return f"{len(self.parts)} cells of numbers"


@dataclass(frozen=True)
class Texts:
    """A cell array of texts (cellstr), or the rows of a matrix of characters."""

    values: list[str]

    def __str__(self) -> str:
        return f"{len(self.values)} texts"


@dataclass(frozen=True)
class Unusable:
    """What neither numbers nor texts are made of, and why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Value = Numbers | Vectors | Texts | Unusable


@contextmanager
def open_mat(location: Location) -> Iterator[dict[str, Value]]:
    """{path: value} of every variable; those of a struct are struct/field. DataError for what is no MATLAB file."""
    with open_file(location) as file:
        try:
            version, _ = matlab.matfile_version(file)
            found = {} if version == _HDF5 else _of_scipy(matlab.loadmat(file))
        except (*BROKEN, matlab.MatReadError, EOFError, IndexError, MemoryError, zlib.error, RecursionError) as error:  # fmt: skip
            raise unreadable(location, "mat", error) from None
    if version != _HDF5:
        yield dict(sorted(found.items()))
        return
    with open_hdf5(location, "mat") as group:
        yield dict(sorted(_of_hdf5(group).items()))


def _of_scipy(loaded: dict[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in loaded.items():
        if not name.startswith("__"):
            found |= _fields(name, value)
    return found


def _fields(path: str, value: Any, depth: int = 0) -> dict[str, Value]:
    """A variable as scipy gives it, or the fields of a struct."""
    if depth > _DEEPEST:
        return {path: Unusable("structs within structs, too deep")}
    if type(value) is np.ndarray and value.dtype.names:
        records, found = value.ravel("F"), dict[str, Value]()
        for name in value.dtype.names:
            if len(records) == 1:
                found |= _fields(f"{path}/{name}", records[0][name], depth + 1)
            else:
                found[f"{path}/{name}"] = _cells([_scalar(r[name]) for r in records])
        return found
    return {path: _scalar(value)}


def _scalar(value: Any) -> Value:
    if sparse.issparse(value):
        return Numbers(value.shape, value.toarray)
    if type(value) is not np.ndarray or value.dtype.names:
        return Unusable("a struct or an object of MATLAB")
    if value.dtype.kind == "O":
        return _cells([_element(v) for v in value.ravel("F")])
    if value.dtype.kind == "U":
        return Texts([str(v).rstrip() for v in value.ravel()])
    if value.dtype.kind in "biuf":
        return Numbers(value.shape, lambda: value)
    return Unusable(f"of type {value.dtype}")


def _element(value: Any) -> Value:
    """What a cell holds; cells in cells are of no use, whatever is in them."""
    nested = isinstance(value, np.ndarray) and value.dtype.kind == "O"
    return Unusable("cells in cells") if nested else _scalar(value)


def _cells(values: list[Value]) -> Value:
    """One value of what the cells of an array hold."""
    vectors = [v for v in values if isinstance(v, Numbers) and len(v.shape) == 2 and min(v.shape) < 2]  # fmt: skip
    if values and len(vectors) == len(values):
        return Vectors(vectors)
    texts = [v.values[0] if v.values else "" for v in values if isinstance(v, Texts) and len(v.values) < 2]  # fmt: skip
    if values and len(texts) == len(values):
        return Texts(texts)
    kinds = sorted({str(v) for v in values})
    return Unusable(f"cells of {', '.join(kinds[:3])}" if kinds else "no cells")


# --- v7.3


def _of_hdf5(file: h5py.File) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, node in file.items():
        if not name.startswith("#"):  # what cells refer to
            found |= _members(file, name, node)
    return found


def _members(file: h5py.File, path: str, node: Any, depth: int = 0) -> dict[str, Value]:
    """A variable, or the fields of a struct."""
    if depth > _DEEPEST:
        return {path: Unusable("structs within structs, too deep")}
    if isinstance(node, h5py.Group) and "MATLAB_sparse" not in node.attrs:
        if _class(node) not in ("struct", ""):
            return {path: Unusable(f"an object of class {_class(node)}")}
        found: dict[str, Value] = {}
        for name, member in node.items():
            found |= _members(file, f"{path}/{name}", member, depth + 1)
        return found
    return {path: _stored(file, node)}


def _stored(file: h5py.File, node: Any, in_cell: bool = False) -> Value:
    """A dataset of MATLAB; its axes are stored in reverse."""
    kind = _class(node)
    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" in node.attrs and kind in _NUMBERS:
            return _sparse(node)
        return Unusable("a struct or an object of MATLAB")
    if not isinstance(node, h5py.Dataset):
        return Unusable("no data")
    if node.dtype == h5py.ref_dtype:
        if in_cell:
            return Unusable("cells in cells")
        return _cells([_stored(file, file[ref], in_cell=True) for ref in node[()].ravel()])
    empty = bool(node.attrs.get("MATLAB_empty", 0))
    shape = tuple(int(n) for n in (node[()].ravel() if empty else node.shape[::-1]))
    if kind == "char":
        rows = np.empty((0, 0), int) if empty else np.atleast_2d(node[()].T)
        return Texts(["".join(map(chr, row)).rstrip() for row in rows])
    if kind not in _NUMBERS or node.dtype.kind not in "biuf":
        return Unusable(f"of class {kind}" if kind else "no variable of MATLAB")
    return Numbers(shape, lambda: np.zeros(shape) if empty else np.asarray(node[()]).T)


def _class(node: Any) -> str:
    stored = node.attrs.get("MATLAB_class", b"")
    return stored.decode() if isinstance(stored, bytes) else str(stored)


def _sparse(node: h5py.Group) -> Numbers:
    """Columns of a sparse matrix; one without values has jc alone."""
    n_rows, n_columns = int(node.attrs["MATLAB_sparse"]), len(node["jc"]) - 1

    def read() -> np.ndarray:
        if "data" not in node:
            return np.zeros((n_rows, n_columns))
        parts = {"data": node["data"], "indices": node["ir"], "indptr": node["jc"]}
        dense: np.ndarray = compressed(parts, (n_rows, n_columns), False, node.name).toarray()
        return dense

    if n_columns < 0:
        raise DataError(f"{node.name} is a damaged sparse matrix: it has no columns")
    return Numbers((n_rows, n_columns), read)
