"""Location, scale and shape of x given y: a conditional density whose denoiser is known exactly.

    x = m(y) + sqrt(v(y)) r,    log q(x | y) = log q_r(r) - 1/2 log v(y)

m is a linear spline on quantile knots (penalised by its curvature, which is relaxed where a first fit
bends sharply, so that it can jump), log v a spline fitted to squared leave-one-out residuals by a gamma
likelihood, q_r the normal density or, where the residuals are clearly not normal, an estimate from
their spacings. The gap in denoising error of a density's own denoiser, integrated over all noise
levels, is its log likelihood ratio, sample by sample (Kong et al., ICLR 2023), so this part of the MI
needs no noise levels. What q misses, the dependence of r on y, is left to the correction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.estimator.spline import band

_KNOTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_SAMPLES_PER_KNOT = 4
_SAMPLES_PER_CELL = 16  # of the variance
_MOST_CELLS = 64
_LOCATION_PENALTIES = 10.0 ** np.arange(-8.0, 1.5)
_SCALE_PENALTIES = 10.0 ** np.arange(-7.0, 2.0)
_SCALE_ROUNDS = 6
# generalised cross-validation with a degree of freedom counted this often: it then seldom under-smooths
_CAUTION, _CAUTION_ADAPTIVE = 1.2, 1.3
_SHAPE_EVIDENCE = 2.5  # standard deviations that spacings must be from normal
# ranks of n samples wander: close pairs look further apart by _WANDER sqrt(v) / n in variance, as
# measured on normal pairs of rho = .8 to .995 (within a third)
_WANDER = 7.4


class Warp(NamedTuple):
    """What location, scale and shape say of S directions of N samples; 0 in the padding.

    Attributes:
        residual: (S, N) leave-one-out, close to standard normal; its own normal score where the
            shape was estimated.
        log_ratio: (S, N) log q(x | y) / phi(x), nats.
        optimism: (S,) nats that the mean log ratio lacks because m and v are estimated.
        location: (S, N) m(y).
        mean, variance: (S, N) of x given y as the other samples tell them.
    """

    residual: torch.Tensor
    log_ratio: torch.Tensor
    optimism: torch.Tensor
    location: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor


def n_knots(n: int) -> int:
    """Knots of a direction of n samples: from a short ladder, so that directions share batches."""
    return max((k for k in _KNOTS if k * _SAMPLES_PER_KNOT <= n), default=_KNOTS[0])


def warp(x: torch.Tensor, y: torch.Tensor, n: torch.Tensor, mask: torch.Tensor) -> Warp:
    """Fit all directions; those of one call must have the same `n_knots`.

    Args:
        x, y: (S, N) float64 normal scores of target and source. n: (S,) samples present.
        mask: (S, N) float64, 1 where a sample is present.
    """
    knots = n_knots(int(n.min()))
    spline = _Spline(y, n, _quantiles(knots, n, ends=True))
    cells = _Cells(
        y, n, mask, min(_MOST_CELLS, max(8, knots * _SAMPLES_PER_KNOT // _SAMPLES_PER_CELL))
    )
    m, leverage, _ = _location(spline, x, mask, adaptive=False)
    error = (x - m) / (1 - leverage) * mask
    log_v, _, _ = _scale(cells, error)
    weight = torch.exp(-log_v) * mask
    weight = weight * (n / weight.sum(1))[:, None]
    m, leverage, freedom_m = _location(spline, x, weight, adaptive=True)
    error = (x - m) / (1 - leverage) * mask
    log_v, log_v_others, freedom_v = _scale(cells, error)

    residual = error * torch.exp(-0.5 * log_v_others)
    log_ratio = 0.5 * (x.square() - residual.square() - log_v_others)
    sd = torch.exp(0.5 * log_v_others).clamp(max=1.0)
    wander = 0.5 * _WANDER / n[:, None] / sd * (1 - sd).sqrt()
    shape, evident = _shape(residual, n, mask)
    log_ratio = (
        log_ratio + wander.clamp(max=0.2) + torch.where(evident[:, None], shape, 0.0)
    ) * mask
    residual = torch.where(evident[:, None], rank_scores(residual, n, mask), residual)
    return Warp(
        residual=residual * mask,
        log_ratio=log_ratio,
        optimism=(freedom_m + freedom_v) / (2 * n),
        location=m * mask,
        mean=(x - error) * mask,
        variance=torch.exp(log_v_others),
    )


def rank_scores(values: torch.Tensor, n: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Normal scores of (S, N) values among the samples present; 0 in the padding."""
    order = torch.where(mask > 0, values, torch.inf).argsort(dim=1, stable=True)
    step = torch.arange(values.shape[1], dtype=torch.float64, device=n.device)
    shares = (step + 0.5) / n[:, None]
    share = torch.empty_like(shares).scatter_(1, order, shares)
    return torch.special.ndtri(torch.where(mask > 0, share, 0.5))


def _quantiles(count: int, n: torch.Tensor, ends: bool) -> torch.Tensor:
    """(S, count) normal scores at equal steps of rank, from the first sample to the last or inside."""
    step = torch.arange(count, dtype=torch.float64, device=n.device)
    if ends:
        edge = 0.5 / n[:, None]
        share = edge + (1 - 2 * edge) * step / (count - 1)
    else:
        share = ((step + 0.5) / count).expand(len(n), -1)
    return torch.special.ndtri(share)


class _Spline:
    """Linear splines of y on knots (S, K): their Gram matrices and values."""

    def __init__(self, y: torch.Tensor, n: torch.Tensor, knots: torch.Tensor) -> None:
        self.n, self.knots = n, knots
        self.gap = knots.diff(dim=-1)
        self.left = (torch.searchsorted(knots, y.contiguous()) - 1).clamp(0, knots.shape[-1] - 2)
        self.share = (y - knots.gather(1, self.left)) / self.gap.gather(1, self.left)

    def gram(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Main and first diagonal of sum_n w h h^T / n, h the hat functions."""
        f = self.share
        main = self._add(weight * (1 - f) ** 2, weight * f**2)
        first = torch.zeros_like(self.gap).scatter_add_(1, self.left, weight * f * (1 - f))
        return main, first / self.n[:, None]

    def moments(self, values: torch.Tensor) -> torch.Tensor:
        """(S, K) sum_n v h / n."""
        return self._add(values * (1 - self.share), values * self.share)

    def _add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(self.knots).scatter_add_(1, self.left, left)
        return out.scatter_add_(1, self.left + 1, right) / self.n[:, None]

    def at(self, values: torch.Tensor) -> torch.Tensor:
        """(S, K) values at the knots -> (S, N) at the samples."""
        f = self.share
        return values.gather(1, self.left) * (1 - f) + values.gather(1, self.left + 1) * f

    def quadratic(self, main: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """(S, N) h^T M h from two diagonals of M."""
        f = self.share
        ends = main.gather(1, self.left) * (1 - f) ** 2 + main.gather(1, self.left + 1) * f**2
        return ends + 2 * f * (1 - f) * first.gather(1, self.left)


def _location(
    spline: _Spline, x: torch.Tensor, weight: torch.Tensor, adaptive: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """m(y) (S, N), leverages (S, N) and degrees of freedom (S,), penalty by cross-validation."""
    penalties = torch.tensor(_LOCATION_PENALTIES, device=x.device)[:, None]
    main, first = spline.gram(weight)
    b = spline.moments(weight * x)
    total = (weight * x.square()).sum(1) / spline.n
    relaxed = torch.ones_like(spline.gap[:, 1:])
    found: tuple[torch.Tensor, ...] | None = None
    for caution in (_CAUTION, _CAUTION_ADAPTIVE)[: 1 + adaptive]:
        rough = band.curvature(spline.gap, relaxed)
        system = band.penalised(main, first, rough, penalties)
        factored = band.factor(system)
        c = band.solve(factored, b[:, None].expand_as(system.main))
        inv_main, inv_first = band.inverse(factored)
        freedom = (main[:, None] * inv_main).sum(-1) + 2 * (first[:, None] * inv_first).sum(-1)
        fitted = (main[:, None] * c.square()).sum(-1)
        fitted = fitted + 2 * (first[:, None] * c[..., 1:] * c[..., :-1]).sum(-1)
        misfit = total[:, None] - 2 * (b[:, None] * c).sum(-1) + fitted
        left = (1 - caution * freedom / spline.n[:, None]).clamp(min=0.02)
        score = misfit.clamp(min=1e-8).log() - 2 * left.log()
        best = score.argmin(1)
        chosen = tuple(_at(v, best) for v in (score, freedom, c, inv_main, inv_first))
        if found is None:
            found = chosen
            bend = band.second_derivative(spline.gap, chosen[2]).abs()
            usual = bend.median(1, keepdim=True).values + 1e-3 * bend.mean(1, keepdim=True)
            relaxed = 1 / (bend / (usual + 1e-9) + 0.1)
            relaxed = relaxed / relaxed.log().mean(1, keepdim=True).exp()
        else:
            better = chosen[0] < found[0]
            found = either(better, chosen, found)
    assert found is not None
    _, freedom, c, inv_main, inv_first = found
    leverage = weight * spline.quadratic(inv_main, inv_first) / spline.n[:, None]
    return spline.at(c), leverage.clamp(max=0.9), freedom


class _Cells:
    """Cells of equal probability in y, on which the variance is a smooth curve of log v."""

    def __init__(self, y: torch.Tensor, n: torch.Tensor, mask: torch.Tensor, count: int) -> None:
        self.n = n
        self.cell = (torch.special.ndtr(y) * count).floor().clamp(0, count - 1).long()
        self.middle = _Spline(y, n, _quantiles(count, n, ends=False))
        self.middle.share = self.middle.share.clamp(-0.5, 1.5)
        self.held = self.total(mask)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """(S, N) -> (S, C) sums."""
        return torch.zeros_like(self.middle.knots).scatter_add_(1, self.cell, values)


def _scale(cells: _Cells, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log v(y) (S, N), the same without the sample's own say, and degrees of freedom (S,).

    Penalised gamma likelihood of squared errors with a log link by Fisher scoring, whose weights are
    the counts; the penalty by its likelihood less its degrees of freedom.
    """
    n, held, gap = cells.n[:, None], cells.held, cells.middle.gap
    squared = error.square()
    sums = cells.total(squared)
    penalties = torch.tensor(_SCALE_PENALTIES, device=error.device)[:, None]
    rough = band.curvature(gap, torch.ones_like(gap[:, 1:]))
    factored = band.factor(band.penalised(held / n, torch.zeros_like(gap), rough, penalties))
    share = (held / n)[:, None]
    mean = sums.sum(1, keepdim=True) / n
    working = ((sums + mean) / (held + 1)).log()[:, None].expand(-1, len(penalties), -1)
    mean_square = (sums / held.clamp(min=1))[:, None]
    log_v = working
    for _ in range(_SCALE_ROUNDS):
        log_v = band.solve(factored, share * working)
        # one wild cell must not throw the fit: a step is bounded
        working = log_v + (mean_square * torch.exp(-log_v) - 1).clamp(max=3.0)
    inv_main, _ = band.inverse(factored)
    freedom = (share * inv_main).sum(-1)
    deviance = 0.5 * (share * (log_v + mean_square * torch.exp(-log_v))).sum(-1)
    best = (deviance + freedom / n).argmin(1)
    log_v, freedom = _at(log_v, best), _at(freedom, best)
    leverage = (_at(inv_main, best) / n).gather(1, cells.cell).clamp(max=0.9)
    at = cells.middle.at(log_v)
    excess = (squared * torch.exp(-at) - 1).clamp(max=8.0)
    # nor may one sample's absence: beyond the outermost cells leverage is only known roughly
    return at, at - (leverage / (1 - leverage) * excess).clamp(max=1.0), freedom


def _shape(
    residual: torch.Tensor, n: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log q_r(r) / phi(r) (S, N) from spacings, and (S,) whether it is evidently not 0.

    After u = Phi(r), m-spacings of n uniform samples between 0 and 1 are Beta(m, n + 1 - m): the
    mean log spacing has a known mean and variance if r is normal (Cressie 1976), and the ends of a
    density with hard edges are seen to within a few samples.
    """
    span = n.double().sqrt().round().clamp(min=4)[:, None]
    u = torch.where(mask > 0, torch.special.ndtr(residual), 2.0)
    order = u.argsort(dim=1, stable=True)
    ends = torch.nn.functional.pad(u.gather(1, order), (1, 1), value=1.0)
    ends[:, 0] = 0.0
    ends = ends.clamp(max=1.0)  # the padding stands at the upper end
    first = torch.arange(ends.shape[1], device=n.device).expand_as(ends)
    last = (first + span.long()).clamp(max=ends.shape[1] - 1)
    spacing = (ends.gather(1, last) - ends).clamp(min=1e-12)
    usual = torch.digamma(span) - torch.digamma(n.double()[:, None] + 1)
    used = first <= n[:, None] + 1 - span
    log_ratio = torch.where(used, usual - spacing.log(), 0.0)
    mean = log_ratio.sum(1) / (n + 2 - span[:, 0])
    variance = (2 * span**2 - 2 * span + 1) * torch.polygamma(1, span) - 2 * span + 1
    evident = mean > _SHAPE_EVIDENCE * (variance[:, 0] / n).sqrt()
    # the spacing around a sample: the one that begins half a span before it
    middle = first[:, 1:-1] - (span / 2).long()
    middle = torch.minimum(middle.clamp(min=0), (n[:, None] + 1 - span).long())
    own = torch.zeros_like(residual).scatter_(1, order, log_ratio.gather(1, middle))
    # the samples near the ends share their outermost spacing, so correct to the mean of all spacings
    own = own + (mean - (own * mask).sum(1) / n)[:, None]
    return own * mask, evident


def either(
    first: torch.Tensor, these: Iterable[torch.Tensor], those: Iterable[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Tensors (S,) or (S, N) of two tuples: `these` of the S directions where `first` is true."""
    return tuple(
        torch.where(first if a.dim() == 1 else first[:, None], a, b)
        for a, b in zip(these, those, strict=True)
    )


def _at(values: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """values[s, best[s]] along axis 1."""
    index = best.reshape(-1, 1, *[1] * (values.dim() - 2)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, index)[:, 0]
