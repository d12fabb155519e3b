"""Scalar pairs whose mutual information is known exactly: for tests, benchmarks and calibration.

Each task is a sampler and a number. The numbers come from closed forms or from one-dimensional
numerical integration, never from an estimator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln

Array = np.ndarray
Sampler = Callable[[np.random.Generator, int], tuple[Array, Array]]


@dataclass(frozen=True)
class Task:
    """A named pair (x, y) with exact MI in nats; ``sample(rng, n)`` gives two (n,) arrays."""

    name: str
    mi_nats: float
    sample: Sampler


def gaussian(rho: float) -> Task:
    """Bivariate normal: I = -1/2 log(1 - rho^2)."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        return x, rho * x + np.sqrt(1 - rho**2) * e

    return Task(f"gaussian rho={rho:g}", float(-0.5 * np.log1p(-(rho**2))), sample)


def student(df: float, rho: float = 0.0) -> Task:
    """Bivariate Student-t (its copula): dependent even at rho = 0 (Czyz et al. 2023, eq. 4)."""

    def f(a: float) -> float:
        return float(gammaln(a / 2) - a / 2 * digamma(a / 2))

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        scale = np.sqrt(df / rng.chisquare(df, n))
        return scale * x, scale * (rho * x + np.sqrt(1 - rho**2) * e)

    mi = gaussian(rho).mi_nats + f(df) + f(df + 2) - 2 * f(df + 1)
    return Task(f"student df={df:g} rho={rho:g}", mi, sample)


def additive_uniform(half_width: float) -> Task:
    """X ~ U(0, 1), Y = X + U(-h, h): hard edges. I = h - log 2h (h <= 1/2), else 1 / 4h."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x = rng.random(n)
        return x, x + rng.uniform(-half_width, half_width, n)

    h = half_width
    mi = h - np.log(2 * h) if h <= 0.5 else 1 / (4 * h)
    return Task(f"additive uniform {h:g}", float(mi), sample)


def location_scale(name: str, mean: Callable[[Array], Array], sd: Callable[[Array], Array]) -> Task:
    """X ~ N(0, 1), Y | X ~ N(mean(X), sd(X)^2); I = h(Y) - E h(Y | X) by quadrature."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        return x, mean(x) + sd(x) * e

    return Task(name, _location_scale_mi(mean, sd), sample)


def _location_scale_mi(mean: Callable[[Array], Array], sd: Callable[[Array], Array]) -> float:
    x = np.linspace(-8, 8, 4001)
    p = np.exp(-0.5 * x**2)
    p /= p.sum()
    m, s = mean(x), sd(x) * np.ones_like(x)
    y = np.linspace((m - 8 * s).min(), (m + 8 * s).max(), 8001)
    density = np.zeros_like(y)
    for m_k, s_k, p_k in zip(m, s, p, strict=True):
        if p_k > 1e-14:
            density += p_k / s_k * np.exp(-0.5 * ((y - m_k) / s_k) ** 2)
    density /= np.sqrt(2 * np.pi)
    positive = density > 0
    step = y[1] - y[0]
    entropy = -np.sum(density[positive] * np.log(density[positive])) * step
    return float(entropy - np.sum(p * np.log(s)) - 0.5 * np.log(2 * np.pi * np.e))
