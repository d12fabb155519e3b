"""Input formats: one small file each, and one entry in SOURCES."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.memory import fits
from mmg_ray.store.location import Location
from mmg_ray.store.sources.delimited import read_csv, read_tsv
from mmg_ray.store.sources.features import keep_types
from mmg_ray.store.sources.files import digest, locate
from mmg_ray.store.sources.h5ad import read_h5ad
from mmg_ray.store.sources.in_memory import require_file, table_digest
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
from mmg_ray.store.sources.tenx_h5 import read_10x_h5
from mmg_ray.store.sources.zarr_folder import read_zarr

__all__ = [
    "OPTIONS",
    "SOURCES",
    "Source",
    "Table",
    "choose",
    "read_table",
    "refuse_unused",
    "source_digest",
]


@dataclass(frozen=True)
class Source:
    """A file format: its reader, the endings it is known by, the DataConfig fields it alone uses.

    A reader turns a location into Contents, or raises DataError.
    """

    read: Callable[[Location, DataConfig], Contents]
    endings: tuple[str, ...]
    options: frozenset[str] = frozenset()


_TRANSPOSE = frozenset({"transpose"})
_COLUMNAR = _TRANSPOSE | {"index_column", "metadata"}
_DELIMITED = _COLUMNAR | {"header", "separator", "decimal"}
_NAMED = _TRANSPOSE | {"layer", "variable_names", "sample_names"}

SOURCES: dict[str, Source] = {
    "csv": Source(read_csv, (".csv", ".csv.gz"), _DELIMITED),
    "tsv": Source(read_tsv, (".tsv", ".tsv.gz"), _DELIMITED),
    "parquet": Source(read_parquet, (".parquet",), _COLUMNAR),
    "npy": Source(read_npy, (".npy",), _TRANSPOSE),
    "npz": Source(read_npz, (".npz",), _TRANSPOSE | {"key", "metadata"}),
    "h5ad": Source(read_h5ad, (".h5ad",), _NAMED | {"feature_types"}),
    "loom": Source(read_loom, (".loom",), _NAMED),
    "mtx": Source(
        read_mtx,
        (".mtx", ".mtx.gz", "_bc_matrix"),
        _TRANSPOSE | {"feature_types", "variable_names"},
    ),
    "zarr": Source(read_zarr, (".zarr",), _NAMED | {"key", "feature_types"}),
    "10x_h5": Source(read_10x_h5, (".h5",), frozenset({"key", "feature_types", "variable_names"})),
}
_DEFAULTS = DataConfig(path="none")
# fields of DataConfig that not every format uses
OPTIONS = sorted(frozenset[str]().union(*(source.options for source in SOURCES.values())))


def read_table(cfg: DataConfig, settled: Collection[str] = (), *, doubts: bool = True) -> Table:
    """The samples x variables table that `cfg` describes, with its variables and samples chosen.

    Args:
        settled: names of columns of a csv, tsv or parquet file whose meaning the caller knows: they
            are read as variables, whatever they look like.
        doubts: whether to refuse columns that may be times or numbers of rows; false for a caller that
            looks for times itself.

    Raises DataError, naming the value, the reason and the way out, for anything that keeps the
    file from being such a table.
    """
    with fits(cfg.path):
        return _read_table(cfg, settled, doubts)


def _read_table(cfg: DataConfig, settled: Collection[str], doubts: bool) -> Table:
    require_file(cfg.path)
    source = _source(cfg)
    contents = source.read(locate(cfg.path), replace(cfg, variables=(*cfg.variables, *settled)))
    return choose(contents, cfg, doubts=doubts)


def choose(contents: Contents, cfg: DataConfig, *, doubts: bool = True) -> Table:
    """The variables and samples of a file, or of what was handed over, that `cfg` asks for.

    Args:
        doubts: as in `read_table`.
    """
    for n, axis in ((contents.n_samples, "samples"), (len(contents.names), "variables")):
        if n == 0:
            raise DataError(
                f"{cfg.path} has zero {axis} ({contents.n_samples} samples x "
                f"{len(contents.names)} variables); check the file, and data.transpose"
            )
    keep = choose_variables(contents.names, cfg.variables, cfg.exclude)
    keep, notes = keep_types(contents, keep, cfg)
    for v in keep.tolist():
        if doubts and v in contents.doubts:
            raise DataError(contents.doubts[v])
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
        notes=[*contents.notes, *notes],
    )
    if cfg.missing == "error":
        _refuse_missing(table)
    return table


def source_digest(
    cfg: DataConfig, table: Table | None = None, described: Sequence[str] = ()
) -> str:
    """sha256 of the data file's bytes; with a groups file, of both digests, one a line.

    A zarr folder counts as its sorted `sha256  path` lines. Of a table in memory see `table_digest`.
    """
    if table is None:
        require_file(cfg.path)
        data = digest(locate(cfg.path))
    else:
        data = table_digest(table, described)
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
    refuse_unused(cfg, SOURCES[name].options, f"format {name}")
    return SOURCES[name]


def refuse_unused(cfg: DataConfig, used: Collection[str], what: str) -> None:
    """DataError for a field that is set and that only other formats use."""
    for option in OPTIONS:
        if getattr(cfg, option) != getattr(_DEFAULTS, option) and option not in used:
            users = ", ".join(other for other, s in SOURCES.items() if option in s.options)
            raise DataError(
                f"data.{option} is {getattr(cfg, option)!r}, but {what} does not use it "
                f"(only {users} do); leave it out"
            )


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
