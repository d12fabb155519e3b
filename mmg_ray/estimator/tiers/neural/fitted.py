"""Denoisers that were learned: what their parts predict and add to the integrands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mmg_ray.estimator.tiers.neural.halves import Part, contribution, held_out
from mmg_ray.estimator.tiers.neural.samples import Points, Samples


class Terms(NamedTuple):
    """What a part adds to the integrands, per noised sample, summed over coordinates, (S, M)."""

    direct: torch.Tensor
    cross: torch.Tensor
    orthogonal: torch.Tensor


class Fitted(NamedTuple):
    """Denoisers of S directions, ready to be integrated over noise levels.

    Attributes:
        own: the parts of f_u, none for scalar targets. residual: those of g.
    """

    samples: Samples
    own: tuple[Part, ...]
    residual: tuple[Part, ...]

    def terms(self, points: Points, half: torch.Tensor) -> Terms:
        """Of the last part of g, the others being there; samples belong to `half` (S, M)."""
        p = points.for_both()
        earlier = sum_of(self.residual[:-1], p)
        base, g = sum_of(self.own, p) + earlier, self.residual[-1](p)
        cross, direct, g_held = contribution(points.w - points.f_linear, base, g, half)
        already = points.f_linear + held_out(earlier, half)
        return Terms(direct, cross, orthogonal=((2 * already + g_held) * g_held).sum(-1))

    def shared(self, points: Points, half: torch.Tensor) -> torch.Tensor:
        """(S, M) -2 f_u.f_G: there with or without g."""
        f_u = held_out(sum_of(self.own, points.for_both()), half)
        return -2 * (f_u * points.f_linear).sum(-1)


def sum_of(parts: Sequence[Part], p: Points) -> torch.Tensor:
    """(S, 2, M, D) what some parts predict together."""
    total = torch.zeros_like(p.w)
    for part in parts:
        total = total + part(p)
    return total
