"""MI within strata of counts that follow what the strata are of, beside exact values.

    OMP_NUM_THREADS=1 python benchmarks/strata.py --seeds 6

X = A + C and Y = A + C', Poisson with means a, c and c times a depth whose logarithm spreads by .5; `data.strata: [depth]`.
The truth is I(X; Y | depth) by sums over counts and quadrature over depths; a = 0 are independent pairs. 95 % intervals are
mi +- 1.96 se.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import machine, print_table

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.known_mi.conditional import shared_counts_mi
from mmg_ray.schema import Variable
from mmg_ray.store.sources import Table
from mmg_ray.store.strata import strata_of

MEANS = (
    (0.1, 0.05),
    (0.5, 0.2),
    (1, 0.3),
    (2, 0.5),
    (2, 0.1),
    (0.3, 1),
    (5, 0.5),
    (5, 5),
    (10, 1),
    (0, 0.3),
    (0, 3),
)
SPREAD = 0.5  # of the logarithm of the depth


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=900)
    parser.add_argument("--n-samples", type=int, nargs="+", default=[1000, 5000, 20_000])
    args = parser.parse_args()
    truth = [shared_counts_mi(a, c, SPREAD) for a, c in MEANS]
    rows = []
    for n in args.n_samples:
        found = []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            rng = np.random.default_rng([seed, n])
            depth = np.exp(SPREAD * rng.standard_normal(n))
            columns = []
            for a, c in MEANS:
                shared = rng.poisson(a * depth)
                columns += [shared + rng.poisson(c * depth) for _ in range(2)]
            table = Table(
                np.stack(columns, axis=1),
                [f"v{k}" for k in range(len(columns))],
                None,
                {"depth": depth},
            )
            place = strata_of(table, ("depth",), "data.strata")
            variables = {
                k: Variable(f"v{k}", ordinal_codes(x)[:, None]) for k, x in enumerate(columns)
            }
            pairs = [(2 * k, 2 * k + 1) for k in range(len(MEANS))]
            e = estimate_tile(variables, pairs, EstimatorConfig(), strata=place)
            found.append((e.mi_nats, e.se_nats, e.denoiser))
        for k, (a, c) in enumerate(MEANS):
            mi, se = (np.array([of[f][k] for of in found]) for f in (0, 1))
            tiers = sorted({str(of[2][k]) for of in found})
            rows.append(
                [
                    n,
                    a,
                    c,
                    f"{truth[k]:.3f}",
                    f"{mi.mean():.3f}",
                    f"{mi.std():.3f}",
                    f"{se.mean():.3f}",
                    f"{(np.abs(mi - truth[k]) <= 1.96 * se).mean():.2f}",
                    ", ".join(tiers),
                ]
            )
    print(f"{args.seeds} seeds, {machine()}\n")
    print_table(["N", "a", "c", "MI", "found", "scatter", "se", "intervals", "by"], rows)


if __name__ == "__main__":
    main()
