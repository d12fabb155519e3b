"""Loom (HDF5, loompy): genes x cells in the file, so cells are the samples; sparse when read."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from scipy import sparse

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.hdf5 import open_hdf5, read_text
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents, require_numeric

# What writers call the names of genes and of cells; the first that is there is taken.
_GENES = ("Gene", "gene", "gene_name", "Accession", "var_names")
_CELLS = ("CellID", "cell_id", "obs_names")
_BLOCK_BYTES = 1 << 26


def read_loom(location: Location, cfg: DataConfig) -> Contents:
    """The main matrix or a layer, with the attributes of the cells as metadata.

    DataError for a file that is no loom, an unknown layer, or genes and cells without names.
    """
    with open_hdf5(location, "loom") as group:
        return _contents(group, cfg, location.url)


def _contents(group: h5py.File, cfg: DataConfig, url: str) -> Contents:
    if "matrix" not in group or "row_attrs" not in group or "col_attrs" not in group:
        raise DataError(f"{url} has no matrix, row_attrs and col_attrs: it is no loom file")
    layers = sorted(group["layers"]) if "layers" in group else []
    if cfg.layer is not None and cfg.layer not in layers:
        raise DataError(f"data.layer: {url} has no layer {cfg.layer!r}{nearest(cfg.layer, layers)}")
    array = group["matrix"] if cfg.layer is None else group[f"layers/{cfg.layer}"]
    rows, columns = _attributes(group["row_attrs"]), _attributes(group["col_attrs"])
    genes, cells = rows, columns
    if cfg.transpose:  # a file written the wrong way round
        genes, cells = columns, rows
    values = _sparse_rows(array, url)
    return array_contents(
        values.tocsc() if cfg.transpose else values.T,
        url,
        names=_names(genes, cfg.variable_names, _GENES, "variable_names", url),
        sample_names=_names(cells, cfg.sample_names, _CELLS, "sample_names", url),
        metadata=cells,
    )


def _attributes(group: h5py.Group) -> dict[str, np.ndarray]:
    """One-dimensional attributes, text as str; others (an embedding) describe no single value."""
    found = {}
    for name, member in group.items():
        if isinstance(member, h5py.Dataset) and member.ndim == 1:
            found[name] = (
                member[:] if member.dtype.kind in "biuf" else np.array(read_text(member), object)
            )
    return found


def _names(
    attributes: dict[str, np.ndarray],
    wanted: str | None,
    known: tuple[str, ...],
    option: str,
    url: str,
) -> list[str]:
    if wanted is not None and wanted not in attributes:
        raise DataError(
            f"data.{option}: {url} has no attribute {wanted!r}{nearest(wanted, attributes)}"
        )
    for name in (wanted,) if wanted is not None else known:
        if name in attributes:
            return [str(value) for value in attributes[name]]
    what = "genes" if option == "variable_names" else "cells"
    raise DataError(
        f"{url} does not name its {what}: none of the attributes {', '.join(known)} is there "
        f"(it has {', '.join(attributes) or 'none'}); set data.{option} to one of these, or "
        "data.transpose: true if the file holds cells x genes"
    )


def _sparse_rows(array: Any, url: str) -> sparse.csr_matrix:
    """The dense matrix of the file as a sparse one, never dense as a whole."""
    require_numeric(array.dtype, url)
    if array.ndim != 2:
        raise DataError(f"the matrix of {url} has shape {array.shape}, not genes x cells")
    n_rows = max(1, _BLOCK_BYTES // max(1, 8 * array.shape[1]))
    blocks = [
        sparse.csr_matrix(array[start : start + n_rows])
        for start in range(0, array.shape[0], n_rows)
    ]
    if not blocks:
        return sparse.csr_matrix(array.shape)
    return sparse.vstack(blocks, format="csr")
