"""What a task is, and the two ways to make one out of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Draw = Callable[[np.random.Generator, int], Array]
Sampler = Callable[[np.random.Generator, int], tuple[Array, Array]]


@dataclass(frozen=True)
class Task:
    """A named pair (x, y) with exact MI in nats; ``sample(rng, n)`` gives two (n,) or (n, p) arrays."""

    name: str
    mi_nats: float
    sample: Sampler


def independent(name: str, draw_x: Draw, draw_y: Draw) -> Task:
    """X and Y drawn apart: I = 0, whatever their ties and tails."""
    return Task(name, 0.0, lambda rng, n: (draw_x(rng, n), draw_y(rng, n)))


def zero_inflated(task: Task, share_x: float, share_y: float) -> Task:
    """Each side set to 0 independently with its own probability: I = (1 - p_x) (1 - p_y) I(X; Y).

    Only for pairs that are never 0 of themselves. A zero then tells that its side was dropped, which
    says nothing about the other side: I(X A; Y B) = I(X; Y B | A) = P(A) I(X; Y | B) P(B).
    """

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, y = task.sample(rng, n)
        return np.where(rng.random(n) < share_x, 0, x), np.where(rng.random(n) < share_y, 0, y)

    name = f"{task.name}, 0s {share_x:g} {share_y:g}"
    return Task(name, (1 - share_x) * (1 - share_y) * task.mi_nats, sample)
