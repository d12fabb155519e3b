"""The 40 tasks of the BMI benchmark (Czyz et al., "Beyond Normal", NeurIPS 2023).

Samplers are our own; `benchmarks/bmi_check.py` compares them with those of the authors' package.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from mmg_ray.known_mi.channels import additive_uniform
from mmg_ray.known_mi.copulas import gaussian, student
from mmg_ray.known_mi.maps import (
    Map,
    asinh,
    half_cube,
    mapped,
    normal_cdf,
    spiral,
    swiss_roll,
    wiggly,
)
from mmg_ray.known_mi.task import Array, Task
from mmg_ray.known_mi.vectors import dense, paired, student_vectors

_RHO, _PAIR_RHO = 0.75, 0.8


def bmi_suite() -> dict[str, Task]:
    """The tasks by the benchmark's own identifiers, in its order."""
    normal, heavy = gaussian(_RHO), student(1)
    wide = {dim: paired(dim, _PAIR_RHO, 2) for dim in (2, 3, 5, 25)}
    tasks = {
        "1v1-normal-0.75": normal,
        "normal_cdf-1v1-normal-0.75": normal_cdf(normal),
        "1v1-additive-0.1": additive_uniform(0.1),
        "1v1-additive-0.75": additive_uniform(0.75),
        "1v1-bimodal-0.75": mapped(
            normal, "bimodal", _two_modes(0.3, 0.0, 5.0), _two_modes(0.5, -1.0, 3.0)
        ),
        "wiggly-1v1-normal-0.75": wiggly(normal),
        "half_cube-1v1-normal-0.75": half_cube(normal),
        "student-identity-1-1-1": heavy,
        "asinh-student-identity-1-1-1": asinh(heavy),
        "swissroll_x-normal_cdf-1v1-normal-0.75": swiss_roll(normal_cdf(normal)),
    }
    tasks |= {f"multinormal-dense-{d}-{d}-0.5": dense(d) for d in (2, 3, 5, 25, 50)}
    tasks |= {f"multinormal-sparse-{d}-{d}-2-2.0": task for d, task in wide.items()}
    tasks |= {
        f"student-identity-{d}-{d}-{df}": student_vectors(d, df)
        for d, df in ((2, 1), (2, 2), (3, 2), (3, 3), (5, 2), (5, 3))
    }
    for name, change in (("normal_cdf", normal_cdf), ("half_cube", half_cube)):
        tasks |= {f"{name}-multinormal-sparse-{d}-{d}-2-2.0": change(wide[d]) for d in (3, 5, 25)}
    tasks |= {f"spiral-multinormal-sparse-{d}-{d}-2-2.0": spiral(wide[d], d) for d in (3, 5, 25)}
    tasks |= {
        f"spiral-normal_cdf-multinormal-sparse-{d}-{d}-2-2.0": spiral(normal_cdf(wide[d]), d)
        for d in (3, 5, 25)
    }
    tasks |= {
        f"asinh-student-identity-{d}-{d}-{df}": asinh(student_vectors(d, df))
        for d, df in ((2, 1), (3, 2), (5, 2))
    }
    return tasks


def _two_modes(share: float, first: float, second: float) -> Map:
    """A normal coordinate -> one with modes at ``first`` (probability ``share``) and ``second``."""
    grid = np.linspace(first - 9, second + 9, 20_001)
    mass = share * ndtr(grid - first) + (1 - share) * ndtr(grid - second)

    def change(x: Array) -> Array:
        return np.interp(ndtr(x), mass, grid)

    return change
