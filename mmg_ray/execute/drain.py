"""Stopping early and well: on SIGTERM, as schedulers and spot machines send it, or after a time.

The first signal lets the shards in flight finish, for a while; after that, or at a second signal,
they are abandoned. Nothing is lost but their work: a shard is written whole or not at all.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from mmg_ray.errors import ConfigError

T = TypeVar("T")

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGALRM)
_LONGEST_S = 366 * 86400.0
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "": 1.0}


class Abandoned(BaseException):
    """Raised in the main thread when the time to finish is over. No Exception: nothing stops it."""


class Drain:
    """Whether the run is to stop.

    Attributes:
        requested: no new work is to begin.
        abandoned: what is in flight is not waited for.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self.requested = self.abandoned = False

    def until(self, items: Iterable[T]) -> Iterator[T]:
        """The items up to the moment when a stop is requested."""
        for item in items:
            if self.requested:
                return
            yield item

    def install(self) -> None:
        """Take the signals, again if someone took them since (Ray does when it starts)."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            self.abandoned = True
            raise Abandoned
        self.requested = True
        why = "time is over" if number == signal.SIGALRM else "asked to stop (SIGTERM)"
        log.info("%s; finishing what is under way, for at most %.3g s", why, self._drain_s)
        signal.setitimer(signal.ITIMER_REAL, max(self._drain_s, 1e-3))


@contextmanager
def draining(stop_after_s: float | None, drain_s: float) -> Iterator[Drain]:
    """A Drain that SIGTERM and the clock request; signals are as before on leaving.

    Args:
        stop_after_s: seconds from now; None is never.
        drain_s: seconds that work in flight is given to finish.

    Only the main thread of a process gets signals: elsewhere nothing is taken over.
    """
    if stop_after_s is not None and not 0 < stop_after_s <= _LONGEST_S:
        raise ConfigError(
            f"stop_after is {stop_after_s:g} s; it must be more than 0 and at most 366 d. Without it a "
            "run goes on until it is complete"
        )
    drain = Drain(drain_s)
    if threading.current_thread() is not threading.main_thread():
        if stop_after_s is not None:
            raise ConfigError("stop_after needs the main thread of the process; leave it out here")
        yield drain
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
    drain.install()
    if stop_after_s is not None:
        signal.setitimer(signal.ITIMER_REAL, stop_after_s)
    try:
        yield drain
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def seconds(text: str) -> float:
    """A length of time as people write it: "90", "90s", "30m", "1h30m", "2d". ConfigError if not."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s|)\s*", text)
    if not parts or "".join(re.split(r"\s+", text)) != "".join(a + b for a, b in parts):
        raise ConfigError(f"{text!r} is no length of time; write 90, 90s, 30m, 1h30m or 2d")
    total = sum(float(value) * _UNITS[unit] for value, unit in parts)
    if total <= 0:
        raise ConfigError(f"{text!r} is no time at all; give at least a second")
    return total
