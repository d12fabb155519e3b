"""False-discovery rates over very many tests, from one reading and a table of fixed size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

_BINS = 2**20
_LARGEST = 750.0  # -log of the smallest positive float
WIDTH = _LARGEST / _BINS  # q-values are at most this share too large


def count(p_values: Iterable[np.ndarray]) -> np.ndarray:
    """How many of the parts, NaN where there was no test, are in which bin; such counts add up."""
    counts = np.zeros(_BINS + 1, dtype=np.int64)
    for part in _joined(p_values):
        counts += np.bincount(_bin(part[~np.isnan(part)]), minlength=_BINS + 1)
    return counts


class QValues:
    """q-value of a p-value: the smallest false-discovery rate at which it counts as found.

    p-values are counted in bins of equal width in log p, 0.07 %, so memory does not grow with their
    number. A q-value is never below the exact one and at most 0.07 % above it.

    Args:
        counts: of the p-values, see `count`.
        n_tests: tests that were made; p-values that are not among the counted ones are taken as larger.
        dependent: Benjamini & Yekutieli (2001), which holds under any dependence of the tests and
            costs a factor of about log(n_tests); else Benjamini & Hochberg (1995), which holds for
            independent and positively dependent ones.

    Examples:
        >>> p = np.array([0.01, 0.02, 0.5])
        >>> QValues(count([p]), n_tests=3).of(p).round(2).tolist()
        [0.03, 0.03, 0.5]
    """

    def __init__(self, counts: np.ndarray, n_tests: int, dependent: bool = False) -> None:
        # from the smallest p-value, which is in the last bin
        at_most = np.cumsum(counts[::-1])[::-1]
        upper = np.exp(-WIDTH * np.arange(_BINS + 1))
        factor = float(n_tests)
        if dependent:
            factor *= np.log(n_tests) + np.euler_gamma + 0.5 / n_tests if n_tests else 1.0
        with np.errstate(divide="ignore"):
            rate = np.where(counts > 0, upper * factor / np.maximum(at_most, 1), np.inf)
        # of this p-value and any larger one
        self._q = np.minimum(np.minimum.accumulate(rate), 1.0)

    def largest_p(self, rate: float) -> float:
        """The p-value up to which q-values are at most `rate`; 0 where none is."""
        found = np.flatnonzero(self._q <= rate)
        return float(np.exp(-WIDTH * found[0])) if found.size else 0.0

    def of(self, p_values: np.ndarray) -> np.ndarray:
        """q-values of p-values (any shape) that were counted; NaN stays."""
        tested = ~np.isnan(p_values)
        q = np.full(p_values.shape, np.nan)
        q[tested] = self._q[_bin(p_values[tested])]
        return q


def _joined(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts put together until there are about as many values as bins, all of which a count goes through."""
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= _BINS:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _bin(p_values: np.ndarray) -> np.ndarray:
    """Bin k holds p in (e^-(k+1)w, e^-kw]; the last all that is smaller."""
    depth = -np.log(np.clip(p_values, 1e-320, 1.0)) / WIDTH
    return np.minimum(depth.astype(np.int64), _BINS)
