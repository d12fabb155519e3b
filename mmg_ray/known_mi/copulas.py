"""Elliptical copulas, and others by quadrature of the density."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma, gammaln, log_expit

from mmg_ray.known_mi import integrate
from mmg_ray.known_mi.task import Array, Draw, Sampler, Task


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


def clayton(theta: float) -> Task:
    """Clayton copula, theta > 0: tied in the lower tail. I = log(1 + theta) - theta / (1 + theta)."""

    def log_density(log_u: Array, log_v: Array) -> Array:
        total = np.exp(-theta * log_u) + np.exp(-theta * log_v) - 1
        return np.log1p(theta) - (1 + theta) * (log_u + log_v) - (2 + 1 / theta) * np.log(total)

    def frailty(rng: np.random.Generator, n: int) -> Array:
        return rng.gamma(1 / theta, size=n)

    return _archimedean(
        f"clayton {theta:g}", log_density, frailty, lambda t: (1 + t) ** (-1 / theta)
    )


def gumbel(theta: float) -> Task:
    """Gumbel copula, theta >= 1: tied in the upper tail."""

    def log_density(log_u: Array, log_v: Array) -> Array:
        total = (-log_u) ** theta + (-log_v) ** theta
        a = total ** (1 / theta)
        powers = (theta - 1) * np.log(log_u * log_v) + (1 / theta - 2) * np.log(total)
        return powers + np.log(a + theta - 1) - a - log_u - log_v

    def frailty(rng: np.random.Generator, n: int) -> Array:
        # positive stable with index 1 / theta (Kanter 1975)
        index, angle, e = 1 / theta, rng.uniform(0, np.pi, n), rng.standard_exponential(n)
        tail = (np.sin((1 - index) * angle) / e) ** (theta - 1)
        return np.sin(index * angle) / np.sin(angle) ** theta * tail

    return _archimedean(
        f"gumbel {theta:g}", log_density, frailty, lambda t: np.exp(-(t ** (1 / theta)))
    )


def frank(theta: float) -> Task:
    """Frank copula, theta > 0: no tail dependence."""
    range_ = -np.expm1(-theta)

    def log_density(log_u: Array, log_v: Array) -> Array:
        u, v = np.exp(log_u), np.exp(log_v)
        rest = range_ - np.expm1(-theta * u) * np.expm1(-theta * v)
        return np.log(theta * range_) - theta * (u + v) - 2 * np.log(rest)

    def frailty(rng: np.random.Generator, n: int) -> Array:
        return rng.logseries(range_, n)

    return _archimedean(
        f"frank {theta:g}", log_density, frailty, lambda t: -np.log1p(-range_ * np.exp(-t)) / theta
    )


def joe(theta: float) -> Task:
    """Joe copula, theta > 1: tied in the upper tail, more than Gumbel's."""

    def log_density(log_u: Array, log_v: Array) -> Array:
        # of (1 - U, 1 - V), which has the same MI and its tail where log u resolves it
        u, v = np.exp(theta * log_u), np.exp(theta * log_v)
        total = u + v - u * v
        powers = (1 / theta - 2) * np.log(total) + (theta - 1) * (log_u + log_v)
        return powers + np.log(theta - 1 + total)

    def frailty(rng: np.random.Generator, n: int) -> Array:
        # Sibuya: geometric with a beta success probability
        return rng.geometric(rng.beta(1 / theta, 1 - 1 / theta, n))

    return _archimedean(
        f"joe {theta:g}", log_density, frailty, lambda t: 1 - (-np.expm1(-t)) ** (1 / theta)
    )


def ali_mikhail_haq(theta: float) -> Task:
    """Ali-Mikhail-Haq copula, 0 <= theta < 1: weak, and more in the lower corner."""

    def log_density(log_u: Array, log_v: Array) -> Array:
        u, v = np.exp(log_u), np.exp(log_v)
        both = (1 - u) * (1 - v)
        above = 1 + theta * ((1 + u) * (1 + v) - 3) + theta**2 * both
        return np.log(above) - 3 * np.log1p(-theta * both)

    def frailty(rng: np.random.Generator, n: int) -> Array:
        return rng.geometric(1 - theta, n)

    return _archimedean(
        f"ali-mikhail-haq {theta:g}",
        log_density,
        frailty,
        lambda t: (1 - theta) / (np.exp(t) - theta),
    )


def plackett(theta: float) -> Task:
    """Plackett copula, theta > 0: the same odds ratio theta at every point (Plackett 1965)."""

    def log_density(log_u: Array, log_v: Array) -> Array:
        u, v = np.exp(log_u), np.exp(log_v)
        total = 1 + (theta - 1) * (u + v)
        odds = np.log(theta) + np.log1p((theta - 1) * (u + v - 2 * u * v))
        return odds - 1.5 * np.log(total**2 - 4 * theta * (theta - 1) * u * v)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        # the conditional distribution of V solves a quadratic equation (Johnson 1987, section 10.2)
        u, w = rng.random((2, n))
        a = w * (1 - w)
        b = theta + a * (theta - 1) ** 2
        c = 2 * a * (u * theta**2 + 1 - u) + theta * (1 - 2 * a)
        d = np.sqrt(theta * (theta + 4 * a * u * (1 - u) * (1 - theta) ** 2))
        return u, (c - (1 - 2 * w) * d) / (2 * b)

    return _copula(f"plackett {theta:g}", log_density, sample)


def _archimedean(
    name: str,
    log_density: Callable[[Array, Array], Array],
    frailty: Draw,
    psi: Callable[[Array], Array],
) -> Task:
    """U, V = psi(E / W), psi(E' / W) with W the frailty (Marshall and Olkin 1988); I = E log c."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        u, v = psi(rng.standard_exponential((2, n)) / frailty(rng, n))
        return u, v

    return _copula(name, log_density, sample)


def _copula(name: str, log_density: Callable[[Array, Array], Array], sample: Sampler) -> Task:
    """I = E log c of a copula with this density of log u and log v."""

    def integral(n: int) -> float:
        # Logistic coordinates turn the power laws of the corners into exponential decay, for
        # which the trapezoidal rule converges geometrically.
        logit = np.linspace(-24, 24, n)
        log_u = log_expit(logit)
        log_du = log_u + log_expit(-logit) + np.log(logit[1] - logit[0])
        log_c = log_density(log_u[:, None], log_u)
        return float(np.sum(np.exp(log_c + log_du[:, None] + log_du) * log_c))

    return Task(name, integrate.converged(integral, 200), sample)
