"""Hand a command to a Ray cluster through its Jobs API, once, however often this is started.

    RAY_AUTH_TOKEN=... mmg-ray submit --id nightly-2026-11-24 \\
        --address http://127.0.0.1:8265 --wait -- \\
        mmg-ray nightly run.yaml --base s3://bucket/nightly

The submission id is the key: Ray refuses a second job of the same id, so a clock that ticks twice, or a
retry after a lost answer, starts nothing twice. Only a job that ended with 75, which says 'start me
again', is followed by another, ID-2 and so on. mmg_ray must be installed on the cluster. The token is read from
RAY_AUTH_TOKEN, or from the file RAY_AUTH_TOKEN_PATH names; it is never printed.

Exit codes: 0 submitted, or there before; with --wait those of the command, 1 where it has none; 2 the
cluster cannot be reached or refuses; 75 the command, or the waiting, was cut short, start it again.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click

from mmg_ray.errors import RESUME
from mmg_ray.output import HELP

_TIMEOUT_S = 30.0
_POLL_S = 1.0
_READY_S = 60.0  # a head answers for some seconds before any node can take a job
_NOT_READY = "No available agent"
_ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}


class JobsError(Exception):
    """The Jobs API does not answer, or refuses."""


class Jobs:
    """Ray's Jobs API at an address such as http://127.0.0.1:8265."""

    def __init__(self, address: str, token: str = "") -> None:
        self._address = address.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def find(self, submission_id: str) -> dict[str, Any] | None:
        """The job of this id; None where there is none."""
        try:
            found: dict[str, Any] = self._ask("GET", f"/api/jobs/{submission_id}")
        except JobsError as error:
            if getattr(error.__cause__, "code", None) == 404:
                return None
            raise
        return found

    def submit(
        self, submission_id: str, command: list[str], env: dict[str, str]
    ) -> tuple[str, bool]:
        """Start a command unless a job of this id is there; its id, and whether it is new.

        Where that job asked to be started again, the next is of the same id with -2, -3, ...
        """
        name, attempt = submission_id, 1
        while (there := self.find(name)) is not None:
            if exit_code(there) != RESUME:
                return name, False
            attempt += 1
            name = f"{submission_id}-{attempt}"
        body = {
            "submission_id": name,
            "entrypoint": shlex.join(command),
            "runtime_env": {"env_vars": env} if env else {},
        }
        until = time.monotonic() + _READY_S
        while True:
            try:
                self._ask("POST", "/api/jobs/", body)
            except JobsError as error:
                if self.find(name) is not None:
                    return name, False  # another one was faster, or the first answer was lost
                if _NOT_READY not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(_POLL_S)
            else:
                return name, True

    def wait(self, submission_id: str) -> dict[str, Any]:
        """The job when it has ended; its status is SUCCEEDED, FAILED or STOPPED."""
        while True:
            found = self.find(submission_id)
            if found is None:
                raise JobsError(f"the cluster has forgotten job {submission_id}; was it restarted?")
            if found["status"] in _ENDED:
                return found
            time.sleep(_POLL_S)

    def logs(self, submission_id: str) -> str:
        """What it printed."""
        return str(self._ask("GET", f"/api/jobs/{submission_id}/logs").get("logs", ""))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data=data, headers=self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()[-500:]
            hint = "; set RAY_AUTH_TOKEN to the cluster's token" if error.code in (401, 403) else ""
            raise JobsError(f"{self._address} answered {error.code}: {said}{hint}") from error
        except (OSError, ValueError) as error:
            raise JobsError(
                f"no Jobs API at {self._address} ({error}); the head must run with its dashboard, "
                "and be reachable from here"
            ) from error


def exit_code(job: dict[str, Any]) -> int | None:
    """What its command exited with; None while it runs, and where Ray ended it."""
    if job["status"] == "SUCCEEDED":
        return 0
    return job.get("driver_exit_code") if job["status"] in _ENDED else None


def token() -> str:
    """The cluster's token, as Ray itself looks for it; empty where none is given."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"]
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(path).read_text().strip() if path else ""


@click.command(
    "submit",
    context_settings=HELP,
    help=(__doc__ or "").split("\n\n")[0],
)
@click.option("--id", "submission_id", required=True, help="Name of the job, such as nightly-DATE.")
@click.option("--address", default="http://127.0.0.1:8265", show_default=True)
@click.option("--env", multiple=True, metavar="NAME", help="Variables to pass on; not for secrets.")
@click.option("--wait", is_flag=True, help="Wait until it ends and print its log.")
@click.argument("command", nargs=-1, required=True)
def main(
    submission_id: str, address: str, env: tuple[str, ...], wait: bool, command: tuple[str, ...]
) -> None:
    try:
        jobs = Jobs(address, token())
        passed = {name: os.environ[name] for name in env}
        job_id, new = jobs.submit(submission_id, list(command), passed)
        click.echo(f"{job_id}: {'submitted' if new else 'was there before'}", err=True)
        if wait:
            job = jobs.wait(job_id)
            click.echo(jobs.logs(job_id), nl=False)
            click.echo(f"{job_id}: {job['status']}", err=True)
            code = exit_code(job)
            sys.exit(1 if code is None else code)
    except (JobsError, OSError, KeyError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(RESUME)
