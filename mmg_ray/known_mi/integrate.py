"""Quadrature shared by the families: doubling, nodes that respect breaks, entropies, tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import entr, rel_entr

from mmg_ray.known_mi.task import Array

TOLERANCE = 1e-5
PANEL = 8  # Gauss-Legendre nodes a panel
ROWS = 32  # mixture components evaluated at once: stays in the cache


def converged(integral: Callable[[int], float], n: int) -> float:
    """integral(n) at the first doubling of ``n`` that moves it by less than TOLERANCE nats."""
    coarse = integral(n)
    for _ in range(5):
        n *= 2
        fine = integral(n)
        if abs(fine - coarse) < TOLERANCE:
            return float(fine)
        coarse = fine
    raise ArithmeticError(
        f"the integral still moves by more than {TOLERANCE:g} nats at resolution {n}: "
        "declare the breaks of the curve, or smooth it"
    )


def gauss_legendre(edges: Sequence[float] | Array, n: int) -> tuple[Array, Array]:
    """About ``n`` nodes and weights from the first to the last edge, no panel across an edge."""
    lengths = np.diff(edges)
    panels = np.ceil(n / PANEL * lengths / lengths.sum()).astype(int)
    cuts = np.concatenate(
        [np.linspace(a, b, k + 1)[:-1] for a, b, k in zip(edges, edges[1:], panels, strict=False)]
        + [np.asarray(edges[-1:], dtype=float)]
    )
    nodes, weights = leggauss(PANEL)
    half = np.diff(cuts)[:, None] / 2
    return (cuts[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()


def entropy(density: Callable[[Array], Array], edges: Sequence[float]) -> float:
    """h of a density on [edges[0], edges[-1]], smooth between edges."""

    def integral(n: int) -> float:
        x, weights = gauss_legendre(edges, n)
        return float(weights @ entr(density(x)))

    return converged(integral, 2000)


def mixture_entropy(
    cdf: Callable[[Array], Array], centres: Array, scales: Array, weights: Array, edges: Array
) -> float:
    """h(Y) of Y = centre_k + scale_k E with probability weight_k: (K,) arrays, (M,) ordered edges.

    Each cell takes its exact probability from the cdf of E, so that noise with jumps costs no
    more than smooth noise; the density is constant in a cell, an error of the square of its width.
    """
    below = np.zeros_like(edges)
    for start in range(0, centres.size, ROWS):
        rows = slice(start, start + ROWS)
        below += weights[rows] @ cdf((edges - centres[rows, None]) / scales[rows, None])
    mass, widths = np.maximum(np.diff(below), 0), np.diff(edges)
    return float(entr(mass).sum() + mass @ np.log(widths))


def table_mi(table: Array) -> float:
    """I of a table of joint probabilities; rows may be quadrature nodes of a continuous X."""
    table = table / table.sum()
    return float(rel_entr(table, table.sum(1, keepdims=True) * table.sum(0)).sum())
