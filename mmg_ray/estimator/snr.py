"""Where the noise levels are drawn: a map from (0, 1) to u = softplus(logsnr), and its weight.

An integral over noise levels is estimated as the mean of ``weight * integrand`` over draws
``u = u(v)``, v stratified in (0, 1), ``weight = du/dv``. Three rules, `SAMPLERS`:

- adaptive: a density piecewise constant in u, proportional to the running root mean square of the
  integrand (the choice of least variance), mixed with a floor over the whole range;
- uniform: uniform in logsnr over the range;
- logistic: the MMG paper's rule (arXiv 2509.20609), logsnr ~ Logistic(2, 3), cut to the range.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

from mmg_ray.config import SNRConfig

LOGSNR_MIN = -4.0  # what lies below is 0.018 wide in u and smooth: one bin of its own
_PAPER_LOC, _PAPER_SCALE = 2.0, 3.0
_DECAY = 0.97  # of the running mean squares, per observation


def stratified(v: torch.Tensor) -> torch.Tensor:
    """Uniform numbers (..., B) -> one in each of the B equal strata of (0, 1), in order."""
    strata = torch.arange(v.shape[-1], device=v.device, dtype=v.dtype)
    # strictly inside (0, 1): u = 0 has no logsnr, and 1 has no stratum
    return ((strata + v) / v.shape[-1]).clamp(1e-6, 1 - 1e-6)


def tail_weight(logsnr: torch.Tensor, logsnr_max: torch.Tensor, rate: float = 1.0) -> torch.Tensor:
    """Extend the integral beyond the range: at high SNR the gap falls as exp(-rate logsnr), with rate 1
    where the density is smooth, so the last unit of the range also stands for what follows it."""
    return 1.0 + (logsnr > logsnr_max - 1.0) / math.expm1(rate)


class Sampler:
    """Densities of S integrands over noise levels.

    Attributes:
        logsnr_max: (S, 1) upper ends of the ranges.
        edges: (S, n_bins + 1) bin edges in u, equal in logsnr above `LOGSNR_MIN`; the first is 0.
        mean_square: (S, n_bins) running mean square of the integrand, whichever the rule.
    """

    def __init__(self, logsnr_max: torch.Tensor, cfg: SNRConfig) -> None:
        self.logsnr_max = logsnr_max[:, None]
        steps = torch.linspace(0, 1, cfg.n_bins, device=logsnr_max.device)
        upper = softplus(LOGSNR_MIN + steps * (self.logsnr_max - LOGSNR_MIN))
        self.edges = torch.nn.functional.pad(upper, (1, 0))
        self.mean_square = torch.zeros_like(upper)
        self._seen = torch.zeros_like(upper, dtype=torch.bool)

    @property
    def _width(self) -> torch.Tensor:
        return self.edges[:, 1:] - self.edges[:, :-1]

    def draw(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, B) numbers in (0, 1) -> u and weight du/dv, both (S, B)."""
        raise NotImplementedError

    def mass(self) -> torch.Tensor:
        """(S, n_bins) probability of each bin under the rule."""
        raise NotImplementedError

    def observe(self, u: torch.Tensor, integrand: torch.Tensor) -> None:
        """Update the running mean squares with (S, B) levels and integrands."""
        bins = (torch.searchsorted(self.edges, u) - 1).clamp(0, self.mean_square.shape[-1] - 1)
        zeros = torch.zeros_like(self.mean_square)
        count = zeros.scatter_add(-1, bins, torch.ones_like(u))
        fresh = zeros.scatter_add(-1, bins, integrand**2) / count.clamp(min=1)
        decay = torch.where(self._seen, _DECAY, 0.0)
        kept = decay * self.mean_square + (1 - decay) * fresh
        self.mean_square = torch.where(count > 0, kept, self.mean_square)
        self._seen |= count > 0

    def effective_share(self) -> torch.Tensor:
        """(S,) effective sample size over draws, 0..1: (sum r)^2 / sum(r^2 / mass), where r is
        the root mean square of the integrand times the bin width. 1 is the best any density does.
        """
        r = self.mean_square.sqrt() * self._width
        denominator = (r**2 / self.mass().clamp(min=1e-12)).sum(-1)
        return torch.where(denominator > 0, r.sum(-1) ** 2 / denominator, 1.0)


class Adaptive(Sampler):
    """Density proportional to the root mean square of the integrand, with a floor."""

    def __init__(self, logsnr_max: torch.Tensor, cfg: SNRConfig) -> None:
        super().__init__(logsnr_max, cfg)
        # the floor has equal mass per bin, that is uniform in logsnr: no level is out of reach
        self._uniform = torch.full_like(self.mean_square, 1.0 / cfg.n_bins)
        self._floor = cfg.floor

    def mass(self) -> torch.Tensor:
        r = torch.where(self._seen, self.mean_square.sqrt(), 1.0) * self._width
        if not bool(self._seen.any()):
            return self._uniform
        wanted = r / r.sum(-1, keepdim=True).clamp(min=1e-30)
        return (1 - self._floor) * wanted + self._floor * self._uniform

    def draw(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mass = self.mass()
        upper = mass.cumsum(-1)
        bins = torch.searchsorted(upper, v).clamp(max=mass.shape[-1] - 1)
        in_bin = mass.gather(-1, bins)
        width = self._width.gather(-1, bins)
        within = (v - (upper.gather(-1, bins) - in_bin)) / in_bin
        return self.edges.gather(-1, bins) + width * within.clamp(1e-4, 1.0), width / in_bin


class Uniform(Sampler):
    """Uniform in logsnr, from 4 below `LOGSNR_MIN` to the top."""

    _low = LOGSNR_MIN - 4.0

    def draw(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        span = self.logsnr_max - self._low
        logsnr = self._low + span * v
        return softplus(logsnr), span * torch.sigmoid(logsnr)

    def mass(self) -> torch.Tensor:
        logsnr = torch.log(torch.expm1(self.edges[:, 1:]))
        cumulative = (logsnr - self._low) / (self.logsnr_max - self._low)
        return torch.diff(cumulative, prepend=torch.zeros_like(cumulative[:, :1]))


class Logistic(Sampler):
    """The MMG paper's fixed rule, cut to the range."""

    def _cumulative(self, logsnr: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((logsnr - _PAPER_LOC) / _PAPER_SCALE)

    def draw(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = self._cumulative(torch.full_like(self.logsnr_max, Uniform._low))
        share = self._cumulative(self.logsnr_max) - low
        p = low + share * v
        logsnr = _PAPER_LOC + _PAPER_SCALE * torch.logit(p)
        dlogsnr_dv = _PAPER_SCALE * share / (p * (1 - p))
        return softplus(logsnr), dlogsnr_dv * torch.sigmoid(logsnr)

    def mass(self) -> torch.Tensor:
        p = self._cumulative(torch.log(torch.expm1(self.edges[:, 1:])))
        low = self._cumulative(torch.full_like(self.logsnr_max, Uniform._low))
        p = (p - low) / (self._cumulative(self.logsnr_max) - low)
        return torch.diff(p, prepend=torch.zeros_like(p[:, :1]))


SAMPLERS: dict[str, type[Sampler]] = {
    "adaptive": Adaptive,
    "uniform": Uniform,
    "logistic": Logistic,
}
