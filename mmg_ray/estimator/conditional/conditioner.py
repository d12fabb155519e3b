"""A condition, and variables as conditional ranks given it, each made once; whether a dependence changes with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoothers, conditional_ranks
from mmg_ray.estimator.dependence import contingency
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Status, Variable

_SOME = 100  # samples whose steps tell most orders apart
_MOST_BYTES = 2**28  # of conditional ranks that are kept from tile to tile


class Conditioner:
    """A condition and the variables less what it says of them, each made once and kept.

    Attributes:
        condition: what it says, over the samples where all of it is known, the only ones that count.
        present: (N,) which these are.
    """

    def __init__(self, condition: Condition, seed: int) -> None:
        self.present = condition.present
        self.condition = condition.at(self.present).informative()
        self._columns = self.condition.columns()
        self._seed = seed
        self._smoother = Smoothers(self.condition, seed)
        self._made: dict[str, Variable] = {}

    def __call__(self, variable: Variable) -> Variable:
        """The conditional ranks of a variable over the samples that have the condition."""
        if variable.name not in self._made:
            self._made[variable.name] = self._make(variable)
        return self._made[variable.name]

    def forget(self) -> None:
        """What was made of variables: names may mean others now. What was made of the condition stays."""
        self._made = {}

    def make_room(self, variables: Iterable[Variable]) -> None:
        """Keep what was made of these alone, where all takes much memory: a shard may have very many variables."""
        if sum(made.codes.nbytes for made in self._made.values()) > _MOST_BYTES:
            names = {variable.name for variable in variables}
            self._made = {name: made for name, made in self._made.items() if name in names}

    @classmethod
    def nothing(cls, n_samples: int, seed: int) -> Conditioner:
        """No condition, as a condition that says nothing."""
        return cls(Condition.of("", n_samples, [], []), seed)

    @property
    def says_nothing(self) -> bool:
        """Whether it has one value in the samples that count: these are then all there is to it."""
        return self._columns.shape[1] == 0

    def _make(self, variable: Variable) -> Variable:
        codes = variable.codes[self.present]
        if self.says_nothing:
            return replace(variable, codes=codes)
        complete = (codes != marginals.MISSING).all(axis=1)
        needed = 2 * self._columns.shape[1] + 8
        if variable.status is not Status.OK or complete.sum() < needed:
            few = variable.status is Status.OK
            status = Status.TOO_FEW_SAMPLES if few else variable.status
            return replace(variable, codes=codes, status=status)
        smooth = self._smoother(complete)
        left, varied = [], False
        for d, column in enumerate(codes[complete].T):
            dense = np.unique(column, return_inverse=True)[1]
            if dense.max() == 0:
                continue
            varied = True
            if any(_same_order(dense, number[complete]) for number in self.condition.codes.T):
                continue
            drawn = marginals.randomised_ranks(
                dense, numpy_stream(self._seed, "ties", variable.name, d).random(dense.size)
            )
            ranks = conditional_ranks(marginals.rank_scores(drawn), smooth)
            if ranks is not None:
                whole = np.full(len(codes), marginals.MISSING, dtype=np.int32)
                whole[complete] = ranks
                left.append(whole)
        if not left:
            status = Status.DETERMINED if varied else Status.CONSTANT
            return replace(variable, codes=codes, status=status)
        return Variable(variable.name, np.stack(left, axis=1))

    def in_strata(
        self, a: Variable, b: Variable
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Codes (n,) of two scalars and of the strata of C, if tables of all three are small."""
        codes = [v.codes[self.present] for v in (a, b)]
        if not all(v.dim == 1 and contingency.few(c) for v, c in zip((a, b), codes, strict=True)):
            return None
        rows = (np.concatenate(codes, axis=1) != marginals.MISSING).all(axis=1)
        known = np.concatenate([self.condition.codes, self.condition.categories], axis=1)[rows]
        if not all(contingency.few(column[:, None]) for column in known.T):
            return None
        x, y = (np.unique(c[rows, 0], return_inverse=True)[1] for c in codes)
        strata = np.zeros(len(known), dtype=np.int64)
        if known.shape[1]:
            strata = np.unique(known, axis=0, return_inverse=True)[1].ravel()
        sizes = [int(v.max(initial=0)) + 1 for v in (x, y, strata)]
        return (x, y, strata) if contingency.fits(sizes[0], sizes[1], len(x), sizes[2]) else None

    def with_condition(self, variable: Variable) -> Variable:
        """(U, C), a vector."""
        codes = np.concatenate([variable.codes, self._columns], axis=1)
        return Variable(f"{variable.name}, {self.condition.name}", codes, variable.status)

    def alone(self) -> Variable:
        """C, a vector."""
        return Variable(self.condition.name, self._columns)

    def changes(
        self, variables: Mapping[int, Variable], pairs: np.ndarray, worth: np.ndarray
    ) -> np.ndarray:
        """(P,) p-values of: the dependence of two scalars of conditional ranks does not change with C.

        Products of their first two rank polynomials against functions of C. Under the null they
        are uncorrelated, whatever the dependence; sizes are taken from their own scatter.

        Args:
            worth: (P,) independent samples that one sample of a pair is worth, less than 1 in a series.
        """
        found = np.ones(len(pairs))
        complete = {
            v: (variables[v].codes != marginals.MISSING).all() for v in np.unique(pairs).tolist()
        }
        whole = np.array([complete[i] and complete[j] for i, j in pairs.tolist()], dtype=bool)
        if whole.any():
            everywhere = np.ones(len(self.condition.codes), dtype=bool)
            found[whole] = self._changes(variables, pairs[whole], everywhere, worth[whole])
        for k in np.flatnonzero(~whole).tolist():
            both = [variables[v].codes[:, 0] != marginals.MISSING for v in pairs[k].tolist()]
            present, one = both[0] & both[1], slice(k, k + 1)
            found[k] = self._changes(variables, pairs[one], present, worth[one])[0]
        return found

    def _changes(
        self,
        variables: Mapping[int, Variable],
        pairs: np.ndarray,
        present: np.ndarray,
        worth: np.ndarray,
    ) -> np.ndarray:
        """The same of pairs that all have the samples where `present` (n,)."""
        functions = self._functions(present)
        if not functions.shape[1]:
            return np.ones(len(pairs))
        (first, i), (second, j) = (np.unique(side, return_inverse=True) for side in pairs.T)
        x, y = (
            np.stack([_polynomials(variables[v].codes[present, 0]) for v in side.tolist()])
            for side in (first, second)
        )  # (U, 2, n)
        n, total = x.shape[2], np.zeros(len(pairs))
        for a, b in np.ndindex(2, 2):
            of_x, of_y = x[:, a], y[:, b].T
            variance = ((of_x**2 @ of_y**2) / n - (of_x @ of_y / n) ** 2)[i, j]
            for function in functions.T:
                total += ((of_x * function) @ of_y)[i, j] ** 2 / np.maximum(variance, 1e-24)
        p_value: np.ndarray = chi2.sf(worth * total, 4 * functions.shape[1])
        return p_value

    def _functions(self, present: np.ndarray) -> np.ndarray:
        """(n, K) orthonormal functions of C of mean 0 over some of the samples."""
        condition = self.condition.at(present).informative()
        numbers = [_polynomials(column).T for column in condition.codes.T]
        levels = [
            (column[:, None] == np.unique(column)[1:]).astype(np.float64)
            for column in condition.categories.T
        ]
        functions = np.concatenate([np.empty((int(present.sum()), 0)), *numbers, *levels], axis=1)
        if not functions.shape[1]:
            return functions
        functions -= functions.mean(0)
        left, size, _ = np.linalg.svd(functions, full_matrices=False)
        found: np.ndarray = left[:, size > 1e-6 * size[0]]
        return found


def _same_order(dense: np.ndarray, codes: np.ndarray) -> bool:
    """Whether two variables are functions of each other, rising or falling."""
    first, other = (np.sign(np.diff(c[:_SOME].astype(np.int64))) for c in (dense, codes))
    if not (np.array_equal(first, other) or np.array_equal(first, -other)):
        return False  # as of nearly all variables: no need to sort
    other = np.unique(codes, return_inverse=True)[1]
    return np.array_equal(dense, other) or np.array_equal(dense, other.max(initial=0) - other)


def _polynomials(codes: np.ndarray) -> np.ndarray:
    """(n,) codes -> (2, n) the first two Legendre polynomials of the mid-ranks."""
    size = np.bincount(codes)
    u = marginals.standard_midranks((np.cumsum(size > 0) - 1)[codes])
    return np.stack([u, u**2 - 1])
