"""The neural denoiser: stacks of small networks that learn what the linear denoiser misses.

With w = alpha eps - sigma x (see channel) the denoisers of a direction "x given y" are

    unconditional   f_u(z, u)                      0 exactly for a scalar target (its marginal is
                                                   N(0, 1)); learned once per target otherwise
    conditional     f_u + f_G(z, y, u) + g(z, y, u)

where f_G is the linear-Gaussian term in closed form and g, the only thing learned per pair, is the
rest. "No condition" is a denoiser without that input, never y = 0. The linear part of the MI is
then the bias-corrected Gaussian MI, whatever its size, and the networks contribute

    1/2 Int E[ 2 (w - f_u - f_G).g - |g|^2 - 2 f_u.f_G ] du            (direct).

Every network is fitted twice, on two halves of the samples; products of one half's fit with the
other half's samples or fit carry no overfit noise (the cross-product estimate, which is reported):

    1/2 Int E[ 2 (w - f_G).g' - g1.g2 - f_u1.g2 - g1.f_u2 - 2 f_u'.f_G ] du,

g' being the fit that has not seen the sample. A residual is switched off unless its contribution is
clearly above 0 and larger than what overfitting costs it on held-out samples: this is what makes
independent pairs read 0. Few samples or many dimensions also mean fewer steps, see `n_steps`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator import gaussian
from mmg_ray.estimator.batch import Directions, Estimates
from mmg_ray.estimator.halves import Goal, Halves, fit_halves, held_out
from mmg_ray.estimator.samples import PIECE, Points, Samples, prepare
from mmg_ray.estimator.streams import Streams
from mmg_ray.schema import Cost

_CHUNK_BYTES = {"cpu": 8 << 20, "cuda": 1 << 30}  # one layer's activations: cache, or memory, sized
_EVIDENCE = 2.0  # standard errors above 0 that a residual's contribution needs to count
_STEPS_PER_SAMPLE = 1.5  # more passes over few samples only memorise them
_STEPS_ROUND = 50
_SAFER = 0.1  # times the learning rate, where training has diverged
_HEADROOM = 6.0  # logsnr beyond the Gaussian bump's end that a residual may still fill


class Terms(NamedTuple):
    """Integrands beyond the linear term's, per noised sample, summed over coordinates, (S, M)."""

    shared: torch.Tensor  # -2 f_u.f_G: there with or without g
    direct: torch.Tensor
    cross: torch.Tensor
    orthogonal: torch.Tensor


@dataclass(frozen=True)
class Fitted:
    """Trained denoisers of S directions, ready to be integrated over noise levels.

    Attributes:
        residual: g. unconditional: f_u, None for scalar targets, with ``unconditional_on`` (S,)
            false where it brought nothing on held-out samples.
    """

    samples: Samples
    residual: Halves
    unconditional: Halves | None
    unconditional_on: torch.Tensor

    def predictions(self, p: Points) -> tuple[torch.Tensor, torch.Tensor]:
        """Both fits of g and of f_u at some points, each (S, 2, M, Dx)."""
        g = self.residual(p.conditional) * p.scale[:, None]
        if self.unconditional is None:
            return g, torch.zeros_like(g)
        own = self.unconditional(p.unconditional)
        on = self.unconditional_on[:, None, None, None]
        return g, own @ self.samples.rotation[:, None] * on

    def terms(self, p: Points, half: torch.Tensor) -> Terms:
        """All terms of the integrands at points whose samples belong to `half` (S, M)."""
        g, f_u = self.predictions(p)
        g_held, f_u_held = held_out(g, half), held_out(f_u, half)
        rest = p.w - p.f_linear
        both = g[:, 0] * g[:, 1] + f_u[:, 0] * g[:, 1] + g[:, 0] * f_u[:, 1]
        return Terms(
            shared=-2 * (f_u_held * p.f_linear).sum(-1),
            direct=((2 * (rest - f_u_held) - g_held) * g_held).sum(-1),
            cross=(2 * rest * g_held - both).sum(-1),
            orthogonal=((2 * p.f_linear + g_held) * g_held).sum(-1),
        )


def estimate(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """MI of S directions, see the module's docstring.

    Work is cut into chunks that fit the cache or the GPU; networks are independent and streams are
    keyed, so the cut does not matter beyond rounding.
    """
    cfg = replace(cfg, network=_resolved(cfg.network, batch.x.shape[-1], batch.y.shape[-1]))
    per_direction = 2 * cfg.network.batch_size * (cfg.network.width or 0) * 4
    size = max(1, _CHUNK_BYTES[batch.x.device.type] // per_direction)
    dim = 0.5 * (batch.x.shape[-1] + batch.y.shape[-1])
    steps = [n_steps(cfg.network, n, dim) for n in batch.n.tolist()]
    # directions of one target side by side, so that a chunk trains its unconditional network once
    order = sorted(range(len(steps)), key=lambda s: (steps[s], batch.target[s], batch.source[s]))
    parts = []
    for count, rows in itertools.groupby(order, key=steps.__getitem__):
        cfg = replace(cfg, network=replace(cfg.network, n_steps=count))
        for chunk in _chunks(list(rows), size):
            parts.append(_with_second_try(batch.select(chunk), cfg))
    back = torch.argsort(torch.tensor(order)).to(batch.x.device)
    return Estimates(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))


def _with_second_try(batch: Directions, cfg: EstimatorConfig) -> Estimates:
    """Fit and integrate; directions that diverge once more, with smaller steps."""
    c = gaussian.canonical(batch)
    found = integrate(fit(batch, c, cfg), batch, c, cfg)
    diverged = (~torch.isfinite(found.mi)).nonzero().flatten().tolist()
    if diverged:
        net = replace(cfg.network, learning_rate=_SAFER * (cfg.network.learning_rate or 1e-2))
        again, cfg = batch.select(diverged), replace(cfg, network=net)
        c = gaussian.canonical(again)
        safer = integrate(fit(again, c, cfg), again, c, cfg)
        for values, new in zip(found, safer, strict=True):
            values[diverged] = new
    return found


def n_steps(net: NetworkConfig, n_samples: int, dim: float) -> int:
    """Optimiser steps: at most `net.n_steps`, in proportion to samples per dimension below that."""
    steps = math.ceil(_STEPS_PER_SAMPLE * n_samples / dim / _STEPS_ROUND) * _STEPS_ROUND
    return min(net.n_steps, steps)


def _chunks(rows: list[int], size: int) -> list[list[int]]:
    return [rows[k : k + size] for k in range(0, len(rows), size)]


def _resolved(net: NetworkConfig, dim_x: int, dim_y: int) -> NetworkConfig:
    """Defaults by dimension: vectors need more units and smaller steps."""
    scalar = dim_x == dim_y == 1
    return replace(
        net,
        width=net.width or (32 if scalar else 64),
        learning_rate=net.learning_rate or (1e-2 if scalar else 3e-3),
    )


def fit(batch: Directions, c: gaussian.Canonical, cfg: EstimatorConfig) -> Fitted:
    """Train the residual networks of all directions, and the unconditional ones of vector targets."""
    samples = prepare(batch, c, cfg.seed)
    logsnr_max = _HEADROOM - torch.log1p(-(c.rho**2)).amin(-1)
    logsnr_max = logsnr_max.clamp(min=cfg.snr.logsnr_max).float()
    n_conditional, n_unconditional = samples.n_inputs

    unconditional, on = None, torch.zeros_like(samples.n, dtype=torch.bool)
    if batch.x.shape[-1] > 1:
        targets = samples.targets()
        keys = [("unconditional", batch.target[int(s)]) for s in samples.first]
        of_targets = fit_halves(
            targets,
            keys,
            n_unconditional,
            logsnr_max[samples.first],
            lambda p: Goal(p.unconditional, p.w, torch.ones_like(p.w)),
            cfg,
        )
        streams = Streams(cfg.seed, [("gain", *key) for key in keys], samples.x.device)
        on = _unconditional_counts(of_targets, targets, streams, cfg.snr.n_draws)[samples.target]
        unconditional = of_targets.select(samples.target)

    def residual(p: Points) -> Goal:
        rest = p.w - p.f_linear
        if unconditional is not None:
            with torch.no_grad():  # only g is learned per pair
                own = unconditional.each_its_own(p.unconditional)
            rest = rest - own @ samples.rotation * on[:, None, None]
        return Goal(p.conditional, rest, p.scale)

    pairs = [("residual", t, s) for t, s in zip(batch.target, batch.source, strict=True)]
    fitted = fit_halves(samples, pairs, n_conditional, logsnr_max, residual, cfg)
    return Fitted(samples, fitted, unconditional, on)


def _unconditional_counts(
    fitted: Halves, targets: Samples, streams: Streams, n_draws: int
) -> torch.Tensor:
    """(T,) true where f_u by itself closes a gap, 1/2 Int E[2 w.f_u' - f_u1.f_u2] du."""
    gain = torch.zeros(targets.x.shape[:2], device=targets.x.device)
    for draw in targets.integral(fitted.sampler, streams, n_draws):
        p = targets.points(draw.sample, draw.u, draw.eps)
        f_u = fitted(p.unconditional)
        f_held = held_out(f_u, targets.half[draw.sample])
        value = (2 * p.w * f_held - f_u[:, 0] * f_u[:, 1]).sum(-1)
        gain.scatter_add_(1, draw.sample, draw.weight * value)
    return _counts(targets, gain)


def _counts(samples: Samples, contribution: torch.Tensor) -> torch.Tensor:
    """(S, N) per sample -> (S,) true where its mean is clearly above 0."""
    mean = samples.mean_over(contribution)
    variance = samples.mean_over((contribution - mean[:, None].float()) ** 2)
    return mean > _EVIDENCE * (variance / samples.n).sqrt()


def integrate(
    fitted: Fitted, batch: Directions, c: gaussian.Canonical, cfg: EstimatorConfig
) -> Estimates:
    """Integrate the gap of fitted denoisers over noise levels, sample by sample."""
    samples, sampler = fitted.samples, fitted.residual.sampler
    names = [("integrate", t, s) for t, s in zip(batch.target, batch.source, strict=True)]
    streams = Streams(cfg.seed, names, samples.x.device)
    sums = [torch.zeros(samples.x.shape[:2], device=samples.x.device) for _ in Terms._fields]
    for draw in samples.integral(sampler, streams, cfg.snr.n_draws):
        points = samples.points(draw.sample, draw.u, draw.eps)
        terms = fitted.terms(points, samples.half[draw.sample])
        for total, term in zip(sums, terms, strict=True):
            total.scatter_add_(1, draw.sample, draw.weight * term)
    per_sample = Terms(*sums)
    shared, direct, cross, orthogonal = (samples.mean_over(value) for value in per_sample)
    on = (_counts(samples, per_sample.cross) & (cross + direct > 0)).double()
    linear = gaussian.gaussian_mi(c, batch.n)
    learned = per_sample.shared + on[:, None] * per_sample.cross
    diverged = ~torch.isfinite(shared + direct + cross)
    return Estimates(
        mi=torch.where(diverged, torch.nan, linear + shared + on * cross),
        direct=linear + shared + on * direct,
        orthogonal=linear + on * orthogonal,
        influence=(gaussian.pointwise_mi(c) + learned) * batch.mask(),
        ess=sampler.effective_share(),
        # what overfitting costs the direct form; shrinkage and noise of the fits are less
        unsure=0.5 * on * (cross - direct).abs(),
    )


def cost(n_samples: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Projected cost of one pair: training (forward and backward) and the integral."""
    net = _resolved(cfg.network, dim_x, dim_y)
    width = net.width or 0
    n_inputs = 2 * dim_x + dim_y + 5
    n_weights = n_inputs * width + (net.n_layers - 1) * width**2 + width * dim_x
    steps = n_steps(net, n_samples, 0.5 * (dim_x + dim_y))
    n_points = 3 * steps * net.batch_size + n_samples * cfg.snr.n_draws
    # 2 directions x 2 halves x 2 operations a weight; vector targets train f_u as well
    flops = 8.0 * n_weights * n_points * (1 if dim_x == dim_y == 1 else 2)
    # activations of the 4 networks: kept for the backward pass, and of a piece of the integral
    units = net.batch_size * (4 * net.n_layers + 4) + 6 * PIECE
    peak_bytes = 4 * 4.0 * width * units + 2 * 128.0 * n_samples * (dim_x + dim_y)
    return Cost(flops=flops, peak_bytes=peak_bytes)
