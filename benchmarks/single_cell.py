"""Cost of `auto` on counts like those of single cells, beside scikit-learn's KSG on the same pairs.

    OMP_NUM_THREADS=1 python benchmarks/single_cell.py

Cells differ in depth and type; genes are negative binomial, a quarter mark a type, two in five follow one of
several programmes. All pairs of 64 genes at each number of cells; the median of the repeats, on fresh genes each.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from itertools import combinations

import numpy as np
from common import ksg, machine, print_table, seconds, variables

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile

KSG_PAIRS = 20


def single_cell(n_cells: int, n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """(N, G) counts."""
    depth = np.exp(0.3 * rng.standard_normal(n_cells))
    types = rng.integers(6, size=n_cells)
    programmes = rng.standard_normal((n_cells, max(1, n_genes // 20)))
    counts = np.empty((n_cells, n_genes))
    for g, mean in enumerate(np.exp(rng.normal(-1.2, 1.3, n_genes))):
        rate = depth * mean * rng.gamma(3, 1 / 3, n_cells)
        if rng.random() < 0.25:
            rate *= np.where(types == rng.integers(6), 4.0, 0.5)
        if rng.random() < 0.4:
            weight = rng.uniform(0.3, 0.9)
            rate *= np.exp(weight * programmes[:, rng.integers(programmes.shape[1])])
        counts[:, g] = rng.poisson(rate)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", default="1000,10000,100000", help="numbers joined by commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--genes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=7000)
    args = parser.parse_args()
    print(f"{args.genes} genes, {args.repeats} repeats, {machine()}\n")
    pairs = np.array(list(combinations(range(args.genes), 2)))
    cfg = EstimatorConfig("auto")
    rows = []
    for n in map(int, args.n_samples.split(",")):
        ms, names, zeros, nearest = [], Counter[str](), [], []
        for repeat in range(args.repeats + 1):  # tables are made once per process
            counts = single_cell(n, args.genes, np.random.default_rng([args.seed, repeat, n]))
            spent, found = seconds(partial(estimate_tile, variables(counts), pairs, cfg))
            if not repeat:
                continue
            ms.append(1e3 * spent / len(pairs))
            zeros.append((counts == 0).mean())
            names += found.denoiser.counts()
            some = np.random.default_rng(repeat).permutation(len(pairs))
            for i, j in pairs[some[: KSG_PAIRS if n <= 10_000 else 1]].tolist():
                nearest.append(seconds(partial(ksg, (counts[:, i], counts[:, j]), k=3))[0])
        own, other = np.median(ms), 1e3 * np.median(nearest)
        shares = ", ".join(f"{k} {v / sum(names.values()):.0%}" for k, v in names.most_common())
        rows.append(
            [n, f"{np.mean(zeros):.0%}", f"{own:.3f}", f"{other:.1f}", f"{other / own:.0f}", shares]
        )
    print_table(["cells", "zeros", "auto, ms a pair", "KSG, ms", "times", "rows of"], rows)


if __name__ == "__main__":
    main()
