"""The list of denoisers. A new one is one file that estimates a batch of directions, and an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator import gaussian, neural
from mmg_ray.estimator.batch import Directions, Estimates
from mmg_ray.schema import Cost


class Denoiser(NamedTuple):
    """How a denoiser is called, what it costs, and how many pairs fill one batch."""

    estimate: Callable[[Directions, EstimatorConfig], Estimates]
    cost: Callable[[int, int, int, EstimatorConfig], Cost]
    tile_variables: int


DENOISERS: dict[str, Denoiser] = {
    "gaussian": Denoiser(
        estimate=lambda batch, _cfg: gaussian.estimate(batch),
        cost=lambda n, dx, dy, _cfg: gaussian.cost(n, dx, dy),
        tile_variables=16,
    ),
    "neural": Denoiser(estimate=neural.estimate, cost=neural.cost, tile_variables=4),
}


def denoiser(name: str) -> Denoiser:
    """The denoiser called `name`, or ConfigError listing those there are."""
    if name not in DENOISERS:
        raise ConfigError(
            f"estimator.denoiser is {name!r}; known denoisers: {', '.join(DENOISERS)}"
        )
    return DENOISERS[name]
