"""Dependence within strata of the samples: tests that hold their level, MI less what strata explain, runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mmg_ray import config as configuration
from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import between_strata, permutation_law, screen
from mmg_ray.estimator.dependence.seldom_away import by_number_together
from mmg_ray.estimator.ranks.marginals import MISSING, ordinal_codes
from mmg_ray.estimator.ranks.strata import Within, within
from mmg_ray.execute import driver
from mmg_ray.known_mi.conditional import shared_counts_mi
from mmg_ray.runs import Run
from mmg_ray.schema import PairEstimates, Status, Variable
from mmg_ray.store.sources import Table
from mmg_ray.store.strata import strata_of

AUTO = EstimatorConfig()


def parts(number: np.ndarray, n_parts: int) -> np.ndarray:
    """(n,) strata of equal numbers of samples of like number."""
    found = np.empty(len(number), dtype=np.int64)
    found[np.argsort(number, kind="stable")] = np.arange(len(number)) * n_parts // len(number)
    return found


def variables(*columns: np.ndarray) -> dict[int, Variable]:
    return {
        k: Variable(f"v{k}", ordinal_codes(c)[:, None] if c.ndim == 1 else _of_group(c))
        for k, c in enumerate(columns)
    }


def _of_group(columns: np.ndarray) -> np.ndarray:
    return np.stack([ordinal_codes(c) for c in columns.T], axis=1)


def all_pairs(n: int) -> np.ndarray:
    return np.stack(np.triu_indices(n, 1), axis=1)


@pytest.fixture(scope="module")
def deep() -> tuple[np.ndarray, np.ndarray]:
    """(n, 60) counts of .03 to 12 on average that share a depth and nothing else, and strata of that."""
    rng = np.random.default_rng(41)
    depth = np.exp(0.5 * rng.standard_normal(6000))
    counts = rng.poisson(depth[:, None] * np.geomspace(0.03, 12, 60))
    return counts, parts(depth, 250)


@pytest.mark.parametrize("n", [600, 6000])
def test_what_depends_by_strata_alone_does_not_depend_within(
    deep: tuple[np.ndarray, np.ndarray], n: int
) -> None:
    counts, strata = deep[0][:n], deep[1][:n]
    strata = parts(strata + 0.0, max(n // 24, 1))
    found = estimate_tile(variables(*counts.T), all_pairs(60), AUTO, strata=strata)
    plain = estimate_tile(variables(*counts.T), all_pairs(60), AUTO)
    assert found.ok.all()
    assert (plain.p_value <= 0.001).mean() > 0.3
    assert 0.035 < (found.p_value <= 0.05).mean() < 0.07
    assert (found.p_value <= 0.001).mean() < 0.004
    assert found.mi_nats.mean() < (0.1 if n < 1000 else 0.02) * plain.mi_nats.mean()
    assert abs(found.spearman.mean()) < 0.002 + 6 / n
    assert plain.spearman.mean() > 0.05


def test_p_values_of_rare_counts_are_those_of_permutations_within_strata() -> None:
    """Few samples away from 0 in both: no moments tell such a tail."""
    rng = np.random.default_rng(3)
    depth = np.exp(0.8 * rng.standard_normal(800))
    x, y = rng.poisson(depth * 0.05), rng.poisson(depth * 0.08)
    strata = parts(depth, 16)
    of_x, of_y = within(ordinal_codes(x), strata), within(ordinal_codes(y), strata)
    order = np.argsort(strata, kind="stable")
    drawn = []
    for _ in range(4000):
        shuffled = np.empty_like(y)
        shuffled[order] = y[np.lexsort((rng.random(800), strata))]
        there = within(ordinal_codes(shuffled), strata)
        drawn.append(float(screen.moments(of_x, there).statistic[0]))
    for p in (0.1, 0.03, 0.01):
        t = float(np.quantile(drawn, 1 - p))
        exact = float(np.mean(np.array(drawn) >= t * (1 - 1e-6)))
        assert by_number_together(t, of_x, of_y) == pytest.approx(exact, rel=0.4)


def test_one_stratum_is_none(deep: tuple[np.ndarray, np.ndarray]) -> None:
    counts = deep[0][:1500, 10::5]
    pairs = all_pairs(counts.shape[1])
    # all samples in one: of few values, whose ranks are not taken anew
    few = np.minimum(counts, 3)
    found = estimate_tile(variables(*few.T), pairs, AUTO, strata=np.zeros(1500, np.int64))
    plain = estimate_tile(variables(*few.T), pairs, AUTO)
    np.testing.assert_allclose(found.p_value, plain.p_value, rtol=2e-3, atol=1e-12)
    np.testing.assert_allclose(found.spearman, plain.spearman, atol=1e-6)
    np.testing.assert_allclose(found.mi_nats, plain.mi_nats, atol=4e-4)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("n", [1500, 8000])
def test_mi_within_batches_of_gaussians(n: int, rho: float) -> None:
    """A shift and a scale of each batch, the larger part of the variance: I(X; Y | batch) is that of any batch."""
    rng = np.random.default_rng(11)
    batch = rng.integers(0, 5, n)
    x = rng.standard_normal(n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    shifts, scales = rng.uniform(-4, 4, 5), rng.uniform(0.5, 2, 5)
    columns = x * scales[batch] + shifts[batch], y * scales[batch] + shifts[batch]
    e = estimate_tile(variables(*columns), [(0, 1)], AUTO, strata=batch)
    exact = -0.5 * np.log(1 - rho**2)
    assert abs(e.mi_nats[0] - exact) < 3 * e.se_nats[0] + 0.01 * exact
    assert e.se_nats[0] < 0.03
    assert (e.p_value[0] <= 1e-6) == (rho > 0)
    assert estimate_tile(variables(*columns), [(0, 1)], AUTO).mi_nats[0] > exact + 0.2


def exact_of_counts(mean: tuple[float, float], share: float, depths: np.ndarray) -> float:
    """I(X; Y | depth) of two Poisson counts with a gamma factor of shape `share` in common, by sums over all values."""
    from scipy.special import gammaln

    k = np.arange(60.0)
    found = 0.0
    for d in depths:
        a, b = d * mean[0] / share, d * mean[1] / share
        total = k[:, None] + k
        log_p = gammaln(total + share) - gammaln(share) - gammaln(k + 1)[:, None] - gammaln(k + 1)
        log_p += k[:, None] * np.log(a) + k * np.log(b) - (total + share) * np.log(1 + a + b)
        p = np.exp(log_p)
        found += float(np.sum(p * np.log(p / np.outer(p.sum(1), p.sum(0))))) / len(depths)
    return found


@pytest.mark.parametrize("mean", [(0.2, 0.4), (1.0, 1.0)])
def test_mi_of_counts_less_what_depth_explains(mean: tuple[float, float]) -> None:
    depths, n = np.array([0.5, 1.0, 2.0, 3.0]), 20_000
    exact = exact_of_counts(mean, 1.0, depths)
    rng = np.random.default_rng(5)
    strata = rng.integers(0, 4, n)
    factor = rng.gamma(1.0, 1.0, n)
    x, y = (rng.poisson(depths[strata] * m * factor) for m in mean)
    alone = rng.poisson(depths[strata] * mean[1] * rng.gamma(1.0, 1.0, n))
    e = estimate_tile(variables(x, y, alone), [(0, 1), (0, 2)], AUTO, strata=strata)
    assert abs(e.mi_nats[0] - exact) < 3 * e.se_nats[0]
    assert e.se_nats[0] < 0.2 * exact
    assert e.mi_nats[1] < 4e-4
    plain = estimate_tile(variables(x, alone), [(0, 1)], AUTO)
    assert plain.mi_nats[0] > 10 * e.mi_nats[1] + 0.004


def test_neither_order_nor_numbers_of_strata_matter(deep: tuple[np.ndarray, np.ndarray]) -> None:
    counts, strata = deep[0][:5000, ::9], deep[1][:5000]
    identity = np.arange(5000, dtype=np.uint64) * np.uint64(977)
    pairs = all_pairs(counts.shape[1])
    order = np.random.default_rng(0).permutation(5000)

    def estimate(rows: np.ndarray) -> PairEstimates:
        return estimate_tile(
            variables(*counts[rows].T), pairs, AUTO, identity=identity[rows], strata=strata[rows]
        )

    first, other = estimate(np.arange(5000)), estimate(order)
    for name in ("mi_nats", "se_nats", "p_value", "spearman"):
        np.testing.assert_array_equal(getattr(first, name), getattr(other, name))


def test_tables_and_samples_have_the_same_moments(deep: tuple[np.ndarray, np.ndarray]) -> None:
    counts, strata = np.minimum(deep[0][:, ::12], 12), deep[1]
    sides = [within(ordinal_codes(c), strata) for c in counts.T]
    i, j = all_pairs(len(sides)).T
    block = screen.block_moments(sides, sides, squares=True).at(i, j)
    tables = np.zeros((len(i), 13, 13), dtype=np.int64)
    for p, (a, b) in enumerate(zip(i, j, strict=True)):
        np.add.at(tables[p], (sides[a].value, sides[b].value), 1)
    by_tables = screen.table_moments(tables, sides, sides, i, j)
    for name in ("statistic", "chi_square", "squares"):
        np.testing.assert_allclose(
            getattr(by_tables, name), getattr(block, name), rtol=1e-5, atol=1e-8
        )
    one = screen.moments(sides[i[3]], sides[j[3]])
    np.testing.assert_allclose(one.statistic[0], block.statistic[3], rtol=1e-9)
    assert permutation_law.test(block.statistic, sides, sides, i, j).p_value.min() > 1e-6


def test_missing_values_and_strata_without_samples() -> None:
    rng = np.random.default_rng(9)
    strata = rng.integers(0, 40, 900)
    x = rng.poisson(1.0, 900) + strata % 2
    y = rng.poisson(1.0, 900) + strata % 2
    codes = variables(x, y, np.zeros(900))
    holed = codes[0].codes.copy()
    holed[(strata < 3) | (rng.random(900) < 0.1)] = MISSING
    codes[0] = Variable("v0", holed)
    e = estimate_tile(codes, [(0, 1), (0, 2)], AUTO, strata=strata)
    assert e.status[0] is Status.OK
    assert e.p_value[0] > 0.001
    assert e.status[1] is Status.CONSTANT
    # what the strata say already
    e = estimate_tile(variables(strata, strata % 5, y), all_pairs(3), AUTO, strata=strata)
    assert [str(s) for s in e.status] == ["determined"] * 3
    few = Variable("v0", np.where(np.arange(900)[:, None] < 25, codes[1].codes, MISSING))
    e = estimate_tile({0: few, 1: codes[1]}, [(0, 1)], AUTO, strata=strata)
    assert e.status[0] is Status.TOO_FEW_SAMPLES


@pytest.mark.parametrize("denoiser", ["neural", "gaussian", "spline", "auto"])
def test_every_denoiser_and_groups(denoiser: str) -> None:
    rng = np.random.default_rng(2)
    strata = rng.integers(0, 6, 1200)
    shift = 3.0 * strata
    x, z = rng.standard_normal(1200), rng.standard_normal(1200)
    columns = [x + shift, x + 0.7 * rng.standard_normal(1200) + shift, z + shift]
    pairs, data = [(0, 1), (0, 2)], variables(*columns)
    if denoiser in ("auto", "gaussian"):  # the others are for scalars, or take long
        data |= {3: Variable("g", _of_group(np.stack([columns[2], shift + 1.0 * x], 1)))}
        pairs += [(2, 3), (1, 3)]
    e = estimate_tile(data, pairs, EstimatorConfig(denoiser=denoiser), strata=strata)
    assert e.ok.all()
    exact = -0.5 * np.log(1 - 1 / 1.49)
    assert e.mi_nats[0] == pytest.approx(exact, abs=0.08)
    assert e.mi_nats[1] < 0.01
    if len(pairs) > 2:
        assert e.p_value[3] < 0.01
        assert e.mi_nats[3] == pytest.approx(exact, abs=0.1)


# --- strata of tables, and runs -------------------------------------------------------------------


def table(n: int, **metadata: object) -> Table:
    return Table(
        np.zeros((n, 2)), ["a", "b"], None, {k: np.asarray(v) for k, v in metadata.items()}
    )


def test_strata_are_of_labels_and_of_parts_of_numbers() -> None:
    rng = np.random.default_rng(0)
    batch, age = rng.choice(["old", "new"], 400, p=[0.25, 0.75]), rng.uniform(20, 80, 400)
    found = strata_of(table(400, batch=batch, age=age), ["age", "batch"])
    assert 12 <= found.max() + 1 <= 13  # of 30 samples, and the remainders
    for s in range(found.max() + 1):
        rows = found == s
        assert len(set(batch[rows])) == 1
        others = age[(batch == batch[rows][0]) & ~rows]
        assert not ((others > age[rows].min()) & (others < age[rows].max())).any()
    whole = strata_of(table(400, dose=np.arange(400) % 3), ["dose"])
    np.testing.assert_array_equal(whole, np.arange(400) % 3)
    many = strata_of(table(30_000, age=rng.uniform(0, 1, 30_000)), ["age"])
    assert many.max() + 1 == 256
    for name, why in (("who", "alike"), ("age", "is missing in some"), ("bath", "'batch'")):
        of = table(400, who=[f"p{k}" for k in range(400)], age=np.where(age < 21, np.nan, age))
        of.metadata["batch"] = batch
        with pytest.raises(DataError, match=why):
            strata_of(of, [name])


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    batch = rng.integers(0, 3, 600)
    x = rng.standard_normal((600, 4)) + 4.0 * batch[:, None]
    x[:, 1] += x[:, 0] - 4.0 * batch
    frame = pd.DataFrame(x, columns=list("abcd")).assign(batch=np.array(list("uvw"))[batch])
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def run(csv: Path, *overrides: str, url: str = "run") -> Run:
    settings = {
        "data": {"path": str(csv / "t.csv"), "metadata": ["batch"], "strata": ["batch"]},
        "output": {"url": str(csv / url)},
        "execute": {"executor": "serial"},
    }
    return Run(driver.run(configuration.load(yaml.safe_dump(settings), overrides)).url)


def test_a_run_in_strata(csv: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    edges = run(csv).edges().set_index(["source", "target"])
    assert edges.p_value["a", "b"] < 1e-20
    assert edges.drop(("a", "b")).p_value.min() > 0.005
    assert "compared among those alike in batch: 3 strata" in caplog.text
    plain = run(csv, "data.strata=[]", url="plain").edges()
    assert (plain.p_value < 1e-20).all()
    # a stratum that was changed since is told, and made again
    with (csv / "run/prepared/strata.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    (csv / "run/edges").rename(csv / "gone")
    again = run(csv).edges().set_index(["source", "target"])
    assert re.search(r"preparing the data again: .*strata\.npy", caplog.text)
    pd.testing.assert_frame_equal(again, edges)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["data.conditions=[batch]"], "does not go with data.conditions"),
        (["lags.max_s=3", "lags.sample_s=1"], "does not go with lags.max_s"),
        (["estimator.nulls.kind=shift"], "does not go with estimator.nulls.kind: shift"),
    ],
)
def test_what_does_not_go_with_strata_is_refused(csv: Path, overrides: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(csv, *overrides)


def test_levels_within_strata_are_uncorrelated(deep: tuple[np.ndarray, np.ndarray]) -> None:
    counts, strata = deep
    for column in (counts[:, 5], counts[:, 30], counts[:, 59]):
        found: Within = within(ordinal_codes(column), strata)
        left = found.at_samples()[:, : found.polynomials.n_orders]
        np.testing.assert_allclose(left.T @ left / len(left), np.eye(left.shape[1]), atol=2e-3)
        means = np.stack([np.bincount(strata, of) for of in left.T])
        assert np.abs(means).max() < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_levels_of_which_one_sample_alone_has_both_are_not_expected(seed: int) -> None:
    """Else the rounding of nothing, in a logarithm, is what strata explain: up to .1 nats of a pair that nearly copies."""
    rng = np.random.default_rng([43, seed])
    strata = rng.integers(12, size=300)
    x = rng.poisson(2.0, 300)
    y = np.where(rng.random(300) < 0.1, rng.poisson(2.0, 300), x)
    same = (strata[:, None] == strata) & ~np.eye(300, dtype=bool)
    there = np.zeros((x.max() + 1, y.max() + 1), dtype=bool)
    for a, b in np.argwhere(same):
        there[x[a], y[b]] = True
    sizes = []
    for column in (x, y):
        of = np.zeros((12, column.max() + 1), dtype=np.int32)
        np.add.at(of, (strata, column), 1)
        sizes.append(of)
    counts = np.zeros(there.shape)
    np.add.at(counts, (x, y), 1)
    expected = between_strata._together(*sizes, counts)
    assert ((expected > 0) == there).all()
    assert (~there & (counts > 0)).any()
    np.testing.assert_allclose(expected.sum(), 300, rtol=1e-3)


@pytest.mark.parametrize("n", [3000, 12_000])
def test_mi_of_counts_that_follow_their_depth(n: int) -> None:
    """X = A + C, Y = A + C', all Poisson at a depth that spreads by .5: one table of all strata reads a sixth less."""
    exact = shared_counts_mi(1.0, 0.3, 0.5)
    found = []
    for seed in range(6):
        rng = np.random.default_rng([44, n, seed])
        depth = np.exp(0.5 * rng.standard_normal(n))
        common = rng.poisson(depth)
        x, y = (common + rng.poisson(0.3 * depth) for _ in range(2))
        e = estimate_tile(variables(x, y), [(0, 1)], AUTO, strata=parts(depth, n // 30))
        found.append((e.mi_nats[0], e.se_nats[0]))
    mi, se = np.mean(found, axis=0)
    assert abs(mi - exact) < 0.06 * exact + 2 * se / np.sqrt(6)
    assert np.std([m for m, _ in found]) < 1.6 * se
