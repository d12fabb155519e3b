"""Penalised least squares on knots: symmetric systems of bandwidth two, many at once.

Everything is a float64 array on the CPU with the knots along the last axis; compiled recursions run over the
knots of one system after another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit


class Band(NamedTuple):
    """A symmetric matrix of K knots by its diagonals: (..., K), (..., K - 1), (..., K - 2)."""

    main: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class Factor(NamedTuple):
    """L D L^T of S bands of a shape (...): (S, K) pivots and the two diagonals below, (S, K - 1) and (S, K - 2)."""

    shape: tuple[int, ...]
    pivot: np.ndarray
    first: np.ndarray
    second: np.ndarray


def factor(a: Band) -> Factor:
    """Factor positive definite bands."""
    return Factor(tuple(a.main.shape[:-1]), *_factor(*map(_flat, a)))


def solve(f: Factor, b: torch.Tensor) -> torch.Tensor:
    """Solutions (..., K) for right-hand sides (..., K)."""
    return torch.from_numpy(_solve(f.pivot, f.first, f.second, _flat(b))).reshape(b.shape)


def inverse(f: Factor) -> tuple[torch.Tensor, torch.Tensor]:
    """Main (..., K) and first (..., K - 1) diagonal of the inverse (Takahashi's recursion)."""
    main, first = (torch.from_numpy(v) for v in _inverse(f.pivot, f.first, f.second))
    return main.reshape(*f.shape, -1), first.reshape(*f.shape, -1)


def _flat(values: torch.Tensor) -> np.ndarray:
    """(..., K) -> (S, K)."""
    found: np.ndarray = values.reshape(-1, values.shape[-1]).contiguous().numpy()
    return found


@njit(cache=True, error_model="numpy")
def _factor(
    main: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = main.shape[1]
    pivot, below, below2 = np.empty_like(main), np.empty_like(first), np.empty_like(second)
    for s in range(len(main)):
        # l1, l2: of the row at hand; d1, d2: the pivots before it
        d1 = d2 = l1 = l2 = next_l2 = 0.0
        for k in range(n):
            d = main[s, k] - l1 * l1 * d1 - l2 * l2 * d2
            pivot[s, k] = d
            inverse = 1 / d
            new = 0.0
            if k < n - 1:
                new = (first[s, k] - next_l2 * l1 * d1) * inverse
                below[s, k] = new
            l2 = next_l2
            next_l2 = 0.0
            if k < n - 2:
                next_l2 = second[s, k] * inverse
                below2[s, k] = next_l2
            l1, d2, d1 = new, d1, d
    return pivot, below, below2


@njit(cache=True, error_model="numpy")
def _solve(pivot: np.ndarray, first: np.ndarray, second: np.ndarray, b: np.ndarray) -> np.ndarray:
    n = pivot.shape[1]
    out = np.empty_like(b)
    for s in range(len(b)):
        before, before2 = 0.0, 0.0
        for k in range(n):
            value = b[s, k]
            if k >= 1:
                value -= first[s, k - 1] * before
            if k >= 2:
                value -= second[s, k - 2] * before2
            out[s, k] = value
            before, before2 = value, before
        before, before2 = 0.0, 0.0
        for k in range(n - 1, -1, -1):
            value = out[s, k] / pivot[s, k]
            if k < n - 1:
                value -= first[s, k] * before
            if k < n - 2:
                value -= second[s, k] * before2
            out[s, k] = value
            before, before2 = value, before
    return out


@njit(cache=True, error_model="numpy")
def _inverse(
    pivot: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = pivot.shape[1]
    main, beside = np.empty_like(pivot), np.empty_like(first)
    for s in range(len(pivot)):
        for k in range(n - 1, -1, -1):
            value = 1 / pivot[s, k]
            if k < n - 2:
                one, two = first[s, k], second[s, k]
                near = -one * main[s, k + 1] - two * beside[s, k + 1]
                far = -one * beside[s, k + 1] - two * main[s, k + 2]
                value -= one * near + two * far
                beside[s, k] = near
            elif k < n - 1:
                beside[s, k] = -first[s, k] * main[s, k + 1]
                value -= first[s, k] * beside[s, k]
            main[s, k] = value
    return main, beside


def penalised(
    main: torch.Tensor, first: torch.Tensor, rough: Band, penalties: torch.Tensor
) -> Band:
    """Normal equations (S, L, K) of Gram diagonals (S, K), (S, K - 1) at penalties (L, 1) of `rough`."""
    return Band(
        main=main[:, None] + 1e-9 + penalties * rough.main[:, None],
        first=first[:, None] + penalties * rough.first[:, None],
        second=penalties * rough.second[:, None],
    )


def curvature(gap: torch.Tensor, weight: torch.Tensor) -> Band:
    """Integral of weight * (second derivative)^2, a quadratic form in the values at knots.

    Args:
        gap: (..., K - 1) distances of the knots.
        weight: (..., K - 2).
    """
    left, right = 1 / gap[..., :-1], 1 / gap[..., 1:]
    middle = -(left + right)
    w = weight * 2 / (gap[..., :-1] + gap[..., 1:])
    pad = torch.nn.functional.pad
    return Band(
        main=pad(w * left**2, (0, 2)) + pad(w * middle**2, (1, 1)) + pad(w * right**2, (2, 0)),
        first=pad(w * left * middle, (0, 1)) + pad(w * middle * right, (1, 0)),
        second=w * left * right,
    )


def second_derivative(gap: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(..., K - 2) second divided differences of values (..., K) at knots."""
    slope = values.diff(dim=-1) / gap
    return slope.diff(dim=-1) * 2 / (gap[..., :-1] + gap[..., 1:])
