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


def half_disc() -> Task:
    """Uniform on the half of the unit disc with y > 0: no correlation, all edges."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        radius, angle = np.sqrt(rng.random(n)), rng.uniform(0, np.pi, n)
        return radius * np.cos(angle), radius * np.sin(angle)

    def chord(x: Array) -> Array:
        return 2 * np.sqrt(1 - x**2) / np.pi

    h_x = integrate.entropy(chord, [-1.0, 1.0])
    h_y = integrate.entropy(lambda y: 2 * chord(y), [0.0, 1.0])
    return Task("half disc", h_x + h_y - log(np.pi / 2), sample)


def cross(width: float) -> Task:
    """Uniform on the points of the square |x|, |y| < 1 within ``width`` of an axis."""
    area = 4 * width * (2 - width)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        lying = rng.random(n) < 4 * width / area  # else in what is left of the upright bar
        along, across = rng.uniform(-1, 1, n), rng.uniform(-width, width, n)
        outside = np.sign(along) * (width + (1 - width) * abs(along))
        return np.where(lying, along, across), np.where(lying, across, outside)

    # a margin is 2 / area up to the width, and 2 width / area beyond
    inner, outer = 2 / area, 2 * width / area
    entropy = -2 * width * inner * log(inner) - 2 * (1 - width) * outer * log(outer)
    return Task(f"cross {width:g}", 2 * entropy - log(area), sample)


def bands(slope: int, share: float) -> Task:
    """Uniform margins with slope x + y mod 1 < share: slanting bands, I = -log share."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, place = rng.random((2, n))
        return x, (share * place - slope * x) % 1

    return Task(f"bands {slope} {share:g}", -log(share), sample)
