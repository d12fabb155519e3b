"""The worked example: where its matrix lies, and textbook pairs of genes that a network should show."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.jobs import packaged
from mmg_ray.schema import Status
from mmg_ray.store.run import Run

CONFIG = Path(__file__).with_name("pbmc.yaml")
_MATRIX = "scanpy/datasets/10x_pbmc68k_reduced.h5ad"
_FALSE_DISCOVERIES = 0.05
_TOP = 0.01
# Textbook markers: both genes of a pair are switched on in one kind of cell and off in the others.
MARKERS = {
    ("CD3D", "CD3E"): "T cells",
    ("CD8A", "CD8B"): "cytotoxic T cells",
    ("CD79A", "CD79B"): "B cells",
    ("CD79A", "MS4A1"): "B cells",
    ("NKG7", "GNLY"): "natural killer cells",
    ("LYZ", "S100A9"): "monocytes",
    ("LYZ", "S100A8"): "monocytes",
    ("HLA-DRA", "HLA-DRB1"): "antigen presentation",
}


class Marker(NamedTuple):
    """Where a pair of marker genes stands: `share` of all pairs are as strong or stronger."""

    pair: str
    cells: str
    mi_nats: float
    share: float


def matrix() -> str:
    """Path of the blood cells in the installed package scanpy, which is not imported."""
    return packaged("scanpy", _MATRIX)


def markers(edges: pa.Table, n_pairs: int) -> list[Marker]:
    """The marker pairs that are among the edges, in the order of `MARKERS`."""
    mi = edges.column("mi_nats").to_numpy()
    ends = zip(edges.column("source").to_pylist(), edges.column("target").to_pylist(), strict=True)
    row_of = {frozenset(pair): row for row, pair in enumerate(ends)}
    found = []
    for pair, cells in MARKERS.items():
        row = row_of.get(frozenset(pair))
        if row is not None:
            share = float((mi >= mi[row]).sum()) / n_pairs
            found.append(Marker("-".join(pair), cells, float(mi[row]), share))
    return found


def summary(run: Run) -> list[str]:
    """What a run says, in a few lines; of marker genes, where both of a pair are there."""
    status = run.status()
    n_pairs = status.statuses.get(Status.OK, 0)
    columns = ["source", "target", "mi_nats", "p_value", "denoiser"]
    edges = run.edge_store().table(columns, pc.field("mi_nats").is_valid())
    tiers = edges.column("denoiser").value_counts().to_pylist()
    by_tier = ", ".join(
        f"{tier['values']} {tier['counts']:,}" for tier in sorted(tiers, key=lambda t: -t["counts"])
    )
    lines = [
        f"pairs:   {n_pairs:,} of {status.n_pairs:,}, by the denoiser that was enough: {by_tier}"
    ]
    lines += [
        f"no MI:   {count:,} pairs, {name}: {Status(name).remedy}"
        for name, count in status.statuses.items()
        if name != Status.OK
    ]
    if edges.column("p_value").null_count < edges.num_rows:
        dependent = run.network([f"fdr={_FALSE_DISCOVERIES}"]).table.num_rows
        lines.append(
            f"depend:  {dependent:,} at a false discovery rate of {_FALSE_DISCOVERIES:.0%}"
        )
    known = markers(edges, n_pairs)
    if known:
        top = sum(marker.share <= _TOP for marker in known)
        lines.append(
            f"known:   {top} of {len(known)} pairs of marker genes are among the strongest {_TOP:.0%} "
            f"({_TOP * len(known):.1f} by chance)"
        )
        lines += [
            f"         {m.pair:<17} {m.cells:<21} {m.mi_nats:.2f} nats, strongest {m.share:.2%}"
            for m in known
        ]
    return lines
