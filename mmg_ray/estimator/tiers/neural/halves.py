"""Two fits of every function, on two halves of its samples: what cross-fitting needs.

Everything here has a place for both, (S, 2, M, ...): function s, the fit, and the points it is asked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import snr
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers.neural.mlp import Stack, train
from mmg_ray.estimator.tiers.neural.samples import Points, Samples

_STEPS_PER_BLOCK = 25  # random numbers are drawn for this many steps at once

Prediction = Callable[[Points], torch.Tensor]  # of w, (S, 2, M, D), by both fits


class Form(NamedTuple):
    """What a part of a denoiser looks like.

    Attributes:
        name: keys its random streams.
        n_inputs, n_outputs: of its networks.
        inputs: of the networks at some points, (S, 2, M, n_inputs).
        predict: points and the networks' outputs (S, 2, M, n_outputs) -> what the part adds to the
            prediction of w, (S, 2, M, D).
        scale: (S, 2, M, D) standard deviation to expect of what is to be predicted.
    """

    name: str
    n_inputs: int
    n_outputs: int
    inputs: Callable[[Points], torch.Tensor]
    predict: Callable[[Points, torch.Tensor], torch.Tensor]
    scale: Callable[[Points], torch.Tensor]


class Part:
    """A fitted part of the denoisers of S directions.

    Attributes:
        sampler: of the noise levels at which it matters.
        on: (S,) false where it is left out.
    """

    def __init__(self, form: Form, stack: Stack, sampler: snr.Sampler) -> None:
        self._form, self.stack, self.sampler = form, stack, sampler
        self.on = torch.ones(len(stack.weights[0]) // 2, dtype=torch.bool, device=stack.device)

    def outputs(self, points: Points) -> torch.Tensor:
        """(S, 2, M, n_outputs) of both fits, 0 where the part is off."""
        inputs = self._form.inputs(points)
        out = self.stack(inputs.flatten(0, 1)).unflatten(0, (-1, 2))
        return out * self.on[:, None, None, None]

    def __call__(self, points: Points) -> torch.Tensor:
        """(S, 2, M, D) what the part adds to the prediction of w by either fit."""
        return self._form.predict(points, self.outputs(points)) * self.on[:, None, None, None]

    def used_for(self, index: torch.Tensor, form: Form) -> Part:
        """The part whose function s is function ``index[s]`` of this one, seen through `form`."""
        both = torch.stack([2 * index, 2 * index + 1], 1).flatten()
        part = Part(form, self.stack.select(both), self.sampler)
        part.on = self.on[index]
        return part


def held_out(both: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """(S, 2, M, D) and the half of each point's sample (S, M) -> the other half's fit (S, M, D)."""
    return torch.where((half == 1)[..., None], both[:, 0], both[:, 1])


class Contribution(NamedTuple):
    """Of a part with prediction g beside one that is there already, (S, M) each but the last: g of the half that has not
    seen the sample, (S, M, D)."""

    cross: torch.Tensor
    direct: torch.Tensor
    g_held: torch.Tensor


def contribution(
    rest: torch.Tensor, base: torch.Tensor, g: torch.Tensor, half: torch.Tensor
) -> Contribution:
    """Cross-product and held-out gap, summed over coordinates.

    Args:
        rest: (S, M, D) what base and g are to predict together. base, g: (S, 2, M, D) by both fits. half: (S, M).
    """
    base_held, g_held = held_out(base, half), held_out(g, half)
    both = g[:, 0] * g[:, 1] + base[:, 0] * g[:, 1] + g[:, 0] * base[:, 1]
    return Contribution(
        cross=(2 * rest * g_held - both).sum(-1),
        direct=((2 * (rest - base_held) - g_held) * g_held).sum(-1),
        g_held=g_held,
    )


def fit_halves(
    samples: Samples,
    names: Sequence[tuple[str, ...]],
    form: Form,
    wanted: Prediction,
    logsnr_max: torch.Tensor,
    cfg: EstimatorConfig,
) -> Part:
    """Fit a part to what is `wanted` of it, on half 0 and on half 1 of every direction.

    The loss is the squared error in units of the form's scale, which weighs all noise levels alike;
    where levels are drawn adapts to the gap that the fit is closing.
    """
    net, dim, device = cfg.network, samples.x.shape[-1], samples.x.device
    keys = [("weights", form.name, *name, half) for name in names for half in (0, 1)]
    sizes = [form.n_inputs] + [net.width or 32] * net.n_layers + [form.n_outputs]
    stack = Stack(sizes, Streams(cfg.seed, keys, device))
    part = Part(form, stack, snr.SAMPLERS[cfg.snr.sampler](logsnr_max, cfg.snr))
    streams = Streams(cfg.seed, [("train", form.name, *name) for name in names], device)
    uniform = normal = torch.empty(0)

    def loss(step: int) -> torch.Tensor:
        nonlocal uniform, normal
        at = step % _STEPS_PER_BLOCK
        if at == 0:
            uniform = streams.uniform(_STEPS_PER_BLOCK, 2, 2, net.batch_size)
            normal = streams.normal(_STEPS_PER_BLOCK, 2 * net.batch_size, dim)
        position = (uniform[:, at, 0] * samples.n_members[..., None]).long()
        index = samples.members.gather(2, position).flatten(1)
        u, _ = part.sampler.draw(snr.stratified(uniform[:, at, 1]).flatten(1))
        points = samples.points(index, u, normal[:, at]).split()
        with torch.no_grad():  # what has been fitted before stays as it is
            target, scale = wanted(points), form.scale(points)
        predicted = part(points)
        found = predicted.detach()
        part.sampler.observe(u, ((2 * target - found) * found).sum(-1).flatten(1))
        return ((target - predicted) / scale).square().sum() / net.batch_size

    train(part.stack, loss, net)
    return part
