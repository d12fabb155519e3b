"""Contingency tables with many rare values: unbiased, and intervals that hold the exact MI."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import xlogy

import mmg_ray
from mmg_ray.estimator.dependence import contingency


def spike(n_values: int, share: float) -> np.ndarray:
    """Probabilities of one value and of many, a continuous variable with an atom."""
    return np.r_[1 - share, np.full(n_values, share / n_values)]


def zipf(n_values: int, power: float) -> np.ndarray:
    p = 1 / np.arange(1, n_values + 1) ** power
    return p / p.sum()


def poisson(mean: float) -> np.ndarray:
    p = stats.poisson.pmf(np.arange(int(stats.poisson.isf(1e-9, mean)) + 1), mean)
    return p / p.sum()


def exact(joint: np.ndarray) -> float:
    return float(
        xlogy(joint, joint).sum()
        - xlogy(joint.sum(0), joint.sum(0)).sum()
        - xlogy(joint.sum(1), joint.sum(1)).sum()
    )


def codes(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a table, as codes of the values that occur."""
    a, b = (np.repeat(index, counts[counts > 0]) for index in np.nonzero(counts))
    return np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]


def errors(joint_of, n: int, n_repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """(R,) errors of the MI, cut off at 0 as it is reported, and their standard errors."""
    found = []
    for seed in range(n_repeats):
        rng = np.random.default_rng([n, seed])
        joint = joint_of(rng)
        a, b = codes(rng.multinomial(n, joint.ravel()).reshape(joint.shape))
        if contingency.fits(int(a.max()) + 1, int(b.max()) + 1, n):
            mi, se = contingency.mutual_information(a, b)
            found.append((max(mi, 0.0) - exact(joint), se))
    return tuple(np.array(found).T)


HALF = np.array([0.5, 0.5])
INDEPENDENT = {
    "2 x 2": (HALF, HALF, (200, 2000)),
    "atom x label": (spike(3000, 0.03), HALF, (200, 1000, 5000, 20_000)),
    "atom x rare label": (spike(3000, 0.03), np.array([0.95, 0.05]), (1000, 20_000)),
    "300 values x label": (np.full(300, 1 / 300), HALF, (20_000,)),
    "zipf x zipf": (zipf(50, 3.0), zipf(50, 3.0), (20_000,)),
    "zipf x rare": (zipf(200, 1.5), np.array([0.98, 0.02]), (20_000,)),
    "counts": (poisson(0.2), poisson(0.2), (200, 1000, 20_000)),
    "larger counts": (poisson(3), poisson(1), (5000, 20_000)),
}


@pytest.mark.parametrize(
    ("kind", "n"), [(kind, n) for kind, (*_, sizes) in INDEPENDENT.items() for n in sizes]
)
def test_independent_pairs(kind, n):
    p, q, _ = INDEPENDENT[kind]
    off, se = errors(lambda _: np.outer(p, q), n, 150)
    assert len(off) > 100
    assert np.mean(off <= 1.96 * se) >= 0.93
    # what cutting off at 0 leaves of an estimate that is unbiased: a fraction of its standard error
    assert off.mean() < 0.6 * se.mean()


def random_joint(p, q, sigma):
    """A table of these margins, nearly, with random log ratios."""

    def joint(rng):
        found = np.outer(p, q) * np.exp(sigma * rng.standard_normal((len(p), len(q))))
        return found / found.sum()

    return joint


def shared_rate(mean, sigma):
    """Two Poisson counts of one log-normal rate."""
    z = np.linspace(-5, 5, 201)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    p = stats.poisson.pmf(np.arange(40), mean * np.exp(sigma * z - sigma**2 / 2)[:, None])
    joint = (weight[:, None] * p).T @ p
    return lambda _: joint / joint.sum()


def atom_and_slope(_):
    """3 % of a variable vary and say by a logistic curve how likely the label is."""
    likely = 1 / (1 + np.exp(-2 * np.linspace(-2, 2, 1500)))
    return np.r_[[[0.485, 0.485]], 0.03 / 1500 * np.c_[1 - likely, likely]]


DEPENDENT = {
    "dirichlet 3 x 2": (lambda rng: rng.dirichlet(np.full(6, 3.0)).reshape(3, 2), (200, 20_000)),
    "dirichlet 5 x 4": (lambda rng: rng.dirichlet(np.full(20, 0.5)).reshape(5, 4), (1000, 20_000)),
    "zipf x zipf": (random_joint(zipf(50, 3.0), zipf(50, 3.0), 0.7), (20_000,)),
    "zipf x label": (random_joint(zipf(200, 1.2), HALF, 0.5), (20_000,)),
    "counts": (shared_rate(0.2, 1.0), (1000, 5000, 20_000)),
    "larger counts": (shared_rate(1.0, 0.7), (5000, 20_000)),
    "atom and slope": (atom_and_slope, (5000, 20_000)),
}


@pytest.mark.parametrize(
    ("kind", "n"), [(kind, n) for kind, (_, sizes) in DEPENDENT.items() for n in sizes]
)
def test_dependent_pairs(kind, n):
    joint_of, _ = DEPENDENT[kind]
    off, se = errors(joint_of, n, 150)
    assert len(off) > 80
    # 95 % and three standard errors of a share of 150, or of 80
    assert np.mean(np.abs(off) <= 1.96 * se) >= 0.89
    assert abs(off.mean()) < 0.5 * se.mean()
    truths = [exact(joint_of(np.random.default_rng([n, seed]))) for seed in range(5)]
    assert np.mean(truths) > 2 * se.mean()  # so that 0 would not do


def test_the_sum_expected_of_independent_pairs_is_exact():
    """Against tables drawn with the same margins."""
    for rows, columns in (([40, 50, 7, 3], [80, 20]), ([190, 6, 4], [150, 45, 5])):
        rows, columns = np.array(rows), np.array(columns)
        n = int(rows.sum())
        functions = contingency._functions(n)
        mean, variance, _, _ = contingency._under_independence(rows, columns, n, *functions)
        drawn = stats.random_table(rows, columns).rvs(20_000, random_state=1)
        sums = functions.g[drawn].sum((1, 2))
        assert mean == pytest.approx(sums.mean(), abs=4 * sums.std() / np.sqrt(20_000))
        # entries are not independent: on the safe side for the rarest of them
        assert 0.9 * sums.var() < variance < 2 * sums.var()


def test_mostly_one_value_beside_a_label():
    """97 % of a continuous variable at one value, the report that this comes from."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = np.where(rng.random(20_000) < 0.97, -1.0, rng.normal(3, 2, 20_000))
        r = mmg_ray.estimate_mi(values, rng.integers(0, 2, 20_000))
        found.append((r.mi_nats, r.se_nats))
    mi, se = np.array(found).T
    assert mi.mean() < 0.0003
    assert np.mean(mi <= 1.96 * se) >= 0.93


@pytest.mark.parametrize("kind", ["counts", "rounded", "in strata"])
def test_other_sparse_inputs(kind):
    """Rare counts, a rounded atom, and strata of which some are nearly empty, all without dependence."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng([5, seed])
        n = 4000
        y, condition = rng.integers(0, 3, n), None
        if kind == "counts":
            x = rng.negative_binomial(0.3, 0.05, n) * (rng.random(n) < 0.2)
        elif kind == "rounded":
            x = np.where(rng.random(n) < 0.9, 0.0, rng.normal(3, 2, n).round(1))
        else:
            x, condition = rng.poisson(0.3, n), rng.choice(list("aaaaaaaaab"), n)
        r = mmg_ray.estimate_mi(x, y, condition=condition)
        found.append((r.mi_nats, r.se_nats))
    mi, se = np.array(found).T
    assert np.mean(mi <= 1.96 * se) >= 0.9
    assert mi.mean() < 0.6 * se.mean()
