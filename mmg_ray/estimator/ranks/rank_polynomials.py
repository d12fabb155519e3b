"""Polynomials of a variable's ranks, orthonormal in the law of that variable: ties are averaged, not broken.

    z = Phi^-1(1/2 + .9 (u - 1/2))

of the n ranks u, averaged over the ranks that samples of one value share, orthonormalised degree by degree under the
shares of the values. In u itself polynomials would see tails late, which changes of scale and shared scales
live from; in normal scores a few samples at the ends would rule the high orders. z, which ends at 1.6, is
between the two. Of a variable of L values there are at most L - 1; one that a few samples rule is left out with
all after it, since no sum of it over samples is near normal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from mmg_ray.estimator.ranks.levels import MOST, levels

ORDERS = 14
_INNER = 0.9  # of the range of ranks, from which normal scores are taken
MOST_LEVERAGE = 0.1  # of one sample on a polynomial of tied values
_FINE = 4096  # ranks that stand for any larger number of them
_MOST_EXACT = 4000  # samples that keep every value apart


class RankPolynomials(NamedTuple):
    """Of a scalar variable of L values over n samples.

    Attributes:
        at: (L, 14) polynomials at each value, of degree 1..14: zero mean, unit mean square, uncorrelated
            over the samples; 0 from degree n_orders + 1.
        size: (L,) samples of each value.
    """

    at: np.ndarray
    n_orders: int
    size: np.ndarray

    @property
    def tied(self) -> bool:
        """Whether some samples share a value."""
        return len(self.size) < self.size.sum()


class Ranked(NamedTuple):
    """A complete scalar: (n,) place of each sample's value among L, and the polynomials at those."""

    value: np.ndarray
    polynomials: RankPolynomials

    def at_samples(self) -> np.ndarray:
        """(n, 14)."""
        return self.polynomials.at[self.value]


@lru_cache(maxsize=64)
def basis(n: int) -> np.ndarray:
    """(n, 14) polynomials in z of degree 1..14, orthonormal over n ranks: zero mean, unit square."""
    z = ndtri(0.5 + _INNER * ((np.arange(n) + 0.5) / n - 0.5))
    # Chebyshev's are far from alike on any interval, so that orthogonalising them keeps all digits
    columns, triangle = np.linalg.qr(np.polynomial.chebyshev.chebvander(z / z[-1], ORDERS))
    return (columns * np.sign(np.diag(triangle)))[:, 1:] * np.sqrt(n)


@lru_cache(maxsize=64)
def _summed(n: int) -> np.ndarray:
    """(n + 1, 14) sums of `basis` over the first k ranks."""
    return np.concatenate([np.zeros((1, ORDERS)), np.cumsum(basis(n), axis=0)])


def averaged(size: np.ndarray) -> np.ndarray:
    """(L, 14) means of `basis` over the ranks of L values of these sizes, ascending."""
    n = int(size.sum())
    if n <= _FINE:
        edges = np.concatenate([[0], np.cumsum(size)])
        sums = _summed(n)[edges]
    else:
        edges = np.concatenate([[0.0], np.cumsum(size)]) * (_FINE / n)
        at = np.arange(_FINE + 1)
        sums = np.stack([np.interp(edges, at, column) for column in _summed(_FINE).T], axis=1)
        size = size * (_FINE / n)
    means: np.ndarray = np.diff(sums, axis=0) / size[:, None]
    return means


def polynomials(size: np.ndarray) -> RankPolynomials:
    """Of values shared by `size` (L,) samples each, ascending; none of a single value."""
    n = int(size.sum())
    if len(size) == 1:
        return RankPolynomials(np.zeros((1, ORDERS)), 0, size)
    if len(size) == n:
        return RankPolynomials(_untied(n), min(ORDERS, n - 1), size)
    most = min(ORDERS, len(size) - 1)
    share = size / n
    # a first column of ones takes the means out
    weighted = np.hstack([np.ones((len(size), 1)), averaged(size)[:, :most]])
    columns, triangle = np.linalg.qr(weighted * np.sqrt(share)[:, None])
    columns = (columns * np.sign(np.diag(triangle)))[:, 1:]
    at = np.zeros((len(size), ORDERS))
    at[:, :most] = columns / np.sqrt(share)[:, None]
    ruled = np.square(at[:, :most]).max(axis=0) > MOST_LEVERAGE * n
    n_orders = max(1, int(ruled.argmax())) if ruled.any() else most
    at[:, n_orders:] = 0.0
    return RankPolynomials(on_grid(at, n), n_orders, size)


@lru_cache(maxsize=64)
def _untied(n: int) -> np.ndarray:
    return on_grid(basis(n), n)


def on_grid(values: np.ndarray, n: int) -> np.ndarray:
    """Values of unit mean square over n samples, rounded so that float64 sums of their products are exact.

    They then do not depend on the order of the samples, on blocks, or on the processor. Of 10^6 samples the
    grid's step is 2^-16, and sums are off by that over the root of 12 n.
    """
    step = 2.0 ** ((52 - int(n).bit_length()) // 2)
    rounded: np.ndarray = np.round(values * step) / step
    return rounded


def ranked(codes: np.ndarray) -> Ranked:
    """Of (n,) complete ordinal codes; of very many samples by their levels, which polynomials cannot tell apart."""
    if codes.size > _MOST_EXACT:
        found = levels(codes, MOST)
        return Ranked(found.level, polynomials(found.size))
    size = np.bincount(codes)
    present = size > 0
    value = codes if present.all() else (np.cumsum(present) - 1)[codes]
    return Ranked(value, polynomials(size[present]))
