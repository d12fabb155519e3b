"""The driver's signs of life, from a thread of their own; and who goes first of two drivers."""

from __future__ import annotations

import logging
import secrets
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mmg_ray.errors import Drained, MMGError, StoreError
from mmg_ray.execute.drain import Drain
from mmg_ray.store import pulse
from mmg_ray.store.location import Location
from mmg_ray.store.pulse import Pulse, State

log = logging.getLogger(__name__)


class Heart:
    """What the driver says of itself while it works.

    Attributes:
        lost: another driver was first and is at work; this one must stop.
    """

    def __init__(self, run: Location, drain: Drain) -> None:
        self._run, self._drain = run, drain
        self._pulse = pulse.new(secrets.token_hex(8))
        self._handed_out: dict[int, float] = {}
        self._took: deque[float] = deque(maxlen=100)
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
                self._pulse.failed += 1
                self._pulse.first_error = self._pulse.first_error or f"shard {shard}: {error}"
            elif begun is not None:
                self._took.append(time.monotonic() - begun)

    def beat(self, state: State = State.RUNNING) -> None:
        """Write one sign; see whether another driver, begun earlier, writes them as well."""
        other = pulse.read(self._run)
        if other is not None and other.session != self._pulse.session and other.alive:
            mine = (self._pulse.begun, self._pulse.session)
            if (other.begun, other.session) < mine:
                self.lost = self._drain.requested = True
                return
        with self._lock:
            now = time.monotonic()
            self._pulse.state, self._pulse.updated = state, time.time()
            self._pulse.in_flight = {str(k): now - t for k, t in self._handed_out.items()}
            self._pulse.typical_s = statistics.median(self._took) if self._took else None
            said = Pulse(**vars(self._pulse))
        pulse.write(self._run, said)


@contextmanager
def beating(run: Location, drain: Drain) -> Iterator[Heart]:
    """A Heart that beats until the context is left, and then says how it ended.

    StoreError where another driver is at work on this run.
    """
    _wait_for_silence(run)
    heart = Heart(run, drain)
    heart.beat()
    over = threading.Event()

    def work() -> None:
        while not over.wait(pulse.INTERVAL_S):
            try:
                heart.beat()
            except MMGError as error:  # the run may go on without it
                log.warning("no sign of life was written: %s", error)

    thread = threading.Thread(target=work, name="mmg_ray-heart", daemon=True)
    thread.start()
    state = State.FAILED
    try:
        yield heart
        state = State.COMPLETE
    except (Drained, KeyboardInterrupt):
        state = State.STOPPED
        raise
    finally:
        over.set()
        thread.join()
        if not heart.lost:
            try:
                heart.beat(state)
            except MMGError as error:
                log.warning("no sign of life was written: %s", error)


def taken(run: Location) -> StoreError:
    """The error of a driver that is not the first."""
    return StoreError(
        f"another driver is at work on {run.url}, so this one stopped; nothing is lost. See "
        f"`mmg-ray status {run.url}`; run again when it has ended"
    )


def _wait_for_silence(run: Location) -> None:
    """Return when no other driver gives signs of life: at once, or after a dead one's last time."""
    first = pulse.read(run)
    if first is None or not first.alive:
        return
    log.info("another driver wrote a moment ago; waiting to see whether it still works")
    while (found := pulse.read(run)) is not None and found.alive:
        if found.updated != first.updated:
            raise taken(run)
        time.sleep(pulse.INTERVAL_S / 5)
