"""What Ray and storage cost over the bare loop: the same tiles, one core, shards of so many seconds.

    python benchmarks/overhead.py --variables 128 --shard-s 30

The bare loop estimates the tiles of the plan in this process and stores nothing. The run goes through
Ray (one worker) and S3 (if `--url` says so) or files. Starting Ray, once a run, is given apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from common import machine, print_table, variables

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.execute import driver
from mmg_ray.execute.executor import open_executor
from mmg_ray.store import manifest
from mmg_ray.store.location import Location


def bare(cfg: Config, values: np.ndarray, run: Location) -> float:
    """Seconds to estimate every tile of a run that was planned, here, one after the other."""
    found = manifest.read(run)
    plan = manifest.read_plan(run, found.plan_digest)
    held = variables(values)
    began = time.perf_counter()
    for tile in range(plan.n_tiles):
        estimate_tile(held, plan.tile_pairs(tile), cfg.estimator, "cpu")
    return time.perf_counter() - began


def ready(_: int) -> str:
    """What a worker does once, whatever it does then: its imports."""
    import mmg_ray.execute.task  # noqa: F401

    return "worker ready"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variables", type=int, default=128)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--shard-s", type=float, default=30.0)
    parser.add_argument("--denoiser", default="spline")
    parser.add_argument("--url", help="Where the run is stored; default a temporary folder.")
    args = parser.parse_args()
    print(machine())
    rng = np.random.default_rng(0)
    values = rng.standard_normal((args.samples, args.variables))
    values += 0.5 * rng.standard_normal((args.samples, 1))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "values.npy"), values)
        tree = {
            "data": {"path": f"{folder}/values.npy"},
            "estimator": {"denoiser": args.denoiser},
            "plan": {"shard_s": args.shard_s},
            "edges": {"matrix": False},
            "execute": {"max_in_flight": 1},  # one at a time, as the bare loop
            "output": {"url": args.url or f"{folder}/run"},
        }
        cfg = configuration.from_dict(tree)
        began = time.perf_counter()
        with open_executor(cfg.execute, task_bytes=1e9) as executor:
            (warm,) = executor.map(ready, [0])
            started = time.perf_counter() - began
            began = time.perf_counter()
            run = driver.run(cfg)
            on_ray = time.perf_counter() - began
        loop = bare(cfg, values, Location(run.url))
    m = run.manifest
    print_table(
        ["pairs", "shards", "bare loop", "Ray + storage", "overhead", "start of Ray"],
        [[f"{m.n_pairs:,}", f"{m.n_shards}", f"{loop:.1f} s", f"{on_ray:.1f} s",
          f"{on_ray / loop - 1:+.1%}", f"{started:.1f} s ({warm.result or warm.error})"]],
    )  # fmt: skip


if __name__ == "__main__":
    main()
