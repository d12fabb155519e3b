"""What a run takes: memory against its projection, and what goes through Ray, against its limits."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mmg_ray.execute.driver import plan_run
from mmg_ray.execute.task import BandTask, ShardTask
from mmg_ray.schema import Receipt

# Peak memory of a process that does one shard, from its start.
ONE_TASK = """
import json, sys
from pathlib import Path
from mmg_ray.execute.task import ShardTask, run_shard
from mmg_ray.runs import open_run
run = open_run(sys.argv[1])
run_shard(ShardTask(run.url, run.manifest.fingerprint, 0, "cpu"))
# not ru_maxrss: that one begins with what the parent process had
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(int(status["VmHWM"].split()[0]) * 1024))
"""
DRIVER = """
import json, sys
from pathlib import Path
from mmg_ray.execute import driver
driver.run(sys.argv[1])
# not ru_maxrss: that one begins with what the parent process had
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(int(status["VmHWM"].split()[0]) * 1024))
"""


def measured(code: str, argument: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", code, str(argument)], capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("denoiser", ["screen", "spline"])
def test_measured_memory_stays_below_the_projection(tmp_path: Path, denoiser: str) -> None:
    n_variables = {"screen": 700, "spline": 24}[denoiser]
    values = np.random.default_rng(0).normal(size=(400, n_variables))
    values += 0.5 * values[:, :1]
    np.save(tmp_path / "values.npy", values)
    tree = {
        "data": {"path": str(tmp_path / "values.npy")},
        "estimator": {"denoiser": denoiser},
        "edges": {"matrix": False},
        "execute": {"executor": "serial"},
        "output": {"url": str(tmp_path / "run")},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    planned = plan_run(str(tmp_path / "run.yaml"))
    # a serial driver is a task as well
    limit = planned.peak_bytes + planned.driver_bytes
    assert measured(DRIVER, tmp_path / "run.yaml") < limit
    assert measured(ONE_TASK, tmp_path / "run") < planned.peak_bytes < 3e9


def test_what_travels_through_ray_is_small() -> None:
    url = "s3://bucket/" + "x" * 500
    items = (
        ShardTask(url, "f" * 64, 10**6, "cuda"),
        BandTask(url, "f" * 64, 0, 10**6),
        Receipt(10**6, 10**9, 10**9),
    )
    assert all(len(pickle.dumps(item)) < 2000 for item in items)
