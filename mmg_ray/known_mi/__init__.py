"""Scalar pairs whose mutual information is known exactly: for tests, benchmarks and calibration.

Each task is a sampler and a number. The numbers come from closed forms or from one- and
two-dimensional numerical integration, never from an estimator. An integral is taken again at twice
the resolution until it moves by less than 1e-5 nats.
"""

from mmg_ray.known_mi.channels import (
    additive,
    additive_uniform,
    branches,
    labels_normal,
    location_scale,
    ring,
)
from mmg_ray.known_mi.copulas import clayton, frank, gaussian, gumbel, joe, plackett, student
from mmg_ray.known_mi.shapes import annulus, bow_tie, corner, diamond, triangle
from mmg_ray.known_mi.suites import report_suite, tuning_suite
from mmg_ray.known_mi.tables import (
    checkerboard,
    counts,
    poisson_gamma,
    poisson_response,
    rounded_gaussian,
)
from mmg_ray.known_mi.task import Sampler, Task, independent, zero_inflated

__all__ = [
    "Sampler",
    "Task",
    "additive",
    "additive_uniform",
    "annulus",
    "bow_tie",
    "branches",
    "checkerboard",
    "clayton",
    "corner",
    "counts",
    "diamond",
    "frank",
    "gaussian",
    "gumbel",
    "independent",
    "joe",
    "labels_normal",
    "location_scale",
    "plackett",
    "poisson_gamma",
    "poisson_response",
    "report_suite",
    "ring",
    "rounded_gaussian",
    "student",
    "triangle",
    "tuning_suite",
    "zero_inflated",
]
