"""The pairs of a tile: which can be estimated, and the ranked variables that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.columns import Columns
from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.ranked_variable import Both, RankCache, RankedVariable
from mmg_ray.schema import Status, Variable

_SAMPLES_PER_DIMENSION = 2  # below it a covariance matrix says more of the noise than of the data
_STACK_BYTES = 2**27  # of the scores of one stack
MOST_SAMPLES = 5000  # that are used where tables are not enough


class TilePairs:
    """(P, 2) pairs of variables, each over the samples that both have.

    Attributes:
        complete: (P,) pairs of scalars without missing values: all over the same samples.
        in_strata: whether it is dependence within strata that is looked for.
    """

    def __init__(
        self,
        variables: Mapping[int, Variable],
        pairs: np.ndarray,
        cfg: EstimatorConfig,
        identity: np.ndarray | None,
        series: bool = False,
        strata: np.ndarray | None = None,
    ) -> None:
        self._variables = {
            index: replace(v, codes=marginals.distinct_coordinates(v.codes)) if v.dim > 1 else v
            for index, v in variables.items()
        }
        self.pairs, self.in_strata = pairs, strata is not None
        # within strata there is no test but the screen's
        self._min_samples = max(cfg.min_samples, screen.MIN_SAMPLES if self.in_strata else 0)
        self.cache = RankCache(cfg.seed, identity, series, strata)
        self.complete: np.ndarray = np.zeros(len(pairs), dtype=bool)
        self._apart: dict[int, Both] = {}  # of all other pairs that are not refused

    def __getitem__(self, row: int) -> Both:
        if row in self._apart:
            return self._apart[row]
        i, j = self.pairs[row].tolist()
        return self.variable(i), self.variable(j)

    def variable(self, index: int) -> RankedVariable:
        """One without missing values."""
        return self.cache.of(self._variables[index])

    def names(self, row: int) -> str:
        """Of both variables."""
        return " - ".join(self._variables[int(index)].name for index in self.pairs[row])

    def sort(self, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Refuse the pairs without a value; the rows of scalar pairs, and of pairs with a group."""
        needed = max(self._min_samples, 2 * _SAMPLES_PER_DIMENSION)
        whole = [
            index
            for index, v in self._variables.items()
            if v.dim == 1 and v.status is Status.OK and v.n_samples >= needed
            if not (v.codes == marginals.MISSING).any() and self.cache.of(v).varies
        ]
        # complete pairs of scalars, nearly all of most tables, need no look one by one
        self.complete = np.asarray(np.isin(self.pairs, whole).all(axis=1))
        if self.complete.any():
            columns.n_samples[self.complete] = self._variables[whole[0]].n_samples
        for row in np.flatnonzero(~self.complete).tolist():
            both = self._examine(row, columns)
            if both is not None:
                self._apart[row] = both
        holed: list[int] = []
        vectors: list[int] = []
        for row, (a, b) in self._apart.items():
            (holed if a.dim == b.dim == 1 else vectors).append(row)
        scalars = np.concatenate([np.flatnonzero(self.complete), np.array(holed, dtype=np.int64)])
        return scalars, np.array(vectors, dtype=np.int64)

    def _examine(self, row: int, columns: Columns) -> Both | None:
        """A pair over the samples that both have; None where it gets a status."""
        a, b = (self._variables[int(index)] for index in self.pairs[row])
        present = _present(a) & _present(b)
        n = int(present.sum())
        columns.n_samples[row] = n
        for variable in (a, b):
            if variable.status is not Status.OK:
                columns.refuse(row, variable.status, variable.name)
                return None
        needed = max(self._min_samples, _SAMPLES_PER_DIMENSION * (a.dim + b.dim))
        if n < needed:
            what = f"{n} complete samples of the {needed} needed"
            columns.refuse(row, Status.TOO_FEW_SAMPLES, what)
            return None
        both = self.cache.of(a, present), self.cache.of(b, present)
        for variable, ranked in zip((a, b), both, strict=True):
            if not ranked.varies:
                what = f"{variable.name}, in the {n} samples that both have"
                by_strata = ranked.stratum is not None and bool(np.ptp(ranked.codes) > 0)
                columns.refuse(row, Status.DETERMINED if by_strata else Status.CONSTANT, what)
                return None
        return both

    def of_fewer_samples(self, row: int, columns: Columns, most: int = MOST_SAMPLES) -> Both:
        """A pair over at most so many of its samples; its row says so of fewer."""
        n = int(columns.n_samples[row])
        if n <= most:
            return self[row]
        columns.note(row, f"from {most} of the {n} samples, as is its standard error")
        return self.part(row, most)[0]

    def part(self, row: int, most: int) -> tuple[Both, np.ndarray]:
        """A pair over at most so many of its samples, and (n,) which of them these are."""
        a, b = (self._variables[int(index)] for index in self.pairs[row])
        present = _present(a) & _present(b)
        chosen = self.cache.at_most(most, present)
        return (self.cache.of(a, chosen), self.cache.of(b, chosen)), chosen[present]

    def mostly_tied(self, rows: np.ndarray) -> np.ndarray:
        """(R,) pairs of which at least half the coordinates have ties."""
        both = [self[row] for row in rows.tolist()]
        return np.array([2 * (a.n_tied + b.n_tied) >= a.dim + b.dim for a, b in both], dtype=bool)

    def stacks(self, rows: np.ndarray, n_samples: np.ndarray, most: int) -> Iterator[np.ndarray]:
        """Rows of like dimensions, with or without ties, in stacks that memory holds."""
        by_shape: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for row in rows.tolist():
            a, b = self[row]
            by_shape[a.dim, b.dim, a.tied or b.tied].append(row)
        for (dim_a, dim_b, tied), members in by_shape.items():
            per_sample = 8 * 2 * (5 if tied else 2) * (dim_a + dim_b)
            n = min(most, int(n_samples[members].max()))
            per_pair = per_sample * n
            size = max(1, _STACK_BYTES // per_pair)
            for start in range(0, len(members), size):
                yield np.array(members[start : start + size])

    def n_values(self, rows: np.ndarray) -> np.ndarray:
        """(2, R) distinct values of both variables of scalar pairs."""
        found = np.empty((2, len(rows)), dtype=np.int64)
        whole = self.complete[rows]
        distinct, place = np.unique(self.pairs[rows[whole]], return_inverse=True)
        count = np.array([self.variable(int(v)).n_levels for v in distinct], dtype=np.int64)
        found[:, whole] = count[place].reshape(-1, 2).T
        for k in np.flatnonzero(~whole).tolist():
            found[:, k] = [ranked.n_levels for ranked in self[int(rows[k])]]
        return found


def _present(variable: Variable) -> np.ndarray:
    """(N,) where no coordinate is missing."""
    found: np.ndarray = (variable.codes != marginals.MISSING).all(axis=1)
    return found
