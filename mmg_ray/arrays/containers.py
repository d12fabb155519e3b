"""Where the columns of a container are, what they are called and which samples they are of.

Samples with labels (pandas, AnnData, xarray) are matched by label: the same labels in another order are
brought into the first one's order, other labels are refused. Containers without labels go by position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from mmg_ray.arrays.columns import Column, Kind, is_of, read_column
from mmg_ray.arrays.mne_objects import channels_of, is_mne, say
from mmg_ray.errors import DataError

log = logging.getLogger(__name__)

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Samples:
    """A table of n samples that has not been read yet.

    Attributes:
        what: what the caller calls it, for messages.
        n: samples.
        columns: one anything that `read_column` reads for each variable.
        names: of the columns; None where they have none.
        index: pandas Index of the samples' labels; None where they have none.
        order: (n,) which sample comes where; None as they are.
    """

    what: str
    n: int
    columns: Sequence[Any]
    names: list[str] | None = None
    index: Any = None
    order: np.ndarray | None = None

    def column(self, k: int) -> Column:
        """Column k. DataError where its values are neither numbers nor labels."""
        found = read_column(self.columns[k], self.called(k))
        return found if self.order is None else found._replace(values=found.values[self.order])

    def called(self, k: int) -> str:
        """What messages call column k."""
        if self.names is not None:
            return f"column {self.names[k]!r} of {self.what}"
        return self.what if len(self.columns) == 1 else f"column {k} of {self.what}"

    def read(self) -> Iterator[Column]:
        """Every column; says which of them hold infinite values, as these count as missing."""
        infinite = {}
        for k in range(len(self.columns)):
            found = self.column(k)
            if found.n_infinite:
                infinite[self.called(k)] = found.n_infinite
            yield found
        if infinite:
            first = ", ".join(f"{n} in {name}" for name, n in list(infinite.items())[:_SHOWN])
            more = f" and in {len(infinite) - _SHOWN} others" if len(infinite) > _SHOWN else ""
            log.warning("infinite values count as missing: %s%s", first, more)

    def numbers(self) -> np.ndarray:
        """(n, p) float64, NaN where missing. DataError for a column of labels, with its name."""
        values = np.empty((self.n, len(self.columns)))
        for k, column in enumerate(self.read()):
            require_numbers(column, self.called(k))
            values[:, k] = column.values
        return values


def require_numbers(column: Column, called: str) -> None:
    """DataError with the way out if a column is of labels."""
    if not column.kind.is_label:
        return
    refuse_numbers_as_text(column, called)
    raise DataError(
        f"{called} is not numeric: it holds labels, such as {_example(column)!r}. Leave it out, pass it as "
        "condition=, make a column of 0 and 1 of each label, or ask for one pair with estimate_mi, "
        "which takes labels"
    )


def refuse_numbers_as_text(column: Column, called: str) -> None:
    """DataError if every text is that of a number: whether it is meant to have an order is not to be guessed."""
    if column.kind is not Kind.TEXT:
        return
    try:
        found = [float(v) for v in {*column.values} - {None}]
    except ValueError:
        return
    if found:
        raise DataError(
            f"{called} holds numbers as text, such as {_example(column)!r}; make them numbers with "
            ".astype(float), or labels with pandas' .astype('category')"
        )


def _example(column: Column) -> str:
    return str(next((v for v in column.values if v is not None), ""))


def aligned(tables: Sequence[Samples]) -> list[Samples]:
    """The tables with their samples in one order: that of the first one whose samples have labels.

    Raises:
        DataError: their numbers of samples or their labels differ.
    """
    first = next((table for table in tables if table.index is not None), tables[0])
    for table in tables:
        if table.n != tables[0].n:
            raise DataError(
                f"{tables[0].what} has {tables[0].n} samples and {table.what} has {table.n}; pass the "
                "same samples of both, in the same order"
            )
    return [_in_order_of(first, table) for table in tables]


def _in_order_of(first: Samples, table: Samples) -> Samples:
    if table.index is None or first.index is table.index or table.index.equals(first.index):
        return table
    if not (table.index.is_unique and first.index.is_unique):
        raise DataError(
            f"{first.what} and {table.what} have sample labels that repeat and are not in the same "
            "order, so they cannot be matched; give every sample a label of its own, or pass "
            f"{first.what}.to_numpy() and {table.what}.to_numpy() to go by position"
        )
    order = table.index.get_indexer(first.index)
    if (order < 0).any():
        lost = first.index[order < 0]
        raise DataError(
            f"{first.what} and {table.what} have different sample labels: {len(lost)} of {first.n}, such "
            f"as {lost[0]!r}, are in {first.what} only. Keep the samples that both have, for example "
            "with pandas' align(join='inner'), or pass .to_numpy() of each to go by position"
        )
    return replace(table, order=order)


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
