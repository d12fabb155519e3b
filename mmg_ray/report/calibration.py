"""How good are estimates of this run? Pairs of known MI, at its N, with its ties and its settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.known_mi.levels import tied_gaussian
from mmg_ray.schema import Variable

REPEATS = 6


@dataclass(frozen=True)
class Calibration:
    """One kind of pair: its exact MI and R estimates of it with their standard errors, nats."""

    name: str
    mi_nats: float
    estimates: np.ndarray
    errors: np.ndarray


def calibrate(
    codes: tuple[np.ndarray, np.ndarray], n_samples: int, cfg: EstimatorConfig
) -> list[Calibration]:
    """Estimates of known pairs of n_samples.

    Args:
        codes: (n,) ordinal codes of two variables of the run whose ties are taken over.
    """
    smooth = [
        known_mi.independent(
            "independent",
            lambda rng, n: codes[0][rng.integers(len(codes[0]), size=n)],
            lambda rng, n: codes[1][rng.integers(len(codes[1]), size=n)],
        ),
        *(tied_gaussian(f"rho = {rho:g}", rho, *codes) for rho in (0.2, 0.5, 0.8, 0.95)),
    ]
    shapes = [
        known_mi.additive("y = x² + e, no ties", lambda x: x**2),
        known_mi.additive(
            "change of scale, no ties", lambda x: 0 * x, lambda x: 0.3 + abs(x), breaks=[0]
        ),
        known_mi.additive("wave, no ties", lambda x: np.sin(3 * x), 0.4),
        known_mi.branches("two branches, no ties", [lambda x: x, lambda x: -x], [0.4, 0.4]),
    ]
    found = []
    for number, task in enumerate([*smooth, *shapes]):
        variables = {}
        for repeat in range(REPEATS):
            values = task.sample(np.random.default_rng([number, repeat]), n_samples)
            for side, v in enumerate(values):
                variables[2 * repeat + side] = Variable(
                    f"known {number} {repeat} {side}", ordinal_codes(v)[:, None]
                )
        pairs = np.arange(2 * REPEATS).reshape(-1, 2)
        e = estimate_tile(variables, pairs, cfg)
        found.append(Calibration(task.name, task.mi_nats, e.mi_nats[e.ok], e.se_nats[e.ok]))
    return found
