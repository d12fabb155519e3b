"""What each rule of the strong tiers earns: root mean square error with the rule switched off.

    python benchmarks/choice.py

A rule that earns nothing on the tuning suite, nor on the report suite, does not stay. `rare` are pairs of variables that are
nearly always zero, and have many values where they are not, whose dependence is that they are non-zero together;
`independent` ones have none.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from itertools import combinations_with_replacement
from typing import Any
from unittest import mock

import numpy as np
from common import estimate_pairs, machine, print_table

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade import steps
from mmg_ray.estimator.cascade.denoisers import DENOISERS, Tier
from mmg_ray.estimator.tiers import neighbours
from mmg_ray.estimator.tiers.spline import denoiser as spline
from mmg_ray.estimator.tiers.spline import direct, warp
from mmg_ray.known_mi import report_suite, tuning_suite
from mmg_ray.known_mi.integrate import table_mi
from mmg_ray.known_mi.task import Array, Task, independent

INFINITE = float("inf")
Law = Callable[[np.random.Generator, int], Array]


def rare(share: float, together: float) -> Task:
    """Non-zero in a share of the samples each, and in `together` of those both; values there are of their own."""
    both = share * together
    table = np.array([[1 - 2 * share + both, share - both], [share - both, both]])

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        drawn = rng.choice(4, n, p=table.ravel())
        x, y = rng.lognormal(size=(2, n))
        return np.where(drawn >= 2, x, 0.0), np.where(drawn % 2 == 1, y, 0.0)

    return Task(f"{share:g} non-zero, {together:g} together", table_mi(table), sample)


def rare_suite() -> list[Task]:
    return [rare(p, both) for p in (0.01, 0.03, 0.1) for both in (p, 0.2, 0.5, 0.8)]


def independent_suite() -> list[Task]:
    """Pairs of normal, mostly zero and tied variables that have nothing in common."""
    laws: dict[str, Law] = {
        "normal": lambda rng, n: rng.standard_normal(n),
        "half zeros": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
        "nearly all zeros": lambda rng, n: np.where(rng.random(n) < 0.95, 0, rng.random(n)),
        "rounded": lambda rng, n: np.round(3 * rng.standard_normal(n)),
    }
    return [
        independent(f"{a}, {b}", laws[a], laws[b])
        for a, b in combinations_with_replacement(laws, 2)
    ]


SUITES = {
    "tuning": tuning_suite,
    "report": report_suite,
    "rare": rare_suite,
    "independent": independent_suite,
}


def _tiers(change: Callable[[Tier], Tier | None]) -> Any:
    """`auto` with other tiers."""
    auto = DENOISERS["auto"]
    tiers = tuple(tier for tier in map(change, auto.scalars) if tier is not None)
    return mock.patch.dict(DENOISERS, auto=auto._replace(scalars=tiers))


def _unvouched(*args: Any) -> neighbours.Found:
    return _REFINE(*args[:5], 0.0)


_REFINE = neighbours.refine
_set = mock.patch.object
# what takes a rule away, each a context
RULES: dict[str, Callable[[], Any]] = {
    "scatter counts against neighbours": lambda: _set(neighbours, "_CAUTION", 0.0),
    "neighbours at all": lambda: _set(steps.Steps, "_refine", lambda *_: None),
    "weak pairs are left alone": lambda: _set(neighbours, "_WEAK", 1e-9),
    "bins vouch for neighbours": lambda: _set(neighbours, "refine", _unvouched),
    "what falls as boxes grow": lambda: _set(neighbours, "_MOST_FALL", 0.0),
    "what shrinkage hides": lambda: _set(neighbours, "_SHRINKAGE_BIAS", 0.0),
    "co-detection": lambda: _set(steps.Steps, "raise_to_codetected", lambda *_: None),
    "tables of few values": lambda: _tiers(lambda t: t if t.only is None else None),
    "finer tables": lambda: _tiers(lambda t: t._replace(tables=t.tables[:1], from_samples=None)),
    "samples of strong pairs": lambda: _tiers(lambda t: t._replace(from_samples=None)),
    "m(y) as coordinate": lambda: _set(spline, "_FLAT", INFINITE),
    "m(y) must vary": lambda: _set(spline, "_FLAT", -1.0),
    "finer functions": lambda: _set(spline, "_LARGE", INFINITE),
    "finer functions only if much is found": lambda: _set(spline, "_LARGE", -INFINITE),
    "corrections must be sound": lambda: _set(direct, "sound", lambda _, n: np.ones(len(n))),
    "a notch lighter": lambda: _set(direct, "LIGHTER", 0),
    "small estimates drawn to 0": lambda: _set(direct, "_SCATTER", 1e-9),
    "shapes of residuals": lambda: _set(warp, "_SHAPE_EVIDENCE", INFINITE),
    "shapes only of hard edges": lambda: _set(warp, "_SHAPE_NATS", 0.0),
    "noise of ranks": lambda: _set(warp, "_RANK_NOISE", 0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--suites", default="tuning,report,rare,independent", help="names joined by commas"
    )
    parser.add_argument("--n-samples", default="300,1000,5000", help="numbers joined by commas")
    parser.add_argument("--tasks-times-samples", type=int, default=5000, help="of each task")
    parser.add_argument("--first-seed", type=int, default=7000)
    args = parser.parse_args()
    print(f"{machine()}\n")

    columns: dict[str, list[float]] = defaultdict(list)
    header = ["without"]
    for suite in args.suites.split(","):
        tasks = SUITES[suite]()
        for n in map(int, args.n_samples.split(",")):
            seeds = max(2, min(10, args.tasks_times_samples // n))
            header.append(f"{suite} {n}")
            pairs = [
                task.sample(np.random.default_rng([args.first_seed + seed, number]), n)
                for number, task in enumerate(tasks)
                for seed in range(seeds)
            ]
            truth = np.repeat([task.mi_nats for task in tasks], seeds)
            for rule, without in {"(all rules)": nullcontext, **RULES}.items():
                with without():
                    found = estimate_pairs(pairs, EstimatorConfig())
                columns[rule].append(float(np.sqrt(np.nanmean((found.mi_nats - truth) ** 2))))
    all_rules, *others = columns.items()
    rows: list[list[object]] = [[all_rules[0], *(f"{v:.4f}" for v in all_rules[1])]]
    for rule, values in others:
        more = (f"{v - a:+.4f}" for v, a in zip(values, all_rules[1], strict=True))
        rows.append([rule, *more])
    print_table(header, rows)


if __name__ == "__main__":
    main()
