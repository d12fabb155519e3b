"""A sign of life of the driver, one small object that is written again and again: `driver.json`.

Results never depend on it. It says whether anybody is at work, what is in flight and what failed;
everything else about a run's progress is read from its shards.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from mmg_ray.errors import StoreError
from mmg_ray.store.location import Location

PULSE = "driver.json"
INTERVAL_S = 5.0
SILENT_S = 6 * INTERVAL_S  # this long without a sign, and a driver counts as dead
_SHOWN = 20


class State(StrEnum):
    """What the driver was doing when it wrote last."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass
class Pulse:
    """What a driver says of itself.

    Attributes:
        session: random, one for each start.
        machine, pid: where it runs (a digest, no name); to see at once that it has died.
        begun, updated: UTC, seconds since 1970.
        failed, first_error: shards that gave no result in this session.
        typical_s: median time from hand-out to receipt; None before the first.
        in_flight: shard -> seconds since it was handed out, the oldest 20.
    """

    session: str
    machine: str
    pid: int
    begun: float
    updated: float
    state: State = State.RUNNING
    failed: int = 0
    first_error: str = ""
    typical_s: float | None = None
    in_flight: dict[str, float] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether its driver is at work, as far as can be told from here."""
        if self.state != State.RUNNING:
            return False
        if self.machine == this_machine() and not _running(self.pid):
            return False
        return time.time() - self.updated < SILENT_S

    def stragglers(self, factor: float = 3.0) -> dict[str, float]:
        """Shards in flight for much longer than is usual, with their seconds."""
        if self.typical_s is None:
            return {}
        limit = factor * max(self.typical_s, 1.0)
        return {shard: s for shard, s in self.in_flight.items() if s > limit}


def new(session: str) -> Pulse:
    """The first sign of a driver that starts here and now."""
    return Pulse(session, this_machine(), os.getpid(), time.time(), time.time())


def write(run: Location, pulse: Pulse) -> None:
    """Put it in storage, with the oldest of what is in flight only."""
    tree = asdict(pulse)
    oldest = sorted(pulse.in_flight.items(), key=lambda item: -item[1])[:_SHOWN]
    (run / PULSE).write_json(tree | {"in_flight": dict(oldest)})


def read(run: Location) -> Pulse | None:
    """What is there; None where there is nothing that can be read."""
    try:
        tree = (run / PULSE).read_json()
        return Pulse(**{**tree, "state": State(tree["state"])})
    except (StoreError, TypeError, ValueError, KeyError):
        return None


def this_machine() -> str:
    """A name of this machine (or container) that gives nothing away."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    text = platform.node() + (boot.read_text() if boot.exists() else "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
