"""Lags of groups and given conditions: copies found, p-values uniform, only what a condition leaves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.conditional import over_time, room, shifted
from mmg_ray.estimator.conditional.conditional_ranks import Condition, label_codes
from mmg_ray.estimator.conditional.lagged import LaggedPairs
from mmg_ray.estimator.lags import LagEstimates, LagSettings
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.schema import Variable


def variable(name: str, values: np.ndarray) -> Variable:
    """Of (S, B) values, or (S, B, D) of a group."""
    flat = values.reshape(values.shape[0] * values.shape[1], -1)
    return Variable(name, np.stack([ordinal_codes(column) for column in flat.T], axis=1))


def scan(
    *values: np.ndarray,
    most: int,
    condition: Condition | None = None,
    denoiser: str = "auto",
    **settings: object,
) -> LagEstimates:
    """The first against each of the others."""
    n_segments, length = values[0].shape[:2]
    settings = {"null": "shift" if n_segments == 1 else "trial"} | settings
    asked = LagSettings(most=most, **settings)
    starts = length * np.arange(n_segments)
    pairs = LaggedPairs(starts, n_segments * length, condition, asked, EstimatorConfig(denoiser))
    variables = {k: variable(f"v{k}", v) for k, v in enumerate(values)}
    return pairs.estimate(variables, np.array([[0, k] for k in range(1, len(values))]))


def smooth(n: int, seed: int) -> np.ndarray:
    """(2, n) series whose neighbours in time correlate by .9."""
    e = np.random.default_rng(seed).standard_normal((2, n))
    for t in range(1, n):
        e[:, t] += 0.9 * e[:, t - 1]
    return e


@pytest.mark.parametrize("lag", [-4, 0, 3])
@pytest.mark.parametrize("n_segments", [1, 40])
def test_the_lag_of_a_copy_is_found(lag: int, n_segments: int) -> None:
    rng = np.random.default_rng(5)
    n_bins = 1000 // n_segments
    z = rng.standard_normal((n_segments, n_bins + 8))
    x, y = z[:, 4 : 4 + n_bins], (z**2)[:, 4 - lag : 4 - lag + n_bins]  # Spearman sees nothing
    y = y + rng.standard_normal(y.shape)
    x = x.copy()
    x[0, 5:9] = np.nan
    found, back = scan(x, y, most=6), scan(y, x, most=6)
    assert (found.lag[0], back.lag[0]) == (lag, -lag)
    assert found.p_value[0] < 0.002
    np.testing.assert_allclose(back.curve[0], found.curve[0][::-1], rtol=1e-4)
    assert found.curve[0].argmax() == 6 + lag
    assert found.curve[0].max() > found.band[0] > np.delete(found.curve[0], 6 + lag).max()
    assert found.mi_nats[0] == pytest.approx(0.43, abs=0.12)


def test_a_group_leads_by_any_of_its_members() -> None:
    rng = np.random.default_rng(3)
    group = rng.standard_normal((1, 2000, 3))
    y = rng.standard_normal((1, 2000))
    y[:, 2:] += 0.4 * group[:, :-2, 1]
    found = scan(group, y, rng.standard_normal((1, 2000)), most=5, denoiser="gaussian")
    assert found.lag[0] == 2
    assert found.p_value[0] < 1e-6 < 0.01 < found.p_value[1]


def test_independent_series_have_uniform_p_values() -> None:
    rng = np.random.default_rng(7)
    series, trials = [], []
    for _ in range(100):
        x = smooth(500, int(rng.integers(2**31)))[:, 100:]
        series.append(scan(x[:1], x[1:], most=5).p_value[0])
        # trials of one shape: both follow the clock, and not each other
        spikes = rng.poisson(0.3 * np.exp(np.sin(np.arange(20) / 3)), (2, 50, 20)).astype(float)
        trials.append(scan(*spikes, most=4).p_value[0])
    assert kstest(series, "uniform").pvalue > 0.001
    assert kstest(trials, "uniform").pvalue > 0.001
    # p-values that take neighbours for independent samples would not pass
    assert np.mean(np.array(series) < 0.05) < 0.13


@pytest.mark.parametrize("labels", [False, True])
def test_lags_given_what_drives_both_see_only_the_rest(labels: bool) -> None:
    rng = np.random.default_rng(9)
    # a stimulus of a trial drives three cells; of these a leads b by two bins
    p_value = []
    for _ in range(16):
        stimulus = np.repeat(rng.integers(0, 4, (60, 1)), 25, axis=1)
        a, b, c = rng.standard_normal((3, 60, 25)) + stimulus
        b[:, 2:] += 0.4 * (a - stimulus)[:, :-2]
        flat = stimulus.ravel()
        codes = label_codes(np.array(list("wxyz"))[flat]) if labels else ordinal_codes(flat.astype(float))  # fmt: skip
        parts = ([], [codes]) if labels else ([codes], [])
        condition = Condition.of("stimulus", flat.size, *parts)
        found = scan(
            a, b, c, most=5, condition=condition, transfer=(1, 2), own=(1,), max_p_value=0.01
        )
        assert found.lag[0] == 2
        assert found.p_value[0] < 0.01
        p_value.append(found.p_value[1])
    assert kstest(p_value, "uniform").pvalue > 0.001
    expected = 0.5 * np.log(1.16)
    assert found.mi_nats[0] == pytest.approx(expected, abs=0.03)
    assert found.mi_nats[1] < 0.02
    assert found.transfer_ij[0] == pytest.approx(expected, abs=0.03)
    assert scan(a, c, most=5).p_value[0] < 0.01  # the stimulus, which both follow


def test_transfer_keeps_within_trials() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((2, 60, 20))
    y[:, 2:] += 0.8 * x[:, :-2]
    found = scan(x, y, most=4, transfer=(1, 2, 3), own=(1,), max_p_value=1.0)
    assert found.transfer_ij[0] == pytest.approx(0.5 * np.log(1.64), abs=0.06)
    assert found.transfer_p_ij[0] < 1e-10
    assert found.transfer_p_ji[0] > 0.01
    assert found.transfer_ji[0] < 0.02


@pytest.mark.parametrize("missing", [0, 40])
def test_sums_near_the_lags_are_those_of_a_loop(missing: int, monkeypatch) -> None:
    monkeypatch.setattr(shifted, "_PIECE", 64)
    monkeypatch.setattr(shifted, "_APART", 2)
    monkeypatch.setattr(shifted, "_AT_ONCE", 600)
    rng, n, most = np.random.default_rng(1), 500, 3
    values = rng.standard_normal((2, n, 2)).astype(np.float32)
    present = np.ones((2, n), dtype=np.float32)
    for k in range(2):
        present[k, rng.integers(n, size=missing)] = 0
        values[k][present[k] == 0] = 0
    x, y = (shifted.Functions(*side) for side in zip(values, present, strict=True))
    far = shifted.reach(n, most)
    assert far == 16
    found = shifted.strength(x, y, most)
    for shift in (-far, -most, -1, 0, 2, far):
        t = np.arange(max(0, -shift), n - max(0, shift))
        sums = values[0][t].T @ values[1][t + shift]
        both = (present[0][t] * present[1][t + shift]).sum()
        assert found.n[shift] == pytest.approx(both, rel=1e-4)
        assert found.t[shift] == pytest.approx((sums**2).sum() / both, rel=1e-3)


def test_groups_of_a_long_recording() -> None:
    rng, n = np.random.default_rng(4), 130_000
    drive = rng.standard_normal(n + 3)
    group, later, other = (
        rng.poisson(0.2 * np.exp(c * drive[3 - lag : n + 3 - lag, None] * np.ones(3)))[None]
        for lag, c in ((0, 0.4), (3, 0.4), (0, 0.0))
    )
    for null in ("shift", "block"):
        found = scan(group, later, other, most=10, denoiser="gaussian", null=null)
        assert found.lag[0] == 3
        assert found.p_value[0] < 1e-20 < 0.005 < found.p_value[1]
        assert found.message[0] == "MI of 64999 of 129997 samples"
        assert found.mi_nats[1] < 0.001 < found.mi_nats[0]


@pytest.mark.parametrize("dim", [1, 4])
def test_blocks_have_uniform_p_values(dim: int) -> None:
    """Of series with means that wander together, slowly: no dependence at lags."""
    p = []
    for k in range(60):
        rng = np.random.default_rng([6, k])
        wander = 0.5 * np.sin(np.arange(2500) / 500)
        x = (rng.standard_normal((1, 2500, dim)) + wander[None, :, None] for _ in range(2))
        p.append(scan(*x, most=5, denoiser="gaussian", null="block").p_value[0])
    assert kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(p) < 0.05) < 0.13


def test_blocks_are_parts_of_segments() -> None:
    edges = np.array([0, 100, 130, 230, 330])
    starts, length = over_time.blocks(edges, 80)
    assert length == 10
    assert len(starts) == 33
    assert all(np.searchsorted(edges, s, "right") == np.searchsorted(edges, s + 9, "right") for s in starts)  # fmt: skip
    rng = np.random.default_rng(10)
    found = scan(*rng.standard_normal((2, 60, 40)), most=4, null="block", denoiser="gaussian")
    assert 0 < found.p_value[0] <= 1
    with pytest.raises(ConfigError, match="there is room for 0"):
        room.check(np.arange(0, 400, 8), 400, LagSettings(most=4, null="block"))


def test_what_is_not_seen_given_a_condition_keeps_the_scan() -> None:
    rng = np.random.default_rng(2)
    stimulus = rng.standard_normal(3000)
    x, y = rng.standard_normal((2, 1, 3000)) + stimulus
    condition = Condition.of("stimulus", 3000, [ordinal_codes(stimulus)], [])
    found = scan(x, y, most=5, condition=condition)
    assert found.p_value[0] > 0.05
    assert found.mi_nats[0] == pytest.approx(max(found.curve[0].max(), 0))
    assert 0 <= found.mi_nats[0] < 0.01
    assert 0 < found.se_nats[0] < 0.01
    assert abs(found.sign[0]) < 0.1


def test_what_leaves_no_room_is_refused() -> None:
    settings = LagSettings(most=40, null="shift")
    with pytest.raises(ConfigError, match="too many for a series of 200"):
        room.check(np.array([0]), 200, settings)
    with pytest.raises(ConfigError, match="trials of one length"):
        room.check(np.array([0, 90]), 200, LagSettings(most=4, null="trial"))
    with pytest.raises(ConfigError, match="20 blocks longer than lags of 40"):
        room.check(np.array([0]), 800, LagSettings(most=40, null="block"))
    with pytest.raises(ConfigError, match="shift, block or trial"):
        room.check(np.array([0]), 200, LagSettings(most=4, null="jitter", jitter=5))
