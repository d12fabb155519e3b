"""Strata of a run: samples alike in metadata, within which variables are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.estimator.ranks.identity import of_rows
from mmg_ray.store.identities import sample_identity
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest

_ALIKE = 30  # samples of a part of a number: it hardly changes within, and few degrees of freedom are lost
_MOST = 256  # parts in all: more cost time, and of these none is wide
_MOST_LABELS = 12  # so many whole numbers are labels


def strata_of(table: Table, names: Sequence[str], option: str = "data.strata") -> np.ndarray:
    """(N,) int64 0, 1, ... of samples alike in these columns of the metadata.

    Labels, and few whole numbers, have to be the same. Other numbers are cut into parts of as many samples each, within
    the parts of the columns before. DataError, naming `option`, for an unknown name, missing values, and strata of
    one sample each.
    """
    identity = sample_identity(table)
    identity = of_rows(table.n_samples) if identity is None else identity
    columns = [covariate(table, name, option) for name in names]
    numbers = [column for column in columns if column.dtype.kind == "f"]
    place = np.zeros(table.n_samples, dtype=np.int64)
    for column in columns:
        if column.dtype.kind != "f":
            place = _and(place, np.unique(column, return_inverse=True)[1])
    for left, column in zip(range(len(numbers), 0, -1), numbers, strict=True):
        part = np.empty(table.n_samples, dtype=np.int64)
        order = np.lexsort((identity, column, place))
        for rows in np.split(order, np.cumsum(np.bincount(place))[:-1]):
            n_parts = min(len(rows) / _ALIKE, _MOST * len(rows) / table.n_samples)
            n_parts = max(1, int(n_parts ** (1 / left)))
            part[rows] = np.arange(len(rows)) * n_parts // len(rows)
        place = _and(place, part)
    if np.bincount(place).max() < 2:
        raise DataError(
            f"{option} {list(names)}: no two samples are alike in these, so nothing can be compared within strata; name "
            "fewer columns"
        )
    return place


def described(strata: np.ndarray, names: Sequence[str]) -> str:
    """What to say of them."""
    size = np.bincount(strata)
    alone = int((size == 1).sum())
    return (
        f"samples are compared among those alike in {', '.join(names)}: {len(size):,} strata of {size.min():,} to "
        f"{size.max():,}{f'; {alone:,} samples are alone in theirs, and count for nothing' if alone else ''}"
    )


def covariate(table: Table, name: str, option: str) -> np.ndarray:
    """(N,) float64 of a column of numbers, or text of one of labels; a few whole numbers are those."""
    if name not in table.metadata:
        raise DataError(f"{option}: {name!r} is no metadata column{nearest(name, table.metadata)}")
    column = np.asarray(table.metadata[name])
    try:
        numbers = column.astype(float)
    except (TypeError, ValueError):
        return column.astype(str)
    if not np.isfinite(numbers).all():
        raise DataError(f"{option}: {name!r} is missing in some samples; fill it")
    return column.astype(str) if few_whole(numbers) else numbers


def few_whole(numbers: np.ndarray) -> bool:
    """Whether finite numbers are few whole ones, which are labels, of a batch or a dose."""
    distinct = np.unique(numbers)
    return len(distinct) <= _MOST_LABELS and bool((distinct == np.floor(distinct)).all())


def _and(place: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(N,) samples that agree in both, numbered in the order of the first, then of the second."""
    found: np.ndarray = np.unique(place * (part.max() + 1) + part, return_inverse=True)[1]
    return found
