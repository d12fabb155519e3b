"""Which process something is of, so that another one on the same machine can see that it has ended."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Seen(StrEnum):
    """What can be seen of a process from here; UNKNOWN where it is of another machine or container."""

    AT_WORK = "at work"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Process:
    """A process among all machines.

    Attributes:
        namespace: digest of the machine, its boot, and the container: where a pid has one meaning.
        pid: in there.
        started: when, in the kernel's count since its boot: a pid is used again. Empty if not known.
    """

    namespace: str
    pid: int
    started: str

    @classmethod
    def of(cls, tree: Any) -> Process:
        """As JSON holds it. TypeError, KeyError or ValueError where it does not."""
        return cls(str(tree["namespace"]), int(tree["pid"]), str(tree["started"]))

    def seen(self) -> Seen:
        """Whether it still is at work, where that can be told from here. No clock is asked."""
        if self.namespace != _namespace():
            return Seen.UNKNOWN
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return Seen.GONE
        except PermissionError:
            pass
        state, started = _state_and_start(self.pid)
        if state in ("Z", "X"):  # ended, and nobody has asked how
            return Seen.GONE
        if not started or not self.started:
            return Seen.UNKNOWN
        return Seen.AT_WORK if started == self.started else Seen.GONE


def this_process() -> Process:
    """The one that asks."""
    return Process(_namespace(), os.getpid(), _state_and_start(os.getpid())[1])


def _namespace() -> str:
    """A name that gives nothing away; two containers of a machine have two."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [platform.node(), boot.read_text() if boot.exists() else ""]
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _state_and_start(pid: int) -> tuple[str, str]:
    """Fields 3 and 22 of /proc/PID/stat; empty where there is no such file."""
    try:
        # the name of the program, in brackets, may hold blanks
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
