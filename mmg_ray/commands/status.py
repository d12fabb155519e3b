"""`status`: how far a run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mmg_ray.commands.options import open_run
from mmg_ray.commands.printing import print_rows, print_statuses, terminal
from mmg_ray.execute.progress import duration, speed
from mmg_ray.output import say
from mmg_ray.store.heartbeat import State

if TYPE_CHECKING:
    from mmg_ray.runs import Run
    from mmg_ray.store.run_status import RunStatus

_WATCH_S = 10.0
_DAMAGE_SHOWN = 10
_ENDED = {
    State.RUNNING: "dead (it gives no signs of life)",
    State.STOPPED: "stopped as asked",
    State.FAILED: "ended with failures",
    State.COMPLETE: "ended",
}


@click.command()
@click.argument("url")
@click.option("--watch", is_flag=True, help="Repeat every 10 seconds until the run ends.")
def status(url: str, watch: bool) -> None:
    """Show the progress of a run, what failed, and whether it is being worked on, from storage alone.

    \b
    Examples:
      mmg-ray status s3://bucket/run-1
      mmg-ray status s3://bucket/run-1 --watch
    """
    run = open_run(url)
    s = run.status()
    alive = not s.complete and run.at_work()
    while watch and alive:
        click.clear()
        _print_status(run, s, alive)
        time.sleep(_WATCH_S)
        s = run.status()
        alive = not s.complete and run.at_work()
    _print_status(run, s, alive)


def _print_status(run: Run, s: RunStatus, alive: bool) -> None:
    m = run.manifest
    print_rows(
        {
            "run": run.url,
            "data": f"{m.config['data']['path']}: {m.n_variables:,} variables x {m.n_samples:,} samples",
            "denoiser": f"{m.config['estimator']['denoiser']}, seed {m.config['estimator']['seed']}",
            "pairs mode": m.config["pairs"]["mode"],
            "begun": m.created,
            "fingerprint": m.fingerprint[:12],
            "shards": f"{s.shards_done:,} of {s.n_shards:,}",
            "pairs": f"{s.pairs_done:,} of {s.n_pairs:,}",
            "edges stored": f"{s.pairs_stored:,}",
            "matrix": _matrix_state(s),
            **_work_rows(s, alive),
        }
    )
    print_statuses(terminal(), s)
    for line in s.damaged[:_DAMAGE_SHOWN]:
        say(f"damaged: {line}")
    if len(s.damaged) > _DAMAGE_SHOWN:
        say(f"damaged: and {len(s.damaged) - _DAMAGE_SHOWN:,} more")
    if not s.complete and not alive:
        say(f"go on with: mmg-ray run {run.url}")


def _work_rows(s: RunStatus, alive: bool) -> dict[str, str]:
    """Who works on it, how fast, and what is in the way."""
    rows: dict[str, str] = {}
    if not s.complete:
        age = None if s.last_s is None else max(0.0, time.time() - s.last_s)
        last = "" if age is None else f", last shard {duration(age)} ago"
        ended = "not running" if s.heartbeat is None or alive else _ENDED[s.heartbeat.state]
        rows["driver"] = ("running" if alive else ended) + last
        if s.pairs_per_s:
            left = (s.n_pairs - s.pairs_done) / s.pairs_per_s
            rows["rate"] = f"{speed(s.pairs_per_s)}, about {duration(left)} of work left"
    if s.heartbeat is not None and s.heartbeat.failed:
        rows["failed"] = f"{s.heartbeat.failed:,} shards; first, {s.heartbeat.first_error}"
    if s.heartbeat is not None and alive and (slow := s.heartbeat.stragglers()):
        shown = ", ".join(f"shard {shard} ({duration(t)})" for shard, t in list(slow.items())[:5])
        rows["stragglers"] = f"{shown}; usual is {duration(s.heartbeat.typical_s or 0)}"
    return rows


def _matrix_state(status: RunStatus) -> str:
    if not status.matrix_asked:
        return "none (edges.matrix: false)"
    if status.matrix_done:
        return "complete"
    return "damaged" if any(line.startswith("matrix.") for line in status.damaged) else "not yet"
