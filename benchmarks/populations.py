"""Error on groups of counting cells that share latent variables, whose MI is known.

    python benchmarks/populations.py --n-samples 2000 --seeds 5

The laws are `population_suite` of `mmg_ray/known_mi/populations.py`, which settings were not found on (but for a look at the shrinkage). Prints for each the MI, the error
that the efficiency bound leaves (the spread of log p(x, y) / p(x) p(y) over the root of N), the estimates and their standard
error, the mean absolute error, the same against the mean of that logarithm over the very samples, the share of 95 % intervals
that hold the MI, the tier, and seconds; then means over the dependent laws.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import machine, print_table

import mmg_ray
from mmg_ray.config import EstimatorConfig
from mmg_ray.known_mi.populations import population_suite

_COLUMNS = ["law", "MI", "bound", "estimate", "se", "error", "beside samples", "cover", "tier", "s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=8000)
    parser.add_argument("--only", default="", help="laws whose name has this in it")
    args = parser.parse_args()
    print(f"N = {args.n_samples}, {args.seeds} seeds, {machine()}\n", flush=True)

    rows, totals = [], []
    for number, law in enumerate(population_suite()):
        if args.only not in law.name:
            continue
        pointwise = law.pointwise()
        truth = pointwise.mean()
        # mean absolute value of a normal error
        bound = np.sqrt(2 / np.pi) * pointwise.std() / np.sqrt(args.n_samples)
        found, se, best, tiers, spent = [], [], [], [], time.perf_counter()
        for seed in range(args.seeds):
            rng = np.random.default_rng([args.first_seed + seed, number])
            x, y = law.sample(rng, args.n_samples)
            best.append(law.log_ratio(x, y).mean())
            estimate = mmg_ray.estimate_mi(x, y, config=EstimatorConfig(seed=seed))
            found.append(estimate.mi_nats)
            se.append(estimate.se_nats)
            tiers.append(estimate.denoiser)
        spent = (time.perf_counter() - spent) / args.seeds
        error = np.abs(np.array(found) - truth)
        beside = np.abs(np.array(found) - best)
        cover = np.mean(error <= 1.96 * np.array(se))
        numbers = [truth, bound, np.mean(found), np.mean(se)]
        numbers += [error.mean(), beside.mean()]
        tier = max(tiers, key=tiers.count)
        rows.append(
            [law.name, *(f"{v:.3f}" for v in numbers), f"{cover:.2f}", tier, f"{spent:.1f}"]
        )
        if law.shared:
            totals.append((bound, error.mean(), beside.mean(), cover, spent))
        print(" | ".join(rows[-1]), flush=True)
    print()
    print_table(_COLUMNS, rows)
    if not totals:
        return
    means = np.mean(totals, axis=0)
    print(
        f"\nDependent laws: mean absolute error {means[1]:.4f} nats (bound {means[0]:.4f}, beside samples {means[2]:.4f}), "
        f"intervals hold {means[3]:.0%}, {means[4]:.1f} s a pair"
    )


if __name__ == "__main__":
    main()
