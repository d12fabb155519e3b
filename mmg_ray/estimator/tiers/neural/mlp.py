"""Stacks of small networks, one per direction and half, trained side by side.

A tile's networks share every kernel launch but no weight: sharing weights between unlike pairs
loses accuracy at equal cost, and a network that diverges cannot disturb its neighbours. Weights are
(S, in, out), activations (S, B, width).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from mmg_ray.config import NetworkConfig
from mmg_ray.estimator.streams import Streams

_WARM_UP = 20  # steps to the peak learning rate
_AVERAGE = 0.99  # decay of the running average of the weights, which is what is used


class Stack:
    """S multilayer perceptrons of the given layer sizes with SiLU; all start at output 0."""

    def __init__(self, sizes: Sequence[int], streams: Streams) -> None:
        self.weights, self.biases = [], []
        for fan_in, fan_out in itertools.pairwise(sizes):
            self.weights.append(streams.normal(fan_in, fan_out) * math.sqrt(2.0 / fan_in))
            self.biases.append(torch.zeros_like(self.weights[-1][:, :1]))
        self.weights[-1].zero_()

    def select(self, index: torch.Tensor) -> Stack:
        """The stack whose network s is network ``index[s]`` of this one."""
        chosen = object.__new__(Stack)
        chosen.weights = [w[index] for w in self.weights]
        chosen.biases = [b[index] for b in self.biases]
        return chosen

    @staticmethod
    def joined(stacks: Sequence[Stack]) -> Stack:
        """The networks of all of some stacks of the same sizes."""
        found = object.__new__(Stack)
        found.weights = [torch.cat(w) for w in zip(*(s.weights for s in stacks), strict=True)]
        found.biases = [torch.cat(b) for b in zip(*(s.biases for s in stacks), strict=True)]
        return found

    @property
    def device(self) -> torch.device:
        return self.weights[0].device

    @property
    def parameters(self) -> list[torch.Tensor]:
        return self.weights + self.biases

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """(S, B, in) -> (S, B, out)."""
        hidden = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = torch.nn.functional.silu(torch.baddbmm(bias, hidden, weight))
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1])


class Trainable(Protocol):
    @property
    def parameters(self) -> list[torch.Tensor]: ...


def train(stack: Trainable, loss: Callable[[int], torch.Tensor], cfg: NetworkConfig) -> None:
    """Minimise ``loss(step)`` (a sum over the stack of per-network means) and keep the average.

    AdamW with a short warm-up and a cosine schedule; the weights left in the stack are their
    exponential running average.
    """
    parameters = [p.requires_grad_() for p in stack.parameters]
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(
        parameters, weight_decay=cfg.weight_decay, betas=(0.9, 0.99), fused=True
    )
    for step in range(cfg.n_steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / cfg.n_steps))
        optimiser.param_groups[0]["lr"] = (
            cfg.learning_rate * cosine * min(1.0, (step + 1) / _WARM_UP)
        )
        optimiser.zero_grad(set_to_none=True)
        loss(step).backward()
        optimiser.step()
        # early on the average would remember the start, so it forgets faster
        decay = min(_AVERAGE, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
    for parameter, averaged in zip(parameters, average, strict=True):
        parameter.requires_grad_(False).copy_(averaged)
