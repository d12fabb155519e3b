"""I(X; Y | C) of all pairs of a tile: conditional ranks, then the same denoisers.

With U_x and U_y the conditional ranks (see `conditional_ranks`), each coordinate independent of C,

    I(X; Y | C) = I(U_x; (U_y, C)) - I(U_x; C),

whatever the pair; the last term is 0 for a scalar. Scalar pairs are first an ordinary pair
(U_x, U_y), at its cost, which is all there is unless the way in which they depend changes with C. A test
of that sends the pairs where it does to strata of C (see `strata`), or where these would be too coarse to the networks,
which are given C as well: both denoisers know C, the unconditional one by the ranks. Where X, Y and C all have few values (spikes in bins and the bins before
them), ranks broken at random would hide the little there is, and tables in the strata of C say it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import chi2

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.denoisers import Tier, denoiser
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoothers, conditional_ranks
from mmg_ray.estimator.conditional.strata import NAME as STRATA
from mmg_ray.estimator.conditional.strata import InStrata, estimate_in_strata, strata_of
from mmg_ray.estimator.dependence import contingency
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.estimator.pairs.directions import stack
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.ranked_variable import RankCache
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Labels, PairEstimates, Status, Stop, Variable

_MOST_BYTES = 2**28  # of conditional ranks that are kept from tile to tile
_CHANGES = 1e-3  # p-value from which the dependence of a pair changes with the condition


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
    other = np.unique(codes, return_inverse=True)[1]
    return np.array_equal(dense, other) or np.array_equal(dense, other.max(initial=0) - other)


def _polynomials(codes: np.ndarray) -> np.ndarray:
    """(n,) codes -> (2, n) the first two Legendre polynomials of the mid-ranks."""
    size = np.bincount(codes)
    u = marginals.standard_midranks((np.cumsum(size > 0) - 1)[codes])
    return np.stack([u, u**2 - 1])


def estimate_given(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    given: Conditioner | None,
    cfg: EstimatorConfig,
    device: str = "cpu",
    identity: np.ndarray | None = None,
    model: Evidence | None = None,
) -> PairEstimates:
    """As `estimate_tile`, which it is if nothing is given, of I(X; Y | C).

    P-value and Spearman's rho are of the conditional ranks. There is no posterior given C.
    """
    if given is None:
        return estimate_tile(variables, pairs, cfg, device, identity, model)
    if identity is not None:
        identity = identity[given.present]
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    given.make_room(variables.values())
    left = {index: given(v) for index, v in variables.items()}
    scalar = np.array([left[i].dim == left[j].dim == 1 for i, j in pairs.tolist()], dtype=bool)
    chosen = denoiser(cfg.denoiser)
    # closed forms of scalars do not take a condition beside the ranks
    if given.says_nothing or not chosen.vectors:
        return estimate_tile(left, pairs, cfg, device, identity)
    # groups: here for what can be refused, all else is overwritten
    quick = replace(cfg, denoiser="gaussian")
    order = np.argsort(~scalar, kind="stable")
    found = PairEstimates.concatenate(
        [
            estimate_tile(left, pairs[scalar], cfg, device, identity),
            estimate_tile(left, pairs[~scalar], quick, device, identity),
        ]
    ).take(np.argsort(order))
    rows = np.flatnonzero(found.ok)
    if cfg.denoiser == "auto":
        found, tabled = _tabulate(found, variables, pairs, given, cfg)
        rows = rows[~tabled[rows]]
        of_scalars = rows[scalar[rows]]
        worth = 1 / _wider(found)[of_scalars] ** 2
        same = given.changes(left, pairs[of_scalars], worth) >= _CHANGES
        rows = np.setdiff1d(rows, of_scalars[same])
        strata = strata_of(given.condition, cfg.min_samples)
        if strata is not None and not same.all():
            changing = of_scalars[~same]
            made = estimate_in_strata(left, pairs[changing], strata, cfg, device, identity)
            found = _put(found, changing, made, chosen.last)
            rows = np.setdiff1d(rows, changing)
    return _knowing(found, rows, left, pairs, given, cfg, device)


def estimate_labels(
    variables: Mapping[int, Variable],
    pair: tuple[int, int],
    given: Conditioner,
    cfg: EstimatorConfig,
) -> PairEstimates | None:
    """I(X; Y | C) where codes of X, Y or both have no order; None where their table would not be small.

    Neither estimate nor p-value depends on the order of the codes; there is no Spearman correlation.
    """
    tables = (
        cfg.denoiser == "auto" and cfg.nulls.kind == "permutation" and cfg.nulls.max_permutations
    )
    if not tables or given.in_strata(*(variables[index] for index in pair)) is None:
        return None
    pairs = np.array([pair])
    found = estimate_tile(
        {index: given(v) for index, v in variables.items()}, pairs, replace(cfg, denoiser="screen")
    )
    found, _ = _tabulate(found, variables, pairs, given, cfg)
    return replace(found, spearman=np.full(1, np.nan))


def _tabulate(
    found: PairEstimates,
    variables: Mapping[int, Variable],
    pairs: np.ndarray,
    given: Conditioner,
    cfg: EstimatorConfig,
) -> tuple[PairEstimates, np.ndarray]:
    """Estimates of pairs of few values in the strata of C, in place of those by ranks; (P,) which."""
    tabled = np.zeros(len(pairs), dtype=bool)
    names = ("mi_nats", "mi_ij", "mi_ji", "gap", "orthogonal")
    numbers = {name: getattr(found, name).copy() for name in (*names, "se_nats", "p_value")}
    for row in np.flatnonzero(found.ok).tolist():
        i, j = pairs[row].tolist()
        columns = given.in_strata(variables[i], variables[j])
        if columns is None:
            continue
        tabled[row] = True
        mi, numbers["se_nats"][row] = contingency.mutual_information(*columns)
        for name in names:
            numbers[name][row] = mi
        numbers["mi_nats"][row] = max(mi, 0.0)
        # that of a series stays, whose samples are not independent
        if cfg.nulls.kind == "permutation" and cfg.nulls.max_permutations:
            both = sorted((variables[i].name, variables[j].name))
            numbers["p_value"][row] = contingency.association(
                *columns, cfg.nulls.max_permutations, numpy_stream(cfg.seed, "strata", *both)
            )
    numbers["se_nats"][tabled] *= _wider(found)[tabled]
    rows = np.flatnonzero(tabled)
    return _made(found, rows, contingency.NAME, denoiser(cfg.denoiser).last, numbers), tabled


def _put(found: PairEstimates, rows: np.ndarray, made: InStrata, last: Stop) -> PairEstimates:
    """The estimates with those in strata where they are more: a coarse stratum hides dependence, and makes none."""
    more = np.flatnonzero(made.mi_nats > found.mi_nats[rows])
    at = rows[more]
    numbers = {name: getattr(found, name).copy() for name in InStrata._fields}
    for name, values in made._asdict().items():
        numbers[name][at] = values[more]
    numbers["se_nats"][at] *= _wider(found)[at]
    return _made(found, at, STRATA, last, numbers)


def _made(
    found: PairEstimates, rows: np.ndarray, by: str, stop: Stop, numbers: Mapping[str, Any]
) -> PairEstimates:
    """The estimates with these numbers (P,), of which some rows were made anew."""
    made_by = [found.denoiser[k] for k in range(len(found))]
    stops = [found.stop[k] for k in range(len(found))]
    for row in rows.tolist():
        made_by[row], stops[row] = by, stop
    return replace(found, denoiser=Labels.of(made_by), stop=Labels.of(stops), **numbers)


def _wider(found: PairEstimates) -> np.ndarray:
    """(P,) by how much standard errors grow where samples are fewer than they seem, in a series."""
    n = found.n_samples
    return np.sqrt(n / np.where(np.isnan(found.n_effective), n, found.n_effective))


def _knowing(
    found: PairEstimates,
    rows: np.ndarray,
    left: Mapping[int, Variable],
    pairs: np.ndarray,
    given: Conditioner,
    cfg: EstimatorConfig,
    device: str,
) -> PairEstimates:
    """Some pairs again with C as an input of their denoiser, either way round.

    What a scalar pair had from its ranks stands unless this is more: estimates are low where a fit
    falls short, seldom high.
    """
    numbers = {name: getattr(found, name).copy() for name in (*_Known._fields, "mi_ij", "mi_ji")}
    anew: list[int] = []
    chosen = denoiser(cfg.denoiser)
    # conditional ranks are in no levels
    tier = next(t for t in chosen.vectors if t.estimate is not None)
    wider = _wider(found)
    for row in rows.tolist():
        a, b = (left[index] for index in pairs[row].tolist())
        ji, ij = (_direction(*ab, given, tier, cfg, device) for ab in ((a, b), (b, a)))
        best = max(ij, ji, key=lambda e: e.mi_nats)
        scalar = a.dim == b.dim == 1
        if scalar and not best.mi_nats > numbers["mi_nats"][row]:
            continue
        if scalar:
            most = np.log(found.n_samples[row])
            best, ij, ji = (e._replace(mi_nats=min(e.mi_nats, most)) for e in (best, ij, ji))
        for name, value in best._asdict().items():
            numbers[name][row] = value
        numbers["se_nats"][row] *= wider[row]
        numbers["mi_ij"][row], numbers["mi_ji"][row] = ij.mi_nats, ji.mi_nats
        numbers["mi_nats"][row] = max(best.mi_nats, 0.0)
        anew.append(row)
    return _made(found, np.array(anew, dtype=np.int64), tier.name, chosen.last, numbers)


class _Known(NamedTuple):
    """One direction of one pair; names as in `PairEstimate`."""

    mi_nats: float
    se_nats: float
    gap: float
    orthogonal: float
    ess: float


def _direction(
    target: Variable,
    source: Variable,
    given: Conditioner,
    tier: Tier,
    cfg: EstimatorConfig,
    device: str,
) -> _Known:
    """I(U_x; (U_y, C)) - I(U_x; C), the target denoised."""
    assert tier.estimate is not None
    rows = (np.concatenate([target.codes, source.codes], axis=1) != marginals.MISSING).all(axis=1)
    sides = RankCache(cfg.seed)
    known = given.with_condition(source)
    both, condition = (
        tier.estimate(stack([sides.of(target, rows)], [sides.of(v, rows)], device), cfg)
        for v in (known, given.alone())
    )
    n = torch.tensor([int(rows.sum())], device=both.mi.device)
    # both have the noise of the target's samples in common, and the second is nearly 0
    se = both._replace(influence=both.influence - condition.influence).standard_error(n)
    return _Known(
        mi_nats=float(both.mi - condition.mi),
        se_nats=float(se),
        gap=float(both.direct - condition.direct),
        orthogonal=float(both.orthogonal - condition.orthogonal),
        ess=float(both.ess),
    )
