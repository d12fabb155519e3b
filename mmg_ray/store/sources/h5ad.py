"""AnnData's h5ad: X, a layer or raw; a sparse matrix stays sparse."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import h5py

from mmg_ray.config import DataConfig
from mmg_ray.store.location import Location
from mmg_ray.store.sources.anndata_group import group_contents
from mmg_ray.store.sources.hdf5 import open_hdf5
from mmg_ray.store.sources.table import Contents


def read_h5ad(location: Location, cfg: DataConfig) -> Contents:
    with open_hdf5(location, "h5ad") as group:
        if not isinstance(group.get("obs"), h5py.Dataset):
            return group_contents(group, cfg, location.url)
        with _rewritten(location) as today:
            return group_contents(today, cfg, location.url)


@contextmanager
def _rewritten(location: Location) -> Iterator[h5py.File]:
    """A file of anndata before 0.7 (obs is one array of records, raw is `raw.X`) as of today."""
    import anndata  # takes a third of a second, and looking at a run does without it
    from anndata.io import write_elem

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pages of advice to write the file again
        data = anndata.read_h5ad(io.BytesIO(location.read_bytes()))
    with h5py.File.in_memory() as today:
        write_elem(today, "/", data)
        yield today
