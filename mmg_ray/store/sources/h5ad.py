"""AnnData's h5ad: X, a layer or raw; a sparse matrix stays sparse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anndata
import h5py
from anndata.io import write_elem
from fsspec.implementations.local import LocalFileSystem

from mmg_ray.config import DataConfig
from mmg_ray.store.location import Location
from mmg_ray.store.sources.anndata_group import group_contents
from mmg_ray.store.sources.files import open_file, unreadable
from mmg_ray.store.sources.table import Contents


def read_h5ad(location: Location, cfg: DataConfig) -> Contents:
    with open_file(location) as file:
        # HDF5 reads a local path by itself, and any other file system through the open file
        source = location.path if isinstance(location.fs, LocalFileSystem) else file
        try:
            with h5py.File(source, "r") as group:
                if not isinstance(group.get("obs"), h5py.Dataset):
                    return group_contents(group, cfg, location.url)
            with _rewritten(source) as group:
                return group_contents(group, cfg, location.url)
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise unreadable(location, "h5ad", error) from None


@contextmanager
def _rewritten(source: Any) -> Iterator[h5py.File]:
    """A file of anndata before 0.7 (obs is one array of records, raw is `raw.X`) as of today."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pages of advice to write the file again
        data = anndata.read_h5ad(source)
    with h5py.File.in_memory() as group:
        write_elem(group, "/", data)
        yield group
