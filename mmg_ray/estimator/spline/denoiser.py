"""The spline denoiser of scalar pairs: closed form, deterministic, no noise drawn, no gradient steps.

direct     the correction alone, in the normal scores of the target: weak and moderate smooth pairs
warped     location, scale and shape first, then the correction in the residual: any pair

Either is a cross-fitted MMG estimate, see `warp` and `correction`. In the residual the noise levels
follow the pair: noise of one size there is small where x is well known and large where it is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.batch import Directions, Estimates, halves
from mmg_ray.estimator.spline.basis import Shape, Tables, adapted_levels, tables
from mmg_ray.estimator.spline.correction import Correction, correct
from mmg_ray.estimator.spline.warp import n_knots, rank_scores, warp
from mmg_ray.schema import Cost

_PENALTIES = (10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5, 10**0.5)
_LIGHTER = 1
_DIRECT, _DIRECT_LEVELS = Shape(6, 6, 24), 6
_RESIDUAL, _RESIDUAL_LEVELS = Shape(8, 8, 40), 8
_CHUNK = {"cpu": 64, "cuda": 8192}  # directions at once
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
    return _estimates(c, nothing, nothing[:, 0], nothing[:, 0])


def _warped(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    x, y = batch.x[..., 0], batch.y[..., 0]
    mask = batch.mask().double()
    w = warp(x, y, batch.n, mask)
    t = tables(_RESIDUAL, adapted_levels(_RESIDUAL_LEVELS), y.device)
    r = w.residual[:, None]
    by_source = _correct(batch, cfg, r, y, t)
    by_location = _correct(batch, cfg, r, rank_scores(w.location, batch.n, mask), t)
    better = by_location.direct > by_source.direct + _AHEAD / batch.n
    c = Correction(
        *(
            torch.where(better if a.dim() == 1 else better[:, None], a, b)
            for a, b in zip(by_location, by_source, strict=True)
        )
    )
    return _estimates(c, w.log_ratio, w.log_ratio.sum(1) / batch.n, w.optimism)


def _correct(
    batch: Directions, cfg: EstimatorConfig, r: torch.Tensor, y: torch.Tensor, t: Tables
) -> Correction:
    half = halves(cfg.seed, y.shape[1], y.device)
    mask = batch.mask().float()
    return correct(r.float(), y.float(), half, mask, t, _PENALTIES, _LIGHTER)


def _estimates(
    c: Correction, log_ratio: torch.Tensor, reference: torch.Tensor, optimism: torch.Tensor
) -> Estimates:
    """The reference's MI and the correction's; the reference is one sample's, so left out, likelihood."""
    # a correction that loses as much on held-out samples as it claims is noise
    on = (c.cross + c.direct > 0).double()
    return Estimates(
        mi=reference + optimism + on * c.cross,
        direct=reference + on * c.direct,
        orthogonal=reference + 2 * optimism + on * c.orthogonal,
        influence=log_ratio + on[:, None] * c.influence,
        ess=torch.ones_like(reference),
    )


def cost(n_samples: int) -> Cost:
    """Projected cost of one pair at level 2."""
    return Cost(flops=7e7 + 3e4 * n_samples, peak_bytes=2000.0 * n_samples)


def screen_cost(n_samples: int) -> Cost:
    """Projected cost of one pair of the screen."""
    return Cost(flops=30.0 * n_samples, peak_bytes=400.0)


def cascade_cost(n_samples: int) -> Cost:
    """Projected cost of one pair of which the screen lets a half, and the direct spline a tenth, on."""
    return Cost(flops=1.5e7 + 5e3 * n_samples, peak_bytes=1000.0 * n_samples)
