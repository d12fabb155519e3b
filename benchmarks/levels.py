"""What placing the noise levels where integrands are saves: error of K levels, adapted and spread.

    python benchmarks/levels.py --n-samples 1000 --seeds 3

Corrections of the tuning suite's pairs, both directions, direct (in normal scores) and warped (in
residuals), with K levels adapted or equally spread in logsnr, against 48 spread ones on the same samples.
Prints the root mean square and the largest difference in nats.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import directions, machine, print_table

from mmg_ray.estimator.batch import halves
from mmg_ray.estimator.spline import denoiser as spline
from mmg_ray.estimator.spline.basis import Levels, Shape, adapted_levels, spread_levels, tables
from mmg_ray.estimator.spline.correction import correct
from mmg_ray.estimator.spline.warp import warp
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
    batch = directions(pairs)
    x, y, mask = batch.x[..., 0], batch.y[..., 0], batch.mask()
    half = halves(0, args.n_samples, x.device)
    targets = {
        "direct": (spline._DIRECT, x),
        "warped": (spline._RESIDUAL, warp(x, y, batch.n, mask.double()).residual),
    }

    def cross(shape: Shape, r: torch.Tensor, levels: Levels) -> torch.Tensor:
        """(S,) corrections, 64 directions at a time."""
        t = tables(shape, levels, r.device)
        parts = zip(r.float().split(64), y.float().split(64), mask.float().split(64), strict=True)
        return torch.cat(
            [
                correct(r[:, None], y, half, mask, t, spline._PENALTIES, spline._LIGHTER).cross
                for r, y, mask in parts
            ]
        ).double()

    exact = {
        name: cross(*target, spread_levels(args.reference)) for name, target in targets.items()
    }
    rows = []
    for count in map(int, args.counts.split(",")):
        row: list[object] = [count]
        for name, target in targets.items():
            for place in PLACINGS.values():
                off = cross(*target, place(count)) - exact[name]
                row.append(
                    f"{float(off.square().mean().sqrt()):.4f} / {float(off.abs().max()):.3f}"
                )
        rows.append(row)
    print_table(["K", *(f"{name}, {how}" for name in targets for how in PLACINGS)], rows)


if __name__ == "__main__":
    main()
