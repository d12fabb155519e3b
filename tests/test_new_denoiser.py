"""A denoiser from outside: one file, which is this one, and one entry, and the whole package knows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mmg_ray
from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.cascade.denoisers import DENOISERS, Denoiser, Tier
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.pairs.directions import Directions
from mmg_ray.estimator.pairs.estimates import BothWays, Estimates, Found
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.schema import Cost, Status, Stop, Variable

N = 800


def from_samples(batch: Directions, _cfg: EstimatorConfig) -> Estimates:
    """The Wiener denoiser of the first coordinates: MI of a normal pair of their correlation."""
    x, y, n = batch.x[..., 0], batch.y[..., 0], batch.n
    rho = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    mi = -0.5 * torch.log1p(-rho.square())
    nothing, ones = torch.zeros_like(mi), torch.ones_like(mi)
    influence = mi[:, None] * batch.mask() + (x * y - rho[:, None])
    return Estimates(mi, mi, mi, influence, ess=ones, fit_error=1 / n + nothing)


def from_tables(counts: np.ndarray, worth: np.ndarray) -> BothWays:
    """The MI of a table of quarters of the ranks, with the bias of Miller (1955) taken off."""
    table = counts.sum(axis=1).astype(float)
    n = table.sum(axis=(1, 2))
    quarters = []
    for of in table / n[:, None, None]:
        for axis in (0, 1):
            margin = of.sum(axis=1 - axis)
            quarter = np.minimum((4 * (np.cumsum(margin) - margin / 2)).astype(int), 3)
            merge = (np.arange(4)[:, None] == quarter).astype(float)
            of = merge @ of if axis == 0 else of @ merge.T
        quarters.append(of)
    p = np.stack(quarters)
    expected = p.sum(axis=2, keepdims=True) * p.sum(axis=1, keepdims=True)
    mi = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / expected), 0).sum((1, 2))
    n = n * worth
    mi -= 9 / (2 * n)
    found = Found(mi, np.sqrt(np.maximum(mi, 1 / n) / n), mi, mi, np.ones_like(mi))
    return BothWays(found, found)


def cost(n: int, _dim_x: int, _dim_y: int, _cfg: EstimatorConfig) -> Cost:
    return Cost(flops=10.0 * n, peak_bytes=16.0 * n)


TOYS = {
    "toy-wiener": Denoiser(
        scalars=(Tier("toy-wiener", from_samples),),
        vectors=(Tier("toy-wiener", from_samples),),
        last=Stop.FORCED,
        cost=cost,
        tile_variables=8,
    ),
    "toy-quarters": Denoiser(
        scalars=(Tier("toy-quarters", from_tables=from_tables),),
        vectors=(),
        last=Stop.FORCED,
        cost=cost,
        tile_variables=8,
    ),
}


@pytest.fixture(params=TOYS)
def toy(request, monkeypatch):
    monkeypatch.setitem(DENOISERS, request.param, TOYS[request.param])
    return request.param


@pytest.fixture(scope="module")
def values():
    """(800, 4): a pair of .35 nats, one that knows of neither, one with holes and ties."""
    x, e, f, g = np.random.default_rng(0).standard_normal((4, N))
    holed = np.where(np.abs(g) > 1.5, np.nan, np.round(x + f, 1))
    return np.stack([x, x + e, f, holed], axis=1)


def test_it_runs_through_a_matrix(toy, values):
    matrix = mmg_ray.mi_matrix(values, list("abcd"), denoiser=toy)
    rows = dict(matrix.estimates.items())
    assert {row.denoiser for row in rows.values()} == {toy}
    assert {row.stop for row in rows.values()} == {Stop.FORCED}
    exact = 0.5 * np.log(2)
    assert rows[0, 1].mi_nats == pytest.approx(exact, abs=0.07)
    assert 0 < rows[0, 1].se_nats < 0.05
    assert rows[0, 1].p_value < 1e-20  # the screen's
    assert rows[0, 2].mi_nats < 0.01
    assert rows[0, 3].n_samples == np.isfinite(values[:, 3]).sum()
    assert 0.15 < rows[0, 3].mi_nats < 0.4


def test_it_is_one_of_all_in_a_tile(toy, values):
    variables = {
        k: Variable(f"v{k}", ordinal_codes(column)[:, None])
        for k, column in enumerate(values.T[:3])
    }
    cfg = EstimatorConfig(denoiser=toy)
    pairs = [(0, 1), (0, 2), (1, 2)]
    together = estimate_tile(variables, pairs, cfg)
    for pair, row in zip(pairs, together, strict=True):
        (alone,) = estimate_tile(variables, [pair], cfg)
        assert alone.mi_nats == pytest.approx(row.mi_nats, abs=1e-12)


def test_conditions_and_groups_are_taken_or_refused_by_name(toy, values):
    x, y, z = values.T[:3]
    given = mmg_ray.estimate_mi(x, y, condition=z, denoiser=toy)
    assert given.mi_nats == pytest.approx(0.5 * np.log(2), abs=0.08)
    group = mmg_ray.estimate_mi(values[:, [0, 2]], y, denoiser=toy)
    if TOYS[toy].vectors:
        assert group.mi_nats == pytest.approx(0.5 * np.log(2), abs=0.07)
    else:
        assert group.status is Status.UNSUPPORTED
        assert group.message.startswith(f"{toy} takes pairs of scalars")


def test_without_an_entry_its_name_is_unknown(values):
    with pytest.raises(ConfigError, match="'toy-wiener'; known denoisers: auto, "):
        mmg_ray.estimate_mi(values[:, 0], values[:, 1], denoiser="toy-wiener")
