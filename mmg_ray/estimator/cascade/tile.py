"""Estimate all pairs of a tile in a few stacked batches; a bad pair becomes a status, never an error.

sort the pairs -> test them -> tier after tier, each on the pairs that its gate lets in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade import tests
from mmg_ray.estimator.cascade.columns import Columns
from mmg_ray.estimator.cascade.denoisers import denoiser
from mmg_ray.estimator.cascade.steps import Steps
from mmg_ray.estimator.cascade.tile_pairs import TilePairs
from mmg_ray.estimator.dependence.evidence import Evidence, Moments
from mmg_ray.schema import PairEstimates, Status, Stop, Variable


def estimate_tile(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    cfg: EstimatorConfig,
    device: str = "cpu",
    identity: np.ndarray | None = None,
    model: Evidence | None = None,
    n_effective: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> PairEstimates:
    """MI of each of the (P, 2) pairs (i, j), in the order given; never raises for what one contains.

    Pairs whose variables have a status other than ok, too few complete samples, or one value left
    among the complete samples, get that status. The rest goes through the tiers of `cfg.denoiser`.
    `identity` (N,) uint64 says which samples these are, by default their rows, see `RankCache`. Given a
    `model` of the whole matrix, scalar pairs get a posterior, but those of series. `n_effective` (P,) are the
    independent samples of pairs of series that another test is for; their p-values mean nothing. With `strata` (N,) 0,
    1, ... of the samples it is dependence within strata that is tested and estimated.
    """
    chosen = denoiser(cfg.denoiser)
    rows = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    columns = Columns(len(rows), cfg.denoiser, model is not None and takes_evidence(cfg))
    series = cfg.nulls.kind != "permutation" or n_effective is not None
    tile = TilePairs(variables, rows, cfg, identity, series, strata)
    scalars, vectors = tile.sort(columns)
    of_many_values = np.ones(len(scalars), dtype=bool)
    for tier in chosen.scalars:
        if tier.only is not None:
            of_many_values &= ~tier.only(*tile.n_values(scalars), columns.n_samples[scalars])
    fine = sees_fine_structure(cfg)
    tests.test_scalars(tile, scalars, of_many_values, columns, fine, device)
    if n_effective is None:
        tests.test_by_shifts(tile, scalars, vectors, columns, cfg)
    else:
        tests.take_memory(scalars, n_effective[scalars], columns)
    # the screen takes every sample as an independent one
    columns.numbers["se_nats"][scalars] /= np.sqrt(columns.worth(scalars))
    steps = Steps(tile, columns, cfg, device)
    screened = columns.numbers["mi_nats"][scalars], columns.numbers["se_nats"][scalars]
    steps.run(scalars, chosen.scalars, chosen.last)
    # a tier that was asked for by name stands as it is
    if not chosen.scalars or any(t.enters for t in chosen.scalars):
        steps.keep_detected(scalars, *screened)
        steps.raise_to_codetected(scalars)
    if chosen.vectors:
        # networks take seconds to find nothing; without a p-value no pair is held back
        held = columns.numbers["p_value"][vectors] > cfg.cascade.p_value
        held &= len(chosen.independent) > 0
        steps.run(vectors[held], chosen.independent, Stop.NOT_SIGNIFICANT)
        steps.run(vectors[~held], chosen.vectors, chosen.last)
    else:
        for row in vectors.tolist():
            columns.refuse(row, Status.UNSUPPORTED, f"{cfg.denoiser} takes pairs of scalars")
    if model is not None and columns.moments is not None:
        columns.put_posterior(model)
    return columns.estimates()


def sees_fine_structure(cfg: EstimatorConfig) -> bool:
    """Whether bins of ranks and nearest neighbours look at pairs."""
    tiers = denoiser(cfg.denoiser).scalars
    return cfg.cascade.fine_structure and any(tier.enters or tier.refined for tier in tiers)


def takes_evidence(cfg: EstimatorConfig) -> bool:
    """Whether pairs may have a posterior: moments of series are of unknown scatter."""
    return cfg.nulls.kind == "permutation"


def pilot(
    variables: Mapping[int, Variable],
    pairs: np.ndarray,
    cfg: EstimatorConfig,
    strata: np.ndarray | None = None,
) -> Moments:
    """Moments of the scalar pairs among (P, 2) that have a p-value: what `evidence.learn` takes."""
    columns = Columns(len(pairs), "screen", with_moments=True)
    tile = TilePairs(variables, pairs, cfg, None, strata=strata)
    scalars, _ = tile.sort(columns)
    none = np.zeros(len(scalars), dtype=bool)
    tests.test_scalars(tile, scalars, none, columns, fine_structure=False, device="cpu")
    assert columns.moments is not None
    return columns.moments.take(np.flatnonzero(np.isfinite(columns.moments.reduced)))
