"""The MI, standard-error and p-value matrices: Zarr v3 arrays filled from the edge table, a band of rows a task.

The edges are the source of truth in float64; the matrix is a view of them for linear algebra and
pictures, in float32: its rounding (1e-7 of the value) is far below any standard error, at half the
bytes. A band of rows is a row of chunks, so no two tasks write one chunk; each task reads only the
shards that touch its band and sets both halves from the rows (i, j), i < j. The driver holds no
part of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import zarr

from mmg_ray.errors import StoreError
from mmg_ray.plan.tiles import Plan
from mmg_ray.store.location import Location
from mmg_ray.store.shards import Edges
from mmg_ray.store.zarr_store import zarr_store

MATRIX = "matrix.zarr"
MATRICES = {
    "mi_nats": "mutual information, nats",
    "se_nats": "standard error of the mutual information, nats",
    "p_value": "p-value of independence",
}
_NAN = "NaN on the diagonal and where the edges have no value or, of a filtered run, no row"

_MARKER = "matrix.json"
BAND_BYTES = 128 * 2**20  # memory of the rows of one band, all matrices together
_CHUNK_COLUMNS = 1024


def bands(n_variables: int) -> list[tuple[int, int]]:
    """Ranges [first, last) of rows that tasks fill, each of at most 128 MiB."""
    height = _band_rows(n_variables)
    return [(k, min(k + height, n_variables)) for k in range(0, n_variables, height)]


def is_complete(run: Location, fingerprint: str) -> bool:
    """Whether the matrices of this run have been assembled to the end."""
    marker = run / _MARKER
    return marker.exists() and marker.read_json().get("fingerprint") == fingerprint


def create(run: Location, fingerprint: str, names: Sequence[str]) -> None:
    """A group with the variables' names as coordinates; one of this run that is there is kept.

    It was left by a driver that died, or is being filled by another one now: every driver writes
    the same bands, and deleting them could empty a matrix that the other is about to finish.
    """
    n = len(names)
    store = zarr_store(run / MATRIX)
    with contextlib.suppress(OSError, ValueError, KeyError):
        if zarr.open_group(store, mode="r").attrs.get("ready") == fingerprint:
            return
    group = zarr.create_group(store, overwrite=True)
    for name, doc in MATRICES.items():
        group.create_array(
            name,
            shape=(n, n),
            chunks=(_band_rows(n), min(_CHUNK_COLUMNS, n)),
            dtype="float32",
            fill_value=float("nan"),
            dimension_names=("source", "target"),
            attributes={
                "description": f"{doc}; {_NAN}",
                "units": "1" if name == "p_value" else "nats",
            },
        )
    for axis in ("source", "target"):  # the same names: one coordinate for each axis
        labels = group.create_array(
            axis, shape=(n,), chunks=(n,), dtype="string", dimension_names=(axis,)
        )
        labels[:] = np.array(names, dtype=object)
    group.attrs["ready"] = fingerprint  # last: a group without it was left half made


def write_band(run: Location, fingerprint: str, plan: Plan, first: int, last: int) -> None:
    """Fill rows [first, last) of every matrix from the shards that touch them."""
    edges = Edges(run, fingerprint, plan.shards_touching(first, last).tolist())
    rows = {
        name: np.full((last - first, plan.n_variables), np.nan, dtype=np.float32)
        for name in MATRICES
    }
    for batch in edges.batches(columns=["i", "j", *MATRICES]):
        i, j = batch.column("i").to_numpy(), batch.column("j").to_numpy()
        for row, column in ((i, j), (j, i)):
            here = (first <= row) & (row < last)
            for name, values in rows.items():
                found = batch.column(name).to_numpy(zero_copy_only=False)
                values[row[here] - first, column[here]] = found[here]
    group = zarr.open_group(zarr_store(run / MATRIX), mode="r+")
    for name, values in rows.items():
        _array(group, name)[first:last] = values


def finish(run: Location, fingerprint: str) -> None:
    """Mark the matrices as complete; call it when every band is written."""
    (run / _MARKER).write_json({"fingerprint": fingerprint, "matrices": MATRICES})


def open_matrix(run: Location, fingerprint: str, name: str) -> zarr.Array:
    """One matrix, (n_variables, n_variables) float32, symmetric; read when sliced."""
    if name not in MATRICES:
        raise StoreError(f"there is no matrix {name!r}; known: {', '.join(MATRICES)}")
    if not is_complete(run, fingerprint):
        raise StoreError(
            f"{run.url} has no matrix yet: it is assembled when every shard is done. "
            f"`mmg-ray run {run.url}` goes on"
        )
    return _array(zarr.open_group(zarr_store(run / MATRIX, read_only=True), mode="r"), name)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _band_rows(n_variables: int) -> int:
    return max(1, min(n_variables, BAND_BYTES // (4 * len(MATRICES) * n_variables)))
