"""Networks as tables: Parquet, and the dialects of delimited text that other programs read."""

from __future__ import annotations

import csv as csv_module
import io
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmg_ray.names import no_formula, visible
from mmg_ray.network.graph import Network
from mmg_ray.store.csv_names import safe_texts

_SEPARATORS = re.compile(r"[\t\r\n]+")


def parquet(network: Network) -> bytes:
    """Every column; the schema's metadata says where it comes from."""
    metadata = {"mmg_ray": json.dumps(network.provenance | {"directed": network.directed})}
    buffer = io.BytesIO()
    pq.write_table(network.table.replace_schema_metadata(metadata), buffer, compression="zstd")
    return buffer.getvalue()


def csv(network: Network) -> bytes:
    """Every column, separated by commas; a null is empty."""
    return _quoted(network.table, ",")


def tsv(network: Network) -> bytes:
    """Every column, separated by tabs."""
    return _quoted(network.table, "\t")


def scenic(network: Network) -> bytes:
    """Adjacencies as arboreto writes and `pyscenic ctx` reads them: TF,target,importance."""
    edges = both_ways(network)
    columns = {"TF": edges["source"], "target": edges["target"], "importance": edges["weight"]}
    return _quoted(pa.table(columns), ",")


def aracne(network: Network) -> bytes:
    """As ARACNe-AP's network.txt: Regulator, Target, MI (the weight) and pvalue, by tabs."""
    edges = both_ways(network)
    columns = {
        "Regulator": _plain(edges["source"]),
        "Target": _plain(edges["target"]),
        "MI": edges["weight"].to_pylist(),
        "pvalue": edges["p_value"].to_pylist(),
    }
    return _unquoted(columns)


def viper(network: Network) -> bytes:
    """A regulon as pyVIPER and decoupler read it: regulator, target, mor, likelihood, by tabs.

    The mode of regulation is Spearman's correlation, as in `aracne2regulon` of viper; the likelihood is
    the weight over the largest. Pairs with groups have no sign and are left out.
    """
    edges = both_ways(network)
    edges = edges.filter(edges["spearman"].is_valid())
    weight = edges["weight"].to_numpy()
    columns = {
        "regulator": _plain(edges["source"]),
        "target": _plain(edges["target"]),
        "mor": edges["spearman"].to_pylist(),
        "likelihood": (weight / weight.max(initial=np.finfo(float).tiny)).tolist(),
    }
    return _unquoted(columns)


def sif(network: Network) -> bytes:
    """Simple interaction format: source, mi, target, by tabs, no header; lone variables alone."""
    edges = network.table
    ends = (_plain(edges[name]) for name in ("source", "target"))
    lines = [f"{a}\tmi\t{b}" for a, b in zip(*ends, strict=True)]
    lone = np.setdiff1d(np.arange(len(network.names)), network.connected)
    lines += _plain(pa.chunked_array([pa.array(network.names).take(pa.array(lone))]))
    return "".join(f"{line}\n" for line in lines).encode()


def both_ways(network: Network) -> pa.Table:
    """The edges as regulator -> target: of an undirected network each edge both ways."""
    edges = network.table
    if network.directed:
        return edges
    swapped = {"i": "j", "j": "i", "source": "target", "target": "source"}
    back = pa.table({name: edges[swapped.get(name, name)] for name in edges.column_names})
    return pa.concat_tables([edges, back]).sort_by(
        [("weight", "descending"), ("i", "ascending"), ("j", "ascending")]
    )


def _plain(names: pa.ChunkedArray) -> list[str]:
    """Names without tabs and line ends, for formats that have no quotes."""
    return [no_formula(visible(_SEPARATORS.sub(" ", name))) for name in names.to_pylist()]


def _quoted(table: pa.Table, delimiter: str) -> bytes:
    """Text with a header; what has a delimiter, a quote or a line end in it is quoted."""
    buffer = io.StringIO()
    writer = csv_module.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in safe_texts(table).to_batches():
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return buffer.getvalue().encode()


def _unquoted(columns: dict[str, list[Any]]) -> bytes:
    """Text with a header, by tabs, a None empty."""
    rows = zip(*columns.values(), strict=True)
    lines = ("\t".join("" if v is None else str(v) for v in row) for row in rows)
    return "\n".join(["\t".join(columns), *lines, ""]).encode()
