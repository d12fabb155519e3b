"""What every denoiser must hold, and what the neural one must learn. Known MI, nulls, twins."""

import numpy as np
import pytest

from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator.cascade.denoisers import DENOISERS
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.tiers.neural import denoiser as neural
from mmg_ray.schema import Status, Variable

FAST = NetworkConfig(n_steps=300)
SCALAR_ONLY = [name for name, denoiser in DENOISERS.items() if not denoiser.vectors]
# auto takes groups of continuous coordinates as neural does, to the bit
GROUPED = [name for name in DENOISERS if name not in (*SCALAR_ONLY, "auto")]
QUADRATIC = known_mi.location_scale("x^2 + e", lambda x: x**2, lambda x: 1.0 + 0 * x)


def variable(name: str, values: np.ndarray, status: Status = Status.OK) -> Variable:
    values = values.reshape(len(values), -1)
    codes = np.stack([ordinal_codes(column) for column in values.T], axis=1)
    return Variable(name, codes, status)


def config(denoiser: str, **settings) -> EstimatorConfig:
    return EstimatorConfig(denoiser=denoiser, network=FAST, **settings)


def pair(x: np.ndarray, y: np.ndarray, cfg: EstimatorConfig):
    (result,) = estimate_tile({0: variable("x", x), 1: variable("y", y)}, [(0, 1)], cfg)
    return result


@pytest.fixture(scope="module")
def gaussian_pair():
    return known_mi.gaussian(0.8).sample(np.random.default_rng(0), 600)


@pytest.mark.parametrize("name", DENOISERS)
class TestEveryDenoiser:
    def test_gaussian_pair_within_its_error(self, name):
        weak = name == "screen"  # it is for weak dependence, and low on strong
        task = known_mi.gaussian(0.4 if weak else 0.8)
        result = pair(*task.sample(np.random.default_rng(0), 600), config(name))
        assert result.status is Status.OK
        assert result.mi_nats == pytest.approx(task.mi_nats, abs=0.05 if weak else 0.1)
        assert 0.01 < result.se_nats < 0.06
        assert result.spearman == pytest.approx(0.385 if weak else 0.785, abs=0.1 if weak else 0.05)
        assert 0 < result.p_value < (1e-12 if weak else 1e-40)

    def test_independent_pairs_read_zero(self, name):
        rng = np.random.default_rng(1)
        variables = {k: variable(f"v{k}", rng.standard_normal(600)) for k in range(4)}
        pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
        results = estimate_tile(variables, pairs, config(name))
        assert np.abs([r.mi_nats for r in results]).mean() < 0.003
        assert 0.1 < np.median([r.p_value for r in results]) < 0.9

    def test_monotone_maps_change_nothing(self, name, gaussian_pair):
        x, y = gaussian_pair
        assert pair(x, y, config(name)) == pair(np.exp(x), y**3, config(name))

    def test_the_order_of_a_pair_changes_nothing(self, name, gaussian_pair):
        x, y = gaussian_pair
        variables = {0: variable("x", x), 1: variable("y", y)}
        forward, backward = estimate_tile(variables, [(0, 1), (1, 0)], config(name))
        assert forward.mi_nats == pytest.approx(backward.mi_nats, abs=1e-4)
        assert forward.mi_ij == pytest.approx(backward.mi_ji, abs=1e-4)

    def test_the_order_of_samples_changes_little(self, name, gaussian_pair):
        x, y = gaussian_pair
        order = np.random.default_rng(2).permutation(len(x))
        before, after = pair(x, y, config(name)), pair(x[order], y[order], config(name))
        assert before.mi_nats == pytest.approx(after.mi_nats, abs=before.se_nats)

    def test_a_run_repeats_to_the_bit_and_a_seed_moves_it_little(self, name, gaussian_pair):
        first = pair(*gaussian_pair, config(name))
        assert first == pair(*gaussian_pair, config(name))
        other = pair(*gaussian_pair, config(name, seed=5))
        assert first.mi_nats == pytest.approx(other.mi_nats, abs=first.se_nats)

    def test_a_pair_does_not_depend_on_its_neighbours(self, name, gaussian_pair):
        rng = np.random.default_rng(3)
        variables = {0: variable("x", gaussian_pair[0]), 1: variable("y", gaussian_pair[1])}
        variables |= {k: variable(f"v{k}", rng.standard_normal(600)) for k in (2, 3)}
        pairs = [(2, 3), (0, 2), (0, 1), (1, 3)]
        in_tile = estimate_tile(variables, pairs, config(name))[2]
        (alone,) = estimate_tile(variables, [(0, 1)], config(name))
        assert in_tile.mi_nats == pytest.approx(alone.mi_nats, abs=1e-5)

    def test_missing_samples_are_dropped_pair_by_pair(self, name, gaussian_pair):
        x, y = gaussian_pair
        holes = x.copy()
        holes[::3] = np.nan
        kept = np.isfinite(holes)
        result = pair(holes, y, config(name))
        assert result.n_samples == kept.sum()
        assert result.mi_nats == pytest.approx(pair(x[kept], y[kept], config(name)).mi_nats, 0.05)

    def test_a_variable_with_two_values_is_no_trouble(self, name, gaussian_pair):
        x, y = gaussian_pair
        result = pair(x, (y > 1).astype(float), config(name))
        assert result.status is Status.OK
        assert 0.05 < result.mi_nats < 0.4  # entropy of the split: .44 nats
        assert result.p_value < 1e-6

    def test_nothing_to_do_is_no_trouble(self, name, gaussian_pair):
        assert len(estimate_tile({0: variable("x", gaussian_pair[0])}, [], config(name))) == 0


@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_gaussians(name):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((800, 3))
    y = 0.6 * x[:, :2] + 0.8 * rng.standard_normal((800, 2))
    result = pair(x, y, config(name))
    assert result.mi_nats == pytest.approx(-np.log(1 - 0.36), abs=0.08)
    assert result.spearman is None
    assert result.p_value < 2e-4


@pytest.mark.parametrize("name", SCALAR_ONLY)
def test_groups_are_refused_by_name_and_leave_scalars_alone(name, gaussian_pair):
    x, y = gaussian_pair
    group = np.stack([x, np.random.default_rng(4).standard_normal(600)], axis=1)
    variables = {0: variable("g", group), 1: variable("x", x), 2: variable("y", y)}
    refused, kept = estimate_tile(variables, [(0, 2), (1, 2)], config(name))
    assert refused.status is Status.UNSUPPORTED
    assert (refused.mi_nats, refused.p_value, refused.stop) == (None, None, None)
    assert refused.message.startswith(f"{name} takes pairs of scalars")
    assert "neural" in refused.message
    assert kept == pair(x, y, config(name))
    # a group that repeats one coordinate is that coordinate
    again = pair(np.stack([x, -x], axis=1), y, config(name))
    assert again.mi_nats == pytest.approx(kept.mi_nats, abs=1e-4)


@pytest.mark.parametrize("name", DENOISERS)
def test_bad_pairs_get_a_status_and_leave_the_rest_alone(name, gaussian_pair):
    x, y = gaussian_pair
    few = x.copy()
    few[20:] = np.nan
    variables = {
        0: variable("x", x),
        1: variable("y", y),
        2: variable("flat", np.ones_like(x), Status.CONSTANT),
        3: variable("few", few),
        4: variable("flat where few is", np.where(np.arange(600) < 40, 1.0, x)),
        5: variable("first 40", np.where(np.arange(600) < 40, x, np.nan)),
        6: variable("nothing", np.full_like(x, np.nan), Status.ALL_MISSING),
    }
    pairs = [(0, 2), (0, 3), (4, 5), (0, 6), (0, 1)]
    results = list(estimate_tile(variables, pairs, config(name)))
    assert [r.status for r in results] == [
        Status.CONSTANT,
        Status.TOO_FEW_SAMPLES,
        Status.CONSTANT,
        Status.ALL_MISSING,
        Status.OK,
    ]
    assert all(r.mi_nats is None and r.message for r in results[:4])
    assert results[4] == pair(x, y, config(name))


@pytest.mark.parametrize(
    ("task", "tolerance"),
    [
        (QUADRATIC, 0.06),
        (known_mi.additive_uniform(0.25), 0.12),
        (known_mi.location_scale("e exp x/2", lambda x: 0 * x, lambda x: np.exp(x / 2)), 0.06),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_networks_learn_what_the_linear_term_misses(task, tolerance):
    x, y = task.sample(np.random.default_rng(10), 1500)
    result = pair(x, y, EstimatorConfig("neural", network=NetworkConfig(n_steps=800)))
    assert result.mi_nats == pytest.approx(task.mi_nats, abs=tolerance)
    linear = pair(x, y, config("gaussian"))
    assert linear.mi_nats < task.mi_nats - tolerance  # so that it would fail here
    assert result.gap < result.mi_nats + 0.02  # the direct form is a lower bound
    assert 0.8 < result.ess <= 1.0


def test_vectors_learn_a_nonlinear_coordinate():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((1500, 2))
    y = x[:, 0] ** 2 + rng.standard_normal(1500)
    result = pair(x, y, EstimatorConfig("neural", network=NetworkConfig(n_steps=600)))
    assert result.mi_nats == pytest.approx(QUADRATIC.mi_nats, abs=0.1)  # three standard errors


def test_ties_are_handled_on_both_sides():
    """Two-valued y = [x > 0]: MI is log 2 exactly, for a table of half zeros."""
    x = np.random.default_rng(12).standard_normal(1500)
    cfg = EstimatorConfig("neural", network=NetworkConfig(n_steps=800))
    result = pair(x, (x > 0).astype(float), cfg)
    assert result.mi_nats == pytest.approx(np.log(2), abs=0.06)


def test_a_duplicated_variable_is_strong_and_finite(gaussian_pair):
    x, _ = gaussian_pair
    for copy in (x, -x, np.exp(x)):
        result = pair(x, copy, config("neural"))
        assert result.status is Status.OK
        assert result.mi_nats == pytest.approx(np.log(600), abs=0.05)


@pytest.mark.parametrize("name", GROUPED)
def test_repeated_coordinates_of_a_group_change_nothing(name, gaussian_pair):
    x, y = gaussian_pair
    z = np.random.default_rng(5).standard_normal(600)
    once = pair(np.stack([x, z], 1), y, config(name))
    repeated = pair(np.stack([x, z, -x, np.exp(z)], 1), y, config(name))
    assert repeated == once


@pytest.mark.parametrize("name", DENOISERS)
def test_a_group_too_wide_for_its_samples_has_no_value(name):
    x = np.random.default_rng(6).standard_normal((100, 60))
    result = pair(x[:, :50], x[:, 50:], config(name))
    assert result.status is Status.TOO_FEW_SAMPLES
    assert "100 complete samples of the 120 needed" in result.message


def test_groups_with_holes_share_nothing_across_samples():
    """A target's unconditional network is shared between pairs, but only over the same samples."""
    rng = np.random.default_rng(7)
    target = rng.standard_t(2, size=(300, 2))
    whole, holed = rng.standard_normal((2, 300))
    holed[::2] = np.nan
    variables = {0: variable("g", target), 1: variable("w", whole), 2: variable("h", holed)}
    both = estimate_tile(variables, [(0, 1), (0, 2)], config("neural"))
    for number, alone in enumerate(both, start=1):
        (result,) = estimate_tile(variables, [(0, number)], config("neural"))
        assert result.mi_nats == pytest.approx(alone.mi_nats, abs=1e-4)


@pytest.mark.parametrize(("n", "dim", "n_pairs"), [(40, 1, 24), (100, 1, 24), (400, 4, 3)])
def test_few_samples_do_not_invent_edges(n, dim, n_pairs):
    """Default steps: what a network memorises of few samples must not be read as dependence."""
    rng = np.random.default_rng(n)
    variables = {k: variable(f"v{k}", rng.standard_normal((n, dim))) for k in range(2 * n_pairs)}
    pairs = [(2 * k, 2 * k + 1) for k in range(n_pairs)]
    found = np.array(
        [r.mi_nats for r in estimate_tile(variables, pairs, EstimatorConfig("neural"))]
    )
    assert found.max() < 6 * dim**2 / n
    assert found.mean() < dim**2 / n


def test_collinear_coordinates_are_not_counted_twice():
    rng = np.random.default_rng(13)
    x = rng.standard_normal((500, 4))
    y = 0.7 * x + rng.standard_normal((500, 4))
    once = pair(x, y, config("gaussian"))
    # scores of a monotone map of a mixture are nearly, not exactly, those of the others
    wide = pair(np.concatenate([x, np.round(x, 1)], 1), y, config("gaussian"))
    assert wide.mi_nats == pytest.approx(once.mi_nats, abs=0.1)


def test_missing_data_and_a_longer_neighbour_change_nothing(gaussian_pair):
    x, y = gaussian_pair
    holes = np.where(np.arange(600) < 500, x, np.nan)
    variables = {0: variable("x", holes), 1: variable("y", y), 2: variable("z", x + y)}
    in_tile = estimate_tile(variables, [(0, 1), (1, 2)], config("neural"))[0]
    (alone,) = estimate_tile(variables, [(0, 1)], config("neural"))
    assert in_tile.mi_nats == pytest.approx(alone.mi_nats, abs=1e-4)


def test_divergence_is_a_status_not_a_number(gaussian_pair):
    cfg = EstimatorConfig("neural", network=NetworkConfig(n_steps=60, learning_rate=1e20))
    result = pair(*gaussian_pair, cfg)
    assert result.status is Status.DIVERGED
    assert result.mi_nats is None
    assert "learning_rate" in result.message


def test_a_pair_that_diverges_is_fitted_again_with_smaller_steps(gaussian_pair, monkeypatch):
    x, y = gaussian_pair
    cfg = EstimatorConfig("neural", network=NetworkConfig(n_steps=40, learning_rate=1e3))
    assert pair(x, y**2, cfg).status is Status.OK
    monkeypatch.setattr(neural, "_SAFER", 1.0)  # the same steps again
    assert pair(x, y**2, cfg).status is Status.DIVERGED


def test_an_estimate_near_what_the_samples_can_show_says_so():
    rng = np.random.default_rng(14)
    x, e = rng.standard_normal((2, 500))
    near, far = pair(x, x + 1e-4 * e, config("auto")), pair(x, x + e, config("auto"))
    assert near.status is Status.OK
    assert "500 samples show at most 6.2 nats" in near.message
    assert far.message == ""


def test_a_few_directions_of_wide_vectors_are_found():
    # x and y turn with their length, each in a plane of 25 dimensions: .2 nats no linear map sees
    task = known_mi.spiral(known_mi.paired(25, 0.8, 2), 25)
    result = pair(*task.sample(np.random.default_rng(30), 4000), EstimatorConfig("neural"))
    linear = pair(*task.sample(np.random.default_rng(30), 4000), EstimatorConfig("gaussian"))
    assert linear.mi_nats < task.mi_nats - 0.15
    assert result.mi_nats == pytest.approx(task.mi_nats, abs=0.12)


@pytest.mark.parametrize("name", GROUPED)
def test_turning_a_vector_changes_little(name):
    """Ranks of turned coordinates differ, the dependence does not."""
    rng = np.random.default_rng(15)
    x = rng.standard_normal((800, 3))
    y = 0.8 * x + 0.6 * rng.standard_normal((800, 3))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    before, after = pair(x, y, config(name)), pair(x @ turn, y, config(name))
    assert before.mi_nats == pytest.approx(after.mi_nats, abs=before.se_nats)
    assert before.mi_nats == pytest.approx(-1.5 * np.log(1 - 0.64), abs=3 * before.se_nats)


@pytest.mark.parametrize(("mi_nats", "cube"), [(3, False), (8, True), (15, False)])
def test_high_mi_of_vectors(mi_nats, cube):
    task = known_mi.paired(10, np.sqrt(1 - np.exp(-mi_nats / 5)), 10)
    x, y = task.sample(np.random.default_rng(16), 5000)
    assert task.mi_nats == pytest.approx(mi_nats)
    x = x**3 if cube else x
    assert pair(x, y, config("gaussian")).mi_nats == pytest.approx(mi_nats, rel=0.03)
