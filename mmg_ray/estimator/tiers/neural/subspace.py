"""A denoiser of a few directions of wide variables: where few samples cannot show what lies in many.

Networks of all coordinates of wide variables lose in noise what little of them is informative. In
canonical coordinates the linear part says which directions are; where what matters turns or changes
sign with the length of the vectors, moments weighted by that length do. With e the innovation of x
given y, both white, r the log radius of x or of y, and rho the canonical correlations, directions are
the leading eigenvectors of

    sum over r of A A' + diag(rho^2)   for x,      sum of A' A + diag(rho^2)   for y,      A = E[r e y'].

The networks see the coordinates along these, and all coordinates through their radii.
"""

from __future__ import annotations

import torch

from mmg_ray.estimator.tiers.neural import scale
from mmg_ray.estimator.tiers.neural.halves import Form
from mmg_ray.estimator.tiers.neural.samples import Points, Samples

N_DIRECTIONS = 8  # of a side: a few more than there are do little harm


def form(samples: Samples, rho: torch.Tensor) -> Form:
    """g as any function of a few directions of x and y, found by either half for itself.

    Args:
        rho: (S, min(Dx, Dy)) canonical correlations.
    """
    of_x, of_y = _directions(samples, rho.float())

    def inputs(p: Points) -> torch.Tensor:
        radii = [scale.log_radius(v) for v in (p.innovation, p.y, p.z)]
        return torch.cat([p.innovation @ of_x, p.z @ of_x, p.y @ of_y, *radii, p.level], -1)

    return Form(
        "directions",
        n_inputs=2 * of_x.shape[-1] + of_y.shape[-1] + 6,
        n_outputs=of_x.shape[-1],
        inputs=inputs,
        predict=lambda p, out: out @ of_x.mT * p.scale,
        scale=lambda p: p.scale,
    )


def _directions(samples: Samples, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, 2, Dx, R) and (S, 2, Dy, R) orthonormal directions of x and y by each half of the samples."""
    x, y = samples.x, samples.y
    innovation = (x - samples.mean) / samples.var.sqrt()
    present = torch.arange(x.shape[1], device=x.device) < samples.n[:, None]
    of_x: list[torch.Tensor] = []
    of_y: list[torch.Tensor] = []
    for half in (0, 1):
        weight = (present & (samples.half == half)).to(x)
        weight = weight / weight.sum(1, keepdim=True)
        square_x, square_y = (
            torch.diag_embed(torch.nn.functional.pad(rho**2, (0, v.shape[-1] - rho.shape[-1])))
            for v in (x, y)
        )
        for side in (x, y):
            radius = scale.log_radius(side)[..., 0]
            radius = radius - (weight * radius).sum(1, keepdim=True)
            radius = radius / (weight * radius**2).sum(1, keepdim=True).sqrt()
            a = (innovation * (weight * radius)[..., None]).mT @ y
            square_x, square_y = square_x + a @ a.mT, square_y + a.mT @ a
        for found, square in ((of_x, square_x), (of_y, square_y)):
            found.append(torch.linalg.eigh(square)[1][..., -N_DIRECTIONS:])
    return torch.stack(of_x, 1), torch.stack(of_y, 1)
