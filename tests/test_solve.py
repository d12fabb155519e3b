"""Systems side by side against numpy.linalg, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mmg_ray.estimator.tiers.spline.solve import RIDGE, cross_fitted, products


def entries(n: int) -> np.ndarray:
    """(n, n) place of each entry of a symmetric matrix."""
    entry = np.zeros((n, n), dtype=np.int64)
    i, j = np.triu_indices(n)
    entry[i, j] = entry[j, i] = np.arange(i.size)
    return entry


@pytest.mark.parametrize("n_functions", [1, 3, 24, 30])
@pytest.mark.parametrize("n_systems", [1, 7, 64, 70])
def test_fits_are_those_of_numpy(n_functions: int, n_systems: int) -> None:
    rng = np.random.default_rng(n_functions * 100 + n_systems)
    root = rng.standard_normal((2, n_systems, n_functions, n_functions + 8))
    gram = root @ root.swapaxes(2, 3) / n_functions + 0.1 * np.eye(n_functions)
    b = rng.standard_normal((2, n_systems, n_functions))
    penalties = np.abs(rng.standard_normal((3, n_functions))) * np.array([[1e-3], [0.1], [10.0]])
    i, j = np.triu_indices(n_functions)
    found = cross_fitted(
        np.ascontiguousarray(gram[:, :, i, j].swapaxes(1, 2), dtype=np.float32),
        np.ascontiguousarray(b.swapaxes(1, 2), dtype=np.float32),
        entries(n_functions),
        penalties.astype(np.float32),
    )
    diagonal = (penalties + RIDGE)[:, :, None] * np.eye(n_functions)
    beta = np.linalg.solve(gram[:, :, None] + diagonal, b[:, :, None, :, None])[..., 0]
    other, others_gram = b[::-1, :, None], gram[::-1, :, None]
    fitted = (others_gram @ beta[..., None])[..., 0]
    gain = 0.5 * (beta * (2 * other - fitted)).sum((0, -1))
    both = (beta * other).sum((0, -1))
    product = 0.5 * (beta[::-1] * fitted).sum((0, -1))
    np.testing.assert_allclose(found[0], beta.transpose(0, 2, 3, 1), rtol=2e-3, atol=2e-3)
    for mine, numpys in zip(found[1:], (gain, both, product), strict=True):
        np.testing.assert_allclose(mine, numpys.T, rtol=1e-3, atol=1e-3)
    assert np.abs(beta).max() > 0.1


def test_a_matrix_that_is_not_positive_gives_nothing_and_leaves_the_others_alone() -> None:
    gram = np.zeros((2, 6, 3), dtype=np.float32)
    gram[:, [0, 3, 5]] = 1.0
    right = np.ones((2, 3, 3), dtype=np.float32)
    good = cross_fitted(gram, right, entries(3), np.zeros((2, 3), dtype=np.float32))
    for bad in (-5.0, np.nan):
        spoilt = gram.copy()
        spoilt[0, 3, 1] = bad
        beta, *_ = cross_fitted(spoilt, right, entries(3), np.zeros((2, 3), dtype=np.float32))
        assert (beta[0, :, :, 1] == 0).all()
        np.testing.assert_array_equal(beta[..., [0, 2]], good[0][..., [0, 2]])
        np.testing.assert_array_equal(beta[1], good[0][1])
    assert (good[0] > 0.9).all()


def test_products_of_two_fits_fall_where_the_entries_are() -> None:
    rng = np.random.default_rng(0)
    beta = rng.standard_normal((2, 2, 5, 3)).astype(np.float32)
    entry, weight = entries(5), np.array([0.3, 0.7], dtype=np.float32)
    expected = np.zeros((2, 20, 3))
    outer = weight[:, None, None, None] * beta[:, 0, :, None] * beta[:, 1, None]
    for f in range(5):
        for g in range(5):
            expected[:, entry[f, g]] += outer[:, f, g]
    np.testing.assert_allclose(products(beta, entry, weight, 20), expected, atol=1e-5)
