"""Every pair goes as deep as it needs: gates, labels, ties, holes, and what the numbers are worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

import mmg_ray
from mmg_ray import known_mi
from mmg_ray.config import CascadeConfig, EstimatorConfig, NetworkConfig
from mmg_ray.estimator.cascade import denoisers
from mmg_ray.estimator.cascade.denoisers import DENOISERS
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import screen
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.schema import PairEstimate, PairEstimates, Status, Stop, Variable

CHEAP = NetworkConfig(n_steps=50)
NUMBERS = ("mi_nats", "se_nats", "mi_ij", "mi_ji", "gap", "orthogonal")


def config(name: str = "auto", **settings) -> EstimatorConfig:
    cascade = CascadeConfig(**settings.pop("cascade", {}))
    return EstimatorConfig(name, network=CHEAP, cascade=cascade, **settings)


def variable(name: str, values: np.ndarray) -> Variable:
    return Variable(name, ordinal_codes(values)[:, None])


def table(columns: list[np.ndarray]) -> dict[int, Variable]:
    return {k: variable(f"v{k}", column) for k, column in enumerate(columns)}


def pair(x: np.ndarray, y: np.ndarray, denoiser: str = "auto", **settings) -> PairEstimate:
    (result,) = estimate_tile(table([x, y]), [(0, 1)], config(denoiser, **settings))
    return result


def many(
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    count: int,
    denoiser: str = "auto",
    seed: int = 0,
    **settings,
) -> PairEstimates:
    """`count` pairs that share no variable."""
    rng = np.random.default_rng(seed)
    columns = [column for _ in range(count) for column in draw(rng)]
    pairs = [(2 * k, 2 * k + 1) for k in range(count)]
    return estimate_tile(table(columns), pairs, config(denoiser, **settings))


def table_mi(p: np.ndarray) -> float:
    """MI of a table of probabilities, by its sum."""
    product = p.sum(1, keepdims=True) * p.sum(0)
    inside = p > 0
    return float((p[inside] * np.log(p[inside] / product[inside])).sum())


@pytest.fixture(scope="module")
def mixture() -> dict[int, Variable]:
    """Ten variables, pairs of which are of every kind: strong, weak, none; tied or not."""
    rng = np.random.default_rng(0)
    x, y, *e = rng.standard_normal((9, 300))
    return table(
        [
            x,
            x + 0.5 * e[0],
            0.25 * x + e[1],
            x**2 + e[2],
            np.round(x + e[3]),
            y,
            np.where(rng.random(300) < 0.9, 0, y),
            rng.poisson(np.exp(y / 2)).astype(float),
            (x > 0.5).astype(float),
            e[4],
        ]
    )


ALL_PAIRS = [(i, j) for i in range(10) for j in range(i + 1, 10)]


class TestGates:
    def test_each_row_says_where_it_stopped_and_why(self, mixture):
        cfg = config()
        found = estimate_tile(mixture, ALL_PAIRS, cfg)
        seen = set()
        for row in found:
            seen.add((row.denoiser, row.stop))
            if row.denoiser == "contingency":
                assert row.stop is Stop.CONVERGED
            elif row.p_value > cfg.cascade.p_value and "binned ranks" not in row.message:
                assert (row.denoiser, row.stop) == ("screen", Stop.NOT_SIGNIFICANT)
            elif row.stop is Stop.WEAK:
                in_cells = "binned ranks" in row.message
                assert row.denoiser == ("screen" if in_cells else "spline-direct")
                assert row.mi_nats <= cfg.cascade.mi_nats
            elif row.stop is Stop.CONVERGED:
                assert row.denoiser in ("spline", "neighbours")
            else:
                raise AssertionError(row)
        # every way to stop occurs
        tiers = {name for name, _ in seen}
        assert {"screen", "contingency", "spline-direct", "spline"} <= tiers

    def test_a_plainly_dependent_pair_never_reads_nothing(self):
        """Weak dependence of variables with zeros: held-out samples show nothing of it at times."""

        def sample(rng):
            x, e = rng.standard_normal((2, 700))
            y = 0.16 * x + np.sqrt(1 - 0.16**2) * e
            return np.maximum(x, 0), np.maximum(y - 0.5, 0)

        rows = many(sample, 150)
        plain = rows.p_value <= 1e-3
        assert plain.sum() > 30
        assert (rows.mi_nats[plain] > 0).all()
        kept = plain & rows.denoiser.isin(["screen"])
        assert kept.any()
        assert (rows.se_nats[kept] > 0.003).all()

    def test_open_gates_are_the_forced_denoiser(self, mixture):
        cascade = {"p_value": 1.0, "mi_nats": 0.0}
        opened = estimate_tile(mixture, ALL_PAIRS, config(cascade=cascade))
        forced = estimate_tile(mixture, ALL_PAIRS, config("spline"))
        deep = opened.denoiser.isin(["spline", "neighbours"])
        assert deep.mean() > 0.5  # the rest read 0 at level 1
        for name in NUMBERS:
            np.testing.assert_allclose(
                getattr(opened, name)[deep], getattr(forced, name)[deep], rtol=0, atol=1e-5
            )
        assert set(forced.stop.counts()) == {"forced"}
        assert {"spline", "contingency"} <= set(forced.denoiser.counts())

    @pytest.mark.parametrize("n", [300, 1000])
    def test_checks_that_no_smooth_function_sees_get_through(self, n):
        task = known_mi.checkerboard(6)
        rows = many(lambda rng: task.sample(rng, n), 6)
        deep = rows.p_value <= 0.1
        assert deep.sum() >= 2
        assert (rows.mi_nats[deep] > 0.3).all()

    def test_a_shut_gate_keeps_the_screen(self, mixture):
        shut = estimate_tile(mixture, ALL_PAIRS, config(cascade={"p_value": 1e-300}))
        screened = estimate_tile(mixture, ALL_PAIRS, config("screen"))
        kept = shut.denoiser.isin(["screen"])
        assert shut.denoiser.counts() == {
            "screen": 43,
            "contingency": 2,
        }  # tables are not behind the gate
        assert shut.stop.isin(["not_significant"])[kept].all()
        for name in (*NUMBERS, "p_value", "spearman"):
            np.testing.assert_array_equal(getattr(shut, name)[kept], getattr(screened, name)[kept])

    def test_a_high_second_gate_keeps_level_one(self, mixture):
        cascade = {"p_value": 1.0, "weak_nats": 0.0, "mi_nats": 99.0}
        found = estimate_tile(mixture, ALL_PAIRS, config(cascade=cascade))
        tabled = found.denoiser.isin(["contingency"])
        assert 0 < tabled.sum() < 10
        kept = found.denoiser.isin(["spline-direct"])
        assert kept[~tabled].all()
        np.testing.assert_array_equal(found.stop.isin(["weak"]), kept)

    @pytest.mark.parametrize("name", [name for name in DENOISERS if name != "auto"])
    def test_a_forced_denoiser_takes_every_pair(self, name, mixture):
        found = estimate_tile(mixture, ALL_PAIRS[:12], config(name))
        own = found.denoiser.isin([name])
        assert own.sum() >= 11  # counts against labels may be a table
        assert found.denoiser.isin(["contingency"])[~own].all()
        assert found.stop.counts() == {"forced": 12}

    def test_the_test_of_independence_is_the_same_under_every_denoiser(self, mixture):
        tiles = [estimate_tile(mixture, ALL_PAIRS[:12], config(name)) for name in DENOISERS]
        for tile in tiles[1:]:
            np.testing.assert_array_equal(tile.p_value, tiles[0].p_value)
            np.testing.assert_array_equal(tile.spearman, tiles[0].spearman)
        assert (tiles[0].p_value < 1e-4).any()
        assert (tiles[0].p_value > 1e-3).any()

    def test_weak_pairs_keep_the_value_of_the_screen(self):
        found = many(lambda rng: rng.standard_normal((2, 200)), 40)
        kept = found.denoiser.isin(["screen"])
        assert 0.75 < kept.mean() < 1
        assert (found.p_value[kept] > 0.1).all()
        for name in ("mi_ij", "mi_ji", "gap", "orthogonal"):
            np.testing.assert_array_equal(getattr(found, name)[kept], found.mi_nats[kept])
        assert found.mi_nats[kept].max() < 0.05
        assert (found.se_nats[kept] > 0).all()

    def test_a_significant_pair_that_level_one_misses_goes_deeper(self):
        """sin 4x: p about 1e-11, level 1 may read 0."""

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            x, e = rng.standard_normal((2, 300))
            return x, np.sin(4 * x) + 0.1 * e

        found = many(draw, 10)
        assert found.p_value.max() < 1e-6
        assert found.mi_nats.min() > 0.8  # about 1.6

    def test_branches_that_no_moment_sees_are_seen_in_cells(self):
        """y = +-cos 3x + noise: 0.32 nats at a p-value that is uniform, or nearly."""

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            x, e = rng.standard_normal((2, 300))
            return x, rng.choice([-1, 1], 300) * np.cos(3 * x) + 0.3 * e

        found = many(draw, 20)
        unseen = found.p_value > 0.1
        assert unseen.mean() > 0.5
        assert np.median(found.mi_nats) > 0.15
        assert (found.mi_nats > 0.02).mean() > 0.8
        for row in np.array(list(found))[unseen]:
            assert "binned ranks" in row.message
            assert (row.denoiser == "neighbours") == (row.stop is Stop.CONVERGED)
        without = many(draw, 20, cascade={"fine_structure": False})
        np.testing.assert_array_equal(without.p_value, found.p_value)
        assert {row.denoiser for row in np.array(list(without))[unseen]} == {"screen"}

    def test_the_gates_say_what_enters(self):
        p, mi = np.array([0.05, 0.05, 0.5, np.nan]), np.array([0.01, 0.2, 0.2, 0.2])
        cfg = CascadeConfig(p_value=0.1, weak_nats=0.02, mi_nats=0.05)
        weak, much = np.array([0.0, 0.0, 0.0, 0.1]), np.full(4, 0.3)
        known = denoisers.Known(p, weak, much, np.ones(4), weak, much, mi)
        missed = known._replace(screen_mi=mi, mi_nats=weak)  # seen by the screen alone
        crowded = known._replace(  # seen by the cells alone
            p_value=np.full(4, 0.5), binned_p_value=p / 10, binned_mi=mi, mi_nats=weak
        )
        gates = {tier.name: tier for tier in denoisers.CASCADE if tier.enters is not None}
        first = next(iter(gates.values()))
        assert first.otherwise is Stop.NOT_SIGNIFICANT
        assert first.enters(known, cfg).tolist() == [True, True, False, True]
        assert gates["spline"].enters(known, cfg).tolist() == [False, True, True, True]
        assert gates["spline"].enters(missed, cfg).tolist() == [False, True, True, True]
        assert first.enters(crowded, cfg).tolist() == [True, True, False, False]
        assert gates["spline"].enters(crowded, cfg).tolist() == [False, True, True, True]
        # significant, and too weak for more to be found whatever the errors
        little = np.full(4, 0.019)
        tiny = known._replace(plausible_mi=little, binned_p_value=p / 10, binned_most=little)
        assert not first.enters(tiny, cfg).any()


class TestTiles:
    """A pair is estimated alike wherever it stands."""

    @pytest.mark.parametrize("name", ["auto", "spline", "screen"])
    @pytest.mark.parametrize("n", [60, 700, 12_000])
    def test_the_same_bits_in_any_tile(self, name, n):
        rng = np.random.default_rng(6)
        z = rng.standard_normal(n)
        values = table(
            [
                z + rng.standard_normal(n),
                z**2 + rng.standard_normal(n),
                3 * z + 0.01 * rng.standard_normal(n),
                np.round(50 * rng.random(n) + 40 * z),
                rng.integers(250, size=n).astype(float),
                rng.poisson(np.exp(z - 2)).astype(float),
                (z + rng.standard_normal(n) > 0.5).astype(float),
                np.where(rng.random(n) < 0.1, np.nan, z + rng.standard_normal(n)),
                np.where(rng.random(n) < 0.9, 0, z),
            ]
        )
        pairs = np.array([(i, j) for i in values for j in range(i)])
        whole = estimate_tile(values, pairs, config(name))
        for part in np.array_split(rng.permutation(len(pairs)), 12):
            assert str(list(estimate_tile(values, pairs[part], config(name)))) == str(
                list(whole.take(part))
            )

    @pytest.mark.parametrize("name", ["auto", "spline", "screen"])
    def test_the_other_way_round(self, name, mixture):
        cfg = config(name)
        tile = estimate_tile(mixture, ALL_PAIRS, cfg)
        turned = estimate_tile(mixture, [(j, i) for i, j in ALL_PAIRS], cfg)
        np.testing.assert_allclose(turned.mi_nats, tile.mi_nats, rtol=0, atol=1e-9)
        np.testing.assert_allclose(turned.mi_ij, tile.mi_ji, rtol=0, atol=1e-9)
        np.testing.assert_allclose(turned.p_value, tile.p_value, rtol=1e-9)

    def test_a_pair_twice_in_a_tile_is_the_same_pair(self, mixture):
        first, other, again = estimate_tile(mixture, [(0, 1), (0, 3), (0, 1)], config())
        assert first.mi_nats == again.mi_nats
        assert first.mi_nats != other.mi_nats

    def test_the_order_of_variables_does_not_matter(self, mixture):
        names = list(range(10))[::-1]
        turned = {names[k]: v for k, v in mixture.items()}
        tile = estimate_tile(mixture, ALL_PAIRS, config())
        other = estimate_tile(turned, [(names[i], names[j]) for i, j in ALL_PAIRS], config())
        np.testing.assert_allclose(other.mi_nats, tile.mi_nats, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", ["auto", "spline", "screen"])
    def test_monotone_maps_change_nothing_to_the_bit(self, name, mixture):
        values = [v.codes[:, 0].astype(float) for v in mixture.values()]
        maps = (np.exp, lambda v: v**3, lambda v: np.sqrt(v + 1), lambda v: np.log1p(v) - 5)
        mapped = [maps[k % 4](v / v.max()) for k, v in enumerate(values)]
        cfg = config(name)
        assert list(estimate_tile(table(values), ALL_PAIRS, cfg)) == list(
            estimate_tile(table(mapped), ALL_PAIRS, cfg)
        )

    @pytest.mark.parametrize("name", ["auto", "spline"])
    def test_reversed_variables_read_nearly_the_same(self, name, mixture):
        values = [v.codes[:, 0].astype(float) for v in mixture.values()]
        cfg = config(name)
        one = estimate_tile(table(values), ALL_PAIRS, cfg)
        other = estimate_tile(table([-v for v in values]), ALL_PAIRS, cfg)
        same = one.denoiser.codes == other.denoiser.codes
        assert same.mean() > 0.7
        off = abs(one.mi_nats - other.mi_nats)[same]
        assert off.mean() < 0.02  # ties are broken otherwise
        np.testing.assert_allclose(one.spearman, other.spearman, atol=1e-10)

    def test_screens_of_blocks_and_of_single_pairs_agree(self, mixture):
        """One missing value in a variable that is else complete: the pair goes its own way."""
        values = [v.codes[:, 0].astype(float) for v in mixture.values()]
        rows = np.arange(300) != 17
        holed = [np.where(rows, v, np.nan) for v in values]
        cfg = config("screen")
        block = estimate_tile(table([v[rows] for v in values]), ALL_PAIRS, cfg)
        single = estimate_tile(table(holed), ALL_PAIRS, cfg)
        assert (single.n_samples == 299).all()
        for name in ("p_value", "mi_nats", "spearman"):
            np.testing.assert_array_equal(getattr(single, name), getattr(block, name))

    @pytest.mark.parametrize("name", ["auto", "spline"])
    def test_missing_samples_are_as_if_they_were_not_in_the_table(self, name, mixture):
        values = [v.codes[:, 0].astype(float) for v in mixture.values()]
        rows = np.random.default_rng(1).random(300) < 0.8
        holed = [np.where(rows, v, np.nan) if k % 2 else v for k, v in enumerate(values)]
        odd = [(i, j) for i, j in ALL_PAIRS if i % 2 or j % 2]
        cfg = config(name)
        found = estimate_tile(table(holed), odd, cfg)
        kept = np.flatnonzero(rows).astype(
            np.uint64
        )  # the samples are those of the rows that are left
        expected = estimate_tile(table([v[rows] for v in values]), odd, cfg, identity=kept)
        assert (found.n_samples == rows.sum()).all()
        np.testing.assert_allclose(found.mi_nats, expected.mi_nats, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.se_nats, expected.se_nats, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.p_value, expected.p_value, rtol=1e-3)

    def test_pairs_of_many_sizes_in_one_tile(self):
        """Every pair has its own samples; each reads what it reads alone."""
        rng = np.random.default_rng(2)
        x = rng.standard_normal(400)
        columns = [x]
        for kept in (30, 31, 63, 64, 150, 399):
            y = x + rng.standard_normal(400)
            y[rng.permutation(400)[kept:]] = np.nan
            columns.append(y)
        variables, pairs = table(columns), [(0, k) for k in range(1, 7)]
        found = estimate_tile(variables, pairs, config("spline"))
        assert found.n_samples.tolist() == [30, 31, 63, 64, 150, 399]
        for row, both in enumerate(pairs):
            (alone,) = estimate_tile(variables, [both], config("spline"))
            assert alone.mi_nats == pytest.approx(found.mi_nats[row], abs=1e-5)
            assert alone.se_nats == pytest.approx(found.se_nats[row], abs=1e-5)

    def test_the_device_is_an_argument(self, mixture):
        cfg = config()
        named = estimate_tile(mixture, ALL_PAIRS[:10], cfg, device="cpu")
        assert list(named) == list(estimate_tile(mixture, ALL_PAIRS[:10], cfg))

    def test_nothing_warns(self, mixture):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = estimate_tile(mixture, ALL_PAIRS, config("spline"))
            estimate_tile(mixture, ALL_PAIRS, config())
        assert found.ok.all()


class TestEdges:
    """Few samples, copies, one value, no value."""

    @pytest.mark.parametrize("name", ["auto", "spline"])
    @pytest.mark.parametrize("n", [30, 31, 100, 1000])
    def test_a_copy_reads_the_most_that_ranks_can_show(self, name, n):
        x = np.random.default_rng(n).standard_normal(n)
        for copy in (x, -x, np.exp(x)):
            result = pair(x, copy, name)
            assert result.denoiser == "spline"
            assert result.mi_nats == pytest.approx(np.log(n), abs=0.05)
            assert 0 < result.se_nats < 2
            assert result.p_value < 1e-10

    def test_no_number_of_a_copy_exceeds_log_n(self):
        x = np.random.default_rng(0).standard_normal(100)
        result = pair(x, x)
        assert max(result.mi_ij, result.mi_ji, result.gap, result.orthogonal) <= np.log(100) + 1e-9

    def test_a_hundred_thousand_samples(self):
        x, e = np.random.default_rng(3).standard_normal((2, 100_000))
        result = pair(x, x + e)
        assert result.denoiser == "spline"
        assert result.mi_nats == pytest.approx(0.5 * np.log(2), abs=0.008)
        assert 0.001 < result.se_nats < 0.006

    def test_a_variable_with_itself(self):
        x = np.random.default_rng(4).standard_normal(100)
        (result,) = estimate_tile(table([x]), [(0, 0)], config())
        assert result.mi_nats == pytest.approx(np.log(100), abs=0.05)

    @pytest.mark.parametrize("name", ["auto", "screen", "spline"])
    def test_too_few_one_or_no_value(self, name):
        x, y = np.random.default_rng(5).standard_normal((2, 40))
        missing = np.full(40, np.nan)
        few = np.where(np.arange(40) < 29, x, np.nan)
        flat_there = np.where(np.arange(40) < 35, 1.0, x)
        first = np.where(np.arange(40) < 35, x, np.nan)
        columns = [x, y, missing, few, np.ones(40), flat_there, first]
        pairs = [(0, 1), (0, 2), (0, 3), (0, 4), (5, 6)]
        found = list(estimate_tile(table(columns), pairs, config(name)))
        assert [row.status for row in found] == [
            Status.OK,
            Status.TOO_FEW_SAMPLES,
            Status.TOO_FEW_SAMPLES,
            Status.CONSTANT,
            Status.CONSTANT,
        ]
        for row in found[1:]:
            assert row.message
            assert row.stop is None
            assert all(getattr(row, number) is None for number in NUMBERS)
        assert [row.n_samples for row in found] == [40, 0, 29, 40, 35]

    @pytest.mark.parametrize("n", [0, 1, 2, 7])
    def test_hardly_any_samples_are_a_status(self, n):
        x = np.arange(n, dtype=float)
        for name in DENOISERS:
            result = pair(x, x, name, min_samples=8)
            assert result.status is Status.TOO_FEW_SAMPLES
            assert f"{n} complete samples" in result.message

    def test_below_thirty_samples_p_values_are_of_permutations(self):
        x, e = np.random.default_rng(6).standard_normal((2, 20))
        for name in ("auto", "screen", "spline"):
            result = pair(x, x + e, name, min_samples=8)
            assert result.status is Status.OK
            # Pearson's correlation of .69 has one of .0008; without dependence one in fifty is as small
            assert 1e-4 < result.p_value < 0.02
            assert np.isfinite([result.mi_nats, result.se_nats]).all()

    def test_no_p_value_is_not_no_dependence(self):
        x = np.random.default_rng(7).standard_normal(25)
        result = pair(x, x, min_samples=8)
        assert result.stop is not Stop.NOT_SIGNIFICANT
        assert result.mi_nats > 1.5

    def test_rare_values_of_few_samples_do_not_throw_the_scale(self):
        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            rare = np.where(rng.random(40) < 0.88, 0, rng.standard_normal(40))
            rare[:2] = rng.standard_normal(2)
            return rare, rng.standard_normal(40)

        found = many(draw, 60, "spline")
        assert min(found.mi_ij.min(), found.mi_ji.min()) > -1
        assert found.se_nats.max() < 1
        assert found.mi_nats.max() < 1.5

    @pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.5])
    def test_a_rare_label_and_its_copy(self, share):
        """MI is the entropy of the label; nothing larger is there to be found."""
        for n in (500, 2000):
            label = (np.arange(n) < share * n).astype(float)
            for copy in (label, 1 - label):
                result = pair(label, copy, "spline")
                assert result.mi_nats == pytest.approx(stats.entropy([share, 1 - share]), abs=0.01)
                assert result.se_nats < 0.1

    def test_zeros_shared_with_a_noisy_copy(self):
        """Shares of zeros from .3 to .95; the forms stay together and no error is a thousand nats."""
        for n, seed, noise in [(100, 4, 0.3), (200, 27, 0.0), (500, 26, 0.0), (1500, 12, 0.0)]:
            rng = np.random.default_rng([n, seed])
            x = rng.standard_normal(n)
            share = rng.choice([0.3, 0.5, 0.8, 0.9, 0.95])
            x = np.where(rng.random(n) < share, 0, x)
            y = np.where(x == 0, 0, x + noise * rng.standard_normal(n))
            result = pair(x, y, "spline")
            assert result.se_nats < 1.5
            assert abs(result.gap - result.mi_nats) < 1
            assert abs(result.orthogonal - result.mi_nats) < 1

    def test_forms_agree_on_pairs_of_many_kinds(self, mixture):
        found = estimate_tile(mixture, ALL_PAIRS, config("spline"))
        assert abs(found.gap - found.mi_nats).max() < 0.3
        assert abs(found.orthogonal - found.mi_nats).max() < 0.4
        assert found.se_nats.max() < 0.2


class TestTies:
    """Pairs of few values whose MI is a sum over their table."""

    @staticmethod
    def cells(p: np.ndarray, n: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            x, y = np.divmod(rng.choice(p.size, n, p=p.ravel()), p.shape[1])
            return x.astype(float), y.astype(float)

        return draw

    def check(self, p: np.ndarray, n: int, off: float, count: int = 8) -> None:
        found = many(self.cells(p, n), count)
        exact = table_mi(p)
        error = found.mi_nats.std() / np.sqrt(count)
        assert found.mi_nats.mean() == pytest.approx(exact, abs=off + 2 * error)
        assert exact > 2 * (off + 2 * error)  # which a constant 0 would fail

    def test_poisson_counts_of_a_shared_rate(self):
        """Negative multinomial: gamma rate of shape 1.5, means 2 and 4."""
        k = np.arange(80)
        rates = np.linspace(1e-4, 14, 4000)
        mass = stats.gamma(1.5, scale=1 / 1.5).pdf(rates)
        mass /= mass.sum()
        x, y = (stats.poisson(mean * rates[:, None]).pmf(k) for mean in (2.0, 4.0))
        p = (x * mass[:, None]).T @ y
        self.check(p / p.sum(), 1000, off=0.02)

    def test_rounded_gaussians(self):
        edges = np.concatenate([[-9], np.arange(-3.5, 4), [9]])
        joint = stats.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]])
        corners = np.stack(np.meshgrid(edges, edges, indexing="ij"), -1)
        below = joint.cdf(corners.reshape(-1, 2)).reshape(10, 10)
        p = np.clip(np.diff(np.diff(below, axis=0), axis=1), 0, None)
        self.check(p / p.sum(), 1000, off=0.03)

    @pytest.mark.parametrize(
        "p",
        [
            [[0.4, 0.1], [0.1, 0.4]],
            [[0.9, 0.02], [0.02, 0.06]],
            [[0.5, 0.0], [0.0, 0.5]],
        ],
        ids=str,
    )
    def test_two_values_against_two(self, p):
        self.check(np.array(p), 1000, off=0.005)

    def test_tables_of_few_samples_are_not_high(self):
        """Independent labels of 3 and 4 values, 120 samples: the plug-in alone reads 3 / n too much."""
        p = np.outer([0.5, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1])
        found = many(self.cells(p, 120), 150, "spline")
        assert found.denoiser.counts() == {"contingency": 150}
        error = found.mi_ij.std() / np.sqrt(150)
        assert found.mi_ij.mean() == pytest.approx(0, abs=3 * error + 0.0015)
        assert error < 0.002  # 6 degrees of freedom are .025
        assert (found.mi_nats >= 0).all()
        assert 0.7 < found.se_nats.mean() / found.mi_ij.std() < 3

    def test_zero_inflation(self):
        """A side lost to 0 by itself: I = (1 - .3)(1 - .5) of the pair before; a quarter low."""
        task = known_mi.gaussian(0.9)

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            x, y = task.sample(rng, 1000)
            return np.where(rng.random(1000) < 0.3, -9, x), np.where(rng.random(1000) < 0.5, -9, y)

        found = many(draw, 6)
        assert found.mi_nats.mean() == pytest.approx(0.35 * task.mi_nats, abs=0.1)
        assert found.mi_nats.mean() > 0.15

    def test_two_values_of_a_continuous_variable(self):
        """y = [x > 0]: log 2, seen from either side."""

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            x = rng.standard_normal(1000)
            return x, (x > 0).astype(float)

        found = many(draw, 6)
        assert found.mi_nats.mean() == pytest.approx(np.log(2), abs=0.08)
        assert abs(found.mi_ij - found.mi_ji).max() < 0.15

    def test_independent_counts_read_nothing(self):
        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            zeros = np.where(rng.random(1000) < 0.9, 0.0, rng.standard_normal(1000))
            return rng.poisson(0.5, 1000).astype(float), zeros

        for name in ("auto", "spline"):
            found = many(draw, 20, name)
            assert found.mi_nats.mean() < 0.003
            assert found.mi_nats.max() < 0.02

    def test_the_screen_needs_no_draws_of_ties(self):
        rng = np.random.default_rng(9)
        x = rng.standard_normal(300)
        counts = np.round(x + rng.standard_normal(300))
        first, same, other = (pair(x, counts, "screen", seed=seed) for seed in (0, 0, 1))
        assert first == same == other
        order = rng.permutation(300)
        shuffled = pair(x[order], counts[order], "screen")
        assert shuffled.p_value == pytest.approx(first.p_value, rel=1e-9)
        assert shuffled.mi_nats == pytest.approx(first.mi_nats, abs=1e-12)

    def test_two_variables_of_one_name_are_not_tied_together(self):
        """As `estimate_mi(x, x)` names them: by content."""
        label = np.repeat([0.0, 1.0], 250)
        result = mmg_ray.estimate_mi(label, label, denoiser="screen")
        assert result.mi_nats == pytest.approx(pair(label, label, "screen").mi_nats, abs=0.05)


class TestAccuracy:
    """Fresh samples of known MI, N = 1000."""

    @pytest.mark.parametrize(
        ("task", "off"),
        [
            (known_mi.gaussian(0.3), 0.0),
            (known_mi.gaussian(0.9), 0.01),
            (known_mi.student(2), 0.03),
            (known_mi.additive_uniform(0.25), 0.05),
            (known_mi.location_scale("x^2 + e", lambda x: x**2, np.ones_like), 0.03),
            (known_mi.location_scale("e exp x", lambda x: 0 * x, np.exp), 0.03),
        ],
        ids=lambda value: getattr(value, "name", ""),
    )
    @pytest.mark.parametrize("name", ["auto", "spline"])
    def test_known_mi_within_its_error(self, name, task, off):
        """The mean of eight within 3 standard errors of it and an honest bias."""
        found = many(lambda rng: task.sample(rng, 1000), 8, name, seed=100)
        error = np.sqrt((found.se_nats**2).mean() / 8)
        assert found.mi_nats.mean() == pytest.approx(task.mi_nats, abs=off + 3 * error)
        assert task.mi_nats > 1.3 * (off + 3 * error)  # which a constant 0 would fail
        assert abs(found.mi_nats - task.mi_nats).max() < off + 5 * found.se_nats.max()

    @pytest.mark.parametrize("name", ["auto", "spline", "screen"])
    def test_independent_pairs_read_nothing(self, name):
        found = many(lambda rng: rng.standard_normal((2, 1000)), 40, name, seed=101)
        assert found.mi_nats.mean() < 0.0025
        assert np.quantile(found.mi_nats, 0.9) < 0.005
        assert found.mi_nats.max() < 0.015

    def test_an_estimate_has_an_error(self):
        """Student, .08 nats at 200 samples: some read 0, none is sure of it."""
        found = many(lambda rng: known_mi.student(2).sample(rng, 200), 40, seed=104)
        assert found.se_nats.min() > 1e-4

    @pytest.mark.parametrize("n", [30, 100])
    def test_few_samples_do_not_invent_edges(self, n):
        found = many(lambda rng: rng.standard_normal((2, n)), 60, seed=102)
        assert found.mi_nats.mean() < 1.5 / n
        assert (found.mi_nats > 0.1).mean() < 0.15
        assert np.mean(found.p_value < 0.05) == pytest.approx(0.05, abs=0.09)

    def test_stronger_dependence_reads_more(self):
        rhos = (0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
        x, e = np.random.default_rng(103).standard_normal((2, 1000))
        columns = [x, *(rho * x + np.sqrt(1 - rho**2) * e for rho in rhos)]
        found = estimate_tile(table(columns), [(0, k) for k in range(1, 7)], config())
        assert (np.diff(found.mi_nats) > 0).all()
        exact = [known_mi.gaussian(rho).mi_nats for rho in rhos]
        np.testing.assert_allclose(found.mi_nats, exact, atol=0.1)


def test_pairs_that_are_taken_by_default_have_a_p_value():
    assert EstimatorConfig().min_samples >= screen.MIN_SAMPLES
