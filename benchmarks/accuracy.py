"""Error of the neural denoiser on scalar pairs of known MI, beside scikit-learn's KSG.

Both see the same samples in the same run, on one thread:

    python benchmarks/accuracy.py --n-samples 1000 --seeds 10

Prints the root mean square error over seeds for each task, the share of 95 % intervals that hold
the truth, and seconds per pair.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from sklearn.feature_selection import mutual_info_regression

from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.marginals import ordinal_codes
from mmg_ray.estimator.tile import estimate_tile
from mmg_ray.schema import Variable

TASKS = [
    known_mi.gaussian(0.0),
    known_mi.gaussian(0.15),
    known_mi.gaussian(0.75),
    known_mi.gaussian(0.99),
    known_mi.student(1),
    known_mi.location_scale("x^2 + e", lambda x: x**2, lambda x: 1 + 0 * x),
    known_mi.location_scale("sin 2x + .3 e", lambda x: np.sin(2 * x), lambda x: 0.3 + 0 * x),
    known_mi.additive_uniform(0.25),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)

    pairs = [
        task.sample(np.random.default_rng([args.first_seed + seed, number]), args.n_samples)
        for number, task in enumerate(TASKS)
        for seed in range(args.seeds)
    ]
    shape = (len(TASKS), args.seeds)
    truth = np.array([task.mi_nats for task in TASKS])

    variables = {}
    for number, (x, y) in enumerate(pairs):
        variables[2 * number] = Variable(f"x{number}", ordinal_codes(x)[:, None])
        variables[2 * number + 1] = Variable(f"y{number}", ordinal_codes(y)[:, None])
    rows = [(2 * number, 2 * number + 1) for number in range(len(pairs))]
    started = time.perf_counter()
    results = estimate_tile(variables, rows, EstimatorConfig(denoiser="neural"), args.device)
    neural_s = (time.perf_counter() - started) / len(pairs)
    neural = np.array([r.mi_nats for r in results]).reshape(shape)
    se = np.array([r.se_nats for r in results]).reshape(shape)

    errors = {"neural": neural - truth[:, None]}
    seconds = {"neural": neural_s}
    for k in (3, 10):
        started = time.perf_counter()
        ksg = [
            mutual_info_regression(x[:, None], y, n_neighbors=k, random_state=0)[0]
            for x, y in pairs
        ]
        seconds[f"KSG k={k}"] = (time.perf_counter() - started) / len(pairs)
        errors[f"KSG k={k}"] = np.array(ksg).reshape(shape) - truth[:, None]

    covered = np.abs(errors["neural"]) <= 1.96 * se
    print(
        f"N = {args.n_samples}, {args.seeds} seeds, torch {torch.__version__}, {args.device}",
        end="",
    )
    print(
        f" ({torch.cuda.get_device_name()})" if args.device == "cuda" else f", {os.uname().machine}"
    )
    print(
        f"{'task':24s} {'MI':>7s} " + " ".join(f"{name:>10s}" for name in errors) + "  bias  cover"
    )
    for t, task in enumerate(TASKS):
        rmse = " ".join(f"{np.sqrt((error[t] ** 2).mean()):10.4f}" for error in errors.values())
        bias = errors["neural"][t].mean()
        print(f"{task.name:24s} {task.mi_nats:7.4f} {rmse} {bias:+.3f} {covered[t].mean():5.2f}")
    rmse = " ".join(f"{np.sqrt((error**2).mean()):10.4f}" for error in errors.values())
    print(f"{'overall RMSE':24s} {'':7s} {rmse}        {covered[1:].mean():5.2f}")
    print(f"{'seconds per pair':24s} {'':7s} " + " ".join(f"{s:10.4f}" for s in seconds.values()))


if __name__ == "__main__":
    main()
