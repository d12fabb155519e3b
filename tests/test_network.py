"""Significance and network steps: by their definitions, by brute force, and over streams in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmg_ray.errors import ConfigError
from mmg_ray.network.graph import NETWORK_COLUMNS, network
from mmg_ray.network.significance import WIDTH, QValues, count
from mmg_ray.network.steps import STEPS, apply, parse
from mmg_ray.network.steps.fdr import with_q_values
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.plan.pairs import all_pairs, listed, source_pairs


def stream(weight: np.ndarray, p_value: np.ndarray | None = None, size: int = 7) -> EdgeStream:
    """All pairs of a symmetric (V, V) matrix, `size` at a time; NaN where there is no row."""
    i, j = np.triu_indices(len(weight), 1)
    there = ~np.isnan(weight[i, j])
    i, j = i[there].astype(np.int32), j[there].astype(np.int32)
    w = weight[i, j]
    p = np.full(len(i), np.nan) if p_value is None else p_value[i, j]
    none = np.full(len(i), np.nan)
    whole = Batch(i, j, w, w, 0.1 * w, p, none, np.sign(w), 1 - p)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(i), size):
            yield whole.take(np.arange(start, min(start + size, len(i))))

    partners = np.full(len(weight), len(weight) - 1)
    return EdgeStream(partners, int((~np.isnan(p)).sum()), batches)


def dense(edges: EdgeStream) -> np.ndarray:
    """(V, V) weights, 0 where there is no edge."""
    found = np.zeros((edges.n_variables, edges.n_variables))
    for batch in edges.batches():
        assert not found[batch.i, batch.j].any()  # each edge once
        found[batch.i, batch.j] = found[batch.j, batch.i] = batch.weight
    return found


def random_matrix(seed: int, n: int = 12, share: float = 0.7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = np.round(rng.gamma(0.5, 0.3, (n, n)), 3)
    w[rng.random((n, n)) > share] = 0
    w = np.triu(w, 1)
    return w + w.T


class TestQValues:
    @pytest.mark.parametrize("method", ["bh", "by"])
    def test_against_scipy(self, method):
        rng = np.random.default_rng(0)
        p = np.concatenate([rng.random(5000), rng.beta(0.05, 3, 500), [0.0, 1e-310, 1.0, 1.0]])
        rng.shuffle(p)
        exact = stats.false_discovery_control(p, method=method)
        q = QValues(count(np.split(p, [10, 2000])), p.size, dependent=method == "by").of(p)
        far = exact > 1e-300
        assert (q[far] >= exact[far] * (1 - 1e-9)).all()
        assert (q[far] <= np.minimum(exact[far] * (1 + 2 * WIDTH), 1)).all()
        assert (q[~far] < 1e-200).all()

    def test_tests_that_are_not_there_count_as_larger(self):
        rng = np.random.default_rng(1)
        p = np.concatenate([rng.random(3000), 10.0 ** -rng.uniform(2, 9, 100)])
        small = p[p < 1e-3]
        exact = stats.false_discovery_control(p)[p < 1e-3]
        assert QValues(count([small]), p.size).of(small) == pytest.approx(exact, rel=2 * WIDTH)

    def test_the_largest_p_value_of_a_rate(self):
        rng = np.random.default_rng(3)
        for effects in (0, 50, 400):
            p = np.r_[rng.random(3000), rng.beta(0.05, 3, effects)]
            whole = QValues(count([p]), p.size)
            most, q = whole.largest_p(0.2), whole.of(p)
            np.testing.assert_array_equal(p <= most, q <= 0.2)
            # larger p-values than the rate take no part
            near = QValues(count([p[p <= 0.2]]), p.size)
            assert near.largest_p(0.2) == most
            np.testing.assert_array_equal(near.of(p[p <= most]), q[p <= most])

    def test_nan_stays_and_no_test_is_no_q_value(self):
        q = QValues(count([np.array([np.nan, 0.01])]), 1)
        assert np.isnan(q.of(np.array([np.nan]))).all()
        assert q.of(np.array([0.01])) == pytest.approx(0.01, rel=2 * WIDTH)
        assert np.isnan(QValues(count([]), 0).of(np.array([np.nan]))).all()

    def test_the_rate_is_held(self):
        """400 effects among 10,000 tests: the false share of what is found at 10 %, over repeats."""
        rng = np.random.default_rng(2)
        false, recall = [], []
        for _ in range(60):
            z = rng.standard_normal(10_000)
            z[:400] += 3
            p = stats.norm.sf(z)
            found = QValues(count([p]), p.size).of(p) <= 0.1
            false.append(found[400:].sum() / max(found.sum(), 1))
            recall.append(found[:400].mean())
        assert np.mean(false) == pytest.approx(0.1 * 0.96, abs=0.015)
        assert np.mean(recall) > 0.4


class TestSteps:
    def test_clr_by_hand(self):
        # partners of 0 have weights 3, 1, 2: mean 2, sd .8165; of 1: 3, 0, 0: mean 1, sd 1.4142
        w = np.array([[0, 3, 1, 2], [3, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]], dtype=float)
        found = dense(STEPS["clr"].apply(stream(w)))
        z0, z1 = (3 - 2) / np.sqrt(2 / 3), (3 - 1) / np.sqrt(2)
        assert found[0, 1] == pytest.approx(np.hypot(z0, z1) / np.sqrt(2))
        z2 = (1 - 1 / 3) / np.sqrt(2 / 9)  # of 2: 1, 0, 0
        assert found[0, 2] == pytest.approx(z2 / np.sqrt(2))  # 1 is below the mean of 0

    def test_clr_counts_pairs_without_an_edge(self):
        w = random_matrix(3)
        holed = np.where(w == 0, np.nan, w)
        np.testing.assert_allclose(
            dense(STEPS["clr"].apply(stream(holed))), dense(STEPS["clr"].apply(stream(w)))
        )

    def test_clr_of_equal_weights_keeps_nothing(self):
        assert not dense(STEPS["clr"].apply(stream(np.ones((5, 5))))).any()

    def test_dpi_by_hand(self):
        # a chain 0 - 1 - 2 whose ends depend on one another through 1
        w = np.array([[0, 0.5, 0.2], [0.5, 0, 0.3], [0.2, 0.3, 0]])
        assert dense(STEPS["dpi"].apply(stream(w), 0.0))[0, 2] == 0
        kept = dense(STEPS["dpi"].apply(stream(w), 0.4))
        assert kept[0, 2] == 0.2  # .2 > (1 - .4) .3
        assert kept[0, 1] == 0.5

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5]))
    def test_dpi_is_its_definition(self, seed, tolerance):
        w = random_matrix(seed)
        expected = w.copy()
        for i, j, k in np.ndindex(12, 12, 12):
            if len({i, j, k}) == 3 and w[i, j] < (1 - tolerance) * min(w[i, k], w[j, k]):
                expected[i, j] = 0
        np.testing.assert_array_equal(dense(STEPS["dpi"].apply(stream(w), tolerance)), expected)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6))
    def test_mrnet_is_its_definition(self, seed):
        w = random_matrix(seed)
        score = np.zeros_like(w)
        for target in range(12):
            chosen: list[int] = []
            while True:
                gains = {
                    k: w[k, target] - (np.mean(w[k, chosen]) if chosen else 0.0)
                    for k in range(12)
                    if k != target and k not in chosen and w[k, target] > 0
                }
                best = max(gains, key=gains.get, default=None)
                if best is None or gains[best] <= 0:
                    break
                score[best, target] = gains[best]
                chosen.append(best)
        found = dense(STEPS["mrnet"].apply(stream(w)))
        np.testing.assert_allclose(found, np.maximum(score, score.T), atol=1e-12)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 80))
    def test_top_is_its_definition(self, seed, k, size):
        rng = np.random.default_rng(seed)
        w = np.triu(rng.random((9, 9)), 1)
        w += w.T
        least = np.sort(w, axis=1)[:, -k]
        expected = np.where((w >= least) | (w >= least[:, None]), w, 0)
        np.testing.assert_array_equal(dense(STEPS["top"].apply(stream(w, size=size), k)), expected)

    def test_steps_follow_one_another(self):
        w = random_matrix(5)
        p = np.exp(-30 * w)
        edges = apply(with_q_values(stream(w, p)), ["fdr=0.2", "mi=0.1", "clr", "weight=0.3"])
        (batch,) = [Batch.concatenate(list(edges.batches()))]
        assert 0 < len(batch.i) < 40
        assert batch.q_value.max() <= 0.2
        assert batch.mi_nats.min() >= 0.1
        assert batch.weight.min() >= 0.3
        assert (batch.weight != batch.mi_nats).all()

    def test_an_empty_network_is_one(self):
        for name, step in STEPS.items():
            value = [] if not step.value else [step.default or 1]
            edges = with_q_values(stream(np.zeros((4, 4)), np.ones((4, 4))))
            assert not dense(step.apply(edges, *value)).any(), name

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("cclr", "no network step 'cclr'; steps: fdr, by"),
            ("clr=2", "takes no value"),
            ("mi", "mi=NATS"),
            ("top=many", "'many' is no number"),
            ("mi=-1", "at least 0"),
        ],
    )
    def test_a_wrong_step_says_so(self, text, match):
        with pytest.raises(ConfigError, match=match):
            parse(text)

    @pytest.mark.parametrize(
        ("name", "value"), [("top", 1.5), ("dpi", 1.0), ("fdr", 0.0), ("top", 0)]
    )
    def test_a_value_out_of_range_says_so(self, name, value):
        with pytest.raises(ConfigError):
            STEPS[name].apply(with_q_values(stream(random_matrix(0), np.ones((12, 12)))), value)

    def test_without_p_values_there_is_no_rate(self):
        with pytest.raises(ConfigError, match="no pair of this run has a p-value"):
            STEPS["fdr"].apply(with_q_values(stream(random_matrix(0))), 0.05)


class TestNetwork:
    names = tuple(f"v{k}" for k in range(12))

    def test_is_a_table_with_the_strongest_first(self):
        w = random_matrix(8)
        found = network(stream(w), self.names, None, {"a": 1})
        assert found.table.column_names == [column.name for column in NETWORK_COLUMNS]
        weight = found.table["weight"].to_numpy()
        assert (np.diff(weight) <= 0).all()
        row = found.table.slice(0, 1).to_pylist()[0]
        assert w[row["i"], row["j"]] == w.max() == row["mi_nats"]
        assert (row["source"], row["target"]) == (f"v{row['i']}", f"v{row['j']}")
        assert row["q_value"] is None
        assert not found.directed
        assert "12 variables" in repr(found)
        assert "<table>" in found._repr_html_()

    def test_of_regulators_leads_from_them(self):
        w = random_matrix(9)
        w[4:, 4:] = np.nan  # pairs of two targets are not estimated
        found = network(stream(w), self.names, np.arange(4), {})
        assert found.directed
        i, j = found.table["i"].to_numpy(), found.table["j"].to_numpy()
        assert i.max() < 4
        two_regulators = [(a, b) for a, b in zip(i, j, strict=True) if b < 4]
        assert two_regulators
        assert {(b, a) for a, b in two_regulators} == set(two_regulators)

    def test_steps_are_methods(self):
        w = random_matrix(5)
        edges = with_q_values(stream(w, np.exp(-30 * w)))
        whole = network(edges, self.names, None, {})
        for name, step in STEPS.items():
            value = [] if not step.value else [step.default or 1]
            text = f"{name}={value[0]}" if value else name
            expected = network(apply(edges, [text]), self.names, None, {}).table
            found = getattr(whole, name)(*value)
            assert found.table.equals(expected), name
            assert found.provenance == {"steps": [text]}
            if step.default is not None:
                assert getattr(whole, name)().provenance == {"steps": [text]}
        texts = ["fdr=0.2", "clr", "top=3"]
        assert whole.fdr(0.2).clr().top(3).provenance == {"steps": texts}
        assert (
            whole.fdr(0.2)
            .clr()
            .top(3)
            .table.equals(network(apply(edges, texts), self.names, None, {}).table)
        )
        with pytest.raises(ConfigError):
            whole.top(1.5)

    def test_edges_are_read_when_asked_for(self):
        def none() -> Iterator[Batch]:
            raise AssertionError

        nothing = EdgeStream(np.full(12, 11), 0, none)
        network(nothing, self.names, None, {}).mi(0.1)

    def test_names_are_text(self):
        names = ["<b>", *self.names[1:]]
        assert "<b>" not in network(stream(random_matrix(1)), names, None, {})._repr_html_()


def test_partners_are_the_pairs_of_each_variable():
    for pairs in (
        all_pairs(5),
        source_pairs(5, np.array([1, 3])),
        listed(5, np.array([[0, 1], [1, 4]])),
    ):
        count = np.zeros(5, dtype=int)
        blocks = pairs.blocks(2)
        for p, q in pairs.tiles(2)[0]:
            for i, j in pairs.between(blocks[p], blocks[q]):
                count[[i, j]] += 1
        np.testing.assert_array_equal(pairs.partners, count)


class TestModules:
    def planted(self, sizes: tuple[int, ...] = (9, 6, 4)) -> np.ndarray:
        """Strong edges within groups of variables, weak ones between some of them; the last stands alone."""
        rng = np.random.default_rng(0)
        group = np.repeat(np.arange(len(sizes)), sizes)
        w = np.where(group[:, None] == group, 1.0, 0.05 * (rng.random((len(group),) * 2) < 0.2))
        w[:3, :3] *= 2  # hubs of the first
        w = np.triu(w, 1)
        return np.pad(w + w.T, (0, 1))

    def test_planted_groups_are_found_by_size_with_their_hubs_first(self):
        names = [f"v{k}" for k in range(20)]
        table = network(apply(stream(self.planted()), ["mi=0.01"]), names, None, {}).modules()
        assert table.module.tolist() == [1] * 9 + [2] * 6 + [3] * 4  # v19 has no edge
        assert set(table.variable[:9]) == set(names[:9])
        assert set(table.variable[:3]) == {"v0", "v1", "v2"}
        assert table.n_edges.tolist() == [8] * 9 + [5] * 6 + [3] * 4
        assert table.strength[0] == pytest.approx(2 + 2 + 6)
        assert table.equals(network(stream(self.planted()), names, None, {}).modules())

    def test_resolution_splits_and_an_empty_network_has_none(self):
        names = [f"v{k}" for k in range(20)]
        net = network(stream(self.planted()), names, None, {})
        fine = net.modules(resolution=30)
        assert fine.module.max() > 3
        empty = network(stream(np.zeros((4, 4))), list("abcd"), None, {})
        assert empty.modules().empty
        assert list(empty.modules()) == list(net.modules())
