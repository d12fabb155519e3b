"""What placing the noise levels where integrands are saves: error of K levels, adapted and spread.

    python benchmarks/levels.py --n-samples 1000 --seeds 3

Corrections of the tuning suite's pairs, both directions, direct (in normal scores) and warped (in
residuals), with K levels adapted or equally spread in logsnr, against 48 spread ones on the same samples.
Prints the root mean square and the largest difference in nats.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import counts, machine, print_table

from mmg_ray.estimator.tiers.spline import denoiser as spline
from mmg_ray.estimator.tiers.spline import direct
from mmg_ray.estimator.tiers.spline.basis import NoiseLevels, adapted_levels, spread_levels, tables
from mmg_ray.estimator.tiers.spline.correction import correct
from mmg_ray.estimator.tiers.spline.warp import n_knots, warp
from mmg_ray.known_mi import tuning_suite

PLACINGS = {"adapted": adapted_levels, "spread": spread_levels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--counts", default="4,6,8,12,16", help="numbers joined by commas")
    parser.add_argument("--reference", type=int, default=48)
    args = parser.parse_args()
    print(f"N = {args.n_samples}, {args.seeds} seeds, {machine()}\n")

    pairs = [
        task.sample(np.random.default_rng([seed, number]), args.n_samples)
        for number, task in enumerate(tuning_suite())
        for seed in range(args.seeds)
    ]
    of_pairs = counts(pairs)
    e = spline._entries(of_pairs)
    w = warp(e, n_knots(args.n_samples, min(of_pairs.shape[2:])))

    def in_scores(levels: NoiseLevels) -> np.ndarray:
        """(S,) corrections in normal scores."""
        t = tables(direct._SHAPE, levels)
        s, n, _ = direct.moments(of_pairs, t)
        return correct(s, n, t, direct.PENALTIES, direct.LIGHTER).cross

    def in_residuals(levels: NoiseLevels) -> np.ndarray:
        """(S,) corrections in residuals."""
        t = tables(spline._RESIDUAL, levels)
        return spline._correct(e, w.row, t.curves, spline._lookups(t, e.y), w.samples, t).cross

    targets = {"direct": in_scores, "warped": in_residuals}
    exact = {name: cross(spread_levels(args.reference)) for name, cross in targets.items()}
    rows = []
    for count in map(int, args.counts.split(",")):
        row: list[object] = [count]
        for name, cross in targets.items():
            for place in PLACINGS.values():
                off = cross(place(count)) - exact[name]
                row.append(f"{np.sqrt((off**2).mean()):.4f} / {np.abs(off).max():.3f}")
        rows.append(row)
    print_table(["K", *(f"{name}, {how}" for name in targets for how in PLACINGS)], rows)


if __name__ == "__main__":
    main()
