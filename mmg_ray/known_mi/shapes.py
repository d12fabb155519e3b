"""Uniform on a region of the plane: I = h(X) + h(Y) - log area."""

from __future__ import annotations

from math import log

import numpy as np

from mmg_ray.known_mi import integrate
from mmg_ray.known_mi.task import Array, Task


def triangle() -> Task:
    """Uniform on 0 < x < y < 1: h(X) = h(Y) = 1/2 - log 2, area 1/2, I = 1 - log 2."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, y = np.sort(rng.random((2, n)), axis=0)
        return x, y

    return Task("triangle", 1 - log(2), sample)


def diamond() -> Task:
    """Uniform on |x| + |y| < 1: h(X) = h(Y) = 1/2, area 2, I = 1 - log 2; no correlation."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        a, b = rng.uniform(-0.5, 0.5, (2, n))
        return a + b, a - b

    return Task("diamond", 1 - log(2), sample)


def bow_tie() -> Task:
    """Uniform on |y| < |x| < 1: h(X) = h(Y) = 1/2, area 2, I = 1 - log 2; no correlation."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        y, x = np.sort(rng.random((2, n)), axis=0) * rng.choice([-1, 1], (2, n))
        return x, y

    return Task("bow tie", 1 - log(2), sample)


def corner(width: float) -> Task:
    """Uniform on the points of the unit square within ``width`` of its left or lower side."""
    area = 1 - (1 - width) ** 2

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        lower = rng.random(n) < width / area  # else left, and above the lower arm
        along = np.where(lower, rng.random(n), width + (1 - width) * rng.random(n))
        across = width * rng.random(n)
        return np.where(lower, along, across), np.where(lower, across, along)

    # a margin is 1 / area up to the width, and width / area from there
    entropy = width / area * log(area) + (1 - width) * width / area * log(area / width)
    return Task(f"corner {width:g}", 2 * entropy - log(area), sample)


def annulus(inner: float) -> Task:
    """Uniform between the radii ``inner`` and 1; the disc, ``inner = 0``, has I = log pi - 1."""
    area = np.pi * (1 - inner**2)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        radius, angle = np.sqrt(rng.uniform(inner**2, 1, n)), rng.uniform(0, 2 * np.pi, n)
        return radius * np.cos(angle), radius * np.sin(angle)

    def density(x: Array) -> Array:
        chords = np.sqrt(1 - x**2) - np.sqrt(np.maximum(inner**2 - x**2, 0))
        return 2 * chords / area

    edges = [-1.0, -inner, inner, 1.0] if inner else [-1.0, 1.0]
    mi = 2 * integrate.entropy(density, edges) - log(area)
    return Task(f"annulus {inner:g}" if inner else "disc", mi, sample)
