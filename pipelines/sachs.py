"""The main job on real data: the MI network of the Sachs single-cell signalling table.

The table and its 18 known edges are read from the installed package `cdt`; nothing is downloaded.
Arguments are passed on as overrides: ``python -m pipelines.sachs execute.executor=serial``.
"""

from __future__ import annotations

import csv
import importlib.metadata
import sys
from pathlib import Path

from mmg_ray.cli import main

_FOLDER = "cdt/data/resources"


def packaged(name: str) -> Path:
    """Path of a data file that the package `cdt` ships; the package is not imported."""
    try:
        files = importlib.metadata.files("cdt") or []
    except importlib.metadata.PackageNotFoundError:
        sys.exit("the Sachs table is read from the package cdt: pip install --no-deps cdt==0.6.0")
    return Path(str(next(f for f in files if f"{_FOLDER}/{name}" in str(f)).locate()))


def known_edges() -> list[tuple[str, str]]:
    """The 18 (cause, effect) edges of the consensus network."""
    with packaged("cyto_full_target.csv").open(newline="") as file:
        return [(row["Cause"], row["Effect"]) for row in csv.DictReader(file)]


def run(overrides: list[str]) -> None:
    """Run the job and say how its strongest pairs compare with the known network."""
    path = packaged("cyto_full_data.csv")
    settings = [f"data.path={path}", *overrides]
    config = Path(__file__).with_name("sachs.yaml")
    main(
        ["run", str(config), *(word for setting in settings for word in ("--set", setting))],
        standalone_mode=False,
    )


if __name__ == "__main__":
    run(sys.argv[1:])
