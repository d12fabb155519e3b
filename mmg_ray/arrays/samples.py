"""A table of samples that is read a column at a time; several tables in one order of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmg_ray.arrays.columns import Column, Kind, read_column
from mmg_ray.errors import DataError

log = logging.getLogger(__name__)


_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Samples:
    """A table of n samples that has not been read yet.

    Attributes:
        what: what the caller calls it, for messages.
        n: samples.
        columns: one anything that `read_column` reads for each variable.
        names: of the columns; None where they have none.
        index: pandas Index of the samples' labels; None where they have none.
        order: (n,) which sample comes where; None as they are.
    """

    what: str
    n: int
    columns: Sequence[Any]
    names: list[str] | None = None
    index: Any = None
    order: np.ndarray | None = None

    def column(self, k: int) -> Column:
        """Column k. DataError where its values are neither numbers nor labels."""
        found = read_column(self.columns[k], self.called(k))
        return found if self.order is None else found._replace(values=found.values[self.order])

    def called(self, k: int) -> str:
        """What messages call column k."""
        if self.names is not None:
            return f"column {self.names[k]!r} of {self.what}"
        return self.what if len(self.columns) == 1 else f"column {k} of {self.what}"

    def read(self) -> Iterator[Column]:
        """Every column; says which of them hold infinite values, as these count as missing."""
        infinite = {}
        for k in range(len(self.columns)):
            found = self.column(k)
            if found.n_infinite:
                infinite[self.called(k)] = found.n_infinite
            yield found
        if infinite:
            first = ", ".join(f"{n} in {name}" for name, n in list(infinite.items())[:_SHOWN])
            more = f" and in {len(infinite) - _SHOWN} others" if len(infinite) > _SHOWN else ""
            log.warning("infinite values count as missing: %s%s", first, more)

    def numbers(self) -> np.ndarray:
        """(n, p) float64, NaN where missing. DataError for a column of labels, with its name."""
        values = np.empty((self.n, len(self.columns)))
        for k, column in enumerate(self.read()):
            require_numbers(column, self.called(k))
            values[:, k] = column.values
        return values


def require_numbers(column: Column, called: str) -> None:
    """DataError with the way out if a column is of labels."""
    if not column.kind.is_label:
        return
    refuse_numbers_as_text(column, called)
    raise DataError(
        f"{called} is not numeric: it holds labels, such as {_example(column)!r}. Leave it out, pass it as "
        "condition=, make a column of 0 and 1 of each label, or ask for one pair with estimate_mi, "
        "which takes labels"
    )


def refuse_numbers_as_text(column: Column, called: str) -> None:
    """DataError if every text is that of a number: whether it is meant to have an order is not to be guessed."""
    if column.kind is not Kind.TEXT:
        return
    try:
        found = [float(v) for v in {*column.values} - {None}]
    except ValueError:
        return
    if found:
        raise DataError(
            f"{called} holds numbers as text, such as {_example(column)!r}; make them numbers with "
            ".astype(float), or labels with pandas' .astype('category')"
        )


def _example(column: Column) -> str:
    return str(next((v for v in column.values if v is not None), ""))


def aligned(tables: Sequence[Samples]) -> list[Samples]:
    """The tables with their samples in one order: that of the first one whose samples have labels.

    Raises:
        DataError: their numbers of samples or their labels differ.
    """
    first = next((table for table in tables if table.index is not None), tables[0])
    for table in tables:
        if table.n != tables[0].n:
            raise DataError(
                f"{tables[0].what} has {tables[0].n} samples and {table.what} has {table.n}; pass the "
                "same samples of both, in the same order"
            )
    return [_in_order_of(first, table) for table in tables]


def _in_order_of(first: Samples, table: Samples) -> Samples:
    if table.index is None or first.index is table.index or table.index.equals(first.index):
        return table
    if not (table.index.is_unique and first.index.is_unique):
        raise DataError(
            f"{first.what} and {table.what} have sample labels that repeat and are not in the same "
            "order, so they cannot be matched; give every sample a label of its own, or pass "
            f"{first.what}.to_numpy() and {table.what}.to_numpy() to go by position"
        )
    order = table.index.get_indexer(first.index)
    if (order < 0).any():
        lost = first.index[order < 0]
        raise DataError(
            f"{first.what} and {table.what} have different sample labels: {len(lost)} of {first.n}, such "
            f"as {lost[0]!r}, are in {first.what} only. Keep the samples that both have, for example "
            "with pandas' align(join='inner'), or pass .to_numpy() of each to go by position"
        )
    return replace(table, order=order)
