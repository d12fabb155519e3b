"""`config`, `plan` and `run`: what a run is to be, what it will cost, and doing it."""

from __future__ import annotations

import click

from mmg_ray import config as configuration
from mmg_ray.commands.options import SET
from mmg_ray.commands.printing import bytes_text, edge_table, print_rows, print_statuses, terminal
from mmg_ray.execute.progress import duration
from mmg_ray.output import say

_SHOWN = 10


@click.command("config")
def config_command() -> None:
    """Print a configuration with every field, its default and its meaning.

    \b
    Example:
      mmg-ray config > run.yaml
    """
    say(configuration.documented_yaml(), nl=False)


@click.command()
@click.argument("config")
@SET
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Time parts of a few tiles on this machine, some seconds, and project from them.",
)
def plan(config: str, overrides: tuple[str, ...], calibrate: bool) -> None:
    """Project pairs, time, memory and bytes of a run; nothing is written.

    \b
    Examples:
      mmg-ray plan run.yaml
      mmg-ray plan run.yaml --no-calibrate                    # at once, from the cost model alone
      mmg-ray plan run.yaml --set estimator.denoiser=screen   # how much cheaper?
    """
    from mmg_ray.execute.driver import plan_run

    p = plan_run(config, overrides, measure=calibrate)
    unit = "a GPU share" if p.device == "cuda" else "one CPU thread"
    where = (
        "depends on the cluster's size"
        if p.wall_s is None
        else f"{duration(p.wall_s)} ({p.n_workers} at a time)"
    )
    rows = {
        "variables x samples": f"{p.n_variables:,} x {p.n_samples:,}",
        "pairs": f"{p.n_pairs:,}",
        "denoiser": p.denoiser,
        "tiles": f"{p.n_tiles:,} of up to {p.tile_variables} x {p.tile_variables} variables",
        "shards": f"{p.n_shards:,}",
        f"time on {unit}": duration(p.task_s),
        "time until complete": where,
        "edges stored": _edges_stored(p.n_stored, p.n_pairs),
        "stored": bytes_text(p.output_bytes),
        "memory of a task": bytes_text(p.peak_bytes),
        "memory of the driver": bytes_text(p.driver_bytes),
        "output": p.url,
    }
    print_rows(rows)
    times = (
        "times and sizes are projections of a typical matrix; --calibrate measures some of this one"
        if p.calibrated is None
        else f"times follow tiles measured here, {p.calibrated:.2g} times the cost model's"
    )
    say(f"{times}; nothing was written")


@click.command("run")
@click.argument("config_or_url")
@SET
@click.option("--stop-after", metavar="TIME", help="Stop in good order after 90s, 30m, 11h30m, ...")
@click.option(
    "--verify",
    is_flag=True,
    help="Check every stored byte first, and compute again what is damaged.",
)
def run_command(
    config_or_url: str, overrides: tuple[str, ...], stop_after: str | None, verify: bool
) -> None:
    """Run a configuration, or continue the run at a URL.

    Finished shards are kept, and a run of another configuration or of other data is never overwritten.
    On SIGTERM, or after --stop-after, shards under way are finished (for execute.drain_s at most) and the exit
    code is 75: start the same command again to continue.

    \b
    Examples:
      mmg-ray run run.yaml
      mmg-ray run run.yaml --set estimator.denoiser=gaussian --set output.url=runs/quick
      mmg-ray run s3://bucket/run-1                          # continue, without the input file
      mmg-ray run run.yaml --set execute.executor=serial     # without Ray
      mmg-ray run run.yaml --stop-after 11h30m               # before a queue's wall time ends
    """
    from mmg_ray.execute.drain import (
        seconds,
    )  # torch takes seconds to import: `status` does without
    from mmg_ray.execute.driver import run
    from mmg_ray.jobs import require_no_failures

    stop_after_s = None if stop_after is None else seconds(stop_after)
    done = run(config_or_url, overrides, stop_after_s=stop_after_s, verify=verify)
    console = terminal()
    status = done.status()
    print_statuses(console, status)
    console.print(edge_table(done.edge_store().strongest(_SHOWN), "Strongest edges"))
    say(f"results: {done.url}")
    say(f"more:    mmg-ray edges {done.url} --csv edges.csv")
    require_no_failures(done)


def _edges_stored(n_stored: float, n_pairs: int) -> str:
    if n_stored == n_pairs:
        return "every pair"
    return f"{n_stored:,.0f} if no pair depended on another"
