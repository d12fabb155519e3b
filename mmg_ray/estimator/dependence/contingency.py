"""Two variables of few values each: the MI of their contingency table.

Where both sides are counts or labels with few values, the density ratio p(x, y) / p(x) p(y) is a table
of numbers, its plug-in estimate has a denoiser like any density, and what smooth functions can only
follow slowly, steps from value to value, is exact. Given a third variable of few values, each of its strata
has a table.

The plug-in MI of a sparse table is far off, and so is its first-order correction (Miller 1955). Here

    n I = sum_ij g(n_ij) - E sum_ij g(n_ij),    g(k) = k G(k),

with Grassberger's G (arXiv physics/0307138): E g of a Poisson count of mean m is nearly m log m, so that the
sum is right for dependent pairs. The expectation, over tables of these margins (hypergeometric counts, as in Vinh,
Epps & Bailey, ICML 2009), makes the estimate of independent pairs exactly unbiased. The standard error is made in the
same way: what the log ratios scatter beyond their expectation, and the scatter under independence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, psi
from scipy.stats import random_table

from mmg_ray.estimator.dependence.nulls import ENOUGH

_SAMPLES_PER_FREEDOM = 20  # more would be little besides noise
_LEAST = 5  # samples of a value that stands for itself
_FEW = 8.0  # samples that a cell expects from which moments are as good as exact sums
_MOST_OF_FEW = 48  # what a cell that expects fewer never reaches
_DRAWN_IN = 1.25  # standard deviations under independence


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
    n = a.size
    total, scatter, variance = 0.0, 0.0, 0.0
    mean_ratio, mean_square = 0.0, 0.0
    for counts in _counts(a, b, c):
        table = _filled(counts)
        if min(table.shape) < 2:
            continue
        rows, columns, size = table.sum(1), table.sum(0), int(table.sum())
        expected = _under_independence(rows, columns, size)
        total += float(_functions(size).g[table].sum()) - expected.sum
        scatter += expected.variance
        there = table > 0
        ratio = np.log(table[there] * (size / np.outer(rows, columns)[there]))
        mean_ratio += float(table[there] @ ratio) / n
        mean_square += float(table[there] @ ratio**2) / n
        variance -= expected.squares / n
    variance = max(variance + mean_square - mean_ratio**2, 0.0) / n + scatter / n**2
    mi = _drawn_in(total / n, _DRAWN_IN * np.sqrt(scatter) / n)
    # half-way between 0 and its own size, an estimate may be off by what it was drawn in
    return Found(mi, float(np.hypot(np.sqrt(variance), total / n - mi)))


def _drawn_in(mi: float, scatter: float) -> float:
    """An unbiased estimate drawn to 0 where it is no larger than its scatter there; hardly changed beyond.

    Cut off at 0, estimates of independent pairs would have a mean above 0.
    """
    return float(mi**3 / (mi**2 + scatter**2)) if mi else 0.0


def _filled(table: np.ndarray) -> np.ndarray:
    """(A, B) counts without empty rows and columns, neighbouring rare values joined."""
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    return _joined(_joined(table).T).T


def _joined(table: np.ndarray) -> np.ndarray:
    """Rows of fewer than `_LEAST` samples joined with the next of them, as bins of the root of their samples.

    A value that occurs once tells nothing of how the other side depends on it, its neighbourhood may:
    most values of a continuous variable with an atom are such.
    """
    size = table.sum(1)
    rare = size < _LEAST
    if rare.sum() < 2:
        return table
    in_rare = size[rare]
    width = max(_LEAST, int(np.ceil(np.sqrt(in_rare.sum()))))
    # the last bin takes what is left over
    group = np.minimum((np.cumsum(in_rare) - in_rare) // width, max(in_rare.sum() // width - 1, 0))
    joined = np.zeros((int(group.max()) + 1, table.shape[1]), dtype=table.dtype)
    np.add.at(joined, group, table[rare])
    return np.concatenate([table[~rare], joined])


class _Functions(NamedTuple):
    """Functions of counts, looked up.

    Attributes:
        g: k G(k), 0 at 0; its mean over Poisson counts is nearly m log m. log_factorial: log k!.
    """

    g: np.ndarray
    log_factorial: np.ndarray


def _functions(n: int) -> _Functions:
    """For counts up to n, at least."""
    return _functions_below(1 << max(n + 1, 64).bit_length())


@lru_cache
def _functions_below(n: int) -> _Functions:
    k = np.arange(1.0, n)
    odd = np.where(k % 2 == 1, -0.5, 0.5)
    g = k * (psi(k) + odd * (psi((k + 1) / 2) - psi(k / 2)))
    return _Functions(np.concatenate([[0.0], g]), gammaln(np.arange(n) + 1))


class _Expected(NamedTuple):
    """Sums over the cells of a table of given margins under independence.

    Attributes:
        sum: mean of sum g(n_ij). variance: of it, cells taken one by one, so up to twice too large where
            most are rare. squares: mean of sum n_ij (log ratio)^2.
    """

    sum: float
    variance: float
    squares: float


def _under_independence(rows: np.ndarray, columns: np.ndarray, n: int) -> _Expected:
    """Exact where a cell expects few samples, by its moments elsewhere."""
    (a, times_a), (b, times_b) = (np.unique(m, return_counts=True) for m in (rows, columns))
    rows_a, columns_b = (v.ravel() for v in np.meshgrid(a, b, indexing="ij"))
    a, b = rows_a / n, columns_b / n
    weight = np.outer(times_a, times_b).ravel()
    # what fixed margins leave of a cell's variance; the first powers add up to the degrees of freedom
    free = (1 - a) * (1 - b)
    m = a * b * n
    v = m * free * n / (n - 1)
    third = v * (1 - 2 * a) * (1 - 2 * b)
    mean = (
        m * np.log(m)
        + v / (2 * m)
        - third / (6 * m**2)
        + (3 * v**2 + v) / (12 * m**3)
        - 0.5
        - (1 + v / m**2) / (12 * m)
    )
    variance, squares = 0.5 * free, free.copy()
    few = m < _FEW
    if few.any():
        g, log_factorial = _functions(n)
        a, b, m = rows_a[few, None], columns_b[few, None], m[few, None]
        k = np.arange(_MOST_OF_FEW)
        possible = (k >= a + b - n) & (k <= np.minimum(a, b))
        at = np.where(possible, k, np.maximum(a + b - n, 0))
        log_p = log_factorial[np.stack([a, n - a, b, n - b])].sum(0) - log_factorial[n]
        log_p = log_p - sum(log_factorial[s] for s in (at, a - at, b - at, n - a - b + at))
        p = np.where(possible, np.exp(log_p), 0.0)
        mean[few] = p @ g[k]
        off, away = g[k] - mean[few, None], k - m
        along = (p * off * away).sum(1) ** 2 / np.maximum((p * away**2).sum(1), 1e-300)
        # fixed margins take out what is linear in the counts
        variance[few] = np.maximum((p * off**2).sum(1) - along, 0) / np.maximum(free[few], 1e-9)
        squares[few] = (p * (k * np.log(np.maximum(k, 1) / m) ** 2)).sum(1)
    return _Expected(float(weight @ mean), float(weight @ variance), float(weight @ squares))


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
