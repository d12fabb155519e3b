"""What a denoiser returns: estimates of stacked directions, and of pairs both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch


class Estimates(NamedTuple):
    """What a denoiser says of S directions; MI in nats, not finite where it diverged.

    Attributes:
        mi: (S,) the estimate to report.
        direct: (S,) held-out gap in denoising error.
        orthogonal: (S,) held-out squared distance of the two denoisers.
        influence: (S, N) contribution of each sample: its mean is the MI, its spread the
            standard error; 0 in the padding.
        ess: (S,) effective share of the noise-level draws, 0..1; 1 where none are drawn.
        fit_error: (S,) nats that the fit may be off by, the second part of the standard error.
    """

    mi: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    influence: torch.Tensor
    ess: torch.Tensor
    fit_error: torch.Tensor

    def standard_error(self, n: torch.Tensor) -> torch.Tensor:
        """(S,) of an estimate from n (S,) samples: the scatter over samples and `fit_error`, in quadrature."""
        mean = self.influence.sum(1) / n
        squares = self.influence.square().sum(1) - n * mean.square()
        scatter = squares.clamp(min=0) / (n - 1) / n
        return (scatter + self.fit_error.square()).sqrt()


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

    def less(self, mi: np.ndarray, variance: np.ndarray) -> Found:
        """The same without `mi` (P,) of every form and `variance` (P,) of its standard error, of which a quarter stays."""
        return Found(
            self.mi - mi,
            lessened(self.se, variance),
            self.direct - mi,
            self.orthogonal - mi,
            self.ess,
        )

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


def lessened(se: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standard errors (P,) without a `variance` (P,) that is in their squares, of which a sixteenth stays at least."""
    found: np.ndarray = np.sqrt(np.maximum(se**2 - variance, se**2 / 16))
    return found


def shrunk(mi: Any, scatter: Any) -> Any:
    """An unbiased estimate (array or tensor, nats) drawn to 0 where it is no larger than its scatter there.

    Estimates of independent pairs scatter about 0 and are cut off below it, which leaves their mean
    above 0; counting the small ones for less takes most of that back and changes large ones by at
    most `scatter`.
    """
    return mi * abs(mi) / (abs(mi) + scatter)
