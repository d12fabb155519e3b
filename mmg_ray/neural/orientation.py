"""Whether a table is times x channels, as it is read, or the wrong way round."""

from __future__ import annotations

import numpy as np

_SMOOTHER = 0.3  # neighbours of one axis correlate so much more than those of the other
_UNEVEN = 2.0  # means of the columns differ so much more than those of the rows: columns are units
_SMALLEST = 8  # rows or columns whose neighbours say something


def wrong_way(values: np.ndarray) -> str | None:
    """Why (T, C) values look like (C, T); None where they do not.

    Only tables of more columns than rows are doubted. Counts (of spikes, in bins) are taken to be units x
    bins unless the means of the columns differ more than those of the rows, beyond what their own scatter
    makes of it: units fire at different rates. Other values are doubted where neighbouring columns are alike
    and neighbouring rows are not: time is smooth.
    """
    n_rows, n_columns = values.shape
    if n_rows >= n_columns or n_rows < 2:
        return None
    if _are_counts(values):
        rows, columns = _unevenness(values.T), _unevenness(values)
        if columns > _UNEVEN * max(rows, 1.0):
            return None
        return (
            f"they are counts, and the means of the rows differ {rows:.1f} times as much as their scatter makes "
            f"of it, those of the columns {columns:.1f} times"
        )
    if n_columns < _SMALLEST:
        return None
    few = n_rows < _SMALLEST  # then rows have no neighbours to speak of
    along, across = 0.0 if few else _neighbours(values), _neighbours(values.T)
    if across <= along + _SMOOTHER:
        return None
    said = "" if few else f"neighbouring times correlate by {along:.2f}, "
    return f"{said}neighbouring channels by {across:.2f}"


def _are_counts(values: np.ndarray) -> bool:
    """Whether values are counts, or counts divided by the width of a bin: zeros and multiples of one number."""
    present = values[np.isfinite(values)]
    above = present[present > 0]
    if not above.size or (present < 0).any() or above.size == present.size:
        return False
    multiples = above / above.min()
    return bool(np.allclose(multiples, multiples.round(), rtol=1e-4, atol=0))


def _unevenness(values: np.ndarray) -> float:
    """Variance of the means of columns over what the scatter within them makes of it; about 1 if all are alike."""
    n = np.isfinite(values).sum(axis=0)
    values = values[:, n > 1]
    within = np.nanmean(np.nanvar(values, axis=0, ddof=1) / n[n > 1]) if values.size else 0.0
    return float(np.nanmean(values, axis=0).var() / within) if within > 0 else 0.0


def _neighbours(values: np.ndarray) -> float:
    """Median over columns of the correlation of a row with the next."""
    centred = values - np.nanmean(values, axis=0, where=np.isfinite(values).any(axis=0))
    power = np.nanmean(centred**2, axis=0)
    lagged = np.nanmean(centred[1:] * centred[:-1], axis=0)
    found = lagged[power > 0] / power[power > 0]
    return float(np.median(found)) if found.size else 0.0
