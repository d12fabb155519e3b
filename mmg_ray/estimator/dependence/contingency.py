"""Two variables of few values each: the MI of their contingency table.

Where both sides are counts or labels with few values, the density ratio p(x, y) / p(x) p(y) is a table
of numbers, its plug-in estimate has a denoiser like any density, and what smooth functions can only
follow slowly, steps from value to value, is exact. Given a third variable of few values, each of its strata
has a table.

The plug-in MI of a sparse table is far off, and so is its first-order correction (Miller 1955). Here

    n I = sum_ij g(n_ij) - E sum_ij g(n_ij),    g(k) = k psi(k),

with the digamma function: E g of a Poisson count of mean m is m log m + m E1(m) (Grassberger, Phys. Lett. A 128:369,
1988). The second term is next to nothing of m above 1, and nearly linear in m below, where it adds up to the same whatever
the dependence, so that the sum is right for dependent pairs. His later function (arXiv physics/0307138) takes the term
away and has the larger error, since rare entries scatter more. The expectation, over tables of these margins (hypergeometric counts, as in Vinh,
Epps & Bailey, ICML 2009), makes the estimate of independent pairs exactly unbiased. The standard error is made in the
same way: what the log ratios scatter beyond their expectation, and the scatter that Grassberger's later function has under
independence: of dependent pairs with rare entries, that of psi is too small.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.special import gammaln, psi

from mmg_ray.estimator.pairs.estimates import BothWays, Found
from mmg_ray.estimator.ranks.levels import MOST

NAME = "contingency"  # of the rows that are its own
_SAMPLES_PER_FREEDOM = 20  # more would be little besides noise
_LEAST = 5  # samples of a value that stands for itself
_FEW = 8.0  # samples that an entry expects from which moments are as good as exact sums
_MOST_OF_FEW = 48  # what an entry that expects fewer never reaches
_DRAWN_IN = 1.25  # standard deviations under independence


class Table(NamedTuple):
    """MI and its standard error, nats: of one pair, or (P,) of many."""

    mi: Any
    se: Any


def few(codes: np.ndarray) -> bool:
    """Whether codes (N, 1) are of so few values that a table with them may be small."""
    return codes.max(initial=0) * _SAMPLES_PER_FREEDOM <= len(codes)


def fits(levels_a: Any, levels_b: Any, n: Any, n_strata: int = 1) -> Any:
    """Whether n samples fill as many tables of so many values; numbers or arrays."""
    return (levels_a - 1) * (levels_b - 1) * n_strata * _SAMPLES_PER_FREEDOM <= n


def of_few_values(values_a: np.ndarray, values_b: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Which pairs of n samples (P,) have few enough values for a table of their own levels."""
    found: np.ndarray = fits(values_a, values_b, n) & (np.maximum(values_a, values_b) <= MOST)
    return found


def both_ways(counts: np.ndarray, worth: np.ndarray) -> BothWays:
    """(P, 2, X, Y) counts of either half -> one estimate, in both directions and in all forms.

    `worth` (P,) is how many independent samples a sample counts for: less than one in a series.
    """
    return alike(from_tables(counts.sum(axis=1, keepdims=True), worth))


def alike(table: Table) -> BothWays:
    """One estimate of (P,) pairs, in both directions and in all forms."""
    found = Found(table.mi, table.se, table.mi, table.mi, np.ones_like(table.mi))
    return BothWays(found, found)


def mutual_information(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> Table:
    """I(A; B), or I(A; B | C), of (n,) columns of codes 0, 1, ...: a table in each stratum of C."""
    found = from_tables(counts_of(a, b, c)[None])
    return Table(float(found.mi[0]), float(found.se[0]))


def from_tables(
    counts: np.ndarray, worth: np.ndarray | float = 1.0, explained: np.ndarray | float = 0.0
) -> Table:
    """MI of P pairs: (P, C, A, B) counts over their values in each of C strata, a sample `worth` so many independent ones,
    less what is `explained`, see `between_strata`."""
    n = counts.sum(axis=(1, 2, 3))
    total, scatter, wide, square = _sums(
        np.ascontiguousarray(counts, dtype=np.int64), *_functions(int(n.max(initial=1)))
    )
    more, total = 1 / np.asarray(worth), total / n - explained
    # samples that remember each other scatter more, and a table is larger by chance
    if (more > 1).any():
        rows, columns = (counts.any(axis=axis).sum(axis=2) for axis in (3, 2))
        free = ((rows - 1) * (columns - 1)).clip(min=0).sum(axis=1)
        total -= (more - 1) * free / (2 * n)
    scatter, wide, square = scatter * (more / n) ** 2, wide * (more / n) ** 2, square * more
    variance = np.maximum(square, 0.0) / n + wide
    mi = _drawn_in(total, _DRAWN_IN * np.sqrt(scatter))
    # half-way between 0 and its own size, an estimate may be off by what it was drawn in
    return Table(mi, np.hypot(np.sqrt(variance), total - mi))


def _drawn_in(mi: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    """Unbiased estimates drawn to 0 where they are no larger than their scatter there; hardly changed beyond.

    Cut off at 0, estimates of independent pairs would have a mean above 0.
    """
    found: np.ndarray = mi**3 / np.maximum(mi**2 + scatter**2, 1e-300)
    return found


class _Functions(NamedTuple):
    """Functions of counts, looked up.

    Attributes:
        g: k psi(k), 0 at 0. wide: k G(k), with Grassberger's function. log_factorial: log k!.
        log: of k, 0 at 0.
    """

    g: np.ndarray
    wide: np.ndarray
    log_factorial: np.ndarray
    log: np.ndarray


def _functions(n: int) -> _Functions:
    """For counts up to n, at least."""
    return _functions_below(1 << max(n + 1, 64).bit_length())


@lru_cache(maxsize=8)
def _functions_below(n: int) -> _Functions:
    k = np.arange(1.0, n)
    odd = np.where(k % 2 == 1, -0.5, 0.5)
    later = psi(k) + odd * (psi((k + 1) / 2) - psi(k / 2))
    first = np.zeros(1)
    return _Functions(
        np.concatenate([first, k * psi(k)]),
        np.concatenate([first, k * later]),
        gammaln(np.arange(n) + 1),
        np.concatenate([first, np.log(k)]),
    )


@njit(cache=True)
def _sums(counts: Any, g: Any, wide: Any, log_factorial: Any, log: Any) -> Any:
    """Of (P, C, A, B) counts, (P,) each: n I; its variance under independence, times n^2, and that with `wide`; and the
    variance of the log ratio of a sample beyond what it is under independence."""
    n_pairs = len(counts)
    total, scatter, larger, square = np.zeros((4, n_pairs))
    for p in range(n_pairs):
        n = counts[p].sum()
        mean_ratio = mean_square = expected_square = 0.0
        for stratum in range(counts.shape[1]):
            table = _joined(_joined(counts[p, stratum]).T).T
            if table.shape[0] < 2 or table.shape[1] < 2:
                continue
            rows, columns = table.sum(1), table.sum(0)
            size = rows.sum()
            mean, variance, wider, squares = _under_independence(
                rows, columns, size, g, wide, log_factorial, log
            )
            total[p] -= mean
            scatter[p] += variance
            larger[p] += wider
            expected_square += squares
            for a in range(table.shape[0]):
                for b in range(table.shape[1]):
                    k = table[a, b]
                    if k > 0:
                        total[p] += g[k]
                        ratio = log[k] + log[size] - log[rows[a]] - log[columns[b]]
                        mean_ratio += k * ratio
                        mean_square += k * ratio**2
        square[p] = (mean_square - expected_square) / n - (mean_ratio / n) ** 2
    return total, scatter, larger, square


@njit(cache=True)
def _joined(table: Any) -> Any:
    """Rows without empty ones; those of fewer than `_LEAST` samples joined with the next of them, as bins of
    the root of their samples.

    A value that occurs once tells nothing of how the other side depends on it, its neighbourhood may:
    most values of a continuous variable with an atom are such.
    """
    size = table.sum(1)
    n_rare = in_rare = 0
    for k in size:
        if 0 < k < _LEAST:
            n_rare += 1
            in_rare += k
    width = max(_LEAST, int(np.ceil(np.sqrt(in_rare))))
    last = max(in_rare // width - 1, 0)  # takes what is left over
    group = np.full(len(size), -1)
    n_rows = 0
    for a in range(len(size)):
        if size[a] >= _LEAST or (n_rare < 2 and size[a] > 0):
            group[a] = n_rows
            n_rows += 1
    before = 0
    found = np.zeros((n_rows + (last + 1 if n_rare > 1 else 0), table.shape[1]), dtype=np.int64)
    for a in range(len(size)):
        if size[a] == 0:
            continue
        if group[a] < 0:
            group[a] = n_rows + min(before // width, last)
            before += size[a]
        found[group[a]] += table[a]
    return found


@njit(cache=True)
def _under_independence(
    rows: Any, columns: Any, n: int, g: Any, wide: Any, log_factorial: Any, log: Any
) -> tuple[float, float, float, float]:
    """Sums over the entries of a table of given margins under independence, by its hypergeometric counts.

    Returns:
        Mean of sum g(n_ij). Variance of it, entries taken one by one, so up to twice too large where
        most are rare, and that of sum wide(n_ij). Mean of sum n_ij (log ratio)^2.

    Exact where an entry expects few samples, by its moments elsewhere.
    """
    sum_mean = sum_variance = sum_wide = sum_squares = 0.0
    for r in rows:
        for c in columns:
            m = r * c / n
            # what fixed margins leave of the variance; the first powers add up to the degrees of freedom
            free = (1 - r / n) * (1 - c / n)
            if m >= _FEW:
                v = m * free * n / (n - 1)
                third = v * (1 - 2 * r / n) * (1 - 2 * c / n)
                sum_mean += m * (log[r] + log[c] - log[n]) + v / (2 * m) - third / (6 * m**2)
                sum_mean += (3 * v**2 + v) / (12 * m**3) - 0.5 - (1 + v / m**2) / (12 * m)
                sum_variance += 0.5 * free
                sum_wide += 0.5 * free
                sum_squares += free
                continue
            least = max(r + c - n, 0)
            first = (
                log_factorial[r] + log_factorial[c] + log_factorial[n - r] + log_factorial[n - c]
            )
            first -= log_factorial[n] + log_factorial[least] + log_factorial[r - least]
            first -= log_factorial[c - least] + log_factorial[n - r - c + least]
            p = np.exp(first)
            log_m = log[r] + log[c] - log[n]
            mean = square = along = spread = squares = 0.0
            wide_mean = wide_square = wide_along = 0.0
            for k in range(least, min(min(r, c), _MOST_OF_FEW) + 1):
                mean += p * g[k]
                square += p * g[k] ** 2
                along += p * g[k] * (k - m)
                wide_mean += p * wide[k]
                wide_square += p * wide[k] ** 2
                wide_along += p * wide[k] * (k - m)
                spread += p * (k - m) ** 2
                squares += p * k * (log[k] - log_m) ** 2
                p *= (r - k) * (c - k) / ((k + 1.0) * (n - r - c + k + 1.0))
            # fixed margins take out what is linear in the counts
            left = square - mean**2 - along**2 / max(spread, 1e-300)
            sum_mean += mean
            sum_variance += max(left, 0.0) / max(free, 1e-9)
            left = wide_square - wide_mean**2 - wide_along**2 / max(spread, 1e-300)
            sum_wide += max(left, 0.0) / max(free, 1e-9)
            sum_squares += squares
    return sum_mean, sum_variance, sum_wide, sum_squares


def counts_of(a: np.ndarray, b: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """(C, A, B) samples of each value of three columns of codes."""
    c = np.zeros_like(a) if c is None else c
    shape = int(c.max()) + 1, int(a.max()) + 1, int(b.max()) + 1
    return np.bincount(np.ravel_multi_index((c, a, b), shape), minlength=np.prod(shape)).reshape(
        shape
    )
