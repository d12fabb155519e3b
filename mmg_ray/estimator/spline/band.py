"""Penalised least squares on knots: symmetric systems of bandwidth two, solved side by side.

Everything is an array with the systems along the last axes but one and the knots along the last; the
recursions run over the knots in Python and over all systems at once in torch, on any device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Band(NamedTuple):
    """A symmetric matrix of K knots by its diagonals: (..., K), (..., K - 1), (..., K - 2)."""

    main: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class Factor(NamedTuple):
    """L D L^T of a band: K pivots and the two diagonals below, each a list of (...) tensors."""

    pivot: list[torch.Tensor]
    first: list[torch.Tensor]
    second: list[torch.Tensor]


def factor(a: Band) -> Factor:
    """Factor positive definite bands."""
    main, first, second = (diagonal.unbind(-1) for diagonal in a)
    pivot: list[torch.Tensor] = []
    below: list[torch.Tensor] = []
    below2: list[torch.Tensor] = []
    for k, value in enumerate(main):
        if k >= 1:
            value = value - below[k - 1].square() * pivot[k - 1]
        if k >= 2:
            value = value - below2[k - 2].square() * pivot[k - 2]
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
    forward: list[torch.Tensor] = []
    for k, value in enumerate(b.unbind(-1)):
        if k >= 1:
            value = value - f.first[k - 1] * forward[k - 1]
        if k >= 2:
            value = value - f.second[k - 2] * forward[k - 2]
        forward.append(value)
    out: list[torch.Tensor] = [forward[0]] * n
    for k in range(n - 1, -1, -1):
        value = forward[k] / f.pivot[k]
        if k < n - 1:
            value = value - f.first[k] * out[k + 1]
        if k < n - 2:
            value = value - f.second[k] * out[k + 2]
        out[k] = value
    return torch.stack(out, -1)


def inverse(f: Factor) -> tuple[torch.Tensor, torch.Tensor]:
    """Main (..., K) and first (..., K - 1) diagonal of the inverse (Takahashi's recursion)."""
    n = len(f.pivot)
    main: list[torch.Tensor] = [f.pivot[0]] * n
    first: list[torch.Tensor] = [f.pivot[0]] * n
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
    return torch.stack(main, -1), torch.stack(first[: n - 1], -1)


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
