"""The parts of an AnnData store that a run needs, from HDF5 or Zarr alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata.io import read_elem
from scipy import sparse

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents

RAW = "raw"


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
    matrix, var_path = element_paths(group, cfg, url)
    for path in ("obs", var_path):
        if not hasattr(group[path], "keys"):
            raise DataError(
                f"{url} was written by anndata before 0.7; open it with anndata.read_h5ad and "
                "write it again"
            )
    values = read_elem(group[matrix])
    obs, var = read_elem(group["obs"]), read_elem(group[var_path])
    if not isinstance(values, np.ndarray) and not sparse.issparse(values):
        raise DataError(
            f"{matrix} of {url} is of type {type(values).__name__}, not a dense or sparse matrix; "
            "set data.layer"
        )
    samples, variables = (var, obs) if cfg.transpose else (obs, var)
    return array_contents(
        values.T if cfg.transpose else values,
        url,
        names=[str(name) for name in variables.index],
        sample_names=[str(name) for name in samples.index],
        metadata={str(name): samples[name].to_numpy() for name in samples.columns},
    )
