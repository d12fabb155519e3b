"""What a matrix says of its pairs: the mixture is found again, posteriors are what Bayes says, null data say nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

import mmg_ray
from mmg_ray.estimator.cascade.tile import pilot
from mmg_ray.estimator.dependence import evidence
from mmg_ray.estimator.dependence.evidence import FIXED, SHAPES, STRENGTHS, Evidence, Moments
from mmg_ray.estimator.dependence.screen import USED_ORDERS
from mmg_ray.execute import pilot as pilots
from mmg_ray.plan.pairs import all_pairs, listed, source_pairs


def drawn(of: dict[tuple[str, float], int], n: int, seed: int = 0) -> tuple[Moments, np.ndarray]:
    """Moments of so many pairs of each shape and strength, 0 being independence; and (P,) which depend."""
    rng = np.random.default_rng(seed)
    squares, truth = [], []
    for (shape, strength), count in of.items():
        variance = strength * SHAPES[shape] + 1 / (n - 1)
        squares.append(variance * rng.chisquare(1, (count, len(variance))))
        truth += [strength > 0] * count
    whole = np.concatenate(squares)
    orders = np.full((len(whole), 2), 14)
    return Moments(whole, orders, np.full(len(whole), n), np.ones(len(whole))), np.array(truth)


def test_the_weights_of_a_mixture_are_found_again():
    moments, _ = drawn({("linear", 0.0): 3000, ("linear", 0.15): 600, ("quadratic", 0.3): 400}, 200)
    found = evidence.learn(moments)
    of_shape = {s: sum(w for (t, _), w in found.weights.items() if s == t) for s in SHAPES}
    assert found.n_pairs == 4000
    assert found.independent == pytest.approx(0.75, abs=0.03)
    assert of_shape["linear"] + of_shape["monotone"] == pytest.approx(0.15, abs=0.03)
    assert of_shape["quadratic"] == pytest.approx(0.1, abs=0.02)


def test_a_posterior_is_what_bayes_says():
    weights = {("linear", 4): 0.2, ("wave", 7): 0.1}
    moments, _ = drawn({("linear", 0.0): 3, ("linear", 0.04): 3, ("wave", 0.3): 3}, 100)
    moments.n_orders[::2] = [2, 14]  # a variable of three values
    there = (USED_ORDERS[:, 0] < 2) | ~(np.arange(9) % 2 == 0)[:, None]
    moments = moments._replace(squares=moments.squares * there)
    found = evidence.posterior(Evidence(0.7, weights, 1), moments, np.zeros(9), np.full(9, np.inf))
    for p, of in enumerate(there):
        s, noise = np.sqrt(moments.squares[p, of]), 1 / 99
        density = [0.7 * stats.norm.pdf(s, 0, np.sqrt(noise)).prod()]
        mean = [0.0]
        for (shape, k), weight in weights.items():
            prior = STRENGTHS[k] * SHAPES[shape][of]
            density.append(weight * stats.norm.pdf(s, 0, np.sqrt(noise + prior)).prod())
            left = prior / (prior + noise)
            mean.append(0.5 * np.log1p((np.square(left * s) + left * noise).sum()))
        share = np.array(density) / sum(density)
        assert found.p_dependent[p] == pytest.approx(1 - share[0], rel=1e-9)
        assert found.mi[p] == pytest.approx(share @ mean, rel=1e-9)


def test_the_local_false_discovery_rate_is_one():
    of = {("linear", 0.0): 8000, ("monotone", 0.04): 1500, ("bent", 0.15): 500}
    model = evidence.learn(drawn(of, 100)[0])
    moments, truth = drawn(of, 100, seed=1)
    p = evidence.posterior(
        model, moments, np.zeros(len(truth)), np.full(len(truth), np.inf)
    ).p_dependent
    for low in np.arange(0, 1, 0.2):
        inside = (p >= low) & (p <= low + 0.2)
        assert truth[inside].mean() == pytest.approx(p[inside].mean(), abs=0.06)


def test_what_is_plainly_above_the_moments_counts():
    moments, _ = drawn({("linear", 0.0): 2}, 1000)
    found = evidence.posterior(FIXED, moments, np.array([0.5, 0.5]), np.array([0.01, 0.3]))
    assert found.mi == pytest.approx([0.5, 0.0], abs=0.02)


def test_fewer_pairs_than_say_anything_have_fixed_weights():
    assert evidence.learn(drawn({("linear", 0.3): 299}, 100)[0]) is FIXED
    assert sum(FIXED.weights.values()) + FIXED.independent == pytest.approx(1)


def test_json_holds_it_to_the_bit():
    learned = evidence.learn(drawn({("linear", 0.0): 500, ("bent", 0.3): 200}, 100)[0])
    for model in (learned, FIXED):
        assert Evidence.from_json(json.loads(json.dumps(model.to_json(), sort_keys=True))) == model


def network(n: int, seed: int) -> np.ndarray:
    """(n, 60): ten drivers of four others each, along bent lines, and ten that stand alone."""
    rng = np.random.default_rng(seed)
    drivers, alone = rng.standard_normal((2, n, 10))
    targets = np.repeat(np.tanh(drivers), 4, axis=1) + 1.5 * rng.standard_normal((n, 40))
    return np.concatenate([drivers, targets, alone], axis=1)


@pytest.fixture(scope="module")
def matrix() -> mmg_ray.MIMatrix:
    return mmg_ray.mi_matrix(network(80, 1))


def test_it_ranks_better_than_the_mi_of_a_pair_alone(matrix):
    i, j = matrix.estimates.pairs.T
    module = np.r_[np.arange(10), np.repeat(np.arange(10), 4), -np.arange(1, 11)]
    truth = module[i] == module[j]
    columns = matrix.estimates.columns
    first = {
        name: truth[np.argsort(-getattr(columns, name), kind="stable")[: truth.sum()]].mean()
        for name in ("mi_nats", "mi_posterior", "p_dependent")
    }
    assert first["mi_posterior"] > first["mi_nats"] + 0.1
    assert first["p_dependent"] > first["mi_nats"] + 0.1
    kept = matrix.network(["lfdr=0.2"]).edges
    i, j = (kept[end].to_numpy() for end in "ij")
    assert (module[i] != module[j]).mean() < 0.2
    assert len(kept) > 20


def test_columns_that_are_permuted_say_nothing():
    rng = np.random.default_rng(3)
    matrix = mmg_ray.mi_matrix(rng.permuted(network(80, 2), axis=0))
    columns = matrix.estimates.columns
    assert columns.p_dependent.mean() < 0.05
    assert columns.mi_posterior.mean() < 0.002
    assert not matrix.network(["lfdr=0.2"]).table.num_rows


def test_the_order_of_variables_is_nothing():
    values = network(60, 4)
    names = [f"v{k}" for k in range(60)]
    order = np.random.default_rng(0).permutation(60)
    one = mmg_ray.mi_matrix(values, names).to_frame("p_dependent")
    other = mmg_ray.mi_matrix(values[:, order], [names[k] for k in order]).to_frame("p_dependent")
    np.testing.assert_allclose(other.loc[names, names], one, atol=1e-6)


def test_a_pilot_is_a_sample_of_any_kind_of_pairs():
    names = [f"v{k}" for k in range(600)]
    rng = np.random.default_rng(0)
    pairs = rng.permutation(np.stack(np.triu_indices(600, 1), axis=1))[:5000]
    for of, count in (
        (all_pairs(600), 96 * 95 // 2),
        (source_pairs(600, np.arange(100)), 48 * 96),
        (listed(600, pairs), 1000),
        (all_pairs(1), 0),
    ):
        assert len(pilots._sample(names[: of.n_variables], of)) == count


def test_series_groups_and_conditions_have_no_posterior():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((100, 3))
    given = mmg_ray.mi_matrix(values, condition=rng.standard_normal(100))
    assert np.isnan(given.estimates.columns.mi_posterior).all()
    series = mmg_ray.config.EstimatorConfig(nulls=mmg_ray.config.NullConfig(kind="shift"))
    found = mmg_ray.mi_matrix(values, config=series)
    assert np.isnan(found.estimates.columns.p_dependent).all()
    with pytest.raises(mmg_ray.errors.ConfigError, match="posterior"):
        found.network(["lfdr"])


def test_rare_values_are_not_worth_more_than_their_p_value():
    """Two that are away twice each, once together: a moment of many standard errors, and p of .02."""
    rng = np.random.default_rng(1)
    n = 200
    columns = [rng.standard_normal(n) for _ in range(30)]
    columns += [np.isin(np.arange(n), rng.permutation(n)[:3]).astype(float) for _ in range(40)]
    columns[-1] = np.isin(np.arange(n), [1, 2]).astype(float)
    columns[-2] = np.isin(np.arange(n), [2, 3]).astype(float)
    found = mmg_ray.mi_matrix(np.stack(columns, axis=1)).estimates[68, 69]
    assert found.p_value > 0.01
    assert found.p_dependent < 0.5


def test_pilots_take_what_has_a_p_value():
    values = network(80, 5)
    values[:, 3] = 1.0
    table = {
        k: mmg_ray.schema.Variable(
            f"v{k}",
            mmg_ray.estimator.ranks.marginals.ordinal_codes(v)[:, None],
            mmg_ray.schema.Status.CONSTANT if k == 3 else mmg_ray.schema.Status.OK,
        )
        for k, v in enumerate(values.T)
    }
    pairs = np.array([(0, 1), (0, 3), (2, 4)])
    assert len(pilot(table, pairs, mmg_ray.config.EstimatorConfig()).n_samples) == 2
