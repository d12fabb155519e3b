"""Sums over the entries of pair tables: of levels, moments and influences."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def level_sums(
    start: np.ndarray, x: np.ndarray, square: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """(4, S, Y) samples of either half, and sums of x and of its square, at each level of y."""
    out = np.zeros((4, start.shape[0], start.shape[1] - 1))
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                w = weight[k, 0] + weight[k, 1]
                out[0, s, b] += weight[k, 0]
                out[1, s, b] += weight[k, 1]
                out[2, s, b] += w * x[k]
                out[3, s, b] += w * square[k]
    return out


@njit(cache=True, fastmath={"contract"})
def moments(
    start: np.ndarray, row: np.ndarray, weight: np.ndarray, curves: np.ndarray
) -> np.ndarray:
    """(S, 2, Y, J) sums of curves (rows, J) of the entries at each level of y, by half."""
    n_curves = curves.shape[1]
    out = np.zeros((start.shape[0], 2, start.shape[1] - 1, n_curves), np.float32)
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                one, two, r = weight[k, 0], weight[k, 1], row[k]
                for j in range(n_curves):
                    out[s, 0, b, j] += one * curves[r, j]
                    out[s, 1, b, j] += two * curves[r, j]
    return out


@njit(cache=True, fastmath=True)
def influence_sums(
    start: np.ndarray,
    row: np.ndarray,
    weight: np.ndarray,
    log_ratio: np.ndarray,
    curves: np.ndarray,
    of_level: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(S,) sums over samples of log_ratio + curves . of_level, and of its square.

    Args:
        of_level: (S, 2, Y, J) coefficients of the curves at each level of y, for samples of each half.
    """
    n_curves = curves.shape[1]
    first, second = np.zeros(start.shape[0]), np.zeros(start.shape[0])
    for s in range(start.shape[0]):
        for b in range(start.shape[1] - 1):
            for k in range(start[s, b], start[s, b + 1]):
                r, one, two = row[k], np.float32(0.0), np.float32(0.0)
                for j in range(n_curves):
                    one += curves[r, j] * of_level[s, 0, b, j]
                    two += curves[r, j] * of_level[s, 1, b, j]
                one += log_ratio[k]
                two += log_ratio[k]
                first[s] += weight[k, 0] * one + weight[k, 1] * two
                second[s] += weight[k, 0] * one * one + weight[k, 1] * two * two
    return first, second
