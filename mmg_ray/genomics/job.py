"""The job: read, look, leave out, pool, normalise, adjust, choose genes, run, write what is asked for.

Under output.url (with cells.group_by, in a folder for each of its values) are the run itself and

    input/left_out.tsv        every cell and gene that is not in the run, with the reason
    genomics.json             the configuration, and what was found and done on the way
    files.json                digests of genomics.json, left_out.tsv and the files of the section network
    network/                  the files of the section network
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.execute import driver
from mmg_ray.genomics import cells as of_cells
from mmg_ray.genomics import genes as of_genes
from mmg_ray.genomics.checks import describe, refuse_turned
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.genomics.depth import depth_of
from mmg_ray.runs import Run
from mmg_ray.store.condition import require_known
from mmg_ray.store.integrity import forget_files
from mmg_ray.store.location import Location
from mmg_ray.store.sources import Table, read_table
from mmg_ray.store.sources.in_memory import IN_MEMORY

_BESIDE = ("genomics.json", "input/left_out.tsv")
_SECTIONS = configuration.known_keys([])


class Input(NamedTuple):
    """What a run is given.

    Attributes:
        table: samples x genes.
        regulators: of these, the sources of a bipartite run; empty for all pairs.
        sets: {set: genes}; empty for genes as they are.
        notes: what was found and done, a line each.
        left_out: (axis, name, reason) of every cell and gene that is not in the table.
        conditions: {name: (N,)} of data.conditions that are no genes of the table.
    """

    table: Table
    regulators: list[str]
    sets: dict[str, list[str]]
    notes: list[str]
    left_out: list[tuple[str, str, str]]
    conditions: dict[str, np.ndarray]


def inputs(cfg: GenomicsConfig, table: Table | None = None) -> Iterator[tuple[str, Input]]:
    """(folder, input) of every run that a configuration asks for; '' is the only one.

    Args:
        table: cells x genes, where they are in no file.

    Raises ConfigError or DataError, naming value, reason and way out.
    """
    _check(cfg)
    table = read_table(cfg.data) if table is None else table
    regulators = (
        [] if cfg.genes.regulators is None else of_genes.read_regulators(cfg.genes.regulators)
    )
    refuse_turned(table, regulators)
    if cfg.cells.group_by is None:
        yield "", prepare(table, cfg)
        return
    names, place = of_cells.labels(table, [cfg.cells.group_by], "cells.group_by")
    folders = [re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "none" for name in names]
    if len(set(folders)) < len(folders):
        raise ConfigError(
            f"cells.group_by: values of {cfg.cells.group_by!r} share a folder name: {', '.join(names)}; rename "
            "one"
        )
    enough = 0
    for kind, (name, folder) in enumerate(zip(names, folders, strict=True)):
        part = of_cells.keep_cells(table, place == kind)
        if part.n_samples >= cfg.estimator.min_samples:
            enough += 1
            yield folder, prepare(part, cfg, [f"group_by: {cfg.cells.group_by} = {name}"])
        else:
            text = (
                f"group_by: {cfg.cells.group_by} = {name}: no run, its {part.n_samples} cells are fewer than "
                f"estimator.min_samples, {cfg.estimator.min_samples}"
            )
            yield folder, Input(part, [], {}, [text], [], {})
    if not enough:
        raise DataError(f"cells.group_by: no value of {cfg.cells.group_by!r} has enough cells")


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
    if cfg.cells.pseudobulk or cfg.cells.metacells:
        n_cells = table.n_samples
        if cfg.cells.pseudobulk:
            names, place = of_cells.labels(table, cfg.cells.pseudobulk, "cells.pseudobulk")
        else:
            size = cfg.cells.metacells or 0
            place = of_cells.metacells(of_cells.log_normalised(table) if log else table, size)
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
    require_known(table, cfg.data.conditions)
    if log:
        table = of_cells.log_normalised(table)
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
    pools = bool(cfg.cells.pseudobulk or cfg.cells.metacells)
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
    conditions = _conditions(table, cfg)
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
    if cfg.cells.stratify_by:
        table, note = of_cells.stratified(table, cfg.cells.stratify_by, cfg.estimator.seed)
        lines.append(note)
    if cfg.cells.regress:
        table, note = of_cells.regressed(table, cfg.cells.regress)
        lines.append(note)
    lines.append(f"run:     {table.n_samples:,} samples x {table.n_variables:,} genes")
    if cfg.data.conditions:
        lines.append(f"given:   {', '.join(cfg.data.conditions)}")
    conditions = {name: c for name, c in conditions.items() if name not in table.names}
    return Input(table, regulators, sets, lines, left_out, conditions)


def _conditions(table: Table, cfg: GenomicsConfig) -> dict[str, np.ndarray]:
    """The columns of data.conditions: genes as they are normalised, whether they take part or not."""
    return {
        name: table.column(table.names.index(name)) if name in table.names else table.metadata[name]
        for name in cfg.data.conditions
    }


def stored(made: Input, cfg: GenomicsConfig, url: str) -> tuple[Config, Table]:
    """Write what is to be beside a run; its configuration and its table."""
    place = Location(url)
    if isinstance(place.fs, LocalFileSystem):
        place = Location(place.path)
    forget_files(place)
    rows = "".join("\t".join(row) + "\n" for row in made.left_out)
    (place / "input/left_out.tsv").write_bytes(("axis\tname\treason\n" + rows).encode())
    groups = None
    if made.sets:
        lines = [f"{gene}\t{name}\n" for name, genes in made.sets.items() for gene in genes]
        text = ("variable\tgroup\n" + "".join(lines)).encode()
        members = place / f"input/sets-{hashlib.sha256(text).hexdigest()[:12]}.tsv"
        members.write_bytes(text)
        groups = members.url
    tree = {k: v for k, v in configuration.to_dict(cfg).items() if k in _SECTIONS}
    tree["data"] = {
        "path": IN_MEMORY,
        "groups": groups,
        "conditions": cfg.data.conditions,
        "missing": cfg.data.missing,
    }
    if made.regulators:
        tree["pairs"] = {"mode": "bipartite", "sources": made.regulators}
    tree["output"] = {"url": url}
    (place / "genomics.json").write_json(
        {"configuration": configuration.to_dict(cfg), "notes": made.notes}
    )
    return configuration.from_dict(tree), replace(made.table, metadata=made.conditions, notes=[])


def go(
    cfg: GenomicsConfig, say: object = None, table: Table | None = None
) -> Iterator[tuple[Input, Run | None, list[str]]]:
    """Do all runs of a configuration, one after the other: (input, run, what was written).

    The run is None where there are too few cells. Whatever is finished is not done again. `table` as in `inputs`.
    """
    for folder, made in inputs(cfg, table):
        if callable(say):
            for line in made.notes:
                say(line)
        if made.table.n_samples < cfg.estimator.min_samples and cfg.cells.group_by is not None:
            yield made, None, []
            continue
        url = f"{cfg.output.url}/{folder}".rstrip("/")
        settings, ready = stored(made, cfg, url)
        run = Run(driver.run(settings, table=ready).url)
        yield made, run, cfg.network.write(run, beside=_BESIDE)


def _check(cfg: GenomicsConfig) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    both = [name for name in ("regulators", "sets") if getattr(cfg.genes, name) is not None]
    if both and (cfg.pairs != configuration.PairsConfig() or len(both) > 1):
        raise ConfigError(
            f"genes.{both[0]} says which pairs are estimated, so leave out "
            f"{'genes.sets' if len(both) > 1 else 'the section pairs'}"
        )
    if cfg.data.groups is not None:
        raise ConfigError(
            "data.groups: groups of genes are given as genes.sets, a GMT file, which leaves out genes that "
            "are not there or in several sets; leave out data.groups"
        )
    if cfg.cells.pseudobulk and cfg.cells.metacells:
        raise ConfigError("cells.pseudobulk and cells.metacells both pool cells; leave out one")
    if cfg.cells.stratify_by and cfg.cells.regress:
        raise ConfigError(
            "cells.stratify_by and cells.regress both take out covariates; leave out one"
        )
    cfg.network.check()


def _overlap_line(n_wanted: int, n_found: int, absent: Sequence[str]) -> str:
    line = f"regulators: {n_found:,} of the {n_wanted:,} listed are genes of the table"
    if absent:
        line += f"; not there: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
    return line
