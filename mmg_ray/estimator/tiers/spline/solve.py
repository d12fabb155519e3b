"""Small penalised least-squares systems, many side by side: a Cholesky factor of each at every penalty.

Systems lie along the last axis, `_BLOCK` at a time, so that one instruction works on many; a 24 x 24 system
then takes less than half a microsecond, where a library call for each takes six. The length of a block is
no constant to the compiler: loops of a fixed length are unrolled before they are vectorised, and then are not.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_BLOCK = 64
RIDGE = np.float32(1e-3)
# times its own square mean: the penalty from which a function is left out, as it keeps a thirtieth of its moment
_VANISHING = 30.0


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def cross_fitted(
    gram: np.ndarray, right: np.ndarray, entry: np.ndarray, penalties: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two fits of S directions, one for each half of the samples, at L penalties; float32 throughout.

    Args:
        gram: (2, E, S) distinct entries of the Gram matrix of each half. right: (2, F, S).
        entry: (F, F) place of each Gram entry. penalties: (L, F) added to the diagonal, and the ridge;
            ascending along F: functions from the first that vanishes are left out.

    Returns:
        beta (2, L, F, S), 0 where a matrix is not positive definite; and (L, S) each: the mean gain
        2 b_h beta - beta G_h beta of either fit on the half h that it has not seen; sum of b_h beta of
        both; and beta_0 G beta_1 averaged over the halves' G.
    """
    n_functions, n_systems, n_penalties = right.shape[1], right.shape[2], len(penalties)
    beta = np.zeros((2, n_penalties, n_functions, n_systems), np.float32)
    gain = np.zeros((n_penalties, n_systems), np.float32)
    both = np.zeros((n_penalties, n_systems), np.float32)
    product = np.zeros((n_penalties, n_systems), np.float32)
    n_packed = n_functions * (n_functions + 1) // 2
    half = np.float32(0.5)
    for first in range(0, n_systems, _BLOCK):
        width = min(_BLOCK, n_systems - first)
        packed = np.empty((2, n_packed, width), np.float32)
        factor = np.empty((n_packed, width), np.float32)
        solution = np.empty((n_functions, width), np.float32)
        times = np.empty((n_functions, width), np.float32)
        failed = np.empty(width, np.bool_)
        for h in range(2):
            k = 0
            for i in range(n_functions):
                for j in range(i + 1):
                    for s in range(width):
                        packed[h, k, s] = gram[h, entry[i, j], first + s]
                    k += 1
        for p in range(n_penalties):
            n_kept = n_functions
            while n_kept > 1 and penalties[p, n_kept - 1] > _VANISHING:
                n_kept -= 1
            for h in range(2):
                factor[: n_kept * (n_kept + 1) // 2] = packed[h, : n_kept * (n_kept + 1) // 2]
                for i in range(n_kept):
                    d = i * (i + 1) // 2 + i
                    for s in range(width):
                        factor[d, s] += penalties[p, i] + RIDGE
                _factor(factor, n_kept, failed)
                for i in range(n_kept):
                    for s in range(width):
                        solution[i, s] = right[h, i, first + s]
                _solve(factor, n_kept, solution)
                for i in range(n_kept):
                    for s in range(width):
                        beta[h, p, i, first + s] = np.float32(0.0) if failed[s] else solution[i, s]
            for h in range(2):
                for i in range(n_kept):
                    for s in range(width):
                        solution[i, s] = beta[h, p, i, first + s]
                _times(packed[1 - h], n_kept, solution, times)
                for i in range(n_kept):
                    for s in range(width):
                        dot = right[1 - h, i, first + s] * solution[i, s]
                        both[p, first + s] += dot
                        gain[p, first + s] += dot - half * solution[i, s] * times[i, s]
                        product[p, first + s] += half * times[i, s] * beta[1 - h, p, i, first + s]
    return beta, gain, both, product


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _factor(a: np.ndarray, n: int, failed: np.ndarray) -> None:
    """Packed lower triangles (n (n + 1) / 2, S) -> their factors, in place, with 1 / diagonal.

    Four columns are made, and then taken off all that is right of them in one go: each entry is read once for four.
    """
    width = a.shape[1]
    failed[:] = False
    for first in range(0, n, 4):
        last = min(first + 4, n)
        for j in range(first, last):
            row = j * (j + 1) // 2
            for k in range(first, j):
                for s in range(width):
                    a[row + j, s] -= a[row + k, s] * a[row + k, s]
            for s in range(width):
                good = a[row + j, s] > np.float32(0.0)
                failed[s] |= not good
                root = np.sqrt(a[row + j, s]) if good else np.float32(0.0)
                a[row + j, s] = np.float32(1.0) / root if good else np.float32(0.0)
            for i in range(j + 1, n):
                of_i = i * (i + 1) // 2
                for k in range(first, j):
                    for s in range(width):
                        a[of_i + j, s] -= a[of_i + k, s] * a[row + k, s]
                for s in range(width):
                    a[of_i + j, s] *= a[row + j, s]
        for i in range(last, n):
            p = i * (i + 1) // 2 + first
            for j in range(last, i + 1):
                q, r = j * (j + 1) // 2 + first, p - first + j
                for s in range(width):
                    a[r, s] -= (a[p, s] * a[q, s] + a[p + 1, s] * a[q + 1, s]) + (
                        a[p + 2, s] * a[q + 2, s] + a[p + 3, s] * a[q + 3, s]
                    )


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _solve(factor: np.ndarray, n: int, b: np.ndarray) -> None:
    """Right-hand sides (n, S) -> solutions, in place."""
    for i in range(n):
        row = i * (i + 1) // 2
        for k in range(i):
            for s in range(b.shape[1]):
                b[i, s] -= factor[row + k, s] * b[k, s]
        for s in range(b.shape[1]):
            b[i, s] *= factor[row + i, s]
    for i in range(n - 1, -1, -1):
        row = i * (i + 1) // 2
        for s in range(b.shape[1]):
            b[i, s] *= factor[row + i, s]
        for k in range(i):
            for s in range(b.shape[1]):
                b[k, s] -= factor[row + k, s] * b[i, s]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _times(packed: np.ndarray, n: int, v: np.ndarray, out: np.ndarray) -> None:
    """Symmetric matrices times vectors (n, S) -> out."""
    out[:] = np.float32(0.0)
    for i in range(n):
        row = i * (i + 1) // 2
        for k in range(i):
            for s in range(v.shape[1]):
                out[i, s] += packed[row + k, s] * v[k, s]
                out[k, s] += packed[row + k, s] * v[i, s]
        for s in range(v.shape[1]):
            out[i, s] += packed[row + i, s] * v[i, s]


@njit(cache=True)
def products(beta: np.ndarray, entry: np.ndarray, weight: np.ndarray, n_entries: int) -> np.ndarray:
    """(K, E, S) weighted sums of beta_0 beta_1 over the Gram entries that are alike.

    Args:
        beta: (K, 2, F, S) of two fits. entry: (F, F). weight: (K,).
    """
    n_levels, _, n_functions, n_systems = beta.shape
    out = np.zeros((n_levels, n_entries, n_systems), np.float32)
    for k in range(n_levels):
        for f in range(n_functions):
            for g in range(n_functions):
                for s in range(n_systems):
                    out[k, entry[f, g], s] += weight[k] * beta[k, 0, f, s] * beta[k, 1, g, s]
    return out
