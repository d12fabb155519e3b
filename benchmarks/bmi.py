"""Error on the 40 tasks of the BMI benchmark (Czyz et al. 2023), and on their shuffled pairs.

    python benchmarks/bmi.py --n-samples 1000 --seeds 3
    python benchmarks/bmi.py --n-samples 1000 --seeds 3 --shuffled
    python benchmarks/bmi.py --n-samples 5000 --high-mi

Prints for each task the estimates of all seeds, their mean error and standard error, the direct and
orthogonal forms, and seconds; then the mean absolute error of the means over seeds, as the benchmark counts it, and of
single estimates. With --shuffled the samples of y are permuted, so that the truth is 0; with --high-mi
the tasks are normal vectors of 10 and 10 dimensions of 3, 8 and 15 nats, and their cubes. The samplers
are our own (`mmg_ray/known_mi/bmi.py`, compared with the authors' by `bmi_check.py`).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import machine, print_table

import mmg_ray
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.known_mi import Task, bmi_suite, mapped, paired


def high_mi() -> dict[str, Task]:
    """Ten pairs of one correlation, as they are and cubed."""
    found = {}
    for mi in (3.0, 8.0, 15.0):
        task = paired(10, np.sqrt(1 - np.exp(-2 * mi / 10)), 10)
        found[f"normal 10x10, {mi:g} nats"] = task
        found[f"cubed 10x10, {mi:g} nats"] = mapped(task, "cube", lambda x: x**3, lambda y: y**3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=7000)
    parser.add_argument("--denoiser", default="auto")
    parser.add_argument("--steps", type=int, help="estimator.network.n_steps")
    parser.add_argument("--only", default="", help="tasks whose identifier has this in it")
    parser.add_argument("--shuffled", action="store_true", help="permute y: the truth is then 0")
    parser.add_argument("--high-mi", action="store_true", help="six tasks of high MI instead")
    args = parser.parse_args()
    network = NetworkConfig() if args.steps is None else NetworkConfig(n_steps=args.steps)
    print(f"N = {args.n_samples}, {args.seeds} seeds, {args.denoiser}, {machine()}\n", flush=True)

    rows, by_task, every, covered = [], [], [], []
    for number, (name, task) in enumerate((high_mi() if args.high_mi else bmi_suite()).items()):
        if args.only not in name:
            continue
        truth = 0.0 if args.shuffled else task.mi_nats
        found, spent = [], time.perf_counter()
        for seed in range(args.seeds):
            rng = np.random.default_rng([args.first_seed + seed, number])
            x, y = task.sample(rng, args.n_samples)
            y = rng.permutation(y) if args.shuffled else y
            cfg = EstimatorConfig(args.denoiser, seed=seed, network=network)
            found.append(mmg_ray.estimate_mi(x, y, config=cfg))
        spent = (time.perf_counter() - spent) / args.seeds
        mi = np.array([r.mi_nats for r in found], dtype=float)
        se = np.array([r.se_nats for r in found], dtype=float)
        by_task.append(mi.mean() - truth)
        every.extend(mi - truth)
        covered.extend(abs(mi - truth) <= 1.96 * se)
        rows.append(
            [
                name,
                f"{truth:.3f}",
                " ".join(f"{v:.3f}" for v in mi),
                f"{by_task[-1]:+.3f}",
                f"{se.mean():.3f}",
                f"{np.mean([r.gap for r in found]):.3f}",
                f"{np.mean([r.orthogonal for r in found]):.3f}",
                found[0].denoiser,
                f"{spent:.1f}",
            ]
        )
        print(*rows[-1], flush=True)
    print()
    header = ["task", "MI", "estimates", "error", "se", "direct", "orthogonal", "from", "s"]
    print_table(header, rows)
    print(
        f"\nmean absolute error of the means {np.abs(by_task).mean():.4f}, of single estimates "
        f"{np.abs(every).mean():.4f}; 95 % intervals hold the truth in {np.mean(covered):.2f}; "
        f"{sum(float(r[-1]) for r in rows):.0f} s a seed"
    )


if __name__ == "__main__":
    main()
