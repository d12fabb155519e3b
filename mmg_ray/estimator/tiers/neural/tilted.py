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

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator import channel, snr
from mmg_ray.estimator.pairs.directions import halves
from mmg_ray.estimator.pairs.estimates import BothWays, Found
from mmg_ray.estimator.ranks.ranked_variable import Both
from mmg_ray.estimator.streams import Streams
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
)
from mmg_ray.estimator.tiers.neural.mlp import Stack, train
from mmg_ray.schema import Cost

NAME = "tilted"
# found on laws of `known_mi.populations` other than those that `benchmarks/populations.py` reports
_RANK = 2  # directions of the first part: a law that needs more has enough for the second
_RIDGE = 10.0  # in units of a statistic's variance: of many rare counts, directions are those of largest covariance
_LEAST_SPREAD = 1e-6  # of a direction: of labels there are fewer than of statistics
_WIDTH, _MOST_LAYERS = 32, 2
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
_PIECE = 4096  # noised samples that are evaluated at once


class _Tilt:
    """Two functions, one for each half: a linear one at each noise level, and a small network."""

    def __init__(self, n_inputs: int, n_outputs: int, streams: Streams, net: NetworkConfig) -> None:
        self._linear = Stack([3 * n_inputs, n_outputs], streams)
        hidden = [net.width or _WIDTH] * min(net.n_layers, _MOST_LAYERS)
        self._network = Stack([n_inputs + 3, *hidden, n_outputs], streams)

    @property
    def parameters(self) -> list[torch.Tensor]:
        return self._linear.parameters + self._network.parameters

    def __call__(self, inputs: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """(2, B, n_inputs) and (2, B, 3) -> (2, B, n_outputs)."""
        by_level = torch.cat([inputs, inputs * at[..., 1:2], inputs * at[..., 2:3]], -1)
        found: torch.Tensor = self._linear(by_level)
        return found + self._network(torch.cat([inputs, at], -1))


Theta = Callable[[Noised, torch.Tensor], torch.Tensor]  # of points (2, B) and samples (2, B)


class _Direction(NamedTuple):
    """A target, its samples' halves, and what draws the random numbers.

    Attributes:
        half: (N,). members: (2, H) samples of each half.
    """

    of: Coordinates
    half: torch.Tensor
    members: torch.Tensor
    cfg: EstimatorConfig

    @property
    def n(self) -> int:
        return len(self.half)


class _Gain(NamedTuple):
    """What a part contributes, (N,) per sample, and the effective share of its draws."""

    cross: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    ess: float


def estimate(pairs: Sequence[Both], cfg: EstimatorConfig, device: str) -> BothWays:
    """MI of pairs of variables over the same samples, at least one of which is a group with ties."""
    made: dict[str, _Direction] = {}
    own: dict[str, Theta] = {}
    ways: tuple[list[Found], list[Found]] = ([], [])
    for pair in pairs:
        for side in pair:
            if side.key not in made:
                made[side.key] = _direction(coordinates(side, device), cfg)
                own[side.key] = _unconditional(made[side.key], side.key)
        # x given y: the first denoised, the second known
        for found, (target, source) in zip(ways, (pair, pair[::-1]), strict=True):
            names = target.key, source.key
            found.append(_one(made[target.key], made[source.key].of, own[target.key], names))
    return BothWays(*(Found(*map(np.array, zip(*found, strict=True))) for found in ways))


def _direction(of: Coordinates, cfg: EstimatorConfig) -> _Direction:
    n, device = len(of.t), of.t.device
    half = halves(cfg.seed, n, device)
    size = int(min((half == 0).sum(), (half == 1).sum()))
    members = torch.stack([(half == h).nonzero().flatten()[:size] for h in (0, 1)])
    return _Direction(of, half, members, cfg)


def _unconditional(d: _Direction, key: str) -> Theta:
    dim = d.of.features.shape[1]
    if d.of.t.shape[1] == 1:  # alone it is normal, and its level has the odds of the noise
        return lambda p, _samples: torch.zeros_like(p.seen)
    tilt = _Tilt(dim, dim, _weights(d, "unconditional", key), d.cfg.network)

    def theta(p: Noised, _samples: torch.Tensor) -> torch.Tensor:
        return tilt(p.seen, p.at)

    _fit(d, tilt, theta, "unconditional", key)
    return theta


def _one(d: _Direction, y: Coordinates, own: Theta, key: tuple[str, str]) -> Found:
    """One direction: its estimate and standard error."""
    of_x, of_y = _canonical(d, y)
    rank, dim = of_x.shape[-1], d.of.features.shape[1]
    few = _Tilt(2 * rank, rank, _weights(d, "few", *key), d.cfg.network)
    every = _Tilt(dim + y.features.shape[1], dim, _weights(d, "every", *key), d.cfg.network)

    def by_few(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([p.seen @ of_x, y.features[samples] @ of_y], -1)
        return few(inputs, p.at) @ of_x.mT

    def by_every(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        return every(torch.cat([p.seen, y.features[samples]], -1), p.at)

    mi = direct = orthogonal = fit_error = 0.0
    influence, ess = torch.zeros(d.n, dtype=torch.float64, device=d.half.device), 1.0
    before = own
    for name, tilt, part in (("few", few, by_few), ("every", every, by_every)):
        now = _sum(before, part)
        _fit(d, tilt, now, name, *key)
        gain = _gain(d, before, now, (name, *key))
        cross, gap, distance = (float(v.mean()) for v in gain[:3])
        se = float(gain.cross.std()) / d.n**0.5
        if not np.isfinite(cross + gap + distance):
            mi = np.nan
            break
        on = cross > (_EVIDENCE if before is own else _EVIDENCE_OF_MORE) * se
        if on:
            mi, direct, orthogonal = mi + cross, direct + gap, orthogonal + distance
            fit_error += 0.5 * abs(cross - 0.5 * (gap + distance))
            before = now
        # what has not been found may still be there: by as much as it scatters
        if on or name == "few":
            influence, ess = influence + gain.cross, gain.ess
    scatter = float(influence.std()) / d.n**0.5
    se = np.hypot(scatter, fit_error)
    return Found(*(np.array(v) for v in (mi, se, direct, orthogonal, ess)))


def _sum(before: Theta, part: Theta) -> Theta:
    def theta(p: Noised, samples: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # what has been fitted before stays as it is
            base = before(p, samples)
        return base + part(p, samples)

    return theta


def _canonical(d: _Direction, y: Coordinates) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, F_x, R) and (2, F_y, R): canonical directions of both sides' statistics, by either half, with a ridge."""
    rank = min(_RANK, d.of.features.shape[1], y.features.shape[1])
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for members in d.members:
        a, b = d.of.features[members].double(), y.features[members].double()
        root_a, root_b = (
            torch.linalg.cholesky(
                v.mT @ v / len(v) + _RIDGE * torch.eye(v.shape[1], device=v.device)
            )
            for v in (a, b)
        )
        white = torch.linalg.solve_triangular(root_a, a.mT @ b / len(a), upper=False)
        white = torch.linalg.solve_triangular(root_b, white.mT, upper=False).mT
        left, _, right = torch.linalg.svd(white, full_matrices=False)
        ways = (
            (a, torch.linalg.solve_triangular(root_a.mT, left[:, :rank], upper=True)),
            (b, torch.linalg.solve_triangular(root_b.mT, right[:rank].mT, upper=True)),
        )
        found.append(
            tuple((way / (v @ way).std(0).clamp(min=_LEAST_SPREAD)).float() for v, way in ways)
        )
    of_x, of_y = zip(*found, strict=True)
    return torch.stack(of_x), torch.stack(of_y)


def _weights(d: _Direction, *name: str) -> Streams:
    keys = [("weights", NAME, *name, half) for half in (0, 1)]
    return Streams(d.cfg.seed, keys, d.half.device)


def _steps(n: int) -> int:
    return int(min(_MOST_STEPS, max(_STEPS, _STEPS * n / _SAMPLES)))


def _fit(d: _Direction, tilt: _Tilt, theta: Theta, *name: str) -> None:
    """Fit both halves' functions by the likelihood of the levels; noise levels are uniform in logsnr."""
    decay = _WEIGHT_DECAY * min(1.0, _DECAY_SAMPLES / d.n)
    if name[0] == "unconditional":
        decay = _OWN_DECAY
    net = replace(
        d.cfg.network,
        n_steps=min(d.cfg.network.n_steps, _steps(d.n)) * _LONGER.get(name[0], 1),
        learning_rate=_LEARNING_RATE * d.cfg.network.learning_rate,
        weight_decay=decay * d.cfg.network.weight_decay,
    )
    streams = Streams(d.cfg.seed, [("train", NAME, *name)], d.half.device)
    levels = snr.SAMPLERS["uniform"](_top(d), d.cfg.snr)

    def loss(_step: int) -> torch.Tensor:
        index, p = _batch(d, levels, streams, net.batch_size)
        return log_loss(d.of, p, d.of.level[index], theta(p, index)).mean(1).sum()

    train(tilt, loss, net)


def _top(d: _Direction) -> torch.Tensor:
    return torch.full((1,), d.cfg.snr.logsnr_max, device=d.half.device)


def _batch(
    d: _Direction, sampler: snr.Sampler, streams: Streams, size: int
) -> tuple[torch.Tensor, Noised]:
    """Some samples of each half (2, B), with noise."""
    uniform = streams.uniform(2, 2, size)[0]
    normal = streams.normal(2, size, d.of.t.shape[1])[0]
    place = (uniform[0] * d.members.shape[1]).long().clamp(max=d.members.shape[1] - 1)
    index = d.members.gather(1, place)
    u, _ = sampler.draw(snr.stratified(uniform[1]).reshape(1, -1))
    return index, noised(d.of, index, u.reshape(2, size), normal)


@torch.no_grad()
def _gain(d: _Direction, before: Theta, now: Theta, name: tuple[str, ...]) -> _Gain:
    """What going from one theta to the next contributes, integrated over noise levels sample by sample."""
    streams = Streams(d.cfg.seed, [("integrate", NAME, *name)], d.half.device)
    sampler = snr.SAMPLERS[d.cfg.snr.sampler](_top(d), d.cfg.snr)
    sampler_of_looks = snr.SAMPLERS["uniform"](_top(d), d.cfg.snr)
    for _ in range(_LOOKS):
        uniform = streams.uniform(2, d.cfg.network.batch_size)[0]
        index = (uniform[0] * d.n).long().clamp(max=d.n - 1)
        u, _ = sampler_of_looks.draw(snr.stratified(uniform[1])[None])
        eps = streams.normal(len(index), d.of.t.shape[1])[0]
        _, gap, _ = _terms(d, before, now, index, u[0], eps)
        sampler.observe(u, gap[None])
    totals = torch.zeros(3, d.n, dtype=torch.float64, device=d.half.device)
    n_draws = d.cfg.snr.n_draws
    per_piece = max(1, _PIECE // n_draws)
    for start in range(0, d.n, per_piece):
        number = torch.arange(start, min(start + per_piece, d.n), device=d.half.device)
        # whole pieces are drawn, so that a sample's draws do not depend on how many follow it
        v = snr.stratified(streams.uniform(per_piece, n_draws)[:, : len(number)]).flatten(1)
        eps = streams.normal(per_piece, n_draws, d.of.t.shape[1])[0, : len(number)].flatten(0, 1)
        u, weight = sampler.draw(v)
        tail = snr.tail_weight(channel.level(u).logsnr, sampler.logsnr_max, _TAIL)
        weight = 0.5 / n_draws * weight * tail
        index = number.repeat_interleave(n_draws)
        for total, term in zip(totals, _terms(d, before, now, index, u[0], eps), strict=True):
            total.index_add_(0, index, (weight[0] * term).double())
    cross, direct, orthogonal = totals
    return _Gain(cross, direct, orthogonal, float(sampler.effective_share()[0]))


def _terms(
    d: _Direction,
    before: Theta,
    now: Theta,
    index: torch.Tensor,
    u: torch.Tensor,
    eps: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(M,) integrands: cross-product, held-out gap, squared distance."""
    one = noised(d.of, index, u, eps)
    p = Noised(*(v[None].expand(2, *v.shape) for v in one))
    both = index.expand(2, -1)
    base = predicted(d.of, p, before(p, both))
    g = predicted(d.of, p, now(p, both)) - base
    # a stack of one direction
    found = contribution(one.w[None], base[None], g[None], d.half[index][None])
    return found.cross[0], found.direct[0], found.g_held[0].square().sum(-1)


def cost(n_samples: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Projected cost of one pair: three fits and two integrals of either direction."""
    n_points = 2 * (
        6 * _steps(n_samples) * cfg.network.batch_size + 2 * n_samples * cfg.snr.n_draws
    )
    of_network = N_STATISTICS * (dim_x + dim_y) * (_WIDTH + N_STATISTICS * 3 * max(dim_x, dim_y))
    of_levels = 60 * MOST_LEVELS * (dim_x + dim_y)
    return Cost(
        flops=4.0 * n_points * (of_network + of_levels),
        peak_bytes=4.0 * 2 * _PIECE * (dim_x + dim_y) * 8 * MOST_LEVELS
        + 200.0 * n_samples * (dim_x + dim_y),
    )
