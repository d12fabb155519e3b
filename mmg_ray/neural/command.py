"""Networks of cells, areas and stimuli from a recording (NWB, spike times, MATLAB, phy, suite2p, EEG, fMRI, tables).

Cuts the recording into time bins or trials, estimates all pairs with p-values that respect autocorrelation, and looks
for lags and directions.

Without CONFIG it runs a worked example on a recording that the installed package nitime carries.
"""

from __future__ import annotations

from pathlib import Path

import click

from mmg_ray.neural import examples
from mmg_ray.output import HELP


@click.command(
    "neural",
    context_settings=HELP,
    help=__doc__,
    epilog="""
    \b
    Examples:
      mmg-ray neural                                  # brain regions, fMRI
      mmg-ray neural --example grasshopper            # spikes of a cell and a sound
      mmg-ray neural --show-config > cells.yaml       # every field and its meaning
      mmg-ray neural cells.yaml --dry-run             # read and check; run nothing
      mmg-ray neural cells.yaml
      mmg-ray neural cells.yaml --set lags.max_s=0.2 --set output.url=runs/lags
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
    "--example", type=click.Choice(list(examples.EXAMPLES)), default="fmri", show_default=True
)
@click.option(
    "--show-config",
    is_flag=True,
    help="Print a configuration with every field explained, and stop.",
)
@click.option(
    "--dry-run", is_flag=True, help="Read and check the recording, say what would be run, and stop."
)
def main(
    config: str | None, overrides: tuple[str, ...], example: str, show_config: bool, dry_run: bool
) -> None:
    from mmg_ray import (
        config as configuration,
    )  # torch takes seconds to import: --help does without
    from mmg_ray.jobs import read_config, require_no_failures
    from mmg_ray.neural.config import NeuralConfig
    from mmg_ray.neural.job import go, inputs

    if show_config:
        click.echo(configuration.documented_yaml(NeuralConfig), nl=False)
        return
    if config is None:
        text = Path(examples.EXAMPLES[example]).read_text()
        overrides = (*examples.prepare(example, Path("runs") / f"{example}-data"), *overrides)
    else:
        text = read_config(config)
    cfg = configuration.load_as(NeuralConfig, text, overrides)
    if dry_run:
        click.echo("\n".join(inputs(cfg).notes))
        return
    _, run, written = go(cfg, click.echo)
    if config is None and example == "fmri":
        click.echo(examples.mirrored(run))
    click.echo("\n".join([*written, f"results: {run.url}"]))
    require_no_failures(run)
