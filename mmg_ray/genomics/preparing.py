"""From an expression matrix to the table that is run: what is left out, pooled, scaled and adjusted, each said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.genomics import cells as of_cells
from mmg_ray.genomics import genes as of_genes
from mmg_ray.genomics.checks import describe
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.genomics.depth import depth_of, reads_of
from mmg_ray.genomics.shared_depth import simulate
from mmg_ray.store.condition import require_known
from mmg_ray.store.sources import Table
from mmg_ray.store.strata import described, strata_of


class Input(NamedTuple):
    """What a run is given.

    Attributes:
        table: samples x genes.
        regulators: of these, the sources of a bipartite run; empty for all pairs.
        sets: {set: genes}; empty for genes as they are.
        notes: what was found and done, a line each.
        left_out: (axis, name, reason) of every cell and gene that is not in the table.
        conditions: {name: (N,)} of data.conditions that are no genes of the table, and of strata.
        strata: among these, the columns in which cells that are compared are alike.
    """

    table: Table
    regulators: list[str]
    sets: dict[str, list[str]]
    notes: list[str]
    left_out: list[tuple[str, str, str]]
    conditions: dict[str, np.ndarray]
    strata: tuple[str, ...] = ()


def prepare(table: Table, cfg: GenomicsConfig, notes: Sequence[str] = ()) -> Input:
    """From a table as it was read to the one that is run."""
    left_out: list[tuple[str, str, str]] = []
    whole, negative, found = describe(table)
    depth = depth_of(table, whole, negative)
    counts = bool(depth.counts) or cfg.cells.normalise == "log"
    kind = (
        "counts"
        if whole
        else "counts that are not whole"
        if counts
        else "values that are no counts"
    )
    shape = f"{table.n_samples:,} cells x {table.n_variables:,} genes"
    why = "" if whole else f" ({depth.reason})"
    lines = [*notes, *table.notes, f"read:    {shape}, {kind}{why}", *found]
    if depth.counts is None and cfg.cells.normalise == "auto":
        raise DataError(
            f"it is open whether the values are counts, whose depth must be taken out ({depth.reason}). If "
            "they are counts, corrected or estimated, set cells.normalise: log; if they are scaled already, "
            "or something else, cells.normalise: none"
        )
    if depth.undo is not None and cfg.cells.normalise != "none":
        table = of_cells.transformed(table, depth.undo)
    # cells
    n_genes = of_cells.n_expressed(table)
    keep = n_genes >= cfg.cells.min_genes
    if not keep.all():
        names = table.sample_names or [str(n) for n in range(table.n_samples)]
        out = np.flatnonzero(~keep)
        left_out += [("cell", names[n], f"expresses {n_genes[n]} genes") for n in out]
        if not keep.any():
            raise DataError(
                f"no cell expresses cells.min_genes = {cfg.cells.min_genes} genes (at most "
                f"{n_genes.max()}); the table is empty, or lower it"
            )
        lines.append(
            f"cells:   {len(out):,} left out, of fewer than {cfg.cells.min_genes} genes: "
            f"{', '.join(names[n] for n in out[:5])}{', ...' if len(out) > 5 else ''}"
        )
        table = of_cells.keep_cells(table, keep)
    if counts and of_cells.DEPTH not in table.metadata:
        table.metadata[of_cells.DEPTH] = of_cells.depth(table)
    # pools
    log = cfg.cells.normalise == "log" or (cfg.cells.normalise == "auto" and counts)
    pools = bool(cfg.cells.pseudobulk or cfg.cells.metacells)
    if pools:
        n_cells = table.n_samples
        if cfg.cells.pseudobulk:
            names, place = of_cells.labels(table, cfg.cells.pseudobulk, "cells.pseudobulk")
        else:
            size = cfg.cells.metacells or 0
            place = of_cells.metacells(
                of_cells.log_normalised(table, of_cells.scale_of(table)) if log else table, size
            )
            names = [f"metacell{k}" for k in range(int(place.max()) + 1)]
        table = of_cells.pooled(table, place, names, counts)
        if counts:
            table.metadata[of_cells.DEPTH] = of_cells.depth(table)
        sizes = table.metadata["n_cells"]
        lines.append(
            f"pools:   {n_cells:,} cells in {table.n_samples:,} samples of {sizes.min()} to "
            f"{sizes.max()}, {'added up' if counts else 'averaged'}"
        )
        if cfg.cells.metacells:
            lines.append(
                "pools:   metacells are made of cells that are alike, so p-values and standard errors "
                "say too much: rank edges by MI"
            )
    counted = None  # pools are not looked at: their depths are large
    if depth.scaled is not None and not log and not pools:
        counted = of_cells.Scaled(depth.scaled, reads_of(table, depth.scaled))
        table.metadata.setdefault(of_cells.DEPTH, 1 / counted.reads)
    require_known(table, cfg.data.conditions)
    if log:
        scale = of_cells.scale_of(table)
        counted = None if pools else of_cells.Scaled(np.expm1, scale)
        table = of_cells.log_normalised(table, scale)
        lines.append("scaled:  every cell to the median depth, log(1 + x)")
    # genes
    regulators: list[str] = []
    if cfg.genes.regulators is not None:
        wanted = of_genes.read_regulators(cfg.genes.regulators)
        matched, how = of_genes.overlap(table.names, wanted, cfg.genes.regulators)
        regulators = list(dict.fromkeys(matched.values()))
        absent = [gene for gene in wanted if gene not in matched]
        lines.append(_overlap_line(len(wanted), len(regulators), absent))
        lines += [f"regulators: {note}" for note in how]
    n_above, mean, variance = of_genes.moments(table)
    enough = n_above >= cfg.genes.min_cells
    least = f"genes.min_cells = {cfg.genes.min_cells} {'pools' if pools else 'cells'}"
    if not enough.all():
        out = np.flatnonzero(~enough)
        left_out += [("gene", table.names[v], f"above 0 in {n_above[v]:.0f}") for v in out]
        lines.append(f"genes:   {len(out):,} left out, above 0 in fewer than {least}")
    chosen = np.flatnonzero(enough)
    if cfg.genes.top is not None and len(chosen) > cfg.genes.top:
        top = of_genes.strongest(mean[chosen], variance[chosen], cfg.genes.top, cfg.genes.by)
        is_regulator = np.isin(np.array(table.names)[chosen], regulators)
        stays = is_regulator.copy()
        stays[top] = True
        left_out += [
            ("gene", table.names[v], f"not of the {cfg.genes.top} most {cfg.genes.by}")
            for v in chosen[~stays]
        ]
        lines.append(
            f"genes:   the {cfg.genes.top:,} most {cfg.genes.by}"
            + (f" and {int(is_regulator.sum()):,} regulators" if regulators else "")
            + f"; {int((~stays).sum()):,} left out"
        )
        chosen = chosen[stays]
    sets: dict[str, list[str]] = {}
    if cfg.genes.sets is not None:
        there = [table.names[v] for v in chosen]
        sets, said = of_genes.disjoint(of_genes.read_gmt(cfg.genes.sets), there)
        lines += said
        members = {gene for genes in sets.values() for gene in genes}
        left_out += [
            ("gene", gene, "in no set, or in several") for gene in there if gene not in members
        ]
        chosen = np.array([v for v in chosen if table.names[v] in members], dtype=np.int64)
    if len(chosen) < 2:
        raise DataError(
            f"{len(chosen)} genes are left of {table.n_variables}, and pairs need two: {least}"
            f"{'' if cfg.genes.sets is None else ', genes.sets'}. Lower it; "
            "if nearly every gene was lost, look whether data.transpose is right"
        )
    conditions = conditions_of(table, cfg)
    names = [table.names[v] for v in chosen]
    lost = sorted(set(regulators) - set(names))
    regulators = [gene for gene in regulators if gene in set(names)]
    if lost:
        lines.append(
            f"genes:   {len(lost):,} regulators among those left out: {', '.join(lost[:5])}"
        )
    if cfg.genes.regulators is not None and not regulators:
        raise DataError(f"no regulator is above 0 in {least}; lower it")
    table = replace(table, values=table.values[:, chosen], names=names)
    # covariates
    alike = (*cfg.cells.stratify_by, *cfg.data.strata)
    covariates = (*alike, *cfg.cells.regress, *cfg.data.conditions)
    _require_depth(table, alike, "cells.stratify_by")
    _require_depth(table, cfg.cells.regress, "cells.regress")
    if counted is not None and of_cells.DEPTH not in covariates:
        shared = simulate(table, counted, cfg.estimator.seed)
        if shared is not None:
            unasked = cfg.cells.normalise == "auto" and not covariates
            if shared.too_many and unasked:
                alike = (of_cells.DEPTH,)
            lines.append(shared.line(taken_out=of_cells.DEPTH in alike))
    if alike:
        place = strata_of(table, alike, "cells.stratify_by")
        lines.append(f"stratify_by: {described(place, alike)}")
        conditions |= {name: table.metadata[name] for name in alike}
        if counted is not None and of_cells.DEPTH in alike:
            table = of_cells.of_reads(table, counted, place)
    if cfg.cells.regress:
        table, note = of_cells.regressed(table, cfg.cells.regress)
        lines.append(note)
    lines.append(f"run:     {table.n_samples:,} samples x {table.n_variables:,} genes")
    if cfg.data.conditions:
        lines.append(f"given:   {', '.join(cfg.data.conditions)}")
    conditions = {name: c for name, c in conditions.items() if name not in table.names}
    return Input(table, regulators, sets, lines, left_out, conditions, tuple(alike))


def _require_depth(table: Table, names: Sequence[str], option: str) -> None:
    """DataError where depth is asked for and not known."""
    if of_cells.DEPTH in names and of_cells.DEPTH not in table.metadata:
        raise DataError(
            f"{option}: the depth of cells is known of counts, and these values are none (the line `read` "
            "says why). Name a metadata column that holds it, or, if they are counts, set cells.normalise: log"
        )


def conditions_of(table: Table, cfg: GenomicsConfig) -> dict[str, np.ndarray]:
    """The columns of data.conditions: genes as they are normalised, whether they take part or not."""
    return {
        name: table.column(table.names.index(name)) if name in table.names else table.metadata[name]
        for name in cfg.data.conditions
    }


def _overlap_line(n_wanted: int, n_found: int, absent: Sequence[str]) -> str:
    line = f"regulators: {n_found:,} of the {n_wanted:,} listed are genes of the table"
    if absent:
        line += f"; not there: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
    return line
