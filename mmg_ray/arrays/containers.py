"""Where the columns of a container are, what they are called and which samples they are of.

Samples with labels (pandas, AnnData, xarray) are matched by label: the same labels in another order are
brought into the first one's order, other labels are refused. Containers without labels go by position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from mmg_ray.arrays.columns import Column, is_of
from mmg_ray.arrays.mne_objects import channels_of, is_mne, say
from mmg_ray.arrays.samples import Samples, aligned
from mmg_ray.errors import DataError


def read(values: Any, what: str, layer: str | None = None) -> Samples:
    """The table in whatever a caller passed as `what`; DataError where there is none.

    Args:
        layer: of an AnnData object, or "raw", instead of X.
    """
    if layer is not None and not is_of(values, "anndata", "AnnData"):
        raise DataError(f"layer is {layer!r}, but {what} is not an AnnData object; leave it out")
    if is_of(values, "anndata", "AnnData"):
        found = _anndata(values, what, layer)
    else:
        found = _reader(values)(values, what)
    if not found.n or not len(found.columns):
        raise DataError(
            f"{what} has shape ({found.n}, {len(found.columns)}): there are no samples or no variables "
            "in it"
        )
    if found.n == 1 and len(found.columns) > 1:
        p = len(found.columns)
        raise DataError(
            f"{what} has shape (1, {p}), one sample of {p} variables; if it is one variable in {p} "
            f"samples, pass {what}[0] or its transpose"
        )
    return found


def _reader(values: Any) -> Callable[[Any, str], Samples]:
    if isinstance(values, Column):
        return lambda column, what: Samples(what, len(column.values), [column])
    if is_of(values, "pandas", "DataFrame", "Series", "Index"):
        return _pandas
    if is_of(values, "xarray", "DataArray", "Dataset", "Variable"):
        return _xarray
    if is_of(values, "torch", "Tensor"):
        return _torch
    if is_mne(values):
        return _mne
    if sparse.issparse(values):
        return _sparse
    if isinstance(values, (pa.Array, pa.ChunkedArray, pa.Table, pa.RecordBatch)):
        return _arrow
    if isinstance(values, Mapping):
        return _mapping
    if hasattr(values, "__arrow_c_stream__"):  # polars and other tables of Arrow columns
        return lambda v, what: _arrow(
            pa.table(v) if hasattr(v, "columns") else pa.chunked_array(v), what
        )
    return _array


def _pandas(values: Any, what: str) -> Samples:
    if not hasattr(values, "columns"):
        index = values.index if hasattr(values, "index") else None
        return Samples(what, len(values), [values], index=index)
    # by position: names may repeat
    columns = [values.iloc[:, k] for k in range(values.shape[1])]
    return Samples(what, len(values), columns, [str(c) for c in values.columns], values.index)


def matrix_of(values: Any, what: str, layer: str | None) -> tuple[Any, Any]:
    """X, a layer or raw of an AnnData object, in memory, and the table of its variables."""
    known = [*values.layers, *([] if values.raw is None else ["raw"])]
    has = ", ".join(known) or "none"
    if layer is not None and layer not in known:
        raise DataError(f"{what} has no layer {layer!r}; layers: {has}")
    if values.isbacked:
        values = values.to_memory()
    if layer == "raw" and "raw" not in values.layers:
        return values.raw.X, values.raw.var
    matrix = values.X if layer is None else values.layers[layer]
    if matrix is None:
        raise DataError(f"{what} has no X; choose one of its layers: {has}")
    return matrix, values.var


def _anndata(values: Any, what: str, layer: str | None) -> Samples:
    matrix, var = matrix_of(values, what, layer)
    names = [str(name) for name in var.index]
    return replace(read(matrix, what), names=names, index=values.obs_names)


def _xarray(values: Any, what: str) -> Samples:
    if hasattr(values, "data_vars"):
        parts = {str(name): values[name] for name in values.data_vars}
        dims = {part.dims for part in parts.values()}
        if len(dims) > 1 or any(len(d) != 1 for d in dims):
            raise DataError(
                f"{what} has variables over different dimensions: "
                f"{', '.join(f'{name} {part.dims}' for name, part in parts.items())}; each must be over "
                "the one dimension of the samples. Pass a DataArray (samples, variables) otherwise"
            )
        if not parts:
            return Samples(what, 0, [])
        first = next(iter(parts.values()))
        columns = [part.values for part in parts.values()]
        return Samples(what, first.size, columns, list(parts), first.indexes.get(first.dims[0]))
    found = _array(values.values, what)
    if not hasattr(values, "indexes"):
        return found
    names = values.indexes.get(values.dims[1]) if values.ndim == 2 else None
    return replace(
        found,
        names=None if names is None else [str(name) for name in names],
        index=values.indexes.get(values.dims[0]),
    )


def _mne(values: Any, what: str) -> Samples:
    """Channels of a Raw or an Epochs object, epochs one after the other; says which are left out."""
    found = channels_of(values)
    say(found, what)
    table = found.values.reshape(-1, len(found.names))
    return replace(_array(table, what), names=found.names)


def _torch(values: Any, what: str) -> Samples:
    tensor = values.detach().cpu().to_dense().resolve_conj().resolve_neg()
    if tensor.is_floating_point():  # numpy lacks some of torch's types
        tensor = tensor.double()
    return _array(tensor.numpy(), what)


class _SparseColumns(Sequence[np.ndarray]):
    """Dense columns of a sparse matrix, one at a time."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def __len__(self) -> int:
        return int(self._matrix.shape[1])

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return self._matrix[:, [k]].toarray()[:, 0]


def _sparse(values: Any, what: str) -> Samples:
    if values.ndim == 1:
        values = values.reshape((-1, 1))
    matrix = sparse.csc_array(values)
    return Samples(what, int(matrix.shape[0]), _SparseColumns(matrix))


def _arrow(values: Any, what: str) -> Samples:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return Samples(what, len(values), [values])
    return Samples(what, values.num_rows, list(values.columns), list(values.schema.names))


def _mapping(values: Mapping[Any, Any], what: str) -> Samples:
    """Columns by name; those with sample labels in one order."""
    if not values:
        return Samples(what, 0, [])
    parts = aligned([read(column, f"{what}[{name!r}]") for name, column in values.items()])
    columns, names = [], []
    for name, part in zip(values, parts, strict=True):
        width = len(part.columns)
        columns += [part.column(k) for k in range(width)]
        names += [str(name) if width == 1 else f"{name} {k}" for k in range(width)]
    index = next((part.index for part in parts if part.index is not None), None)
    return Samples(what, parts[0].n, columns, names, index)


def _array(values: Any, what: str) -> Samples:
    try:
        array = np.asanyarray(values)
        if array.dtype.kind in "US" and not isinstance(values, np.ndarray):
            array = np.array(values, dtype=object)  # numbers beside text would be text by now
    except Exception as error:  # noqa: BLE001  # whatever a foreign type raises
        raise DataError(
            f"{what}, of type {type(values).__name__}, cannot be read as an array: {error}. Pass a numpy "
            "array, samples x variables"
        ) from None
    if array.ndim == 0 and array.dtype.kind == "O":
        raise DataError(
            f"{what}, of type {type(values).__name__}, is no array; pass a numpy array, samples x "
            "variables"
        )
    if not np.ma.isMaskedArray(array):
        array = np.asarray(array)
    if array.dtype.names:
        return _mapping({name: array[name] for name in array.dtype.names}, what)
    if array.ndim not in (1, 2):
        raise DataError(f"{what} has shape {array.shape}; it must be (samples,) or (samples, p)")
    columns = [array] if array.ndim == 1 else [array[:, k] for k in range(array.shape[1])]
    return Samples(what, len(array), columns)
