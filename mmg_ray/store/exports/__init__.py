"""Networks in the formats of other programs. A new format is a file and an entry.

Each format is a function from a `Network` to the bytes of one file, so that a file is written whole or not
at all, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmg_ray.errors import ConfigError
from mmg_ray.network.graph import Network
from mmg_ray.store.exports import anndata, arrays, graphs, tables
from mmg_ray.store.location import Location


class Format(NamedTuple):
    """One format: what it is for, the endings that mean it, and its writer."""

    doc: str
    endings: tuple[str, ...]
    encode: Callable[[Network], bytes]


FORMATS: dict[str, Format] = {
    "parquet": Format("every column, for pandas, polars, Arrow", (".parquet",), tables.parquet),
    "csv": Format("every column", (".csv",), tables.csv),
    "tsv": Format("every column, tabs", (".tsv",), tables.tsv),
    "scenic": Format("TF,target,importance: adjacencies for pySCENIC", (), tables.scenic),
    "aracne": Format("Regulator Target MI pvalue: ARACNe-AP's network.txt", (), tables.aracne),
    "viper": Format("regulator target mor likelihood: a regulon, signed", (), tables.viper),
    "sif": Format("source mi target, for Cytoscape", (".sif",), tables.sif),
    "graphml": Format("for Cytoscape, Gephi, igraph, NetworkX", (".graphml",), graphs.graphml),
    "gexf": Format("for Gephi", (".gexf",), graphs.gexf),
    "h5ad": Format("AnnData with sparse .varp matrices", (".h5ad",), anndata.h5ad),
    "npz": Format("NumPy arrays: names, i, j and every number", (".npz",), arrays.npz),
    "netcdf": Format("variable x variable matrices, for xarray", (".nc",), arrays.netcdf),
}


def write(network: Network, url: str, format: str | None = None) -> str:
    """Write a network to a file at any fsspec URL, as the format or the ending says; return the format.

    Raises:
        ConfigError: no such format, or an ending that means none.
        StoreError: the place cannot be written.
    """
    place = Location(url)
    if format is None:
        format = next((f for f, how in FORMATS.items() if place.name.endswith(how.endings)), None)
        if format is None:
            endings = ", ".join(ending for how in FORMATS.values() for ending in how.endings)
            raise ConfigError(
                f"the ending of {url} means no format; end it in one of {endings}, or name a format: "
                f"{', '.join(FORMATS)}"
            )
    if format not in FORMATS:
        raise ConfigError(f"there is no export format {format!r}; formats: {', '.join(FORMATS)}")
    place.write_bytes(FORMATS[format].encode(network))
    return format
