"""The oracles themselves: closed forms, brute force and estimators that share no code with them."""

from math import log, pi

import numpy as np
import pytest
from scipy import stats
from sklearn.feature_selection import mutual_info_regression

from mmg_ray import known_mi
from mmg_ray.known_mi import integrate


@pytest.fixture(scope="module")
def suites():
    return {"tuning": known_mi.tuning_suite(), "report": known_mi.report_suite()}


def normal_scores(values):
    return stats.norm.ppf(stats.rankdata(values) / (values.size + 1))


def bins(values, n_bins=100):
    """Ties keep a bin of their own, the rest share ``n_bins`` of equal counts."""
    distinct, inverse, times = np.unique(values, return_inverse=True, return_counts=True)
    alone = times == 1
    code = np.arange(distinct.size)
    code[alone] = -1 - np.arange(alone.sum()) * n_bins // max(alone.sum(), 1)
    return np.unique(code[inverse], return_inverse=True)[1]


def plug_in(x, y):
    """Plug-in MI of binned values with Miller and Madow's correction."""
    joint = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(joint, (x, y), 1)
    cells = [joint.ravel(), joint.sum(0), joint.sum(1)]
    h_xy, h_x, h_y = [stats.entropy(c) + (np.count_nonzero(c) - 1) / (2 * x.size) for c in cells]
    return h_x + h_y - h_xy


@pytest.mark.parametrize("name", ["tuning", "report"])
def test_samples_of_every_task_have_its_mi(suites, name):
    wrong = {}
    for task in suites[name]:
        x, y = task.sample(np.random.default_rng(11), 400_000)
        if np.unique(x).size == np.unique(y).size == x.size:
            x, y = normal_scores(x[:20_000]), normal_scores(y[:20_000])
            estimate = mutual_info_regression(x[:, None], y, random_state=0)[0]
            tolerance = 0.035  # the KSG estimator's own error, largest at hard edges
        else:
            estimate, tolerance = plug_in(bins(x), bins(y)), 0.006  # mostly lost to the bins
        # weaker gaussians have a sharper test of their own
        assert task.mi_nats == 0 or task.mi_nats > 2 * tolerance or "gaussian" in task.name
        if abs(estimate - task.mi_nats) > tolerance:
            wrong[task.name] = (task.mi_nats, estimate)
    assert not wrong


def test_twice_the_resolution_changes_no_task(suites, monkeypatch):
    converged = integrate.converged
    monkeypatch.setattr(integrate, "converged", lambda f, n: converged(f, 2 * n))
    # the other suite has the same integrals at other parameters
    finer = {task.name: task.mi_nats for task in known_mi.report_suite()}
    coarser = {task.name: task.mi_nats for task in suites["report"]}
    assert finer == pytest.approx(coarser, abs=1e-5)


def test_suites_are_disjoint_and_their_names_unique(suites):
    names = [task.name for suite in suites.values() for task in suite]
    assert len(names) == len(set(names))
    assert min(map(len, suites.values())) >= 14


def test_an_integral_that_does_not_settle_is_an_error():
    with pytest.raises(ArithmeticError, match="declare the breaks"):
        integrate.converged(lambda n: log(n), 10)


@pytest.mark.parametrize("rho", [0.15, -0.6, 0.985])
def test_gaussian_samples_have_the_correlation(rho):
    r = np.corrcoef(*known_mi.gaussian(rho).sample(np.random.default_rng(1), 400_000))[0, 1]
    assert r == pytest.approx(rho, abs=4 * (1 - rho**2) / np.sqrt(400_000))


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


def one(x):
    return x


GAUSSIAN = known_mi.gaussian(0.6).mi_nats
SURE = 1 - np.exp(-2 / 0.7)  # share of y, at X = -1, that cannot come from X = 1
LEFT = (1 - SURE) / (2 - SURE)  # P(X = -1 | y) of the others
UNSURE = -LEFT * log(LEFT) - (1 - LEFT) * log(1 - LEFT)

CLOSED_FORMS = {
    "linear": (lambda k: k.location_scale("", lambda x: 0.6 * x, lambda x: 0.8 + 0 * x), GAUSSIAN),
    "equal branches": (lambda k: k.branches("", [lambda x: 0.75 * x] * 2, [1, 1]), GAUSSIAN),
    "uniform": (
        lambda k: k.additive("", one, 0.6, x="uniform", noise="uniform"),
        known_mi.additive_uniform(0.3).mi_nats,
    ),
    "sign": (lambda k: k.additive("", np.sign, 0.05, breaks=[0]), log(2)),
    "sign, uniform": (
        lambda k: k.additive("", np.sign, 0.7, noise="uniform", breaks=[0]),
        log(2) / 0.7 / 3**0.5,
    ),
    "sign, exponential": (
        lambda k: k.additive("", np.sign, 0.7, noise="exponential", breaks=[0]),
        log(2) - (1 - SURE / 2) * UNSURE,
    ),
    "fold": (
        lambda k: k.additive("", abs, breaks=[0]),
        stats.skewnorm(1, scale=2**0.5).entropy() - stats.norm.entropy(),
    ),
    "line, exponential": (
        lambda k: k.additive("", one, 0.7, noise="exponential"),
        stats.exponnorm(0.7).entropy() - log(0.7) - 1,
    ),
    "labels": (
        lambda k: k.labels_normal([0.2, 0.3, 0.5], [0, 30, -30]),
        stats.entropy([0.2, 0.3, 0.5]),
    ),
    "clayton 1/2": (lambda k: k.clayton(0.5), log(1.5) - 1 / 3),
    "clayton 8": (lambda k: k.clayton(8), log(9) - 8 / 9),
    "gumbel 1": (lambda k: k.gumbel(1), 0),
    "disc": (lambda k: k.annulus(0), log(pi) - 1),
    "even board": (lambda k: k.checkerboard(6), log(2)),
    "odd board": (lambda k: k.checkerboard(3), 2 * stats.entropy([0.4, 0.2, 0.4]) - log(5)),
    "copy": (lambda k: k.counts("", np.eye(2) / 2), log(2)),
    "equal rates": (lambda k: k.poisson_gamma(1e4, 2, 3), 0),
    "no response": (lambda k: k.poisson_response("", lambda x: 3 + 0 * x), 0),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    make, mi_nats = CLOSED_FORMS[name]
    assert make(known_mi).mi_nats == pytest.approx(mi_nats, abs=5e-6)


NORMAL, UNIFORM = stats.norm, stats.uniform(-(3**0.5), 2 * 3**0.5)
LAPLACE, EXPONENTIAL = stats.laplace(0, 0.5**0.5), stats.expon(-1)


def channel(mean, sd, x_law=NORMAL, noise=NORMAL):
    return lambda x, y: x_law.pdf(x) * noise.pdf((y - mean(x)) / sd(x)) / sd(x)


def circle(x, y):
    angles = np.linspace(0, 2 * pi, 60, endpoint=False)
    return sum(np.exp(-((x - np.cos(a)) ** 2 + (y - np.sin(a)) ** 2) / 0.18) for a in angles)


def two_signs(x, y):
    return NORMAL.pdf(x) * (NORMAL.pdf((y - x) / 0.4) + NORMAL.pdf((y + x) / 0.4))


def wave(x):
    return np.cos(5 * x)


def funnel(x):
    return 0.2 + abs(x)


def half(x):
    return 0.5 + 0 * x


GRIDS = {  # a task, its density by other means, and where that is summed
    "laplace noise": (
        lambda k: k.additive("", one, 0.5, noise="laplace"),
        channel(one, half, noise=LAPLACE),
        (-6, 6, -13, 13),
    ),
    "laplace input": (
        lambda k: k.additive("", np.tanh, 0.5, x="laplace"),
        channel(np.tanh, half, LAPLACE),
        (-12, 12, -4, 4),
    ),
    "exponential input": (
        lambda k: k.additive("", one, 0.5, x="exponential"),
        channel(one, half, EXPONENTIAL),
        (-1, 17, -4, 20),
    ),
    "scale": (
        lambda k: k.additive("", one, funnel, breaks=[0]),
        channel(one, funnel),
        (-6, 6, -30, 30),
    ),
    "wave": (
        lambda k: k.additive("", wave, 0.5, x="uniform"),
        channel(wave, half, UNIFORM),
        (-(3**0.5), 3**0.5, -4, 4),
    ),
    "stair": (
        lambda k: k.additive("", np.floor, 0.5, x="uniform", breaks=[-1, 0, 1]),
        channel(np.floor, half, UNIFORM),
        (-(3**0.5), 3**0.5, -5, 5),
    ),
    "signs": (
        lambda k: k.branches("", [one, np.negative], [0.4, 0.4]),
        two_signs,
        (-6, 6, -7, 7),
    ),
    "ring": (lambda k: k.ring(0.3), circle, (-3, 3, -3, 3)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_densities_summed_on_a_grid(name):
    make, density, (*x_reach, y_low, y_high) = GRIDS[name]
    x, y = ((np.arange(1200) + 0.5) / 1200 * (b - a) + a for a, b in (x_reach, (y_low, y_high)))
    p = density(x[:, None], y)
    p /= p.sum()
    alone = np.outer(p.sum(1), p.sum(0))
    summed = np.sum(p[p > 0] * np.log(p[p > 0] / alone[p > 0]))
    assert make(known_mi).mi_nats == pytest.approx(summed, abs=5e-4)


COPULAS = {
    "clayton": (lambda u, v: (u**-1.5 + v**-1.5 - 1) ** (-1 / 1.5), lambda: known_mi.clayton(1.5)),
    "gumbel": (
        lambda u, v: np.exp(-(((-np.log(u)) ** 1.6 + (-np.log(v)) ** 1.6) ** (1 / 1.6))),
        lambda: known_mi.gumbel(1.6),
    ),
    "frank": (
        lambda u, v: -np.log1p(np.expm1(-6 * u) * np.expm1(-6 * v) / np.expm1(-6)) / 6,
        lambda: known_mi.frank(6),
    ),
    "joe": (
        lambda u, v: 1 - np.sqrt((1 - u) ** 2 + (1 - v) ** 2 - ((1 - u) * (1 - v)) ** 2),
        lambda: known_mi.joe(2),
    ),
}


@pytest.mark.parametrize("name", COPULAS)
def test_copulas_follow_their_distribution_function(name):
    cdf, make = COPULAS[name]
    task = make()
    u, v = task.sample(np.random.default_rng(5), 200_000)
    for a, b in [(0.05, 0.1), (0.5, 0.5), (0.3, 0.9), (0.97, 0.95)]:
        below = np.mean((u < a) & (v < b))
        assert below == pytest.approx(cdf(a, b), abs=4 * np.sqrt(cdf(a, b) / u.size))

    # the density as a difference quotient of the distribution function
    du, dv = (1e-3 * np.minimum(w, 1 - w) for w in (u, v))
    corners = cdf(u + du, v + dv) - cdf(u + du, v - dv) - cdf(u - du, v + dv) + cdf(u - du, v - dv)
    ratio = np.log(np.maximum(corners, 1e-300) / (4 * du * dv))
    ratio = ratio[ratio > -20]  # corners of the square, where the quotient is lost to rounding
    assert ratio.size > 0.9999 * u.size
    assert task.mi_nats == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(u.size))


def test_rounding_agrees_with_the_bivariate_normal_distribution_function():
    edges = np.append(np.arange(-4, 5) - 0.5, 4.5)
    below = stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).cdf(
        np.stack(np.meshgrid(edges, edges, indexing="ij"), axis=-1)
    )
    table = np.maximum(np.diff(np.diff(below, axis=0), axis=1), 0)
    by_cdf = known_mi.counts("", table).mi_nats
    assert known_mi.rounded_gaussian(0.8, 1.0).mi_nats == pytest.approx(by_cdf, abs=1e-4)


def test_poisson_gamma_is_a_negative_binomial_mixture():
    x = np.arange(200)
    given_x = [stats.nbinom(1.5 + k, 3.5 / 8.5).pmf(x) for k in x]  # shape 1.5 + x, rate 1.5 + 2
    table = stats.nbinom(1.5, 1.5 / 3.5).pmf(x)[:, None] * given_x
    expected = known_mi.counts("", table).mi_nats
    assert known_mi.poisson_gamma(1.5, 2, 5).mi_nats == pytest.approx(expected, abs=1e-8)
