"""The samples of a stack of directions, ready to be noised: coordinates, halves and draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from mmg_ray.estimator import channel, snr
from mmg_ray.estimator.pairs.directions import Directions, halves
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers import gaussian

PIECE = 2048  # noised samples per direction that are evaluated at once


class Points(NamedTuple):
    """Noised samples of S directions, M each, in canonical coordinates.

    What predicts takes them with a place for both fits, (S, 2, M, ...): `for_both`, `split`.
    """

    w: torch.Tensor  # (S, M, Dx) what is to be predicted
    f_linear: torch.Tensor  # (S, M, Dx) the linear denoiser's prediction of it
    z: torch.Tensor  # (S, M, Dx)
    y: torch.Tensor  # (S, M, Dy)
    innovation: torch.Tensor  # (S, M, Dx) z less its mean given y, white for Gaussian data
    scale: torch.Tensor  # (S, M, Dx) standard deviation of w - f_linear for Gaussian data
    ratio: torch.Tensor  # (S, M, Dx) signal over noise given y, as standard deviations
    own_ratio: torch.Tensor  # (S, M, 1) the same without y
    level: torch.Tensor  # (S, M, 3) the noise level as networks see it

    def for_both(self) -> Points:
        """Every point for both fits, (S, 2, M, ...)."""
        return Points(*(v[:, None].expand(-1, 2, -1, -1) for v in self))

    def split(self) -> Points:
        """The first half of the points for fit 0, the others for fit 1, (S, 2, M / 2, ...)."""
        return Points(*(v.unflatten(1, (2, -1)) for v in self))


@dataclass(frozen=True)
class Samples:
    """S directions in canonical coordinates, float32, and their two halves.

    Attributes:
        x, y: (S, N, D) canonical coordinates. mean, var: of x given y, Gaussian model.
        rotation: (S, Dx, Dx) from the target's own white coordinates.
        n: (S,) samples present.
        half: (N,) 0 or 1, the same for every direction.
        members: (S, 2, H) sample numbers of each half. n_members: (S, 2) how many.
        target: (S,) number of the direction's target among the T distinct ones.
        first: (T,) a direction of each distinct target.
    """

    x: torch.Tensor
    y: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    rotation: torch.Tensor
    n: torch.Tensor
    half: torch.Tensor
    members: torch.Tensor
    n_members: torch.Tensor
    target: torch.Tensor
    first: torch.Tensor

    def points(self, index: torch.Tensor, u: torch.Tensor, eps: torch.Tensor) -> Points:
        """Noise samples `index` (S, M) at levels `u` (S, M) with `eps` (S, M, Dx)."""
        x, y, mean = (taken(values, index) for values in (self.x, self.y, self.mean))
        at = channel.level(u[..., None])
        z = channel.noised(x, eps, at)
        posterior_sd = (at.alpha**2 * self.var + at.sigma**2).sqrt()
        return Points(
            w=channel.innovation(x, eps, at),
            f_linear=gaussian.wiener(z, mean, self.var, at),
            z=z,
            y=y,
            innovation=(z - at.alpha * mean) / posterior_sd,
            scale=self.var.sqrt() / posterior_sd,
            ratio=at.alpha * self.var.sqrt() / at.sigma,
            own_ratio=at.alpha / at.sigma,
            level=torch.cat([at.logsnr.clamp(-6, 20) / 5, at.alpha, at.sigma], -1),
        )

    def targets(self) -> Samples:
        """The T distinct targets as directions without a source, in their own coordinates."""
        rotation = self.rotation[self.first]
        x = self.x[self.first] @ rotation.mT
        number = torch.arange(len(self.first), device=x.device)
        return Samples(
            x=x,
            y=torch.zeros_like(x),
            mean=torch.zeros_like(x),
            var=torch.ones_like(self.var[self.first]),
            rotation=torch.eye(x.shape[-1], device=x.device).expand_as(rotation),
            n=self.n[self.first],
            half=self.half,
            members=self.members[self.first],
            n_members=self.n_members[self.first],
            target=number,
            first=number,
        )

    def mean_over(self, per_sample: torch.Tensor) -> torch.Tensor:
        """(S, N) -> (S,) float64 mean over the samples present; the padding has noise too."""
        mask = torch.arange(per_sample.shape[1], device=self.n.device) < self.n[:, None]
        return torch.where(mask, per_sample, 0.0).double().sum(1) / self.n

    def integral(self, sampler: snr.Sampler, streams: Streams, n_draws: int) -> Iterator[Draw]:
        """Every sample at `n_draws` noise levels, in pieces.

        Levels are stratified within a sample, and so is each coordinate of eps (a Latin
        hypercube). All denoisers see the same draws: what they share cancels in their gap.
        """
        n_samples, dim = self.x.shape[1:]
        piece = max(1, PIECE // n_draws)
        for start in range(0, n_samples, piece):
            number = torch.arange(start, min(start + piece, n_samples), device=self.x.device)
            # whole pieces are drawn, so that a sample's draws do not depend on how many follow it
            take = len(number)
            v = snr.stratified(streams.uniform(piece, n_draws)[:, :take]).flatten(1)
            stratum = streams.uniform(piece, dim, n_draws)[:, :take].argsort(-1)
            within = streams.uniform(piece, dim, n_draws)[:, :take]
            eps = torch.special.ndtri(((stratum + within) / n_draws).clamp(1e-6, 1 - 1e-6))
            u, weight = sampler.draw(v)
            weight = weight * snr.tail_weight(channel.level(u).logsnr, sampler.logsnr_max)
            sample = number.repeat_interleave(n_draws).expand(len(u), -1)
            yield Draw(sample, u, eps.mT.flatten(1, 2), 0.5 * weight / n_draws)


class Draw(NamedTuple):
    """Noised samples of S directions: the sum over a sample of weight * integrand is its MI."""

    sample: torch.Tensor  # (S, M) its number
    u: torch.Tensor  # (S, M)
    eps: torch.Tensor  # (S, M, Dx)
    weight: torch.Tensor  # (S, M) du / (2 n_draws)


def prepare(batch: Directions, c: gaussian.Canonical, seed: int) -> Samples:
    """Canonical coordinates as float32, with the samples split into two halves."""
    n_max = batch.x.shape[1]
    mean, var = gaussian.moments(c)
    half = halves(seed, n_max, batch.x.device)
    present = batch.mask()[:, None] & (half == torch.arange(2, device=half.device)[:, None])
    n_members = present.sum(-1)
    distinct = sorted(set(batch.target))
    return Samples(
        x=c.x.float(),
        y=c.y.float(),
        mean=mean.float(),
        var=var.float(),
        rotation=c.rotation.float(),
        n=batch.n,
        half=half,
        members=torch.argsort(~present, dim=-1, stable=True)[..., : int(n_members.max())],
        n_members=n_members,
        target=torch.tensor([distinct.index(t) for t in batch.target], device=half.device),
        first=torch.tensor([batch.target.index(t) for t in distinct], device=half.device),
    )


def taken(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(S, N, D) at samples (S, ...) -> (S, ..., D)."""
    found = values.gather(1, index.flatten(1)[..., None].expand(-1, -1, values.shape[-1]))
    return found.unflatten(1, index.shape[1:])
