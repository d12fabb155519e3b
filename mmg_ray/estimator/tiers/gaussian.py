"""The best linear denoiser: exact for Gaussian dependence at any MI, a baseline for everything else.

In canonical coordinates (both sides white, cross-covariance diagonal) every coordinate is a scalar
Gaussian channel, x_k | y ~ N(m, v) with m = rho_k y_k and v = 1 - rho_k^2, for which

    eps_hat(z, y) = sigma (z - alpha m) / (alpha^2 v + sigma^2),
    f(z, y)       = (eps_hat(z, y) - sigma z) / alpha .

A linear denoiser sees second moments only, so its direct MI is -1/2 sum log(1 - rho_k^2) for any
distribution with these correlations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from mmg_ray.estimator.channel import Level
from mmg_ray.estimator.pairs.directions import Directions
from mmg_ray.estimator.pairs.estimates import Estimates
from mmg_ray.schema import Cost


class Canonical(NamedTuple):
    """White, canonical coordinates of S directions of N samples.

    Attributes:
        x: (S, N, Dx) target, y: (S, N, Dy) source; both with unit covariance.
        rho: (S, Dx) correlation of x_k with y_k; 0 where Dy < k.
        rotation: (S, Dx, Dx) orthogonal, white target @ rotation = x. The white target depends
            on the target alone; only the rotation depends on the pair.
        rank_x, rank_y: (S,) dimensions that vary; collinear coordinates say nothing new.
    """

    x: torch.Tensor
    y: torch.Tensor
    rho: torch.Tensor
    rotation: torch.Tensor
    rank_x: torch.Tensor
    rank_y: torch.Tensor


def canonical(batch: Directions) -> Canonical:
    """Whiten both sides and rotate them onto their canonical directions (Hotelling 1936)."""
    mask = batch.mask()[..., None].to(batch.x.dtype)
    n = batch.n.to(batch.x.dtype)[:, None, None]
    x = (batch.x - (batch.x * mask).sum(1, keepdim=True) / n) * mask
    y = (batch.y - (batch.y * mask).sum(1, keepdim=True) / n) * mask
    white_x, rank_x = _inverse_sqrt(x.mT @ x / n)
    white_y, rank_y = _inverse_sqrt(y.mT @ y / n)
    left, rho, right_t = torch.linalg.svd(white_x.mT @ (x.mT @ y / n) @ white_y)
    # ranks of n samples cannot show more than log n nats: a duplicated variable saturates there
    rho = torch.minimum(rho, (1 - n[..., 0] ** -2).sqrt())
    short = x.shape[-1] - rho.shape[-1]
    rho = torch.nn.functional.pad(rho, (0, max(short, 0)))
    return Canonical(
        x=x @ (white_x @ left),
        y=y @ (white_y @ right_t.mT),
        rho=rho[:, : x.shape[-1]],
        rotation=left,
        rank_x=rank_x,
        rank_y=rank_y,
    )


def _inverse_sqrt(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, ranks), W with W^T C W = I for (S, D, D) covariances C; directions without variance are left at 0."""
    values, vectors = torch.linalg.eigh(covariance)
    keep = values > 1e-8 * values[..., -1:]
    scale = torch.where(keep, values, torch.ones_like(values)).rsqrt() * keep
    return vectors * scale[..., None, :], keep.sum(-1)


def moments(c: Canonical) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (S, N, Dx) and variance (S, 1, Dx) of x given y under the Gaussian model."""
    dim = min(c.x.shape[-1], c.y.shape[-1])
    mean = torch.zeros_like(c.x)
    mean[..., :dim] = c.rho[:, None, :dim] * c.y[..., :dim]
    return mean, 1.0 - c.rho[:, None, :] ** 2


def wiener(z: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, at: Level) -> torch.Tensor:
    """f(z, y) of the Gaussian x | y ~ N(mean, var), coordinate by coordinate."""
    eps_hat = at.sigma * (z - at.alpha * mean) / (at.alpha**2 * var + at.sigma**2)
    return (eps_hat - at.sigma * z) / at.alpha


def gaussian_mi(c: Canonical, n: torch.Tensor) -> torch.Tensor:
    """Bias-corrected Gaussian MI, (S,) nats, from n (S,) samples.

    The plug-in -1/2 sum log(1 - rho^2) overshoots; the expected log-determinant of a Wishart
    matrix (digamma terms) gives its bias exactly under Gaussian data, whatever the true rho:
    E log|S_d| - log|C_d| = sum_{k<d} digamma((n - 1 - k)/2) - d log((n - 1)/2).
    """
    plug_in = -0.5 * torch.log1p(-(c.rho**2)).sum(-1)
    freedom = (n[:, None] - 1).to(c.rho.dtype)
    k = torch.arange(c.x.shape[-1] + c.y.shape[-1], dtype=c.rho.dtype, device=c.rho.device)
    terms = torch.digamma((freedom - k).clamp(min=1) / 2) - torch.log(freedom / 2)

    def log_det_bias(d: torch.Tensor) -> torch.Tensor:
        return torch.where(k < d[:, None], terms, 0.0).sum(-1)

    both = log_det_bias(c.rank_x + c.rank_y)
    return plug_in - 0.5 * (log_det_bias(c.rank_x) + log_det_bias(c.rank_y) - both)


def pointwise_mi(c: Canonical) -> torch.Tensor:
    """log p(x|y) / p(x) under the Gaussian model, (S, N): the influence of each sample."""
    mean, var = moments(c)
    return 0.5 * (c.x**2 - (c.x - mean) ** 2 / var - torch.log(var)).sum(-1)


def estimate(batch: Directions) -> Estimates:
    """The linear denoiser alone: Gaussian-copula MI. Blind to non-monotone dependence."""
    c = canonical(batch)
    mi = gaussian_mi(c, batch.n)
    return Estimates(
        mi=mi,
        direct=mi,  # for the best linear denoiser both forms are the same number
        orthogonal=mi,
        influence=pointwise_mi(c) * batch.mask(),
        ess=torch.ones_like(mi),
        fit_error=torch.zeros_like(mi),
    )


def cost(n_samples: int, dim_x: int, dim_y: int) -> Cost:
    """Projected cost of one pair: covariances and their decompositions, both directions."""
    dim = dim_x + dim_y
    return Cost(
        flops=2.0 * (n_samples * dim**2 * 4 + 30 * dim**3),
        peak_bytes=64.0 * n_samples * dim,
        host_s=4e-5 + 1e-7 * n_samples,  # scores of a pair, stacked
    )
