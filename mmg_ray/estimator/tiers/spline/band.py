"""Penalised least squares on knots: symmetric systems of bandwidth two, solved side by side.

Everything is an array with the systems along the last axes but one and the knots along the last; the
recursions run over the knots in Python and over all systems at once, on any device. On the CPU in NumPy:
an operation on some hundred numbers costs a third there of what it does in torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch


class Band(NamedTuple):
    """A symmetric matrix of K knots by its diagonals: (..., K), (..., K - 1), (..., K - 2)."""

    main: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class Factor(NamedTuple):
    """L D L^T of a band: K pivots and the two diagonals below, each a list of (...) arrays."""

    pivot: list[Any]
    first: list[Any]
    second: list[Any]


def factor(a: Band) -> Factor:
    """Factor positive definite bands."""
    main, first, second = (_by_knot(diagonal) for diagonal in a)
    pivot: list[Any] = []
    below: list[Any] = []
    below2: list[Any] = []
    for k, value in enumerate(main):
        if k >= 1:
            value = value - below[k - 1] * below[k - 1] * pivot[k - 1]
        if k >= 2:
            value = value - below2[k - 2] * below2[k - 2] * pivot[k - 2]
        pivot.append(value)
        if k < len(first):
            off = first[k]
            if k >= 1:
                off = off - below2[k - 1] * below[k - 1] * pivot[k - 1]
            below.append(off / value)
        if k < len(second):
            below2.append(second[k] / value)
    return Factor(pivot, below, below2)


def solve(f: Factor, b: torch.Tensor) -> torch.Tensor:
    """Solutions (..., K) for right-hand sides (..., K)."""
    n = len(f.pivot)
    forward: list[Any] = []
    for k, value in enumerate(_by_knot(b)):
        if k >= 1:
            value = value - f.first[k - 1] * forward[k - 1]
        if k >= 2:
            value = value - f.second[k - 2] * forward[k - 2]
        forward.append(value)
    out = forward.copy()
    for k in range(n - 1, -1, -1):
        value = forward[k] / f.pivot[k]
        if k < n - 1:
            value = value - f.first[k] * out[k + 1]
        if k < n - 2:
            value = value - f.second[k] * out[k + 2]
        out[k] = value
    return _joined(out)


def inverse(f: Factor) -> tuple[torch.Tensor, torch.Tensor]:
    """Main (..., K) and first (..., K - 1) diagonal of the inverse (Takahashi's recursion)."""
    n = len(f.pivot)
    main, first = f.pivot.copy(), f.first.copy()
    for k in range(n - 1, -1, -1):
        value = 1 / f.pivot[k]
        if k < n - 2:
            first[k] = -f.first[k] * main[k + 1] - f.second[k] * first[k + 1]
            second = -f.first[k] * first[k + 1] - f.second[k] * main[k + 2]
            value = value - f.first[k] * first[k] - f.second[k] * second
        elif k < n - 1:
            first[k] = -f.first[k] * main[k + 1]
            value = value - f.first[k] * first[k]
        main[k] = value
    return _joined(main), _joined(first)


def _by_knot(values: torch.Tensor) -> list[Any]:
    """(..., K) -> K arrays (...)."""
    in_order = values.movedim(-1, 0)
    return list(in_order.unbind() if values.is_cuda else in_order.contiguous().numpy())


def _joined(values: list[Any]) -> torch.Tensor:
    """K arrays (...) -> (..., K)."""
    if isinstance(values[0], torch.Tensor):
        return torch.stack(values, -1)
    return torch.from_numpy(np.stack(values)).movedim(0, -1).contiguous()


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
