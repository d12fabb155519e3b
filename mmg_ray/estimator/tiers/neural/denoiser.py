"""The neural denoiser: stacks of small networks that learn what the linear denoiser misses.

With w = alpha eps - sigma x (see channel) the denoisers of a direction "x given y" are sums of parts,

    unconditional   f_u = f_1 + f_2                0 exactly for a scalar target (its marginal is
                                                   N(0, 1)); learned once per target otherwise
    conditional     f_u + f_G + g_1 + g_2 ..

where f_G is the linear-Gaussian term in closed form and g, the only thing learned per pair, is the
rest: first of all a common scale (`scale`, for vectors), then what lies in a few directions (`subspace`,
for wide ones), then anything. "No condition" is a denoiser
without that input, never y = 0. The linear part of the MI is then the bias-corrected Gaussian MI,
whatever its size, and the networks contribute

    1/2 Int E[ 2 (w - f_u - f_G).g - |g|^2 - 2 f_u.f_G ] du            (direct).

Every network is fitted twice, on two halves of the samples; products of one half's fit with the
other half's samples or fit carry no overfit noise (the cross-product estimate, which is reported):

    1/2 Int E[ 2 (w - f_G).g' - g1.g2 - f_u1.g2 - g1.f_u2 - 2 f_u'.f_G ] du,

g' being the fit that has not seen the sample. Parts are fitted one after the other, each to what the
ones before it leave, and a part is left out unless its contribution is clearly above 0 and larger
than what overfitting costs it on held-out samples: this is what makes independent pairs read 0. Few
samples or many dimensions also mean fewer steps, see `n_steps`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator import snr
from mmg_ray.estimator.pairs.directions import Directions
from mmg_ray.estimator.pairs.estimates import Estimates
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers import gaussian
from mmg_ray.estimator.tiers.neural import scale, subspace
from mmg_ray.estimator.tiers.neural.fitted import Fitted, Terms, sum_of
from mmg_ray.estimator.tiers.neural.halves import Form, Part, fit_halves
from mmg_ray.estimator.tiers.neural.samples import PIECE, Points, Samples, prepare
from mmg_ray.schema import Cost

_CHUNK_BYTES = {"cpu": 8 << 20, "cuda": 1 << 30}  # one layer's activations: cache, or memory, sized
_EVIDENCE = 2.0  # standard errors above 0 that a residual's contribution needs to count
_STEPS_PER_SAMPLE, _OF_VECTORS = 1.5, 1.0  # more passes over few samples only memorise them
_STEPS_ROUND = 50
_SAFER = 0.1  # times the learning rate, where training has diverged
_SCALE_WIDTH, _SCALE_LAYERS, _SCALE_STEPS = 16, 2, 600  # the networks of scales
_HEADROOM = 6.0  # logsnr beyond the Gaussian bump's end that a residual may still fill


def estimate(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """MI of S directions, see the module's docstring.

    Work is cut into chunks that fit the cache or the GPU; networks are independent and streams are
    keyed, so the cut does not matter beyond rounding.
    """
    cfg = replace(cfg, network=_resolved(cfg.network, batch.x.shape[-1], batch.y.shape[-1]))
    per_direction = 2 * cfg.network.batch_size * (cfg.network.width or 0) * 4
    size = max(1, _CHUNK_BYTES[batch.x.device.type] // per_direction)
    # as many steps within a chunk; targets side by side, to train their unconditional networks once
    steps = [
        tuple(n_steps(cfg.network, n, dim) for dim in (1, *_learned_dims(batch)))
        for n in batch.n.tolist()
    ]
    order = sorted(range(len(steps)), key=lambda s: (steps[s], batch.target[s], batch.source[s]))
    parts = []
    for _, rows in itertools.groupby(order, key=steps.__getitem__):
        for chunk in _chunks(list(rows), size):
            parts.append(_with_second_try(batch.select(chunk), cfg))
    back = torch.argsort(torch.tensor(order)).to(batch.x.device)
    return Estimates(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))


def _with_second_try(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """Fit and integrate; directions that diverge once more, with smaller steps."""
    found = fit(batch, cfg)[1]
    diverged = (~torch.isfinite(found.mi)).nonzero().flatten().tolist()
    if diverged:
        net = replace(cfg.network, learning_rate=_SAFER * cfg.network.learning_rate)
        safer = fit(batch.select(diverged), replace(cfg, network=net))[1]
        for values, new in zip(found, safer, strict=True):
            values[diverged] = new
    return found


def n_steps(net: NetworkConfig, n_samples: int, dim: float) -> int:
    """Optimiser steps: at most `net.n_steps`, in proportion to samples per dimension below that."""
    per_sample = (_STEPS_PER_SAMPLE if dim == 1 else _OF_VECTORS) / dim
    steps = math.ceil(per_sample * n_samples / _STEPS_ROUND) * _STEPS_ROUND
    return min(net.n_steps, steps)


def _chunks(rows: list[int], size: int) -> list[list[int]]:
    return [rows[k : k + size] for k in range(0, len(rows), size)]


def _learned_dims(batch: Directions) -> tuple[float, float]:
    """Coordinates of a side that networks learn from: of a few directions, and of all."""
    dims = batch.x.shape[-1], batch.y.shape[-1]
    return min(subspace.N_DIRECTIONS, *dims), 0.5 * sum(dims)


def _resolved(net: NetworkConfig, dim_x: int, dim_y: int) -> NetworkConfig:
    """Defaults by dimension: vectors need more units."""
    return replace(net, width=net.width or (32 if dim_x == dim_y == 1 else 64))


def fit(batch: Directions, cfg: EstimatorConfig) -> tuple[Fitted, Estimates]:
    """Train and integrate part after part: f_u of vector targets, then g of every direction."""
    c = gaussian.canonical(batch)
    samples = prepare(batch, c, cfg.seed)
    logsnr_max = _HEADROOM - torch.log1p(-(c.rho**2)).amin(-1)
    logsnr_max = logsnr_max.clamp(min=cfg.snr.logsnr_max).float()
    own = _own(samples, batch, logsnr_max, cfg) if batch.x.shape[-1] > 1 else ()
    names = list(zip(batch.target, batch.source, strict=True))
    streams = Streams(cfg.seed, [("integrate", *name) for name in names], samples.x.device)

    widest = max(batch.x.shape[-1], batch.y.shape[-1])
    few, every = (_with_steps(batch, cfg, dim) for dim in _learned_dims(batch))
    forms: list[tuple[Form, EstimatorConfig]] = []
    if widest > 1:
        forms.append((scale.conditional(own[0] if own else None), _for_scales(batch, cfg)))
    if widest > subspace.N_DIRECTIONS:
        forms.append((subspace.form(samples, c.rho), few))
    forms.append((_whole(samples), every))
    fitted, linear = Fitted(samples, own, ()), gaussian.gaussian_mi(c, batch.n)
    mi, direct, orthogonal = linear.clone(), linear.clone(), linear.clone()
    influence, fit_error = gaussian.pointwise_mi(c), torch.zeros_like(linear)
    for form, settings in forms:
        before = fitted

        def wanted(p: Points, before: Fitted = before) -> torch.Tensor:
            return p.w - p.f_linear - sum_of((*before.own, *before.residual), p)

        part = fit_halves(samples, names, form, wanted, logsnr_max, settings)
        fitted = before._replace(residual=(*before.residual, part))
        terms = Terms(*_integrated(samples, part.sampler, streams, cfg.snr.n_draws, fitted.terms))
        gain, cost, distance = (
            samples.mean_over(v) for v in (terms.cross, terms.direct, terms.orthogonal)
        )
        # a part that has diverged stays on, for its estimate to say so
        finite = torch.isfinite(gain + cost)
        part.on = (_counts(samples, terms.cross) & (gain + cost > 0)) | ~finite
        on = part.on.double()
        mi += on * gain
        direct += on * cost
        orthogonal += on * distance
        influence = influence + on[:, None] * terms.cross
        # overfitting lowers the direct form and raises the orthogonal one, shrinkage lowers this alone
        apart = torch.maximum((gain - cost).abs(), (gain - distance).abs())
        fit_error += 0.5 * on * apart
    sampler = fitted.residual[-1].sampler
    if own:
        (per_sample,) = _integrated(
            samples, sampler, streams, cfg.snr.n_draws, lambda p, half: (fitted.shared(p, half),)
        )
        influence = influence + per_sample
        shared = samples.mean_over(per_sample)
        mi, direct = mi + shared, direct + shared
    return fitted, Estimates(
        mi=torch.where(torch.isfinite(mi), mi, torch.nan),
        direct=direct,
        orthogonal=orthogonal,
        influence=influence * batch.mask(),
        ess=sampler.effective_share(),
        fit_error=fit_error,
    )


def _own(
    samples: Samples, batch: Directions, logsnr_max: torch.Tensor, cfg: EstimatorConfig
) -> tuple[Part, ...]:
    """The parts of f_u, one network for each distinct target, as the directions use them."""
    targets, every = samples.targets(), _with_steps(batch, cfg, _learned_dims(batch)[1])
    names = [(batch.target[int(s)],) for s in samples.first]
    streams = Streams(cfg.seed, [("gain", *name) for name in names], samples.x.device)
    found: tuple[Part, ...] = ()
    seen: tuple[Part, ...] = ()
    for form, seen_as, settings in (
        (scale.unconditional(), scale.unconditional(), _for_scales(batch, cfg)),
        (_own_whole(targets), _own_whole(samples), every),
    ):
        before = found

        def wanted(p: Points, before: tuple[Part, ...] = before) -> torch.Tensor:
            return p.w - sum_of(before, p)

        part = fit_halves(targets, names, form, wanted, logsnr_max[samples.first], settings)
        found = (*before, part)
        # closing the gap of x to a normal is closing that of a pair whose linear term is 0
        fitted = Fitted(targets, (), found)
        terms = Terms(*_integrated(targets, part.sampler, streams, cfg.snr.n_draws, fitted.terms))
        part.on = _counts(targets, terms.cross)
        seen = (*seen, part.used_for(samples.target, seen_as))
    return seen


def _whole(samples: Samples) -> Form:
    """g as any function."""
    dim_x, dim_y = samples.x.shape[-1], samples.y.shape[-1]
    return Form(
        "residual",
        n_inputs=2 * dim_x + dim_y + (dim_x > 1) + (dim_y > 1) + 3,
        n_outputs=dim_x,
        inputs=lambda p: torch.cat(
            [p.innovation, p.z, p.y, *_radius(p.z), *_radius(p.y), p.level], -1
        ),
        predict=lambda p, out: out * p.scale,
        scale=lambda p: p.scale,
    )


def _own_whole(samples: Samples) -> Form:
    """f_u as any function of a vector target's own coordinates."""
    dim_x, rotation = samples.x.shape[-1], samples.rotation[:, None]
    return Form(
        "unconditional",
        n_inputs=dim_x + 4,
        n_outputs=dim_x,
        inputs=lambda p: torch.cat([p.z @ rotation.mT, *_radius(p.z), p.level], -1),
        predict=lambda _, out: out @ rotation,
        scale=lambda p: torch.ones_like(p.w),
    )


def _radius(values: torch.Tensor) -> list[torch.Tensor]:
    """|v|^2 standardised, for vectors: a shape a small network finds slowly by itself."""
    dim = values.shape[-1]
    if dim == 1:
        return []
    return [(values.square().sum(-1, keepdim=True) / dim - 1) * (dim / 2) ** 0.5]


def _with_steps(batch: Directions, cfg: EstimatorConfig, dim: float) -> EstimatorConfig:
    """Settings of networks of `dim` coordinates a side: the fewer samples each, the fewer steps."""
    steps = n_steps(cfg.network, int(batch.n.max()), dim)
    return replace(cfg, network=replace(cfg.network, n_steps=steps))


def _for_scales(batch: Directions, cfg: EstimatorConfig) -> EstimatorConfig:
    """Settings of the networks of a few radii: small and soon trained, in any dimension."""
    net = replace(
        cfg.network,
        width=_SCALE_WIDTH,
        n_layers=_SCALE_LAYERS,
        n_steps=min(_SCALE_STEPS, n_steps(cfg.network, int(batch.n.max()), 1.0)),
    )
    return replace(cfg, network=net)


def _integrated(
    samples: Samples,
    sampler: snr.Sampler,
    streams: Streams,
    n_draws: int,
    integrands: Callable[[Points, torch.Tensor], Sequence[torch.Tensor]],
) -> list[torch.Tensor]:
    """1/2 Int of some integrands (S, M) du, sample by sample: (S, N) each."""
    sums: list[torch.Tensor] = []
    for draw in samples.integral(sampler, streams, n_draws):
        points = samples.points(draw.sample, draw.u, draw.eps)
        values = integrands(points, samples.half[draw.sample])
        if not sums:
            sums = [torch.zeros(samples.x.shape[:2], device=samples.x.device) for _ in values]
        for total, value in zip(sums, values, strict=True):
            total.scatter_add_(1, draw.sample, draw.weight * value)
    return sums


def _counts(samples: Samples, contribution: torch.Tensor) -> torch.Tensor:
    """(S, N) per sample -> (S,) true where its mean is clearly above 0."""
    mean = samples.mean_over(contribution)
    variance = samples.mean_over((contribution - mean[:, None].float()) ** 2)
    return mean > _EVIDENCE * (variance / samples.n).sqrt()


def cost(n_samples: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Projected cost of one pair: training (forward and backward) and the integral."""
    net = _resolved(cfg.network, dim_x, dim_y)
    width = net.width or 0
    n_inputs = 2 * dim_x + dim_y + 5
    n_weights = n_inputs * width + (net.n_layers - 1) * width**2 + width * dim_x
    steps = n_steps(net, n_samples, 0.5 * (dim_x + dim_y))
    if max(dim_x, dim_y) > subspace.N_DIRECTIONS:
        steps += n_steps(net, n_samples, min(subspace.N_DIRECTIONS, dim_x, dim_y))
    n_points = 3 * steps * net.batch_size + n_samples * cfg.snr.n_draws
    # 2 directions x 2 halves x 2 operations a weight; vector targets train f_u as well
    flops = 8.0 * n_weights * n_points * (1 if dim_x == dim_y == 1 else 2)
    # activations of the 4 networks: kept for the backward pass, and of a piece of the integral
    units = net.batch_size * (4 * net.n_layers + 4) + 6 * PIECE
    peak_bytes = 4 * 4.0 * width * units + 2 * 128.0 * n_samples * (dim_x + dim_y)
    return Cost(flops=flops, peak_bytes=peak_bytes)
