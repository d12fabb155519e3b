"""Fit of the screen's null for finite n: the map from its statistic to the limit's, from permutations.

    python benchmarks/null.py --n-pairs 1e7

For each n the quantiles t of simulated statistics are paired with those of the limit, t + h / n, and
h(t, n), a broken line in t with values A + B / n at `permutation_law.KNOTS`, is fitted to all n at once, each quantile weighted by its precision.
Prints the coefficients as `estimator/permutation_law.py` has them, and for each n the share of p-values below a
level over that level, from permutations that the fit has not seen.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import print_table

from mmg_ray.estimator.dependence import limit_law, permutation_law, screen
from mmg_ray.estimator.ranks.rank_polynomials import ranked

SIZES = (30, 35, 42, 50, 64, 80, 100, 140, 200)
LEVELS = (0.9, 0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
_COLUMNS = 1400


def statistics(n: int, n_pairs: float, rng: np.random.Generator) -> np.ndarray:
    """Sorted statistics of about `n_pairs` pairs of independent columns of n samples."""
    n_blocks = max(1, round(n_pairs / _COLUMNS**2))
    found = []
    for _ in range(n_blocks):
        columns = rng.random((2, _COLUMNS, n)).argsort(-1)
        blocks = ([ranked(codes) for codes in side] for side in columns)
        found.append(screen.block_moments(*blocks).statistic.astype(np.float32).ravel())
    return np.sort(np.concatenate(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-pairs", type=float, default=1e7, help="of each n")
    args = parser.parse_args()
    rng = np.random.default_rng(14)

    grid, log_tail = limit_law.limit()
    tails = np.concatenate([1 - np.geomspace(1e-3, 0.5, 20), np.geomspace(0.5, 3e-6, 36)])
    expected = np.interp(-np.log(tails), -log_tail, grid)
    rows, right, weight = [], [], []
    for n in SIZES:
        drawn = statistics(n, args.n_pairs, rng)
        t = np.quantile(drawn, 1 - tails)
        # error of an empirical quantile, from its binomial error and the limit's slope there
        slope = -np.gradient(log_tail, grid)[np.searchsorted(grid, expected)]
        error = np.sqrt((1 - tails) / (tails * drawn.size)) / slope
        # the line is linear in its values
        shares = np.stack(
            [permutation_law.broken_line(t, unit) for unit in np.eye(len(permutation_law.KNOTS))], 1
        )
        rows.append(np.hstack([shares, shares / n]))
        right.append(n * (expected - t))
        weight.append(1 / (n * np.hypot(error, 2e-4 * t)))
    w = np.concatenate(weight)
    found = np.linalg.lstsq(np.vstack(rows) * w[:, None], np.concatenate(right) * w, rcond=None)[0]
    permutation_law._A, permutation_law._B = (
        tuple(values.tolist()) for values in np.split(found, 2)
    )
    for name in ("_A", "_B"):
        print(f"{name} = ({', '.join(f'{v:.6g}' for v in getattr(permutation_law, name))})")
    table = []
    for n in (*SIZES, 500):
        p = permutation_law.untied_p(statistics(n, args.n_pairs / 3, rng), n)
        table.append([n, *(f"{np.mean(p < level) / level:.3f}" for level in LEVELS)])
    print_table(["n", *map(str, LEVELS)], table)


if __name__ == "__main__":
    main()
