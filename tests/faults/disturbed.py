"""What the tests of faults share: a run, a driver in a process of its own, and what must hold after.

Each test of a fault ends with `survived`, which notes a line of the table that `make faults` prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmg_ray.execute import driver
from mmg_ray.store.location import Location
from mmg_ray.store.run import Run

N_VARIABLES = 16

# A driver whose shards take a moment, so that there is time to disturb it, until a file "go" says that it has been.
# Workers import the same.
SLOW = """
import sys, time
from pathlib import Path
from mmg_ray.execute import driver, task
SECONDS, GO = float(sys.argv[2]), Path(sys.argv[1]).with_name("go")
def slow_shard(item):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not GO.exists():
        time.sleep(0.01)
    return task.run_shard(item)
driver.run_shard = slow_shard
from mmg_ray.cli import main
main(["run", *sys.argv[1:2], *sys.argv[3:]])
"""

ROWS: list[tuple[str, float, int, int]] = []


def settings(folder: Path, url: str | None = None, **execute: Any) -> dict[str, Any]:
    """A run of 10 shards and 120 pairs."""
    values = np.random.default_rng(0).normal(size=(100, N_VARIABLES))
    np.save(folder / "values.npy", values)
    return {
        "data": {"path": str(folder / "values.npy")},
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 4, "shard_s": 1.0e-9},
        "execute": {"executor": "serial", **execute},
        "output": {"url": url or str(folder / "run")},
    }


def start(
    folder: Path, tree: dict[str, Any], seconds: float = 0.3, arguments: tuple[str, ...] = (), **env
) -> subprocess.Popen:
    """A slow driver in a process of its own; its output goes to `driver.log`."""
    (folder / "slow.py").write_text(SLOW)
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))
    with (folder / "driver.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, folder / "slow.py", folder / "run.yaml", str(seconds), *arguments],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **env},
        )


def wait(condition: Callable[[], Any], seconds: float = 180.0, what: str = "it") -> None:
    """Until the condition holds; AssertionError after so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)


def wait_for_shards(process: subprocess.Popen, url: str, n: int) -> None:
    """Until a driver that is alive has stored so many shards."""

    def there() -> bool:
        assert process.poll() is None, "the driver ended before it was disturbed"
        return len(shards(url)) >= n

    wait(there, what=f"storing {n} shards")


def shards(url: str) -> dict[str, bytes]:
    """The bytes of the edges by object name."""
    folder = Location(url) / "edges"
    return {name: (folder / name).read_bytes() for name in folder.names() if _is_shard(name)}


def names(url: str) -> list[str]:
    return [name for name in (Location(url) / "edges").names() if _is_shard(name)]


def _is_shard(name: str) -> bool:
    return name.endswith(".parquet")


def undisturbed(folder: Path) -> dict[str, bytes]:
    """What the run should hold."""
    from mmg_ray import config

    place = folder / "undisturbed"
    place.mkdir(exist_ok=True)
    return shards(driver.run(config.from_dict(settings(place))).url)


def survived(fault: str, url: str, expected: dict[str, bytes], recovery_s: float) -> None:
    """Every pair exactly once, and the edges byte for byte those of an undisturbed run."""
    note(fault, Run(url), recovery_s)
    assert shards(url) == expected


def note(fault: str, run: Run, recovery_s: float) -> None:
    """A line of the table; every pair is there exactly once."""
    edges = run.edges()
    pairs = list(zip(edges.i, edges.j, strict=True))
    lost = run.manifest.n_pairs - len(set(pairs))
    repeated = len(pairs) - len(set(pairs))
    ROWS.append((fault, recovery_s, lost, repeated))
    assert (lost, repeated) == (0, 0)
    assert run.status().complete
