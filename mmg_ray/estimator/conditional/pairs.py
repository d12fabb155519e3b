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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.denoisers import Tier, denoiser
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.conditional.strata import NAME as STRATA
from mmg_ray.estimator.conditional.strata import InStrata, estimate_in_strata, strata_of_condition
from mmg_ray.estimator.dependence import contingency
from mmg_ray.estimator.dependence.association import association
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.estimator.pairs.directions import stack
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.ranked_variable import RankCache
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Labels, PairEstimates, Stop, Variable

_CHANGES = 1e-3  # p-value from which the dependence of a pair changes with the condition


def estimate_given(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    given: Conditioner | None,
    cfg: EstimatorConfig,
    device: str = "cpu",
    identity: np.ndarray | None = None,
    model: Evidence | None = None,
    strata: np.ndarray | None = None,
) -> PairEstimates:
    """As `estimate_tile`, which it is if nothing is given, of I(X; Y | C); strata and a condition exclude each other.

    P-value and Spearman's rho are of the conditional ranks. There is no posterior given C.
    """
    if given is None:
        return estimate_tile(variables, pairs, cfg, device, identity, model, strata=strata)
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
        strata = strata_of_condition(given.condition, cfg.min_samples)
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
            numbers["p_value"][row] = association(
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
