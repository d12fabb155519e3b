"""Whether a driver is at work on a run, and which one: two kinds of small objects.

    driver.json          what the driver says of itself, written again and again
    driver-TERM.json     which start may write there; of several that make it exactly one succeeds

Each start that takes a run over has a term of its own, one above the last. Results never depend on
these objects. They say whether anybody is at work, what is in flight and what failed; everything else
about a run's progress is read from its shards.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from mmg_ray.errors import StoreError
from mmg_ray.store.location import Location
from mmg_ray.store.process import Process, Seen, this_process

HEARTBEAT = "driver.json"
INTERVAL_S = 5.0
SILENT_S = 6 * INTERVAL_S  # this long without a change, and a driver counts as dead
_CLAIM = re.compile(r"driver-(\d{6,})\.json")
_SHOWN = 20


class State(StrEnum):
    """What the driver was doing when it wrote last."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


class Claim(NamedTuple):
    """A start that took the run over; session and process are None where they cannot be read."""

    term: int
    session: str | None
    process: Process | None


@dataclass(frozen=True)
class Heartbeat:
    """What a driver says of itself.

    Attributes:
        session: random, one for each start.
        term: of its claim.
        count: of the heartbeats it has written: what changes as long as it is at work.
        process: it runs in.
        begun, updated: UTC, seconds since 1970, by its own clock: for people, nothing is decided by it.
        failed, first_error: shards that gave no result in this session.
        typical_s: median time from hand-out to receipt; None before the first.
        in_flight: shard -> seconds since it was handed out, the oldest 20.
    """

    session: str
    term: int
    process: Process
    begun: float
    updated: float
    count: int = 0
    state: State = State.RUNNING
    failed: int = 0
    first_error: str = ""
    typical_s: float | None = None
    in_flight: dict[str, float] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether its driver seems at work, at one look. By both clocks; a lock looks twice instead."""
        if self.state != State.RUNNING or self.process.seen() == Seen.GONE:
            return False
        return abs(time.time() - self.updated) < SILENT_S

    def stragglers(self, factor: float = 3.0) -> dict[str, float]:
        """Shards in flight for much longer than is usual, with their seconds."""
        if self.typical_s is None:
            return {}
        limit = factor * max(self.typical_s, 1.0)
        return {shard: s for shard, s in self.in_flight.items() if s > limit}


def first(session: str, term: int) -> Heartbeat:
    """Of a driver that starts here and now."""
    return Heartbeat(session, term, this_process(), time.time(), time.time())


def write(run: Location, heartbeat: Heartbeat) -> None:
    """Put it in storage, with the oldest of what is in flight only."""
    oldest = sorted(heartbeat.in_flight.items(), key=lambda item: -item[1])[:_SHOWN]
    (run / HEARTBEAT).write_json(asdict(replace(heartbeat, in_flight=dict(oldest))))


def read(run: Location) -> Heartbeat | None:
    """What is there; None where there is nothing that can be read."""
    try:
        tree = (run / HEARTBEAT).read_json()
        known = {"state": State(tree["state"]), "process": Process.of(tree["process"])}
        return Heartbeat(**{**tree, **known})
    except (StoreError, TypeError, ValueError, KeyError):
        return None


def at_work(run: Location, heartbeat: Heartbeat | None) -> bool:
    """Whether the driver that wrote this is at work; if the clocks cannot tell, by a second look.

    Takes as long as two heartbeats are apart where another machine's driver wrote long ago, or in the
    future, by the clock of this one.
    """
    if heartbeat is None or heartbeat.state != State.RUNNING or heartbeat.alive:
        return heartbeat is not None and heartbeat.alive
    if heartbeat.process.seen() == Seen.GONE:
        return False
    time.sleep(1.2 * INTERVAL_S)
    again = read(run)
    return again is not None and again.state == State.RUNNING and again != heartbeat


def claim(run: Location, session: str, term: int) -> bool:
    """Take the run over, or be told that another start was first."""
    process = asdict(this_process())
    if not (run / _name(term)).create_json({"session": session, "process": process}):
        return False
    # a start that was held up may make the claim of a term that is long over
    last, heartbeat = last_claim(run), read(run)
    if (last is None or last.term <= term) and (heartbeat is None or heartbeat.term < term):
        return last is None or last.session == session
    (run / _name(term)).remove()
    return False


def last_claim(run: Location) -> Claim | None:
    """The claim of the highest term; None where there is none."""
    terms = [int(match[1]) for name in run.names() if (match := _CLAIM.fullmatch(name))]
    if not terms:
        return None
    try:
        tree = (run / _name(max(terms))).read_json()
        return Claim(max(terms), str(tree["session"]), Process.of(tree["process"]))
    except (StoreError, TypeError, ValueError, KeyError):  # being written, or deleted since
        return Claim(max(terms), None, None)


def holds(run: Location, session: str, term: int) -> bool:
    """Whether a claim still stands: whoever takes a run over deletes the claims before its own."""
    place = run / _name(term)
    try:
        return bool(place.read_json()["session"] == session)
    except StoreError:
        if place.exists():
            raise
        return False


def drop_claims(run: Location, term: int) -> None:
    """Delete the claims up to this term."""
    for name in run.names():
        if (match := _CLAIM.fullmatch(name)) and int(match[1]) <= term:
            (run / name).remove()


def forget(run: Location, term: int) -> None:
    """Leave no trace of a start that began no run."""
    (run / HEARTBEAT).remove()
    drop_claims(run, term)


def _name(term: int) -> str:
    return f"driver-{term:06d}.json"
