"""Canonical directions of the statistics of two groups of coordinates with ties."""

from __future__ import annotations

import torch

from mmg_ray.estimator.tiers.neural.level_posterior import Coordinates
from mmg_ray.estimator.tiers.neural.tilt import Targets

# found on laws of `known_mi.populations` other than those that `benchmarks/populations.py` reports
_RANK = 2  # directions of the first part: a law that needs more has enough for the second
_RIDGE = 10.0  # in units of a statistic's variance: of many rare counts, directions are those of largest covariance
_LEAST_SPREAD = 1e-6  # of a direction: of labels there are fewer than of statistics


def canonical(d: Targets, y: Coordinates) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, 2, F_x, R) and (S, 2, F_y, R): canonical directions of both sides' statistics, by either half, with a ridge."""
    both = [
        [_canonical_of(a[members], b[members]) for members in d.members]
        for a, b in zip(d.of.features, y.features, strict=True)
    ]
    of_x, of_y = (torch.stack([torch.stack([h[side] for h in s]) for s in both]) for side in (0, 1))
    return of_x, of_y


def _canonical_of(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """(N, F_x) and (N, F_y) -> (F_x, R) and (F_y, R)."""
    a, b = a.double(), b.double()
    rank = min(_RANK, a.shape[1], b.shape[1])
    # small matrices: a GPU would take longer
    of_a, of_b, of_both = ((u.mT @ v / len(u)).cpu() for u, v in ((a, a), (b, b), (a, b)))
    root_a, root_b = (
        torch.linalg.cholesky(v + _RIDGE * torch.eye(len(v), dtype=v.dtype)) for v in (of_a, of_b)
    )
    white = torch.linalg.solve_triangular(root_a, of_both, upper=False)
    white = torch.linalg.solve_triangular(root_b, white.mT, upper=False).mT
    left, _, right = torch.linalg.svd(white, full_matrices=False)
    ways = (
        (a, torch.linalg.solve_triangular(root_a.mT, left[:, :rank], upper=True).to(a.device)),
        (b, torch.linalg.solve_triangular(root_b.mT, right[:rank].mT, upper=True).to(b.device)),
    )
    return tuple((way / (v @ way).std(0).clamp(min=_LEAST_SPREAD)).float() for v, way in ways)
