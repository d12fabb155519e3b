"""The functions that tilt the odds of a target's levels, for several directions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator.pairs.directions import halves
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers.neural.level_posterior import Coordinates, Noised, stacked
from mmg_ray.estimator.tiers.neural.mlp import Stack

WIDTH, _MOST_LAYERS = 32, 2


class Tilt:
    """Two functions for each of S directions, one a half: a linear one at each noise level, and a small network."""

    def __init__(self, n_inputs: int, n_outputs: int, streams: Streams, net: NetworkConfig) -> None:
        hidden = [net.width or WIDTH] * min(net.n_layers, _MOST_LAYERS)
        self._linear = Stack([3 * n_inputs, n_outputs], streams)
        self._network = Stack([n_inputs + 3, *hidden, n_outputs], streams)

    @property
    def parameters(self) -> list[torch.Tensor]:
        return self._linear.parameters + self._network.parameters

    def select(self, rows: list[int]) -> Tilt:
        """The one whose direction s is direction ``rows[s]`` of this one."""
        both = torch.tensor([2 * row + half for row in rows for half in (0, 1)])
        found = object.__new__(Tilt)
        found._linear = self._linear.select(both)
        found._network = self._network.select(both)
        return found

    def __call__(self, inputs: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """(S, 2, B, n_inputs) and (S, 2, B, 3) -> (S, 2, B, n_outputs)."""
        by_level = torch.cat([inputs, inputs * at[..., 1:2], inputs * at[..., 2:3]], -1)
        found: torch.Tensor = self._linear(by_level.flatten(0, 1))
        found = found + self._network(torch.cat([inputs, at], -1).flatten(0, 1))
        return found.unflatten(0, (-1, 2))

    @staticmethod
    def joined(tilts: Sequence[Tilt]) -> Tilt:
        """The directions of all of some."""
        found = object.__new__(Tilt)
        found._linear = Stack.joined([tilt._linear for tilt in tilts])
        found._network = Stack.joined([tilt._network for tilt in tilts])
        return found


Theta = Callable[[Noised, torch.Tensor], torch.Tensor]  # of points and samples (S, 2, B)


class Targets(NamedTuple):
    """Targets of S directions, and their samples' halves.

    Attributes:
        half: (N,). members: (2, H) samples of each half.
    """

    of: Coordinates
    half: torch.Tensor
    members: torch.Tensor
    cfg: EstimatorConfig

    @classmethod
    def of_groups(cls, groups: Sequence[Coordinates], cfg: EstimatorConfig) -> Targets:
        of = stacked(groups)
        half = halves(cfg.seed, of.t.shape[1], of.t.device)
        size = int(min((half == 0).sum(), (half == 1).sum()))
        members = torch.stack([(half == h).nonzero().flatten()[:size] for h in (0, 1)])
        return cls(of, half, members, cfg)

    @property
    def n(self) -> int:
        return len(self.half)

    @property
    def shape(self) -> tuple[int, int]:
        """Directions and coordinates."""
        return self.of.t.shape[0], self.of.t.shape[2]


def theta_of(own: Tilt | None) -> Theta:
    if own is None:
        return lambda p, _samples: torch.zeros_like(p.seen)
    return lambda p, _samples: own(p.seen, p.at)


def sum_of(before: Theta, part: Theta, on: torch.Tensor | None = None) -> Theta:
    """With a part beside what was there, or of the directions (S,) that are on."""
    if on is not None and not bool(on.any()):
        return before

    def theta(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # what has been fitted before stays as it is
            base = before(p, samples)
        more = part(p, samples)
        return base + (more if on is None else torch.where(on[:, None, None, None], more, 0.0))

    return theta
