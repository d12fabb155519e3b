"""A network that is known: single-cell signalling of Sachs et al., 11 proteins and 18 edges.

The table and the edges are read from the installed package `cdt`; nothing is downloaded.
Arguments are passed on as overrides: ``python -m pipelines.sachs execute.executor=serial``.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from mmg_ray import cli
from mmg_ray.config import load
from mmg_ray.errors import DataError
from mmg_ray.jobs import packaged
from mmg_ray.runs import Run, open_run

_TABLE = "cdt/data/resources/cyto_full_data.csv"
_EDGES = "cdt/data/resources/cyto_full_target.csv"


def known_edges() -> set[frozenset[str]]:
    """The 18 edges of the consensus network, without their direction."""
    with open(packaged("cdt", _EDGES), newline="") as file:
        return {frozenset((row["Cause"], row["Effect"])) for row in csv.DictReader(file)}


def hits(run: Run) -> tuple[int, float]:
    """How many of the strongest pairs are known edges, as many pairs as there are edges; by chance."""
    known = known_edges()
    top = run.strongest(len(known))[["source", "target"]].to_dict("records")
    found = sum(frozenset(edge.values()) in known for edge in top)
    return found, len(known) ** 2 / run.manifest.n_pairs


def main(overrides: list[str]) -> Run:
    """Run the job and say how its strongest pairs compare with the known network."""
    settings = [f"data.path={packaged('cdt', _TABLE)}", *overrides]
    config = Path(__file__).with_name("sachs.yaml")
    words = [word for setting in settings for word in ("--set", setting)]
    if code := cli.main(["run", str(config), *words], standalone_mode=False):
        sys.exit(code)
    run = open_run(load(config.read_text(), settings).output.url)
    found, by_chance = hits(run)
    n = len(known_edges())
    print(
        f"known:   {found} of the {n} strongest pairs are among the {n} edges of the consensus "
        f"network ({by_chance:.1f} by chance)"
    )
    return run


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DataError as error:  # the package that carries the table is not installed
        sys.exit(f"error: {error}")
