"""`report` and `heatmap`: pictures of a run."""

from __future__ import annotations

import click

from mmg_ray.commands.options import STEP, WithLists, open_run
from mmg_ray.errors import StoreError
from mmg_ray.output import say


@click.command(cls=WithLists)
@click.argument("url")
@click.argument("file", default="report.html")
@STEP
@click.option("--figures", metavar="FOLDER", help="Write the charts to FOLDER as SVG files, too.")
def report(url: str, file: str, steps: tuple[str, ...], figures: str | None) -> None:
    """Write an HTML report of a complete run: network, strongest pairs, errors, data quality, cost.

    One FILE that needs no internet and no server. Without steps the network is the one at a
    false-discovery rate of 5 %.

    \b
    Examples:
      mmg-ray report runs/run
      mmg-ray report s3://bucket/run-1 report.html --step fdr=0.01 --step top=5
    """
    from mmg_ray.report.of_run import write_report

    found = write_report(open_run(url), file, steps or None, figures)
    say(f"wrote {file}: {found.network!r}")


@click.command()
@click.argument("url")
@click.argument("file", type=click.Path(dir_okay=False, writable=True))
def heatmap(url: str, file: str) -> None:
    """Draw the MI matrix of a complete run as a heat map, with similar variables side by side.

    \b
    Example (png, svg or pdf, by the ending):
      mmg-ray heatmap runs/run mi.png
    """
    from mmg_ray.report.figures import heat_map

    figure = heat_map(open_run(url))
    try:
        figure.savefig(file, dpi=150)
    except (ValueError, OSError) as error:
        raise StoreError(f"cannot write {file}: {error}") from None
    say(f"wrote {file}")
