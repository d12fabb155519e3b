"""Pairs whose mutual information is known exactly: for tests, benchmarks and calibration.

Each task is a sampler and a number. The numbers come from closed forms or from one- and
two-dimensional numerical integration, never from an estimator. An integral is taken again at twice
the resolution until it moves by less than 1e-5 nats.
"""

from mmg_ray.known_mi.bmi import bmi_suite
from mmg_ray.known_mi.channels import (
    additive,
    additive_uniform,
    branches,
    labels_normal,
    location_scale,
    ring,
)
from mmg_ray.known_mi.conditional import (
    ConditionalTask,
    autoregression,
    changing,
    conditional_suite,
    confounded,
    volatility,
)
from mmg_ray.known_mi.copulas import (
    ali_mikhail_haq,
    clayton,
    frank,
    gaussian,
    gumbel,
    joe,
    plackett,
    student,
)
from mmg_ray.known_mi.maps import half_cube, mapped, normal_cdf, spiral
from mmg_ray.known_mi.shapes import (
    annulus,
    bands,
    bow_tie,
    corner,
    cross,
    diamond,
    half_disc,
    triangle,
)
from mmg_ray.known_mi.suites import report_suite, tuning_suite
from mmg_ray.known_mi.tables import (
    checkerboard,
    counts,
    poisson_gamma,
    poisson_response,
    rounded_gaussian,
)
from mmg_ray.known_mi.task import Sampler, Task, independent, zero_inflated
from mmg_ray.known_mi.vectors import dense, multinormal, paired, student_vectors

__all__ = [
    "ConditionalTask",
    "Sampler",
    "Task",
    "additive",
    "additive_uniform",
    "ali_mikhail_haq",
    "annulus",
    "autoregression",
    "bands",
    "bmi_suite",
    "bow_tie",
    "branches",
    "changing",
    "checkerboard",
    "clayton",
    "conditional_suite",
    "confounded",
    "corner",
    "counts",
    "cross",
    "dense",
    "diamond",
    "frank",
    "gaussian",
    "gumbel",
    "half_cube",
    "half_disc",
    "independent",
    "joe",
    "labels_normal",
    "location_scale",
    "mapped",
    "multinormal",
    "normal_cdf",
    "paired",
    "plackett",
    "poisson_gamma",
    "poisson_response",
    "report_suite",
    "ring",
    "rounded_gaussian",
    "spiral",
    "student",
    "student_vectors",
    "triangle",
    "tuning_suite",
    "volatility",
    "zero_inflated",
]
