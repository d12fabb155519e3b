"""A campaign of attacks: seeded, bounded in time, every attempt in a process that may die, and its table.

outcome     meaning
refused     an MMGError, which says what is wrong and what to do
said        it went on, and said what is missing or was left out
repaired    it was put right, to the byte
harmless    every result is what it was, to the byte
accepted    a malformed input that is read, and rightly so
silent      another result without a word                   a failure of the campaign
traceback   an exception that is not for users              a failure
crash       the process died                                a failure
hang        it took longer than `limit_s`                   a failure
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mmg_ray.errors import MMGError

_SHOWN = 20


class Outcome(StrEnum):
    REFUSED = "refused"
    SAID = "said"
    REPAIRED = "repaired"
    HARMLESS = "harmless"
    ACCEPTED = "accepted"
    SILENT = "silent"
    TRACEBACK = "traceback"
    CRASH = "crash"
    HANG = "hang"


BAD = (Outcome.SILENT, Outcome.TRACEBACK, Outcome.CRASH, Outcome.HANG)


class Answer(NamedTuple):
    """What became of a call: `value` where it returned (outcome None), else the outcome and the reason."""

    outcome: Outcome | None
    value: Any = None
    reason: str = ""


class Attempt(NamedTuple):
    """One attack: `fn(*args)` returns (Outcome, reason), or raises.

    `fn` is a function of a module, and its arguments can be pickled: it is called in another process.
    """

    kind: str
    what: str
    fn: Callable[..., tuple[Outcome, str]]
    args: tuple[Any, ...] = ()


class Sandbox:
    """A process that calls functions, and is replaced when it dies or takes too long."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, fn: Callable[..., Any], *args: Any, limit_s: float = 60.0) -> Answer:
        """Call it there; whatever it does comes back as an `Answer`."""
        if self._process is None:
            self._begin()
        self._pipe.send((fn, args))
        try:
            if not self._pipe.poll(limit_s):
                self._end()
                return Answer(Outcome.HANG, reason=f"no answer in {limit_s:g} s")
            answer: Answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._end()
            return Answer(Outcome.CRASH, reason=f"the process ended with {code}")
        return answer

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None


def call(fn: Callable[..., Any], *args: Any) -> Answer:
    """Call it in this process; whatever it raises comes back as an `Answer`."""
    try:
        return Answer(None, fn(*args))
    except MMGError as error:
        return Answer(Outcome.REFUSED, reason=f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001  # that is what is looked for
        return Answer(Outcome.TRACEBACK, reason=traceback.format_exc())


def _serve(pipe: Connection) -> None:
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            fn, args = pipe.recv()
            pipe.send(call(fn, *args))


class Table:
    """Outcomes by kind of attack."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Outcome]] = {}
        self.bad: list[str] = []

    def add(self, kind: str, what: str, outcome: Outcome, reason: str = "") -> None:
        self._counts.setdefault(kind, Counter())[outcome] += 1
        if outcome in BAD:
            self.bad.append(f"{outcome}: {kind}: {what}\n    {reason.strip()}")

    @property
    def n_tried(self) -> int:
        return sum(count.total() for count in self._counts.values())

    def __str__(self) -> str:
        total = sum(self._counts.values(), Counter[Outcome]())
        shown = [outcome for outcome in Outcome if total[outcome] or outcome in BAD]
        rows = [["", "tried", *shown]]
        for name, count in [*sorted(self._counts.items()), ("all", total)]:
            rows.append([name, str(count.total()), *(str(count[outcome]) for outcome in shown)])
        width = max(len(row[0]) for row in rows)
        lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
        return "\n".join([*lines, *self.bad[:_SHOWN]])


def campaign(
    attempts: Iterable[Attempt], *, limit_s: float, attempt_s: float = 60.0
) -> Iterator[tuple[Table, Attempt]]:
    """Try them one after the other until the time is up; the table after each.

    Args:
        limit_s: of the whole campaign.
        attempt_s: of one attempt.
    """
    table, began = Table(), time.monotonic()
    with Sandbox() as sandbox:
        for attempt in attempts:
            if time.monotonic() - began > limit_s:
                return
            answer = sandbox.call(attempt.fn, *attempt.args, limit_s=attempt_s)
            outcome, reason = answer.value if answer.outcome is None else (answer.outcome, "")
            table.add(attempt.kind, attempt.what, outcome, reason or answer.reason)
            yield table, attempt
