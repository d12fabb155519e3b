"""`edges`: the pairs of a run."""

from __future__ import annotations

import click

from mmg_ray.commands.options import open_run
from mmg_ray.commands.printing import edge_table, terminal
from mmg_ray.output import say, writing
from mmg_ray.store.kept import RANKINGS


@click.command()
@click.argument("url")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many rows to show.",
)
@click.option(
    "--by",
    type=click.Choice(list(RANKINGS)),
    default="mi_nats",
    show_default=True,
    help="Strongest by MI, by MI in the light of all pairs, or most significant first.",
)
@click.option("--csv", "file", metavar="FILE", help="Write every stored row to FILE; - is stdout.")
def edges(url: str, top: int, by: str, file: str | None) -> None:
    """Show the strongest pairs of a run, finished or not, or write all stored rows as CSV.

    For q-values and network steps see `network`.

    \b
    Examples:
      mmg-ray edges runs/run --top 50
      mmg-ray edges runs/run --by p_value
      mmg-ray edges runs/run --csv edges.csv
    """
    run = open_run(url)
    if file is not None:
        with writing(file) as stream:
            n_rows = run.edge_store().write_csv(stream)
        say(f"wrote {n_rows:,} edges", err=True)
        return
    title = "Most significant" if by == "p_value" else "Strongest"
    terminal().print(edge_table(run.edge_store().strongest(top, by), f"{title} edges of {run.url}"))
