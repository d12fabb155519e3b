"""Two variables of few values each: the MI of their contingency table.

Where both sides are counts or labels with few values, the density ratio p(x, y) / p(x) p(y) is a table
of numbers, its plug-in estimate has a denoiser like any density, and what smooth functions can only
follow slowly, steps from value to value, is exact. The plug-in MI is high by (rows - 1)(columns - 1) / 2n
to first order (Miller 1955), which is taken off. Given a third variable of few values, each of its strata
has a table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import random_table

from mmg_ray.estimator.batch import shrunk
from mmg_ray.estimator.nulls import ENOUGH

_SAMPLES_PER_FREEDOM = 20  # the next term of the bias is then below its standard error


class Found(NamedTuple):
    """MI and its standard error, nats."""

    mi: float
    se: float


def few(codes: np.ndarray) -> bool:
    """Whether codes (N, 1) are of so few values that a table with them may be small."""
    return codes.max(initial=0) * _SAMPLES_PER_FREEDOM <= len(codes)


def fits(levels_a: int, levels_b: int, n: int, n_strata: int = 1) -> bool:
    """Whether n samples fill as many tables of so many values."""
    return (levels_a - 1) * (levels_b - 1) * n_strata * _SAMPLES_PER_FREEDOM <= n


def mutual_information(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> Found:
    """I(A; B), or I(A; B | C), of (n,) columns of codes 0, 1, ...: a table in each stratum of C."""
    table = _counts(a, b, c) / a.size
    shares = table.sum((1, 2), keepdims=True)
    expected = (
        table.sum(2, keepdims=True) * table.sum(1, keepdims=True) / np.where(shares, shares, 1)
    )
    there = table > 0
    ratio = np.log(table[there] / expected[there])
    plug_in = float(table[there] @ ratio)
    rows, columns = ((table.sum(axis) > 0).sum(1) for axis in (2, 1))
    variance = float(table[there] @ ratio**2) - plug_in**2
    freedom, n = int((np.maximum(rows - 1, 0) * np.maximum(columns - 1, 0)).sum()), a.size
    # the plug-in of an independent pair is chi-square of that freedom over 2n: its scatter is then
    # not that of the log ratios, of which it is the half
    variance = max(variance - freedom / n, 0.0) / n + 0.5 * freedom / n**2
    mi = shrunk(plug_in - freedom / (2 * n), np.sqrt(2 * freedom) / n)
    return Found(float(mi), float(np.sqrt(variance)))


def association(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, most: int, rng: np.random.Generator
) -> float:
    """p-value of: A and B are independent within every stratum of C; (n,) columns of codes.

    The statistic adds up observed less expected counts over strata and takes their covariance if the
    samples of a stratum were dealt anew (Landis, Heyman & Koch 1978). They are, up to `most` times:
    rare values make its limit, chi-square, a poor guide. p = (1 + beaten) / (1 + dealt), exact.
    """
    counts = _counts(a, b, c)
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
    beaten = dealt = 0
    while dealt < most and beaten < ENOUGH:
        size = min(most - dealt, max(2 * ENOUGH, 9 * dealt))
        tables = [
            random_table(r, s).rvs(size, random_state=rng)
            for r, s in zip(of_a[alive], of_b[alive], strict=True)
        ]
        beaten += int((statistic(counts[~alive].sum(0) + np.sum(tables, axis=0)) >= observed).sum())
        dealt += size
    return (1 + beaten) / (1 + dealt)


def _counts(a: np.ndarray, b: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """(C, A, B) samples of each value of three columns of codes."""
    c = np.zeros_like(a) if c is None else c
    shape = int(c.max()) + 1, int(a.max()) + 1, int(b.max()) + 1
    return np.bincount(np.ravel_multi_index((c, a, b), shape), minlength=np.prod(shape)).reshape(
        shape
    )
