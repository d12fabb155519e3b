"""Two variables of few values each: the MI of their contingency table.

Where both sides are counts or labels with few values, the density ratio p(x, y) / p(x) p(y) is a table
of numbers, its plug-in estimate has a denoiser like any density, and what smooth functions can only
follow slowly, steps from value to value, is exact. The plug-in MI is high by (rows - 1)(columns - 1) / 2n
to first order (Miller 1955), which is taken off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmg_ray.estimator.batch import shrunk

_SAMPLES_PER_FREEDOM = 20  # the next term of the bias is then below its standard error


class Found(NamedTuple):
    """MI and its standard error, nats."""

    mi: float
    se: float


def few(codes: np.ndarray) -> bool:
    """Whether codes (N, 1) are of so few values that a table with them may be small."""
    return codes.max(initial=0) * _SAMPLES_PER_FREEDOM <= len(codes)


def fits(levels_a: int, levels_b: int, n: int) -> bool:
    """Whether n samples fill a table of so many values."""
    return (levels_a - 1) * (levels_b - 1) * _SAMPLES_PER_FREEDOM <= n


def mutual_information(a: np.ndarray, b: np.ndarray) -> Found:
    """Of two (n,) columns of codes 0, 1, ..."""
    n = a.size
    counts = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1))
    table = counts.reshape(a.max() + 1, -1) / n
    expected = np.outer(table.sum(1), table.sum(0))
    there = table > 0
    ratio = np.log(table[there] / expected[there])
    plug_in = float(table[there] @ ratio)
    rows, columns = (int((table.sum(axis) > 0).sum()) for axis in (1, 0))
    variance = float(table[there] @ ratio**2) - plug_in**2
    freedom = (rows - 1) * (columns - 1)
    # the plug-in of an independent pair is chi-square of that freedom over 2n: its scatter is then
    # not that of the log ratios, of which it is the half
    variance = max(variance - freedom / n, 0.0) / n + 0.5 * freedom / n**2
    mi = shrunk(plug_in - freedom / (2 * n), np.sqrt(2 * freedom) / n)
    return Found(float(mi), float(np.sqrt(variance)))
