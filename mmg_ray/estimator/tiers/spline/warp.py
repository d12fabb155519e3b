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

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import digamma, polygamma

from mmg_ray.estimator.tiers.spline import band, basis
from mmg_ray.estimator.tiers.spline.entries import Entries
from mmg_ray.estimator.tiers.spline.entry_sums import level_sums
from mmg_ray.estimator.tiers.spline.spacings import residuals, spacings

_KNOTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_SAMPLES_PER_KNOT = 4
_SAMPLES_PER_BIN = 16  # of the variance
_MOST_BINS = 64
_LOCATION_PENALTIES = 10.0 ** np.arange(-8.0, 1.5)
_SCALE_PENALTIES = 10.0 ** np.arange(-7.0, 2.0)
_SCALE_ROUNDS = 6
# generalised cross-validation with a degree of freedom counted this often: it then seldom under-smooths
_GCV_INFLATION, _GCV_INFLATION_ADAPTIVE = 1.2, 1.3
# Spacings must be this many standard deviations from normal, and by so many nats: hard edges are (uniform .18,
# exponential .42), smooth densities (Laplace .07, logistic .01) are not, and the correction follows those better.
_SHAPE_EVIDENCE, _SHAPE_NATS = 3.0, 0.07
_POINTS_PER_SPACING = 2.0
# ranks of n samples are noisy: close pairs look further apart by _RANK_NOISE sqrt(v) / n in variance,
# as measured on normal pairs of rho = .8 to .995 (within a third)
_RANK_NOISE = 7.4


class Warp(NamedTuple):
    """What location, scale and shape say of S directions with Y levels of y and M entries.

    Attributes:
        residual: (M,) float32 leave-one-out, close to standard normal. log_v: (M,) float32 log
            variance of x given y as the other samples tell it.
        log_ratio: (M,) float32 log q(x | y) / phi(x), nats.
        row: (M,) of tables of curves: that of the residual, or of its own normal score where the
            shape was estimated.
        optimism: (S,) nats that the mean log ratio lacks because m and v are estimated.
        location: (S, Y) m(y). samples: (2, S, Y) of each half at each level of y.
    """

    residual: np.ndarray
    log_v: np.ndarray
    log_ratio: np.ndarray
    row: np.ndarray
    optimism: np.ndarray
    location: np.ndarray
    samples: np.ndarray


def n_knots(n: int, n_levels: int) -> int:
    """Knots of a direction of n samples at so many levels: from a short ladder, to share batches."""
    fits = [k for k in _KNOTS if k * _SAMPLES_PER_KNOT <= n and k <= n_levels]
    return max(fits, default=_KNOTS[0])


def warp(e: Entries, knots: int) -> Warp:
    """Fit S directions, by splines on so many knots."""
    of_half = level_sums(e.start, e.x, e.square, e.weight)
    samples, x, square = (torch.from_numpy(v) for v in (of_half[:2].sum(0), *of_half[2:]))
    y, n = torch.from_numpy(e.y), torch.from_numpy(e.n).double()
    mean = x / samples.clamp(min=1e-9)
    spline = _Spline(y, n, _quantiles(knots, n, ends=True))
    bins = _Bins(
        y, n, samples, min(_MOST_BINS, max(8, knots * _SAMPLES_PER_KNOT // _SAMPLES_PER_BIN))
    )

    def squared_errors(m: torch.Tensor, leverage: torch.Tensor) -> torch.Tensor:
        """(S, Y) sums over the samples of a level, each left out of its own fit."""
        return (square - 2 * m * x + m.square() * samples).clamp(min=0) / (1 - leverage) ** 2

    one = torch.ones_like(y)
    m, leverage, _ = _location(spline, samples, mean, square, one, adaptive=False)
    log_v, _, _ = _scale(bins, squared_errors(m, leverage))
    weight = torch.exp(-log_v)
    weight = weight * (n / (samples * weight).sum(1))[:, None]
    m, leverage, freedom_m = _location(spline, samples, mean, square, weight, adaptive=True)
    log_v, own, freedom_v = _scale(bins, squared_errors(m, leverage))

    residual, others, log_ratio = residuals(
        e.start,
        e.x,
        e.square,
        m.numpy(),
        (1 / (1 - leverage)).numpy(),
        log_v.numpy(),
        (own / (1 - own)).numpy(),
        0.5 * _RANK_NOISE / e.n,
    )
    row = basis.row(residual)
    _shape(e, residual, others, log_ratio, row)
    optimism = ((freedom_m + freedom_v) / (2 * n)).numpy()
    return Warp(residual, others, log_ratio, row, optimism, m.numpy(), of_half[:2])


def _shape(
    e: Entries, residual: np.ndarray, log_v: np.ndarray, log_ratio: np.ndarray, row: np.ndarray
) -> None:
    """Add log q_r(r) / phi(r) where it is evidently not 0, and place residuals by their own ranks.

    After u = Phi(r), m-spacings of n uniform samples are Beta(m, n + 1 - m): the mean log spacing has a
    known mean and variance if r is normal (Cressie 1976). Every sample counts once, those near the ends with
    narrower spacings: in thin tails, which few spacings cover, q_r is below phi, and without them the sum is too
    large. Elsewhere spacings are no narrower than the points of the target, which would otherwise look like a
    density of their own.
    """
    n = e.n.astype(np.float64)
    narrowest = np.maximum(np.sqrt(n), _POINTS_PER_SPACING * n / e.n_points)
    span = np.minimum(np.maximum(np.rint(narrowest), 4.0), n)
    variance = (2 * span**2 - 2 * span + 1) * polygamma(1, span) - 2 * span + 1
    spacings(
        e.start,
        residual,
        log_v,
        e.width,
        e.weight,
        span,
        digamma(n + 1),
        np.maximum(_SHAPE_EVIDENCE * np.sqrt(variance / n), _SHAPE_NATS),
        basis.uniform(),
        log_ratio,
        row,
    )


def _quantiles(count: int, n: torch.Tensor, ends: bool) -> torch.Tensor:
    """(S, count) normal scores at equal steps of rank, from the first sample to the last or inside."""
    step = torch.arange(count, dtype=torch.float64)
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
    spline: _Spline,
    samples: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    weight: torch.Tensor,
    adaptive: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """m(y) and leverage of a sample (S, Y), and degrees of freedom (S,), penalty by cross-validation.

    Args:
        samples, mean, square: (S, Y) at each level: how many, mean of x, sum of its squares.
        weight: (S, Y) of each sample there.
    """
    penalties = torch.tensor(_LOCATION_PENALTIES)[:, None]
    main, first = spline.gram(samples * weight)
    b = spline.moments(samples * weight * mean)
    total = (weight * square).sum(1) / spline.n
    relaxed = torch.ones_like(spline.gap[:, 1:])
    found: tuple[torch.Tensor, ...] | None = None
    for inflation in (_GCV_INFLATION, _GCV_INFLATION_ADAPTIVE)[: 1 + adaptive]:
        rough = band.curvature(spline.gap, relaxed)
        system = band.penalised(main, first, rough, penalties)
        factored = band.factor(system)
        c = band.solve(factored, b[:, None].expand_as(system.main))
        inv_main, inv_first = band.inverse(factored)
        freedom = (main[:, None] * inv_main).sum(-1) + 2 * (first[:, None] * inv_first).sum(-1)
        fitted = (main[:, None] * c.square()).sum(-1)
        fitted = fitted + 2 * (first[:, None] * c[..., 1:] * c[..., :-1]).sum(-1)
        misfit = total[:, None] - 2 * (b[:, None] * c).sum(-1) + fitted
        left = (1 - inflation * freedom / spline.n[:, None]).clamp(min=0.02)
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
            found = tuple(
                torch.where(better if a.dim() == 1 else better[:, None], a, b)
                for a, b in zip(chosen, found, strict=True)
            )
    assert found is not None
    _, freedom, c, inv_main, inv_first = found
    leverage = weight * spline.quadratic(inv_main, inv_first) / spline.n[:, None]
    return spline.at(c), leverage.clamp(max=0.9), freedom


class _Bins:
    """Bins of equal probability in y, on which the variance is a smooth curve of log v."""

    def __init__(self, y: torch.Tensor, n: torch.Tensor, samples: torch.Tensor, count: int) -> None:
        self.n = n
        self.of_level = (torch.special.ndtr(y) * count).floor().clamp(0, count - 1).long()
        self.middle = _Spline(y, n, _quantiles(count, n, ends=False))
        self.middle.share = self.middle.share.clamp(-0.5, 1.5)
        self.held = self.total(samples)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """(S, Y) -> (S, C) sums."""
        return torch.zeros_like(self.middle.knots).scatter_add_(1, self.of_level, values)


def _scale(bins: _Bins, squared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log v(y) and the leverage of a sample on it (S, Y), and degrees of freedom (S,).

    Args:
        squared: (S, Y) sums of squared errors at each level.

    Penalised gamma likelihood of squared errors with a log link by Fisher scoring, whose weights are
    the counts; the penalty by its likelihood less its degrees of freedom.
    """
    n, held, gap = bins.n[:, None], bins.held, bins.middle.gap
    sums = bins.total(squared)
    penalties = torch.tensor(_SCALE_PENALTIES)[:, None]
    rough = band.curvature(gap, torch.ones_like(gap[:, 1:]))
    factored = band.factor(band.penalised(held / n, torch.zeros_like(gap), rough, penalties))
    share = (held / n)[:, None]
    mean = sums.sum(1, keepdim=True) / n
    working = ((sums + mean) / (held + 1)).log()[:, None].expand(-1, len(penalties), -1)
    mean_square = (sums / held.clamp(min=1))[:, None]
    log_v = working
    for _ in range(_SCALE_ROUNDS):
        log_v = band.solve(factored, share * working)
        # one wild bin must not throw the fit: a step is bounded
        working = log_v + (mean_square * torch.exp(-log_v) - 1).clamp(max=3.0)
    inv_main, _ = band.inverse(factored)
    freedom = (share * inv_main).sum(-1)
    deviance = 0.5 * (share * (log_v + mean_square * torch.exp(-log_v))).sum(-1)
    best = (deviance + freedom / n).argmin(1)
    log_v, freedom = _at(log_v, best), _at(freedom, best)
    # beyond the outermost bins leverage is only known roughly
    leverage = (_at(inv_main, best) / n).gather(1, bins.of_level).clamp(max=0.9)
    return bins.middle.at(log_v), leverage, freedom


def _at(values: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """values[s, best[s]] along axis 1."""
    index = best.reshape(-1, 1, *[1] * (values.dim() - 2)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, index)[:, 0]
