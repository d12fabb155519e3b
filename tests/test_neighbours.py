"""Nearest neighbours beside smooth functions: the formula, what they add and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.pairs.tables import tabulate
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.ranked_variable import RankCache, RankedVariable
from mmg_ray.estimator.tiers import neighbours
from mmg_ray.estimator.tiers.spline import denoiser as spline
from mmg_ray.known_mi import annulus, checkerboard, gaussian, poisson_gamma
from mmg_ray.schema import PairEstimate, Variable


def uniform(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (values.argsort().argsort() + rng.random(values.size)) / values.size


def variables(x: np.ndarray, y: np.ndarray) -> dict[int, Variable]:
    return {k: Variable(f"v{k}", ordinal_codes(v)[:, None]) for k, v in enumerate((x, y))}


def pair(x: np.ndarray, y: np.ndarray, denoiser: str = "spline") -> PairEstimate:
    return estimate_tile(variables(x, y), [(0, 1)], EstimatorConfig(denoiser))[0]


class TestLogRatios:
    @pytest.mark.parametrize("n", [50, 333])
    def test_is_the_published_formula(self, n):
        rng = np.random.default_rng(n)
        x, e = rng.standard_normal((2, n))
        u, v = uniform(x, rng), uniform(x + e, rng)
        apart = np.maximum(abs(u[:, None] - u), abs(v[:, None] - v))
        found = neighbours._log_ratios(u, v)
        for k, ratio in zip((3, 6, 12), found, strict=True):
            radius = np.sort(apart, axis=1)[:, [k]]  # the first is the sample itself
            # of itself and those strictly nearer: psi(n_x + 1)
            n_u, n_v = ((abs(w[:, None] - w) < radius).sum(1) for w in (u, v))
            expected = digamma(k) + digamma(n) - digamma(n_u) - digamma(n_v)
            assert ratio == pytest.approx(expected, abs=1e-12)

    def test_agrees_with_another_implementation(self):
        rng = np.random.default_rng(0)
        x, y = gaussian(0.8).sample(rng, 800)
        u, v = uniform(x, rng), uniform(y, rng)
        other = mutual_info_regression(u[:, None], v, n_neighbors=3, random_state=0)[0]
        assert neighbours._log_ratios(u, v)[0].mean() == pytest.approx(other, abs=2e-3)

    @pytest.mark.parametrize("task", [gaussian(0.0), gaussian(0.9), poisson_gamma(0.7, 3, 3)])
    def test_is_near_the_truth_on_average(self, task):
        rng = np.random.default_rng(7)
        cfg = EstimatorConfig()
        found = []
        for _ in range(20):
            sides = RankCache(cfg.seed)
            u, v = (sides.of(a).uniform[0] for a in variables(*task.sample(rng, 600)).values())
            found.append(neighbours._local(u, v).mi)
        # a uniform place within a tie leaves the MI as it is
        error = np.std(found) / np.sqrt(20)
        assert np.mean(found) == pytest.approx(task.mi_nats, abs=3 * error + 0.03)


class TestRefine:
    @pytest.mark.parametrize("task", [checkerboard(4), annulus(0.7)])
    def test_sees_what_smooth_functions_do_not(self, task):
        rng = np.random.default_rng(3)
        smooth, raised = [], []
        for _ in range(4):
            x, y = task.sample(rng, 1000)
            a, b = (RankCache(0).of(v) for v in variables(x, y).values())
            smooth.append(max(float(v.mi[0]) for v in spline.warped(tabulate([(a, b)]))))
            row = pair(x, y)
            assert row.denoiser in ("spline", "neighbours")  # by which has the larger share
            raised.append(row.mi_nats)
        assert task.mi_nats - np.mean(raised) < 0.6 * (task.mi_nats - np.mean(smooth))
        assert np.mean(raised) < task.mi_nats + 0.02

    def test_never_lowers_and_says_how_far_it_went(self):
        rng = np.random.default_rng(4)
        x, y = gaussian(0.7).sample(rng, 500)
        u, v = uniform(x, rng)[None], uniform(y, rng)[None]
        there = neighbours.refine(u, v, 0.34, 0.02, 0.0)
        assert 0.34 <= there.mi < 0.4
        above = neighbours.refine(u, v, 1.0, 0.02, 0.0)
        assert (above.mi, above.share) == (1.0, 0.0)
        assert above.se > 0.2  # two estimates so far apart are no certainty
        below = neighbours.refine(u, v, 0.1, 0.02, 0.0)
        assert 0.5 < below.share < 1
        assert 0.2 < below.mi < 0.4

    def test_a_share_of_what_the_fit_may_hide_is_added(self):
        rng = np.random.default_rng(10)
        x, y = gaussian(0.7).sample(rng, 500)
        u, v = uniform(x, rng)[None], uniform(y, rng)[None]
        sure, unsure = (neighbours.refine(u, v, 1.0, 0.02, nats).mi for nats in (0.0, 0.02))
        assert 0.012 < unsure - sure < 0.018

    def test_what_neighbours_see_within_their_scatter_counts_little(self):
        rng = np.random.default_rng(11)
        x, y = gaussian(0.7).sample(rng, 500)
        u, v = uniform(x, rng)[None], uniform(y, rng)[None]
        local = neighbours._local(u[0], v[0])
        near = neighbours.refine(u, v, local.mi - local.scatter, 0.002, 0.0)
        assert 0 < near.share < 0.1
        assert near.se < 0.5 * local.scatter
        clear = neighbours.refine(u, v, local.mi - 6 * local.scatter, 0.002, 0.0)
        assert clear.share > 0.6  # where it is clear, it counts
        assert clear.se > local.scatter

    def test_is_symmetric(self):
        rng = np.random.default_rng(5)
        x, y = annulus(0.5).sample(rng, 400)
        u, v = uniform(x, rng)[None], uniform(y, rng)[None]
        assert neighbours.refine(u, v, 0.2, 0.02, 0.01) == pytest.approx(
            neighbours.refine(v, u, 0.2, 0.02, 0.01), abs=1e-12
        )

    def test_leaves_independent_and_weak_pairs_alone(self):
        rng = np.random.default_rng(6)
        for _ in range(20):
            u, v = (uniform(w, rng)[None] for w in rng.random((2, 400)))
            assert neighbours.refine(u, v, 0.0, 0.01, 0.003).mi == 0.0
            assert neighbours.refine(u, v, 0.005, 0.01, 0.003).mi < 0.009

    def test_few_samples_are_the_splines(self):
        x, y = checkerboard(2).sample(np.random.default_rng(8), 45)
        assert pair(x, y).denoiser == "spline"

    def test_ties_are_drawn(self):
        row = pair(*poisson_gamma(0.5, 8, 8).sample(np.random.default_rng(9), 1000))
        assert row.mi_nats == pytest.approx(poisson_gamma(0.5, 8, 8).mi_nats, abs=0.08)


def sides(x: np.ndarray, y: np.ndarray) -> list[RankedVariable]:
    cache = RankCache(0)
    return [cache.of(v) for v in variables(x, y).values()]


class TestManySamples:
    """Of more than 5,000 samples neighbours see a part; the table of all says what that is worth."""

    def test_luck_is_what_the_part_has_more(self):
        """Against the density ratio of Gaussian samples, which is known."""
        rho, wrong, right = 0.8, [], []
        for seed in range(9):
            rng = np.random.default_rng(seed)
            x, e = rng.standard_normal((2, 50_000))
            y = rho * x + np.sqrt(1 - rho**2) * e
            ratio = (x * x + y * y) / 2 - (x * x - 2 * rho * x * y + y * y) / (2 - 2 * rho**2)
            chosen = rng.permutation(len(x)) < 5000
            exact = ratio[chosen].mean() - ratio.mean()
            found = neighbours.in_bins(*sides(x, y), chosen, fitted=1.0)
            assert (found.mi, found.rest) == (0.0, 0.0)  # the fit has all that bins show
            wrong.append(found.luck - exact)
            right.append(exact)
        assert np.std(wrong) < 0.4 * np.std(right)

    @pytest.mark.parametrize("task", [checkerboard(4), annulus(0.6)])
    def test_bins_show_what_a_fit_has_missed_and_never_more_than_there_is(self, task):
        x, y = task.sample(np.random.default_rng(3), 100_000)
        found = neighbours.in_bins(*sides(x, y), np.arange(len(x)) < 5000, fitted=0.3)
        assert task.mi_nats - 0.1 < found.mi - found.rest < task.mi_nats
        assert abs(found.mi - task.mi_nats) < found.rest + 0.01
        few = neighbours.in_bins(
            *sides(x[:20_000], y[:20_000]), np.arange(20_000) < 5000, fitted=0.3
        )
        assert (few.mi, few.rest) == (0.0, 0.0)  # bins would be coarse

    def test_a_level_that_is_a_value_hides_nothing(self):
        rng = np.random.default_rng(4)
        x = rng.integers(40, size=100_000)
        y = np.where(
            rng.random(len(x)) < 0.5,
            (x + rng.integers(0, 2, len(x))) % 40,
            rng.integers(40, size=len(x)),
        )
        counts = np.histogram2d(x, y, 40)[0]
        plug_in = (
            counts[counts > 0]
            * np.log((counts * len(x) / np.outer(counts.sum(1), counts.sum(0)))[counts > 0])
        ).sum() / len(x)
        found = neighbours.in_bins(*sides(x, y), np.arange(len(x)) < 5000, fitted=0.0)
        assert found.rest == 0
        assert found.mi == pytest.approx(plug_in, abs=0.02)
        assert found.mi < plug_in

    @pytest.mark.parametrize(("task", "error"), [(gaussian(0.9), 0.008), (checkerboard(4), 0.03)])
    def test_estimates_of_very_many_samples(self, task, error):
        for seed in range(2):
            x, y = task.sample(np.random.default_rng([5, seed]), 300_000)
            found = pair(x, y, "auto")
            assert found.mi_nats == pytest.approx(task.mi_nats, abs=error)
            assert abs(found.mi_nats - task.mi_nats) < 3 * found.se_nats
            by_neighbours = found.denoiser == neighbours.NAME
            assert ("among 20000 of the 300000 samples" in found.message) == by_neighbours
