"""Two disjoint sets of tasks: one to choose settings by, one to report."""

from __future__ import annotations

import numpy as np

from mmg_ray.known_mi.channels import additive, additive_uniform, branches, labels_normal, ring
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
from mmg_ray.known_mi.tables import (
    checkerboard,
    counts,
    poisson_gamma,
    poisson_response,
    rounded_gaussian,
)
from mmg_ray.known_mi.task import Array, Task, independent, zero_inflated


def tuning_suite() -> list[Task]:
    """Tasks to choose settings of an estimator by; none is in the report suite."""
    halves = [k / 2 for k in range(-14, 15)]
    quarters = [k * np.pi / 4 for k in range(-10, 11)]
    return [
        independent(
            "independent smooth",
            lambda rng, n: rng.standard_normal(n),
            lambda rng, n: rng.standard_exponential(n),
        ),
        independent(
            "independent counts",
            lambda rng, n: rng.poisson(0.5, n),
            lambda rng, n: rng.poisson(2, n),
        ),
        gaussian(0.2),
        gaussian(-0.6),
        gaussian(0.975),
        student(3, 0.3),
        clayton(1.5),
        joe(2),
        additive("x + .8 Laplace", lambda x: x, 0.8, noise="laplace"),
        additive("(.2 + |x|) e", lambda x: 0 * x, lambda x: 0.2 + abs(x), breaks=[0]),
        additive("sin 3x + .4 e, x unif.", lambda x: np.sin(3 * x), 0.4, x="uniform"),
        additive("|x| + e", abs, breaks=[0]),
        branches("+-x + .4 e", [lambda x: x, lambda x: -x], [0.4, 0.4]),
        additive("sign x + .7 e", np.sign, 0.7, breaks=[0]),
        additive_uniform(0.15),
        triangle(),
        poisson_gamma(1.5, 2, 5),
        zero_inflated(gaussian(0.9), 0.2, 0.4),
        labels_normal([0.7, 0.3], [0, 1.5]),
        independent(
            "independent heavy tails",
            lambda rng, n: rng.standard_t(2, n),
            lambda rng, n: rng.lognormal(size=n),
        ),
        independent(
            "independent, many zeros",
            lambda rng, n: np.where(rng.random(n) < 0.8, 0, rng.lognormal(size=n)),
            lambda rng, n: rng.negative_binomial(0.5, 0.4, n),
        ),
        gaussian(0.15),
        gaussian(0.5),
        gaussian(-0.985),
        student(1),
        student(5, 0.7),
        gumbel(1.6),
        frank(6),
        additive("x + .7 exponential", lambda x: x, 0.7, noise="exponential"),
        additive("tanh 2x + .3 unif.", lambda x: np.tanh(2 * x), 0.3, noise="uniform"),
        additive("x/2 + exp(.8x) e", lambda x: x / 2, lambda x: np.exp(0.8 * x)),
        additive("x^2 + .5 e", lambda x: x**2, 0.5),
        additive("cos 5x + .3 e", lambda x: np.cos(5 * x), 0.3),
        additive("cos 2x + 1.5 e", lambda x: np.cos(2 * x), 1.5),
        ring(0.15),
        branches("30% x + .1 e, 70% e", [lambda x: x, lambda x: 0 * x], [0.1, 1], [0.3, 0.7]),
        additive("floor 2x + .6 e", lambda x: np.floor(2 * x), 0.6, breaks=halves),
        additive("sawtooth + .1 Laplace", lambda x: x % 1, 0.1, "uniform", "laplace", [-1, 0, 1]),
        annulus(0.6),
        diamond(),
        checkerboard(4),
        counts("binary", np.array([[0.5, 0.1], [0.1, 0.3]])),
        poisson_gamma(0.7, 0.8, 3),
        poisson_gamma(2, 6, 6, 0.3, 0.5),
        rounded_gaussian(0.8, 1.0),
        poisson_response("Poisson exp(x/2 + 1)", lambda x: np.exp(x / 2 + 1)),
        labels_normal([0.5, 0.3, 0.2], [0, 2, -1], 0.8),
        independent(
            "independent uniform and Cauchy",
            lambda rng, n: rng.random(n),
            lambda rng, n: rng.standard_cauchy(n),
        ),
        independent(
            "independent labels and gamma",
            lambda rng, n: rng.choice(3, n, p=[0.6, 0.3, 0.1]),
            lambda rng, n: rng.gamma(0.4, size=n),
        ),
        gaussian(0.25),
        gaussian(-0.4),
        gaussian(0.8),
        gaussian(0.95),
        student(2, -0.4),
        student(1.5, 0.8),
        clayton(4),
        gumbel(2.4),
        frank(3),
        joe(1.5),
        plackett(12),
        additive("arctan 3x + .4 e", lambda x: np.arctan(3 * x), 0.4),
        additive("exp x + exponential", np.exp, 1.0, noise="exponential"),
        additive("x + .5 uniform, x Laplace", lambda x: x, 0.5, "laplace", "uniform"),
        additive("sin 4x + .6 e, x uniform", lambda x: np.sin(4 * x), 0.6, x="uniform"),
        additive("cos 3x + .25 uniform", lambda x: np.cos(3 * x), 0.25, "uniform", "uniform"),
        additive("(1 + .8 sin 3x) e", lambda x: 0 * x, lambda x: 1 + 0.8 * np.sin(3 * x)),
        additive("max(x, 0) + .3 e", lambda x: np.maximum(x, 0), 0.3, breaks=[0]),
        additive("x^2 / 2 + (.3 + |x| / 2) e", lambda x: x**2 / 2, _spread, breaks=[0]),
        branches("x or -2x, + .5 e", [lambda x: x, lambda x: -2 * x], [0.5, 0.5]),
        branches("x, 0 or -x, + .2 e", [lambda x: x, lambda x: 0 * x, lambda x: -x], [0.2] * 3),
        branches(
            "20% x^2 + .1 e, 80% 2 e", [lambda x: x**2, lambda x: 0 * x], [0.1, 2], [0.2, 0.8]
        ),
        ring(0.3),
        additive("sign sin 4x + .5 e", lambda x: np.sign(np.sin(4 * x)), 0.5, breaks=quarters),
        additive("round x + .3 Laplace", _rounded, 0.3, noise="laplace", breaks=_BETWEEN),
        corner(0.3),
        bow_tie(),
        annulus(0.0),
        checkerboard(6),
        counts("binary, like odds", np.array([[0.3, 0.2], [0.1, 0.4]])),
        poisson_gamma(0.4, 4, 1),
        poisson_gamma(3, 20, 4, 0.2, 0.0),
        rounded_gaussian(0.9, 0.7),
        zero_inflated(gaussian(-0.8), 0.5, 0.1),
        poisson_response("Poisson 3.2 + 3 tanh 2x", lambda x: 3.2 + 3 * np.tanh(2 * x)),
        labels_normal([0.25, 0.25, 0.25, 0.25], [0, 1, 2.5, 4], 0.6),
    ]


def report_suite() -> list[Task]:
    """Tasks to report the accuracy of an estimator on; never to choose a setting by."""
    half_periods = [k / 2.4 for k in range(-5, 6)]
    return [
        independent(
            "independent beta and Gumbel",
            lambda rng, n: rng.beta(0.5, 2, n),
            lambda rng, n: rng.gumbel(size=n),
        ),
        independent(
            "independent rounded and geometric",
            lambda rng, n: np.round(2 * rng.standard_normal(n)),
            lambda rng, n: rng.geometric(0.3, n),
        ),
        gaussian(0.3),
        gaussian(-0.55),
        gaussian(0.9),
        gaussian(-0.97),
        student(4, -0.5),
        student(1.2, 0.4),
        clayton(2.5),
        gumbel(1.9),
        frank(9),
        joe(3),
        plackett(30),
        ali_mikhail_haq(0.97),
        additive("arcsinh 3x + .5 logistic", lambda x: np.arcsinh(3 * x), 0.5, noise="logistic"),
        additive("x + .6 Gumbel", lambda x: x, 0.6, noise="gumbel"),
        additive("|x| + .5 uniform", abs, 0.5, noise="uniform", breaks=[0]),
        additive("x + .4 exponential, x Laplace", lambda x: x, 0.4, "laplace", "exponential"),
        additive("sin 5x + .5 e, x uniform", lambda x: np.sin(5 * x), 0.5, x="uniform"),
        additive("3 exp(-x^2) + .5 e", lambda x: 3 * np.exp(-(x**2)), 0.5),
        additive("x (x^2 - 2) / 2 + .4 e", lambda x: x * (x**2 - 2) / 2, 0.4),
        additive("(.3 + x^2 / 2) e", lambda x: 0 * x, lambda x: 0.3 + x**2 / 2),
        additive("x + (1.2 + tanh 4x) logistic", lambda x: x, _rising, noise="logistic"),
        additive("sign(x - .5) + .4 e", lambda x: np.sign(x - 0.5), 0.4, breaks=[0.5]),
        additive("floor x + .35 logistic", np.floor, 0.35, noise="logistic", breaks=range(-8, 9)),
        additive("1.5x mod 1 + .2 e", lambda x: 1.5 * x % 1, 0.2, x="uniform", breaks=_TWO_THIRDS),
        additive(
            "1.2x mod 1 < .5, + .5 e",
            lambda x: (1.2 * x % 1 < 0.5) * 2.0,
            0.5,
            "uniform",
            breaks=half_periods,
        ),
        branches("x or 1 - x, + .3 e", [lambda x: x, lambda x: 1 - x], [0.3, 0.3]),
        branches("+-sin 2x + .2 e", [lambda x: np.sin(2 * x), lambda x: -np.sin(2 * x)], [0.2] * 2),
        branches(
            "25% -x + .15 e, 75% 1.5 e", [lambda x: -x, lambda x: 0 * x], [0.15, 1.5], [0.25, 0.75]
        ),
        ring(0.2),
        annulus(0.35),
        half_disc(),
        cross(0.3),
        bands(2, 0.45),
        checkerboard(5),
        counts("binary, 4 to 1", np.array([[0.4, 0.1], [0.1, 0.4]])),
        poisson_gamma(1, 3, 6),
        poisson_gamma(0.8, 12, 5, 0.1, 0.3),
        rounded_gaussian(0.75, 0.5),
        zero_inflated(gaussian(0.85), 0.3, 0.2),
        poisson_response("Poisson exp(sin 2x + 1)", lambda x: np.exp(np.sin(2 * x) + 1)),
        labels_normal([0.4, 0.4, 0.2], [0, 1.5, 3], 0.7),
    ]


_TWO_THIRDS = tuple(2 * k / 3 for k in range(-2, 3))
_BETWEEN = tuple(k + 0.5 for k in range(-8, 8))


def _rounded(x: Array) -> Array:
    return np.floor(x + 0.5)


def _spread(x: Array) -> Array:
    return 0.3 + abs(x) / 2


def _rising(x: Array) -> Array:
    return 1.2 + np.tanh(4 * x)
