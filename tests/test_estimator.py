"""The pure parts of the estimator against exact values: channel, levels, linear term, scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mmg_ray.config import SNRConfig
from mmg_ray.estimator import channel, snr
from mmg_ray.estimator.pairs.directions import Directions, stack
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers import gaussian

CPU = torch.device("cpu")


def directions(x: np.ndarray, y: np.ndarray) -> Directions:
    n = torch.full((len(x),), x.shape[1])
    names = tuple(f"v{s}" for s in range(len(x)))
    return Directions(torch.from_numpy(x)[:, None], torch.from_numpy(y), n, names, names)


def gaussian_gap(u: torch.Tensor, rho: float) -> torch.Tensor:
    """E[2 w f - f^2] of the exact denoiser of a Gaussian pair at u."""
    at = channel.level(u)
    var = 1 - rho**2
    return 1 - var / (at.alpha**2 * var + at.sigma**2)


def test_channel_identities():
    rng = np.random.default_rng(0)
    x, eps = torch.from_numpy(rng.standard_normal((2, 100)))
    at = channel.level(torch.linspace(1e-3, 12, 100, dtype=torch.float64))
    z, w = channel.noised(x, eps, at), channel.innovation(x, eps, at)
    torch.testing.assert_close(eps - at.sigma * z, at.alpha * w)
    torch.testing.assert_close(at.alpha**2 + at.sigma**2, torch.ones(100, dtype=torch.float64))
    torch.testing.assert_close(torch.nn.functional.softplus(at.logsnr), at.u)


@pytest.mark.parametrize("name", snr.SAMPLERS)
@pytest.mark.parametrize("rho", [0.1, 0.6, 0.95])
def test_every_sampler_integrates_the_exact_gaussian_gap(name, rho):
    cfg = SNRConfig(sampler=name)
    sampler = snr.SAMPLERS[name](torch.tensor([10.0]), cfg)
    v = snr.stratified(torch.full((1, 1 << 16), 0.5))
    for _ in range(2):  # the second pass with the adapted density
        u, weight = sampler.draw(v)
        logsnr = channel.level(u).logsnr
        values = 0.5 * weight * snr.tail_weight(logsnr, sampler.logsnr_max) * gaussian_gap(u, rho)
        assert float(values.double().mean()) == pytest.approx(
            -0.5 * np.log(1 - rho**2), abs=4e-4 if name != "adaptive" else 1e-4
        )
        sampler.observe(u, gaussian_gap(u, rho))
    assert float(sampler.mass().sum()) == pytest.approx(1, abs=0.01)


def test_adapted_density_needs_fewer_draws_than_the_fixed_rules():
    """Variance of one draw, relative to the best: effective_share against a direct computation."""
    share = {}
    for name, rule in snr.SAMPLERS.items():
        sampler = rule(torch.tensor([10.0]), SNRConfig(sampler=name))
        u, _ = sampler.draw(snr.stratified(torch.full((1, 1 << 14), 0.5)))
        sampler.observe(u, gaussian_gap(u, 0.5))
        share[name] = float(sampler.effective_share())
        r = (sampler.mean_square.sqrt() * (sampler.edges[:, 1:] - sampler.edges[:, :-1]))[0]
        second_moment = float((r**2 / sampler.mass()[0]).sum())
        assert share[name] == pytest.approx(float(r.sum()) ** 2 / second_moment, rel=1e-4)
    assert share["adaptive"] > 0.85
    assert share["adaptive"] > 1.5 * share["uniform"]
    assert share["adaptive"] > 1.5 * share["logistic"]


def test_the_gaussian_gap_integrates_to_its_mi_in_logsnr_too():
    """The change of variables du = sigmoid(logsnr) dlogsnr, by an independent integrator."""
    rho = 0.9

    def integrand(logsnr: float) -> float:
        alpha2, sigma2, var = 1 / (1 + np.exp(-logsnr)), 1 / (1 + np.exp(logsnr)), 1 - rho**2
        return 0.5 * (alpha2 - alpha2 * var / (alpha2 * var + sigma2))  # mmse_eps, both ways

    value, _ = integrate.quad(integrand, -40, 40, limit=500)
    assert value == pytest.approx(-0.5 * np.log(1 - rho**2), abs=1e-6)


def test_wiener_is_the_posterior_mean():
    """f_G from the joint covariance of (w, z, y) by least squares, without the formula."""
    rho, u = 0.7, 1.3
    at = channel.level(torch.tensor(u, dtype=torch.float64))
    alpha, sigma = float(at.alpha), float(at.sigma)
    # z = alpha x + sigma eps, w = alpha eps - sigma x, cov(x, y) = rho
    cov_inputs = np.array([[1.0, alpha * rho], [alpha * rho, 1.0]])
    cov_w = np.array([0.0, -sigma * rho])
    weights = np.linalg.solve(cov_inputs, cov_w)
    z, y = np.random.default_rng(1).standard_normal((2, 50))
    found = gaussian.wiener(
        torch.from_numpy(z),
        torch.from_numpy(rho * y),
        torch.tensor(1 - rho**2, dtype=torch.float64),
        at,
    )
    np.testing.assert_allclose(found.numpy(), weights[0] * z + weights[1] * y, atol=1e-12)


def test_canonical_coordinates_are_white_and_paired():
    rng = np.random.default_rng(2)
    mix = rng.standard_normal((5, 5))
    v = rng.standard_normal((1, 4000, 5)) @ mix
    c = gaussian.canonical(directions(v[..., :2], v[..., 2:]))
    both = torch.cat([c.x, c.y], -1)[0]
    cov = (both.T @ both / 4000).numpy()
    expected = np.eye(5)
    expected[[0, 1], [2, 3]] = expected[[2, 3], [0, 1]] = c.rho[0].numpy()
    np.testing.assert_allclose(cov, expected, atol=1e-8)
    sample = np.cov((v[0]).T)
    exact = 0.5 * (
        np.linalg.slogdet(sample[:2, :2])[1]
        + np.linalg.slogdet(sample[2:, 2:])[1]
        - np.linalg.slogdet(sample)[1]
    )
    assert -0.5 * np.log(1 - c.rho.numpy() ** 2).sum() == pytest.approx(exact, abs=1e-8)


def test_gaussian_mi_is_unbiased_at_small_n():
    """Mean over many small tables of 2 + 3 dimensions; the plug-in is far outside."""
    rng = np.random.default_rng(3)
    mix = np.eye(5)
    mix[0, 2] = mix[1, 3] = 0.7
    covariance = mix.T @ mix
    truth = 0.5 * (
        np.linalg.slogdet(covariance[:2, :2])[1]
        + np.linalg.slogdet(covariance[2:, 2:])[1]
        - np.linalg.slogdet(covariance)[1]
    )
    v = rng.standard_normal((4000, 40, 5)) @ mix
    c = gaussian.canonical(directions(v[..., :2], v[..., 2:]))
    mi = gaussian.gaussian_mi(c, torch.full((4000,), 40)).numpy()
    plug_in = -0.5 * np.log(1 - c.rho.numpy() ** 2).sum(-1)
    error = 4 * mi.std() / np.sqrt(4000)
    assert mi.mean() == pytest.approx(truth, abs=error)
    assert abs(plug_in.mean() - truth) > 5 * error


def test_pointwise_gaussian_mi_averages_to_the_plug_in():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((1, 500, 1))
    c = gaussian.canonical(directions(x, 0.5 * x + rng.standard_normal((1, 500, 1))))
    plug_in = float(-0.5 * torch.log(1 - c.rho**2))
    assert float(gaussian.pointwise_mi(c).mean()) == pytest.approx(plug_in, abs=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 3), st.floats(-5, 5)), min_size=2, max_size=40))
def test_codes_scores_and_spearman_agree_with_scipy(values):
    column = np.array(values, dtype=float)
    codes = marginals.ordinal_codes(column)
    np.testing.assert_array_equal(codes, stats.rankdata(column, method="dense") - 1)
    expected = stats.norm.ppf((stats.rankdata(column) - 0.5) / column.size)
    np.testing.assert_allclose(marginals.midrank_scores(codes), expected, atol=1e-12)
    randomised = marginals.rank_scores(
        marginals.randomised_ranks(codes, np.random.default_rng(0).random(codes.size))
    )
    quantiles = stats.norm.ppf((np.arange(column.size) + 0.5) / column.size)
    np.testing.assert_allclose(np.sort(randomised), quantiles, atol=1e-12)
    order = np.argsort(randomised, kind="stable")
    assert (np.diff(column[order]) >= 0).all()  # ties are broken, order is not
    other = np.arange(column.size)
    if np.ptp(column) > 0:
        found = marginals.standard_midranks(codes) @ marginals.standard_midranks(other)
        expected = stats.spearmanr(column, other).statistic
        assert found / column.size == pytest.approx(expected, abs=1e-10)


def test_rotated_ranks_share_out_each_tie():
    """Over the draws each sample takes places all over its tie, so that few draws are even ones."""
    codes = np.repeat([0, 1, 2, 3], [40, 1, 8, 3])
    ranks = marginals.randomised_ranks(codes, np.random.default_rng(0).random(codes.size))
    rotated = [marginals.rotated_ranks(ranks, codes, share) for share in (0, 0.25, 0.5, 0.75)]
    np.testing.assert_array_equal(rotated[0], ranks)
    for one in rotated:
        np.testing.assert_array_equal(np.sort(one), np.arange(52))
        assert (np.diff(codes[np.argsort(one)]) >= 0).all()
    for group in (slice(0, 40), slice(41, 49)):
        places = np.sort(np.stack(rotated)[:, group], axis=0)
        size = places.shape[1]
        np.testing.assert_array_equal(np.diff(places, axis=0), size // 4)


def test_tie_breaks_are_keyed_by_the_variable_not_by_its_neighbours():
    codes = np.repeat([0, 1], 50)[:, None].astype(np.int32)
    one, same, other = (RankedVariable("key", name, codes, seed=0) for name in ("x", "x", "y"))
    np.testing.assert_array_equal(one.ranks, same.ranks)
    assert (one.ranks != other.ranks).any()
    assert one.tied
    assert one.draws.shape == (2, 100, 1)
    plain = RankedVariable("key", "x", np.arange(100, dtype=np.int32)[:, None], seed=0)
    assert not plain.tied
    assert plain.draws.shape == (1, 100, 1)


def test_stacked_directions_are_padded_and_masked():
    long, short = (
        RankedVariable(name, name, np.random.default_rng(n).permutation(n)[:, None], seed=0)
        for name, n in (("a", 9), ("b", 6))
    )
    batch = stack([long, short], [long, short], "cpu")
    assert batch.n.tolist() == [9, 6]
    assert batch.mask().sum(1).tolist() == [9, 6]
    assert (batch.x[1, 6:] == 0).all()
    assert (batch.y[1, 6:] == 0).all()
    np.testing.assert_array_equal(batch.x[1, :6], short.draws[0])
    alone = batch.select([1]).trimmed()
    assert alone.x.shape == (1, 6, 1)
    assert (alone.target, alone.source) == (("b",), ("b",))


def test_missing_values_have_their_own_code():
    codes = marginals.ordinal_codes(np.array([2.0, np.nan, -1.0, np.inf, 2.0]))
    np.testing.assert_array_equal(codes, [1, -1, 0, -1, 1])


def test_streams_depend_on_their_key_alone():
    together = Streams(0, [("a",), ("b",)], CPU)
    alone = Streams(0, [("b",)], CPU)
    torch.testing.assert_close(together.normal(3)[1:], alone.normal(3))
    other_seed = Streams(1, [("b",)], CPU)
    assert not torch.equal(Streams(0, [("b",)], CPU).uniform(3), other_seed.uniform(3))
