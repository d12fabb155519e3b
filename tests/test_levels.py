"""Levels of a scalar: ordered, few, ties together, and the same in any order of the samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmg_ray.estimator.ranks.levels import BINS, FINE_BINS, MOST, levels
from mmg_ray.estimator.ranks.marginals import ordinal_codes


def values(kind: str, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    expression = rng.gamma(1.0, 1.0, n)
    return {
        "continuous": rng.standard_normal(n),
        "counts": rng.poisson(2.0, n).astype(float),
        "zeros": np.where(rng.random(n) < 0.9, 0.0, expression),
        "spikes": np.where(rng.random(n) < 0.5, rng.integers(0, 90, n) / 7, expression),
        "heavy": np.round(rng.standard_cauchy(n), 1),
    }[kind]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["continuous", "counts", "zeros", "spikes", "heavy"]),
    st.integers(2, 6000),
    st.integers(0, 2**20),
    st.sampled_from([BINS, FINE_BINS]),
)
def test_levels_keep_the_order_and_the_ties_and_are_few(
    kind: str, n: int, seed: int, n_bins: int
) -> None:
    x = values(kind, n, seed)
    found = levels(ordinal_codes(x), n_bins)
    order = np.argsort(x, kind="stable")
    level = found.level[order].astype(int)
    assert (np.diff(level) >= 0).all()  # ascending with the values
    assert (np.diff(level) <= 1).all()
    assert len(found.size) <= MOST
    assert (found.size > 0).all()
    assert found.size.sum() == n
    same = x[order][1:] == x[order][:-1]
    assert (np.diff(level)[same] == 0).all()  # ties together
    value, count = np.unique(x, return_counts=True)
    if len(value) > n_bins:
        for shared in value[count > 2 / BINS * n]:
            assert np.unique(x[found.level == found.level[x == shared][0]]).size == 1
    else:
        assert len(found.size) == len(value)
    shuffled = np.random.default_rng(seed).permutation(n)
    np.testing.assert_array_equal(
        levels(ordinal_codes(x[shuffled]), n_bins).level, found.level[shuffled]
    )


def test_bins_narrow_towards_the_ends() -> None:
    found = levels(np.random.default_rng(0).permutation(100_000))
    assert len(found.size) == BINS
    assert found.size[0] < 0.2 * found.size[BINS // 2]
    assert found.size.max() < 1.4 * 100_000 / BINS
    assert found.middle_scores[-1] == pytest.approx(-found.middle_scores[0], abs=1e-6)
    assert found.middle_scores[-1] > 3.0
