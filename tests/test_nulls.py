"""Tests by shifts: exactness, calibration on what they are for, power, determinism, the budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

import mmg_ray
from mmg_ray.config import EstimatorConfig, NullConfig, load
from mmg_ray.errors import DataError
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import nulls, screen
from mmg_ray.estimator.dependence.permutation_law import untied_p
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.schema import Variable


def codes(x: np.ndarray) -> np.ndarray:
    return np.stack([ordinal_codes(column) for column in x.reshape(len(x), -1).T], axis=1)


def side(name: str, x: np.ndarray) -> RankedVariable:
    return RankedVariable(name, name, codes(x), seed=0)


def series(rng: np.random.Generator, n: int, phi: float, dim: int = 1) -> np.ndarray:
    """(n, dim) autoregressions, stationary from the start."""
    noise = rng.standard_normal((n + 300, dim))
    found: np.ndarray = lfilter([1], [1, -phi], noise, axis=0)[300:]
    return found


class TestStatistic:
    def test_of_scalars_is_the_screens_at_every_shift(self):
        x, e = np.random.default_rng(0).standard_normal((2, 120))
        a, b = side("x", x), side("y", x + 2 * e)
        t = nulls._statistic(nulls._scalar_views(a, b), np.arange(120), 1)
        for shift in (0, 1, 50, 119):
            turned = np.roll(b.ranks[:, 0], shift)
            expected = screen.moments(a.ranked, ranked(turned)).statistic
            assert t[shift] * 119 / 120 == pytest.approx(expected)

    def test_blocks_are_moved_whole(self):
        rng = np.random.default_rng(1)
        x, y = rng.standard_normal((60, 2)), rng.standard_normal((60, 3))
        x, y = x - x.mean(0), y - y.mean(0)
        found = nulls._squared(x, y, 5)
        for shift in range(12):
            expected = ((x.T @ np.roll(y, 5 * shift, axis=0)) ** 2).sum() / 60
            assert found[shift] == pytest.approx(expected)

    def test_in_pieces_is_the_same(self, monkeypatch):
        x, y = np.random.default_rng(2).standard_normal((2, 90, 7))
        whole = nulls._squared(x, y, 1)
        monkeypatch.setattr(nulls, "_CELLS", 90 * 7 * 2)
        np.testing.assert_allclose(nulls._squared(x, y, 1), whole, rtol=1e-10)


class TestCalibration:
    def test_the_statistic_of_series_beside_that_of_samples(self):
        rng = np.random.default_rng(12)
        cfg = NullConfig(kind="shift")
        for phi, least, most in ((0.0, 0.9, 1.15), (0.9, 3.0, 12.0)):
            found = [
                nulls.test(side("x", x), side("y", y), cfg, 0)
                for x, y in (series(rng, 2000, phi, 2).T for _ in range(8))
            ]
            assert least < np.mean([f.level for f in found]) < most
            assert least < np.mean([f.spread for f in found]) < most + 2

    def test_groups_that_are_independent(self):
        """Uniform p-values of groups whose own coordinates depend on one another, with ties."""
        p = []
        for k in range(200):
            rng = np.random.default_rng([3, k])
            x, y = rng.standard_normal((2, 100, 1)) + rng.standard_normal((2, 100, 3))
            found = nulls.test(
                side(f"x{k}", np.round(x)), side(f"y{k}", y), NullConfig(max_permutations=200), 0
            )
            p.append(found.p_value)
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.04)
        assert np.mean(p) == pytest.approx(0.5, abs=0.06)

    @pytest.mark.parametrize(("kind", "most"), [("shift", 0.12), ("block", 0.14)])
    def test_series_that_are_independent(self, kind, most):
        """The screen, which takes samples as independent, rejects most of them."""
        p, naive = [], []
        for k in range(150):
            rng = np.random.default_rng([4, k])
            a, b = (side(f"{name}{k}", series(rng, 500, 0.8)) for name in "xy")
            p.append(nulls.test(a, b, NullConfig(kind=kind, max_permutations=300), 0).p_value)
            t = screen.moments(a.ranked, b.ranked).statistic
            naive.append(untied_p(t, 500).item())
        assert 0.01 < np.mean(np.array(p) <= 0.05) < most
        assert np.mean(np.array(naive) <= 0.05) > 0.4

    def test_effective_samples_of_autoregressions(self):
        found = []
        for k in range(20):
            rng = np.random.default_rng([5, k])
            a, b = (side(name, series(rng, 4000, 0.8)) for name in "xy")
            found.append(nulls.effective_samples(a, b))
        assert np.median(found) == pytest.approx(4000 * (1 - 0.64) / (1 + 0.64), rel=0.15)

    def test_effective_samples_of_independent_ones_are_all(self):
        x, y = np.random.default_rng(6).standard_normal((2, 3000, 2))
        assert nulls.effective_samples(side("x", x), side("y", y)) > 2900


def spikes(rng: np.random.Generator, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two trains in 3000 bins: 2 % are not empty, a share of the spikes in both."""
    both, one, other = (
        rng.random((3, 3000)) < 0.02 * np.array([shared, 1 - shared, 1 - shared])[:, None]
    )
    return (both | one).astype(float), (both | other).astype(float)


class TestPower:
    def test_ties_hide_nothing_of_sparse_counts(self):
        """Independent trains are found as often as they should be, those that share spikes always."""
        cfg = NullConfig(kind="shift", max_permutations=400)
        p = np.empty((2, 80))
        for row, shared in enumerate((0.0, 0.15)):
            for k in range(80):
                x, y = spikes(np.random.default_rng([21, row, k]), shared)
                p[row, k] = nulls.test(side("x", x), side("y", y), cfg, k).p_value
        assert (p[0] <= 0.05).mean() < 0.12
        assert (p[0] <= 0.5).mean() == pytest.approx(0.5, abs=0.2)
        assert (p[1] <= 0.05).mean() > 0.9

    """What each of the three statistics of groups is for."""

    @pytest.mark.parametrize("shape", ["one line", "shared scale", "product", "wave"])
    def test_of_groups(self, shape):
        found = []
        for k in range(10):
            rng = np.random.default_rng([7, k])
            x, y = rng.standard_normal((2, 500, 3))
            if shape == "one line":
                y[:, 0] += 0.3 * x[:, 0]
            elif shape == "shared scale":
                scale = np.sqrt(rng.chisquare(5, (500, 1)))
                x, y = x / scale, y / scale
            elif shape == "product":
                y[:, 0] += 0.5 * x[:, 0] * x[:, 1]
            else:
                y[:, 0] += 0.8 * np.sin(3 * x[:, 0])
            cfg = NullConfig(max_permutations=999)
            found.append(nulls.test(side("x", x), side("y", y), cfg, 0).p_value)
        assert np.mean(np.array(found) <= 0.01) >= 0.8

    def test_of_series_that_depend(self):
        rng = np.random.default_rng(8)
        common = series(rng, 1000, 0.8)
        x, y = (common + series(rng, 1000, 0.8) for _ in range(2))
        for kind in ("shift", "block"):
            found = nulls.test(side("x", x), side("y", y), NullConfig(kind=kind), 0)
            assert found.p_value < 0.005
            assert 100 < found.n_effective < 600


class TestBudget:
    def test_goes_to_contenders(self):
        x, e = np.random.default_rng(9).standard_normal((2, 100, 2))
        cfg = NullConfig(max_permutations=5000)
        independent = nulls.test(side("x", x), side("e", e), cfg, 0)
        dependent = nulls.test(side("x", x), side("y", x + e), cfg, 0)
        assert independent.n_shifts < 1000
        assert 4900 <= dependent.n_shifts <= 5000
        assert dependent.p_value == 1 / (1 + dependent.n_shifts)

    def test_more_samples_than_permutations(self):
        x, e = np.random.default_rng(10).standard_normal((2, 2000))
        for kind in ("permutation", "shift", "block"):
            cfg = NullConfig(kind=kind, max_permutations=99)
            found = nulls.test(side("x", x), side("y", x + e), cfg, 0)
            assert found.n_shifts <= 99
            assert found.p_value <= 0.02

    def test_of_nothing_makes_no_test(self):
        x, y = np.random.default_rng(11).standard_normal((2, 100, 2))
        found = nulls.test(side("x", x), side("y", y), NullConfig(max_permutations=0), 0)
        assert np.isnan(found.p_value)

    def test_same_pair_same_p_value(self):
        """Whichever is first, whatever else is in the tile; another seed gives another."""
        x, y, z = np.random.default_rng(12).standard_normal((3, 90, 2))
        a, b = side("x", x), side("y", y)
        cfg = NullConfig()
        assert nulls.test(a, b, cfg, 0) == nulls.test(b, a, cfg, 0)
        assert nulls.test(a, b, cfg, 0) != nulls.test(a, b, cfg, 1)
        variables = {
            k: Variable(name, codes(v))
            for k, (name, v) in enumerate(zip("xyz", (x, y, z), strict=True))
        }
        settings = EstimatorConfig(denoiser="gaussian")
        together = estimate_tile(variables, [(0, 1), (0, 2), (1, 2)], settings)
        alone = estimate_tile({1: variables[1], 2: variables[2]}, [(1, 2)], settings)
        assert together.p_value[0] == nulls.test(a, b, cfg, 0).p_value
        assert together.p_value[2] == alone.p_value[0]


class TestRows:
    def test_of_series_count_their_independent_samples(self):
        """Fitted as if every sample were an independent one, the same pairs read a fifth more, with a fifth of the error."""
        rng, cfg = np.random.default_rng(13), EstimatorConfig(nulls=NullConfig(kind="shift"))
        found, plain = [], []
        for _ in range(24):
            x, y = series(rng, 3000, 0.97, 2).T
            y = 0.6 * x + 0.8 * y
            found.append(mmg_ray.estimate_mi(x, y, config=cfg))
            plain.append(mmg_ray.estimate_mi(x, y))
        truth = -0.5 * np.log(1 - 0.36)
        mi, se = (np.array([getattr(f, name) for f in found]) for name in ("mi_nats", "se_nats"))
        assert mi.mean() == pytest.approx(truth, abs=0.045)
        assert np.mean([f.mi_nats for f in plain]) > mi.mean() + 0.025
        assert np.mean([f.se_nats for f in plain]) < se.mean() / 3
        assert se.mean() == pytest.approx(mi.std(), rel=0.6)
        assert np.mean(abs(mi - truth) <= 1.96 * se) > 0.85
        assert max(f.n_effective for f in found) < 300
        assert plain[0].n_effective is None

    def test_of_slow_independent_series_read_next_to_nothing(self):
        """Their moments, and how they fill bins, look like dependence: .04 nats before the shifts were asked."""
        cfg = EstimatorConfig(nulls=NullConfig(kind="shift"))
        rng = np.random.default_rng(11)
        found = [mmg_ray.estimate_mi(*series(rng, 3000, 0.97, 2).T, config=cfg) for _ in range(24)]
        held_back = [f for f in found if f.p_value > 0.1]
        assert len(held_back) > 15
        assert {f.denoiser for f in held_back} == {screen.NAME}
        assert np.mean([f.mi_nats for f in held_back]) < 0.01
        x, y = series(rng, 3000, 0.97, 2).T
        y = 0.8 * x + 0.6 * y  # and what depends is there
        assert mmg_ray.estimate_mi(x, y, config=cfg).mi_nats > 0.3

    def test_of_very_few_samples_have_a_p_value(self):
        x, e = np.random.default_rng(14).standard_normal((2, 20))
        found = mmg_ray.estimate_mi(x, 3 * x + e, config=EstimatorConfig(min_samples=10))
        assert found.p_value < 0.01

    def test_mi_matrix_takes_a_null(self):
        rng = np.random.default_rng(15)
        data = series(rng, 300, 0.9, dim=4)
        found = mmg_ray.mi_matrix(data, config=EstimatorConfig(nulls=NullConfig(kind="shift")))
        assert np.nanmin(found.p_value) > 0.003
        assert (found.estimates.columns.n_effective < 100).all()


def test_a_run_of_series_is_the_same_in_any_tiling(tmp_path: Path):
    """p-values, q-values and effective samples of scalars and a group, stored with the edges."""
    rng = np.random.default_rng(17)
    data = series(rng, 450, 0.9, dim=6)
    data[:, 1] += 2 * data[:, 0]
    pd.DataFrame(data, columns=[f"v{k}" for k in range(6)]).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "groups.csv").write_text("variable,group\nv4,g\nv5,g\n")
    text = f"""
    data: {{path: {tmp_path / "t.csv"}, groups: {tmp_path / "groups.csv"}}}
    estimator: {{denoiser: gaussian, nulls: {{kind: shift}}}}
    execute: {{executor: serial}}
    """
    runs = [
        mmg_ray.run(
            load(text, [f"plan.tile_variables={size}", f"output.url={tmp_path / str(size)}"])
        )
        for size in (2, 5)
    ]
    tables = [run.edges().sort_values(["i", "j"], ignore_index=True) for run in runs]
    assert tables[0]["p_value"].notna().all()
    assert (tables[0]["n_effective"] < 225).all()
    for name in ("p_value", "n_effective", "se_nats"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=1e-9)
    (edge,) = runs[0].network(["fdr=0.05"]).table.to_pylist()
    assert (edge["source"], edge["target"]) == ("v0", "v1")


def test_independence_test_takes_arrays():
    x, e = np.random.default_rng(16).standard_normal((2, 200, 2))
    x[3] = np.nan
    assert mmg_ray.independence_test(x, np.nan_to_num(x) + e).p_value < 0.001
    with pytest.raises(DataError, match="constant"):
        mmg_ray.independence_test(x, np.ones(200))
