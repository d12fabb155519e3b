"""Populations of counting cells that share latent variables: two groups of coordinates, full of ties.

Given the latents s the cells are independent, so that with nodes s_k and weights w_k of a quadrature

    p(x) = sum_k w_k prod_j p(x_j | s_k),        p(x, y) = sum_k w_k prod_j p(x_j | s_k) prod_j p(y_j | s_k),

and I(X; Y) = E log p(x, y) / p(x) p(y) is the mean over samples of the law itself: exact but for the
nodes, which are many, and the samples, whose standard error is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from mmg_ray.known_mi.task import Array

_NODES = {1: 96, 2: 40}  # of one latent, by how many there are
_SAMPLES, _CHUNK = 200_000, 4_000
_SEED = 20
_WIDEST = 6.0  # standard deviations of a latent that have nodes


@dataclass(frozen=True)
class Cells:
    """Cells of one side given the latents.

    Attributes:
        log_mass: counts (n, d) and latents (k, l) to log p(x | s) (n, k), all cells together.
        draw: generator and latents (n, l) to counts (n, d).
    """

    log_mass: Callable[[Array, Array], Array]
    draw: Callable[[np.random.Generator, Array], Array]


@dataclass(frozen=True)
class Population:
    """Two groups of cells that share `n_latents` standard normal latents, or share none."""

    name: str
    x: Cells
    y: Cells
    n_latents: int = 1
    shared: bool = True

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """(n, dx) and (n, dy) counts."""
        s = rng.standard_normal((n, self.n_latents))
        other = s if self.shared else rng.standard_normal((n, self.n_latents))
        return self.x.draw(rng, s), self.y.draw(rng, other)

    def mi_nats(self) -> tuple[float, float]:
        """The MI and its standard error."""
        found = self.pointwise()
        return float(found.mean()), float(found.std() / np.sqrt(len(found)))

    def log_ratio(self, x: Array, y: Array) -> Array:
        """(n,) log p(x, y) / p(x) p(y) of samples."""
        if not self.shared:
            return np.zeros(len(x))
        nodes, log_weights = _nodes(self.n_latents)
        of_x, of_y = self.x.log_mass(x, nodes), self.y.log_mass(y, nodes)
        found: Array = (
            logsumexp(of_x + of_y + log_weights, axis=1)
            - logsumexp(of_x + log_weights, axis=1)
            - logsumexp(of_y + log_weights, axis=1)
        )
        return found

    def pointwise(self, n: int = _SAMPLES) -> Array:
        """(n,) of samples of the law; the spread is the efficiency bound's."""
        rng = np.random.default_rng(_SEED)
        sizes = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
        return np.concatenate([self.log_ratio(*self.sample(rng, size)) for size in sizes])


def _nodes(n_latents: int) -> tuple[Array, Array]:
    """(k, l) nodes of a standard normal and the logarithms of their weights (k,)."""
    one = np.linspace(-_WIDEST, _WIDEST, _NODES[n_latents])
    grid = np.stack(np.meshgrid(*[one] * n_latents, indexing="ij"), -1).reshape(-1, n_latents)
    log_weights = -0.5 * np.square(grid).sum(1)
    return grid, log_weights - logsumexp(log_weights)


def poisson(log_rate: Callable[[Array], Array]) -> Cells:
    """Poisson counts of rates exp(log_rate(s)), (k, l) latents to (k, d)."""

    def log_mass(x: Array, s: Array) -> Array:
        eta = log_rate(s)
        found: Array = x @ eta.T - np.exp(eta).sum(1) - gammaln(x + 1).sum(1, keepdims=True)
        return found

    return Cells(log_mass, lambda rng, s: rng.poisson(np.exp(log_rate(s))).astype(float))


def zero_inflated(log_rate: Callable[[Array], Array], lost: float) -> Cells:
    """Poisson counts, each lost to 0 with probability `lost`."""

    def log_mass(x: Array, s: Array) -> Array:
        eta = log_rate(s)
        total = np.zeros((len(x), len(s)))
        for j in range(x.shape[1]):
            rate, count = np.exp(eta[:, j]), x[:, j : j + 1]
            kept = np.log1p(-lost) + count * eta[:, j] - rate - gammaln(count + 1)
            total += np.where(count == 0, np.log(lost + (1 - lost) * np.exp(-rate)), kept)
        return total

    def draw(rng: np.random.Generator, s: Array) -> Array:
        counts = rng.poisson(np.exp(log_rate(s)))
        return np.where(rng.random(counts.shape) < lost, 0, counts).astype(float)

    return Cells(log_mass, draw)


def negative_binomial(log_rate: Callable[[Array], Array], size: float) -> Cells:
    """Counts with a private gamma gain of shape `size` for every cell and sample."""

    def log_mass(x: Array, s: Array) -> Array:
        eta = log_rate(s)
        scale = np.log(size + np.exp(eta))
        constant = (gammaln(x + size) - gammaln(x + 1) - gammaln(size)).sum(1, keepdims=True)
        found: Array = (
            constant + x @ (eta - scale).T + size * (np.log(size) * eta.shape[1] - scale.sum(1))
        )
        return found

    def draw(rng: np.random.Generator, s: Array) -> Array:
        rate = np.exp(log_rate(s))
        return rng.poisson(rate * rng.gamma(size, 1 / size, rate.shape)).astype(float)

    return Cells(log_mass, draw)


def refractory(log_rate: Callable[[Array], Array], most: int) -> Cells:
    """Counts of at most `most` spikes: binomial, with the mean of a Poisson count cut off smoothly."""

    def share(s: Array) -> Array:
        return -np.expm1(-np.exp(log_rate(s)) / most)

    def log_mass(x: Array, s: Array) -> Array:
        p = np.clip(share(s), 1e-12, 1 - 1e-12)
        ways = (gammaln(most + 1) - gammaln(x + 1) - gammaln(most - x + 1)).sum(1, keepdims=True)
        found: Array = ways + x @ np.log(p).T + (most - x) @ np.log1p(-p).T
        return found

    return Cells(log_mass, lambda rng, s: rng.binomial(most, share(s)).astype(float))


def with_normal(cells: Cells, loading: Array) -> Cells:
    """Cells followed by continuous coordinates loading' s + N(0, 1), `loading` (l, d)."""
    d = loading.shape[1]

    def log_mass(x: Array, s: Array) -> Array:
        mean = s @ loading
        values = x[:, -d:]
        square = (values**2).sum(1, keepdims=True) - 2 * values @ mean.T + (mean**2).sum(1)
        return cells.log_mass(x[:, :-d], s) - 0.5 * square

    def draw(rng: np.random.Generator, s: Array) -> Array:
        return np.hstack([cells.draw(rng, s), s @ loading + rng.standard_normal((len(s), d))])

    return Cells(log_mass, draw)


def loaded(mean: float, loading: Array) -> Callable[[Array], Array]:
    """log rate = log mean + loading' s less half its variance, so that the mean count is `mean`."""
    return lambda s: np.log(mean) + s @ loading - 0.5 * np.square(loading).sum(0)


def tuned(mean: float, centre: Array, width: float) -> Callable[[Array], Array]:
    """Cells that prefer values `centre` (d,) of the first latent: not monotone."""
    return lambda s: np.log(mean) - 0.5 * ((s[:, :1] - centre) / width) ** 2


def population_suite() -> list[Population]:
    """Laws to report on; settings were found on others."""
    rng = np.random.default_rng([_SEED, 1])

    def about(size: float, n_cells: int, n_latents: int = 1, negative: float = 0.0) -> Array:
        """(l, d) loadings within a third of `size`, some of them negative."""
        signs = np.where(rng.random((n_latents, n_cells)) < negative, -1.0, 1.0)
        found: Array = signs * size * rng.uniform(2 / 3, 4 / 3, (n_latents, n_cells))
        return found

    def cells(
        mean: float, size: float, n_cells: int, n_latents: int = 1, negative: float = 0.0
    ) -> Cells:
        return poisson(loaded(mean, about(size, n_cells, n_latents, negative)))

    return [
        Population("4 + 4 cells, mean count 1", cells(1, 0.6, 4), cells(1, 0.6, 4)),
        Population("10 + 10, .3", cells(0.3, 0.7, 10), cells(0.3, 0.7, 10)),
        Population("12 + 3, 2", cells(2, 0.5, 12), cells(2, 0.5, 3)),
        Population(
            "15 + 15, .5, two latents", cells(0.5, 0.8, 15, 2, 0.3), cells(0.5, 0.8, 15, 2, 0.3), 2
        ),
        Population("7 + 9, 4, a common gain", cells(4, 0.25, 7), cells(5, 0.25, 9)),
        Population(
            "6 + 12, 1.5, half of them suppressed",
            cells(1.5, 0.5, 6, negative=0.5),
            cells(1.5, 0.4, 12, negative=0.5),
        ),
        Population(
            "9 + 5, 3, a third lost to 0",
            zero_inflated(loaded(3, about(0.5, 9)), 0.33),
            zero_inflated(loaded(3, about(0.6, 5)), 0.33),
        ),
        Population(
            "8 + 8, 1, gains of their own",
            negative_binomial(loaded(1, about(0.7, 8)), 2.0),
            negative_binomial(loaded(1, about(0.7, 8)), 1.0),
        ),
        Population(
            "10 + 6, at most one spike",
            refractory(loaded(0.5, about(0.9, 10)), 1),
            refractory(loaded(0.5, about(0.9, 6)), 1),
        ),
        Population(
            "8 + 12 tuned cells",
            poisson(tuned(3, np.linspace(-1.5, 1.5, 8), 0.8)),
            poisson(tuned(2, np.linspace(-2, 2, 12), 0.6)),
        ),
        Population(
            "6 cells and a field + 4 and two",
            with_normal(cells(1, 0.5, 6), about(0.5, 1)),
            with_normal(cells(2, 0.4, 4), about(0.4, 2, negative=0.5)),
        ),
        Population("40 + 20 of few spikes, .06", cells(0.06, 0.9, 40), cells(0.06, 0.9, 20)),
        Population("8 + 8, independent", cells(1, 0.6, 8), cells(1, 0.6, 8), shared=False),
        Population("20 + 20, independent", cells(0.4, 0.7, 20), cells(0.4, 0.7, 20), shared=False),
    ]
