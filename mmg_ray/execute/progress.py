"""How far a run is: a bar on a terminal, now and then a line of the log elsewhere.

It counts; it keeps no receipt, so a run of any number of shards takes no memory here.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

from mmg_ray.schema import Receipt

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOG_SHARE = 0.1  # of the shards between two lines
_LOG_S = 30.0  # or this long


class Tally:
    """Counts of a run so far, those of earlier sessions included.

    Attributes:
        n_shards, n_pairs: of the whole run.
        shards, pairs, not_ok: done; not_ok are rows without a value.
        failed: shards that gave no result.
    """

    def __init__(self, n_shards: int, n_pairs: int, clock: Callable[[], float] = time.monotonic):
        self.n_shards, self.n_pairs = n_shards, n_pairs
        self.shards = self.pairs = self.not_ok = self.failed = 0
        self._pairs_before = 0
        self._clock = clock
        self._started = clock()

    def resume(self, shards: int, pairs: int, not_ok: int) -> None:
        """Count what earlier sessions did; it does not enter the speed."""
        self.shards, self.pairs, self.not_ok = shards, pairs, not_ok
        self._pairs_before = pairs

    def forget(self, pairs: int, not_ok: int) -> None:
        """A shard of an earlier session is of no use."""
        self.shards -= 1
        self.pairs -= pairs
        self.not_ok -= not_ok
        self._pairs_before -= pairs

    def add(self, receipt: Receipt) -> None:
        """Count a finished shard."""
        self.shards += 1
        self.pairs += receipt.n_pairs
        self.not_ok += receipt.n_not_ok

    @property
    def pairs_per_s(self) -> float:
        """Speed of this session."""
        return (self.pairs - self._pairs_before) / max(self._clock() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At this session's speed; None before its first shard."""
        speed = self.pairs_per_s
        return (self.n_pairs - self.pairs) / speed if speed > 0 else None

    def line(self) -> str:
        """One line for a log."""
        left = self.seconds_left
        parts = [
            f"shards {self.shards:,}/{self.n_shards:,}",
            f"pairs {self.pairs:,}/{self.n_pairs:,}",
            speed(self.pairs_per_s),
            f"{self.not_ok:,} without a value",
        ]
        if self.failed:
            parts.append(f"{self.failed:,} shards failed")
        if left is not None and self.shards < self.n_shards:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


@contextmanager
def progress(tally: Tally, stream: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Show `tally` whenever the function it gives is called: a bar if `stream` is a terminal.

    Args:
        tally: what is shown; the caller counts.
        stream: default standard error, so that output can be piped.
    """
    stream = stream or sys.stderr
    with _bar(tally, stream) if stream.isatty() else _lines(tally) as show:
        yield show


@contextmanager
def _bar(tally: Tally, stream: TextIO) -> Iterator[Callable[[], None]]:
    columns = (
        SpinnerColumn(),
        TextColumn("shards"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task("", total=tally.n_shards, completed=tally.shards, detail="")

        def show() -> None:
            failed = f", [red]{tally.failed:,} failed[/red]" if tally.failed else ""
            detail = f"{speed(tally.pairs_per_s)}, {tally.not_ok:,} without a value{failed}"
            bar.update(task, completed=tally.shards + tally.failed, detail=detail)

        yield show


@contextmanager
def _lines(tally: Tally) -> Iterator[Callable[[], None]]:
    last_shards, last_time = tally.shards, time.monotonic()

    def show() -> None:
        nonlocal last_shards, last_time
        due = (
            tally.shards == tally.n_shards
            or tally.shards - last_shards >= _LOG_SHARE * tally.n_shards
            or time.monotonic() - last_time >= _LOG_S
        )
        if due:
            log.info("%s", tally.line())
            last_shards, last_time = tally.shards, time.monotonic()

    yield show


def each(items: Sequence[T], what: str, stream: TextIO | None = None) -> Iterator[T]:
    """The items, and on the way how far they are: a bar if `stream` is a terminal, else a line now and then."""
    stream = stream or sys.stderr
    if stream.isatty():
        yield from track(items, what, console=Console(file=stream))
        return
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last >= _LOG_S:
            log.info("%s %d/%d", what, done, len(items))
            last = time.monotonic()
        yield item


def speed(pairs_per_s: float) -> str:
    """Pairs a second, with as many digits as mean something: '0.83 pairs/s', '1,480 pairs/s'."""
    return f"{pairs_per_s:,.0f} pairs/s" if pairs_per_s >= 10 else f"{pairs_per_s:.2g} pairs/s"


def duration(seconds: float) -> str:
    """A length of time in the two units that matter: '45 s', '12 min', '3 h 20 min', '2 d 4 h'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
