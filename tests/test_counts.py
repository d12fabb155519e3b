"""Tables of counts against plain NumPy: dense, sparse, with missing values; halves by identity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmg_ray.estimator.pairs.counts import margins, tables
from mmg_ray.estimator.ranks.identity import half_of


def levels(kind: str, n_rows: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """(V, n) uint8, at most 24 levels."""
    if kind == "dense":
        return rng.integers(0, 24, (n_rows, n)).astype(np.uint8)
    share = 0.6 if kind == "half empty" else 0.03
    away = rng.random((n_rows, n)) < share
    usual = rng.integers(0, 24, (n_rows, 1))
    return np.where(away, rng.integers(0, 24, (n_rows, n)), usual).astype(np.uint8)


KINDS = st.sampled_from(["dense", "half empty", "sparse"])


@settings(max_examples=80, deadline=None)
@given(KINDS, KINDS, st.integers(1, 600), st.integers(0, 2**30))
def test_tables_are_those_of_numpy_in_any_order(
    kind_x: str, kind_y: str, n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = levels(kind_x, 3, n, rng), levels(kind_y, 4, n, rng)
    half = rng.integers(0, 2, n).astype(np.uint8)
    i, j = rng.integers(0, 3, 6), rng.integers(0, 4, 6)
    found = tables(x, y, half, i, j, (24, 30))
    for table, a, b in zip(found, i, j, strict=True):
        expected = np.zeros((2, 24, 30), dtype=int)
        np.add.at(expected, (half, x[a], y[b]), 1)
        np.testing.assert_array_equal(table, expected)
    order = rng.permutation(n)
    again = tables(x[:, order], y[:, order], half[order], i, j, (24, 30))
    np.testing.assert_array_equal(again, found)
    for part in (found, found.astype(np.float32) * (1 + 1e-7)):
        of_x, of_y, of_half = margins(part)
        np.testing.assert_array_equal(of_x, found.sum((1, 3)))
        np.testing.assert_array_equal(of_y, found.sum((1, 2)))
        np.testing.assert_allclose(of_half, found.sum((2, 3)), rtol=1e-6)


def test_a_missing_value_is_a_level_that_is_cut_off() -> None:
    rng = np.random.default_rng(1)
    x, y = (levels("sparse", 1, 500, rng) for _ in range(2))
    x[0, ::7], y[0, ::5] = 24, 24
    half = half_of(0, np.arange(500))
    present = (x[0] < 24) & (y[0] < 24)
    one = np.zeros(1, dtype=int)
    found = tables(x, y, half, one, one, (25, 25))[:, :, :24, :24]
    alone = tables(x[:, present], y[:, present], half[present], one, one, (24, 24))
    np.testing.assert_array_equal(found, alone)
    assert found.sum() == present.sum()


def test_halves_follow_the_sample_not_its_place() -> None:
    whole = half_of(0, np.arange(10_000))
    np.testing.assert_array_equal(half_of(0, np.arange(700)), whole[:700])
    assert set(whole.tolist()) == {0, 1}
    assert abs(int(whole.sum()) - 5000) < 200
    assert abs(int((whole[1:] == whole[:-1]).sum()) - 5000) < 200  # neighbours are independent
    assert 4500 < int((half_of(1, np.arange(10_000)) != whole).sum()) < 5500
    names = np.random.default_rng(0).integers(0, 2**63, 50).astype(np.uint64)
    kept = np.delete(np.arange(50), 7)
    np.testing.assert_array_equal(half_of(3, names)[kept], half_of(3, names[kept]))


@pytest.mark.parametrize("n", [0, 1])
def test_few_samples(n: int) -> None:
    x = np.zeros((1, n), dtype=np.uint8)
    one = np.zeros(1, dtype=int)
    assert tables(x, x, half_of(0, np.arange(n)), one, one, (1, 1)).sum() == n
