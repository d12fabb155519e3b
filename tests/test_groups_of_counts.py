"""Groups of counts: the level posterior against integrals, the tilted denoiser against known MI and against nulls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate as numerical
from scipy.special import gammaln
from scipy.stats import binom, norm
from scipy.stats import poisson as poisson_law

import mmg_ray
from mmg_ray.config import EstimatorConfig, NetworkConfig, NullConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.ranked_variable import RankCache
from mmg_ray.estimator.tiers.neural import level_posterior, tilted
from mmg_ray.known_mi.integrate import table_mi
from mmg_ray.known_mi.populations import (
    Population,
    loaded,
    negative_binomial,
    poisson,
    population_suite,
    refractory,
    tuned,
    with_normal,
    zero_inflated,
)
from mmg_ray.schema import Status, Stop, Variable


def one(n_cells: int, size: float) -> np.ndarray:
    return np.full((1, n_cells), size)


FOUR = Population("4 + 4", poisson(loaded(1, one(4, 0.6))), poisson(loaded(1, one(4, 0.6))))
APART = Population(
    "apart", poisson(loaded(0.5, one(5, 0.6))), poisson(loaded(0.5, one(5, 0.6))), shared=False
)


def group(name: str, values: np.ndarray) -> Variable:
    return Variable(name, np.stack([ordinal_codes(v) for v in values.T], axis=1))


def coordinates(values: np.ndarray) -> level_posterior.Coordinates:
    return level_posterior.coordinates(RankCache(0).of(group("x", values)), "cpu")


# --- laws


def test_a_law_of_single_cells_is_that_of_their_table():
    law = Population("1 + 1", poisson(loaded(1, one(1, 0.7))), poisson(loaded(2, one(1, 0.5))))
    counts = np.arange(60)[:, None].astype(float)
    s, weights = np.polynomial.hermite_e.hermegauss(80)
    of_x, of_y = (np.exp(side.log_mass(counts, s[:, None])) for side in (law.x, law.y))
    table = (of_x * weights / weights.sum()) @ of_y.T
    mi, se = law.mi_nats()
    assert abs(mi - table_mi(table)) < 3 * se < 0.003


@pytest.mark.parametrize(
    "cells",
    [
        poisson(loaded(1, one(1, 0.5))),
        zero_inflated(loaded(2, one(1, 0.5)), 0.3),
        negative_binomial(loaded(2, one(1, 0.5)), 1.5),
        refractory(loaded(1, one(1, 0.5)), 3),
        poisson(tuned(3, np.zeros(1), 0.7)),
    ],
    ids=["poisson", "zero_inflated", "negative_binomial", "refractory", "tuned"],
)
def test_masses_are_those_of_the_samples(cells):
    s = np.array([[0.8]])
    drawn = cells.draw(np.random.default_rng(0), np.repeat(s, 40_000, axis=0))[:, 0]
    most = int(drawn.max())
    support = np.arange(4 if most <= 3 else 200)[:, None].astype(float)
    mass = np.exp(cells.log_mass(support, s))[:, 0]
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    share = np.bincount(drawn.astype(int), minlength=len(mass))[: most + 1] / len(drawn)
    assert np.abs(share - mass[: most + 1]).max() < 5 * np.sqrt(0.25 / len(drawn))


def test_continuous_coordinates_have_their_density():
    cells = with_normal(poisson(loaded(1, one(1, 0.5))), np.array([[0.7]]))
    x = cells.draw(np.random.default_rng(1), np.zeros((50, 1)))
    expected = norm.logpdf(x[:, 1]) + 0.5 * np.log(2 * np.pi) - 1 - gammaln(x[:, 0] + 1)
    rate = np.exp(-0.125)  # at s = 0
    expected += 1 - rate + x[:, 0] * np.log(rate)
    assert np.allclose(cells.log_mass(x, np.zeros((1, 1)))[:, 0], expected)


# --- the level posterior


def test_statistics_are_orthonormal_in_their_own_law():
    rng = np.random.default_rng(2)
    of = coordinates(np.stack([rng.poisson(m, 3000) for m in (0.1, 1, 6)] + [rng.random(3000)], 1))
    for d in range(4):
        features = of.features.reshape(3000, 4, -1)[:, d].double()
        used = features.square().sum(0) > 0
        square = (features.T @ features / 3000)[used][:, used]
        assert torch.allclose(square, torch.eye(int(used.sum())).double(), atol=1e-5)
        assert features.mean(0).abs().max() < 1e-5
        assert int(of.level[:, d].bincount().min()) >= 20
    assert of.cuts.shape[1] <= level_posterior.MOST_LEVELS + 1


def test_predictions_are_those_of_numerical_integration():
    one = coordinates(np.random.default_rng(3).poisson(1, (2000, 1)))
    few = coordinates(np.random.default_rng(3).integers(0, 2, (2000, 1)))
    # beside a group of fewer levels, which makes no difference
    of = level_posterior.stacked([few, one])
    u, eps = torch.tensor([[1.5], [1.5]]), torch.tensor([[[0.3]], [[0.3]]])
    p = level_posterior.noised(of, torch.tensor([[5], [5]]), u, eps)
    alpha, sigma = np.sqrt(-np.expm1(-1.5)), np.exp(-0.75)
    z = alpha * float(one.t[5, 0]) + sigma * 0.3
    theta = torch.tensor([[[0.7, -0.4]]]).expand(2, 1, 2)
    tilt = level_posterior.log_odds(of, theta).exp()[1, 0, 0].numpy()
    cuts = np.clip(one.cuts[0].numpy(), -9, 9)

    def moment(power: int) -> float:
        total = 0.0
        for k, weight in enumerate(tilt):
            total += (
                weight
                * numerical.quad(
                    lambda t: t**power * norm.pdf(t) * norm.pdf((z - alpha * t) / sigma),
                    cuts[k],
                    cuts[k + 1],
                    epsabs=1e-12,
                )[0]
            )
        return total

    expected = (
        alpha * z - moment(1) / moment(0)
    ) / sigma  # E[w | z] = (alpha z - E[t | z]) / sigma
    assert float(level_posterior.predicted(of, p, theta)[1]) == pytest.approx(expected, abs=1e-4)
    nothing = level_posterior.predicted(of, p, torch.zeros(2, 1, 2))
    assert float(nothing.abs().max()) < 1e-5


def test_the_true_odds_have_the_least_loss():
    rng = np.random.default_rng(4)
    of = level_posterior.stacked([coordinates(rng.poisson(1, (4000, 1)))])
    index = torch.arange(4000)[None]
    u, eps = torch.full((1, 4000), 1.0), torch.from_numpy(rng.standard_normal((1, 4000, 1))).float()
    p = level_posterior.noised(of, index, u, eps)
    losses = [
        float(level_posterior.log_loss(of, p, of.level, torch.full((1, 4000, 2), a)).mean())
        for a in (-0.3, 0.0, 0.3)
    ]
    assert losses[1] == min(losses)


# --- the estimate


def estimated(law: Population, n: int, seed: int) -> mmg_ray.PairEstimate:
    x, y = law.sample(np.random.default_rng(seed), n)
    return mmg_ray.estimate_mi(x, y, seed=seed)


def test_populations_are_estimated_to_their_error():
    truth = float(FOUR.pointwise(40_000).mean())
    found = estimated(FOUR, 1500, 11)
    assert found.denoiser == tilted.NAME
    # the Gaussian part of random ranks, and every constant, is further off
    assert abs(found.mi_nats - truth) < 0.04 < truth / 4
    assert 0.01 < found.se_nats < 0.05


def test_tuned_cells_depend_though_their_ranks_do_not_rise_together():
    centres = np.array([-1.0, -0.5, 0.5, 1.0])
    law = Population(
        "tuned", poisson(tuned(1.5, centres, 0.7)), poisson(tuned(1.5, centres[::-1], 0.7))
    )
    x, y = law.sample(np.random.default_rng(13), 1500)
    of_samples = float(law.log_ratio(x, y).mean())
    found = mmg_ray.estimate_mi(x, y)
    assert abs(found.mi_nats - of_samples) < 0.15 * of_samples


def test_networks_look_at_what_a_test_sees():
    rng = np.random.default_rng(9)
    x, y = rng.poisson(1, (2, 500, 3)).astype(float)
    found = mmg_ray.estimate_mi(x, y)
    assert found.p_value > 0.1
    assert (found.denoiser, found.stop) == ("gaussian", Stop.NOT_SIGNIFICANT)
    assert 0 <= found.mi_nats < 0.01
    quick = NetworkConfig(n_steps=30)
    forced = mmg_ray.estimate_mi(x, y, config=EstimatorConfig("neural", network=quick))
    assert forced.denoiser in ("tilted", "neural")
    without = EstimatorConfig(nulls=NullConfig(max_permutations=0), network=quick)
    assert mmg_ray.estimate_mi(x, y, config=without).denoiser in ("tilted", "neural")
    found = mmg_ray.estimate_mi(x, x + y, config=EstimatorConfig(network=quick))
    assert found.denoiser in ("tilted", "neural")


def test_networks_read_nothing_of_independent_populations():
    x, y = APART.sample(np.random.default_rng(20), 1000)
    found = mmg_ray.estimate_mi(x, y, config=EstimatorConfig("neural", seed=20))
    assert found.denoiser in ("tilted", "neural")
    assert found.mi_nats < 0.005
    assert 0.002 < found.se_nats < 0.05


def test_an_estimate_depends_on_its_pair_alone(monkeypatch):
    monkeypatch.setattr(tilted, "_STEPS", 40)
    x, y = FOUR.sample(np.random.default_rng(5), 400)
    z = np.random.default_rng(6).poisson(1, (400, 3)).astype(float)
    variables = {k: group(name, v) for k, (name, v) in enumerate((("x", x), ("y", y), ("z", z)))}
    cfg = EstimatorConfig(network=NetworkConfig(n_steps=60))
    (alone,) = estimate_tile(variables, [(0, 1)], cfg)
    among = estimate_tile(variables, [(2, 0), (0, 1)], cfg)[1]
    turned = estimate_tile(variables, [(1, 0)], cfg)[0]
    assert (alone.mi_nats, alone.se_nats) == (among.mi_nats, among.se_nats)
    assert (alone.mi_nats, alone.mi_ij) == (turned.mi_nats, turned.mi_ji)


def test_groups_of_continuous_coordinates_stay_with_the_networks():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((300, 3))
    found = mmg_ray.estimate_mi(x, x[:, :2] + rng.standard_normal((300, 2)))
    assert found.denoiser == "neural"


def test_counts_beside_labels_of_few_values_and_missing_ones():
    rng = np.random.default_rng(8)
    label = rng.integers(0, 2, 600)
    counts = rng.poisson(np.where(label, 3, 1)[:, None], (600, 3)).astype(float)
    counts[::7, 1] = np.nan
    found = mmg_ray.estimate_mi(counts, label[:, None].astype(float))
    assert found.status is Status.OK
    assert found.n_samples == 600 - len(range(0, 600, 7))
    assert 0.3 < found.mi_nats < np.log(2) + 0.05


def test_counts_that_nearly_copy_others_go_on_to_the_networks(monkeypatch):
    monkeypatch.setattr(tilted, "_STEPS", 40)
    rng = np.random.default_rng(10)
    x = rng.poisson(3, (800, 2))
    k = np.arange(30)
    table = poisson_law.pmf(k, 3)[:, None] * binom.pmf(k, k[:, None], 0.9)
    found = mmg_ray.estimate_mi(x.astype(float), rng.binomial(x, 0.9).astype(float))
    truth = 2 * table_mi(table / table.sum())
    assert found.denoiser == "neural"
    assert abs(found.mi_nats - truth) < max(0.15 * truth, 1.96 * found.se_nats)


def test_networks_take_so_many_samples_and_say_so(monkeypatch):
    from mmg_ray.estimator.cascade import denoisers

    monkeypatch.setattr(tilted, "_STEPS", 40)
    few = denoisers.TILTED._replace(most_samples=500)
    auto = denoisers.DENOISERS["auto"]._replace(vectors=(few, denoisers.NEURAL))
    monkeypatch.setitem(denoisers.DENOISERS, "auto", auto)
    found = estimated(FOUR, 800, 14)
    assert "from 500 of the 800 samples" in found.message
    assert found.n_samples == 800


def test_the_suite_has_laws_of_many_kinds():
    laws = population_suite()
    assert len({law.name for law in laws}) == len(laws) == 14
    assert sum(not law.shared for law in laws) == 2
    for law in laws:
        x, y = law.sample(np.random.default_rng(9), 30)
        assert np.isfinite(law.log_ratio(x, y)).all()
