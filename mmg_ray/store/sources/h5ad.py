"""AnnData's h5ad: X, a layer or raw; a sparse matrix stays sparse."""

from __future__ import annotations

import h5py
from fsspec.implementations.local import LocalFileSystem

from mmg_ray.config import DataConfig
from mmg_ray.store.location import Location
from mmg_ray.store.sources.anndata_group import group_contents
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.table import Contents


def read_h5ad(location: Location, cfg: DataConfig) -> Contents:
    with open_file(location) as file:
        # HDF5 reads a local path by itself, and any other file system through the open file
        local = isinstance(location.fs, LocalFileSystem)
        try:
            with h5py.File(location.path if local else file, "r") as group:
                return group_contents(group, cfg, location.url)
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise unreadable(location, "h5ad", error) from None
