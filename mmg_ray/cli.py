"""The command line: each command is a few lines around the library, and prints what a person needs.

Exit codes: 0 done, 1 some shards failed (the others are stored), 2 a mistake that the message
explains, 75 stopped early as asked (run it again to go on), 130 stopped with Ctrl-C, 141 the reader
of a pipe has gone.
"""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmg_ray import config as configuration
from mmg_ray.errors import INTERRUPTED, DataError, MMGError, StoreError
from mmg_ray.execute.progress import duration, speed
from mmg_ray.memory import require_address_space
from mmg_ray.names import visible
from mmg_ray.output import PIPE_CLOSED, say, standard_output, writing
from mmg_ray.schema import Status
from mmg_ray.store.heartbeat import State
from mmg_ray.store.kept import RANKINGS

if TYPE_CHECKING:
    import pyarrow as pa

    from mmg_ray.runs import Run
    from mmg_ray.store.run import RunStatus

_SHOWN_AFTER_RUN = 10
_WATCH_S = 10.0
_DAMAGE_SHOWN = 10
_ENDED = {
    State.RUNNING: "dead (it gives no signs of life)",
    State.STOPPED: "stopped as asked",
    State.FAILED: "ended with failures",
    State.COMPLETE: "ended",
}
# The commands as help shows them; one that is in no section comes last.
_SECTIONS = {
    "Complete analyses": ("genomics", "neural"),
    "Runs": ("config", "plan", "run", "status"),
    "Results of a run": (
        "edges",
        "network",
        "export",
        "report",
        "explore",
        "heatmap",
        "compare",
        "consensus",
    ),
    "Schedules and clusters": ("nightly", "submit"),
    "One pair": ("estimate",),
}
# Commands of the fields, of schedules, of the local page: each is a module of its own, imported when it is asked for.
_ELSEWHERE = {
    "genomics": "mmg_ray.genomics.command",
    "neural": "mmg_ray.neural.command",
    "explore": "mmg_ray.explore.command",
    "nightly": "mmg_ray.scheduled.nightly",
    "submit": "mmg_ray.scheduled.submit",
}


class _Commands(click.Group):
    """Errors that a user can act on become one message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_ELSEWHERE, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _ELSEWHERE:
            command: click.Command = importlib.import_module(_ELSEWHERE[name]).main
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        left = set(self.list_commands(ctx))
        width = max(map(len, left)) + 2
        for title, names in {**_SECTIONS, "More": tuple(sorted(left))}.items():
            rows = [
                (f"{name:<{width}}", command.get_short_help_str(limit=200))
                for name in names
                if name in left and (command := self.get_command(ctx, name))
            ]
            left.difference_update(names)
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_spacing=0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            require_address_space()
            with standard_output():
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` has seen enough
            ctx.exit(PIPE_CLOSED)
        except MMGError as error:
            say(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except MemoryError as error:
            say(
                f"error: this process ran out of memory ({str(error) or 'no more was given'}); `mmg-ray plan` "
                "says what a task needs, and plan.tile_variables lowers it. What is finished is stored",
                err=True,
            )
            ctx.exit(2)
        except KeyboardInterrupt:
            say("stopped; what is finished is stored, and `run` again goes on", err=True)
            ctx.exit(INTERRUPTED)


class _Echo(logging.Handler):
    """The library's log on standard error, wherever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), err=True)


_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field of the configuration: --set estimator.seed=1. Repeatable.",
)


def open_run(url: str) -> Run:
    """Import on use: reading takes pyarrow, zarr and a second, `--help` does without."""
    from mmg_ray.runs import open_run as opened

    return opened(url)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mmg-ray")
def main() -> None:
    """Mutual-information networks with standard errors and p-values, over very many pairs of variables.

    \b
    The usual order: a configuration, its cost, the run, its results.
      mmg-ray config > run.yaml          # then set data.path and output.url
      mmg-ray plan run.yaml              # pairs, time, memory and bytes
      mmg-ray run run.yaml
      mmg-ray network runs/run --step fdr=0.05

    Expression matrices and neural recordings have commands of their own, `genomics` and `neural`, which also
    prepare the data. A run that was interrupted continues with the same command. `status` and `edges` work at any
    time, also while it runs. Every command takes --help, which has examples.
    """
    handler = _Echo()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("mmg_ray")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)


@main.command("run")
@click.argument("config_or_url")
@_SET
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
    console = _console()
    status = done.status()
    _print_statuses(console, status)
    console.print(_edge_table(done.strongest(_SHOWN_AFTER_RUN), "Strongest edges"))
    say(f"results: {done.url}")
    say(f"more:    mmg-ray edges {done.url} --csv edges.csv")
    require_no_failures(done)


@main.command()
@click.argument("config")
@_SET
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
        "stored": _bytes(p.output_bytes),
        "memory of a task": _bytes(p.peak_bytes),
        "memory of the driver": _bytes(p.driver_bytes),
        "output": p.url,
    }
    _print_rows(rows)
    times = (
        "times and sizes are projections of a typical matrix; --calibrate measures some of this one"
        if p.calibrated is None
        else f"times follow tiles measured here, {p.calibrated:.2g} times the cost model's"
    )
    say(f"{times}; nothing was written")


@main.command()
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
    _print_rows(
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
    _print_statuses(_console(), s)
    for line in s.damaged[:_DAMAGE_SHOWN]:
        say(f"damaged: {line}")
    if len(s.damaged) > _DAMAGE_SHOWN:
        say(f"damaged: and {len(s.damaged) - _DAMAGE_SHOWN:,} more")
    if not s.complete and not alive:
        say(f"go on with: mmg-ray run {run.url}")


@main.command()
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
    _console().print(_edge_table(run.strongest(top, by), f"{title} edges of {run.url}"))


def _steps() -> list[tuple[str, str]]:
    from mmg_ray.network.steps import STEPS

    return [
        (f"{name}={step.value.upper()}" if step.value else name, step.doc)
        for name, step in STEPS.items()
    ]


def _formats() -> list[tuple[str, str]]:
    from mmg_ray.store.exports import FORMATS

    return [(name, " ".join([how.doc, *how.endings])) for name, how in FORMATS.items()]


class _WithLists(click.Command):
    """A command whose help lists what there is to choose from, read only when it is shown."""

    lists: ClassVar[dict[str, Callable[[], list[tuple[str, str]]]]] = {
        "Steps, in the order given": _steps
    }

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        for title, rows in self.lists.items():
            with formatter.section(title):
                formatter.write_dl(rows())


class _WithFormats(_WithLists):
    lists: ClassVar = {**_WithLists.lists, "Formats": _formats}


_STEP = click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP",
    help="A network step, see the list below. Repeatable.",
)


@main.command(cls=_WithLists)
@click.argument("url")
@_STEP
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
    found = open_run(url).network(steps)
    shown = found.edges if variable is None else found.of(variable)
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
            _p_value(row["p_value"]),
            _p_value(row["q_value"]),
            _number(row["spearman"], "+.3f"),
        )
    _console().print(table)
    say(f"write it: mmg-ray export {url} FILE" + "".join(f" --step {s}" for s in steps))


@main.command(cls=_WithFormats)
@click.argument("url")
@click.argument("file")
@_STEP
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
    say(f"wrote {found.edges.num_rows:,} edges to {file} ({kind})")


@main.command(cls=_WithFormats)
@click.argument("urls", nargs=-1, required=True)
@_STEP
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
    for row in found.edges.slice(0, _SHOWN_AFTER_RUN).to_pylist():
        say(f"{row['weight']:.0%} {row['source']} - {row['target']}: {row['mi_nats']:.4f} nats")
    if file is not None:
        kind = write(found, file, format)
        say(f"wrote {found.edges.num_rows:,} edges to {file} ({kind})")


@main.command(cls=_WithLists)
@click.argument("first")
@click.argument("second")
@_STEP
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
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True)
def compare(
    first: str,
    second: str,
    steps: tuple[str, ...],
    rate: float,
    permutations: int,
    paired: bool,
    file: str | None,
    top: int,
) -> None:
    """Compare two runs: edges gained, lost, and changed beyond their errors, from FIRST to SECOND.

    For two conditions run the same table twice, each time with its own data.samples.
    Without steps the networks are those at a false-discovery rate of 5 %.

    \b
    Examples:
      mmg-ray compare nightly/2026-01-01 nightly/2026-01-02
      mmg-ray compare runs/healthy runs/ill --permutations 9999 --csv changes.csv
      mmg-ray compare runs/before runs/after --permutations 9999 --paired
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
    if file is not None:
        from pyarrow.csv import write_csv

        from mmg_ray.store.csv_names import safe_texts

        with writing(file) as stream:
            write_csv(safe_texts(found.edges), stream)
        say(f"wrote {found.edges.num_rows:,} edges: {found!r}", err=True)
        return
    table = Table(title=repr(found), title_justify="left")
    for name in ("source", "target", "edge"):
        table.add_column(name, overflow="fold")
    for name in ("first, nats", "second, nats", "difference ± se", "p-value", "q-value"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.edges.slice(0, top).to_pylist():
        table.add_row(
            row["source"],
            row["target"],
            row["edge"] + (", changed" if row["changed"] else ""),
            _number(row["mi_first"], ".4f"),
            _number(row["mi_second"], ".4f"),
            f"{_number(row['difference'], '+.4f')} ± {_number(row['se_difference'], '.4f')}",
            _p_value(row["p_value"]),
            _p_value(row["q_value"]),
        )
    _console().print(table)
    for url, only in ((first, found.only_first), (second, found.only_second)):
        if only:
            say(f"{len(only):,} variables are in {url} only: {', '.join(only[:5])}, ...")


@main.command(cls=_WithLists)
@click.argument("url")
@click.argument("file", default="report.html")
@_STEP
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
    from mmg_ray.report.page import write_report

    found = write_report(open_run(url), file, steps or None, figures)
    say(f"wrote {file}: {found.network!r}")


@main.command()
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


@main.command()
@click.argument("file")
@click.argument("x")
@click.argument("y")
@_SET
def estimate(file: str, x: str, y: str, overrides: tuple[str, ...]) -> None:
    """Estimate the MI of two variables X and Y of a FILE; nothing is stored.

    \b
    Examples:
      mmg-ray estimate table.csv STAT1 IRF1
      mmg-ray estimate cells.h5ad STAT1 IRF1 --set data.layer=counts --set estimator.seed=1
    """
    from mmg_ray.api import estimate_mi
    from mmg_ray.store.sources import read_table

    path = json.dumps({"data": {"path": file, "variables": [x, y]}})  # JSON is YAML
    config = configuration.load(path, overrides)
    table = read_table(config.data)
    for note in table.notes:
        click.echo(note, err=True)
    if not {x, y} <= set(table.names):
        raise DataError(f"{x!r} and {y!r} must each be the name of one variable of {file}")
    a, b = (table.column(table.names.index(name)) for name in (x, y))
    result = estimate_mi(a, b, config=config.estimator)
    if result.mi_nats is None:
        raise DataError(f"{x} - {y}: {result.status.value}: {result.status.remedy}")
    _print_rows(
        {
            f"I({x}; {y})": f"{result.mi_nats:.4f} ± {result.se_nats:.4f} nats",
            f"{y} given {x}": f"{result.mi_ij:.4f}",
            f"{x} given {y}": f"{result.mi_ji:.4f}",
            "direct, orthogonal": f"{result.gap:.4f}, {result.orthogonal:.4f}",
            "p-value": _p_value(result.p_value),
            "Spearman": _number(result.spearman, "+.3f"),
            "samples": f"{result.n_samples:,}",
        }
    )


@main.command("config")
def config_command() -> None:
    """Print a configuration with every field, its default and its meaning.

    \b
    Example:
      mmg-ray config > run.yaml
    """
    say(configuration.documented_yaml(), nl=False)


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


class _Console(Console):
    """Names and URLs are text: none of them is read as rich's markup, or as a terminal's commands."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text, lines=True), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # not rich's exit with 1, which here means failed shards


def _console() -> Console:
    return _Console(markup=False, highlight=False)


def _print_rows(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        say(f"{name:<{width}}  {value}")


def _edges_stored(n_stored: float, n_pairs: int) -> str:
    if n_stored == n_pairs:
        return "every pair"
    return f"{n_stored:,.0f} if no pair depended on another"


def _matrix_state(status: RunStatus) -> str:
    if not status.matrix_asked:
        return "none (edges.matrix: false)"
    if status.matrix_done:
        return "complete"
    return "damaged" if any(line.startswith("matrix.") for line in status.damaged) else "not yet"


def _print_statuses(console: Console, status: RunStatus) -> None:
    if not status.pairs_not_ok:
        return
    table = Table(title=f"{status.pairs_not_ok:,} pairs without a value", title_justify="left")
    table.add_column("status")
    table.add_column("pairs", justify="right")
    table.add_column("what to do")
    for name, count in status.statuses.items():
        if name != Status.OK:
            table.add_row(name, f"{count:,}", Status(name).remedy)
    console.print(table)


def _edge_table(rows: pa.Table, title: str) -> Table:
    """The columns that fit a terminal; `--csv` has them all."""
    table = Table(title=title, title_justify="left")
    for name in ("source", "target"):
        table.add_column(name, overflow="fold")
    for name in ("MI ± se, nats", "gap", "p-value", "Spearman"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.to_pylist():
        table.add_row(
            row["source"],
            row["target"],
            f"{row['mi_nats']:.4f} ± {row['se_nats']:.4f}",
            f"{row['gap']:.4f}",
            _p_value(row["p_value"]),
            _number(row["spearman"], "+.3f"),
        )
    return table


def _p_value(p: float | None) -> str:
    return "< 1e-99" if p is not None and p < 1e-99 else _number(p, ".1e")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
