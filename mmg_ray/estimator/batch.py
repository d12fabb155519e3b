"""What a denoiser is given and what it returns: directions of one shape, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from mmg_ray.estimator.streams import numpy_stream


class Directions(NamedTuple):
    """S directions "x denoised given y" of equal dimensions, float64.

    Attributes:
        draws: (S, R, N, Dx) targets: normal scores of ranks whose ties are broken in R ways, 1
            without ties.
        y: (S, N, Dy) sources: mid-rank normal scores.
        n: (S,) int64 samples present; rows n[s]: of x[s] and y[s] are zero padding.
        target, source: names of the S targets and sources, the keys of their random streams.
    """

    draws: torch.Tensor
    y: torch.Tensor
    n: torch.Tensor
    target: tuple[str, ...]
    source: tuple[str, ...]

    @property
    def x(self) -> torch.Tensor:
        """(S, N, Dx) the first draw of the targets."""
        return self.draws[:, 0]

    def mask(self) -> torch.Tensor:
        """(S, N) true where a sample is present."""
        return torch.arange(self.y.shape[1], device=self.n.device) < self.n[:, None]

    def select(self, rows: list[int]) -> Directions:
        """The directions numbered `rows`, in that order."""
        return Directions(
            self.draws[rows],
            self.y[rows],
            self.n[rows],
            tuple(self.target[s] for s in rows),
            tuple(self.source[s] for s in rows),
        )

    def trimmed(self) -> Directions:
        """The same without padding that no direction needs."""
        longest = int(self.n.max())
        return self._replace(draws=self.draws[:, :, :longest], y=self.y[:, :longest])


class Estimates(NamedTuple):
    """What a denoiser says of S directions; MI in nats, not finite where it diverged.

    Attributes:
        mi: (S,) the estimate to report.
        direct: (S,) held-out gap in denoising error.
        orthogonal: (S,) held-out squared distance of the two denoisers.
        influence: (S, N) contribution of each sample: its mean is the MI, its spread the
            standard error; 0 in the padding.
        ess: (S,) effective share of the noise-level draws, 0..1; 1 where none are drawn.
        unsure: (S,) nats that the fit may be off by, the second part of the standard error.
    """

    mi: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    influence: torch.Tensor
    ess: torch.Tensor
    unsure: torch.Tensor

    def standard_error(self, n: torch.Tensor) -> torch.Tensor:
        """(S,) of an estimate from n (S,) samples: the scatter over samples and `unsure`, in quadrature."""
        mean = self.influence.sum(1) / n
        squares = self.influence.square().sum(1) - n * mean.square()
        scatter = squares.clamp(min=0) / (n - 1) / n
        return (scatter + self.unsure.square()).sqrt()


class Found(NamedTuple):
    """One direction of P pairs, (P,) float64 arrays; names as in `Estimates`, `se` its standard error."""

    mi: np.ndarray
    se: np.ndarray
    direct: np.ndarray
    orthogonal: np.ndarray
    ess: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Found:
        """Some of the pairs."""
        return Found(*(values[rows] for values in self))

    def at_most(self, most: np.ndarray) -> Found:
        """The same with no form of the MI above `most` (P,)."""
        return self._replace(
            mi=np.minimum(self.mi, most),
            direct=np.minimum(self.direct, most),
            orthogonal=np.minimum(self.orthogonal, most),
        )


class BothWays(NamedTuple):
    """Both directions of P pairs (x, y): x denoised given y, and y given x."""

    x_given_y: Found
    y_given_x: Found

    @staticmethod
    def split(both: Found) -> BothWays:
        """From 2 P directions, x given y of all pairs first."""
        half = len(both.mi) // 2
        return BothWays(both.take(slice(half)), both.take(slice(half, None)))

    @staticmethod
    def concatenate(parts: Sequence[BothWays]) -> BothWays:
        """Parts one after another."""
        return BothWays(
            *(
                Found(*(np.concatenate(values) for values in zip(*found, strict=True)))
                for found in zip(*parts, strict=True)
            )
        )


def shrunk(mi: Any, scatter: Any) -> Any:
    """An unbiased estimate (array or tensor, nats) drawn to 0 where it is no larger than its scatter there.

    Estimates of independent pairs scatter about 0 and are cut off below it, which leaves their mean
    above 0; counting the small ones for less takes most of that back and changes large ones by at
    most `scatter`.
    """
    return mi * abs(mi) / (abs(mi) + scatter)


def halves(seed: int, n_samples: int, device: torch.device) -> torch.Tensor:
    """(N,) 0 or 1: the half of each sample, the same for every pair of a run.

    Neighbours in the file go to different halves, so that any leading part is balanced.
    """
    flips = numpy_stream(seed, "halves").random(n_samples // 2 + 1) < 0.5
    first_of_two = torch.from_numpy(flips).long()
    return torch.stack([first_of_two, 1 - first_of_two], 1).flatten()[:n_samples].to(device)
