"""Every coordinate becomes its normal score: MI is invariant under monotone maps.

Ties carry no order, so they are handled in two ways:

- the denoised variable takes *randomised* ranks, which makes it exactly N(0, 1) and leaves MI
  exactly as it was (the extra uniform is independent of everything);
- the condition takes *mid-ranks*, a plain function of the value, so it says no more than it does.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

MISSING = -1


def ordinal_codes(values: np.ndarray) -> np.ndarray:
    """Dense ranks of one column: (N,) -> (N,) int32, ties share a code, non-finite is MISSING."""
    values = np.asarray(values, dtype=np.float64)
    present = np.isfinite(values)
    codes = np.full(values.shape, MISSING, dtype=np.int32)
    codes[present] = np.unique(values[present], return_inverse=True)[1]
    return codes


def sparse_codes(n: int, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The same of a column of n samples that is 0 but for the `values` at `rows`."""
    present = np.isfinite(values)
    distinct, place = np.unique(values[present], return_inverse=True)
    zero = int(np.searchsorted(distinct, 0.0))
    # where every sample is stored there may be no 0
    new = len(values) < n and not (zero < len(distinct) and distinct[zero] == 0)
    codes = np.full(n, zero, dtype=np.int32)
    codes[rows[present]] = place + (new & (place >= zero))
    codes[rows[~present]] = MISSING
    return codes


def dense_codes(codes: np.ndarray) -> np.ndarray:
    """(N, D) codes of some samples -> codes 0, 1, ... of the values that are left; what is missing stays so."""
    found = np.full(codes.shape, MISSING, dtype=np.int32)
    for d, column in enumerate(codes.T):
        there = column != MISSING
        found[there, d] = np.unique(column[there], return_inverse=True)[1]
    return found


def distinct_coordinates(codes: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, D') without coordinates that repeat or mirror an earlier one.

    They say nothing new, and a copy would make the target's covariance singular.
    """
    kept: list[np.ndarray] = []
    for column in codes.T:
        mirrored = np.where(column == MISSING, MISSING, column.max() - column)
        if not any(np.array_equal(column, k) or np.array_equal(mirrored, k) for k in kept):
            kept.append(column)
    return np.stack(kept, axis=1)


def midrank_scores(codes: np.ndarray) -> np.ndarray:
    """Normal scores of mid-ranks: (N,) complete codes -> (N,) float64."""
    return ndtri(_midranks(codes) / codes.size)


def are_ranks(codes: np.ndarray) -> bool:
    """Whether (N,) complete codes are a permutation of 0..N-1: no ties, and no value left out."""
    return int(codes.max()) == codes.size - 1 and bool(np.bincount(codes).all())


def randomised_ranks(codes: np.ndarray, among_ties: np.ndarray) -> np.ndarray:
    """Ranks with ties broken by (N,) random numbers: (N,) complete codes -> a permutation of 0..N-1."""
    order = np.lexsort((among_ties, codes))
    ranks = np.empty(codes.size, dtype=np.int64)
    ranks[order] = np.arange(codes.size)
    return ranks


def rotated_ranks(ranks: np.ndarray, codes: np.ndarray, share: float) -> np.ndarray:
    """(n,) ranks with every group of ties rotated by a share of its length: again a permutation."""
    counts = np.bincount(codes)
    below = (np.cumsum(counts) - counts)[codes]
    size = counts[codes]
    return below + (ranks - below + (share * size).astype(np.int64)) % size


def rank_scores(ranks: np.ndarray) -> np.ndarray:
    """Normal scores of (N, ...) ranks 0..N-1 along the first axis.

    The scores are the same N quantiles for every variable: exactly standard normal in rank.
    """
    return ndtri((ranks + 0.5) / len(ranks))


def standard_midranks(codes: np.ndarray) -> np.ndarray:
    """Mid-ranks of a complete coded column, (n,), with zero mean and unit mean square."""
    middle = codes if are_ranks(codes) else _midranks(codes)
    return (middle - middle.mean()) / middle.std()


def _midranks(codes: np.ndarray) -> np.ndarray:
    """(n,) samples below, and half of those that tie."""
    counts = np.bincount(codes)
    return (np.cumsum(counts) - 0.5 * counts)[codes]
