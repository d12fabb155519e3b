"""The spline denoiser from its parts up: band solver, basis, tables, levels, correction, warp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy import stats
from scipy.special import digamma, ndtri

from mmg_ray import known_mi
from mmg_ray.estimator.pairs.counts import tables as count_tables
from mmg_ray.estimator.pairs.estimates import BothWays, Found
from mmg_ray.estimator.pairs.tables import Samples
from mmg_ray.estimator.ranks.identity import half_of
from mmg_ray.estimator.ranks.levels import levels
from mmg_ray.estimator.ranks.marginals import midrank_scores, ordinal_codes
from mmg_ray.estimator.tiers.spline import band, basis, denoiser, entry_sums, spacings
from mmg_ray.estimator.tiers.spline import direct as plain
from mmg_ray.estimator.tiers.spline import entries as e
from mmg_ray.estimator.tiers.spline.basis import Shape, adapted_levels, spread_levels, tables
from mmg_ray.estimator.tiers.spline.correction import Correction, correct
from mmg_ray.estimator.tiers.spline.warp import Warp, n_knots, warp

SHAPE, LEVELS = Shape(6, 6, 24), adapted_levels(6)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def scores(values: np.ndarray) -> np.ndarray:
    """(N,) mid-rank normal scores."""
    return midrank_scores(ordinal_codes(values))


def pair_counts(
    pairs: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int] = (224, 224)
) -> np.ndarray:
    """Tables of pairs of (N,) raw values, of any lengths."""
    one = np.zeros(1, dtype=int)
    return np.concatenate(
        [
            count_tables(
                *(levels(ordinal_codes(v)).level[None] for v in pair),
                half_of(0, np.arange(len(pair[0]))),
                one,
                one,
                shape,
            )
            for pair in pairs
        ]
    )


def gaussian_pairs(
    rho: float, count: int, n: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    x, e = np.random.default_rng(seed).standard_normal((2, count, n))
    return [*zip(x, rho * x + np.sqrt(1 - rho**2) * e, strict=True)]


def corrected(counts: np.ndarray) -> tuple[Correction, np.ndarray]:
    """The correction alone of x given y, before any gate, and the mean influence (P,)."""
    t = tables(SHAPE, LEVELS)
    s, n, (x, y) = plain.moments(counts, t)
    c = correct(s, n, t, PENALTIES, 1)
    n_pairs = len(counts)
    influence = x.target[:, None] @ c.influence[:n_pairs] @ y.source[:, None].swapaxes(2, 3)
    mean = (counts * influence).sum((1, 2, 3)) / n[:n_pairs]
    return Correction(*(v[:n_pairs] for v in c)), mean


def of_samples(target: np.ndarray, source: np.ndarray, by_entry: np.ndarray) -> np.ndarray:
    """(N,) values of the samples of a direction from those of its entries; without ties of the target."""
    at = levels(ordinal_codes(source)).level.astype(int), levels(ordinal_codes(target)).level
    pair = np.unique(at[0] * 256 + at[1], return_inverse=True)[1]
    return by_entry[pair]


def within_entries(target: np.ndarray, source: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) means of values over the samples that are one entry."""
    at = levels(ordinal_codes(source)).level.astype(int), levels(ordinal_codes(target)).level
    pair = np.unique(at[0] * 256 + at[1], return_inverse=True)[1]
    return (np.bincount(pair, values) / np.bincount(pair))[pair]


def warped(x: np.ndarray, y: np.ndarray) -> tuple[Warp, e.Entries]:
    """Location, scale and shape of one direction, raw values."""
    found = denoiser._entries(pair_counts([(x, y)])).select(np.arange(1))
    n_levels = int((np.diff(found.start) > 0).sum())
    return warp(found, n_knots(len(x), n_levels)), found


class TestBand:
    """Against numpy.linalg on dense matrices."""

    @pytest.fixture(scope="class")
    @staticmethod
    def system() -> tuple[band.Band, np.ndarray]:
        rng = np.random.default_rng(0)
        first, second = rng.standard_normal((3, 2, 19)), rng.standard_normal((3, 2, 18))
        main = 5 + rng.random((3, 2, 20))  # more than the rest of its row: positive definite
        dense = np.zeros((3, 2, 20, 20))
        for shift, diagonal in enumerate((main, first, second)):
            at = np.arange(20 - shift)
            dense[..., at, at + shift] = dense[..., at + shift, at] = diagonal
        assert np.linalg.eigvalsh(dense).min() > 0
        return band.Band(*map(torch.from_numpy, (main, first, second))), dense

    def test_solutions(self, system):
        a, dense = system
        b = np.random.default_rng(1).standard_normal((3, 2, 20))
        found = band.solve(band.factor(a), torch.from_numpy(b))
        np.testing.assert_allclose(found, np.linalg.solve(dense, b[..., None])[..., 0], atol=1e-12)

    def test_diagonals_of_the_inverse(self, system):
        a, dense = system
        main, first = band.inverse(band.factor(a))
        inverse = np.linalg.inv(dense)
        np.testing.assert_allclose(main, np.diagonal(inverse, 0, -2, -1), atol=1e-12)
        np.testing.assert_allclose(first, np.diagonal(inverse, 1, -2, -1), atol=1e-12)

    def test_curvature_is_the_integral_of_the_squared_second_derivative(self):
        rng = np.random.default_rng(2)
        knots = torch.from_numpy(rng.uniform(0.1, 1, (4, 12)).cumsum(axis=1) - 3)
        weight = torch.from_numpy(rng.random((4, 10)))
        form = band.curvature(knots.diff(dim=-1), weight)

        def quadratic(values: torch.Tensor) -> torch.Tensor:
            total = (form.main * values**2).sum(-1)
            total += 2 * (form.first * values[:, 1:] * values[:, :-1]).sum(-1)
            return total + 2 * (form.second * values[:, 2:] * values[:, :-2]).sum(-1)

        gap = knots.diff(dim=-1)
        length = (gap[:, 1:] + gap[:, :-1]) / 2
        torch.testing.assert_close(quadratic(knots**2), (4 * weight * length).sum(-1))
        torch.testing.assert_close(quadratic(3 - 2 * knots), torch.zeros(4, dtype=torch.float64))
        second = band.second_derivative(gap, knots**2)
        torch.testing.assert_close(second, torch.full_like(second, 2.0))


class TestBasis:
    def test_functions_are_orthonormal_under_the_normal(self):
        grid = np.linspace(-9, 9, 18001)
        mass = stats.norm.pdf(grid) * (grid[1] - grid[0])
        b = basis.functions(12, grid)
        np.testing.assert_allclose((b * mass[:, None]).T @ b, np.eye(12), atol=2e-3)
        np.testing.assert_allclose(b[:, :2], np.stack([np.ones_like(grid), grid], 1), atol=1e-12)

    def test_functions_go_from_smooth_to_rough_and_are_linear_in_the_tails(self):
        _, _, roughness = basis._demmler_reinsch()
        assert (np.diff(roughness[1:12]) > 0).all()
        tail = basis.functions(8, np.array([7.0, 8.0, 9.0]))
        middle = basis.functions(8, np.array([0.4, 1.4, 2.4]))
        bend, usual = (abs(np.diff(v, 2, axis=0)) for v in (tail, middle))
        assert (bend[:, 2:] < 0.02 * abs(tail[-1, 2:])).all()
        assert usual[:, 2:].min() > 0.05  # which a straight line would not pass

    @pytest.mark.parametrize(
        "shape",
        [plain._SHAPE, denoiser._RESIDUAL, denoiser._FINE],
        ids=str,
    )
    def test_tables_hold_the_averages_over_noise(self, shape):
        """E[w B_a | r] and E[B_a B_a' | r] at every level, by sums over a fine grid of eps."""
        t = tables(shape, LEVELS)
        rows = basis.row(np.random.default_rng(0).uniform(-2.5, 2.5, 25))
        r = np.linspace(-6, 6, t.curves.shape[0])[rows]  # the table's own points
        eps = np.linspace(-8, 8, 2001)
        mass = stats.norm.pdf(eps) / stats.norm.pdf(eps).sum()
        i, j = np.triu_indices(shape.n_target)
        curves = t.curves[rows].astype(np.float64)
        for k, logsnr in enumerate(LEVELS.logsnr):
            alpha, sigma = np.sqrt(1 / (1 + np.exp([-logsnr, logsnr])))
            b = basis.functions(shape.n_target, alpha * r[:, None] + sigma * eps)
            w = (alpha * eps - sigma * r[:, None]) * mass
            found = curves @ t.linear[k].T
            np.testing.assert_allclose(found, (b * w[..., None]).sum(1), atol=0.02)
            squares = b.transpose(0, 2, 1) @ (b * mass[:, None])
            found = curves @ t.quadratic[k].T
            np.testing.assert_allclose(found, squares[:, i, j], atol=0.03)  # of squares around 1

    def test_tables_hold_the_functions_of_the_source(self):
        t = tables(SHAPE, LEVELS)
        y = np.linspace(-2.5, 2.5, 101)
        rows = basis.row(y)
        own = basis.functions(6, np.linspace(-6, 6, t.curves.shape[0])[rows])
        p, q = np.triu_indices(6)
        lookups = t.lookups[rows]
        np.testing.assert_allclose(lookups @ t.single.T, own, atol=0.02)
        np.testing.assert_allclose(lookups @ t.product.T, own[:, p] * own[:, q], atol=0.02)

    def test_gram_entries_are_where_the_tables_put_them(self):
        """One sample: the Gram matrix of its functions is E[B_a B_a'] B_b B_b'."""
        t = tables(SHAPE, LEVELS)
        curve, lookup = (
            v[basis.row(np.array(at))] for v, at in ((t.curves, 0.3), (t.lookups, -0.8))
        )
        gram = np.outer(t.quadratic[0] @ curve, t.product @ lookup).ravel()[t.entry]
        i, j = np.triu_indices(6)
        squares = np.zeros((6, 6))
        squares[i, j] = squares[j, i] = t.quadratic[0] @ curve
        own = t.single @ lookup
        expected = squares[np.ix_(t.of_target, t.of_target)] * np.outer(
            own[t.of_source], own[t.of_source]
        )
        np.testing.assert_allclose(gram, expected, rtol=0.01, atol=0.01)

    def test_a_score_off_the_tables_is_their_end(self):
        found = basis.row(np.array([-50.0, -6.0, 0.0, 6.0, np.inf]))
        assert found.tolist() == [0, 0, 1200, 2400, 2400]

    def test_averages_are_those_over_the_ranks_of_a_level(self):
        """Against the mean over very many ranks, levels of one sample in a thousand to .6 of all."""
        t = tables(SHAPE, LEVELS)
        edges = np.array([[0, 1e-3, 0.02, 0.021, 0.4, 0.4, 1.0], [0, 0.6, 0.9, 0.99, 0.999, 1, 1]])
        ranks = ndtri((np.arange(4_000_000) + 0.5) / 4_000_000)
        curves = np.stack(
            [np.interp(ranks, np.linspace(-6, 6, 2401), c) for c in t.curves.T[:8]], 1
        )
        found = basis.averages(t, edges)[..., :8]
        for of_variable, at in zip(found, edges, strict=True):
            for average, low, high in zip(of_variable, at, at[1:], strict=False):
                part = curves[round(low * 4e6) : round(high * 4e6)]
                expected = part.mean(0) if len(part) else 0.0
                np.testing.assert_allclose(average, expected, atol=2e-3)
        assert np.abs(found).max() > 1


@pytest.mark.parametrize("levels", [adapted_levels(6), adapted_levels(8), spread_levels(12)])
@pytest.mark.parametrize("rho", [0.1, 0.3, 0.5, 0.7])
def test_levels_integrate_the_gaussian_integrand(levels, rho):
    """1/2 Int E f^2 du of the exact denoiser, E f^2 = snr rho^4 ... in closed form: to .5 %."""
    alpha2 = 1 / (1 + np.exp(-np.array(levels.logsnr)))
    var = 1 - rho**2
    integrand = 1 - var / (alpha2 * var + 1 - alpha2)
    exact = -0.5 * np.log(var)
    assert integrand @ np.array(levels.weight) == pytest.approx(exact, rel=5e-3, abs=2e-5)


class TestCorrection:
    @pytest.mark.parametrize("rho", [0.2, 0.4, 0.6])
    def test_direct_reads_the_exact_mi_of_gaussian_pairs(self, rho):
        found = denoiser.direct(pair_counts(gaussian_pairs(rho, 40, 1000, seed=1))).x_given_y
        exact = -0.5 * np.log1p(-(rho**2))
        error = found.mi.std() / np.sqrt(40)
        assert found.mi.mean() == pytest.approx(exact, abs=3 * error + 0.03 * exact)
        assert exact > 4 * error  # which a constant 0 would fail

    def test_cross_product_of_independent_pairs_averages_to_zero(self):
        """Mean over 200 pairs before any gate; the direct form pays for the noise of its fits.

        About 1 / n is left: halves share the ranks, so their means of any score are opposite (less),
        and the penalty is chosen on the same samples (more).
        """
        n = 300
        x, y = np.random.default_rng(2).standard_normal((2, 200, n))
        c, _ = corrected(pair_counts([*zip(x, y, strict=True)]))
        error = c.cross.std() / 200**0.5
        assert abs(c.cross.mean()) < 3 * error + 1.2 / n
        assert c.direct.mean() < -3 / n  # so large a bias would not pass

    def test_influence_averages_to_the_estimate(self):
        counts = pair_counts(gaussian_pairs(0.5, 10, 400, seed=3))
        c, mean = corrected(counts)
        # sums over halves of unlike size weigh them by it, the estimate equally
        np.testing.assert_allclose(mean, c.cross, rtol=0, atol=1e-2)
        counts[:, 1] = counts[:, 0]  # halves of one size
        c, mean = corrected(counts)
        np.testing.assert_allclose(mean, c.cross, rtol=0, atol=1e-5)
        assert c.cross.min() > 0.05

    def test_held_out_integrand_is_that_of_the_gaussian_pair(self):
        c, _ = corrected(pair_counts(gaussian_pairs(0.6, 40, 2000, seed=4)))
        alpha2 = 1 / (1 + np.exp(-np.array(LEVELS.logsnr)))
        exact = 1 - 0.64 / (alpha2 * 0.64 + 1 - alpha2)
        np.testing.assert_allclose(c.held_out.mean(0), exact, atol=0.02)
        assert exact.max() > 0.2

    def test_ties_are_broken_in_all_ways_at_once(self):
        """The estimate of a rounded target is the mean over random ways to break its ties."""
        rng = np.random.default_rng(5)
        x, y = gaussian_pairs(0.5, 1, 400, seed=5)[0]
        rounded = np.round(x)
        broken = [(rounded + 0.1 * rng.random(400), y) for _ in range(60)]
        drawn = denoiser.direct(pair_counts(broken)).x_given_y.mi
        found = denoiser.direct(pair_counts([(rounded, y)])).x_given_y.mi
        assert found[0] == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(60) + 2e-3)
        assert found[0] > 0.05


def heteroscedastic(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    x, e = rng.standard_normal((2, n))
    y = np.exp(x) * e
    nodes, mass = hermegauss(80)
    marginal = stats.norm.pdf(y[:, None], 0, np.exp(nodes)) @ (mass / mass.sum())
    return y, x, stats.norm.logpdf(y, 0, np.exp(x)) - np.log(marginal)


def jump(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    x, e = rng.standard_normal((2, n))
    y = np.sign(x) + e
    by_sign = stats.norm.pdf(y[:, None], [-1, 1], 1)
    return y, x, np.log(by_sign[np.arange(n), (x > 0).astype(int)] / by_sign.mean(1))


def uniform_noise(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Hard edges, whose place among the residuals differs from y to y."""
    x, y = known_mi.additive_uniform(0.25).sample(rng, n)
    return y, x, -np.log(np.minimum(1, y + 0.25) - np.maximum(0, y - 0.25))


def strong_gaussian(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    x, e = rng.standard_normal((2, n))
    y = 0.9 * x + np.sqrt(0.19) * e
    joint = stats.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]]).logpdf(np.stack([x, y], 1))
    return y, x, joint - stats.norm.logpdf(x) - stats.norm.logpdf(y)


@pytest.mark.parametrize(
    ("draw", "off", "close"),
    [
        (heteroscedastic, 0.07, 0.25),
        (jump, 0.06, 0.18),
        (uniform_noise, 0.18, 0.4),  # the shape of all residuals is less than .07 nats
        (strong_gaussian, 0.03, 0.12),
    ],
)
class TestWarp:
    """Each draw is (target, source, exact log ratio)."""

    def test_log_ratio_is_close_to_the_exact_one(self, draw, off, close):
        x, y, exact = draw(np.random.default_rng(0), 2000)
        found, of = warped(x, y)
        log_ratio, residual = (
            of_samples(x, y, v[of.of(0)]) for v in (found.log_ratio, found.residual)
        )
        assert log_ratio.mean() + found.optimism[0] == pytest.approx(exact.mean(), abs=off)
        assert abs(log_ratio - within_entries(x, y, exact)).mean() < close
        assert abs(exact).mean() > 2 * close  # which a constant 0 would fail
        assert (residual**2).mean() == pytest.approx(1, abs=0.15)
        assert 0 < found.optimism[0] < 60 / exact.size

    def test_with_its_correction_it_is_closer(self, draw, off, close):
        x, y, exact = draw(np.random.default_rng(1), 2000)
        found = denoiser.warped(pair_counts([(x, y)])).x_given_y
        assert found.mi[0] == pytest.approx(exact.mean(), abs=max(0.03, off / 3))
        w, of = warped(x, y)
        t = tables(denoiser._RESIDUAL, LEVELS)
        lookups = denoiser._lookups(t, of.y)
        c = denoiser._correct(of, w.row, t.curves, lookups, w.samples, t)
        level = np.repeat(np.arange(of.y.shape[1]), np.diff(of.start[0]))
        here = of.of(0)
        of_half = np.einsum(
            "mj,hjq,mq->mh", t.curves[w.row[here]], c.influence[0], lookups[0, level]
        )
        share = of.weight[here] / of.weight[here].sum(1, keepdims=True)
        by_entry = w.log_ratio[here] + plain.sound(c, of.n)[0] * (share * of_half).sum(1)
        influence = of_samples(x, y, by_entry)
        assert abs(influence - exact).mean() < 1.1 * close
        assert influence.mean() == pytest.approx(found.mi[0], abs=0.02)

    def test_samples_read_what_levels_do(self, draw, off, close):
        x, y, exact = draw(np.random.default_rng(2), 1000)
        assert abs(exact).mean() > 2 * close
        by_levels = denoiser.warped(pair_counts([(x, y)]))
        half = half_of(0, np.arange(1000))
        of = Samples(ordinal_codes(x), ordinal_codes(y), half)
        by_samples = denoiser.warped_samples([of])
        for one, other in zip(by_levels, by_samples, strict=True):
            assert one.mi[0] == pytest.approx(other.mi[0], abs=0.025)
            assert one.se[0] == pytest.approx(other.se[0], rel=0.3)
        assert by_samples.x_given_y.mi[0] == pytest.approx(exact.mean(), abs=off)


def test_a_pair_reads_the_same_to_the_bit_beside_any_others():
    rng = np.random.default_rng(8)
    x, e = rng.standard_normal((2, 7, 400))
    counts = pair_counts(list(zip(x, x**2 + np.linspace(0.1, 3, 7)[:, None] * e, strict=True)))
    together = denoiser.warped(counts)
    for k in range(7):
        alone = denoiser.warped(counts[k : k + 1])
        for one, other in zip(alone, together, strict=True):
            assert all(a[0] == b[k] for a, b in zip(one, other, strict=True))


def test_rare_values_of_the_source_do_not_throw_the_scale():
    """Three rare values above many ties, 30 samples: no sample is e^20 times less likely."""
    lowest = 0.0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = np.where(rng.random(30) < 0.9, 0.0, rng.standard_normal(30))
        if np.ptp(y) > 0:
            lowest = min(lowest, warped(rng.standard_normal(30), y)[0].log_ratio.min())
    assert lowest > -20


def test_location_follows_the_curve():
    x, e = np.random.default_rng(4).standard_normal((2, 2000))
    y = np.sin(3 * x) + 0.1 * e
    found, of = warped(y, x)
    level = levels(ordinal_codes(x)).level
    location = found.location[0, level]
    assert np.corrcoef(location, scores(np.sin(3 * x)))[0, 1] > 0.95
    assert abs(np.corrcoef(x, of_samples(y, x, found.residual[of.of(0)]))[0, 1]) < 0.1


def test_knots_come_from_a_ladder():
    n = np.arange(8, 5000)
    knots = np.array([n_knots(int(k), int(k)) for k in n])
    assert (np.diff(knots) >= 0).all()
    assert (knots[n >= 64] <= n[n >= 64] / 4).all()
    assert (knots[n >= 64] > n[n >= 64] / 8).sum() > 0.4 * n.size
    assert len(set(knots.tolist())) <= 11
    assert (n_knots(8, 8), n_knots(30, 30), n_knots(10**6, 10**6)) == (16, 16, 512)
    assert (n_knots(5000, 3), n_knots(5000, 112)) == (16, 96)  # no more than there are levels


@pytest.mark.parametrize("estimate", [denoiser.direct, denoiser.warped])
class TestBothWays:
    def test_padding_and_neighbours_change_nothing(self, estimate):
        """Pairs of 30 to 700 samples in one batch, on both sides of the ladder's steps."""
        lengths = (700, 30, 31, 95, 96, 400, 101)
        rng = np.random.default_rng(6)
        pairs = []
        for s, n in enumerate(lengths):
            x, e = rng.standard_normal((2, n))
            pairs.append((x, [x + e, x**2 + e, 0 * x + e][s % 3]))
        together = estimate(pair_counts(pairs))
        for s, one in enumerate(pairs):
            alone = estimate(pair_counts([one], (112, 112)))
            for name in Found._fields:
                for found, other in zip(together, alone, strict=True):
                    difference = getattr(found, name)[s] - getattr(other, name)[0]
                    assert abs(difference) < 1e-5, (name, lengths[s])

    def test_chunks_of_a_batch_do_not_matter(self, estimate, monkeypatch):
        counts = pair_counts(gaussian_pairs(0.6, 7, 100, seed=7))
        whole = estimate(counts)
        monkeypatch.setattr(plain, "_PAIRS", 3)
        np.testing.assert_allclose(estimate(counts).x_given_y.mi, whole.x_given_y.mi, atol=1e-5)

    def test_the_order_of_samples_and_of_a_pair_does_not_matter(self, estimate):
        rng = np.random.default_rng(11)
        x, e = rng.standard_normal((2, 600))
        pair = ordinal_codes(np.round(x, 1)), ordinal_codes(x**2 + e)
        half = half_of(0, np.arange(600))
        order = rng.permutation(600)
        one = np.zeros(1, dtype=int)

        def found(order: np.ndarray) -> BothWays:
            x, y = (levels(codes[order]).level[None] for codes in pair)
            return estimate(count_tables(x, y, half[order], one, one, (112, 112)))

        assert found(order) == found(np.arange(600))
        turned = estimate(
            pair_counts([(x**2 + e, np.round(x, 1))], (112, 112)),
        )
        mine = estimate(pair_counts([(np.round(x, 1), x**2 + e)], (112, 112)))
        np.testing.assert_allclose(turned.y_given_x.mi, mine.x_given_y.mi, atol=1e-6)

    def test_standard_error_is_the_scatter_over_data_sets(self, estimate):
        found = estimate(pair_counts(gaussian_pairs(0.6, 100, 500, seed=8))).x_given_y
        covered = abs(found.mi + 0.5 * np.log1p(-0.36)) < 1.96 * found.se
        assert covered.mean() > 0.85
        assert 0.7 < found.se.mean() / found.mi.std() < 1.6

    def test_few_samples_and_ties_stay_finite(self, estimate):
        rng = np.random.default_rng(9)
        pairs = []
        for n in (8, 9, 16, 30, 31):
            x = rng.standard_normal(n)
            pairs += [(x, x), (x, -x), (x, rng.standard_normal(n)), (x, (x > 0) * 1.0)]
        for found in estimate(pair_counts(pairs)):
            for name, values in found._asdict().items():
                assert np.isfinite(values).all(), name


def test_warped_adds_up():
    """mi lies between the direct form and what both halves' fits make of the same samples."""
    found = denoiser.warped(pair_counts(gaussian_pairs(0.9, 20, 1000, seed=10))).x_given_y
    assert abs(found.mi - found.direct).max() < 0.05
    assert abs(found.mi - found.orthogonal).max() < 0.1
    assert (found.ess == 1).all()
    assert found.mi.mean() == pytest.approx(-0.5 * np.log(0.19), abs=0.03)


def test_thin_tails_of_residuals_count() -> None:
    """A scale that varies: the pooled residuals have thin tails, without which this was read .015 too high."""
    rng = np.random.default_rng(21)
    x, e = rng.standard_normal((2, 20_000))
    y = (0.3 + x**2 / 2) * e
    grid, step = np.linspace(-9, 9, 3601, retstep=True)
    scale, weight = 0.3 + grid**2 / 2, stats.norm.pdf(grid) * step
    at = np.concatenate([-np.geomspace(200, 1e-5, 4000), np.geomspace(1e-5, 200, 4000)])
    density = (weight * stats.norm.pdf(at[:, None] / scale) / scale).sum(1)
    entropy = -np.trapezoid(density * np.log(np.maximum(density, 1e-300)), at)
    exact = entropy - 0.5 * np.log(2 * np.pi * np.e) - weight @ np.log(scale)
    found = denoiser.warped(pair_counts([(y, x)])).x_given_y
    assert found.mi[0] == pytest.approx(exact, abs=0.008)
    assert exact == pytest.approx(0.262, abs=1e-3)


class TestEntries:
    """Kernels against plain NumPy."""

    @pytest.fixture(scope="class")
    @staticmethod
    def pair() -> tuple[np.ndarray, e.Entries]:
        rng = np.random.default_rng(12)
        x, noise = rng.standard_normal((2, 800))
        counts = pair_counts([(np.round(3 * x), x + noise), (x, np.maximum(noise + x, 0))])
        return counts, denoiser._entries(counts)

    @pytest.mark.parametrize("direction", range(4))
    def test_entries_hold_the_counts(self, pair, direction):
        counts, found = pair
        p, swapped = direction % 2, direction >= 2
        table = counts[p].swapaxes(1, 2) if swapped else counts[p]
        for b in range(table.shape[2]):
            held = found.weight[found.start[direction, b] : found.start[direction, b + 1]]
            np.testing.assert_allclose(held.sum(0), table[:, :, b].sum(1), rtol=1e-5)
        chosen = found.of(direction)
        weight = found.weight[chosen].sum(1)
        # points of all levels together are N(0, 1)
        assert np.average(found.x[chosen], weights=weight) == pytest.approx(0, abs=1e-5)
        assert np.average(found.square[chosen], weights=weight) == pytest.approx(1, abs=0.01)
        assert (found.square[chosen] >= found.x[chosen] ** 2 - 1e-5).all()

    def test_sums_and_influences(self, pair):
        _, found = pair
        rng = np.random.default_rng(13)
        curves = rng.standard_normal((50, 7)).astype(np.float32)
        row = rng.integers(0, 50, len(found.x))
        of_level = rng.standard_normal((4, 2, found.y.shape[1], 7)).astype(np.float32)
        log_ratio = rng.standard_normal(len(found.x)).astype(np.float32)
        sums = entry_sums.level_sums(found.start, found.x, log_ratio, found.weight)
        moments = entry_sums.moments(found.start, row, found.weight, curves)
        first, second = entry_sums.influence_sums(
            found.start, row, found.weight, log_ratio, curves, of_level
        )
        for s in range(4):
            chosen = found.of(s)
            level = np.repeat(np.arange(found.y.shape[1]), np.diff(found.start[s]))
            w, at, ell = found.weight[chosen], curves[row[chosen]], log_ratio[chosen]
            for b in np.unique(level):
                here = level == b
                np.testing.assert_allclose(sums[:2, s, b], w[here].sum(0), rtol=1e-4)
                expected = [w[here].sum(1) @ v[here] for v in (found.x[chosen], ell)]
                np.testing.assert_allclose(sums[2:, s, b], expected, rtol=1e-3, atol=1e-3)
                np.testing.assert_allclose(
                    moments[s, :, b], w[here].T @ at[here], rtol=1e-3, atol=1e-3
                )
            value = ell[:, None] + np.einsum("mj,mhj->mh", at, of_level[s].swapaxes(0, 1)[level])
            assert first[s] == pytest.approx((w * value).sum(), rel=1e-3, abs=0.05)
            assert second[s] == pytest.approx((w * value**2).sum(), rel=1e-3)

    @pytest.mark.parametrize("law", ["normal", "uniform", "peaked"])
    def test_shape_is_that_of_sorted_spacings(self, law):
        """Every sample an entry: the m-spacings of the sorted sample, by NumPy."""
        rng = np.random.default_rng(14)
        n, span = 900, 30
        r = {
            "normal": rng.standard_normal(n),
            "uniform": rng.uniform(-1.7, 1.7, n),
            "peaked": rng.laplace(0, 0.7, n),
        }[law].astype(np.float32)
        u = np.append(np.sort(stats.norm.cdf(r)), np.inf)
        k = np.arange(n)
        # as far to both sides as there are samples, and half a span at most, two samples at least
        half = np.clip(np.minimum(k, n - 1 - k), 2, span // 2)
        low = np.clip(k - half, 0, n - 1 - 2 * half)
        own = np.empty(n)
        own[np.argsort(r)] = digamma(2 * half) - digamma(n + 1) - np.log(u[low + 2 * half] - u[low])
        log_ratio, row = np.zeros(n, dtype=np.float32), basis.row(r)
        zeros = np.zeros(n, dtype=np.float32)
        spacings.spacings(
            np.array([[0, n]]),
            r,
            zeros,
            zeros,
            np.stack([np.ones(n), np.zeros(n)], 1).astype(np.float32),
            np.array([float(span)]),
            np.array([digamma(n + 1)]),
            np.array([-1.0]),
            basis.uniform(),
            log_ratio,
            row,
        )
        np.testing.assert_allclose(log_ratio, own, atol=5e-3)
        ranks = (np.argsort(np.argsort(r)) + 0.5) / n
        assert abs(row - basis.row(ndtri(ranks))).max() <= 1
        assert (law == "normal") == (abs(own).mean() < 0.2)
