"""Two fits of every function, on two halves of its samples: what cross-fitting needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import snr
from mmg_ray.estimator.network import Stack, train
from mmg_ray.estimator.samples import Points, Samples
from mmg_ray.estimator.streams import Streams

_STEPS_PER_BLOCK = 25  # random numbers are drawn for this many steps at once


class Goal(NamedTuple):
    """What a network is to learn at some points."""

    inputs: torch.Tensor  # (S, M, F)
    wanted: torch.Tensor  # (S, M, D)
    scale: torch.Tensor  # (S, M, D) standard deviation to expect; the unit of the error


class Halves:
    """The two half-sample fits of S functions and the noise levels at which they matter."""

    def __init__(self, stack: Stack, sampler: snr.Sampler) -> None:
        self.stack, self.sampler = stack, sampler

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """(S, M, F) -> (S, 2, M, D): both fits at every point."""
        both = inputs[:, None].expand(-1, 2, -1, -1).flatten(0, 1)
        return self.stack(both).unflatten(0, (-1, 2))

    def each_its_own(self, inputs: torch.Tensor) -> torch.Tensor:
        """(S, 2 M, F) -> (S, 2 M, D): the first M points by fit 0, the others by fit 1."""
        return self.stack(_split(inputs)).unflatten(0, (-1, 2)).flatten(1, 2)

    def select(self, index: torch.Tensor) -> Halves:
        """Halves whose function s is function ``index[s]`` of these."""
        both = torch.stack([2 * index, 2 * index + 1], 1).flatten()
        return Halves(self.stack.select(both), self.sampler)


def held_out(both: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """(S, 2, M, D) and the half of each point's sample (S, M) -> the other half's fit (S, M, D)."""
    return torch.where((half == 1)[..., None], both[:, 0], both[:, 1])


def fit_halves(
    samples: Samples,
    names: Sequence[tuple[str, ...]],
    n_inputs: int,
    logsnr_max: torch.Tensor,
    goal: Callable[[Points], Goal],
    cfg: EstimatorConfig,
) -> Halves:
    """Fit `goal` on half 0 and on half 1 of every direction.

    Points come to `goal` as half 0's batch followed by half 1's. The loss is the squared error in
    units of the goal's scale, which weighs all noise levels alike; where levels are drawn adapts
    to the gap that the fit is closing.
    """
    net, dim, device = cfg.network, samples.x.shape[-1], samples.x.device
    keys = [("weights", *name, half) for name in names for half in (0, 1)]
    sizes = [n_inputs] + [net.width or 32] * net.n_layers + [dim]
    fitted = Halves(
        Stack(sizes, Streams(cfg.seed, keys, device)),
        snr.SAMPLERS[cfg.snr.sampler](logsnr_max, cfg.snr),
    )
    streams = Streams(cfg.seed, [("train", *name) for name in names], device)
    uniform = normal = torch.empty(0)

    def loss(step: int) -> torch.Tensor:
        nonlocal uniform, normal
        at = step % _STEPS_PER_BLOCK
        if at == 0:
            uniform = streams.uniform(_STEPS_PER_BLOCK, 2, 2, net.batch_size)
            normal = streams.normal(_STEPS_PER_BLOCK, 2 * net.batch_size, dim)
        position = (uniform[:, at, 0] * samples.n_members[..., None]).long()
        index = samples.members.gather(2, position).flatten(1)
        u, _ = fitted.sampler.draw(snr.stratified(uniform[:, at, 1]).flatten(1))
        inputs, wanted, scale = goal(samples.points(index, u, normal[:, at]))
        predicted = fitted.each_its_own(inputs)
        found = predicted.detach() * scale
        fitted.sampler.observe(u, ((2 * wanted - found) * found).sum(-1))
        return (wanted / scale - predicted).square().sum() / net.batch_size

    train(fitted.stack, loss, net)
    return fitted


def _split(values: torch.Tensor) -> torch.Tensor:
    """(S, 2 M, F) -> (2 S, M, F)."""
    return values.unflatten(1, (2, -1)).flatten(0, 1)
