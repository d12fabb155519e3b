"""Calibration of the screen's p-values under independence, and its power on weak edges.

    python benchmarks/pvalues.py --n-pairs 1e7

Independent pairs are random permutations of ranks; tied data gives the same, its ties being broken at
random. Prints the share of p-values below each level over that level (1 is exact), then the power at
1 % false positives beside Pearson's test on the same samples.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from mmg_ray.estimator import screen

LEVELS = (0.5, 0.1, 0.01, 1e-3, 1e-4)
_COLUMNS = 700  # permutations per side of a block of pairs


def null_p_values(n: int, n_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """p-values of about `n_pairs` independent pairs of n samples, in blocks of one matrix product."""
    weights = screen.WEIGHTS[:, None].astype(np.float32)
    found = []
    for _ in range(max(1, round(n_pairs / _COLUMNS**2))):
        left, right = (
            np.stack([screen.basis(n)[rng.permutation(n)] for _ in range(_COLUMNS)]).astype(
                np.float32
            )
            for _ in range(2)
        )
        s = left.transpose(0, 2, 1).reshape(-1, n) @ right.transpose(1, 0, 2).reshape(n, -1) / n
        s = s.reshape(_COLUMNS, screen.ORDER, _COLUMNS, screen.ORDER)
        found.append(screen.p_value((n - 1) * (weights * s**2).sum((1, 3)).ravel(), n))
    return np.concatenate(found)


ALTERNATIVES = {
    "rho = 0.1": lambda x, e: 0.1 * x + np.sqrt(0.99) * e,
    "rho = 0.2": lambda x, e: 0.2 * x + np.sqrt(0.96) * e,
    "0.15 (x^2 - 1) + e": lambda x, e: 0.15 * (x**2 - 1) + e,
    "e exp(0.2 x)": lambda x, e: e * np.exp(0.2 * x),
    "0.25 |x| + e": lambda x, e: 0.25 * np.abs(x) + e,
    "0.4 sin 3x + e": lambda x, e: 0.4 * np.sin(3 * x) + e,
}


def power(n: int, repeats: int, rng: np.random.Generator) -> None:
    print(f"\npower at 1 % false positives, N = {n}, {repeats} repeats: screen, Pearson")
    for name, y_of in ALTERNATIVES.items():
        hits = np.zeros(2)
        for _ in range(repeats):
            x, e = rng.standard_normal((2, n))
            y = y_of(x, e)
            t = screen.statistic(np.argsort(np.argsort(x)), np.argsort(np.argsort(y)))
            hits += screen.p_value(t, n) < 0.01, stats.pearsonr(x, y).pvalue < 0.01
        print(f"{name:22s} {hits[0] / repeats:.2f} {hits[1] / repeats:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-pairs", type=float, default=4e6)
    parser.add_argument("--repeats", type=int, default=1000)
    args = parser.parse_args()
    rng = np.random.default_rng(2026)
    print(f"share of p-values below a level, over the level; {args.n_pairs:.0e} independent pairs")
    print(f"{'N':>6s} " + " ".join(f"{level:>8g}" for level in LEVELS))
    for n in (30, 50, 100, 200, 500, 1000):
        p = null_p_values(n, int(args.n_pairs), rng)
        print(f"{n:6d} " + " ".join(f"{np.mean(p < level) / level:8.3f}" for level in LEVELS))
    power(500, args.repeats, rng)


if __name__ == "__main__":
    main()
