"""A network that is known: single-cell signalling of Sachs et al., 11 proteins and 18 edges.

The table and the edges are read from the installed package `cdt`; nothing is downloaded.
Arguments are passed on as overrides: ``python -m pipelines.sachs execute.executor=serial``.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mmg_ray.store.run import Run
from pipelines.job import packaged, script, start

_TABLE = "cdt/data/resources/cyto_full_data.csv"
_EDGES = "cdt/data/resources/cyto_full_target.csv"


def known_edges() -> set[frozenset[str]]:
    """The 18 edges of the consensus network, without their direction."""
    with open(packaged("cdt", _EDGES), newline="") as file:
        return {frozenset((row["Cause"], row["Effect"])) for row in csv.DictReader(file)}


def hits(run: Run) -> tuple[int, float]:
    """How many of the strongest pairs are known edges, as many pairs as there are edges; by chance."""
    known = known_edges()
    top = run.strongest(len(known)).select(["source", "target"]).to_pylist()
    found = sum(frozenset(edge.values()) in known for edge in top)
    return found, len(known) ** 2 / run.manifest.n_pairs


def main(overrides: list[str]) -> Run:
    """Run the job and say how its strongest pairs compare with the known network."""
    settings = [f"data.path={packaged('cdt', _TABLE)}", *overrides]
    run = start(Path(__file__).with_name("sachs.yaml"), settings)
    found, by_chance = hits(run)
    n = len(known_edges())
    print(
        f"known:   {found} of the {n} strongest pairs are among the {n} edges of the consensus "
        f"network ({by_chance:.1f} by chance)"
    )
    return run


if __name__ == "__main__":
    script(main)
