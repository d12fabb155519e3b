"""Self-consistency on real images: what MI must do, where nobody knows its value (Song & Ermon 2020).

    python benchmarks/digits.py --seeds 3

Handwritten digits of scikit-learn (1,797 of 8 x 8 pixels), averaged to 4 x 4 or as they are. X is the upper
half of an image, Y the lower half. Data processing: Y beside a noisy copy of itself says no more of X, so
the ratio of the two MI is 1. Additivity: two images that have nothing to do with each other, side by side,
have twice the MI of one. Half a seed's images are the first ones and half the second. Shuffled: the
lower half of another image, for which the MI is 0.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import machine, print_table
from sklearn.datasets import load_digits

import mmg_ray


def halves(pool: bool) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower halves of all images, (1797, p) each; pixels that are nearly always empty left out."""
    images = load_digits().images
    if pool:
        images = images.reshape(-1, 4, 2, 4, 2).mean((2, 4))
    flat = images.reshape(len(images), -1)
    used = [(flat[:, part] != 0).mean(0) > 0.2 for part in np.split(np.arange(flat.shape[1]), 2)]
    upper, lower = np.split(flat, 2, axis=1)
    return upper[:, used[0]], lower[:, used[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(f"{args.seeds} seeds, {machine()}\n", flush=True)
    rows = []
    for pool in (True, False):
        x, y = halves(pool)
        found = []
        began = time.perf_counter()
        for seed in range(args.seeds):
            rng = np.random.default_rng([4000, seed])
            order = rng.permutation(len(x))
            one, two = order[: len(x) // 2], order[len(x) // 2 :][: len(x) // 2]
            noisy = y + rng.standard_normal(y.shape)

            def mi(a: np.ndarray, b: np.ndarray, seed: int = seed) -> float:
                return float(mmg_ray.estimate_mi(a, b, seed=seed).mi_nats or 0.0)

            once = mi(x, y)
            halved = 0.5 * (mi(x[one], y[one]) + mi(x[two], y[two]))
            both = mi(np.hstack([x[one], x[two]]), np.hstack([y[one], y[two]]))
            found.append(
                [
                    once,
                    mi(x, np.hstack([y, noisy])) / once,
                    both / halved,
                    mi(x, rng.permutation(y)),
                ]
            )
        spent = (time.perf_counter() - began) / args.seeds
        mean = np.mean(found, axis=0)
        size = f"{x.shape[1]} and {y.shape[1]} pixels"
        rows.append([size, *(f"{value:.3f}" for value in mean), f"{spent:.0f}"])
        print(*rows[-1], flush=True)
    print()
    header = ["halves of", "MI, nats", "data processing (1)", "additivity (2)", "shuffled (0)", "s"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
