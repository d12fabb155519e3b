"""One item after another in this process: small runs, debugging, and the reference in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mmg_ray.execute.outcome import Outcome, describe

T = TypeVar("T")
R = TypeVar("R")


class Serial:
    """An Executor without workers."""

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[T, R]]:
        for item in items:
            try:
                yield Outcome(item, result=fn(item))
            except Exception as error:  # noqa: BLE001  # any failure of one item is its outcome
                yield Outcome(item, error=describe(error))

    def on_cpu(self) -> Serial:
        return self
