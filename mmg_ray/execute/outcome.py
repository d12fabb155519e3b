"""How work is spread: one small interface, `map`, that a serial loop and Ray both have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of one item: its result, or why there is none. A failure is data, not an end."""

    item: T
    result: R | None = None
    error: str = ""


class Executor(Protocol):
    """Applies a function to items, somewhere."""

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[T, R]]:
        """One outcome per item, in any order, as they come; abandoning it stops what is pending.

        Items are taken as they are begun, so whoever gives them may end them early. `fn` must be
        importable by its name, and harmless when it runs twice. Items and results travel, so they
        stay small.
        """
        ...

    def on_cpu(self) -> Executor:
        """The same workers for items that use no GPU, so that none is kept for them."""
        ...


def describe(error: BaseException) -> str:
    """Type and message of an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
