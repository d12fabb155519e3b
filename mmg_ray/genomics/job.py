"""The job: read, look, leave out, pool, normalise, adjust, choose genes, run, write what is asked for.

Under output.url (with cells.group_by, in a folder for each of its values) are the run itself and

    input/left_out.tsv        every cell and gene that is not in the run, with the reason
    genomics.json             the configuration, and what was found and done on the way
    files.json                digests of genomics.json, left_out.tsv and the files of the section network
    network/                  the files of the section network
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.execute import driver
from mmg_ray.genomics import cells as of_cells
from mmg_ray.genomics import genes as of_genes
from mmg_ray.genomics.checks import refuse_turned
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.genomics.preparing import Input, prepare
from mmg_ray.jobs import begin_beside, write_groups
from mmg_ray.runs import Run
from mmg_ray.store.sources import Table, read_table
from mmg_ray.store.sources.in_memory import IN_MEMORY

_BESIDE = ("genomics.json", "input/left_out.tsv")
_SECTIONS = configuration.known_keys([])


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


def stored(made: Input, cfg: GenomicsConfig, url: str) -> tuple[Config, Table]:
    """Write what is to be beside a run; its configuration and its table."""
    rows = [("axis", "name", "reason"), *made.left_out]
    place = begin_beside(url, "genomics.json", cfg, made.notes, rows)
    groups = None
    if made.sets:
        members = ((gene, name) for name, genes in made.sets.items() for gene in genes)
        groups = write_groups(place, "sets", members)
    tree = {k: v for k, v in configuration.to_dict(cfg).items() if k in _SECTIONS}
    tree["data"] = {
        "path": IN_MEMORY,
        "groups": groups,
        "conditions": cfg.data.conditions,
        "strata": made.strata,
        "missing": cfg.data.missing,
    }
    if made.regulators:
        tree["pairs"] = {"mode": "bipartite", "sources": made.regulators}
    tree["output"] = {"url": url}
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
    taken_out = {
        "cells.stratify_by": (*cfg.cells.stratify_by, *cfg.data.strata),
        "cells.regress": cfg.cells.regress,
        "data.conditions": cfg.data.conditions,
    }
    used = [name for name, covariates in taken_out.items() if covariates]
    if len(used) > 1 and used[0] == "cells.stratify_by":
        raise ConfigError(
            f"{used[0]} and {used[1]} both take out covariates; name all of them in one"
        )
    cfg.network.check()
