"""Pairs given by a table of probabilities: cells, counts, rounded values, a count against a covariate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, ndtr, xlogy

from mmg_ray.known_mi import integrate
from mmg_ray.known_mi.laws import LAWS
from mmg_ray.known_mi.task import Array, Task

TAIL = 1e-10  # probability that a table of counts may leave out


def counts(name: str, table: Array) -> Task:
    """X and Y are row and column of a table of probabilities (a binary pair from a 2 x 2 table)."""
    table = np.asarray(table, dtype=float) / np.sum(table)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        cell = rng.choice(table.size, n, p=table.ravel())
        x, y = np.divmod(cell, table.shape[1])
        return x.astype(float), y.astype(float)

    return Task(name, integrate.table_mi(table), sample)


def checkerboard(k: int) -> Task:
    """Uniform on the squares of one colour of a k x k board: I = log 2 for even k."""
    cells = counts("", np.add.outer(np.arange(k), np.arange(k)) % 2 == 0)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        row, column = cells.sample(rng, n)
        return row + rng.random(n), column + rng.random(n)

    return Task(f"checkerboard {k}", cells.mi_nats, sample)


def poisson_gamma(
    shape: float, mean_x: float, mean_y: float, zeros_x: float = 0.0, zeros_y: float = 0.0
) -> Task:
    """Poisson counts that share a gamma rate of mean 1, each then lost to 0 independently.

    P(x, y) = G(a + x + y) / (G(a) x! y!) (a / d)^a (mean_x / d)^x (mean_y / d)^y, where a is the shape
    and d = a + mean_x + mean_y (negative multinomial).
    """

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        rate = rng.gamma(shape, 1 / shape, n)
        kept = rng.random((2, n)) >= [[zeros_x], [zeros_y]]
        x, y = kept * rng.poisson(np.stack([mean_x * rate, mean_y * rate]))
        return x.astype(float), y.astype(float)

    def table(n: int) -> Array:
        x, y = np.arange(n)[:, None], np.arange(n)
        d = shape + mean_x + mean_y
        powers = xlogy(x, mean_x / d) + xlogy(y, mean_y / d) + shape * np.log(shape / d)
        return np.exp(
            gammaln(shape + x + y) - gammaln(shape) - gammaln(x + 1) - gammaln(y + 1) + powers
        )

    p = _whole(table)
    lost = np.zeros_like(p)
    lost[0] = p.sum(0)
    p = (1 - zeros_x) * p + zeros_x * lost
    lost = np.zeros_like(p)
    lost[:, 0] = p.sum(1)
    p = (1 - zeros_y) * p + zeros_y * lost
    suffix = f", 0s {zeros_x:g} {zeros_y:g}" if zeros_x or zeros_y else ""
    name = f"counts {shape:g} {mean_x:g} {mean_y:g}{suffix}"
    return Task(name, integrate.table_mi(p), sample)


def poisson_response(name: str, rate: Callable[[Array], Array]) -> Task:
    """X ~ N(0, 1), Y | X ~ Poisson(rate(X)): a count against a covariate."""
    law = LAWS["normal"]

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x = law.draw(rng, n)
        return x, rng.poisson(rate(x)).astype(float)

    def integral(n: int) -> float:
        x, weights = integrate.gauss_legendre(law.support, n)
        weights, rates = weights * law.pdf(x), rate(x)[:, None]

        def table(n_counts: int) -> Array:
            y = np.arange(n_counts)
            return weights[:, None] * np.exp(xlogy(y, rates) - rates - gammaln(y + 1))

        return integrate.table_mi(_whole(table))

    return Task(name, integrate.converged(integral, 200), sample)


def rounded_gaussian(rho: float, width: float) -> Task:
    """Bivariate normal, both sides rounded to multiples of ``width``."""
    law = LAWS["normal"]
    last = np.ceil(law.support[1] / width)
    edges = width * (np.arange(-last, last + 2) - 0.5)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        x, y = np.round(np.stack([x, rho * x + np.sqrt(1 - rho**2) * e]) / width) * width + 0.0
        return x, y

    def integral(n: int) -> float:
        x, weights = integrate.gauss_legendre(edges, n)
        below = ndtr((edges - rho * x[:, None]) / np.sqrt(1 - rho**2))
        by_node = (weights * law.pdf(x))[:, None] * np.diff(below, axis=1)
        return integrate.table_mi(by_node.reshape(edges.size - 1, -1, edges.size - 1).sum(1))

    return Task(f"rounded {width:g} rho={rho:g}", integrate.converged(integral, 400), sample)


def _whole(table: Callable[[int], Array]) -> Array:
    """table(n) at the first doubling of ``n`` that leaves out less than TAIL of the probability."""
    for n in (32 << doublings for doublings in range(7)):
        p = table(n)
        if abs(1 - p.sum()) < TAIL:
            return p
    raise ArithmeticError(
        f"counts beyond {n} carry {1 - p.sum():.1e}: lower the mean or its spread"
    )
