"""One driver at a time on a run: its heartbeat, from a thread of its own, and who goes first of two.

No clock of another host is trusted. A driver is at work if what it writes changes between two looks;
it counts as dead if its process can be seen to have ended, or if nothing changed for `SILENT_S` of this
process's own monotonic time. Of several starts at once the store lets one make the next claim.
"""

from __future__ import annotations

import logging
import secrets
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mmg_ray.errors import Drained, MMGError, StoreError
from mmg_ray.execute.drain import Abandoned, Drain
from mmg_ray.store import heartbeat, manifest
from mmg_ray.store.heartbeat import Claim, Heartbeat, State
from mmg_ray.store.location import Location
from mmg_ray.store.process import Seen

log = logging.getLogger(__name__)

# a driver whose process is there, and silent: the machine slept, or one call held it up for minutes
_PATIENCE = 10


class DriverLock:
    """What the driver says of itself while it works.

    Attributes:
        lost: another driver has taken over; this one must stop.
    """

    def __init__(self, run: Location, drain: Drain, session: str, term: int) -> None:
        self._run, self._drain = run, drain
        self._said = heartbeat.first(session, term)
        self._handed_out: dict[int, float] = {}
        self._took: deque[float] = deque(maxlen=100)
        self._failed, self._first_error = 0, ""
        self._lock = threading.Lock()
        self.lost = False

    def handed_out(self, shard: int) -> None:
        """A shard was given to a worker, or to its queue."""
        with self._lock:
            self._handed_out[shard] = time.monotonic()

    def came_back(self, shard: int, error: str = "") -> None:
        """A shard has an outcome."""
        with self._lock:
            begun = self._handed_out.pop(shard, None)
            if error:
                self._failed += 1
                self._first_error = self._first_error or f"shard {shard}: {error}"
            elif begun is not None:
                self._took.append(time.monotonic() - begun)

    def beat(self, state: State = State.RUNNING) -> None:
        """Write one heartbeat, unless another driver has taken over."""
        if not heartbeat.holds(self._run, self._said.session, self._said.term):
            self.lost = self._drain.requested = True
            return
        with self._lock:
            now = time.monotonic()
            self._said = replace(
                self._said,
                count=self._said.count + 1,
                state=state,
                updated=time.time(),
                failed=self._failed,
                first_error=self._first_error,
                in_flight={str(k): now - t for k, t in self._handed_out.items()},
                typical_s=statistics.median(self._took) if self._took else None,
            )
        heartbeat.write(self._run, self._said)


@contextmanager
def driving(run: Location, drain: Drain) -> Iterator[DriverLock]:
    """The run to this process alone, with heartbeats until the context is left.

    StoreError where another driver is at work on it, or has taken over meanwhile.
    """
    session = secrets.token_hex(8)
    term = _acquire(run, session)
    lock = DriverLock(run, drain, session, term)
    over = threading.Event()

    def work() -> None:
        while not over.wait(heartbeat.INTERVAL_S):
            try:
                lock.beat()
            except MMGError as error:  # the run may go on without it
                log.warning("no heartbeat was written: %s", error)

    thread = threading.Thread(target=work, name="mmg_ray-heartbeat", daemon=True)
    state = State.COMPLETE
    try:
        lock.beat()
        heartbeat.drop_claims(run, term - 1)
        thread.start()
        yield lock
    except BaseException as error:
        if lock.lost:  # which is why it drained
            raise _in_use(run) from None
        stopped = drain.abandoned or isinstance(error, Drained | Abandoned | KeyboardInterrupt)
        state = State.STOPPED if stopped else State.FAILED
        raise
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        _release(run, lock, term, state)


def _release(run: Location, lock: DriverLock, term: int, state: State) -> None:
    try:
        if lock.lost:
            return
        if manifest.exists(run):
            lock.beat(state)
            heartbeat.drop_claims(run, term)
        else:
            heartbeat.forget(run, term)
    except MMGError as error:
        log.warning("no heartbeat was written: %s", error)


def _acquire(run: Location, session: str) -> int:
    """The term of this start, as soon as no other driver is at work; StoreError where one is."""
    watched: tuple[object, ...] | None = None
    since = 0.0
    while True:
        found, last = heartbeat.read(run), heartbeat.last_claim(run)
        looks = (last, found and (found.session, found.count))
        seen = _seen(found, last)
        if watched is not None and seen != Seen.GONE and looks != watched:
            raise _in_use(run)
        patience = _PATIENCE if seen == Seen.AT_WORK else 1
        silent = watched is not None and time.monotonic() - since >= patience * heartbeat.SILENT_S
        if seen == Seen.GONE or silent:
            term = 1 + max(last.term if last else 0, found.term if found else 0)
            if heartbeat.claim(run, session, term):
                return term
            watched = None
        elif watched is None:
            watched, since = looks, time.monotonic()
            log.info("another driver has this run; watching whether it is at work")
        time.sleep(heartbeat.INTERVAL_S / 20)


def _seen(found: Heartbeat | None, last: Claim | None) -> Seen:
    """What can be told at one look of the driver that has the run; GONE where none has."""
    if last is not None and (found is None or found.session != last.session):
        # it has not written yet, or never will
        return Seen.UNKNOWN if last.process is None else last.process.seen()
    if found is None or found.state != State.RUNNING:
        return Seen.GONE
    return found.process.seen()


def _in_use(run: Location) -> StoreError:
    return StoreError(
        f"another driver is at work on {run.url}, so this one stopped; nothing is lost. See "
        f"`mmg-ray status {run.url}`; run again when it has ended"
    )
