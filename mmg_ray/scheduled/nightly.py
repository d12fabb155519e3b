"""One scheduled run: a dated URL under a base, nothing if the input has not changed since the last.

    mmg-ray nightly run.yaml --base s3://bucket/nightly
    mmg-ray nightly run.yaml --base runs/nightly --date 2026-11-24 --stop-after 5h

It is safe to start it again and again: the same date goes on with the same run. Under the base are

    2026-11-24/               the run, and its summary.json
    latest.json               the last complete run: url, fingerprint, date

Exit codes are those of `mmg-ray run`: 0 complete or skipped, 1 some shards failed, 2 a mistake that the
message explains, 75 stopped early (start it again), 130 stopped with Ctrl-C. The last line of output is the summary as JSON.
"""

from __future__ import annotations

import importlib.resources
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import click

from mmg_ray import config as configuration
from mmg_ray.errors import INTERRUPTED, RESUME, MMGError, StoreError
from mmg_ray.execute.drain import seconds
from mmg_ray.output import HELP
from mmg_ray.store.location import Location

log = logging.getLogger("mmg_ray.scheduled.nightly")  # __main__ when it is started as a module

LATEST = "latest.json"
SUMMARY = "summary.json"


@dataclass
class Summary:
    """What became of a scheduled run, for machines.

    Attributes:
        state: complete, skipped (the last complete run is of the same input and configuration),
            stopped or failed.
        url: of the run; of the one that made this one superfluous, if skipped.
        exit_code: of the process.
        fingerprint: of configuration and input.
        statuses: pairs by status.
    """

    state: str
    url: str
    exit_code: int
    fingerprint: str
    date: str
    wall_s: float
    n_pairs: int = 0
    pairs_done: int = 0
    statuses: dict[str, int] | None = None
    message: str = ""


def nightly(
    config: str, base: str, day: str, settings: list[str], stop_after_s: float | None = None
) -> Summary:
    """Do the run of a day, or see that it is not needed; the summary is stored beside its results."""
    from mmg_ray.execute import driver  # torch takes seconds to import: --help does without
    from mmg_ray.jobs import require_no_failures
    from mmg_ray.runs import open_run

    began = time.monotonic()
    place = Location(base)
    text = Location(config).read_text()
    cfg = configuration.load(text, [*settings, f"output.url={(place / day).url}"])
    fingerprint = driver.fingerprint_of(cfg)
    last = _latest(place)
    if last.get("date") != day and _is_complete(last.get("url"), fingerprint):
        url = str(last["url"])
        return Summary("skipped", url, 0, fingerprint, day, time.monotonic() - began)
    result = Summary("complete", (place / day).url, 0, fingerprint, day, 0.0)
    try:
        require_no_failures(driver.run(cfg, stop_after_s=stop_after_s))
    except StoreError as error:
        # another input's run of this date, another driver's, or none: its summary is not this one's
        result.state, result.exit_code, result.message = "failed", error.exit_code, str(error)
        result.wall_s = time.monotonic() - began
        return result
    except MMGError as error:
        result.exit_code, result.message = error.exit_code, str(error)
        result.state = "stopped" if result.exit_code == RESUME else "failed"
    except KeyboardInterrupt:
        result.state, result.exit_code = "stopped", INTERRUPTED
        result.message = "stopped with Ctrl-C; the same command goes on"
    result.wall_s = time.monotonic() - began
    try:
        status = open_run(result.url).status()
        result.n_pairs, result.pairs_done = status.n_pairs, status.pairs_done
        result.statuses = status.statuses
        (place / day / SUMMARY).write_json(asdict(result))
        if result.state == "complete":
            done = {"url": result.url, "fingerprint": fingerprint, "date": day}
            (place / LATEST).write_json(done)
    except StoreError as error:  # the run never began: its own message says why
        result.message = result.message or str(error)
    return result


def _latest(place: Location) -> dict[str, object]:
    """What the last complete run was; nothing, with a warning, where that cannot be read."""
    latest = place / LATEST
    if not latest.exists():
        return {}
    try:
        found = latest.read_json()
    except StoreError as error:
        log.warning("%s. It is written anew", error)
        return {}
    return found if isinstance(found, dict) else {}


def _is_complete(url: object, fingerprint: str) -> bool:
    """Whether the run that `latest.json` names is there, whole, and of this input."""
    from mmg_ray.runs import open_run

    if not isinstance(url, str):
        return False
    try:
        run = open_run(url)
        if run.manifest.fingerprint != fingerprint:
            return False
        if run.status().complete:
            return True
        log.warning("the last run, %s, is not complete any more; running", url)
    except StoreError as error:
        log.warning("the last run cannot be read, so this date's is not skipped: %s", error)
    return False


def _write_recipes(_ctx: click.Context, _option: click.Parameter, folder: Path | None) -> None:
    """Write the recipes that the package carries; one that was edited is never written over."""
    if folder is None:
        return
    for kind in ("kubernetes", "systemd"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for recipe in sorted(
            (importlib.resources.files(__package__) / kind).iterdir(), key=lambda path: path.name
        ):
            file = folder / kind / recipe.name
            if file.exists() and file.read_bytes() != recipe.read_bytes():
                raise click.UsageError(
                    f"{file} is there and differs from the recipe; name another folder"
                )
            file.write_bytes(recipe.read_bytes())
            click.echo(file)
    raise click.exceptions.Exit(0)


@click.command(
    "nightly",
    context_settings=HELP,
    help=(__doc__ or "").split("\n\n")[0],
)
@click.argument("config")
@click.option("--base", required=True, help="Where the dated runs lie; any fsspec URL.")
@click.option("--date", "day", help="YYYY-MM-DD; default today, UTC.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As in mmg-ray run.")
@click.option("--stop-after", metavar="TIME", help="As in mmg-ray run.")
@click.option(
    "--recipes",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    is_eager=True,
    expose_value=False,
    callback=_write_recipes,
    help="Write recipes for Kubernetes, systemd and cron there, and stop.",
)
@click.option("--summary", type=click.Path(path_type=Path), help="Write the summary here, too.")
def main(
    config: str,
    base: str,
    day: str | None,
    settings: tuple[str, ...],
    stop_after: str | None,
    summary: Path | None,
) -> None:
    try:
        stamp = date.fromisoformat(day) if day else datetime.now(UTC).date()
        limit = None if stop_after is None else seconds(stop_after)
        result = nightly(config, base, stamp.isoformat(), list(settings), limit)
    except (MMGError, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if result.message:
        click.echo(f"error: {result.message}", err=True)
    line = json.dumps(asdict(result))
    if summary is not None:
        Location(str(summary)).write_bytes(f"{line}\n".encode())
    click.echo(line)
    sys.exit(result.exit_code)
