"""What noise leaves to know of a coordinate that has few levels: in closed form, but for the odds of its levels.

A tied coordinate is denoised as if its ties were broken at random: t ~ N(0, 1), and level k is t between two cuts. With
z = alpha t + sigma eps, t given z is N(alpha z, sigma^2), and so

    A_k = P(k | z) = Phi(b_k) - Phi(a_k),      a_k, b_k = (cuts of k - alpha z) / sigma,
    A_k E[t | k, z] = alpha z A_k + sigma (phi(a_k) - phi(b_k)).

Given its level, t tells of nothing else. So whatever else is known, the other coordinates or a source, only multiplies
the odds of the levels, by exp(theta . s_k) with s a few statistics of the level (an exponential tilt):

    E[t | z, all] = sum_k A_k e^(theta . s_k) E[t | k, z] / sum_k A_k e^(theta . s_k).

theta is all there is to learn, and a linear function of the other coordinates' statistics is exact to first order
where cells that are independent given latent variables share them weakly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri

from mmg_ray.estimator import channel
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.levels import Levels, levels
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.estimator.tiers.neural.samples import taken

N_STATISTICS = 2
MOST_LEVELS = 16
_LEAST = 20  # samples of a level: statistics of a rarer one would be learned from a few
_OUTERMOST = 12.0  # a cut beyond all scores
_LARGEST = 5.0  # |theta . s|: keeps a diverging network finite
_LEAST_SHARE = 1e-12  # of a level beyond all reach
_LEAST_SQUARE = 1e-3  # of a statistic that the ones before it leave


@dataclass(frozen=True)
class Coordinates:
    """A group of D coordinates over N samples, each of at most K levels; S groups of one shape have S in front of all, see `stacked`.

    Attributes:
        t: (N, D) normal scores, ties broken at random. level: (N, D) int64.
        cuts: (D, K + 1) between the levels. statistics: (D, K, R) mean 0 and orthonormal in the coordinate's own law,
            the first rising with the level, 0 where there are fewer.
        features: (N, D R) statistics of the samples.
    """

    t: torch.Tensor
    level: torch.Tensor
    cuts: torch.Tensor
    statistics: torch.Tensor
    features: torch.Tensor


def coordinates(of: RankedVariable, device: str) -> Coordinates:
    """The coordinates of a group as few levels."""
    coded = [_merged(codes) for codes in of.codes.T]
    most = max(len(c.size) for c in coded)
    n, dim = of.codes.shape
    cuts = np.full((dim, most + 1), _OUTERMOST)
    statistics = np.zeros((dim, most, N_STATISTICS))
    t, features = np.empty((n, dim)), np.empty((n, dim, N_STATISTICS))
    for d, c in enumerate(coded):
        cuts[d, 0] = -_OUTERMOST
        cuts[d, 1 : len(c.size)] = ndtri(c.edges[1:-1] / n)
        statistics[d, : len(c.size)] = _statistics(c)
        t[:, d] = marginals.rank_scores(marginals.randomised_ranks(c.level, of.random("levels", d)))
        features[:, d] = statistics[d][c.level]

    def real(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).float().to(device)

    return Coordinates(
        t=real(t),
        level=torch.from_numpy(np.stack([c.level for c in coded], axis=1)).long().to(device),
        cuts=real(cuts),
        statistics=real(statistics),
        features=real(features.reshape(n, -1)),
    )


def stacked(groups: Sequence[Coordinates]) -> Coordinates:
    """Groups of the same samples and dimension with S in front; to fewer levels come empty ones above all scores."""
    most = max(of.cuts.shape[1] for of in groups)

    def padded(of: Coordinates) -> Coordinates:
        lacks = most - of.cuts.shape[1]
        return replace(
            of,
            cuts=torch.nn.functional.pad(of.cuts, (0, lacks), value=_OUTERMOST),
            statistics=torch.nn.functional.pad(of.statistics, (0, 0, 0, lacks)),
        )

    all_of = [padded(of) for of in groups]
    return Coordinates(
        *(torch.stack([getattr(of, f.name) for of in all_of]) for f in fields(Coordinates))
    )


def _beside(values: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(S, D, ...) -> (S, 1, .., D, ...): one for all points (S, ..., D) of a group."""
    return values[(slice(None), *[None] * (points.dim() - 2))]


def _merged(codes: np.ndarray) -> Levels:
    """Levels of (N,) codes, every one of some samples: what is rarer joins the smaller of its neighbours."""
    level, size = levels(codes)
    place = np.arange(len(size))
    least = min(_LEAST, len(codes) // 4)
    while len(size) > 2 and (size.min() < least or len(size) > MOST_LEVELS):
        k = int(size.argmin())
        beside = [j for j in (k - 1, k + 1) if 0 <= j < len(size)]
        low = min(k, min(beside, key=lambda j: size[j]))
        size[low] += size[low + 1]
        size = np.delete(size, low + 1)
        place -= place > low
    return Levels(place[level].astype(np.uint8), size)


def _statistics(of: Levels) -> np.ndarray:
    """(L, R) of each level: its score, whether it is the commonest, and the square of its score."""
    size, score = of.size, of.middle_scores
    share = size / of.n
    commonest = (np.arange(len(size)) == size.argmax()).astype(float)
    found = np.zeros((len(size), N_STATISTICS))
    kept = [np.ones(len(size))]
    for candidate in (score, commonest, score**2):
        rest = candidate
        for earlier in kept:
            rest = rest - earlier * (share * earlier * rest).sum()
        square = (share * rest**2).sum()
        if square > _LEAST_SQUARE and len(kept) <= N_STATISTICS:
            kept.append(rest / np.sqrt(square))
    for r, statistic in enumerate(kept[1:]):
        found[:, r] = statistic
    return found


class Noised(NamedTuple):
    """Samples of S groups with noise, any shape between that and the last axes.

    Attributes:
        w: (..., D) what is to be predicted, see `channel`. mean: (..., D) alpha z. sigma: (..., 1).
        cut: (..., D, K + 1) a_k, and the last b_k. share: (..., D, K) A_k. seen: (..., D R) E[s | z], coordinate by coordinate.
        at: (..., 3) the noise level as networks see it.
    """

    w: torch.Tensor
    mean: torch.Tensor
    sigma: torch.Tensor
    cut: torch.Tensor
    share: torch.Tensor
    seen: torch.Tensor
    at: torch.Tensor


def noised(of: Coordinates, index: torch.Tensor, u: torch.Tensor, eps: torch.Tensor) -> Noised:
    """Samples `index` (S, ...) of S groups at levels `u` (S, ...) with `eps` (S, ..., D)."""
    t, at = taken(of.t, index), channel.level(u[..., None])
    mean = at.alpha * channel.noised(t, eps, at)
    cut = (_beside(of.cuts, mean) - mean[..., None]) / at.sigma[..., None]
    share = torch.special.ndtr(cut).diff(dim=-1).clamp(min=_LEAST_SHARE)
    seen = (share[..., None] * _beside(of.statistics, mean)).sum(-2) / share.sum(-1)[..., None]
    return Noised(
        w=channel.innovation(t, eps, at),
        mean=mean,
        sigma=at.sigma,
        cut=cut,
        share=share,
        seen=seen.flatten(-2),
        at=torch.cat([at.logsnr.clamp(-6, 20) / 5, at.alpha, at.sigma], -1),
    )


def log_odds(of: Coordinates, theta: torch.Tensor) -> torch.Tensor:
    """(S, ..., D R) -> (S, ..., D, K) theta . s_k."""
    split = theta.unflatten(-1, (-1, N_STATISTICS))
    statistics = _beside(of.statistics, split[..., 0])
    found = split[..., :1] * statistics[..., 0]
    for r in range(1, N_STATISTICS):
        found = found + split[..., r : r + 1] * statistics[..., r]
    return found.clamp(-_LARGEST, _LARGEST)


def predicted(of: Coordinates, p: Noised, theta: torch.Tensor) -> torch.Tensor:
    """(S, ..., D) prediction of w."""
    tilt = log_odds(of, theta).exp()
    density = torch.exp(-0.5 * p.cut**2) * (2 * torch.pi) ** -0.5
    # of E[t | z] - alpha z over sigma, the prediction of -w
    return (density.diff(dim=-1) * tilt).sum(-1) / (p.share * tilt).sum(-1)


def log_loss(of: Coordinates, p: Noised, level: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """(S, ...) minus the log likelihood of the levels (S, ..., D), which the true odds make least at every noise level."""
    score = log_odds(of, theta) + p.share.log()
    own = score.gather(-1, level[..., None])[..., 0]
    return (score.logsumexp(-1) - own).sum(-1)
