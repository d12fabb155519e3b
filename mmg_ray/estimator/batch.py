"""What a denoiser is given and what it returns: directions of one shape, stacked."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Directions(NamedTuple):
    """S directions "x denoised given y" of equal dimensions, float64.

    Attributes:
        x: (S, N, Dx) targets: randomised normal scores.
        y: (S, N, Dy) sources: mid-rank normal scores.
        n: (S,) int64 samples present; rows n[s]: of x[s] and y[s] are zero padding.
        target, source: names of the S targets and sources, the keys of their random streams.
    """

    x: torch.Tensor
    y: torch.Tensor
    n: torch.Tensor
    target: tuple[str, ...]
    source: tuple[str, ...]

    def mask(self) -> torch.Tensor:
        """(S, N) true where a sample is present."""
        return torch.arange(self.x.shape[1], device=self.n.device) < self.n[:, None]

    def select(self, rows: list[int]) -> Directions:
        """The directions numbered `rows`, in that order."""
        return Directions(
            self.x[rows],
            self.y[rows],
            self.n[rows],
            tuple(self.target[s] for s in rows),
            tuple(self.source[s] for s in rows),
        )


class Estimates(NamedTuple):
    """What a denoiser says of S directions; MI in nats, not finite where it diverged.

    Attributes:
        mi: (S,) the estimate to report.
        direct: (S,) held-out gap in denoising error.
        orthogonal: (S,) held-out squared distance of the two denoisers.
        influence: (S, N) contribution of each sample: its mean is the MI, its spread the
            standard error; 0 in the padding.
        ess: (S,) effective share of the noise-level draws, 0..1.
    """

    mi: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    influence: torch.Tensor
    ess: torch.Tensor
