"""10x Genomics' HDF5 files (Cell Ranger 2 and 3 and later, CellBender): features x barcodes, sparse."""

from __future__ import annotations

from typing import Any

import h5py

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.hdf5 import compressed, open_hdf5, read_text
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents

_PARTS = ("data", "indices", "indptr", "shape", "barcodes")
NAME_FIELDS = ("name", "id")


def read_10x_h5(location: Location, cfg: DataConfig) -> Contents:
    """Barcodes are the samples, features the variables, named by symbol (or data.variable_names: id).

    Cell Ranger 3 and later keep everything in the group `matrix`; before, a group for each genome,
    which data.key names where there are several. DataError for any other HDF5 file.
    """
    field = name_field(cfg)
    with open_hdf5(location, "10x h5") as file:
        group = _matrix(file, cfg, location.url)
        features = group.get("features")
        if features is None:  # Cell Ranger 2
            names = read_text(group["gene_names" if field == "name" else "genes"])
            types = None
        else:
            names = read_text(features[field])
            types = read_text(features["feature_type"]) if "feature_type" in features else None
        n_features, n_barcodes = (int(n) for n in group["shape"][:])
        # stored by barcode, so the transpose is by row
        values = compressed(group, (n_barcodes, n_features), True, f"{location.url}{group.name}")
        return array_contents(
            values,
            location.url,
            names=names,
            sample_names=read_text(group["barcodes"]),
            feature_types=types,
        )


def name_field(cfg: DataConfig) -> str:
    """Which of a 10x feature's two names is used."""
    field = cfg.variable_names or "name"
    if field not in NAME_FIELDS:
        raise DataError(
            f"data.variable_names is {field!r}; features of 10x files have a name (symbol) and an id"
        )
    return field


def _matrix(file: h5py.File, cfg: DataConfig, url: str) -> Any:
    groups = [
        name
        for name, node in file.items()
        if isinstance(node, h5py.Group) and all(part in node for part in _PARTS)
    ]
    if not groups:
        hint = (
            "it looks like an AnnData file: set data.format: h5ad"
            if "obs" in file and "var" in file
            else "molecules are no counts: give the (filtered) feature-barcode matrix"
            if "barcode_idx" in file
            else "for another HDF5 file, write the table as npy, npz or parquet"
        )
        raise DataError(
            f"{url} is no 10x matrix: it has {', '.join(file) or 'nothing'}, and no group of "
            f"{', '.join(_PARTS)}; {hint}"
        )
    if cfg.key is not None:
        if cfg.key not in groups:
            raise DataError(f"data.key: {url} has no matrix {cfg.key!r}{nearest(cfg.key, groups)}")
        return file[cfg.key]
    if len(groups) > 1:
        raise DataError(
            f"{url} holds matrices of {len(groups)} genomes ({', '.join(groups)}); name one with data.key"
        )
    return file[groups[0]]
