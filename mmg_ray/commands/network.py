"""`network`, `export` and `consensus`: from the pairs of runs to networks."""

from __future__ import annotations

import click
from rich.table import Table

from mmg_ray.commands.options import STEP, WithFormats, WithLists, open_run
from mmg_ray.commands.printing import number, p_value, terminal
from mmg_ray.output import say

_SHOWN = 10


@click.command(cls=WithLists)
@click.argument("url")
@STEP
@click.option("--variable", metavar="NAME", help="Show the edges of this variable only.")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True)
def network(url: str, steps: tuple[str, ...], variable: str | None, top: int) -> None:
    """Turn the pairs of a complete run into a network: significance, pruning, weights.

    Shows its strongest edges with q-values; `export` writes them all.

    \b
    Examples:
      mmg-ray network runs/run --step fdr=0.05
      mmg-ray network runs/run --step fdr --step clr --step top=10
      mmg-ray network runs/run --step fdr=0.05 --variable CD79A
      mmg-ray network runs/run --step mi=0.05 --step dpi=0.1
    """
    from mmg_ray.network.graph import edges_of  # a tenth of a second, which --help does without

    found = open_run(url).network(steps)
    shown = found.table if variable is None else edges_of(found, variable)
    title = repr(found) if variable is None else f"{found!r}, {shown.num_rows:,} of {variable}"
    table = Table(title=title, title_justify="left")
    for name in ("source", "target"):
        table.add_column(name, overflow="fold")
    for name in ("weight", "MI ± se, nats", "p-value", "q-value", "Spearman"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown.slice(0, top).to_pylist():
        table.add_row(
            row["source"],
            row["target"],
            f"{row['weight']:.4g}",
            f"{row['mi_nats']:.4f} ± {row['se_nats']:.4f}",
            p_value(row["p_value"]),
            p_value(row["q_value"]),
            number(row["spearman"], "+.3f"),
        )
    terminal().print(table)
    say(f"write it: mmg-ray export {url} FILE" + "".join(f" --step {s}" for s in steps))


@click.command(cls=WithFormats)
@click.argument("url")
@click.argument("file")
@STEP
@click.option("--format", "format", help="One of the formats below; default: as FILE ends.")
def export(url: str, file: str, steps: tuple[str, ...], format: str | None) -> None:
    """Write the network of a complete run to a FILE, at any URL, for another program.

    \b
    Examples:
      mmg-ray export runs/run network.graphml --step fdr=0.05
      mmg-ray export runs/run adjacencies.csv --format scenic --step top=50
      mmg-ray export runs/run s3://bucket/network.parquet
    """
    from mmg_ray.store.exports import write

    found = open_run(url).network(steps)
    kind = write(found, file, format)
    say(f"wrote {found.table.num_rows:,} edges to {file} ({kind})")


@click.command(cls=WithFormats)
@click.argument("urls", nargs=-1, required=True)
@STEP
@click.option(
    "--min-share",
    default=0.5,
    show_default=True,
    help="Keep edges that at least this share of the runs find.",
)
@click.option("--export", "file", help="Write the network to this FILE, at any URL.")
@click.option("--format", "format", help="One of the formats below; default: as FILE ends.")
def consensus(
    urls: tuple[str, ...],
    steps: tuple[str, ...],
    min_share: float,
    file: str | None,
    format: str | None,
) -> None:
    """Combine the networks of runs over subsamples: which edges do most of them find?

    The weight of an edge is the share of the runs at URLS that find it. Without steps the networks are
    those at a false-discovery rate of 5 %.

    \b
    Example:
      for k in 0 1 2 3 4 5 6 7 8 9; do
        mmg-ray run run.yaml --set data.subsample=0.5 --set data.subsample_seed=$k \\
          --set output.url=runs/half-$k
      done
      mmg-ray consensus runs/half-* --min-share 0.8 --export stable.graphml
    """
    from mmg_ray.network.consensus import consensus as put_together
    from mmg_ray.store.exports import write

    found = put_together([open_run(url).network(steps or ("fdr=0.05",)) for url in urls], min_share)
    say(repr(found))
    for row in found.table.slice(0, _SHOWN).to_pylist():
        say(f"{row['weight']:.0%} {row['source']} - {row['target']}: {row['mi_nats']:.4f} nats")
    if file is not None:
        kind = write(found, file, format)
        say(f"wrote {found.table.num_rows:,} edges to {file} ({kind})")
