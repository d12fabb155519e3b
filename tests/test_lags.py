"""Lags: counts are exact by events or samples, nulls have their level, lags and MI are those of known laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

import mmg_ray
from mmg_ray.errors import DataError
from mmg_ray.estimator.lags import LagSettings, Series, nulls, scan_tile, segments
from mmg_ray.estimator.lags.moments import lagged
from mmg_ray.estimator.lags.transfer import transfer
from mmg_ray.estimator.ranks.marginals import ordinal_codes

COLUMNS = ("lag", "p_value", "mi_nats", "se_nats", "sign", "band", "curve")


def counts(n: int, rate: float, seed: int, missing: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.poisson(rate, n)
    found[rng.integers(n, size=missing)] = -1
    return found


def as_dense(x: Series) -> Series:
    order = np.argsort(np.argsort(x.value))
    codes = np.append(order, -1)[x.levels()]
    return Series._dense(x.name, codes, x.starts[:-1])


class TestCounts:
    @pytest.mark.parametrize("starts", [[0], [0, 100, 230]])
    def test_tables_are_those_of_a_loop_over_samples(self, starts):
        n, most = 400, 12
        x, y = counts(n, 0.15, 1, missing=9), counts(n, 0.2, 2, missing=5)
        a, b = Series.of("x", x, starts), Series.of("y", y, starts)
        found = lagged(a, b, most)
        edges = [*starts, n]
        for k, lag in enumerate(range(-most, most + 1)):
            expected = np.zeros((len(a.size), len(b.size)), dtype=int)
            for first, last in itertools.pairwise(edges):
                for t in range(first, last):
                    if first <= t + lag < last and x[t] >= 0 and y[t + lag] >= 0:
                        expected[
                            np.flatnonzero(a.value == x[t])[0],
                            np.flatnonzero(b.value == y[t + lag])[0],
                        ] += 1
            np.testing.assert_array_equal(found.tables[k], expected)
        back = lagged(b, a, most)
        np.testing.assert_array_equal(back.tables[::-1].transpose(0, 2, 1), found.tables)

    def test_events_and_samples_have_the_same_sums(self):
        x, y = (Series.of("v", counts(3000, 0.2, k, missing=20), [0, 900]) for k in (1, 2))
        by_events, by_samples = lagged(x, y, 9), lagged(as_dense(x), as_dense(y), 9)
        np.testing.assert_array_equal(by_samples.sums[:, :1, :1], by_events.sums)
        np.testing.assert_array_equal(by_samples.n, by_events.n)

    def test_counts_at_times_are_those_of_bins(self):
        x = counts(500, 0.1, 3)
        at = np.flatnonzero(x)
        one, other = Series.of("x", x, [0]), Series.of_events("x", at, x[at], 500, [0])
        for name in ("at", "level", "size", "functions"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))

    def test_the_memory_of_a_series_is_its_autocovariance(self):
        x = Series.of("x", counts(40_000, 0.05, 4), [0])
        found = x.autocovariance(10)[0, :50]
        f = x.values()[0]
        expected = [f[: len(f) - h] @ f[h:] / len(f) for h in range(50)]
        np.testing.assert_allclose(found, expected, atol=2e-3)  # less the means of blocks
        np.testing.assert_allclose(as_dense(x).autocovariance(10)[0, :50], found, atol=1e-4)


class TestTiles:
    def test_a_pair_is_the_same_anywhere_and_mirrored_the_other_way(self):
        rng = np.random.default_rng(0)
        x = counts(20_000, 0.05, 5)
        y = counts(20_000, 0.05, 6)
        y[3:] += (x[:-3] > 0) & (rng.random(19_997) < 0.3)
        z = np.round(lfilter([1], [1, -0.8], rng.standard_normal(20_000)), 1)
        of = {
            k: Series.of(str(k), ordinal_codes(v.astype(float)), [0])
            for k, v in enumerate((x, y, z))
        }
        settings = LagSettings(8)
        whole = scan_tile(of, np.array([(0, 1), (0, 2), (1, 2)]), settings)
        alone = scan_tile(of, np.array([(1, 2)]), settings)
        turned = scan_tile(of, np.array([(1, 0), (2, 0), (2, 1)]), settings)
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(whole, name)[2], getattr(alone, name)[0])
        np.testing.assert_array_equal(turned.lag, -whole.lag)
        np.testing.assert_allclose(turned.curve, whole.curve[:, ::-1], rtol=1e-5)
        np.testing.assert_allclose(turned.p_value, whole.p_value, rtol=1e-9)
        assert whole.lag[0] == 3

    def test_what_does_not_fit_is_refused(self):
        x, y = (Series.of(k, counts(100, 0.1, s), [0]) for s, k in enumerate("xy"))
        for settings, match in (
            (LagSettings(60), "take 1 to 50"),
            (LagSettings(5, null="trial"), "8 trials"),
            (LagSettings(5, null="block"), "20 blocks longer"),
            (LagSettings(5, null="jitter", jitter=1), "windows of 2"),
        ):
            with pytest.raises(DataError, match=match):
                scan_tile({0: x, 1: y}, np.array([(0, 1)]), settings)


def poisson(rng, n, _):
    return rng.poisson(rng.uniform(0.01, 0.1), n)


def bursty(rng, n, _):
    on = np.convolve(rng.random(n) < 0.01, np.ones(25))[:n] > 0
    return rng.poisson(rng.uniform(0.01, 0.1) * np.where(on, 4, 0.2))


def refractory(rng, n, _):
    found = np.zeros(n, dtype=int)
    at = np.cumsum(4 + rng.geometric(rng.uniform(0.01, 0.1), n // 8))
    found[at[at < n]] = 1
    return found


def drifting(rng, n, _):
    return rng.poisson(rng.uniform(0.01, 0.1) * np.linspace(0.3, 1.7, n))


def together_slowly(rng, n, shared):
    t, phase = np.arange(n), np.random.default_rng(shared).uniform(0, 6, 4)
    wave = sum(
        np.sin(2 * np.pi * t / T + p) for T, p in zip((1300, 2000, 3100, 5000), phase, strict=True)
    )
    return rng.poisson(rng.uniform(0.01, 0.1) * np.exp(0.25 * wave))


def slow(rng, n, _):
    return together_slowly(rng, n, rng.integers(2**31))


@pytest.mark.parametrize(
    ("law", "null"),
    [
        (poisson, "shift"),
        (bursty, "shift"),
        (refractory, "shift"),
        (drifting, "shift"),
        (poisson, "jitter"),
        (together_slowly, "jitter"),
        (bursty, "trial"),
        (bursty, "block"),
        (drifting, "block"),
        (slow, "block"),
    ],
)
def test_independent_series_have_the_level(law, null):
    p = []
    for repeat in range(4):
        rng = np.random.default_rng([71, repeat])
        starts = np.arange(0, 30_000, 200) if null == "trial" else [0]
        series = {k: Series.of(str(k), law(rng, 30_000, repeat), starts) for k in range(16)}
        pairs = np.stack(np.triu_indices(16, 1), axis=1)
        settings = LagSettings(10, null, jitter=50 if null == "jitter" else 0)
        p += scan_tile(series, pairs, settings).p_value.tolist()
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) <= 0.001) < 0.01


def test_slow_common_rates_are_seen_by_shifts_and_not_by_jitter():
    rng = np.random.default_rng(3)
    series = {k: Series.of(str(k), together_slowly(rng, 60_000, 9), [0]) for k in range(6)}
    pairs = np.stack(np.triu_indices(6, 1), axis=1)
    shift = scan_tile(series, pairs, LagSettings(10)).p_value
    jitter = scan_tile(series, pairs, LagSettings(10, "jitter", jitter=40)).p_value
    assert (shift < 0.01).sum() > 5
    assert (jitter < 0.01).sum() <= 1


def with_gaps(values, length, rng, share=0.5):
    """This share of all samples, in gaps of this length, missing of all rows."""
    gap = np.repeat(rng.random(values.shape[1] // length + 1) < share, length)[: values.shape[1]]
    return np.where(gap, np.nan, values)


@pytest.mark.parametrize(
    ("null", "dense", "length"),
    [
        ("shift", False, 50),
        ("shift", False, 5),
        ("shift", True, 50),
        ("jitter", False, 5),
        ("trial", False, 5),
        ("block", False, 5),
        ("block", True, 50),
    ],
)
def test_series_that_miss_the_same_samples_have_the_level(null, dense, length):
    """They have more samples together than if each missed its own."""
    p = []
    for repeat in range(2 if dense else 5):
        rng = np.random.default_rng([72, repeat])
        n = 8_000 if dense else 30_000
        starts = np.arange(0, n, 200) if null == "trial" else [0]
        if dense:
            values = lfilter([1], [1, -0.5], rng.standard_normal((14, n)))
        else:
            rate = 0.2 * np.exp(-(np.arange(n) % 200) / 50) if null == "trial" else 0.05
            values = rng.poisson(rate, (14, n))
        values = with_gaps(values, length, rng, 0.5 if dense else 0.2)
        series = {k: Series.of(str(k), ordinal_codes(v), starts) for k, v in enumerate(values)}
        assert all(s.dense == dense for s in series.values())
        pairs = np.stack(np.triu_indices(14, 1), axis=1)
        settings = LagSettings(10, null, jitter=20 if null == "jitter" else 0)
        p += scan_tile(series, pairs, settings).p_value.tolist()
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) <= 0.001) < 0.01


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("of_trials", [False, True])
def test_sums_of_segments_are_those_of_a_loop(dense, of_trials):
    most, edges = 6, np.array([0, 50, 100, 150] if of_trials else [0, 45, 97, 150])
    x, y = (
        Series.of(k, counts(150, 0.15, s, missing=9), edges[:-1] if of_trials else [0])
        for s, k in enumerate("xy")
    )
    a, b = x.values()[0], y.values()[0]
    for values, there in ((a, x.present()), (b, y.present())):
        parts = list(itertools.pairwise(edges))
        whole = values.copy()
        for first, last in parts:
            if of_trials:
                n = sum(there[u:v].astype(int) for u, v in parts)
                mean = sum(whole[u:v] for u, v in parts) / np.maximum(n, 1)
            else:
                mean = whole[first:last].sum() / there[first:last].sum()
            values[first:last] = (whole[first:last] - mean) * there[first:last]
    expected = np.zeros((3, 2 * most + 1))
    for s, (first, last) in enumerate(itertools.pairwise(edges)):
        for lag in range(-most, most + 1):
            for t in range(first, last):
                if first <= t + lag < last:
                    expected[s, lag + most] += a[t] * b[t + lag]
    x, y = (as_dense(v) if dense else v for v in (x, y))
    assert x.dense == dense
    found = segments.of_trials(x, y, most) if of_trials else segments.of_blocks(x, y, most, edges)
    np.testing.assert_allclose(found.sums[:, 0, 0], expected.sum(axis=0), atol=1e-9)
    rest = expected - expected.mean(axis=0)
    variance = (rest**2).mean(axis=1).sum() * 3 / (1 if of_trials else 2)
    assert found.variance[0, 0] == pytest.approx(variance)
    skewness = (rest**3).mean(axis=1).sum() / (rest**2).mean(axis=1).sum() ** 1.5
    assert found.skewness == pytest.approx(skewness)


def test_the_scatter_of_few_trials_is_uncertain():
    """Of eight trials t of Student's law: normal p-values would be below .001 five times too often."""
    p = []
    for repeat in range(60):
        rng = np.random.default_rng([74, repeat])
        starts = np.arange(0, 8 * 150, 150)
        x = [lfilter([1], [1, -0.95], rng.standard_normal((8, 150))).ravel() for _ in range(12)]
        series = {k: Series.of(str(k), ordinal_codes(v), starts) for k, v in enumerate(x)}
        for i, j in np.arange(12).reshape(6, 2):
            sums, null = nulls.trial(series[i], series[j], 2)
            p.append(2 * stats.norm.sf(abs(null.normal(sums)[2, 0, 0])))
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p) <= 0.001) < 0.006


def test_blocks_find_what_is_there_and_no_slow_rate_in_common():
    rng = np.random.default_rng(15)
    x, y = (together_slowly(rng, 60_000, 9) for _ in range(2))
    y[3:] += (x[:-3] > 0) & (rng.random(59_997) < 0.3)
    series = {k: Series.of(str(k), v, [0]) for k, v in enumerate((x, y))}
    found = scan_tile(series, np.array([(0, 1)]), LagSettings(10, "block"))
    assert found.lag[0] == 3
    assert found.p_value[0] < 1e-30
    dense = lfilter([1], [1, -0.9], rng.standard_normal((2, 8000)))
    dense[1, 4:] += 0.5 * dense[0, :-4]
    series = {k: Series.of(str(k), ordinal_codes(v), [0]) for k, v in enumerate(dense)}
    found = scan_tile(series, np.array([(0, 1)]), LagSettings(10, "block"))
    assert found.lag[0] == 4
    assert found.p_value[0] < 1e-10


def test_smooth_series_have_the_level():
    rng = np.random.default_rng(5)
    x = lfilter([1], [1, -0.9], rng.standard_normal((120, 1500)))
    series = {k: Series.of(str(k), ordinal_codes(v), [0]) for k, v in enumerate(x)}
    p = scan_tile(series, np.arange(120).reshape(60, 2), LagSettings(20)).p_value
    for share in (0.05, 0.2):
        assert stats.binomtest(int((p <= share).sum()), len(p), share).pvalue > 1e-3


class TestAmount:
    def test_mi_of_shared_spikes(self):
        """y follows x by 4 with probability .3: MI of a table that is known."""
        rng = np.random.default_rng(6)
        n, rate, follow, own = 200_000, 0.05, 0.3, 0.03
        x = (rng.random(n) < rate).astype(int)
        y = (rng.random(n) < own).astype(int)
        y[4:] |= (x[:-4] > 0) & (rng.random(n - 4) < follow)
        p = np.array([[1 - own, own], [(1 - own) * (1 - follow), 1 - (1 - own) * (1 - follow)]])
        joint = np.array([[1 - rate], [rate]]) * p
        exact = (joint * np.log(joint / np.outer(joint.sum(1), joint.sum(0)))).sum()
        series = {0: Series.of("x", x, [0]), 1: Series.of("y", y, [0])}
        found = scan_tile(series, np.array([(0, 1)]), LagSettings(10))
        assert found.lag[0] == 4
        assert found.mi_nats[0] == pytest.approx(exact, abs=3 * found.se_nats[0])
        assert found.curve[0, 14] == pytest.approx(found.mi_nats[0], rel=1e-5)
        assert np.delete(found.curve[0], 14).max() < found.band[0] < exact
        assert found.p_value[0] < 1e-100

    def test_a_gaussian_series_at_a_lag(self):
        rng = np.random.default_rng(7)
        x = rng.standard_normal(20_000)
        y = np.roll(x, 7) * 0.4 + np.sqrt(1 - 0.16) * rng.standard_normal(20_000)
        series = {k: Series.of(str(k), ordinal_codes(v), [0]) for k, v in enumerate((x, y))}
        found = scan_tile(series, np.array([(0, 1)]), LagSettings(12))
        assert found.lag[0] == 7
        assert found.mi_nats[0] == pytest.approx(-0.5 * np.log(1 - 0.16), abs=3 * found.se_nats[0])

    def test_the_peak_is_found_where_p_values_are_too_small_to_differ(self):
        rng = np.random.default_rng(13)
        x = lfilter([1], [1, -0.97], rng.standard_normal(60_050))
        y = x[43:-7] + 0.3 * x.std() * rng.standard_normal(60_000)
        series = {k: Series.of(str(k), ordinal_codes(v), [0]) for k, v in enumerate((x[50:], y))}
        found = scan_tile(series, np.array([(0, 1), (1, 0)]), LagSettings(20))
        np.testing.assert_array_equal(found.lag, [7, -7])

    def test_missing_samples_do_not_lower_the_curve(self):
        rng = np.random.default_rng(14)
        x, e = rng.standard_normal((2, 20_000))
        y = 0.4 * np.roll(x, 3) + np.sqrt(1 - 0.16) * e
        x, y = with_gaps(np.stack([x, y]), 40, rng)
        series = {k: Series.of(str(k), ordinal_codes(v), [0]) for k, v in enumerate((x, y))}
        found = scan_tile(series, np.array([(0, 1)]), LagSettings(12))
        assert found.curve[0, 15] == pytest.approx(-0.5 * np.log(1 - 0.16), rel=0.15)
        both = np.isfinite(x[:-3]) & np.isfinite(y[3:])
        assert found.n_samples[0] == both.sum()

    def test_transfer_has_a_direction_and_a_level(self):
        p = []
        for k in range(200):
            x, y = (
                Series.of("v", counts(20_000, r, [k, s]), [0]) for s, r in ((1, 0.05), (2, 0.03))
            )
            p.append(transfer(x, y, (1, 2), (1, 2)).p_value)
        assert np.mean(np.array(p) <= 0.05) < 0.1
        rng = np.random.default_rng(8)
        x, y = counts(60_000, 0.05, 9), counts(60_000, 0.05, 10)
        y[2:] += (x[:-2] > 0) & (rng.random(59_998) < 0.2)
        a, b = (Series.of("v", v, [0]) for v in (x, y))
        forth, back = transfer(a, b, (1, 2, 3), (1, 2)), transfer(b, a, (1, 2, 3), (1, 2))
        assert forth.p_value < 1e-50
        assert back.p_value > 0.001
        assert forth.mi_nats > 50 * abs(back.mi_nats)


def test_the_largest_of_many_is_bounded_by_what_neighbours_share():
    rng = np.random.default_rng(11)
    for r in (0.0, 0.5, 0.9):
        z = lfilter([np.sqrt(1 - r * r)], [1, -r], rng.standard_normal((20_000, 120)))[:, 100:]
        largest = np.abs(z).max(axis=1)
        for share in (0.05, 0.01):
            u = np.quantile(largest, 1 - share)
            p = nulls.of_largest(2 * stats.norm.sf(u), 20, r)
            assert p == pytest.approx(share, rel=0.25)
            assert nulls.band(20, r, share) == pytest.approx(u, rel=0.05)


class TestLagScan:
    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(12)
        first = np.sort(rng.uniform(0, 300, 1500))
        return first, np.sort(np.r_[first[::3] + 0.0101, rng.uniform(0, 300, 1000)])

    def test_times_counts_and_objects_are_the_same(self):
        first, second = self.spikes()
        span = (0.0, 300.5)
        frame = mmg_ray.lag_scan(first, second, max_s=0.05, bin_s=0.005, span_s=span)
        assert frame.attrs["pairs"][0]["lag_s"] == pytest.approx(0.01)
        assert frame.loc[frame.mi_nats.idxmax(), "lag_s"] == pytest.approx(0.01)
        edges = np.arange(0, 300.5 + 1e-6, 0.005)
        x, y = (np.histogram(t, edges)[0] for t in (first, second))
        binned = mmg_ray.lag_scan(x, y, max_s=0.05, sample_s=0.005)
        assert binned.mi_nats.max() == pytest.approx(frame.mi_nats.max(), rel=0.02)
        nap = pytest.importorskip("pynapple")
        support = nap.IntervalSet(*span)
        group = nap.TsGroup(
            {k: nap.Ts(t, time_support=support) for k, t in enumerate((first, second))}
        )
        again = mmg_ray.lag_scan(group, max_s=0.05, bin_s=0.005)
        np.testing.assert_array_equal(again.mi_nats, frame.mi_nats)
        neo = pytest.importorskip("neo")
        trains = [neo.SpikeTrain(1000 * t, units="ms", t_stop=300_500.0) for t in (first, second)]
        again = mmg_ray.lag_scan(*trains, max_s=0.05, bin_s=0.005)
        assert again.attrs["pairs"][0]["p_value"] == frame.attrs["pairs"][0]["p_value"]

    def test_a_group_has_all_pairs(self):
        first, second = self.spikes()
        frame = mmg_ray.lag_scan(
            {"a": first, "b": second, "c": first + 0.02}, max_s=0.03, bin_s=0.005, transfer_s=[0.01]
        )
        assert [(p["source"], p["target"]) for p in frame.attrs["pairs"]] == [
            ("a", "b"),
            ("a", "c"),
            ("b", "c"),
        ]
        assert len(frame) == 3 * 13
        assert frame.attrs["pairs"][1]["lag_s"] == pytest.approx(0.02)
        assert (
            frame.attrs["pairs"][0]["transfer_p_ij"]
            < 1e-6
            < frame.attrs["pairs"][0]["transfer_p_ji"]
        )

    def test_what_is_no_series_is_refused(self):
        first, second = self.spikes()
        for args, settings, match in (
            ((first, second[::-1]), {"bin_s": 0.005}, "go back"),
            ((first[:10], second[:9]), {}, "unlike|samples"),
            ((first, second), {"bin_s": 0.1}, "less than a step"),
            ((np.zeros(50), np.arange(50)), {}, "one value only"),
            (("a", "b"), {}, "not numbers"),
            ((first * 1e9, second * 1e9), {"bin_s": 0.005}, "are times in seconds"),
        ):
            with pytest.raises(DataError, match=match):
                mmg_ray.lag_scan(*args, max_s=0.02 if "bin_s" in settings else 5, **settings)


def test_dense_pairs_side_by_side_are_those_of_each_alone() -> None:
    """Pairs of one best lag are estimated together; a series may be first in one of them and second in another."""
    rng = np.random.default_rng(17)
    values = np.cumsum(rng.standard_normal((600, 5)), axis=0)
    values[3:, 1] += 5 * values[:-3, 0]
    values[3:, 2] += 5 * values[:-3, 1]
    values[40:60, 3] = np.nan
    series = {
        k: Series.of(f"s{k}", ordinal_codes(column), [0, 300]) for k, column in enumerate(values.T)
    }
    pairs = np.stack(np.triu_indices(5, 1), axis=1)
    settings = LagSettings(most=6)
    together = scan_tile(series, pairs, settings)
    assert len(np.unique(together.lag)) < len(pairs)
    for row, pair in enumerate(pairs):
        alone = scan_tile(series, pair[None], settings)
        for name in ("lag", "p_value", "mi_nats", "se_nats", "n_samples", "sign", "curve", "band"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[row])
        assert alone.message[0] == together.message[row]
