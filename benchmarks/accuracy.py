"""Error of estimators on scalar pairs of known MI, beside scikit-learn's KSG on the same samples.

    python benchmarks/accuracy.py --n-samples 1000 --seeds 20 --denoisers spline,auto

The default tasks are the report suite, none of which was used to choose a setting. Prints for each task
the root mean square error over seeds, and of each denoiser its bias, the share of 95 % intervals (1.96
standard errors) that hold the truth and the tier that most of its estimates are from; then totals.
KSG is run as most people run it, on the values as they are; scikit-learn breaks ties by tiny noise. That
is unkind to it where values repeat, so there are totals over the tasks without ties too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial

import numpy as np
from common import estimate_pairs, ksg, machine, print_table, seconds

from mmg_ray.config import EstimatorConfig
from mmg_ray.known_mi import report_suite, tuning_suite

SUITES = {"report": report_suite, "tuning": tuning_suite}
NEIGHBOURS = (3, 10)


def rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=SUITES, default="report")
    parser.add_argument("--denoisers", default="spline,auto", help="names joined by commas")
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"{args.suite} suite, N = {args.n_samples}, {args.seeds} seeds, {machine(args.device)}\n")

    tasks = SUITES[args.suite]()
    pairs = [
        task.sample(np.random.default_rng([args.first_seed + seed, number]), args.n_samples)
        for number, task in enumerate(tasks)
        for seed in range(args.seeds)
    ]
    shape = (len(tasks), args.seeds)
    truth = np.array([task.mi_nats for task in tasks])[:, None]
    tied = np.array(
        [any(len(np.unique(v)) < v.size for v in pairs[t * args.seeds]) for t in range(shape[0])]
    )

    denoisers = args.denoisers.split(",")
    errors: dict[str, np.ndarray] = {}
    ms: dict[str, float] = {}
    covered: dict[str, np.ndarray] = {}
    tier: dict[str, list[str]] = {}
    for name in denoisers:
        cfg = EstimatorConfig(denoiser=name)
        estimate_pairs(pairs[:: args.seeds], cfg, args.device)  # tables are made once per process
        spent, found = seconds(partial(estimate_pairs, pairs, cfg, args.device), args.device)
        ms[name] = 1e3 * spent / len(pairs)
        errors[name] = found.mi_nats.reshape(shape) - truth
        covered[name] = np.abs(errors[name]) <= 1.96 * found.se_nats.reshape(shape)
        used = np.array([row.denoiser for row in found]).reshape(shape)
        tier[name] = [
            f"{n * 100 // args.seeds} % {t}"
            for t, n in (Counter(row).most_common(1)[0] for row in used.tolist())
        ]
    for k in NEIGHBOURS:
        spent, nearest = seconds(partial(list, map(partial(ksg, k=k), pairs)))
        ms[f"KSG k={k}"] = 1e3 * spent / len(pairs)
        errors[f"KSG k={k}"] = np.reshape(nearest, shape) - truth

    by_task = {name: np.sqrt((error**2).mean(1)) for name, error in errors.items()}
    header = ["task", "MI", *errors]
    for name in denoisers:
        header += [f"{name} bias", "cover", "tier"]
    rows = []
    for t, task in enumerate(tasks):
        row = [task.name, f"{task.mi_nats:.4f}", *(f"{v[t]:.4f}" for v in by_task.values())]
        for name in denoisers:
            row += [
                f"{errors[name][t].mean():+.4f}",
                f"{covered[name][t].mean():.2f}",
                tier[name][t],
            ]
        rows.append(row)
    print_table(header, rows)

    dependent = truth[:, 0] > 0
    best_ksg = np.minimum(*(by_task[f"KSG k={k}"] for k in NEIGHBOURS))
    rows = []
    for name, error in errors.items():
        rows.append(
            [
                name,
                f"{rmse(error):.4f}",
                f"{rmse(error[~tied]):.4f}",
                f"{rmse(error[~dependent]):.4f}",
                f"{np.mean(by_task[name] < by_task['KSG k=3']):.0%}" if name in covered else "",
                f"{np.mean(by_task[name] < best_ksg):.0%}" if name in covered else "",
                f"{covered[name][dependent].mean():.3f}" if name in covered else "",
                f"{ms[name]:.1f}",
            ]
        )
    print()
    print_table(
        [
            "overall",
            "RMSE",
            "without ties",
            "independent",
            "beats KSG k=3",
            "beats both KSG",
            "cover, dependent",
            "ms per pair",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
