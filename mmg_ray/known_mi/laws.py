"""Standard laws of inputs and noises: mean 0, standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from mmg_ray.known_mi.task import Array, Draw

ROOT2, ROOT3 = np.sqrt(2), np.sqrt(3)
_LOGISTIC, _GUMBEL = ROOT3 / np.pi, np.sqrt(6) / np.pi  # scales of unit variance


@dataclass(frozen=True)
class Law:
    """``support`` leaves out at most 1e-12 of the mass; ``jumps`` and ``kinks`` of the density."""

    draw: Draw
    pdf: Callable[[Array], Array]
    cdf: Callable[[Array], Array]
    entropy: float
    support: tuple[float, float]
    jumps: tuple[float, ...] = ()
    kinks: tuple[float, ...] = ()


LAWS = {
    "normal": Law(
        draw=lambda rng, n: rng.standard_normal(n),
        pdf=lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
        cdf=ndtr,
        entropy=0.5 * np.log(2 * np.pi * np.e),
        support=(-7.5, 7.5),
    ),
    "uniform": Law(
        draw=lambda rng, n: rng.uniform(-ROOT3, ROOT3, n),
        pdf=lambda z: np.where(abs(z) <= ROOT3, 0.5 / ROOT3, 0.0),
        cdf=lambda z: np.clip(0.5 + 0.5 * z / ROOT3, 0, 1),
        entropy=np.log(2 * ROOT3),
        support=(-ROOT3, ROOT3),
        jumps=(-ROOT3, ROOT3),
    ),
    "laplace": Law(
        draw=lambda rng, n: rng.laplace(0, 1 / ROOT2, n),
        pdf=lambda z: np.exp(-ROOT2 * abs(z)) / ROOT2,
        cdf=lambda z: 0.5 - 0.5 * np.sign(z) * np.expm1(-ROOT2 * abs(z)),
        entropy=1 + 0.5 * np.log(2),
        support=(-20.0, 20.0),
        kinks=(0.0,),
    ),
    "exponential": Law(
        draw=lambda rng, n: rng.standard_exponential(n) - 1,
        pdf=lambda z: np.where(z >= -1, np.exp(-np.maximum(z, -1) - 1), 0.0),
        cdf=lambda z: -np.expm1(-np.maximum(z + 1, 0)),
        entropy=1.0,
        support=(-1.0, 28.0),
        jumps=(-1.0,),
    ),
    "logistic": Law(
        draw=lambda rng, n: rng.logistic(0, _LOGISTIC, n),
        pdf=lambda z: expit(z / _LOGISTIC) * expit(-z / _LOGISTIC) / _LOGISTIC,
        cdf=lambda z: expit(z / _LOGISTIC),
        entropy=2 + np.log(_LOGISTIC),
        support=(-15.5, 15.5),
    ),
    "gumbel": Law(
        draw=lambda rng, n: rng.gumbel(-np.euler_gamma * _GUMBEL, _GUMBEL, n),
        pdf=lambda z: _gumbel(z)[0],
        cdf=lambda z: _gumbel(z)[1],
        entropy=1 + np.euler_gamma + np.log(_GUMBEL),
        support=(-3.1, 22.0),
    ),
}


def _gumbel(z: Array) -> tuple[Array, Array]:
    """Density and distribution function."""
    rate = np.exp(-z / _GUMBEL - np.euler_gamma)
    below = np.exp(-rate)
    return rate * below / _GUMBEL, below
