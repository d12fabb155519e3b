"""Pairs per second on one thread: screen, direct and warped splines, the cascade, scikit-learn's KSG.

    python benchmarks/speed.py --n-samples 1000 --repeats 5

The variables of the splines' tiles share a hidden normal variable through lines, curves and scales, so
that every pair is strong enough to be worth a spline. All are timed in turn, again and again; medians
are printed, of processor time on a CPU, and the ratios to KSG are medians of ratios within a turn.
"bare" is the estimator itself on the tables of 256 pairs; "tile" goes through
`estimate_tile`, with ranks, the screen and the making of the columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from common import counts, ksg, machine, print_table, seconds, tiles, variables

from mmg_ray.config import CascadeConfig, EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.dependence import permutation_law, screen
from mmg_ray.estimator.ranks.rank_polynomials import ranked
from mmg_ray.estimator.tiers.spline import denoiser as spline

SIDE = 16  # variables per side of the splines' tile: 256 pairs
SHAPES = (lambda z: z, lambda z: z**2, lambda z: np.sin(2 * z), np.abs)
TO_DIRECT = EstimatorConfig(cascade=CascadeConfig(p_value=1.0, mi_nats=100.0))


def related(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2 SIDE) variables that all depend on one another."""
    z = rng.standard_normal(n)
    noise = rng.standard_normal((n, 2 * SIDE))
    return np.stack([SHAPES[k % 4](z) for k in range(2 * SIDE)], axis=1) + 0.7 * noise


def weak_blocks(n: int, n_variables: int, rng: np.random.Generator) -> np.ndarray:
    """(n, V) normal variables in blocks of 11 of one correlation, .1 to .3: for V = 200, 5 % of pairs."""
    columns = []
    for start in range(0, n_variables, 11):
        rho = rng.uniform(0.1, 0.3)
        size = min(11, n_variables - start)
        shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, size))
        columns.append(np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
    return np.concatenate(columns, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--screen-variables", type=int, default=2000)
    parser.add_argument("--auto-variables", type=int, default=200)
    parser.add_argument("--ksg-pairs", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"N = {args.n_samples}, medians of {args.repeats}, {machine(args.device)}\n")
    n, device, rng = args.n_samples, args.device, np.random.default_rng(2026)

    columns = related(n, rng)
    made = variables(columns)
    left = np.repeat(np.arange(SIDE), SIDE)
    tile = np.stack([left, np.tile(np.arange(SIDE, 2 * SIDE), SIDE)], axis=1)
    pairs = [(columns[:, i], columns[:, j]) for i, j in tile]
    tables = counts(pairs)
    many = variables(rng.standard_normal((n, args.screen_variables)))
    many_tiles = list(tiles(args.screen_variables, 256))
    blocks = [[ranked(rng.permutation(n)) for _ in range(256)] for _ in range(2)]
    weak = variables(weak_blocks(n, args.auto_variables, rng))
    weak_tiles = list(tiles(args.auto_variables, 64))

    def bare_screen() -> None:
        found = screen.block_moments(*blocks, device)
        i, j = (v.ravel() for v in np.indices(found.statistic.shape))
        permutation_law.test(found.statistic.ravel(), *blocks, i, j)

    def through(of: dict, parts: list[np.ndarray], cfg: EstimatorConfig) -> Callable[[], None]:
        def run() -> None:
            for part in parts:
                estimate_tile({v: of[v] for v in np.unique(part).tolist()}, part, cfg, device)

        return run

    chosen = [pairs[k] for k in rng.permutation(len(pairs))[: args.ksg_pairs]]
    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "scikit-learn KSG k=3": (len(chosen), lambda: [ksg(pair, 3) for pair in chosen]),
        "screen, bare": (256**2, bare_screen),
        f"screen, {args.screen_variables} variables": (
            sum(map(len, many_tiles)),
            through(many, many_tiles, EstimatorConfig(denoiser="screen")),
        ),
        "spline-direct, bare": (len(pairs), lambda: spline.direct(tables)),
        "spline-direct, tile": (len(pairs), through(made, [tile], TO_DIRECT)),
        "spline, bare": (len(pairs), lambda: spline.warped(tables)),
        "spline, tile": (len(pairs), through(made, [tile], EstimatorConfig(denoiser="spline"))),
        f"auto, {args.auto_variables} variables, 5 % weak": (
            sum(map(len, weak_tiles)),
            through(weak, weak_tiles, EstimatorConfig()),
        ),
    }
    per_pair: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(args.repeats + 1):
        for name, (n_pairs, run) in jobs.items():
            spent = seconds(run, device)[0] / n_pairs
            if repeat:  # the first time makes tables
                per_pair[name].append(spent)
    times = {name: np.array(values) for name, values in per_pair.items()}
    reference = times["scikit-learn KSG k=3"]
    print_table(
        ["", "ms per pair", "pairs per second", "times KSG's"],
        [
            [
                name,
                f"{1e3 * np.median(t):.3g}",
                f"{1 / np.median(t):,.0f}",
                f"{np.median(reference / t):,.1f}",
            ]
            for name, t in times.items()
        ],
    )


if __name__ == "__main__":
    main()
