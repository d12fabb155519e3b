"""`compare`: what differs between two runs."""

from __future__ import annotations

import click
from rich.table import Table

from mmg_ray.commands.options import STEP, WithLists, open_run
from mmg_ray.commands.printing import number, p_value, terminal
from mmg_ray.output import say, writing


@click.command(cls=WithLists)
@click.argument("first")
@click.argument("second")
@STEP
@click.option(
    "--rate",
    default=0.05,
    show_default=True,
    help="False-discovery rate at which an edge counts as changed.",
)
@click.option(
    "--permutations",
    type=click.IntRange(min=0),
    default=0,
    help="Test differences by up to this many permutations a pair; 0 uses the standard errors.",
)
@click.option("--paired", is_flag=True, help="Sample k of both runs is the same subject.")
@click.option("--csv", "file", metavar="FILE", help="Write every row to FILE; - is stdout.")
@click.option(
    "--report", metavar="FILE", help="Write one HTML page, with pictures, to FILE at any URL."
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True)
def compare(
    first: str,
    second: str,
    steps: tuple[str, ...],
    rate: float,
    permutations: int,
    paired: bool,
    file: str | None,
    report: str | None,
    top: int,
) -> None:
    """Compare two runs: edges gained, lost, and changed beyond their errors, from FIRST to SECOND.

    For two conditions run the same table twice, each time with its own data.samples.
    Without steps the networks are those at a false-discovery rate of 5 %. "posterior" is the mean difference, nats, and
    "P(changed)" the probability that the MI changed, in the light of all edges that are compared.

    \b
    Examples:
      mmg-ray compare nightly/2026-01-01 nightly/2026-01-02
      mmg-ray compare runs/healthy runs/ill --permutations 9999 --csv changes.csv
      mmg-ray compare runs/before runs/after --permutations 9999 --paired
      mmg-ray compare runs/before runs/after --report changes.html
    """
    from mmg_ray.store.compare import compare as compare_runs

    found = compare_runs(
        open_run(first),
        open_run(second),
        steps or ("fdr=0.05",),
        rate=rate,
        permutations=permutations,
        paired=paired,
    )
    if report is not None:
        from mmg_ray.report.differences import write_differences

        write_differences(found, first, second, report)
        say(f"wrote {report}", err=True)
    if file is not None:
        from pyarrow.csv import write_csv

        from mmg_ray.store.csv_names import safe_texts

        with writing(file) as stream:
            write_csv(safe_texts(found.table), stream)
        say(f"wrote {found.table.num_rows:,} edges: {found!r}", err=True)
        return
    table = Table(title=repr(found), title_justify="left")
    for name in ("source", "target", "edge"):
        table.add_column(name, overflow="fold")
    for name in (
        "first, nats",
        "second, nats",
        "difference ± se",
        "posterior",
        "P(changed)",
        "p-value",
        "q-value",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.table.slice(0, top).to_pylist():
        table.add_row(
            row["source"],
            row["target"],
            row["edge"] + (", changed" if row["changed"] else ""),
            number(row["mi_first"], ".4f"),
            number(row["mi_second"], ".4f"),
            f"{number(row['difference'], '+.4f')} ± {number(row['se_difference'], '.4f')}",
            number(row["difference_posterior"], "+.4f"),
            number(row["p_changed"], ".2f"),
            p_value(row["p_value"]),
            p_value(row["q_value"]),
        )
    terminal().print(table)
    for url, only in ((first, found.only_first), (second, found.only_second)):
        if only:
            say(f"{len(only):,} variables are in {url} only: {', '.join(only[:5])}, ...")
