"""Conditional MI and transfer entropy on systems of exactly known values.

    python benchmarks/conditions.py --n-samples 5000 --seeds 5
    python benchmarks/conditions.py --n-samples 500 --p-values 400
    python benchmarks/conditions.py --n-samples 10000 --genes 16

The first prints bias and root mean square error in nats of each system (`known_mi/conditional.py`). The
second prints which share of conditionally independent pairs has a p-value below .01, .05, .1 and .5. The third
prints the time of a pair of genes of simulated cells of eight types, given the type, the depth, and both: in such cells
nearly every pair depends in another way in every type.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from common import machine, print_table

import mmg_ray
from mmg_ray.known_mi import ConditionalTask, autoregression, conditional_suite, volatility


def estimate(task: ConditionalTask, seed: int, number: int, n: int, denoiser: str):
    x, y, c = task.sample(np.random.default_rng([seed, number]), n)
    c = c.astype(str) if task.categorical else c
    return mmg_ray.estimate_mi(x, y, condition=c, denoiser=denoiser)


def accuracy(n: int, seeds: range, denoiser: str) -> None:
    rows = []

    def add(name: str, truth: float, found: list, spent: float) -> None:
        error = np.array([r.mi_nats for r in found]) - truth
        covered = [abs(r.mi_nats - truth) <= 1.96 * r.se_nats for r in found]
        rows.append(
            [
                name,
                f"{truth:.4f}",
                f"{error.mean():+.4f}",
                f"{np.sqrt((error**2).mean()):.4f}",
                f"{np.mean(covered):.2f}",
                max((r.denoiser for r in found), key=[r.denoiser for r in found].count),
                f"{spent / len(found):.1f}",
            ]
        )
        print(*rows[-1], flush=True)

    for number, task in enumerate(conditional_suite()):
        began = time.perf_counter()
        found = [estimate(task, seed, number, n, denoiser) for seed in seeds]
        add(task.name, task.mi_nats, found, time.perf_counter() - began)
    for name, (truth, sample) in {
        "transfer, linear": autoregression(0.5, 0.7),
        "transfer, weak": autoregression(0.2, 0.7),
        "transfer, volatility": volatility(0.7),
    }.items():
        for forward in (True, False):
            began, found = time.perf_counter(), []
            for seed in seeds:
                x, y = sample(np.random.default_rng([seed, 77]), n)
                ends = (x, y) if forward else (y, x)
                found.append(mmg_ray.transfer_entropy(*ends, denoiser=denoiser))
            label = name if forward else f"{name}, backward"
            add(label, truth if forward else 0.0, found, time.perf_counter() - began)
    print()
    print_table(["system", "exact", "bias", "RMSE", "cover", "from", "s"], rows)


def calibration(n: int, seeds: range) -> None:
    levels, rows = (0.01, 0.05, 0.1, 0.5), []
    tasks = [(k, t) for k, t in enumerate(conditional_suite()) if t.mi_nats == 0]
    for number, task in tasks:
        p = np.array([estimate(task, seed, number, n, "screen").p_value for seed in seeds])
        rows.append([task.name, *(f"{(p < level).mean():.3f}" for level in levels)])
    p = []
    for seed in seeds:
        x, y = autoregression(0.5, 0.7)[1](np.random.default_rng([seed, 78]), n)
        p.append(mmg_ray.transfer_entropy(y, x, denoiser="screen").p_value)
    rows.append(
        ["transfer, backward", *(f"{(np.array(p) < level).mean():.3f}" for level in levels)]
    )
    print_table(["independent given the condition", *(f"p < {level}" for level in levels)], rows)


def cells(n: int, n_genes: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, object]]:
    """(n, n_genes) log-normalised counts and conditions: a type has means and programs of its own."""
    n_types, n_programs = 8, 4
    kind, depth = rng.integers(0, n_types, n), rng.lognormal(0, 0.3, n)
    loads = rng.normal(0, 0.5, (n_types, n_programs, n_genes))
    loads *= rng.random(loads.shape) < 0.3
    programs = np.einsum("np,npv->nv", rng.standard_normal((n, n_programs)), loads[kind])
    rate = depth[:, None] * np.exp(rng.normal(0, 1, (n_types, n_genes))[kind] + programs)
    counts = rng.poisson(rate).astype(float)
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    values = np.log1p(counts / total * np.median(total))
    label = kind.astype(str)
    return values, {"type": label, "depth": depth, "both": {"type": label, "depth": depth}}


def speed(n: int, n_genes: int) -> None:
    values, conditions = cells(n, n_genes, np.random.default_rng(0))
    rows = []
    for name, condition in conditions.items():
        began = time.perf_counter()
        found = mmg_ray.mi_matrix(values, condition=condition)
        spent = time.perf_counter() - began
        tiers = Counter(e.denoiser for e in found.estimates.values())
        said = ", ".join(f"{count} {tier}" for tier, count in tiers.most_common())
        rows.append([name, len(found.estimates), f"{1e3 * spent / len(found.estimates):.1f}", said])
    print_table(["given", "pairs", "ms a pair", "from"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=8000)
    parser.add_argument("--denoiser", default="auto")
    parser.add_argument("--p-values", type=int, help="calibration over so many samples instead")
    parser.add_argument("--genes", type=int, help="time of pairs of so many genes of cells instead")
    args = parser.parse_args()
    print(f"N = {args.n_samples}, {machine()}\n", flush=True)
    if args.genes:
        speed(args.n_samples, args.genes)
    elif args.p_values:
        calibration(args.n_samples, range(args.first_seed, args.first_seed + args.p_values))
    else:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        accuracy(args.n_samples, seeds, args.denoiser)


if __name__ == "__main__":
    main()
