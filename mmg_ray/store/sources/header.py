"""Whether the first row of a csv or tsv file holds names or a sample, where it holds numbers.

Unit ids, channels and Entrez ids are numbers, and so is the first sample of a file without a header. A
row of names differs from the samples below it: that is looked for, and what stays open is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mmg_ray.store.sources.identifiers import INDEX_NAME

_RARE = 0.05  # chance of a sample to look as unlike the others
_DIGITS = re.compile(r"\d+")


def holds_names(first: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[bool | None, str]:
    """True: names, False: a sample, None: it is open; and why, empty where there is nothing to say.

    Args:
        first: cells of the first row. rows: cells of some rows below it, as many in each.
    """
    if any(not cell for cell in first) or not first:
        return True, ""
    numbers = [_number(cell) for cell in first]
    if all(number is not None for number in numbers):
        return _judge(first, [list(row) for row in rows])
    if numbers[0] is None and len(first) > 1 and all(n is not None for n in numbers[1:]):
        return _labelled(first, rows)
    return True, ""


def _labelled(first: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[bool | None, str]:
    """A text and numbers: `cell,3,7,12`, or the first sample with its name."""
    if not rows or INDEX_NAME.search(first[0]) or all(_number(row[0]) is not None for row in rows):
        return True, ""
    names, why = _judge(first[1:], [list(row[1:]) for row in rows])
    alike = np.mean([_shape(row[0]) == _shape(first[0]) for row in rows])
    if alike >= 0.5 and not names:
        return None, f"{first[0]!r} looks like the names below it, and the rest are numbers"
    if names is None or (names is False and alike > 0):
        return None, why
    return True, ""


def _judge(first: Sequence[str], rows: list[list[str]]) -> tuple[bool | None, str]:
    """A row of numbers."""
    if len(set(first)) < len(first):
        return False, "its numbers repeat"
    n_columns = len(first)
    digits = all(_DIGITS.fullmatch(cell) for cell in first)
    values = np.array([float(cell) for cell in first])
    if (
        digits
        and n_columns > 1
        and any(np.array_equal(values, np.arange(start, start + n_columns)) for start in (0, 1))
    ):
        return True, f"its numbers count from {first[0]}"
    if not rows:
        return False, "there is no other"
    step = np.diff(values)
    if n_columns >= 4 and not digits and step[0] > 0 and np.allclose(step, step[0], rtol=1e-3):
        return True, "its numbers are evenly spaced"
    if digits:
        whole = [[_DIGITS.fullmatch(cell) is not None for cell in row] for row in rows]
        share = (np.sum(whole, axis=0) + 1) / (len(rows) + 2)
        if np.prod(share) <= _RARE:
            return True, "its numbers are whole, and those below have decimals"
    below = np.array([[_value(cell) for cell in row] for row in rows])
    n_outside = _outside(below, values)
    n_others = np.array([_outside(np.delete(below, k, axis=0), row) for k, row in enumerate(below)])
    likenesses = [
        (n_outside >= max(2, n_columns / 2), n_others >= n_outside, "are outside those below"),
        (n_columns > 1 and bool((step > 0).all()), (np.diff(below) > 0).all(axis=1), "go up"),
        (
            n_columns > 1,
            np.array([len(set(row.tolist())) == n_columns for row in below]),
            "do not repeat",
        ),
    ]
    for holds, of_others, what in likenesses if digits else ():
        if holds and (of_others.sum() + 1) / (len(rows) + 2) <= _RARE:
            return True, f"its numbers {what}, as those of other rows do"
    if digits:
        return (
            None,
            "its numbers are whole and differ, as names would, but other rows look the same",
        )
    if n_outside > n_columns / 2 and len(rows) > 20:
        return None, "its numbers are outside those below"
    return False, "its numbers look like those below"


def _outside(below: np.ndarray, values: np.ndarray) -> int:
    """Columns whose value is outside the range of those below."""
    known = ~np.isnan(below).all(axis=0)
    if not len(below) or not known.any():
        return 0
    low, high = np.nanmin(below[:, known], axis=0), np.nanmax(below[:, known], axis=0)
    return int(((values[known] < low) | (values[known] > high)).sum())


def _shape(text: str) -> str:
    """What is common to names such as cell1 and cell22."""
    return re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", text))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(text: str) -> float:
    number = _number(text)
    return np.nan if number is None else number
