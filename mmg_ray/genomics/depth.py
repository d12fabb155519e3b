"""Whether the values of a table carry the depth of their cells: counts do, whole or not; scaled counts do not.

Told by evidence, since files do not say: ambient-corrected and estimated counts are no whole numbers,
and values that were scaled already must not be scaled again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mmg_ray.store.sources import Table

_ROWS = 1000  # cells that are looked at
_EQUAL = 0.01  # spread of totals, relative to their median, that rounding may leave
_NEAR = 0.02  # of a multiple of a unit
_FEWEST = 8  # cells, or bulk samples, that tell anything
_DISTINCT = 1000.0  # whole numbers up to this are told from others after a logarithm and back
# {name: (its inverse, largest value that makes sense)}
_TRANSFORMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "log(1 + x)": (np.expm1, 20.0),
    "log2(1 + x)": (lambda x: np.exp2(x) - 1, 30.0),
    "log10(1 + x)": (lambda x: 10**x - 1, 9.0),
    "sqrt(x)": (np.square, 1e4),
}


class Depth(NamedTuple):
    """What was found.

    Attributes:
        counts: whether a cell's values add up to a depth that is still in them; None: it is open.
        reason: the evidence, in words.
        undo: gives the counts of values that are logarithms or roots of unscaled counts; else None.
        scaled: gives the scaled counts of values that were scaled, each a multiple of what one read is in its cell.
    """

    counts: bool | None
    reason: str
    undo: Callable[[np.ndarray], np.ndarray] | None = None
    scaled: Callable[[np.ndarray], np.ndarray] | None = None


def reads_of(table: Table, scaled: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(N,) what one read is among the scaled counts of each cell: the smallest that it has; NaN of an empty one."""
    found = np.full(table.n_samples, np.inf)
    for v in range(table.n_variables):
        column = scaled(table.column(v))
        found = np.where(column > 0, np.minimum(found, column), found)
    return np.where(np.isfinite(found), found, np.nan)


def depth_of(table: Table, whole: bool, negative: bool) -> Depth:
    """What the values say, from the strongest evidence to the weakest.

    Args:
        whole: all values are whole numbers. negative: some are below 0.
    """
    if negative:
        return Depth(False, "some are negative")
    if whole:
        return Depth(True, "whole numbers")
    x = _some_rows(table)
    if x.shape[0] < _FEWEST or x.nnz == 0:
        return Depth(None, "too few cells without missing values to tell")
    found = _scaled(x, "", None)
    for name, (inverse, most) in _TRANSFORMS.items():
        if found is None and x.data.max() <= most:
            y = x.copy()
            y.data = inverse(x.data)
            found = _scaled(y, name, inverse)
    if found is not None:
        return found
    slope, share, ratio = _slopes(table)
    if ratio < 1.1:
        return Depth(False, f"totals of cells differ little (by a factor of {ratio:.2f})")
    driven = 0.5 <= slope <= 1.4 and share >= 0.5
    said = f"genes follow the total of the others with a slope of {slope:.2f} (median)"
    n_whole = float((x.data == np.floor(x.data)).mean())
    if n_whole >= 0.2 and driven:
        return Depth(True, f"{n_whole:.0%} are whole, and {said}, as estimated counts do")
    if not driven:
        return Depth(False, f"{said}, and counts do with 1")
    fano, top = _fano(x), float(x.data.max())
    if fano < 0.4:
        return Depth(False, f"they vary less than counts can (variance over mean {fano:.2f})")
    if fano >= 0.7 and top > 20:
        return Depth(True, f"{said}, as corrected counts do")
    return Depth(
        None, f"{said}, with a variance of {fano:.2f} times the mean and at most {top:.3g}"
    )


def _some_rows(table: Table) -> sparse.csr_matrix:
    """Up to a thousand cells, evenly spaced, of those whose values are finite and not all 0."""
    total = np.asarray(table.values.sum(axis=1), dtype=float).ravel()
    rows = np.flatnonzero(total > 0)  # false where one is missing
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int))]
    x = sparse.csr_matrix(table.values[rows])
    x.eliminate_zeros()
    return x


def _scaled(
    y: sparse.csr_matrix, name: str, undo: Callable[[np.ndarray], np.ndarray] | None
) -> Depth | None:
    """What totals and units say of values, or of what they are the transform `name` of."""
    of = f"as {name} of them " if name else ""
    small = y.data[y.data <= _DISTINCT]
    off = np.abs(small - np.round(small)) > 1e-4 * np.maximum(small, 1)
    if name and len(small) >= y.nnz // 2 and off.mean() < 0.001:
        return Depth(True, f"{name} of whole counts that are not scaled: undone", undo)
    totals = np.asarray(y.sum(axis=1)).ravel()
    low, middle, high = np.quantile(totals, [0.05, 0.5, 0.95])
    unit, total, is_multiple = _units(y)
    of_units = len(unit) >= max(_FEWEST, y.shape[0] // 4) and is_multiple.mean() >= 0.8
    if high - low <= _EQUAL * middle:
        reason = f"{of}every cell adds up to {middle:.4g}, so they are scaled already"
        return Depth(False, reason, scaled=undo or np.positive if of_units else None)
    if of_units:
        unit, total = unit[is_multiple], total[is_multiple]
        low, middle, high = np.quantile(unit, [0.05, 0.5, 0.95])
        constant = high - low <= _EQUAL * middle
        # what was scaled by depth has small units where cells are deep; a correction by cell has not
        follows = 0.0 if constant else float(np.corrcoef(np.log(unit), np.log(total / unit))[0, 1])
        if constant or (follows > -0.3 and low > 0.3 and high < 1.01):
            reason = f"{of}multiples of {middle:.3g} in every cell, so unscaled"
            return Depth(True, f"{reason}: undone" if name else reason, undo)
        return Depth(
            False,
            f"{of}multiples of a unit that differs by cell ({low:.3g} to {high:.3g}), so scaled already",
            scaled=undo or np.positive,
        )
    return None


def _units(y: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of rows that have enough to tell: smallest value, total, whether the others are multiples of it."""
    units, totals, multiple = [], [], []
    for start, stop in zip(y.indptr[:-1], y.indptr[1:], strict=True):
        values = y.data[start:stop]
        unit = values.min() if len(values) else 1.0
        times = values / unit
        times = times[(times > 1.5) & (times < 50)]
        if len(times) >= 4:
            units.append(unit)
            totals.append(values.sum())
            multiple.append((np.abs(times - np.round(times)) <= _NEAR).mean() >= 0.9)
    return np.array(units), np.array(totals), np.array(multiple, dtype=bool)


def _slopes(table: Table) -> tuple[float, float, float]:
    """Of log means between shallow and deep cells against their log depth: median, share near 1, ratio.

    Depth is the total of every other gene and slopes are of the rest, in turn: a gene never follows
    itself.
    """
    values = (
        table.values if isinstance(table.values, np.ndarray) else sparse.csc_matrix(table.values)
    )
    slopes, ratios = [], []
    for parity in (0, 1):
        total = np.asarray(values[:, parity::2].sum(axis=1), dtype=float).ravel()
        present = np.flatnonzero(total > 0)
        if len(present) < _FEWEST:
            continue
        cut = np.quantile(total[present], [1 / 3, 2 / 3])
        shallow, deep = present[total[present] <= cut[0]], present[total[present] >= cut[1]]
        ratio = total[deep].mean() / total[shallow].mean()
        ratios.append(ratio)
        others = values[:, 1 - parity :: 2]
        sums = [
            np.asarray(others[rows].sum(axis=0), dtype=float).ravel() for rows in (shallow, deep)
        ]
        enough = np.minimum(*sums) > 0.01 * np.median(np.maximum(*sums))
        if ratio > 1 and enough.any():
            means = [s[enough] / len(rows) for s, rows in zip(sums, (shallow, deep), strict=True)]
            slopes.append(np.log(means[1] / means[0]) / np.log(ratio))
    if not slopes:
        return 0.0, 0.0, 1.0
    every = np.concatenate(slopes)
    return float(np.median(every)), float((np.abs(every - 1) <= 0.6).mean()), float(min(ratios))


def _fano(x: sparse.csr_matrix) -> float:
    """Median variance over mean of the half of the genes of higher mean."""
    mean = np.asarray(x.mean(axis=0)).ravel()
    square = np.asarray(x.multiply(x).mean(axis=0)).ravel()
    high = (mean >= np.median(mean)) & (mean > 0)
    return float(np.median((square - mean**2)[high] / mean[high]))
