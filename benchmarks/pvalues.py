"""Calibration of the screen's p-values under independence, and its power on weak edges.

    python benchmarks/pvalues.py --n-pairs 1e7

Independent pairs are the pairs between two blocks of independent columns, ranked and tested as a tile
of them is. Two pairs that share a column are still independent of one another (given one column's ranks,
those of the others are random permutations), so the shares have binomial errors: 3 % at .0001 among 1e7
pairs. A Kolmogorov-Smirnov test needs pairs that are independent all together, so it takes only pairs
that share nothing; statistics of few values have steps, and p-values that are valid are then above uniform ones.

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
from mmg_ray.estimator.dependence import permutation_law, screen
from mmg_ray.estimator.ranks.marginals import ordinal_codes, randomised_ranks
from mmg_ray.estimator.ranks.rank_polynomials import Ranked, ranked

LEVELS = (0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
_COLUMNS = 700  # per side of a block of pairs

Draw = Callable[[np.random.Generator, int], np.ndarray]


def counts(mean: float) -> Draw:
    return lambda rng, n: rng.poisson(mean, n)


def seldom(share: float) -> Draw:
    """So many samples, two at least, have values other than 0, no two alike."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        x = np.zeros(n)
        away = rng.permutation(n)[: max(2, round(share * n))]
        x[away] = rng.gamma(1.0, 1.0, away.size)
        return x

    return draw


def continuous(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


MARGINALS: dict[str, tuple[Draw, Draw]] = {
    "continuous": (continuous, lambda rng, n: rng.lognormal(size=n)),
    "counts .5, 80 % zeros": (
        counts(0.5),
        lambda rng, n: rng.negative_binomial(0.15, 0.226, n),  # .226^.15 = .80 zeros
    ),
    "counts .03, .03": (counts(0.03), counts(0.03)),
    "counts .03, 5": (counts(0.03), counts(5.0)),
    "counts .2, 1": (counts(0.2), counts(1.0)),
    "counts 1, 5": (counts(1.0), counts(5.0)),
    "counts .2, continuous": (counts(0.2), continuous),
    "4 in 1000, continuous": (seldom(0.004), continuous),
    "4 in 1000, counts .2": (seldom(0.004), counts(0.2)),
    "10 %, 10 %": (seldom(0.1), seldom(0.1)),
}


def columns(draw: Draw, n: int, rng: np.random.Generator) -> list[Ranked]:
    """Independent columns that vary."""
    found: list[Ranked] = []
    while len(found) < _COLUMNS:
        codes = ordinal_codes(draw(rng, n))
        if codes.max():
            found.append(ranked(codes))
    return found


def calibration(name: str, n: int, n_pairs: float, rng: np.random.Generator) -> list[object]:
    """One row: share below each level over the level, KS test on pairs without a common column."""
    below, total = np.zeros(len(LEVELS)), 0
    apart = []
    i, j = (v.ravel() for v in np.indices((_COLUMNS, _COLUMNS)))
    for _ in range(max(1, round(n_pairs / _COLUMNS**2))):
        x, y = (columns(draw, n, rng) for draw in MARGINALS[name])
        p = permutation_law.test(screen.block_moments(x, y).statistic.ravel(), x, y, i, j).p_value
        below += [(p <= level).sum() for level in LEVELS]
        total += p.size
        apart.append(np.diag(p.reshape(_COLUMNS, _COLUMNS)))
    ks = stats.kstest(np.concatenate(apart), "uniform")
    shares = (f"{count / total / level:.3f}" for count, level in zip(below, LEVELS, strict=True))
    return [name, n, *shares, f"{ks.statistic:.4f}", f"{ks.pvalue:.2f}"]


# (N, mean of x, mean of y, share of the log-normal rate in common)
COUNT_PAIRS = (
    (500, 0.2, 0.2, 0.6),
    (500, 0.2, 1.0, 0.6),
    (500, 1.0, 1.0, 0.3),
    (2000, 0.2, 0.2, 0.3),
    (2000, 0.2, 0.2, 0.6),
    (2000, 0.2, 1.0, 0.3),
)


def count_power(
    n: int, mu_x: float, mu_y: float, share: float, repeats: int, rng: np.random.Generator
) -> list[str]:
    """Share of pairs of counts found at p <= .01: the screen, with ties broken at random, Spearman."""
    found = np.zeros(3)
    zero = np.zeros(1, dtype=np.int64)
    for _ in range(repeats):
        common = np.sqrt(share) * rng.standard_normal(n)
        rates = [np.exp(common + np.sqrt(1 - share) * rng.standard_normal(n) - 0.5) for _ in "xy"]
        x, y = (rng.poisson(mu * rate) for mu, rate in zip((mu_x, mu_y), rates, strict=True))
        a, b = (ranked(ordinal_codes(v)) for v in (x, y))
        t = np.atleast_1d(screen.moments(a, b).statistic)
        drawn = [ranked(randomised_ranks(ordinal_codes(v), rng.random(n))) for v in (x, y)]
        found += (
            permutation_law.test(t, [a], [b], zero, zero).p_value[0] <= 0.01,
            float(permutation_law.untied_p(screen.moments(*drawn).statistic, n).squeeze()) <= 0.01,
            stats.spearmanr(x, y).pvalue <= 0.01,
        )
    return [f"{v:.3f}" for v in found / repeats]


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
        t = screen.moments(*(ranked(ordinal_codes(v)) for v in (x, y))).statistic
        of_screen = float(permutation_law.untied_p(t, n).squeeze())
        by_formula += of_screen < 0.01, stats.pearsonr(x, y).pvalue < 0.01
        shuffles = [rng.permutation(n) for _ in range(4)]
        for name, matrix in MATRICES.items():
            a, b = matrix(x), matrix(y)
            under[name][k] = np.vdot(a, b)
            null[name][k] = [np.vdot(a, b[s[:, None], s]) for s in shuffles]
    by_threshold = [np.mean(under[name] > np.quantile(null[name], 0.99)) for name in MATRICES]
    return [f"{v:.2f}" for v in (*(by_formula / repeats), *by_threshold)]


# (N, samples away from 0 of x and of y, values of these: all alike, a few or all different)
SELDOM = (
    (700, 16, 179, "few", "different"),
    (700, 12, 179, "alike", "different"),
    (700, 18, 179, "alike", "alike"),
    (700, 110, 52, "few", "few"),
    (700, 30, 200, "few", "few"),
    (1000, 100, 100, "few", "few"),
    (2000, 20, 20, "different", "different"),
    (2000, 40, 300, "few", "different"),
    (5000, 60, 60, "few", "few"),
    (50, 10, 49, "few", "different"),
    (700, 8, 560, "few", "few"),
    (1000, 4, 999, "few", "different"),
    (1000, 11, 999, "different", "different"),
)
FAR = (1e-3, 1e-5, 1e-7, 1e-9)


def far_tails(
    n: int, a: int, b: int, of_x: str, of_y: str, n_draws: int, rng: np.random.Generator
) -> list[str]:
    """p-values over the probabilities of statistics that are this improbable.

    Draws are as many for each number of samples away together, whose probability is hypergeometric: so far tails
    have draws, too.
    """
    sides = []
    for size, kind in ((a, of_x), (b, of_y)):
        away = {
            "alike": np.ones(size),
            "few": rng.geometric(0.6, size),
            "different": 1 + np.arange(size),
        }
        codes = np.zeros(n, dtype=np.int64)
        codes[:size] = away[kind]
        sides.append(ranked(ordinal_codes(codes.astype(float))))
    at = [side.at_samples()[:, : side.polynomials.n_orders] for side in sides]
    usual = np.outer(at[0][-1], at[1][-1])
    weights = screen.WEIGHTS[: usual.shape[0], : usual.shape[1]]
    beyond = at[0][:a] - at[0][-1], at[1][:b] - at[1][-1]
    together = np.arange(min(a, b) + 1)
    share = stats.hypergeom.pmf(together, n, a, b)
    together = together[share > 1e-13]
    drawn = np.empty((len(together), n_draws))
    for row, k in enumerate(together):
        for start in range(0, n_draws, 10_000):
            i, j = (
                rng.random((10_000, len(v))).argpartition(max(k - 1, 0), axis=1)[:, :k]
                for v in beyond
            )
            s = np.einsum("dka,dkb->dab", beyond[0][i], beyond[1][j], optimize=True) / n - usual
            drawn[row, start : start + 10_000] = (n - 1) * (weights * s**2).sum(axis=(1, 2))
    order = np.argsort(drawn.ravel())
    tail = np.cumsum(np.repeat(share[together] / n_draws, n_draws)[order][::-1])[::-1]
    drawn = drawn.ravel()[order]
    zero, cells = np.zeros(1, dtype=np.int64), []
    for level in FAR:
        if tail[-1] > level / 5:  # too few draws are so far
            cells.append("")
            continue
        t = drawn[np.searchsorted(-tail, -level)]
        found = tail[np.searchsorted(drawn, t * (1 - 1e-4))]  # statistics of few values repeat
        p = permutation_law.test(np.array([t]), sides[:1], sides[1:], zero, zero).p_value[0]
        cells.append(f"{p / found:.2f} of {found:.0e}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-pairs", type=float, default=1e7)
    parser.add_argument("--n-samples", default="50,200,1000", help="numbers joined by commas")
    parser.add_argument("--only", default="", help="columns whose name has this")
    parser.add_argument(
        "--repeats", type=int, default=500, help="samples of each alternative; 0: no power"
    )
    parser.add_argument(
        "--far", type=int, help="the far tails of seldom variables alone, by so many draws"
    )
    args = parser.parse_args()
    rng = np.random.default_rng(2026)
    if args.far:
        print(
            f"p-values over the share of {args.far:,} draws for each number of samples away together\n"
        )
        rows = [[*case, *far_tails(*case, args.far, rng)] for case in SELDOM[-4:]]
        print_table(["N", "away x", "away y", "values x", "values y", *map(str, FAR)], rows)
        return
    print(
        f"share of p-values below a level, over the level; {args.n_pairs:.0e} independent pairs\n"
    )
    sizes = [int(n) for n in args.n_samples.split(",")]
    names = [name for name in MARGINALS if args.only in name]
    rows = [calibration(name, n, args.n_pairs, rng) for name in names for n in sizes]
    print_table(["columns", "N", *map(str, LEVELS), "KS distance", "KS p"], rows)

    if not args.repeats:
        return
    print(f"\nshare of {args.repeats} pairs of counts found at p <= .01\n")
    rows = [[*case, *count_power(*case, args.repeats, rng)] for case in COUNT_PAIRS]
    print_table(["N", "mean x", "mean y", "shared", "screen", "ties at random", "Spearman"], rows)

    print(f"\npower at 1 % false positives, N = 500, {args.repeats} samples each\n")
    rows = [[name, *power(sample, 500, args.repeats, rng)] for name, sample in ALTERNATIVES.items()]
    print_table(["alternative", "screen", "Pearson", *MATRICES], rows)


if __name__ == "__main__":
    main()
