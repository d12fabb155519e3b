"""Smooth functions of a normal score, and what noise does to them, tabulated once for all pairs.

A correction is a sum of products B_a(z) B_b(y) of Demmler-Reinsch functions: orthonormal under
N(0, 1), ordered from smooth to rough, linear beyond the data (Demmler & Reinsch 1975). With
z = alpha r + sigma eps, its least-squares fit at a noise level needs only the averages over samples of

    E_eps[w B_a(z) | r] B_b(y)    and    E_eps[B_a(z) B_a'(z) | r] B_b(y) B_b'(y),

with eps integrated out (Gauss-Hermite). As functions of r, these are a few hundred curves that span
some twenty dimensions, and likewise those of y: one small matrix of moments per pair holds them all.
Everything that follows is linear in the curves of r, so a level that many samples share is given the mean
of its curves over the ranks that it takes: this is the expectation over all ways to break its ties.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.integrate
import scipy.linalg
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr, ndtri

REACH = 6.0  # scores are tabulated on [-6, 6]; a normal sample leaves it once in 5e8
_ROWS = 2401
_QUADRATURE = 96  # Gauss-Hermite points that integrate eps: rough functions need them all
_KEPT = 1e-5  # curves are spanned to this part of the largest: less leaves Gram matrices indefinite


# where the integrands of residuals and of weak pairs are: a bump about logsnr 1.5, e-fold 1.5 wide
_MIDDLE, _SCALE = 1.5, 1.5


class NoiseLevels(NamedTuple):
    """Quadrature over noise levels: sum_k weight_k g(logsnr_k) = 1/2 Int g du, (K,) numbers each."""

    logsnr: tuple[float, ...]
    weight: tuple[float, ...]


class Shape(NamedTuple):
    """Which products make a correction: the smoothest `n_functions` of n_target x n_source."""

    n_target: int
    n_source: int
    n_functions: int


class Tables(NamedTuple):
    """Universal tables of corrections with F functions, K noise levels; float32.

    Attributes:
        curves: (rows, J) spanning curves of r. lookups: (rows, Q) spanning curves of y.
        integral: (rows, J) float64 of curves against N(0, 1), from the lowest row.
        linear: (K, A, J) and quadratic: (K, A(A+1)/2, J) coefficients of E[w B_a | r] and
            E[B_a B_a' | r] in the curves.
        single: (B, Q) and product: (B(B+1)/2, Q) coefficients of B_b(y) and B_b(y) B_b'(y).
        of_target, of_source: (F,) a and b of each function.
        entry: (F, F) place of each Gram entry in the (quadratic x product) table, flat.
        roughness: (F,) penalty of each function; 0 for {1, z} x {1, y}.
        weight: (K,) of the levels.
    """

    curves: np.ndarray
    lookups: np.ndarray
    integral: np.ndarray
    linear: np.ndarray
    quadratic: np.ndarray
    single: np.ndarray
    product: np.ndarray
    of_target: np.ndarray
    of_source: np.ndarray
    entry: np.ndarray
    roughness: np.ndarray
    weight: np.ndarray


def row(score: np.ndarray) -> np.ndarray:
    """Row of the tables nearest to a score, int64."""
    nearest = np.rint((score + REACH) * ((_ROWS - 1) / (2 * REACH)))
    found: np.ndarray = np.clip(nearest, 0, _ROWS - 1).astype(np.int64)
    return found


@lru_cache(maxsize=1)
def uniform() -> np.ndarray:
    """(rows,) Phi at the score of each row."""
    return ndtr(np.linspace(-REACH, REACH, _ROWS))


def averages(t: Tables, edges: np.ndarray) -> np.ndarray:
    """(V, L, J) float32 curves averaged over N(0, 1) between its quantiles of edges (V, L + 1) in 0..1.

    0 for levels of no width.
    """
    step = 2 * REACH / (_ROWS - 1)
    score = np.clip(ndtri(edges), -REACH, REACH)
    place = (score + REACH) / step
    below = np.clip(place.astype(np.int64), 0, _ROWS - 2)
    u = (place - below)[..., None]
    # cubic Hermite: the slope of the integral is the curve itself
    low, high = t.integral[below], t.integral[below + 1]
    grid = (below * step - REACH)[..., None]
    rise_low = step * t.curves[below] * np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    rise_high = step * t.curves[below + 1] * np.exp(-0.5 * (grid + step) ** 2) / np.sqrt(2 * np.pi)
    v = 1 - u
    integral = (1 + 2 * u) * v * v * low + u * v * v * rise_low
    integral += u * u * (3 - 2 * u) * high - u * u * v * rise_high
    width = np.diff(edges, axis=-1)[..., None]
    return np.where(
        width > 0, np.diff(integral, axis=-2) / np.where(width > 0, width, 1), 0
    ).astype(np.float32)


@lru_cache(maxsize=1)
def _demmler_reinsch(order: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid (G,), functions (G, order) and roughness (order,): eigenvectors of Int f''^2 against N(0, 1)."""
    grid = np.linspace(-10, 10, 1001)
    step = grid[1] - grid[0]
    mass = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi) * step
    second = np.diff(np.eye(grid.size), 2, axis=0)
    penalty = second.T @ second / step**3
    # inverted, so that the wanted smooth end of the spectrum is the large one and exact
    last = [grid.size - order, grid.size - 1]
    inverse, functions = scipy.linalg.eigh(
        np.diag(mass), penalty + np.diag(mass), subset_by_index=last
    )
    inverse, functions = inverse[::-1], functions[:, ::-1]
    functions = functions / np.sqrt((functions**2 * mass[:, None]).sum(0))
    functions *= np.sign(functions[-1])
    roughness = 1 / inverse - 1
    functions[:, 0], functions[:, 1], roughness[:2] = 1.0, grid, 0.0
    return grid, functions, roughness


def functions(order: int, at: np.ndarray) -> np.ndarray:
    """The first `order` Demmler-Reinsch functions at points of any shape: (..., order)."""
    grid, values, _ = _demmler_reinsch()
    return np.stack([np.interp(at, grid, values[:, k]) for k in range(order)], axis=-1)


@lru_cache(maxsize=8)
def tables(shape: Shape, levels: NoiseLevels) -> Tables:
    """Tables of corrections of one shape at some noise levels, made once per process."""
    n_target, n_source, n_functions = shape
    grid = np.linspace(-REACH, REACH, _ROWS)
    i, j = np.triu_indices(n_target)
    nodes_eps, mass_eps = hermegauss(_QUADRATURE)
    mass_eps = mass_eps / mass_eps.sum()
    noised: list[np.ndarray] = []
    for value in levels.logsnr:
        alpha, sigma = np.sqrt(1 / (1 + np.exp(-value))), np.sqrt(1 / (1 + np.exp(value)))
        b = functions(n_target, alpha * grid[:, None] + sigma * nodes_eps)
        w = alpha * nodes_eps - sigma * grid[:, None]
        weighted = b * mass_eps[:, None]
        squares = weighted.transpose(0, 2, 1) @ b
        noised += [(w[:, None] @ weighted)[:, 0].T, squares[:, i, j].T]
    # residuals have longer tails than normal scores: weigh curves by a wider normal
    curves, of_curves = _span(np.concatenate(noised), np.exp(-0.5 * (grid / 1.5) ** 2))
    of_level = of_curves.reshape(len(levels.weight), n_target + i.size, -1)

    p, q = np.triu_indices(n_source)
    own = functions(n_source, grid)
    lookups, product = _span((own[:, p] * own[:, q]).T, np.exp(-0.5 * grid**2))

    roughness = _demmler_reinsch()[2]
    a, b = (v.ravel() for v in np.meshgrid(range(n_target), range(n_source), indexing="ij"))
    smoothest = np.argsort(roughness[a] + roughness[b], kind="stable")[:n_functions]
    a, b = a[smoothest], b[smoothest]
    entry = _pair_index(n_target)[np.ix_(a, a)] * p.size + _pair_index(n_source)[np.ix_(b, b)]

    def floats(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values, dtype=np.float32)

    density = curves * np.exp(-0.5 * grid**2)[:, None] / np.sqrt(2 * np.pi)
    return Tables(
        curves=floats(curves),
        lookups=floats(lookups),
        integral=scipy.integrate.cumulative_simpson(density, x=grid, axis=0, initial=0),
        linear=floats(of_level[:, :n_target]),
        quadratic=floats(of_level[:, n_target:]),
        single=floats(product[:n_source]),  # products with B_0 = 1 come first
        product=floats(product),
        of_target=a,
        of_source=b,
        entry=entry,
        roughness=floats(roughness[a] + roughness[b]),
        weight=floats(np.array(levels.weight)),
    )


@lru_cache(maxsize=8)
def adapted_levels(count: int, low: float = -6.0, high: float = 10.0) -> NoiseLevels:
    """Gauss-Legendre levels in the distribution function of where integrands are.

    Residuals put every pair's integrand at about the same noise levels, so one placing serves all:
    6 levels here are as good as 12 equally spread in logsnr.
    """

    def below(logsnr: float) -> float:
        return float(1 / (1 + np.exp((_MIDDLE - logsnr) / _SCALE)))

    x, mass = np.polynomial.legendre.leggauss(count)
    share = below(low) + (below(high) - below(low)) * (x + 1) / 2
    logsnr = _MIDDLE + _SCALE * np.log(share / (1 - share))
    step = mass * (below(high) - below(low)) / 2 * _SCALE / (share * (1 - share))
    return _levels(logsnr, step, low)


@lru_cache(maxsize=8)
def spread_levels(count: int, low: float = -6.0, high: float = 10.0) -> NoiseLevels:
    """Gauss-Legendre levels in logsnr: what `adapted_levels` are measured against."""
    x, mass = np.polynomial.legendre.leggauss(count)
    return _levels(low + (high - low) * (x + 1) / 2, mass * (high - low) / 2, low)


def _levels(logsnr: np.ndarray, step: np.ndarray, low: float) -> NoiseLevels:
    weight = 0.5 * step / (1 + np.exp(-logsnr))  # du = sigmoid(logsnr) dlogsnr
    weight[0] += 0.5 * np.log1p(np.exp(low))  # all of u below the range
    return NoiseLevels(tuple(logsnr.tolist()), tuple(weight.tolist()))


def _span(rows: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, M) curves -> a basis (M, J) of them under `mass` (M,), and (R, J) coefficients."""
    scaled = rows * np.sqrt(mass / mass.sum())
    # by the smaller Gram matrix: ten times faster than a singular value decomposition
    squares, left = np.linalg.eigh(scaled @ scaled.T)
    kept = squares > _KEPT**2 * squares[-1]
    coefficients = left[:, kept][:, ::-1] * np.sqrt(squares[kept][::-1])
    return (rows.T @ left[:, kept][:, ::-1]) / np.sqrt(squares[kept][::-1]), coefficients


def _pair_index(order: int) -> np.ndarray:
    """(order, order) place of each unordered pair in `np.triu_indices(order)`."""
    index = np.zeros((order, order), dtype=int)
    index[np.triu_indices(order)] = np.arange(order * (order + 1) // 2)
    return np.maximum(index, index.T)
