"""Groups of coordinates with ties, counts above all: a denoiser that learns the odds of their levels.

In random ranks most of what a count says is noise, which a network has to see through; here it is taken out in closed form
(`level_posterior`) and theta, by which the odds of levels are tilted, is a sum of parts,

    unconditional   theta_u(z)                               learned once per target
    conditional     theta_u(z) + h_1(z, y) + h_2(z, y)

h_1 of a few canonical directions of both sides' statistics, h_2 of all coordinates; each is a linear function of them
and a small network. Parts are fitted one after the other by the likelihood of the levels, on both halves of the samples. What a
part adds to the prediction of w is g, and it contributes the cross-product estimate of `denoiser`, with f the parts before it:

    1/2 Int E[ 2 w.g' - g1.g2 - f1.g2 - g1.f2 ] du.

A part counts where this is clearly above 0. Overfitting lowers the held-out gap by as much as it raises the squared distance,
so that their mean differs from the estimate only by what the fit has missed; half of that is the fit's part of the standard error. A
squared distance below the gap says that it has missed much, as of counts that nearly copy others. Those, strong pairs, and pairs of which a linear
denoiser of random ranks shows more, are tried again by `denoiser`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import channel, snr
from mmg_ray.estimator.pairs.estimates import BothWays, Found
from mmg_ray.estimator.ranks.ranked_variable import Both
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers.neural.canonical import canonical
from mmg_ray.estimator.tiers.neural.halves import contribution
from mmg_ray.estimator.tiers.neural.level_posterior import (
    MOST_LEVELS,
    N_STATISTICS,
    Coordinates,
    Noised,
    coordinates,
    log_loss,
    noised,
    predicted,
    stacked,
)
from mmg_ray.estimator.tiers.neural.mlp import train
from mmg_ray.estimator.tiers.neural.samples import taken
from mmg_ray.estimator.tiers.neural.tilt import WIDTH, Targets, Theta, Tilt, sum_of, theta_of
from mmg_ray.schema import Cost

NAME = "tilted"
_STEPS, _SAMPLES, _MOST_STEPS = 300, 4000, 1000  # in proportion above so many samples
_LONGER = {"unconditional": 3, "few": 2}  # what it has missed a conditional part would find
# times what `estimator.network` has for networks of normal scores
_LEARNING_RATE, _WEIGHT_DECAY = 0.3, 50.0
_DECAY_SAMPLES = 2000  # of more samples the decay is less, in proportion
# the same of the unconditional part: what it shrinks the others find again and take for dependence
_OWN_DECAY = 5.0
_EVIDENCE = 2.0  # standard errors above 0 that a part's contribution needs to count
_EVIDENCE_OF_MORE = 1.0  # the same beside a part that counts
_TAIL = 0.5  # next to a cut the gap falls as sigma
_LOOKS = 8  # batches by which the sampler learns where a part matters
_PIECE = 4096  # noised samples of a direction that are evaluated at once
_AT_ONCE = {"cpu": 1, "cuda": 96}  # directions: what fits the cache, or keeps a GPU busy in some GB


Names = Sequence[tuple[str, ...]]  # that key the random streams of S directions


class _Gain(NamedTuple):
    """What a part contributes, (S, N) per sample, and the effective share of its draws, (S,)."""

    cross: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    ess: torch.Tensor


def estimate(pairs: Sequence[Both], cfg: EstimatorConfig, device: str) -> BothWays:
    """MI of pairs of variables over the same samples, at least one of which is a group with ties."""
    groups = {side.key: coordinates(side, device) for pair in pairs for side in pair}
    own = _unconditionals(groups, cfg, device)
    # x given y: the first denoised, the second known
    ways = [(a.key, b.key) for a, b in pairs] + [(b.key, a.key) for a, b in pairs]
    found = np.empty((len(Found._fields), len(ways)))
    shapes = [(*groups[x].t.shape, groups[y].t.shape[1]) for x, y in ways]
    for rows in _batches(shapes, device):
        names = [ways[row] for row in rows]
        targets = Targets.of_groups([groups[x] for x, _ in names], cfg)
        of_sources = stacked([groups[y] for _, y in names])
        tilts = [own[x] for x, _ in names if x in own]
        unconditional = theta_of(Tilt.joined(tilts) if tilts else None)
        found[:, rows] = _directions(targets, of_sources, unconditional, names)
    both = found.reshape(len(Found._fields), 2, -1)
    return BothWays(Found(*both[:, 0]), Found(*both[:, 1]))


def _batches(shapes: Sequence[Hashable], device: str) -> Iterator[list[int]]:
    """Positions of one shape, as many as a device takes at once."""
    by_shape: dict[Hashable, list[int]] = defaultdict(list)
    for position, shape in enumerate(shapes):
        by_shape[shape].append(position)
    size = _AT_ONCE[device.partition(":")[0]]
    for positions in by_shape.values():
        for start in range(0, len(positions), size):
            yield positions[start : start + size]


def _unconditionals(
    groups: Mapping[str, Coordinates], cfg: EstimatorConfig, device: str
) -> dict[str, Tilt]:
    """Of each group the tilt without a source; none of a scalar, which is normal: its level has the odds of the noise."""
    found: dict[str, Tilt] = {}
    keys = [key for key, of in groups.items() if of.t.shape[1] > 1]
    for rows in _batches([groups[key].t.shape for key in keys], device):
        names = [(keys[row],) for row in rows]
        targets = Targets.of_groups([groups[key] for (key,) in names], cfg)
        n_features = targets.of.features.shape[-1]
        weights = _weights(targets, "unconditional", names)
        tilt = Tilt(n_features, n_features, weights, cfg.network)
        _fit(targets, tilt, theta_of(tilt), "unconditional", names)
        found |= {key: tilt.select([k]) for k, (key,) in enumerate(names)}
    return found


def _directions(d: Targets, y: Coordinates, own: Theta, names: Names) -> np.ndarray:
    """Estimates of S directions, (fields of `Found`, S)."""
    of_x, of_y = canonical(d, y)
    rank, n_x, n_y = of_x.shape[-1], d.of.features.shape[-1], y.features.shape[-1]
    few = Tilt(2 * rank, rank, _weights(d, "few", names), d.cfg.network)
    every = Tilt(n_x + n_y, n_x, _weights(d, "every", names), d.cfg.network)

    def by_few(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([p.seen @ of_x, taken(y.features, samples) @ of_y], -1)
        return few(inputs, p.at) @ of_x.mT

    def by_every(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        return every(torch.cat([p.seen, taken(y.features, samples)], -1), p.at)

    mi = torch.zeros(d.shape[0], dtype=torch.float64, device=d.half.device)
    direct, orthogonal, fit_error = (torch.zeros_like(mi) for _ in range(3))
    influence, ess = mi.new_zeros(d.shape[0], d.n), torch.ones_like(mi)
    before, known = own, torch.zeros_like(mi, dtype=torch.bool)
    for name, tilt, part in (("few", few, by_few), ("every", every, by_every)):
        now = sum_of(before, part)
        _fit(d, tilt, now, name, names)
        gain = _gain(d, before, now, name, names)
        cross, gap, distance = (v.mean(-1) for v in gain[:3])
        se = gain.cross.std(-1) / d.n**0.5
        on = cross > torch.where(known, _EVIDENCE_OF_MORE, _EVIDENCE) * se
        mi += torch.where(on, cross, 0.0)
        direct += torch.where(on, gap, 0.0)
        orthogonal += torch.where(on, distance, 0.0)
        fit_error += torch.where(on, 0.5 * (cross - 0.5 * (gap + distance)).abs(), 0.0)
        mi[~torch.isfinite(cross + gap + distance)] = torch.nan
        # what has not been found may still be there: by as much as it scatters
        counts = on | (name == "few")
        influence += torch.where(counts[:, None], gain.cross, 0.0)
        ess = torch.where(counts, gain.ess.double(), ess)
        known |= on
        before = sum_of(before, part, on)
    scatter = influence.std(-1) / d.n**0.5
    fields = mi, torch.hypot(scatter, fit_error), direct, orthogonal, ess
    return torch.stack(fields).cpu().numpy()


def _weights(d: Targets, part: str, names: Names) -> Streams:
    keys = [("weights", NAME, part, *name, half) for name in names for half in (0, 1)]
    return Streams(d.cfg.seed, keys, d.half.device)


def _steps(n: int) -> int:
    return int(min(_MOST_STEPS, max(_STEPS, _STEPS * n / _SAMPLES)))


def _fit(d: Targets, tilt: Tilt, theta: Theta, part: str, names: Names) -> None:
    """Fit both halves' functions by the likelihood of the levels; noise levels are uniform in logsnr."""
    decay = _WEIGHT_DECAY * min(1.0, _DECAY_SAMPLES / d.n)
    if part == "unconditional":
        decay = _OWN_DECAY
    net = replace(
        d.cfg.network,
        n_steps=min(d.cfg.network.n_steps, _steps(d.n)) * _LONGER.get(part, 1),
        learning_rate=_LEARNING_RATE * d.cfg.network.learning_rate,
        weight_decay=decay * d.cfg.network.weight_decay,
    )
    streams = Streams(d.cfg.seed, [("train", NAME, part, *name) for name in names], d.half.device)
    levels = snr.SAMPLERS["uniform"](_top(d), d.cfg.snr)

    def loss(_step: int) -> torch.Tensor:
        index, p = _batch(d, levels, streams, net.batch_size)
        return log_loss(d.of, p, taken(d.of.level, index), theta(p, index)).mean(-1).sum()

    train(tilt, loss, net)


def _top(d: Targets) -> torch.Tensor:
    return torch.full((d.shape[0],), d.cfg.snr.logsnr_max, device=d.half.device)


def _batch(
    d: Targets, sampler: snr.Sampler, streams: Streams, size: int
) -> tuple[torch.Tensor, Noised]:
    """Some samples of each half (S, 2, B), with noise."""
    uniform = streams.uniform(2, 2, size)
    normal = streams.normal(2, size, d.shape[1])
    place = (uniform[:, 0] * d.members.shape[1]).long().clamp(max=d.members.shape[1] - 1)
    index = d.members.expand(len(place), -1, -1).gather(2, place)
    u, _ = sampler.draw(snr.stratified(uniform[:, 1]).flatten(1))
    return index, noised(d.of, index, u.unflatten(1, (2, size)), normal)


@torch.no_grad()
def _gain(d: Targets, before: Theta, now: Theta, part: str, names: Names) -> _Gain:
    """What going from one theta to the next contributes, integrated over noise levels sample by sample."""
    streams = Streams(
        d.cfg.seed, [("integrate", NAME, part, *name) for name in names], d.half.device
    )
    sampler = snr.SAMPLERS[d.cfg.snr.sampler](_top(d), d.cfg.snr)
    sampler_of_looks = snr.SAMPLERS["uniform"](_top(d), d.cfg.snr)
    for _ in range(_LOOKS):
        uniform = streams.uniform(2, d.cfg.network.batch_size)
        index = (uniform[:, 0] * d.n).long().clamp(max=d.n - 1)
        u, _ = sampler_of_looks.draw(snr.stratified(uniform[:, 1]))
        eps = streams.normal(index.shape[1], d.shape[1])
        _, gap, _ = _terms(d, before, now, index, u, eps)
        sampler.observe(u, gap)
    totals = torch.zeros(3, d.shape[0], d.n, dtype=torch.float64, device=d.half.device)
    n_draws = d.cfg.snr.n_draws
    per_piece = max(1, _PIECE // n_draws)
    for start in range(0, d.n, per_piece):
        number = torch.arange(start, min(start + per_piece, d.n), device=d.half.device)
        # whole pieces are drawn, so that a sample's draws do not depend on how many follow it
        v = snr.stratified(streams.uniform(per_piece, n_draws)[:, : len(number)]).flatten(1)
        eps = streams.normal(per_piece, n_draws, d.shape[1])[:, : len(number)].flatten(1, 2)
        u, weight = sampler.draw(v)
        tail = snr.tail_weight(channel.level(u).logsnr, sampler.logsnr_max, _TAIL)
        weight = 0.5 / n_draws * weight * tail
        index = number.repeat_interleave(n_draws).expand(len(u), -1)
        for total, term in zip(totals, _terms(d, before, now, index, u, eps), strict=True):
            total.scatter_add_(1, index, (weight * term).double())
    cross, direct, orthogonal = totals
    return _Gain(cross, direct, orthogonal, sampler.effective_share())


def _terms(
    d: Targets,
    before: Theta,
    now: Theta,
    index: torch.Tensor,
    u: torch.Tensor,
    eps: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(S, M) integrands: cross-product, held-out gap, squared distance."""
    one = noised(d.of, index, u, eps)
    p = Noised(*(v[:, None].expand(-1, 2, *v.shape[1:]) for v in one))
    both = index[:, None].expand(-1, 2, -1)
    base = predicted(d.of, p, before(p, both))
    g = predicted(d.of, p, now(p, both)) - base
    found = contribution(one.w, base, g, d.half[index])
    return found.cross, found.direct, found.g_held.square().sum(-1)


def cost(n_samples: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Projected cost of one pair: three fits and two integrals of either direction."""
    n_points = 2 * (
        6 * _steps(n_samples) * cfg.network.batch_size + 2 * n_samples * cfg.snr.n_draws
    )
    of_network = N_STATISTICS * (dim_x + dim_y) * (WIDTH + N_STATISTICS * 3 * max(dim_x, dim_y))
    of_levels = 60 * MOST_LEVELS * (dim_x + dim_y)
    return Cost(
        flops=4.0 * n_points * (of_network + of_levels),
        peak_bytes=4.0 * 2 * _PIECE * (dim_x + dim_y) * 8 * MOST_LEVELS
        + 200.0 * n_samples * (dim_x + dim_y),
    )
