"""The variance-preserving Gaussian channel and its notation.

    z = alpha x + sigma eps,   alpha^2 = sigmoid(logsnr),  sigma^2 = sigmoid(-logsnr),  eps ~ N(0, I)

For a standard normal x the best unconditional denoiser is eps_hat = sigma z, and

    eps - sigma z = alpha w,   w = alpha eps - sigma x,

so that conditional denoising means predicting w, and with du = alpha^2 dlogsnr

    I(X; Y) = 1/2 Int E[ |eps - eps_hat(z)|^2 - |eps - eps_hat(z, y)|^2 ] dlogsnr
            = 1/2 Int E[ 2 w.f - |f|^2 ] du,      f(z, y, u) = E[w | z, y].

u = softplus(logsnr) runs over (0, inf): integrating in u covers every low noise level, down to
logsnr = -inf, without a cut. (Yu et al., arXiv 2509.20609; Guo, Shamai & Verdu 2005.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Level(NamedTuple):
    """Noise levels and their channel coefficients, all of one shape."""

    u: torch.Tensor
    logsnr: torch.Tensor
    alpha: torch.Tensor
    sigma: torch.Tensor


def level(u: torch.Tensor) -> Level:
    """Channel coefficients at u = softplus(logsnr) > 0."""
    sigma2 = torch.exp(-u)  # sigmoid(-logsnr) = exp(-softplus(logsnr))
    alpha2 = -torch.expm1(-u)
    return Level(u, torch.log(alpha2) + u, alpha2.sqrt(), sigma2.sqrt())


def u_of_logsnr(logsnr: float) -> float:
    """u = softplus(logsnr)."""
    return float(torch.nn.functional.softplus(torch.tensor(logsnr, dtype=torch.float64)))


def noised(x: torch.Tensor, eps: torch.Tensor, at: Level) -> torch.Tensor:
    """z = alpha x + sigma eps."""
    return at.alpha * x + at.sigma * eps


def innovation(x: torch.Tensor, eps: torch.Tensor, at: Level) -> torch.Tensor:
    """w = alpha eps - sigma x: what a condition lets one predict of a standard normal x."""
    return at.alpha * eps - at.sigma * x
