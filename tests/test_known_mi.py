"""The oracles themselves: closed forms against densities and against each other."""

import numpy as np
import pytest
from scipy import stats

from mmg_ray import known_mi


def test_quadrature_reproduces_the_gaussian_closed_form():
    rho = 0.83
    by_quadrature = known_mi.location_scale(
        "", lambda x: rho * x, lambda x: np.sqrt(1 - rho**2) + 0 * x
    )
    assert by_quadrature.mi_nats == pytest.approx(known_mi.gaussian(rho).mi_nats, abs=1e-8)


@pytest.mark.parametrize(("df", "rho"), [(1, 0.0), (2, 0.0), (5, 0.6)])
def test_student_closed_form_is_the_mean_log_density_ratio(df, rho):
    task = known_mi.student(df, rho)
    x, y = task.sample(np.random.default_rng(df), 400_000)
    joint = stats.multivariate_t([0, 0], [[1, rho], [rho, 1]], df=df).logpdf(np.stack([x, y], 1))
    ratio = joint - stats.t(df).logpdf(x) - stats.t(df).logpdf(y)
    assert task.mi_nats == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(x.size))


@pytest.mark.parametrize("half_width", [0.1, 0.5, 0.8])
def test_additive_uniform_closed_form_is_the_mean_log_density_ratio(half_width):
    task = known_mi.additive_uniform(half_width)
    x, y = task.sample(np.random.default_rng(3), 200_000)
    overlap = np.minimum(1, y + half_width) - np.maximum(0, y - half_width)
    ratio = -np.log(overlap)  # p(y | x) = 1 / 2h, p(y) = overlap / 2h
    assert task.mi_nats == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(x.size))
