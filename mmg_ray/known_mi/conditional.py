"""Triples (x, y, c) with exact I(X; Y | C): nonlinear confounding, dependence that changes, none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import poisson

from mmg_ray.known_mi.channels import additive
from mmg_ray.known_mi.copulas import gaussian, student
from mmg_ray.known_mi.integrate import table_mi
from mmg_ray.known_mi.task import Array, Task


@dataclass(frozen=True)
class ConditionalTask:
    """A named triple with exact conditional MI in nats; ``sample(rng, n)`` gives x, y and c.

    c is (n,) or (n, r) numbers, or (n,) integer labels where ``categorical``.
    """

    name: str
    mi_nats: float
    sample: Callable[[np.random.Generator, int], tuple[Array, Array, Array]]
    categorical: bool = False


def confounded(
    name: str,
    task: Task,
    draw: Callable[[np.random.Generator, int], Array],
    map_x: Callable[[Array, Array], Array],
    map_y: Callable[[Array, Array], Array],
    categorical: bool = False,
) -> ConditionalTask:
    """x = map_x(a, c), y = map_y(b, c) with (a, b) of a task, C apart from it.

    Where the maps are one to one for every c, I(X; Y | C) = I(A; B).
    """

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        c = draw(rng, n)
        a, b = task.sample(rng, n)
        return map_x(a, c), map_y(b, c), c

    return ConditionalTask(name, task.mi_nats, sample, categorical)


def changing(name: str, rho: Callable[[Array], Array], spread: float = 0.0) -> ConditionalTask:
    """C ~ N(0, 1); a normal pair with the correlation rho(C), moved by C: I = -1/2 E log(1 - rho^2)."""
    nodes, weights = hermegauss(200)
    mi = float(-0.5 * weights @ np.log1p(-(rho(nodes) ** 2)) / weights.sum())

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        c, a, e = rng.standard_normal((3, n))
        b = rho(c) * a + np.sqrt(1 - rho(c) ** 2) * e
        return a + spread * c, b - spread * c**2, c

    return ConditionalTask(name, mi, sample)


def changing_labels(name: str, rho: Array) -> ConditionalTask:
    """C one of K labels, as often; a normal pair with the correlation rho[C] (K,): I = -1/2 mean log(1 - rho^2)."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
        c = rng.integers(0, len(rho), n)
        a, e = rng.standard_normal((2, n))
        return a + c, rho[c] * a + np.sqrt(1 - rho[c] ** 2) * e - 2.0 * c, c

    return ConditionalTask(name, float(-0.5 * np.log1p(-(rho**2)).mean()), sample, categorical=True)


def shared_counts_mi(a: float, c: float, spread: float) -> float:
    """I(X; Y | D) of X = A + C, Y = A + C', Poisson with means a, c and c times D, log D ~ N(0, spread^2); nats."""
    nodes, weights = hermegauss(31)
    found = 0.0
    for depth, weight in zip(np.exp(spread * nodes), weights / weights.sum(), strict=True):
        if weight > 1e-9:
            mean = depth * (a + c)
            k = np.arange(int(mean + 9 * np.sqrt(mean) + 15))
            shared, own = poisson.pmf(k, depth * a), poisson.pmf(k, depth * c)
            shifted = np.stack([np.concatenate([np.zeros(s), own[: len(k) - s]]) for s in k])
            found += float(weight) * table_mi(np.einsum("s,sx,sy->xy", shared, shifted, shifted))
    return found


def autoregression(strength: float, own: float) -> tuple[float, Callable[..., tuple[Array, Array]]]:
    """Transfer entropy X -> Y at lag 1 of x_t = .5 x + e, y_t = own y + strength x + e', and its sampler.

    Given y_{t-1}, x_{t-1} is normal with a variance v from the stationary covariance:
    I = 1/2 log(1 + strength^2 v).
    """
    step = np.array([[0.5, 0.0], [strength, own]])
    covariance = np.linalg.solve(np.eye(4) - np.kron(step, step), np.eye(2).ravel()).reshape(2, 2)
    v = covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        state = np.linalg.cholesky(covariance) @ rng.standard_normal(2)
        noise, path = rng.standard_normal((n, 2)), np.empty((n, 2))
        for t in range(n):
            path[t] = state = step @ state + noise[t]
        return path[:, 0], path[:, 1]

    return float(0.5 * np.log1p(strength**2 * v)), sample


def volatility(strength: float) -> tuple[float, Callable[..., tuple[Array, Array]]]:
    """Transfer entropy of y_t = sin(2 y_{t-1}) + exp(strength x_{t-1}) e', x white, no correlation.

    What is left of y given its past is E = exp(strength X) E': I = h(log |E|) - h(log |E'|), by
    quadrature of the density of E.
    """
    e = np.linspace(1e-6, 1, 20_001) ** 4 * 60
    nodes, weights = hermegauss(120)
    sd = np.exp(strength * nodes)
    density = np.exp(-0.5 * (e[:, None] / sd) ** 2) / sd @ (weights / weights.sum())
    density /= np.sqrt(2 * np.pi)
    h = -2 * float(np.trapezoid(density * np.log(np.maximum(density, 1e-300)), e))

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, noise = rng.standard_normal((2, n))
        y, state = np.empty(n), 0.0
        for t in range(n):
            y[t] = state = np.sin(2 * state) + np.exp(strength * x[t - 1] * (t > 0)) * noise[t]
        return x, y

    return h - 0.5 * float(np.log(2 * np.pi * np.e)), sample


def conditional_suite() -> list[ConditionalTask]:
    """Conditions of one and two numbers and of labels; the last six are independent given them."""

    def none(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        a, b = rng.standard_normal((2, n))
        return a, b

    def number(rng: np.random.Generator, n: int) -> Array:
        return rng.standard_normal(n)

    def plane(rng: np.random.Generator, n: int) -> Array:
        return rng.standard_normal((n, 2))

    def label(rng: np.random.Generator, n: int) -> Array:
        return rng.integers(0, 5, n)

    apart = Task("independent", 0.0, none)
    skewed = Task(
        "independent", 0.0, lambda rng, n: (rng.standard_normal(n), rng.standard_exponential(n))
    )
    return [
        confounded("linear", gaussian(0.6), number, lambda a, c: a + c, lambda b, c: b + c),
        confounded(
            "waves and scale",
            gaussian(0.6),
            number,
            lambda a, c: 3 * np.sin(2 * c) + a,
            lambda b, c: 2 * c**2 + np.exp(c / 2) * b,
        ),
        confounded(
            "quadratic given c",
            additive("x^2 + .7 e", lambda x: x**2, 0.7),
            number,
            lambda a, c: 2 * c + a,
            lambda b, c: b + 3 * np.cos(2 * c),
        ),
        confounded(
            "tails, plane",
            student(2, 0.5),
            plane,
            lambda a, c: a + 2 * c[:, 0] * c[:, 1],
            lambda b, c: b + 2 * np.sin(c[:, 0] + c[:, 1]),
        ),
        confounded(
            "labels",
            gaussian(0.5),
            label,
            lambda a, c: (1 + c) * a + 3 * c,
            lambda b, c: (b + c) ** 3,
            categorical=True,
        ),
        changing("correlation .9 tanh 2c", lambda c: 0.9 * np.tanh(2 * c), 1.0),
        changing("y = c x + e", lambda c: c / np.sqrt(1 + c**2)),
        changing_labels("correlation by label", np.array([-0.8, 0.0, 0.0, 0.3, 0.8])),
        confounded("none: linear", apart, number, lambda a, c: a + 2 * c, lambda b, c: b + 2 * c),
        confounded(
            "none: strong waves",
            apart,
            number,
            lambda a, c: 10 * np.sin(2 * c) + 0.3 * a,
            lambda b, c: (10 * c**2 + 0.3 * b) ** 3,
        ),
        confounded(
            "none: steps, skewed",
            skewed,
            number,
            lambda a, c: 3 * np.sign(c) + a,
            lambda b, c: 5 * np.sign(c - 0.5) + b**2,
        ),
        confounded(
            "none: scales",
            apart,
            number,
            lambda a, c: np.exp(c) * a,
            lambda b, c: np.exp(-c) * b + 3 * abs(c),
        ),
        confounded(
            "none: plane",
            apart,
            plane,
            lambda a, c: 3 * c[:, 0] * c[:, 1] + a,
            lambda b, c: 3 * np.sin(c[:, 0] + c[:, 1]) + 3 * c[:, 0] * c[:, 1] + b,
        ),
        confounded(
            "none: labels, skewed",
            skewed,
            label,
            lambda a, c: 3 * c + (1 + c) * a,
            lambda b, c: 3.0 * (c - 2) ** 2 + b,
            categorical=True,
        ),
    ]
