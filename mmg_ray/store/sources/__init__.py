"""Input formats: one small file each, and one entry in SOURCES."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.delimited import read_csv, read_tsv
from mmg_ray.store.sources.files import digest, locate
from mmg_ray.store.sources.h5ad import read_h5ad
from mmg_ray.store.sources.loom import read_loom
from mmg_ray.store.sources.matrix_market import read_mtx
from mmg_ray.store.sources.numpy_files import read_npy, read_npz
from mmg_ray.store.sources.parquet import read_parquet
from mmg_ray.store.sources.select import (
    choose_samples,
    choose_variables,
    draw_samples,
    nearest,
    unique_names,
)
from mmg_ray.store.sources.table import Contents, Table
from mmg_ray.store.sources.zarr_folder import read_zarr

__all__ = ["SOURCES", "Source", "Table", "read_table", "source_digest"]


@dataclass(frozen=True)
class Source:
    """A file format: its reader, the endings it is known by, the DataConfig fields it alone uses.

    A reader turns a location into Contents, or raises DataError.
    """

    read: Callable[[Location, DataConfig], Contents]
    endings: tuple[str, ...]
    options: frozenset[str] = frozenset()


_COLUMNAR = frozenset({"index_column", "metadata"})

SOURCES: dict[str, Source] = {
    "csv": Source(read_csv, (".csv", ".csv.gz"), _COLUMNAR),
    "tsv": Source(read_tsv, (".tsv", ".tsv.gz"), _COLUMNAR),
    "parquet": Source(read_parquet, (".parquet",), _COLUMNAR),
    "npy": Source(read_npy, (".npy",)),
    "npz": Source(read_npz, (".npz",), frozenset({"key"})),
    "h5ad": Source(read_h5ad, (".h5ad",), frozenset({"layer"})),
    "loom": Source(read_loom, (".loom",), frozenset({"layer"})),
    "mtx": Source(read_mtx, (".mtx", ".mtx.gz", "_bc_matrix")),
    "zarr": Source(read_zarr, (".zarr",), frozenset({"key", "layer"})),
}


def read_table(cfg: DataConfig) -> Table:
    """The samples x variables table that `cfg` describes, with its variables and samples chosen.

    Raises DataError, naming the value, the reason and the way out, for anything that keeps the
    file from being such a table.
    """
    source = _source(cfg)
    contents = source.read(locate(cfg.path), cfg)
    for n, axis in ((contents.n_samples, "samples"), (len(contents.names), "variables")):
        if n == 0:
            raise DataError(
                f"{cfg.path} has zero {axis} ({contents.n_samples} samples x "
                f"{len(contents.names)} variables); check the file, and data.transpose"
            )
    keep = choose_variables(contents.names, cfg.variables, cfg.exclude)
    names = unique_names(
        [contents.names[v] for v in keep],
        keep.tolist(),
        number=cfg.duplicate_names == "number",
    )
    rows = np.flatnonzero(choose_samples(contents.metadata, cfg.samples, contents.n_samples))
    if cfg.subsample is not None:
        rows = draw_samples(rows, cfg.subsample, cfg.subsample_seed)
    values = contents.take(keep)
    sample_names = contents.sample_names
    table = Table(
        values=values if rows.size == contents.n_samples else values[rows],
        names=names,
        sample_names=None if sample_names is None else [sample_names[n] for n in rows],
        metadata={name: column[rows] for name, column in contents.metadata.items()},
    )
    if cfg.missing == "error":
        _refuse_missing(table)
    return table


def source_digest(cfg: DataConfig) -> str:
    """sha256 of the data file's bytes; with a groups file, of both digests, one a line.

    A zarr folder counts as its sorted `sha256  path` lines.
    """
    data = digest(locate(cfg.path))
    if cfg.groups is None:
        return data
    return hashlib.sha256(f"{data}\n{digest(locate(cfg.groups))}\n".encode()).hexdigest()


def _source(cfg: DataConfig) -> Source:
    endings = {ending: name for name, s in SOURCES.items() for ending in s.endings}
    name = cfg.format
    if name == "auto":
        path = cfg.path.rstrip("/").lower()
        matching = [known for ending, known in endings.items() if path.endswith(ending)]
        if not matching:
            raise DataError(
                f"the ending of data.path {cfg.path!r} names no known format; known endings: "
                f"{', '.join(endings)}. Set data.format to one of: {', '.join(SOURCES)}"
            )
        name = matching[0]
    if name not in SOURCES:
        raise DataError(
            f"data.format is {name!r}{nearest(name, SOURCES)} Known: auto, {', '.join(SOURCES)}"
        )
    source = SOURCES[name]
    for option in ("layer", "key", "index_column", "metadata"):
        if getattr(cfg, option) and option not in source.options:
            users = ", ".join(other for other, s in SOURCES.items() if option in s.options)
            raise DataError(
                f"data.{option} is {getattr(cfg, option)!r}, but format {name} does not use it "
                f"(only {users} do); leave it out"
            )
    return source


def _refuse_missing(table: Table) -> None:
    counts = [
        int(table.n_samples - np.isfinite(table.column(v)).sum()) for v in range(table.n_variables)
    ]
    affected = [v for v, count in enumerate(counts) if count]
    if affected:
        raise DataError(
            f"variable {table.names[affected[0]]!r} has {counts[affected[0]]} missing or non-finite "
            f"values of {table.n_samples}; {len(affected)} variables and {sum(counts)} values are "
            "affected. Fill or remove them, or set data.missing: pairwise"
        )
