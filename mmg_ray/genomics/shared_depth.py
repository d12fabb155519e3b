"""What scaling leaves of depth: a p-value of two genes that are independent but for the depth of their cells.

Of two such genes the scaled counts are uncorrelated, yet not independent. A cell of half the depth has more zeros, and
what is not zero is twice as large, in both genes; of enough cells a test that sees more than correlation finds it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmg_ray.genomics.cells import Scaled
from mmg_ray.matrices import mi_matrix
from mmg_ray.store.sources import Table

LEVEL = 0.05
_GENES, _CELLS = 40, 5000  # at most
_FEWEST_GENES, _FEWEST_CELLS = 6, 30
_TOO_MANY = 1.5  # times the level


class Found(NamedTuple):
    """Of simulated pairs of independent genes the share of p <= `LEVEL`, and how many cells they had."""

    share: float
    n_cells: int

    @property
    def too_many(self) -> bool:
        return self.share > _TOO_MANY * LEVEL

    def line(self, taken_out: bool) -> str:
        """What to say of it, if cells of like depth are compared or not."""
        of = f"{self.share:.1%} of pairs of independent genes, simulated at the depths of {self.n_cells:,} cells"
        if not self.too_many:
            return f"depth:   {of}, have p <= {LEVEL:g}"
        why = f"{of}, would have p <= {LEVEL:g}, since scaled counts still tell the depth of their cell"
        if taken_out:
            return f"depth:   {why}: compared among cells of like depth (cells.normalise: log or none keeps the values)"
        return (
            f"warning: {why}: many edges may be of depth alone. Set cells.stratify_by: [depth] or, of some hundred "
            "genes, data.conditions: [depth]"
        )


def simulate(table: Table, counts: Scaled, seed: int) -> Found | None:
    """Poisson counts of some of the genes at the depths of these cells, scaled and tested; None of too few genes or cells."""
    reads = counts.reads
    known = np.flatnonzero(np.isfinite(reads) & (reads > 0))
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.permutation(known)[:_CELLS])
    genes = np.unique(np.linspace(0, table.n_variables - 1, min(_GENES, table.n_variables)))
    if len(genes) < _FEWEST_GENES or len(cells) < _FEWEST_CELLS:
        return None
    # of E[k read] the same in every cell, k has the mean that is asked for over what one read is
    mean = np.array([np.nanmean(counts.of(table.column(int(v)))) for v in genes])
    drawn = rng.poisson(np.clip(mean / reads[cells, None], 0, 1e9))
    drawn = drawn[:, (drawn > 0).sum(axis=0) > 1]
    if drawn.shape[1] < _FEWEST_GENES:
        return None
    found = mi_matrix(drawn * reads[cells, None], denoiser="screen")
    return Found(float(np.mean(found.estimates.columns.p_value <= LEVEL)), len(cells))
