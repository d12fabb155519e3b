"""Whether values are counts that were divided by the depth of their sample.

Two genes of one count in a cell then have the same value there, which no other cell has: their samples lie on lines
that tell of the depth alone, and fine structure finds them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

import numpy as np

log = logging.getLogger(__name__)

_VARIABLES, _SAMPLES = 200, 300  # looked at, at most
_REPEATED = 0.3  # of the values of a sample at least repeat another of them
_ELSEWHERE = 0.2  # of the values of a sample at most are those of the next, in the median
_FEWEST = 100  # values that are no whole numbers


def warn(column: Callable[[int], np.ndarray], n_variables: int) -> None:
    """Say in the log what there is to say, see `warning_of`."""
    if text := warning_of(column, n_variables):
        log.warning("%s", text)


def warning_of(column: Callable[[int], np.ndarray], n_variables: int) -> str | None:
    """What to say of variables that look like scaled counts; None of others.

    Args:
        column: (N,) values of a variable by its position; asked for some of them.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> counts, depth = rng.poisson(0.5, (200, 50)), rng.integers(800, 4000, (200, 1))
        >>> warning_of(lambda v: np.log1p(counts[:, v] / depth[:, 0]), 50) is None
        False
        >>> warning_of(lambda v: counts[:, v], 50) is None
        True
    """
    parts = []
    for v in _spread(n_variables, _VARIABLES):
        values = np.asarray(column(v), dtype=np.float64)
        parts.append(values[_spread(len(values), _SAMPLES)])  # no whole column is held
    if not parts or not len(parts[0]):
        return None
    different = np.unique(np.stack(parts, axis=1), axis=1)
    of_sample = [row[np.isfinite(row) & (row != np.round(row))] for row in different]
    n_values, n_different = sum(map(len, of_sample)), sum(len(set(v.tolist())) for v in of_sample)
    shared = [
        len(np.intersect1d(a, b)) / min(len(set(a.tolist())), len(set(b.tolist())))
        for a, b in pairwise(v for v in of_sample if len(v))
    ]
    if n_values < _FEWEST or not shared:
        return None
    repeated, elsewhere = 1 - n_different / n_values, float(np.median(shared))
    if repeated < _REPEATED or elsewhere > _ELSEWHERE:
        return None
    return (
        f"{repeated:.0%} of the values that are no whole numbers repeat another of the same sample, and hardly any "
        "is one of another sample, as of counts scaled by depth: pairs then depend by the depth alone, and "
        "the fine structure of their values shows it. Take the counts, with mmg_ray.genomics.run or mmg-ray genomics, "
        "which take depth out; or set estimator.cascade.fine_structure: false"
    )


def _spread(n: int, most: int) -> list[int]:
    """At most so many of n positions, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)).tolist()
