"""The spline denoiser from its parts up: band solver, basis, tables, levels, correction, warp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy import stats
from scipy.special import ndtri

from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.batch import Directions, halves
from mmg_ray.estimator.marginals import midrank_scores, ordinal_codes
from mmg_ray.estimator.spline import band, basis, denoiser
from mmg_ray.estimator.spline.basis import Shape, adapted_levels, spread_levels, tables
from mmg_ray.estimator.spline.correction import Correction, correct
from mmg_ray.estimator.spline.warp import Warp, n_knots, rank_scores, warp

CPU = torch.device("cpu")
CFG = EstimatorConfig("spline")
SHAPE, LEVELS = Shape(6, 6, 24), adapted_levels(6)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def scores(values: np.ndarray) -> np.ndarray:
    """Mid-rank normal scores along the last axis."""
    rows = [midrank_scores(ordinal_codes(row)) for row in values.reshape(-1, values.shape[-1])]
    return np.stack(rows).reshape(values.shape)


def directions(x: np.ndarray, y: np.ndarray) -> Directions:
    """Directions "row of x given row of y", (S, N) raw values without ties."""
    return padded([*zip(x, y, strict=True)])


def padded(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Directions:
    """The same of different lengths."""
    n = torch.tensor([len(x) for x, _ in pairs])
    both = torch.zeros(2, len(pairs), int(n.max()), dtype=torch.float64)
    for s, values in enumerate(pairs):
        both[:, s, : n[s]] = torch.from_numpy(scores(np.stack(values)))
    names = tuple(f"v{s}" for s in range(len(pairs)))
    return Directions(both[0][:, None, :, None], both[1][..., None], n, names, names)


def gaussian_pairs(rho: float, count: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, e = np.random.default_rng(seed).standard_normal((2, count, n))
    return x, rho * x + np.sqrt(1 - rho**2) * e


def corrected(batch: Directions) -> Correction:
    """The correction alone, before any gate."""
    n = batch.y.shape[1]
    return correct(
        batch.draws[..., 0].float(),
        batch.y[..., 0].float(),
        halves(0, n, CPU),
        batch.mask().float(),
        tables(SHAPE, LEVELS, CPU),
        PENALTIES,
        1,
    )


def warped(x: np.ndarray, y: np.ndarray) -> Warp:
    """Location, scale and shape of one direction, raw values."""
    batch = directions(x[None], y[None])
    return warp(batch.x[..., 0], batch.y[..., 0], batch.n, batch.mask().double())


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
        [
            denoiser._DIRECT,
            denoiser._RESIDUAL,
            denoiser._FINE,
        ],
        ids=str,
    )
    def test_tables_hold_the_averages_over_noise(self, shape):
        """E[w B_a | r] and E[B_a B_a' | r] at every level, by sums over a fine grid of eps."""
        t = tables(shape, LEVELS, CPU)
        cells = basis.cell(torch.from_numpy(np.random.default_rng(0).uniform(-2.5, 2.5, 25)))
        r = np.linspace(-6, 6, t.curves.shape[0])[cells]  # the table's own points
        eps = np.linspace(-8, 8, 2001)
        mass = stats.norm.pdf(eps) / stats.norm.pdf(eps).sum()
        i, j = np.triu_indices(shape.n_target)
        curves = t.curves[cells].double().numpy()
        for k, logsnr in enumerate(LEVELS.logsnr):
            alpha, sigma = np.sqrt(1 / (1 + np.exp([-logsnr, logsnr])))
            b = basis.functions(shape.n_target, alpha * r[:, None] + sigma * eps)
            w = (alpha * eps - sigma * r[:, None]) * mass
            found = curves @ t.linear[k].double().numpy().T
            np.testing.assert_allclose(found, (b * w[..., None]).sum(1), atol=0.02)
            squares = b.transpose(0, 2, 1) @ (b * mass[:, None])
            found = curves @ t.quadratic[k].double().numpy().T
            np.testing.assert_allclose(found, squares[:, i, j], atol=0.03)  # of squares around 1

    def test_tables_hold_the_functions_of_the_source(self):
        t = tables(SHAPE, LEVELS, CPU)
        y = np.linspace(-2.5, 2.5, 101)
        cells = basis.cell(torch.from_numpy(y))
        own = basis.functions(6, np.linspace(-6, 6, t.curves.shape[0])[cells])
        p, q = np.triu_indices(6)
        lookups = t.lookups[cells]
        np.testing.assert_allclose(lookups @ t.single.T, own, atol=0.02)
        np.testing.assert_allclose(lookups @ t.product.T, own[:, p] * own[:, q], atol=0.02)

    def test_gram_entries_are_where_the_tables_put_them(self):
        """One sample: the Gram matrix of its functions is E[B_a B_a'] B_b B_b'."""
        t = tables(SHAPE, LEVELS, CPU)
        place = torch.tensor([0.3]), torch.tensor([-0.8])
        curve, lookup = t.curves[basis.cell(place[0])][0], t.lookups[basis.cell(place[1])][0]
        flat = torch.outer(t.quadratic[0] @ curve, t.product @ lookup).flatten()
        gram = flat[t.entry].view(len(t.roughness), -1)
        i, j = np.triu_indices(6)
        squares = torch.zeros(6, 6)
        squares[i, j] = squares[j, i] = t.quadratic[0] @ curve
        own = t.single @ lookup
        expected = squares[t.of_target][:, t.of_target] * torch.outer(
            own[t.of_source], own[t.of_source]
        )
        torch.testing.assert_close(gram, expected, rtol=0.01, atol=0.01)

    def test_a_score_off_the_tables_is_their_end(self):
        found = basis.cell(torch.tensor([-50.0, -6.0, 0.0, 6.0, torch.inf]))
        assert found.tolist() == [0, 0, 1200, 2400, 2400]


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
        batch = directions(*gaussian_pairs(rho, 40, 1000, seed=1))
        found = denoiser.direct(batch, CFG)
        exact = -0.5 * np.log1p(-(rho**2))
        error = float(found.mi.std()) / np.sqrt(40)
        assert float(found.mi.mean()) == pytest.approx(exact, abs=3 * error + 0.03 * exact)
        assert exact > 4 * error  # which a constant 0 would fail

    def test_cross_product_of_independent_pairs_averages_to_zero(self):
        """Mean over 200 pairs before any gate; the direct form pays for the noise of its fits.

        About 1 / n is left: halves share the ranks, so their means of any score are opposite (less),
        and the penalty is chosen on the same samples (more).
        """
        n = 300
        c = corrected(directions(*np.random.default_rng(2).standard_normal((2, 200, n))))
        error = c.cross.std() / 200**0.5
        assert abs(c.cross.mean()) < 3 * error + 1.2 / n
        assert c.direct.mean() < -3 / n  # so large a bias would not pass

    def test_influence_averages_to_the_estimate(self):
        c = corrected(directions(*gaussian_pairs(0.5, 10, 400, seed=3)))
        torch.testing.assert_close(c.influence.mean(1), c.cross, rtol=0, atol=1e-5)
        odd = corrected(directions(*gaussian_pairs(0.5, 10, 401, seed=3)))
        torch.testing.assert_close(odd.influence.mean(1), odd.cross, rtol=0, atol=2e-3)
        assert c.cross.min() > 0.05

    def test_held_out_integrand_is_that_of_the_gaussian_pair(self):
        c = corrected(directions(*gaussian_pairs(0.6, 40, 2000, seed=4)))
        alpha2 = 1 / (1 + np.exp(-np.array(LEVELS.logsnr)))
        exact = 1 - 0.64 / (alpha2 * 0.64 + 1 - alpha2)
        np.testing.assert_allclose(c.held_out.mean(0), exact, atol=0.02)
        assert exact.max() > 0.2

    def test_draws_of_ties_are_averaged(self):
        """Four times the same draw is that draw; two draws are between the two."""
        one = directions(*gaussian_pairs(0.5, 3, 200, seed=5))
        four = one._replace(draws=one.draws.expand(-1, 4, -1, -1))
        torch.testing.assert_close(corrected(one).cross, corrected(four).cross, rtol=0, atol=1e-6)


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
    """Hard edges, which the shape of the residual sees."""
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
        (heteroscedastic, 0.05, 0.25),
        (jump, 0.06, 0.18),
        (uniform_noise, 0.08, 0.3),
        (strong_gaussian, 0.03, 0.12),
    ],
)
class TestWarp:
    """Each draw is (target, source, exact log ratio)."""

    def test_log_ratio_is_close_to_the_exact_one(self, draw, off, close):
        x, y, exact = draw(np.random.default_rng(0), 2000)
        found = warped(x, y)
        log_ratio = found.log_ratio[0].numpy()
        assert log_ratio.mean() + float(found.optimism) == pytest.approx(exact.mean(), abs=off)
        assert abs(log_ratio - exact).mean() < close
        assert abs(exact).mean() > 2 * close  # which a constant 0 would fail
        assert float(found.residual.square().mean()) == pytest.approx(1, abs=0.15)
        assert 0 < float(found.optimism) < 60 / exact.size

    def test_with_its_correction_it_is_closer(self, draw, off, close):
        x, y, exact = draw(np.random.default_rng(1), 2000)
        found = denoiser.warped(directions(x[None], y[None]), CFG)
        assert float(found.mi) == pytest.approx(exact.mean(), abs=max(0.03, off / 2))
        influence = found.influence[0].numpy()
        assert abs(influence - exact).mean() < 1.1 * close
        assert influence.mean() == pytest.approx(float(found.mi), abs=0.02)


def test_rare_values_of_the_source_do_not_throw_the_scale():
    """Three rare values above many ties, 30 samples: no sample is e^20 times less likely."""
    lowest = 0.0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = np.where(rng.random(30) < 0.9, 0.0, rng.standard_normal(30))
        if np.ptp(y) > 0:
            lowest = min(lowest, float(warped(rng.standard_normal(30), y).log_ratio.min()))
    assert lowest > -20


def test_location_follows_the_curve():
    x, e = np.random.default_rng(4).standard_normal((2, 2000))
    y = np.sin(3 * x) + 0.1 * e
    found = warped(y, x)
    assert np.corrcoef(found.location[0], scores(np.sin(3 * x)))[0, 1] > 0.95
    assert abs(np.corrcoef(x, found.residual[0])[0, 1]) < 0.1


def test_knots_come_from_a_ladder():
    n = np.arange(8, 5000)
    knots = np.array([n_knots(int(k)) for k in n])
    assert (np.diff(knots) >= 0).all()
    assert (knots[n >= 64] <= n[n >= 64] / 4).all()
    assert (knots[n >= 64] > n[n >= 64] / 8).sum() > 0.4 * n.size
    assert len(set(knots.tolist())) <= 11
    assert (n_knots(8), n_knots(30), n_knots(10**6)) == (16, 16, 512)


def test_rank_scores_leave_the_padding_out():
    values = torch.tensor([[3.0, -1.0, 2.0, 0.0, 0.0], [1.0, 5.0, 4.0, 3.0, 2.0]])
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found = rank_scores(values, torch.tensor([3, 5]), mask)
    np.testing.assert_allclose(found[0], [*ndtri((np.array([2, 0, 1]) + 0.5) / 3), 0, 0])
    np.testing.assert_allclose(found[1], ndtri((np.array([0, 4, 3, 2, 1]) + 0.5) / 5))


def test_halves_are_balanced_in_every_leading_part():
    whole = halves(0, 1001, CPU)
    for n in (8, 30, 31, 500, 1000):
        part = halves(0, n, CPU)
        assert part.tolist() == whole[:n].tolist()  # so a batch can be padded and trimmed
        assert abs(2 * int(part.sum()) - n) <= 1
    assert 200 < int((whole[::2] == 0).sum()) < 300  # not simply every other sample
    assert (halves(1, 1001, CPU) != whole).any()


@pytest.mark.parametrize("estimate", [denoiser.direct, denoiser.warped])
class TestBothLevels:
    def test_padding_and_neighbours_change_nothing(self, estimate):
        """Directions of 30 to 700 samples in one batch, on both sides of the ladder's steps."""
        lengths = (700, 30, 31, 95, 96, 400, 101)
        rng = np.random.default_rng(6)
        pairs = []
        for s, n in enumerate(lengths):
            x, e = rng.standard_normal((2, n))
            pairs.append((x, [x + e, x**2 + e, 0 * x + e][s % 3]))
        together = estimate(padded(pairs), CFG)
        for s, one in enumerate(pairs):
            alone = estimate(padded([one]), CFG)
            for name in ("mi", "direct", "orthogonal"):
                difference = float(getattr(together, name)[s] - getattr(alone, name)[0])
                assert abs(difference) < 1e-5, (name, lengths[s])
            assert (together.influence[s, lengths[s] :] == 0).all()
            n = torch.tensor([lengths[s]])
            se = together.standard_error(torch.tensor(lengths))[s] - alone.standard_error(n)[0]
            assert abs(float(se)) < 1e-5

    def test_chunks_of_a_batch_do_not_matter(self, estimate, monkeypatch):
        batch = directions(*gaussian_pairs(0.6, 7, 100, seed=7))
        whole = estimate(batch, CFG)
        monkeypatch.setitem(denoiser._CHUNK, "cpu", 3)
        torch.testing.assert_close(estimate(batch, CFG).mi, whole.mi, rtol=0, atol=1e-5)

    def test_standard_error_is_the_scatter_over_data_sets(self, estimate):
        batch = directions(*gaussian_pairs(0.6, 100, 500, seed=8))
        found = estimate(batch, CFG)
        se = found.standard_error(batch.n)
        covered = (found.mi + 0.5 * np.log1p(-0.36)).abs() < 1.96 * se
        assert float(covered.double().mean()) > 0.85
        assert 0.7 < float(se.mean() / found.mi.std()) < 1.6

    def test_few_samples_and_ties_stay_finite(self, estimate):
        rng = np.random.default_rng(9)
        pairs = []
        for n in (8, 9, 16, 30, 31):
            x = rng.standard_normal(n)
            pairs += [(x, x), (x, -x), (x, rng.standard_normal(n)), (x, (x > 0) * 1.0)]
        batch = padded(pairs)
        found = estimate(batch, CFG)
        for name in ("mi", "direct", "orthogonal", "influence"):
            assert torch.isfinite(getattr(found, name)).all(), name
        assert torch.isfinite(found.standard_error(batch.n)).all()


def test_warped_adds_up():
    """mi lies between the direct form and what both halves' fits make of the same samples."""
    batch = directions(*gaussian_pairs(0.9, 20, 1000, seed=10))
    found = denoiser.warped(batch, CFG)
    assert (found.mi - found.direct).abs().max() < 0.05
    assert (found.influence.mean(1) - found.direct).abs().max() < 0.1
    assert (found.ess == 1).all()
