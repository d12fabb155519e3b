"""Gene networks from an expression matrix (h5ad, loom, 10x, csv).

Filters cells and genes, accounts for depth, batch and cell type, estimates all pairs (or regulators x genes, or
gene sets), and writes the network for SCENIC, VIPER and Cytoscape, and an HTML report.

Without CONFIG it runs a worked example: 700 blood cells that the installed package scanpy carries.
"""

from __future__ import annotations

from pathlib import Path

import click

from mmg_ray.output import HELP


@click.command(
    "genomics",
    context_settings=HELP,
    help=__doc__,
    epilog="""
    \b
    Examples:
      mmg-ray genomics                                  # the worked example, minutes
      mmg-ray genomics --show-config > genes.yaml       # every field and its meaning
      mmg-ray genomics genes.yaml --dry-run             # read and check; run nothing
      mmg-ray genomics genes.yaml
      mmg-ray genomics genes.yaml --set genes.regulators=tfs.txt --set cells.group_by=cell_type
    """,
)
@click.argument("config", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field of the configuration. Repeatable.",
)
@click.option(
    "--show-config",
    is_flag=True,
    help="Print a configuration with every field explained, and stop.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read, check and filter the data, say what would be run, and stop.",
)
def main(config: str | None, overrides: tuple[str, ...], show_config: bool, dry_run: bool) -> None:
    from mmg_ray import (
        config as configuration,
    )  # torch takes seconds to import: --help does without
    from mmg_ray.genomics import pbmc
    from mmg_ray.genomics.config import GenomicsConfig
    from mmg_ray.genomics.job import go, inputs
    from mmg_ray.jobs import read_config, require_no_failures

    if show_config:
        click.echo(configuration.documented_yaml(GenomicsConfig), nl=False)
        return
    if config is None:
        text = Path(pbmc.CONFIG).read_text()
        overrides = (f"data.path={pbmc.matrix()}", *overrides)
    else:
        text = read_config(config)
    cfg = configuration.load_as(GenomicsConfig, text, overrides)
    if dry_run:
        for _, made in inputs(cfg):
            click.echo("\n".join(made.notes))
        return
    runs = []
    for _, run, written in go(cfg, click.echo):
        if run is None:
            continue
        runs.append(run)
        click.echo("\n".join(pbmc.summary(run)))
        click.echo("\n".join([*written, f"results: {run.url}"]))
    for run in runs:  # at the end: one kind of cell must not stop the others
        require_no_failures(run)
