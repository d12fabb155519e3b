"""Is there any dependence at all? Rank moments of scalar pairs, their statistic and weak MI.

    S_ab = mean of P_a(x) P_b(y),   T = (n - 1) sum_ab S_ab^2 / (a b)

over a, b = 1..5, and a = 6..14 with b = 1 or the other way round: waves as fast as people draw them. The
polynomials are orthonormal in the law of each variable (see `rank_polynomials`), so under independence every
moment that there is has mean 0 and variance 1 / (n - 1), ties or not; `permutation_law` has the p-value of T.

The sum of S_ab^2 over all orders is the chi-square divergence of the copula from independence, and half
of it, the weak-dependence limit of the MMSE gap, is the MI to first order. 1/2 log(1 + sum) agrees with
that and is exact for a Gaussian copula; `weak_mi` takes it over the low orders, less its mean under
independence. All pairs of two blocks of variables come from one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numba import njit

from mmg_ray.estimator.dependence.block_products import ORDER, Lookup, Side, products
from mmg_ray.estimator.pairs.estimates import shrunk
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS, RankPolynomials
from mmg_ray.estimator.ranks.strata import Within
from mmg_ray.schema import Cost

_degree = np.arange(1, ORDERS + 1)
_used = (_degree[:, None] <= ORDER) & (_degree <= ORDER) | (np.minimum.outer(_degree, _degree) == 1)
# (14, 14) of S_ab^2 in the statistic; 0 where it is left out
WEIGHTS = np.where(_used, 1.0 / np.outer(_degree, _degree), 0.0)
_LOW = (np.outer(_degree, _degree) <= ORDER).astype(float)  # orders that weak_mi adds up
_SUMS = WEIGHTS, _LOW, _used.astype(float)
USED_ORDERS = np.argwhere(_used)  # (39, 2) positions, one below degrees
NAME = "screen"  # of the rows that are its own
_LEAST_SPREAD = 1e-9  # of a moment within strata, beside 1: there is none
MIN_SAMPLES = 30  # below it the law of T for finite n is not good to 10 %


A = TypeVar("A", np.ndarray, torch.Tensor)


class Moments(NamedTuple):
    """What the screen keeps of P pairs of n samples.

    Attributes:
        statistic: (P,) T. chi_square: (P,) sum of S_ab^2 over the low orders, a b <= 5, less its
            mean under independence. all_orders: (P,) the same over all that the statistic has.
        n_low: (P,) how many low orders there are.
        squares: (P, 39) S_ab^2 of `USED_ORDERS`; of a block None unless asked for.
    """

    statistic: np.ndarray
    chi_square: np.ndarray
    all_orders: np.ndarray
    n_low: np.ndarray
    squares: np.ndarray | None = None

    def at(self, *place: np.ndarray) -> Moments:
        """Those of some pairs."""
        statistic, chi_square, all_orders, n_low = (of[place] for of in self[:4])
        squares = None if self.squares is None else self.squares[place]
        return Moments(statistic, chi_square, all_orders, n_low, squares)


def block_moments(
    x: Sequence[Side], y: Sequence[Side], device: str = "cpu", squares: bool = False
) -> Moments:
    """All pairs of two blocks, U and V variables over the same n samples; `squares` asks for those.

    Returns:
        Arrays (U, V): sums are exact (see `on_grid`), so the same bits on any device as `moments` of each pair.
    """
    n = len(x[0].value)
    sides = Lookup(x, device), Lookup(y, device)
    sums = products(sides[0].at, sides[1].at, n, len(x), len(y), device)
    square, fast_x, fast_y = ((product / n).square_() for product in sums)
    if sides[0].spread is not None and sides[1].spread is not None:
        a, b = sides[0].spread, sides[1].spread
        spreads = products(
            lambda at: a[:, :, at], lambda at: b[:, :, at], a.shape[2], len(x), len(y), device
        )
        for squared, spread in zip((square, fast_x, fast_y), spreads, strict=True):
            squared /= spread.clamp(min=_LEAST_SPREAD)

    def of_orders(a: int, b: int) -> torch.Tensor:
        if max(a, b) < ORDER:
            return square[a, :, b]
        return fast_x[a - ORDER] if b == 0 else fast_y[:, b - ORDER]

    orders = [np.array([side.polynomials.n_orders for side in block]) for block in (x, y)]
    totals = (total.cpu().numpy() for total in _sums(of_orders))
    of_x, of_y = np.meshgrid(*orders, indexing="ij")
    found = _of_sums(totals, of_x, of_y, n)
    if not squares:
        return found
    every = torch.stack([of_orders(a, b) for a, b in USED_ORDERS.tolist()], dim=-1)
    return found._replace(squares=every.cpu().numpy())


def _sums(of_orders: Callable[[int, int], A]) -> Iterator[A]:
    """The sums of S_ab^2 by each of `_SUMS`.

    One order after the other, so that no pair's sum depends on what is beside it.
    """
    for weights in _SUMS:
        total = 0.0 * of_orders(0, 0)
        for a, b in np.argwhere(weights > 0).tolist():
            total += float(weights[a, b]) * of_orders(a, b)
        yield total


def _counted(chosen: np.ndarray) -> np.ndarray:
    """(15, 15) how many of the chosen (14, 14) pairs of orders there are up to each order."""
    return np.pad(np.asarray(chosen, dtype=float).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def moments(x: Side, y: Side) -> Moments:
    """One pair, in float64; arrays of shape (1,)."""
    n = len(x.value)
    orders = [np.array([side.polynomials.n_orders]) for side in (x, y)]
    squares = np.square(x.at_samples().T @ y.at_samples() / n)
    if isinstance(x, Within) and isinstance(y, Within):
        squares /= variances(x, y)
    return _of_squares(squares[None], orders, n)


def variances(x: Within, y: Within) -> np.ndarray:
    """(14, 14) n - 1 times those of moments within strata under independence."""
    found: np.ndarray = np.maximum(x.spread.T @ y.spread, _LEAST_SPREAD)
    return found


def table_moments(
    counts: np.ndarray, x: Sequence[Side], y: Sequence[Side], i: np.ndarray, j: np.ndarray
) -> Moments:
    """Pairs x[i], y[j] of two blocks by (P, X, Y) counts of their n samples over their values, in float64."""
    n = len(x[0].value)
    first, second = (_stacked([side.polynomials for side in block]) for block in (x, y))
    orders = [np.array([s.polynomials.n_orders for s in block])[k] for block, k in ((x, i), (y, j))]
    sums = _sums_of_tables(counts, first, second, i, j) / n
    within = [[side for side in block if isinstance(side, Within)] for block in (x, y)]
    if not within[0]:
        return _of_squares(sums**2, orders, n)
    weight = within[0][0].size.sum(axis=1) / n
    means, spreads = (
        [np.stack([getattr(side, name) for side in block]) for block in within]
        for name in ("mean", "spread")
    )
    sums -= _products_of_strata(means[0] * weight[:, None], means[1], i, j)
    spread = _products_of_strata(spreads[0], spreads[1], i, j)
    return _of_squares(sums**2 / np.maximum(spread, _LEAST_SPREAD), orders, n)


def _stacked(block: Sequence[RankPolynomials]) -> np.ndarray:
    """(U, L, 14) polynomials of U variables, 0 beyond the levels of each."""
    found = np.zeros((len(block), max(len(side.at) for side in block), ORDERS))
    for at, side in zip(found, block, strict=True):
        at[: len(side.at)] = side.at
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _products_of_strata(x: Any, y: Any, i: Any, j: Any) -> Any:
    """(P, 14, 14) sums over strata of products of (U, S, 14) and (V, S, 14), of the orders in use."""
    found = np.zeros((len(i), ORDERS, ORDERS))
    for p in range(len(i)):
        for s in range(x.shape[1]):
            for k in range(ORDERS):
                value = x[i[p], s, k]
                for m in range(ORDERS if k == 0 else (ORDER if k < ORDER else 1)):
                    found[p, k, m] += value * y[j[p], s, m]
    return found


def _of_squares(s2: np.ndarray, orders: Sequence[np.ndarray], n: int) -> Moments:
    """From (P, 14, 14) S_ab^2 of pairs of so many orders, (P,) of either variable."""
    of_x, of_y = orders
    found = _of_sums(_sums(lambda a, b: s2[:, a, b]), of_x, of_y, n)
    return found._replace(squares=s2[:, USED_ORDERS[:, 0], USED_ORDERS[:, 1]])


def _of_sums(sums: Iterable[np.ndarray], of_x: np.ndarray, of_y: np.ndarray, n: int) -> Moments:
    """From the three sums of `_SUMS` of pairs of so many orders of either variable."""
    n_low, n_all = (_counted(of)[of_x, of_y] for of in (_LOW, _used))
    statistic, low, every = sums
    # S_ab has mean square 1 / (n - 1) under independence
    return Moments((n - 1) * statistic, low - n_low / (n - 1), every - n_all / (n - 1), n_low)


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _sums_of_tables(counts: Any, x: Any, y: Any, i: Any, j: Any) -> Any:
    """(P, 14, 14) sums of P_a P_b over (P, X, Y) counts, of the orders in use."""
    found = np.zeros((len(counts), ORDERS, ORDERS))
    inner = np.empty(ORDERS)
    for p in range(len(counts)):
        for a in range(min(counts.shape[1], x.shape[1])):
            inner[:] = 0.0
            for b in range(min(counts.shape[2], y.shape[1])):
                if counts[p, a, b]:
                    for k in range(ORDERS):
                        inner[k] += counts[p, a, b] * y[j[p], b, k]
            for k in range(ORDERS):
                value = x[i[p], a, k]
                for m in range(ORDERS if k == 0 else (ORDER if k < ORDER else 1)):
                    found[p, k, m] += value * inner[m]
    return found


def linked_mi(chi_square: np.ndarray) -> np.ndarray:
    """MI of a Gaussian copula of this chi-square, nats: of any copula to first order; 0 if negative."""
    return 0.5 * np.log1p(np.maximum(chi_square, 0.0))


def weak_mi(chi_square: np.ndarray, n: int, scatter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MI of weakly dependent pairs and its standard error, nats, from `Moments.chi_square`.

    Low where dependence is strong or lies in orders that are not added up.

    Args:
        scatter: standard deviation of chi_square under independence.
    """
    at_least = np.maximum(chi_square, 0.0)
    # moments have variance 1 / n, and a square of mean m^2 then 4 m^2 / n more than under independence
    variance = 4 * at_least / n + np.square(scatter)
    mi = shrunk(linked_mi(at_least), 0.5 * scatter)
    return mi, 0.5 * np.sqrt(variance) / (1 + at_least)


def plausible_mi(all_orders: np.ndarray, n: int) -> np.ndarray:
    """The most that the MI of a pair may be if its moments are two standard errors too small, nats."""
    scatter = np.sqrt(2.0 * _used.sum()) / n
    at_least = np.maximum(all_orders, 0.0)
    return linked_mi(at_least + 2 * np.sqrt(4 * at_least / n + scatter**2))


def cost(n_samples: int) -> Cost:
    """Projected cost of one pair of a block."""
    return Cost(flops=30.0 * n_samples, peak_bytes=900.0 + 0.4 * n_samples)
