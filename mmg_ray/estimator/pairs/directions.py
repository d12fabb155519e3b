"""What a denoiser of samples is given: directions "target given source" of one shape, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
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


def stack(
    targets: Sequence[RankedVariable], sources: Sequence[RankedVariable], device: str
) -> Directions:
    """Directions "target given source", all of the same dimensions."""
    n = np.array([side.n for side in targets])
    n_draws = max(len(side.draws) for side in targets)
    draws = np.zeros((len(targets), n_draws, n.max(), targets[0].dim))
    y = np.zeros((len(targets), n.max(), sources[0].dim))
    for s, (target, source) in enumerate(zip(targets, sources, strict=True)):
        draws[s, :, : n[s]] = target.draws
        y[s, : n[s]] = source.midrank_scores
    return Directions(
        draws=torch.from_numpy(draws).to(device),
        y=torch.from_numpy(y).to(device),
        n=torch.from_numpy(n).to(device),
        target=tuple(side.key for side in targets),
        source=tuple(side.key for side in sources),
    )


def halves(seed: int, n_samples: int, device: torch.device) -> torch.Tensor:
    """(N,) 0 or 1: the half of each sample, the same for every pair of a run.

    Neighbours in the file go to different halves, so that any leading part is balanced.
    """
    flips = numpy_stream(seed, "halves").random(n_samples // 2 + 1) < 0.5
    first_of_two = torch.from_numpy(flips).long()
    return torch.stack([first_of_two, 1 - first_of_two], 1).flatten()[:n_samples].to(device)
