"""Calibration of the screen's p-values under independence, and its power on weak edges.

    python benchmarks/pvalues.py --n-pairs 1e7

Independent pairs are the pairs between two blocks of independent columns, ranked and tested as a tile
of them is. Two pairs that share a column are still independent of one another (given one column's ranks,
those of the others are random permutations), so the shares have binomial errors: 3 % at .0001 among 1e7
pairs. A Kolmogorov-Smirnov test needs pairs that are independent all together, so it takes only pairs
that share nothing. Tied columns are Poisson(0.5) on one side and negative binomial with 80 % zeros on the
other.

Power is at 1 % false positives. The distance correlation (Szekely et al. 2007) and HSIC with Gaussian
kernels of median width (Gretton et al. 2005) have no formula for their null: their thresholds are the 99 %
quantiles of permuted samples of each alternative, so they hold the level exactly, as Pearson's test does
for normal x and y.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from common import print_table
from scipy import stats

from mmg_ray import known_mi
from mmg_ray.estimator import screen
from mmg_ray.estimator.marginals import ordinal_codes, randomised_ranks

LEVELS = (0.5, 0.1, 0.01, 1e-3, 1e-4)
_COLUMNS = 700  # per side of a block of pairs

Draw = Callable[[np.random.Generator, int], np.ndarray]
MARGINALS: dict[str, tuple[Draw, Draw]] = {
    "continuous": (lambda rng, n: rng.standard_normal(n), lambda rng, n: rng.lognormal(size=n)),
    "tied": (
        lambda rng, n: rng.poisson(0.5, n),
        lambda rng, n: rng.negative_binomial(0.15, 0.226, n),  # .226^.15 = .80 zeros
    ),
}


def ranks(draw: Draw, n: int, rng: np.random.Generator) -> np.ndarray:
    """(_COLUMNS, n) ranks of independent columns, ties broken at random."""
    return np.stack([randomised_ranks(ordinal_codes(draw(rng, n)), rng) for _ in range(_COLUMNS)])


def calibration(name: str, n: int, n_pairs: float, rng: np.random.Generator) -> list[object]:
    """One row: share below each level over the level, KS test on pairs without a common column."""
    below, total = np.zeros(len(LEVELS)), 0
    apart = []
    for _ in range(max(1, round(n_pairs / _COLUMNS**2))):
        found = screen.block_moments(*(ranks(draw, n, rng) for draw in MARGINALS[name]))
        p = screen.p_value(found.statistic, n)
        below += [(p < level).sum() for level in LEVELS]
        total += p.size
        apart.append(np.diag(p))
    ks = stats.kstest(np.concatenate(apart), "uniform")
    shares = (f"{count / total / level:.3f}" for count, level in zip(below, LEVELS, strict=True))
    return [name, n, *shares, f"{ks.statistic:.4f}", f"{ks.pvalue:.2f}"]


def _normal(y_of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> known_mi.Sampler:
    def sample(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        x, e = rng.standard_normal((2, n))
        return x, y_of(x, e)

    return sample


ALTERNATIVES = {
    "rho = 0.1": known_mi.gaussian(0.1).sample,
    "rho = 0.2": known_mi.gaussian(0.2).sample,
    "0.15 (x^2 - 1) + e": _normal(lambda x, e: 0.15 * (x**2 - 1) + e),
    "e exp(0.2 x)": _normal(lambda x, e: e * np.exp(0.2 * x)),
    "0.25 abs(x) + e": _normal(lambda x, e: 0.25 * np.abs(x) + e),
    "0.4 sin 3x + e": _normal(lambda x, e: 0.4 * np.sin(3 * x) + e),
    "Student t5, rho = 0": known_mi.student(5).sample,
}


def _centred(a: np.ndarray) -> np.ndarray:
    return a - a.mean(0) - a.mean(1)[:, None] + a.mean()


def distances(v: np.ndarray) -> np.ndarray:
    """(n, n) centred distances of unit norm: the product of two is the distance correlation squared."""
    a = _centred(np.abs(v[:, None] - v))
    return (a / np.linalg.norm(a)).astype(np.float32)


def kernel(v: np.ndarray) -> np.ndarray:
    """(n, n) centred Gaussian kernel: the product of two, over n^2, is HSIC."""
    gap = np.abs(v[:, None] - v)
    return _centred(np.exp(-0.5 * (gap / np.median(gap)) ** 2)).astype(np.float32) / len(v)


MATRICES = {"dCor": distances, "HSIC": kernel}


def power(sample: known_mi.Sampler, n: int, repeats: int, rng: np.random.Generator) -> list[str]:
    """Share of samples of an alternative found at 1 % false positives, one for each test."""
    by_formula = np.zeros(2)
    under = {name: np.zeros(repeats) for name in MATRICES}
    null = {name: np.zeros((repeats, 4)) for name in MATRICES}
    for k in range(repeats):
        x, y = sample(rng, n)
        t = screen.moments(*(randomised_ranks(ordinal_codes(v), rng) for v in (x, y))).statistic
        by_formula += screen.p_value(t, n) < 0.01, stats.pearsonr(x, y).pvalue < 0.01
        shuffles = [rng.permutation(n) for _ in range(4)]
        for name, matrix in MATRICES.items():
            a, b = matrix(x), matrix(y)
            under[name][k] = np.vdot(a, b)
            null[name][k] = [np.vdot(a, b[s[:, None], s]) for s in shuffles]
    by_threshold = [np.mean(under[name] > np.quantile(null[name], 0.99)) for name in MATRICES]
    return [f"{v:.2f}" for v in (*(by_formula / repeats), *by_threshold)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-pairs", type=float, default=1e7)
    parser.add_argument("--n-samples", default="50,200,1000", help="numbers joined by commas")
    parser.add_argument("--repeats", type=int, default=500, help="samples of each alternative")
    args = parser.parse_args()
    rng = np.random.default_rng(2026)
    print(
        f"share of p-values below a level, over the level; {args.n_pairs:.0e} independent pairs\n"
    )
    sizes = [int(n) for n in args.n_samples.split(",")]
    rows = [calibration(name, n, args.n_pairs, rng) for name in MARGINALS for n in sizes]
    print_table(["columns", "N", *map(str, LEVELS), "KS distance", "KS p"], rows)

    print(f"\npower at 1 % false positives, N = 500, {args.repeats} samples each\n")
    rows = [[name, *power(sample, 500, args.repeats, rng)] for name, sample in ALTERNATIVES.items()]
    print_table(["alternative", "screen", "Pearson", *MATRICES], rows)


if __name__ == "__main__":
    main()
