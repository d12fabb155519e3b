"""Memory of a driver and of its workers, watched from outside through /proc."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Footprint:
    """How a command went: seconds, exit code, and peak resident bytes of it and of any Ray task."""

    wall_s: float
    code: int
    driver_bytes: int
    task_bytes: int


def watch(arguments: list[str]) -> Footprint:
    """Run `mmg-ray ARGUMENTS`; its output goes to standard error."""
    began = time.perf_counter()
    program = Path(sys.executable).with_name("mmg-ray")
    process = subprocess.Popen([program, *arguments], stdout=sys.stderr, env={**os.environ})
    driver = task = 0
    while process.poll() is None:
        driver = max(driver, _peak(process.pid))
        task = max([task, *(_peak(pid) for pid in _tasks(process.pid))])
        time.sleep(0.2)
    return Footprint(time.perf_counter() - began, process.returncode, driver, task)


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _tasks(pid: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
    found = []
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        with contextlib.suppress(OSError):
            if above == pid and Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::"):
                found.append(child)
    return found
