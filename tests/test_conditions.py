"""Conditional MI and transfer entropy: exact systems, nulls, what has no value, and runs."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

import mmg_ray
from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig, NetworkConfig, NullConfig, from_dict
from mmg_ray.errors import DataError
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.conditional import conditional_ranks as conditional_ranks_module
from mmg_ray.estimator.conditional import conditioner, strata
from mmg_ray.estimator.conditional.conditional_ranks import Condition, Smoother, conditional_ranks
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.ranks.marginals import midrank_scores, ordinal_codes
from mmg_ray.schema import Status, Variable

SUITE = {task.name: task for task in known_mi.conditional_suite()}
NONE = [name for name, task in SUITE.items() if task.mi_nats == 0]
FAST = EstimatorConfig("auto", network=NetworkConfig(n_steps=200))


def estimate(name, n, seed=0, **settings):
    task = SUITE[name]
    x, y, c = task.sample(np.random.default_rng(seed), n)
    c = c.astype(str) if task.categorical else c
    settings = {"config": FAST} | settings
    return mmg_ray.estimate_mi(x, y, condition=c, **settings), mmg_ray.estimate_mi(x, y)


def test_the_exact_values_by_other_means():
    """Monte Carlo of the log density ratio, and regression on a long series."""
    rng = np.random.default_rng(0)
    c = rng.standard_normal(400_000)
    rho = 0.9 * np.tanh(2 * c)
    assert SUITE["correlation .9 tanh 2c"].mi_nats == pytest.approx(
        -0.5 * np.log1p(-(rho**2)).mean(), abs=0.004
    )
    truth, sample = known_mi.autoregression(0.5, 0.7)
    x, y = sample(rng, 100_000)
    past = np.stack([y[:-1], x[:-1], np.ones(len(y) - 1)], axis=1)
    left = [np.linalg.lstsq(past[:, keep], y[1:], rcond=None)[1][0] for keep in ([0, 2], [0, 1, 2])]
    assert truth == pytest.approx(0.5 * np.log(left[0] / left[1]), abs=0.004)
    truth, _ = known_mi.volatility(0.7)
    x, e = rng.standard_normal((2, 2000))
    sd = np.exp(0.7 * x)
    nodes = np.exp(0.7 * rng.standard_normal(4000))
    at = (sd * e)[:, None]
    ratio = stats.norm.logpdf(at[:, 0], 0, sd) - np.log(stats.norm.pdf(at, 0, nodes).mean(1))
    assert truth == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(2000))


@pytest.mark.parametrize("name", ["linear", "waves and scale", "tails, plane", "labels"])
def test_what_is_shared_beyond_the_condition(name):
    found, ignoring = estimate(name, 2000)
    truth = SUITE[name].mi_nats
    assert found.mi_nats == pytest.approx(truth, abs=0.05)
    assert abs(found.mi_nats - truth) < 3 * found.se_nats
    assert abs(ignoring.mi_nats - truth) > 0.06  # so that a condition that is not used fails here


@pytest.mark.parametrize("name", NONE)
def test_nothing_is_shared_beyond_the_condition(name):
    found, ignoring = estimate(name, 1000)
    assert found.mi_nats < 0.01
    assert ignoring.mi_nats > 0.05


def test_networks_are_given_the_condition():
    name = "correlation .9 tanh 2c"
    cfg = EstimatorConfig("neural", network=NetworkConfig(n_steps=300))
    found, _ = estimate(name, 1500, config=cfg)
    ranks_alone, _ = estimate(name, 1500, denoiser="spline")
    assert found.denoiser == "neural"
    assert found.mi_nats == pytest.approx(SUITE[name].mi_nats, abs=0.08)
    assert ranks_alone.mi_nats < SUITE[name].mi_nats - 0.1


@pytest.mark.parametrize("name", ["correlation .9 tanh 2c", "y = c x + e", "correlation by label"])
def test_dependence_that_changes_with_the_condition_is_estimated_in_strata(name):
    truth = SUITE[name].mi_nats
    found = [estimate(name, 3000, seed=seed, config=None)[0] for seed in range(4)]
    assert {f.denoiser for f in found} == {strata.NAME}
    errors = np.array([(f.mi_nats - truth) / f.se_nats for f in found])
    assert np.mean([f.mi_nats for f in found]) == pytest.approx(truth, abs=0.025)
    assert (np.abs(errors) < 3).all()
    assert all(abs(f.mi_ij - f.mi_nats) < 0.1 for f in found)
    ranks_alone = estimate(name, 3000, denoiser="spline")[0]
    assert ranks_alone.mi_nats < truth - 0.05


def test_conditional_ranks_are_kept_within_bounds(monkeypatch):
    rng = np.random.default_rng(8)
    codes = [ordinal_codes(v)[:, None] for v in rng.standard_normal((7, 400))]
    condition = Condition("c", codes[0], np.empty((400, 0), dtype=np.int32))
    variables = [Variable(f"v{k}", c) for k, c in enumerate(codes[1:])]
    given = Conditioner(condition, 0)
    whole = [given(v).codes for v in variables]
    monkeypatch.setattr(conditioner, "_MOST_BYTES", 4 * 400 * 4)
    given.make_room(variables[:2])
    assert set(given._made) == {"v0", "v1"}
    again = [given(v).codes for v in variables]
    assert all((a == b).all() for a, b in zip(whole, again, strict=True))


def test_smoothers_are_kept_within_bounds(monkeypatch):
    codes = ordinal_codes(np.random.default_rng(9).standard_normal(300))[:, None]
    smoothers = conditional_ranks_module.Smoothers(
        Condition("c", codes, np.empty((300, 0), dtype=np.int32)), 0
    )
    masks = [np.arange(300) != k for k in range(4)]
    first = smoothers(masks[0])
    assert smoothers(masks[0]) is first
    monkeypatch.setattr(conditional_ranks_module, "_MOST_BYTES", 2 * first.nbytes)
    for mask in masks:
        smoothers(mask)
        assert len(smoothers._made) <= 3
    target = codes[masks[0]].astype(float)
    assert (smoothers(masks[0])(target)[0] == first(target)[0]).all()


def test_strata_have_samples_of_like_condition():
    rng = np.random.default_rng(6)
    c, d = (ordinal_codes(v)[:, None] for v in rng.standard_normal((2, 3000)))
    label = np.repeat([0, 1, 2, 3], [1500, 1480, 12, 8]).astype(np.int32)[:, None]
    none = np.empty((3000, 0), dtype=np.int32)
    one = strata.strata_of_condition(Condition("c", c, none), 30)
    assert sorted(np.bincount(one).tolist()) == [187] * 8 + [188] * 8
    spans = sorted((c[one == k, 0].min(), c[one == k, 0].max()) for k in range(16))
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    both = strata.strata_of_condition(Condition("c, d", np.hstack([c, d]), none), 30)
    assert np.bincount(both).min() >= 150
    of_labels = strata.strata_of_condition(Condition("label", none, label), 30)
    # the rare ones are together, and with the smallest of the others, since they are too few
    assert sorted(np.bincount(of_labels).tolist()) == [1500, 1500]
    assert strata.strata_of_condition(Condition("c", c[:1000], none[:1000]), 30) is None
    assert strata.strata_of_condition(Condition("label", none, np.zeros_like(label)), 30) is None


def test_a_stratum_without_enough_samples_is_left_out():
    rng = np.random.default_rng(7)
    label = np.repeat([0, 1, 2], 400)
    x = rng.standard_normal(1200)
    y = np.where(label == 0, x, -x) + 0.5 * rng.standard_normal(1200)
    y[label == 2] = np.nan  # never measured there
    found = mmg_ray.estimate_mi(x, y, condition=label.astype(str))
    assert found.denoiser == strata.NAME
    assert found.n_samples == 800
    assert found.mi_nats == pytest.approx(-0.5 * np.log(1 - 0.8), abs=0.1)


def test_vectors_given_a_condition():
    rng = np.random.default_rng(1)
    (c, e), noise = rng.standard_normal((2, 1000)), rng.standard_normal((1000, 2))
    x = np.stack([c + e, 2 * c + noise[:, 0]], axis=1)
    y = np.stack([c**2 + noise[:, 1], 0.6 * e + 0.8 * rng.standard_normal(1000)], axis=1)
    for denoiser in ("gaussian", "auto"):
        cfg = EstimatorConfig(denoiser, network=NetworkConfig(n_steps=100))
        found = mmg_ray.estimate_mi(x, y, condition=c, config=cfg)
        assert found.mi_nats == pytest.approx(-0.5 * np.log(1 - 0.36), abs=0.05)
        apart = mmg_ray.estimate_mi(x, y[:, :1], condition=c, config=cfg)
        assert apart.mi_nats < 0.01


def test_p_values_of_pairs_that_are_independent_given_the_condition():
    p = np.array(
        [estimate("none: linear", 300, s, denoiser="screen")[0].p_value for s in range(80)]
    )
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert (p < 0.05).mean() < 0.15


def test_conditional_ranks_are_independent_of_the_condition_and_keep_the_order_given_it():
    rng = np.random.default_rng(2)
    c = rng.standard_normal(3000)
    x = np.sin(2 * c) * 3 + np.exp(c / 2) * rng.standard_exponential(3000)
    condition = Condition("c", ordinal_codes(c)[:, None], np.empty((3000, 0), dtype=np.int32))
    u = conditional_ranks(midrank_scores(ordinal_codes(x)), Smoother(condition, seed=0))
    assert sorted(u) == list(range(3000))
    exact = np.exp(-(x - np.sin(2 * c) * 3) / np.exp(c / 2))  # 1 - F(x | c)
    assert stats.spearmanr(u, -exact).statistic > 0.98
    assert mmg_ray.estimate_mi(u.astype(float), c).mi_nats < 0.01


def test_columns_without_a_value_given_the_condition():
    rng = np.random.default_rng(3)
    c, e = rng.standard_normal((2, 400))
    found = mmg_ray.estimate_mi(c**3, e + c, condition=c)
    assert found.status is Status.DETERMINED
    assert found.mi_nats is None
    assert found.message.startswith("x: the condition says all of it")
    holes = np.where(np.arange(400) < 100, np.nan, c)
    found = mmg_ray.estimate_mi(c + e, c - e, condition=holes)
    assert found.n_samples == 300
    assert found.mi_nats > 1


def test_several_columns_of_numbers_and_labels():
    rng = np.random.default_rng(4)
    depth, e, f = rng.standard_normal((3, 1500))
    batch = rng.choice(["a", "b", "c"], 1500)
    shift = np.array([ord(b) - 97 for b in batch])
    x, y = depth * shift + e, 2 * shift - np.sin(2 * depth) + f
    both = mmg_ray.estimate_mi(x, y, condition={"depth": depth, "batch": batch}, config=FAST)
    one = mmg_ray.estimate_mi(x, y, condition=depth, config=FAST)
    assert both.mi_nats < 0.01 < 0.05 < one.mi_nats


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (np.zeros(10), "x has 50 samples and condition has 10"),
        ([f"sample {k}" for k in range(70)], "x has 50 samples and condition has 70"),
    ],
)
def test_conditions_that_do_not_fit(condition, message):
    x = np.random.default_rng(5).standard_normal((50, 2))
    with pytest.raises(DataError, match=message):
        mmg_ray.estimate_mi(x[:, 0], x[:, 1], condition=condition)
    names = [f"sample {k}" for k in range(70)]
    with pytest.raises(DataError, match="70 different labels for 70 samples"):
        mmg_ray.estimate_mi(np.arange(70.0), np.arange(70.0), condition=names)


@pytest.mark.parametrize("lags", [1, (1, 2)])
def test_transfer_entropy_of_a_linear_system(lags):
    truth, sample = known_mi.autoregression(0.5, 0.7)
    n = 2000 if lags == 1 else 1000
    x, y = sample(np.random.default_rng(6), n)
    forward = mmg_ray.transfer_entropy(x, y, lags, config=FAST)
    backward = mmg_ray.transfer_entropy(y, x, lags, config=FAST)
    assert forward.mi_nats == pytest.approx(truth, abs=0.05)  # the second lag adds nothing
    assert backward.mi_nats < 0.01
    assert forward.n_samples == n - np.max(lags)
    if lags == 1:
        assert forward.p_value < 1e-20
        assert backward.p_value > 1e-3


def test_transfer_entropy_without_correlation():
    truth, sample = known_mi.volatility(0.7)
    x, y = sample(np.random.default_rng(7), 3000)
    forward, backward = (mmg_ray.transfer_entropy(*ends) for ends in ((x, y), (y, x)))
    assert forward.mi_nats == pytest.approx(truth, abs=0.04)
    assert backward.mi_nats < 0.01
    with pytest.raises(DataError, match="lags is 0; it must be steps back from 1"):
        mmg_ray.transfer_entropy(x, y, 0)


def test_a_run_is_conditioned_as_a_matrix_is(tmp_path):
    rng = np.random.default_rng(8)
    depth = rng.standard_normal(400)
    batch = rng.choice(["a", "b"], 400)
    table = depth[:, None] * [1, 2, 3] + (batch == "a")[:, None] + rng.standard_normal((400, 3))
    path = tmp_path / "t.csv"
    lines = [",".join(map(str, row)) for row in zip(*table.T, depth, batch, strict=True)]
    path.write_text("\n".join(["u,v,w,depth,batch", *lines]) + "\n")
    config = {
        "data": {"path": str(path), "metadata": ["batch"], "conditions": ["depth", "batch"]},
        "output": {"url": str(tmp_path / "run")},
        "execute": {"executor": "serial"},
    }
    edges = mmg_ray.run(from_dict(config)).edge_store().table().to_pylist()
    matrix = mmg_ray.mi_matrix(
        np.c_[table, depth], ["u", "v", "w", "depth"], condition={"d": depth, "b": batch}
    )
    for edge in edges:
        assert (edge["status"] == "ok") == ("depth" not in (edge["source"], edge["target"]))
        expected = matrix.estimates[edge["i"], edge["j"]]
        if edge["status"] == "ok":
            assert edge["p_value"] == pytest.approx(expected.p_value, rel=0.3)
            assert edge["mi_nats"] == pytest.approx(expected.mi_nats or 0, abs=0.01)
    config["data"]["conditions"] = ["dept"]
    other = from_dict({**config, "output": {"url": str(tmp_path / "other")}})
    with pytest.raises(DataError, match=r"'dept' is neither .* did you mean 'depth'"):
        mmg_ray.run(other)


class TestTables:
    """Pairs of few values given a condition of few values: a table in each stratum."""

    @staticmethod
    def draw(rng, joint, n):
        c, a, b = np.unravel_index(rng.choice(joint.size, size=n, p=joint.ravel()), joint.shape)
        return a.astype(float), b.astype(float), c

    @staticmethod
    def exact(joint):
        share = joint.sum((1, 2), keepdims=True)
        product = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True) / share
        return (joint * np.log(joint / product)).sum()

    def test_of_any_joint_law(self):
        rng = np.random.default_rng(31)
        for _ in range(4):
            joint = rng.dirichlet(np.full(18, 2.0)).reshape(3, 2, 3)
            x, y, c = self.draw(rng, joint, 20_000)
            for condition in (c.astype(str), c.astype(float)):
                r = mmg_ray.estimate_mi(x, y, condition=condition)
                assert (r.denoiser, r.status) == ("contingency", Status.OK)
                assert r.mi_nats == pytest.approx(self.exact(joint), abs=4 * r.se_nats)
                assert r.se_nats < 0.004
                assert r.p_value < 0.001
            back = mmg_ray.estimate_mi(y, x, condition=c.astype(str))
            assert back.mi_nats == pytest.approx(r.mi_nats, abs=1e-12)

    def test_p_values_and_estimates_of_rare_events_that_only_the_condition_makes_alike(self):
        """Rates follow c: dependent, and independent given c, with two events of both expected or fewer."""
        cfg = EstimatorConfig(nulls={"max_permutations": 199})
        found = []
        for k in range(150):
            rng = np.random.default_rng([32, k])
            c = rng.integers(2, size=800)
            x, y = (rng.random((2, 800)) < 0.03 * (1 + c)).astype(float)
            found.append(mmg_ray.estimate_mi(x, y, condition=c.astype(str), config=cfg))
        p = np.array([r.p_value for r in found])
        assert (p <= 0.05).mean() < 0.1
        assert 0.25 < (p <= 0.5).mean() < 0.65
        assert np.mean([r.mi_nats for r in found]) < 0.001

    def test_transfer_entropy_of_spikes_says_who_leads(self):
        right, seen = [], []
        for k in range(10):
            rng = np.random.default_rng([33, k])
            x = (rng.random(2000) < 0.1).astype(float)
            y = (rng.random(2000) < 0.1).astype(float)
            y[1:] = np.maximum(y[1:], x[:-1] * (rng.random(1999) < 0.2))
            forth, back = mmg_ray.transfer_entropy(x, y), mmg_ray.transfer_entropy(y, x)
            assert forth.denoiser == "contingency"
            right.append(forth.mi_nats > back.mi_nats)
            seen.append(forth.p_value <= 0.01)
        assert sum(right) >= 9
        assert sum(seen) >= 9


def test_dependence_of_slow_series_does_not_change_for_being_slow() -> None:
    """Samples that follow one another scatter more than independent ones: pairs would go to networks for it."""
    n, n_pairs, memory = 400, 60, 0.9
    rng = np.random.default_rng(9)
    e = rng.standard_normal((n, 2 * n_pairs + 1))
    e[:, 1::2] = 0.7 * e[:, 2::2] + 0.7 * e[:, 1::2]
    for t in range(1, n):
        e[t] += memory * e[t - 1]
    c = e[:, 0]
    variables = {k: Variable(f"v{k}", ordinal_codes(v)[:, None]) for k, v in enumerate(e.T)}
    given = Conditioner(Condition.of("c", n, [ordinal_codes(c)], []), 0)
    left = {k: given(variables[k]) for k in range(1, 2 * n_pairs + 1)}
    pairs = np.arange(1, 2 * n_pairs + 1).reshape(-1, 2)
    series = EstimatorConfig("screen", nulls=NullConfig(kind="shift", max_permutations=0))
    found = estimate_tile(left, pairs, series)
    worth = found.n_effective / found.n_samples
    assert (worth < 0.5).all()
    naive = given.changes(left, pairs, np.ones(n_pairs)) < 1e-3
    assert naive.mean() > 0.05
    assert (given.changes(left, pairs, worth) < 1e-3).mean() <= 1 / n_pairs


def test_a_variable_that_is_the_condition_has_no_mi_given_it() -> None:
    x, c = np.random.default_rng(10).standard_normal((2, 300))
    c = np.round(c, 1)  # a smoother of ties would leave a little
    for same in (c, -c, np.exp(c)):
        found = mmg_ray.estimate_mi(x + c, same, condition=c)
        assert found.status is Status.DETERMINED
        assert found.p_value is None
    assert mmg_ray.estimate_mi(x, np.abs(c), condition=c).status in (Status.OK, Status.DETERMINED)


def test_changes_of_many_pairs_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(8)
    n = 400
    c, x = rng.standard_normal(n), rng.standard_normal((n, 4))
    x[:, 3] = x[:, 0] * c + 0.5 * x[:, 3]
    x[rng.random(n) < 0.1, 2] = np.nan
    label = rng.integers(3, size=n).astype(np.int32)
    variables = {k: Variable(f"v{k}", ordinal_codes(v)[:, None]) for k, v in enumerate(x.T)}
    given = Conditioner(Condition.of("c", n, [ordinal_codes(c)], [label]), 0)
    pairs = np.array([(i, j) for i in range(4) for j in range(i + 1, 4)])
    found = given.changes(variables, pairs, np.ones(len(pairs)))
    for (i, j), p_value in zip(pairs.tolist(), found, strict=True):
        rows = np.isfinite(x[:, i]) & np.isfinite(x[:, j])
        u, v, w = (2 * stats.rankdata(values[rows]) for values in (x[:, i], x[:, j], c))
        u, v, w = (stats.zscore(values) for values in (u, v, w))
        products = [stats.zscore(a * b) for a in (u, u**2 - 1) for b in (v, v**2 - 1)]
        of_label = np.eye(3)[label[rows]][:, 1:]
        left = np.column_stack([np.ones(rows.sum()), w, w**2, of_label])
        q = np.linalg.qr(left)[0][:, 1:]
        expected = stats.chi2.sf(((q.T @ np.array(products).T) ** 2).sum(), 16)
        assert p_value == pytest.approx(expected, rel=1e-6)
    assert found[2] < 1e-10  # v0 - v3
