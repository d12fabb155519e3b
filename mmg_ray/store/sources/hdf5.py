"""HDF5: opening a file wherever it lies, and sparse matrices that are checked before anything uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from scipy import sparse

from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import open_file, unreadable

BROKEN = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError)


@contextmanager
def open_hdf5(location: Location, kind: str) -> Iterator[h5py.File]:
    """The open file; DataError for what HDF5 cannot read, and for a file that another process writes."""
    with open_file(location) as file:
        # HDF5 reads a local path by itself, and any other file system through the open file
        source = location.path if isinstance(location.fs, LocalFileSystem) else file
        try:
            with h5py.File(source, "r") as group:
                yield group
        except BROKEN as error:
            text = str(error)
            if isinstance(error, OSError) and ("unable to lock" in text or "already open" in text):
                raise DataError(
                    f"{location.url} is open for writing in another process, or was not closed by one that "
                    f"died ({text}); close it there, or read a copy"
                ) from None
            raise unreadable(location, kind, error) from None


def read_text(node: Any) -> list[str]:
    """A one-dimensional dataset as text, whatever its type."""
    is_text = h5py.check_string_dtype(node.dtype) is not None or node.dtype.kind == "S"
    return [str(value) for value in (node.asstr()[:] if is_text else node[:])]


def compressed(
    group: Any, shape: tuple[int, int], by_row: bool, what: str
) -> sparse.csr_matrix | sparse.csc_matrix:
    """The matrix of a group's data, indices and indptr (HDF5, Zarr or npz), CSR if `by_row`, else CSC.

    Raises DataError where the indices point outside the matrix: compiled code would follow them.
    """
    data, indices, indptr = (np.asarray(group[name][...]) for name in ("data", "indices", "indptr"))
    n_major, n_minor = shape if by_row else shape[::-1]
    fault = _fault(data, indices, indptr, n_major, n_minor)
    if fault:
        raise DataError(
            f"{what} is a damaged sparse matrix: {fault}. Write it again from the program that made it"
        )
    made = sparse.csr_matrix if by_row else sparse.csc_matrix
    # positions in the smallest type that holds them; unsigned ones are none of scipy's
    index = np.int32 if max(n_minor, indices.size) < 2**31 else np.int64
    return made((data, indices.astype(index), indptr.astype(index)), shape=shape)


def _fault(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n_major: int, n_minor: int
) -> str:
    if any(a.ndim != 1 for a in (data, indices, indptr)):
        return "data, indices and indptr need one axis each"
    if indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
        return f"indices are {indices.dtype} and indptr {indptr.dtype}, not whole numbers"
    if len(data) != len(indices):
        return f"{len(data)} values have {len(indices)} indices"
    if len(indptr) != n_major + 1:
        return f"indptr has {len(indptr)} entries, and {n_major} rows or columns need {n_major + 1}"
    pointers = indptr.astype(np.int64)  # differences of unsigned numbers would wrap around
    if pointers[0] != 0 or pointers[-1] != len(indices) or (np.diff(pointers) < 0).any():
        return f"indptr does not go up from 0 to the number of values, {len(indices)}"
    if len(indices) and (indices.min() < 0 or indices.max() >= n_minor):
        wrong = indices[(indices < 0) | (indices >= n_minor)]
        return f"{len(wrong)} indices are outside 0 to {n_minor - 1}, the first is {wrong[0]}"
    return ""
