"""Invertible maps of either side: the MI stays what it was (Czyz et al. 2023, theorem 2.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from mmg_ray.known_mi.task import Array, Task

Map = Callable[[Array], Array]


def mapped(task: Task, name: str, map_x: Map, map_y: Map) -> Task:
    """The task with each side sent through an invertible map."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, y = task.sample(rng, n)
        return map_x(x), map_y(y)

    return Task(f"{name} @ {task.name}", task.mi_nats, sample)


def normal_cdf(task: Task) -> Task:
    """Coordinates through the normal distribution function: uniform for normal ones."""
    return mapped(task, "cdf", ndtr, ndtr)


def half_cube(task: Task) -> Task:
    """x sqrt|x|, coordinate by coordinate: longer tails."""
    return mapped(task, "half-cube", _half_cube, _half_cube)


def asinh(task: Task) -> Task:
    """Coordinates through asinh: shorter tails."""
    return mapped(task, "asinh", np.arcsinh, np.arcsinh)


def spiral(task: Task, dim: int) -> Task:
    """Points turn by |x|^2 / dim in the plane of coordinates 0, 1, and of 1, 2 for y."""
    return mapped(task, "spiral", lambda x: _turned(x, 0, 1, dim), lambda y: _turned(y, 1, 2, dim))


def swiss_roll(task: Task) -> Task:
    """x in (0, 1) rolled up in the plane: one dimension that looks like two."""
    return mapped(task, "swiss roll", _rolled, lambda y: y)


def wiggly(task: Task) -> Task:
    """Monotone with bends."""
    return mapped(
        task,
        "wiggly",
        lambda x: x + 0.4 * np.sin(x) + 0.2 * np.sin(1.7 * x + 1) + 0.03 * np.sin(3.3 * x - 2.5),
        lambda y: (
            y - 0.4 * np.sin(0.4 * y) + 0.17 * np.sin(1.3 * y + 3.5) + 0.02 * np.sin(4.3 * y - 2.5)
        ),
    )


def _half_cube(x: Array) -> Array:
    return x * np.sqrt(abs(x))


def _rolled(x: Array) -> Array:
    t = 1.5 * np.pi * (1 + 2 * x)
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=-1) / 21


def _turned(x: Array, i: int, j: int, dim: int) -> Array:
    angle = (x**2).sum(1) / dim
    turned = x.copy()
    turned[:, i] = np.cos(angle) * x[:, i] - np.sin(angle) * x[:, j]
    turned[:, j] = np.sin(angle) * x[:, i] + np.cos(angle) * x[:, j]
    return turned
