"""What `plan` says beside what a run then takes: sparse counts and continuous values, N = 1,000 to 100,000.

    OMP_NUM_THREADS=1 python benchmarks/forecast.py

Runs of one process, without a matrix; the time of shards alone, as `plan` projects it, and no time of other programs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from common import machine, print_table
from single_cell import single_cell

from mmg_ray import config as configuration
from mmg_ray.execute import beginning, driver
from mmg_ray.execute.task import ShardTask, run_shard

GENES = {1_000: 300, 10_000: 200, 100_000: 120}


def continuous(n_samples: int, n_variables: int, rng: np.random.Generator) -> np.ndarray:
    """A fifth of the variables in modules of five, along lines and parabolas; the others alone."""
    x = rng.standard_normal((n_samples, n_variables))
    for first in range(0, n_variables // 5, 5):
        for k in range(1, 5):
            source = x[:, first]
            x[:, first + k] += rng.uniform(0.2, 1) * (source if k % 2 else source**2)
    return x


def main() -> None:
    rows = []
    for name, draw in (("counts", single_cell), ("continuous", continuous)):
        for n, n_variables in GENES.items():
            values = draw(n, n_variables, np.random.default_rng([11, n]))
            with tempfile.TemporaryDirectory() as folder:
                np.save(Path(folder) / "x.npy", values)
                config = configuration.from_dict(
                    {
                        "data": {"path": f"{folder}/x.npy"},
                        "edges": {"matrix": False},
                        "execute": {"executor": "serial"},
                        "output": {"url": f"{folder}/run"},
                    }
                )
                model = driver.plan_run(config, measure=False).task_s
                began = time.process_time()
                planned = driver.plan_run(config)
                spent = time.process_time() - began
                asked = beginning.configure(config, ())
                found = beginning.begin(asked, asked.digests())
                began = time.process_time()
                for shard in range(found.n_shards):
                    run_shard(ShardTask(asked.place.url, found.fingerprint, shard, "cpu"))
                took = time.process_time() - began
            rows.append(
                [
                    name,
                    f"{n:,} x {n_variables}",
                    f"{took:.1f}",
                    f"{planned.task_s:.1f}",
                    f"{planned.task_s / took:.2f}",
                    f"{model / took:.2f}",
                    f"{spent:.1f}",
                ]
            )
            print(*rows[-1], flush=True)
    print_table(
        [
            "data",
            "samples x variables",
            "took, s",
            "planned",
            "planned / took",
            "cost model alone / took",
            "planning, s",
        ],
        rows,
    )
    print(machine())


if __name__ == "__main__":
    main()
