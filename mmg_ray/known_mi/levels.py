"""A Gaussian copula whose margins have the ties of given variables."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from mmg_ray.known_mi import integrate
from mmg_ray.known_mi.laws import LAWS
from mmg_ray.known_mi.task import Array, Task

_CELLS = 400  # a margin of more levels is cut into about so many cells for the integral


def tied_gaussian(name: str, rho: float, codes_x: Array, codes_y: Array) -> Task:
    """Bivariate normal, each side seen as coarsely as a variable of these (n,) ordinal codes >= 0.

    A side's level is the code of its quantile, so samples of any size tie as the variable does. The MI is
    that of the table of cells between levels; where nearly all values differ cells hold several, and
    the little that is lost by it (0.2 % for |rho| up to .95) makes the number too small.
    """
    ordered_x, ordered_y = np.sort(codes_x), np.sort(codes_y)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        y = rho * x + np.sqrt(1 - rho**2) * e
        return _level(ordered_x, x), _level(ordered_y, y)

    edges_x, edges_y = _cuts(ordered_x), _cuts(ordered_y)
    law = LAWS["normal"]

    def integral(n: int) -> float:
        nodes, weights = integrate.gauss_legendre(edges_x, n)
        below = ndtr((edges_y - rho * nodes[:, None]) / np.sqrt(1 - rho**2))
        by_node = (weights * law.pdf(nodes))[:, None] * np.diff(below, axis=1)
        cell = np.searchsorted(edges_x, nodes) - 1
        table = np.zeros((len(edges_x) - 1, len(edges_y) - 1))
        np.add.at(table, cell, by_node)
        return integrate.table_mi(table)

    return Task(name, integrate.converged(integral, 2000), sample)


def _level(ordered: Array, z: Array) -> Array:
    """The value at the quantile of a standard normal."""
    place = np.minimum((ndtr(z) * len(ordered)).astype(np.int64), len(ordered) - 1)
    found: Array = ordered[place].astype(float)
    return found


def _cuts(ordered: Array) -> Array:
    """Where one level, or cell of levels, ends and the next begins, as normal quantiles."""
    n = len(ordered)
    steps = np.flatnonzero(np.diff(ordered)) + 1  # samples below each change of level
    cell = steps * _CELLS // n
    kept = steps[np.r_[True, cell[1:] != cell[:-1]]] if len(steps) else steps
    last = LAWS["normal"].support[1]
    return np.concatenate([[-last], ndtri(kept / n), [last]])
