"""The parts of an AnnData store that a run needs, from HDF5 or Zarr alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources.hdf5 import compressed
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents

if TYPE_CHECKING:
    import pandas as pd

RAW = "raw"
FEATURE_TYPES = "feature_types"  # the column of var that 10x's kinds of features are in


def element_paths(group: Any, cfg: DataConfig, url: str) -> tuple[str, str]:
    """Paths of the matrix and of the table of its variables: X, a layer, or raw.

    Raises DataError naming the nearest layer, or what there is when X is not there.
    """
    layers = sorted(group["layers"]) if "layers" in group else []
    known = layers + ([RAW] if "raw/X" in group else [])
    if cfg.layer is None:
        if "X" not in group:
            raise DataError(
                f"{url} has no X; set data.layer to one of: {', '.join(known) or '(none there)'}"
            )
        return "X", "var"
    if cfg.layer not in known:
        raise DataError(f"data.layer: {url} has no layer {cfg.layer!r}{nearest(cfg.layer, known)}")
    if cfg.layer in layers:
        return f"layers/{cfg.layer}", "var"
    return "raw/X", "raw/var"


def group_contents(group: Any, cfg: DataConfig, url: str) -> Contents:
    """Contents of an open h5py or zarr group; only X (or the layer), obs and var are read."""
    from anndata.io import read_elem  # takes a third of a second, with pandas

    matrix, var_path = element_paths(group, cfg, url)
    for path in ("obs", var_path):
        if not hasattr(group[path], "keys"):
            raise DataError(
                f"{url} was written by anndata before 0.7; open it with anndata.read_h5ad and "
                "write it again"
            )
    values = _matrix(group[matrix], matrix, url)
    return annotated(values, read_elem(group["obs"]), read_elem(group[var_path]), cfg, url)


def annotated(
    values: Any, obs: pd.DataFrame, var: pd.DataFrame, cfg: DataConfig, url: str
) -> Contents:
    """Contents of a matrix (obs, var) and the tables that describe its axes."""
    samples, variables = (var, obs) if cfg.transpose else (obs, var)
    names, note = _names(variables, cfg.variable_names, "data.variable_names", url)
    sample_names, other = _names(samples, cfg.sample_names, "data.sample_names", url)
    types = variables[FEATURE_TYPES].astype(str).tolist() if FEATURE_TYPES in variables else None
    return array_contents(
        values.T if cfg.transpose else values,
        url,
        names=names,
        sample_names=sample_names,
        metadata={str(name): samples[name].to_numpy() for name in samples.columns},
        feature_types=types,
        notes=[*note, *other],
    )


def _matrix(node: Any, path: str, url: str) -> Any:
    kind = node.attrs.get("encoding-type", "array")
    if kind in ("csr_matrix", "csc_matrix"):
        n_rows, n_columns = (int(n) for n in node.attrs["shape"])
        return compressed(node, (n_rows, n_columns), kind == "csr_matrix", f"{path} of {url}")
    if hasattr(node, "keys"):
        raise DataError(
            f"{path} of {url} is of type {kind}, not a dense or sparse matrix; set data.layer"
        )
    return np.asarray(node[...])


def _names(
    table: pd.DataFrame, column: str | None, option: str, url: str
) -> tuple[list[str], list[str]]:
    """The index, or a column where it has a name and the index where it has none; and a note."""
    index = [str(name) for name in table.index]
    if column is None:
        return index, []
    if column not in table:
        raise DataError(
            f"{option}: {url} has no column {column!r}{nearest(column, map(str, table.columns))}"
        )
    named = [
        "" if absent else str(name).strip()
        for name, absent in zip(table[column], table[column].isna(), strict=True)
    ]
    n_absent = named.count("")
    note = f"names:   {n_absent:,} of {len(named):,} have none in {column!r} ({option}) and keep that of the index"
    return [name or other for name, other in zip(named, index, strict=True)], [note] * bool(
        n_absent
    )
