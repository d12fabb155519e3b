"""Are two variables of few values independent within every stratum of a third?"""

from __future__ import annotations

import numpy as np
from scipy.stats import random_table

from mmg_ray.estimator.dependence.contingency import counts_of
from mmg_ray.estimator.dependence.nulls import ENOUGH


def association(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, most: int, rng: np.random.Generator
) -> float:
    """p-value of: A and B are independent within every stratum of C; (n,) columns of codes.

    The statistic adds up observed less expected counts over strata and takes their covariance if the
    samples of a stratum were permuted anew (Landis, Heyman & Koch 1978). They are, up to `most` times:
    rare values make its limit, chi-square, a poor guide. p = (1 + exceeded) / (1 + permuted), exact.
    """
    counts = counts_of(a, b, c)
    of_a, of_b, n = counts.sum(2), counts.sum(1), counts.sum((1, 2))
    alive = n > 1
    expected = (of_a[:, :, None] * of_b[:, None, :] / np.maximum(n, 1)[:, None, None]).sum(0)
    spread = [
        np.kron(np.diag(r) * m - np.outer(r, r), np.diag(s) * m - np.outer(s, s)) / (m**2 * (m - 1))
        for r, s, m in zip(*(v[alive].astype(np.float64) for v in (of_a, of_b, n)), strict=True)
    ]
    inverse = np.linalg.pinv(np.sum(spread, axis=0), hermitian=True)

    def statistic(tables: np.ndarray) -> np.ndarray:
        excess = (tables - expected).reshape(len(tables), -1)
        found: np.ndarray = np.einsum("ti,ij,tj->t", excess, inverse, excess)
        return found

    observed = statistic(counts.sum(0)[None])[0] * (1 - 1e-9)
    exceeded = permuted = 0
    while permuted < most and exceeded < ENOUGH:
        size = min(most - permuted, max(2 * ENOUGH, 9 * permuted))
        tables = [
            random_table(r, s).rvs(size, random_state=rng)
            for r, s in zip(of_a[alive], of_b[alive], strict=True)
        ]
        exceeded += int(
            (statistic(counts[~alive].sum(0) + np.sum(tables, axis=0)) >= observed).sum()
        )
        permuted += size
    return (1 + exceeded) / (1 + permuted)
