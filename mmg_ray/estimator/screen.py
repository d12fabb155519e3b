"""Is there any dependence at all? Rank moments of scalar pairs, their exact-null p-value and weak MI.

    S_ab = mean of P_a(rank x) P_b(rank y),   T = (n - 1) sum_ab S_ab^2 / (a b)

over a, b = 1..5, and a = 6..14 with b = 1 or the other way round: waves as fast as people draw them.
P_a are the polynomials in z = Phi^-1(1/2 + .9 (u - 1/2)) that are orthonormal over the n ranks u. In u
itself they would see tails late, which changes of scale and shared scales live from; in normal scores a
few samples at the ends would rule the high orders. z, which ends at 1.6, is between the two. Ties are
broken at random, so under independence the ranks of y are a random permutation of those of x whatever
the marginals: the null distribution of T depends on n alone. For large n it is a weighted sum of 43
squared normals; for finite n, T is mapped to it by ``t + h(t, n) / n`` with h a broken line in t through simulated permutations
(`benchmarks/null.py` does it, `benchmarks/pvalues.py` shows how well).

The sum of S_ab^2 over all orders is the chi-square divergence of the copula from independence, and half
of it, the weak-dependence limit of the MMSE gap, is the MI to first order. 1/2 log(1 + sum) agrees with
that and is exact for a Gaussian copula; `weak_mi` takes it over the low orders, less its mean under
independence. All pairs of two blocks of variables come from one matrix product.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri

from mmg_ray.estimator.batch import shrunk
from mmg_ray.schema import Cost

ORDER, _WAVES = 5, 14  # of either side, and of one where the other is of order 1
_INNER = 0.9  # of the range of ranks, from which normal scores are taken
_DEGREES = np.arange(1, ORDER + 1)
_FAST = np.arange(ORDER + 1, _WAVES + 1)
_SQUARE = 1.0 / np.outer(_DEGREES, _DEGREES)
_EDGE = 1.0 / _FAST
WEIGHTS = np.concatenate([_SQUARE.ravel(), _EDGE, _EDGE])
_LOW = (np.outer(_DEGREES, _DEGREES) <= ORDER).astype(float)  # orders that weak_mi adds up
MIN_SAMPLES = 30  # below it the finite-n map is not good to 10 %

# h(t, n) = A + B / n at these t and straight in between, from 1e7 random permutations at each of nine
# n = 30 .. 200. Beyond the last it goes on as a straight line: rather too large a p-value than too small.
KNOTS = (2.5, 4.0, 5.5, 7.0, 9.0, 12.0, 16.0, 21.0, 27.0)
_A = (-17.0793, -5.06831, 3.67955, 3.47495, -3.4221, -13.4703, -2.44227, 39.9192, 111.513)
_B = (-191.365, -211.285, -214.898, -81.6762, 110.047, 952.529, 2249.82, 3880.82, 6373.97)


@lru_cache(maxsize=64)
def basis(n: int) -> np.ndarray:
    """(n, 14) polynomials in z of degree 1..14, orthonormal over n ranks: zero mean, unit square."""
    z = ndtri(0.5 + _INNER * ((np.arange(n) + 0.5) / n - 0.5))
    # Chebyshev's are far from alike on any interval, so that orthogonalising them keeps all digits
    columns, triangle = np.linalg.qr(np.polynomial.chebyshev.chebvander(z / z[-1], _WAVES))
    return (columns * np.sign(np.diag(triangle)))[:, 1:] * np.sqrt(n)


def tied_basis(codes: np.ndarray) -> np.ndarray:
    """(n, 14) of complete codes (n,): the mean of the basis over the ranks that tied samples share.

    For tests whose null is made of the data themselves: nothing is hidden by breaking ties, as it is
    where most counts are 0.
    """
    _, level, size = np.unique(codes, return_inverse=True, return_counts=True)
    if len(size) == codes.size:
        return basis(codes.size)[level]
    sums = np.add.reduceat(basis(codes.size), np.cumsum(size) - size, axis=0)
    found: np.ndarray = (sums / size[:, None])[level]
    return found


class Moments(NamedTuple):
    """What the screen keeps of P pairs of n samples.

    Attributes:
        statistic: (P,) T. chi_square: (P,) sum of S_ab^2 over the low orders, a b <= 5, less its
            mean under independence. all_orders: (P,) the same over all that the statistic has.
    """

    statistic: np.ndarray
    chi_square: np.ndarray
    all_orders: np.ndarray


_SAMPLES_AT_ONCE = 4096


def block_moments(ranks_x: np.ndarray, ranks_y: np.ndarray, device: str = "cpu") -> Moments:
    """All pairs of two blocks of variables over the same samples.

    Args:
        ranks_x: (U, n) permutations of 0..n-1. ranks_y: (V, n).

    Returns:
        Arrays (U, V). float32 on the device: S is good to 1e-6.
    """
    n = ranks_x.shape[1]
    values = torch.tensor(basis(n).T.copy(), dtype=torch.float32, device=device)
    sides = len(ranks_x), len(ranks_y)
    square = torch.zeros(sides[0] * ORDER, sides[1] * ORDER, device=device)
    fast_x = torch.zeros(sides[0] * len(_FAST), sides[1], device=device)
    fast_y = torch.zeros(sides[0], sides[1] * len(_FAST), device=device)
    for start in range(0, n, _SAMPLES_AT_ONCE):
        part = slice(start, start + _SAMPLES_AT_ONCE)
        x, y = (
            # (orders, variables, samples) -> variables first
            values[:, torch.from_numpy(ranks[:, part]).to(device)].transpose(0, 1)
            for ranks in (ranks_x, ranks_y)
        )
        square += x[:, :ORDER].flatten(0, 1) @ y[:, :ORDER].flatten(0, 1).T
        fast_x += x[:, ORDER:].flatten(0, 1) @ y[:, 0].T
        fast_y += x[:, 0] @ y[:, ORDER:].flatten(0, 1).T
    return _moments(
        (square / n).square_().view(sides[0], ORDER, sides[1], ORDER),
        (fast_x / n).square_().view(sides[0], len(_FAST), sides[1]),
        (fast_y / n).square_().view(sides[0], sides[1], len(_FAST)),
        n,
    )


def _moments(square: torch.Tensor, fast_x: torch.Tensor, fast_y: torch.Tensor, n: int) -> Moments:
    """From S_ab^2: (U, A, V, B) of the low orders, (U, F, V) and (U, V, F) of a fast side."""

    def summed(of_square: np.ndarray, of_fast: np.ndarray | None = None) -> np.ndarray:
        total = torch.einsum("uavb,ab->uv", square, torch.from_numpy(of_square).to(square))
        if of_fast is not None:
            fast = torch.from_numpy(of_fast).to(square)
            total = total + torch.einsum("ufv,f->uv", fast_x, fast) + fast_y @ fast
        found: np.ndarray = total.double().cpu().numpy()
        return found

    # S_ab has mean square 1 / (n - 1) under independence
    return Moments(
        (n - 1) * summed(_SQUARE, _EDGE),
        summed(_LOW) - _LOW.sum() / (n - 1),
        summed(np.ones_like(_SQUARE), np.ones_like(_EDGE)) - WEIGHTS.size / (n - 1),
    )


def moments(ranks_x: np.ndarray, ranks_y: np.ndarray) -> Moments:
    """One pair: two (n,) permutations of 0..n-1; arrays of shape ()."""
    n = ranks_x.size
    s = torch.from_numpy((basis(n)[ranks_x].T @ basis(n)[ranks_y] / n) ** 2)
    found = _moments(
        s[None, :ORDER, None, :ORDER], s[None, ORDER:, None, 0], s[None, None, 0, ORDER:], n
    )
    return Moments(*(values[0, 0] for values in found))


def linked_mi(chi_square: np.ndarray) -> np.ndarray:
    """MI of a Gaussian copula of this chi-square, nats: of any copula to first order; 0 if negative."""
    return 0.5 * np.log1p(np.maximum(chi_square, 0.0))


def weak_mi(chi_square: np.ndarray, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """MI of weakly dependent pairs and its standard error, nats, from `Moments.chi_square`.

    Low where dependence is strong or lies in orders that are not added up.
    """
    at_least = np.maximum(chi_square, 0.0)
    # moments have variance 1 / n, and a square of mean m^2 then 4 m^2 / n + 2 / n^2
    variance = 4 * at_least / n + 2 * _LOW.sum() / np.square(n, dtype=float)
    mi = shrunk(linked_mi(at_least), np.sqrt(0.5 * _LOW.sum()) / n)
    return mi, 0.5 * np.sqrt(variance) / (1 + at_least)


def p_value(t: np.ndarray | float, n: int) -> np.ndarray:
    """Probability of a statistic of at least `t` (any shape) among independent pairs of n samples."""
    t = np.asarray(t, dtype=np.float64)
    grid, log_tail = limit()
    at = t + _finite(t, n) / n
    inside = np.interp(at, grid, log_tail)
    slope = (log_tail[-1] - log_tail[-2]) / (grid[-1] - grid[-2])
    return np.exp(np.where(at > grid[-1], log_tail[-1] + slope * (at - grid[-1]), inside))


def _finite(t: np.ndarray, n: int) -> np.ndarray:
    return broken_line(t, np.array(_A) + np.array(_B) / n)


def broken_line(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Straight between the values (K,) at the K `KNOTS` and beyond the last, level before the first."""
    slope = (values[-1] - values[-2]) / (KNOTS[-1] - KNOTS[-2])
    return np.interp(t, KNOTS, values) + slope * np.maximum(t - KNOTS[-1], 0.0)


@lru_cache(maxsize=1)
def limit() -> tuple[np.ndarray, np.ndarray]:
    """Log of P(sum_ab chi2_1 / (a b) > t) on a grid of t, by inverting its moment generating function.

    1 / (2 pi i) Int exp(K(s) - s t) / s ds along Re s = c > 0, c at the saddle point: the integrand
    falls off at once and the result keeps its relative accuracy down to 1e-40 (Lugannani & Rice 1980).
    """
    weights, times = np.unique(WEIGHTS, return_counts=True)
    grid = np.concatenate([np.linspace(0.0, 40.0, 401), np.linspace(40.5, 200.0, 320)])
    y = 1e-3 * np.sinh(
        np.linspace(0.0, np.arcsinh(6e4), 2001)
    )  # fine where c nears the pole at 1/2
    log_tail = np.zeros_like(grid)
    for k, t in enumerate(grid[1:], start=1):
        c = max(_saddle(weights, times, t), 0.02)
        s = c + 1j * y
        log_mgf = -0.5 * times @ np.log1p(-2 * weights[:, None] * s)
        peak = (log_mgf[0] - c * t).real
        value = np.trapezoid((np.exp(log_mgf - s * t - peak) / s).real, y) / np.pi
        log_tail[k] = min(0.0, peak + np.log(value))
    return grid, log_tail


def _saddle(weights: np.ndarray, times: np.ndarray, t: float) -> float:
    """Real s < 1/2 with d/ds log mgf = t, by bisection; 0 below the mean."""
    low, high = 0.0, 0.5
    for _ in range(50):
        middle = 0.5 * (low + high)
        if times @ (weights / (1 - 2 * weights * middle)) < t:
            low = middle
        else:
            high = middle
    return low


def cost(n_samples: int) -> Cost:
    """Projected cost of one pair of a block."""
    return Cost(flops=30.0 * n_samples, peak_bytes=900.0 + 0.4 * n_samples)
