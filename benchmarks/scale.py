"""Very many pairs on a small machine: time and memory of driver and tasks, against the projection.

    python benchmarks/scale.py --variables 5000 --planned 20000 --seconds 90

All pairs of V variables x 1,000 samples through the screen, and what it finds through the splines; then
the first shards, of so many seconds, of a larger run. Variables come in blocks of 10 of one hidden cause.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml
from common import print_table
from footprint import watch

from mmg_ray.execute.driver import plan_run
from mmg_ray.runs import open_run


def blocks(n_samples: int, n_variables: int) -> np.ndarray:
    """(N, V) float32 variables, every 10 of one cause."""
    rng = np.random.default_rng(0)
    cause = rng.standard_normal((n_samples, -(-n_variables // 10)), dtype=np.float32)
    noise = rng.standard_normal((n_samples, n_variables), dtype=np.float32)
    return np.repeat(cause, 10, axis=1)[:, :n_variables] * 0.5 + noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variables", type=int, default=5000)
    parser.add_argument("--planned", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--max-p-value", type=float, default=1e-5)
    args = parser.parse_args()
    rows = []
    for n_variables, more in (
        (args.variables, []),
        (args.planned, ["--stop-after", f"{args.seconds}"]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "values.npy"), blocks(args.samples, n_variables))
            tree = {
                "data": {"path": f"{folder}/values.npy"},
                "estimator": {"cascade": {"p_value": args.max_p_value}},
                "edges": {"max_p_value": args.max_p_value, "matrix": False},
                "output": {"url": f"{folder}/run"},
            }
            config = Path(folder, "run.yaml")
            config.write_text(yaml.safe_dump(tree))
            planned = plan_run(str(config))
            went = watch(["run", str(config), *more])
            status = open_run(f"{folder}/run").status()
        rows.append(
            [
                f"{n_variables:,}",
                f"{status.pairs_done:,} of {status.n_pairs:,}",
                f"{status.pairs_stored:,}",
                f"{went.wall_s:.0f} s (exit {went.code})",
                f"{went.driver_bytes / 1e9:.2f} / {planned.driver_bytes / 1e9:.2f}",
                f"{went.task_bytes / 1e9:.2f} / {planned.peak_bytes / 1e9:.2f}",
            ]
        )
    head = ["variables", "pairs done", "stored", "time", "driver GB, measured / projected"]
    print_table([*head, "task GB, measured / projected"], rows)


if __name__ == "__main__":
    main()
