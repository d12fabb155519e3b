"""A denoiser that learns how widely x scatters and nothing else: for scales that X and Y share.

With x | y ~ N(m, s^2 v), s^2 one number for all coordinates, the prediction of w exceeds that of N(m, v) by

    innovation scale r (1 - s^2) / (r^2 s^2 + 1),      r = alpha sqrt(v) / sigma.

A network of the radii of z and y gives log s^2 at each noise level. In elliptical laws (Student's t,
normal scale mixtures) radii are all that ties the sides beyond their correlations: for uncorrelated
ones I(X; Y) = I(|X|; |Y|), whatever the dimension. So few inputs learn from few samples what a network
of all coordinates finds in many.
"""

from __future__ import annotations

import torch

from mmg_ray.estimator.tiers.neural.halves import Form, Part
from mmg_ray.estimator.tiers.neural.samples import Points

_LARGEST = 8.0  # |log s^2|: keeps a diverging network finite


def unconditional() -> Form:
    """The scale of x, from the radius of z."""
    return Form(
        "own scale",
        n_inputs=4,
        n_outputs=1,
        inputs=lambda p: torch.cat([log_radius(p.z), p.level], -1),
        predict=lambda p, log_scale: _rescaled(log_scale, p.z, p.own_ratio),
        scale=lambda p: torch.ones_like(p.w),
    )


def conditional(own: Part | None) -> Form:
    """The scale of x given y beyond its own, and beyond what `unconditional` predicts."""

    def predict(p: Points, change: torch.Tensor) -> torch.Tensor:
        if own is None:
            return _rescaled(change, p.innovation, p.ratio) * p.scale
        with torch.no_grad():
            log_scale = own.outputs(p)
            f_own = _rescaled(log_scale, p.z, p.own_ratio)
        return _rescaled(log_scale + change, p.innovation, p.ratio) * p.scale - f_own

    return Form(
        "scale",
        n_inputs=6,
        n_outputs=1,
        inputs=lambda p: torch.cat(
            [log_radius(p.innovation), log_radius(p.y), log_radius(p.z), p.level], -1
        ),
        predict=predict,
        scale=lambda p: p.scale,
    )


def _rescaled(log_scale: torch.Tensor, innovation: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """(..., 1), (..., D), (..., D or 1) -> (..., D) what s^2 = exp(log_scale) adds, over `Points.scale`."""
    s2 = log_scale.clamp(-_LARGEST, _LARGEST).exp()
    return innovation * r * (1 - s2) / (r * r * s2 + 1)


def log_radius(values: torch.Tensor) -> torch.Tensor:
    """(..., D) -> (..., 1) log |v|^2, about standard for a normal v."""
    dim = values.shape[-1]
    mean_square = (values.square().sum(-1, keepdim=True) + 0.5) / (dim + 0.5)
    return mean_square.log() * (dim / 2) ** 0.5
