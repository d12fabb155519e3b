"""The spline denoiser of scalar pairs: closed form, deterministic, no noise drawn, no gradient steps.

direct     the correction alone, in the normal scores of the target: weak and moderate smooth pairs
warped     location, scale and shape first, then the correction in the residual: any pair

Either is a cross-fitted MMG estimate, see `warp` and `correction`. In the residual the noise levels
follow the pair: noise of one size there is small where x is well known and large where it is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import channel, gaussian
from mmg_ray.estimator.batch import Directions, Estimates, halves, shrunk
from mmg_ray.estimator.spline.basis import Levels, Shape, Tables, adapted_levels, tables
from mmg_ray.estimator.spline.correction import Correction, correct
from mmg_ray.estimator.spline.warp import Warp, either, n_knots, warp
from mmg_ray.schema import Cost

_PENALTIES = (10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5, 10**0.5)
_LIGHTER = 1
_DIRECT, _DIRECT_LEVELS = Shape(6, 6, 24), 6
_RESIDUAL, _RESIDUAL_LEVELS = Shape(8, 8, 40), 8
_FINE = Shape(12, 12, 90)
_FINE_PENALTIES = (10**-5.5, 10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5)
_FINE_SAMPLES = 200
_LARGE = 0.04  # nats of correction above which finer functions may find more
_CHUNK = {"cpu": 128, "cuda": 8192}  # directions at once
_SCATTER = 2.0  # of estimates of independent pairs, times n
_WARPED_SAMPLES = 30  # below it a curve on knots goes through every sample
_FLAT = 0.05  # variance of m(y) below which it is no coordinate
_AHEAD = 0.5  # samples' worth of nats by which m(y) must beat y as the second coordinate


def direct(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """MI of S directions of scalars by the correction alone: right for weak and moderate pairs."""
    return _in_chunks(batch, cfg, _direct)


def warped(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """MI of S directions of scalars by warp and correction; averaged over the draws of ties."""
    n_draws = batch.draws.shape[1]
    parts = [
        _in_chunks(batch._replace(draws=batch.draws[:, [k]]), cfg, _warped) for k in range(n_draws)
    ]
    return Estimates(*(torch.stack(values).mean(0) for values in zip(*parts, strict=True)))


def _in_chunks(
    batch: Directions,
    cfg: EstimatorConfig,
    estimate: Callable[[Directions, EstimatorConfig], Estimates],
) -> Estimates:
    """Directions of like sample size together, in chunks that fit the cache or the GPU."""
    size = _CHUNK[batch.y.device.type]
    width = batch.y.shape[1]
    by_knots: dict[int, list[int]] = defaultdict(list)
    for s, n in enumerate(batch.n.tolist()):
        by_knots[n_knots(n)].append(s)
    order, parts = [], []
    for rows in by_knots.values():
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            order += chosen
            parts.append(estimate(batch.select(chosen).trimmed(), cfg))
    back = torch.argsort(torch.tensor(order)).to(batch.y.device)
    return Estimates(
        *(
            torch.cat([_widened(v, width) for v in values])[back]
            for values in zip(*parts, strict=True)
        )
    )


def _widened(values: torch.Tensor, width: int) -> torch.Tensor:
    """(S, N) padded to `width` samples; (S,) as it is."""
    short = width - values.shape[-1]
    return torch.nn.functional.pad(values, (0, short)) if values.dim() > 1 else values


def _direct(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    t = tables(_DIRECT, adapted_levels(_DIRECT_LEVELS), batch.y.device)
    c = _correct(batch, cfg, batch.draws[..., 0], batch.y[..., 0], t)
    nothing = torch.zeros_like(c.influence, dtype=torch.float64)
    return _estimates(c, batch.n, nothing, nothing[:, 0])


def _warped(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """The best on held-out samples of four: direct, and warped with three corrections.

    The second coordinate of a correction is y or, where x follows a curve of y, that curve: a residual
    then depends on the place along it. A large correction is done again with finer functions.
    """
    x, y = batch.x[..., 0], batch.y[..., 0]
    mask = batch.mask().double()
    w = warp(x, y, batch.n, mask)
    t = tables(_RESIDUAL, adapted_levels(_RESIDUAL_LEVELS), y.device)
    r = w.residual[:, None]
    best, at = _correct(batch, cfg, r, y, t), y
    explained = w.location.square().sum(1) / batch.n
    follows = (explained > _FLAT).nonzero()[:, 0]
    if len(follows):
        location = _standard(w.location, batch.n, mask)
        again = _correct(batch, cfg, r, location, t, follows)
        ahead = again.direct > best.direct[follows] + _AHEAD / batch.n[follows]
        best, at = _put(best, again, follows, ahead), at.clone()
        at[follows[ahead]] = location[follows[ahead]]
    large = ((best.cross > _LARGE) & (batch.n >= _FINE_SAMPLES)).nonzero()[:, 0]
    if len(large):
        t = tables(_FINE, adapted_levels(_RESIDUAL_LEVELS), y.device)
        finer = _correct(batch, cfg, r, at, t, large, _FINE_PENALTIES)
        noise = finer.cross - finer.direct  # 1/2 Int E (f_1 - f_2)^2 / 2
        finer_holds = (finer.direct > best.direct[large]) & (noise < best.cross[large])
        best = _put(best, finer, large, finer_holds)
    warped = _estimates(best, batch.n, w.log_ratio, w.optimism)
    plain = _direct(batch, cfg)
    ahead = (plain.direct > warped.direct) | (batch.n < _WARPED_SAMPLES)
    return Estimates(*either(ahead, plain, warped))


def _put(
    all_of: Correction, some: Correction, rows: torch.Tensor, where: torch.Tensor
) -> Correction:
    """The corrections of all directions, those of `rows` replaced where it says so."""
    return Correction(
        *(a.index_put((rows[where],), b[where]) for a, b in zip(all_of, some, strict=True))
    )


def _standard(values: torch.Tensor, n: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(S, N) with zero mean and unit mean square over the samples present."""
    mean = values.sum(1) / n
    centred = (values - mean[:, None]) * mask
    return centred / (centred.square().sum(1) / n).clamp(min=1e-12).sqrt()[:, None]


def _correct(
    batch: Directions,
    cfg: EstimatorConfig,
    r: torch.Tensor,
    y: torch.Tensor,
    t: Tables,
    rows: torch.Tensor | slice = slice(None),
    penalties: tuple[float, ...] = _PENALTIES,
) -> Correction:
    half = halves(cfg.seed, y.shape[1], y.device)
    mask = batch.mask()[rows].float()
    return correct(r[rows].float(), y[rows].float(), half, mask, t, penalties, _LIGHTER)


def _estimates(
    c: Correction, n: torch.Tensor, log_ratio: torch.Tensor, optimism: torch.Tensor
) -> Estimates:
    """The reference's mean log ratio, left-out and without optimism, and the correction's share."""
    # a correction that loses as much on held-out samples as it claims is noise
    # (and what claims more on held-out samples than across fits is no least-squares fit any more)
    sound = (c.direct > -0.5 * c.cross) & (c.direct < 1.2 * c.cross + 3 / n)
    on = sound.double()
    left_out = log_ratio.sum(1) / n
    mi = left_out + optimism + on * c.cross
    direct = left_out + on * c.direct
    return Estimates(
        mi=shrunk(mi, _SCATTER / n),
        direct=direct,
        orthogonal=left_out + 2 * optimism + on * c.orthogonal,
        influence=log_ratio + on[:, None] * c.influence,
        ess=torch.ones_like(mi),
        # mi and the direct form differ by the squared distance of fits to other samples, and what
        # shrinkage hides is of that size
        unsure=(mi - direct).clamp(min=1 / n),
    )


def gap_curve(batch: Directions, cfg: EstimatorConfig, logsnr: np.ndarray) -> np.ndarray:
    """Gap in denoising error, E|eps - eps_hat(z)|^2 - E|eps - eps_hat(z, y)|^2, of S scalar directions.

    Args:
        batch: of sample sizes with the same `n_knots`.
        logsnr: (K,) noise levels of the target's normal score.

    Returns:
        (S, K), the larger of two held-out gaps at each level, each at most the MMSE gap but for
        noise: of smooth functions of z and y, and of the best denoiser of location and scale alone.
    """
    y = batch.y[..., 0]
    levels = Levels(tuple(logsnr.tolist()), (1.0,) * len(logsnr))
    smooth = _correct(batch, cfg, batch.draws[..., 0], y, tables(_RESIDUAL, levels, y.device))
    x, mask = batch.x[..., 0], batch.mask().double()
    wiener = _location_scale_gap(x, warp(x, y, batch.n, mask), mask, logsnr)
    alpha2 = torch.sigmoid(torch.as_tensor(logsnr))
    return (alpha2 * torch.maximum(smooth.held_out.double(), wiener).cpu()).numpy()


def _location_scale_gap(
    x: torch.Tensor, w: Warp, mask: torch.Tensor, logsnr: np.ndarray
) -> torch.Tensor:
    """(S, K) E[2 w f - f^2] of the Wiener denoiser of N(mean, variance), eps by Gauss-Hermite."""
    points, mass = np.polynomial.hermite_e.hermegauss(16)
    gaps = []
    for value in logsnr.tolist():
        at = channel.level(torch.tensor(channel.u_of_logsnr(value), dtype=x.dtype))
        gap = torch.zeros_like(x)
        for eps, share in zip(points.tolist(), (mass / mass.sum()).tolist(), strict=True):
            noise = torch.full_like(x, eps)
            f = gaussian.wiener(channel.noised(x, noise, at), w.mean, w.variance, at)
            gap += share * (2 * channel.innovation(x, noise, at) - f) * f
        gaps.append((gap * mask).sum(1) / mask.sum(1))
    return torch.stack(gaps, -1)


def cost(n_samples: int) -> Cost:
    """Projected cost of one warped pair; many ties take up to four times as much."""
    return Cost(flops=5e7 + 5e4 * n_samples, peak_bytes=3e5 + 200.0 * n_samples)
