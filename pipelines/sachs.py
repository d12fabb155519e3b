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
from mmg_ray.config import load
from mmg_ray.store.run import open_run

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
    settings = [f"data.path={packaged('cyto_full_data.csv')}", *overrides]
    path = Path(__file__).with_name("sachs.yaml")
    words = [word for setting in settings for word in ("--set", setting)]
    if main(["run", str(path), *words], standalone_mode=False):
        sys.exit(1)

    known = {frozenset(edge) for edge in known_edges()}
    found = open_run(load(path.read_text(), settings).output.url)
    top = found.strongest(len(known)).select(["source", "target"]).to_pylist()
    hits = sum(frozenset(edge.values()) in known for edge in top)
    by_chance = len(known) ** 2 / found.manifest.n_pairs
    print(
        f"known:   {hits} of the {len(top)} strongest pairs are among the {len(known)} edges of "
        f"the consensus network ({by_chance:.1f} by chance)"
    )


if __name__ == "__main__":
    run(sys.argv[1:])
