"""Ray itself: what passes through its object store, what listens, who waits for whom, in how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

# Each in a process of its own: Ray keeps its settings for a process, and memory is a process's.
TWO_RUNS = """
import contextlib, json, os, sys
from pathlib import Path
from mmg_ray import config
from mmg_ray.config import ExecuteConfig
from mmg_ray.execute import driver
from mmg_ray.execute.executor import open_executor

def peak():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024

def listening():
    "Addresses, in hexadecimal as Linux has them, of this process and those it started."
    parents, sockets = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        for file in Path(f"/proc/{pid}/fd").glob("*") if above == os.getpid() else ():
            with contextlib.suppress(OSError):
                sockets.add(str(file.readlink()))
    rows = [line.split() for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sorted({row[1].split(":")[0] for row in rows
                   if row[3] == "0A" and f"socket:[{row[9]}]" in sockets})

tree, place = json.loads(sys.argv[1]), sys.argv[2]
with open_executor(ExecuteConfig(), task_bytes=1e9):
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address
    pairs, peaks = [], []
    for name, more in (("few", {"mode": "bipartite", "sources": ["v0", "v1"]}), ("all", {})):
        run = driver.run(config.from_dict({**tree, "pairs": more, "output": {"url": f"{place}/{name}"}}))
        pairs.append(run.manifest.n_pairs)
        peaks.append(peak())
    address = ray.get_runtime_context().gcs_address
    stored = get_memory_info_reply(get_state_from_address(address)).store_stats
    print(json.dumps({"pairs": pairs, "peaks": peaks, "bytes": stored.cumulative_created_bytes,
                      "listening": listening()}))
"""

SIDE_BY_SIDE = """
import json, sys, time
from pathlib import Path
import ray
from ray import cloudpickle
from mmg_ray.config import ExecuteConfig
from mmg_ray.execute.executor import open_executor

def waits(folder):
    Path(folder, "begun").touch()
    while not Path(folder, "other").exists():
        time.sleep(0.05)
    return ray.get_gpu_ids()

def other(folder):
    while not Path(folder, "begun").exists():
        time.sleep(0.05)
    Path(folder, "other").touch()
    return ray.get_gpu_ids()

cloudpickle.register_pickle_by_value(sys.modules["__main__"])
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, object_store_memory=80 * 2**20)
with open_executor(ExecuteConfig(num_gpus=1), task_bytes=1e8) as executor:
    from threading import Thread
    found = {}
    def go(name, executor, fn):
        found[name] = [outcome.result for outcome in executor.map(fn, [sys.argv[1]])]
    threads = [Thread(target=go, args=a) for a in (("gpu", executor, waits), ("cpu", executor.on_cpu(), other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(json.dumps(found))
"""


def said(code: str, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_nothing_grows_with_the_pairs_and_nothing_listens_to_others(tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", np.random.default_rng(0).normal(size=(60, 900)))
    tree = {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": "screen"},
        "plan": {"shard_s": 0.2},
        "execute": {"executor": "ray"},
        "edges": {"matrix": False},
    }
    found = said(TWO_RUNS, json.dumps(tree), str(tmp_path))
    few, many = found["pairs"]
    assert many > 200 * few
    assert found["bytes"] < 10_000  # in all its life
    assert found["peaks"][1] - found["peaks"][0] < 40e6  # the rows alone would be 120 MB
    assert found["listening"]
    assert set(found["listening"]) <= LOOPBACK


def test_what_needs_no_gpu_does_not_wait_for_one(tmp_path: Path) -> None:
    """Each of the two waits for the other to be at work; Ray only counts the GPU here."""
    assert said(SIDE_BY_SIDE, str(tmp_path)) == {"gpu": [[0]], "cpu": [[]]}
