"""Where the mid-ranks of levels lie, and the spline's values there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

_POINTS = 64  # at which a variable with one value for all samples would be
NARROWING = 1.25  # of points towards the ends, as that of levels


class Points(NamedTuple):
    """Levels of V variables as points of the normal distribution, padded to the most.

    Attributes:
        first: (V, L + 1) int64 first point of each level. n: (V,) points that hold samples.
        share: (V, M) of the level's samples.
        score, square: (V, M) mean normal score of the samples at a point, and of its square.
        width: (V, M) of scores at a point, 0 where it is that of one sample.
    """

    first: np.ndarray
    n: np.ndarray
    share: np.ndarray
    score: np.ndarray
    square: np.ndarray
    width: np.ndarray


def points(size: np.ndarray) -> Points:
    """Of variables with (V, L) samples at their levels."""
    cuts = ndtr(NARROWING * ndtri(np.arange(1, _POINTS) / _POINTS))
    made = [_points(row, cuts) for row in size]
    longest = max(len(share) for _, _, share, *_ in made)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, longest - len(values)))

    return Points(
        np.stack([first for first, *_ in made]),
        np.array([n for _, n, *_ in made]),
        *(np.stack([padded(v) for v in values]) for values in list(zip(*made, strict=True))[2:]),
    )


def _points(size: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, ...]:
    edges = np.concatenate([[0], np.cumsum(size)]) / size.sum()
    width = np.diff(edges)
    places, level = [], []
    for wide in np.flatnonzero(width > 2 / _POINTS).tolist():
        low, high, held = edges[wide], edges[wide + 1], int(size[wide])
        inside = cuts[(cuts > low) & (cuts < high)]
        if len(inside) >= held:  # no more points than samples
            inside = low + (high - low) * np.arange(1, held) / held
        places.append(inside)
        level += [wide] * len(inside)
    n_points = 1 + np.bincount(np.array(level, dtype=np.int64), minlength=len(size))
    # a cut ends one point of its level and begins the next
    edges = np.insert(edges, np.array(level, dtype=np.int64) + 1, np.concatenate([[], *places]))
    of_points = np.diff(edges)
    share = of_points / np.where(width > 0, width, 1.0).repeat(n_points)
    score = ndtri(edges)
    density = np.exp(-0.5 * np.minimum(score**2, 1e3)) / np.sqrt(2 * np.pi)
    moment = np.where(density > 1e-300, density * np.clip(score, -50, 50), 0.0)
    there = np.where(of_points > 0, of_points, 1.0)
    mean = -np.diff(density) / there
    # k samples are at k places of an interval, a single one at its middle
    k = np.maximum(of_points * size.sum(), 1.0)
    within = (1 - np.diff(moment) / there - mean**2) * (1 - 1 / k**2)
    return (
        np.concatenate([[0], np.cumsum(n_points)]),
        (of_points > 0).sum(),
        share,
        mean,
        mean**2 + within,
        np.sqrt(12 * np.maximum(within, 0.0)),
    )
