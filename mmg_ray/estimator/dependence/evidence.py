"""What the pairs of one data set look like, learned from many of them, and what that says of each.

A pair alone says little where samples are few: its 39 rank moments S_ab (see `screen`) are each of scatter
1 / (n - 1). A run sees very many pairs of one kind of data, and they say how much dependence there is
to expect and of what shape: mostly monotone in one data set, mostly of scales in another. The model,

    (n - 1) S_ab^2 ~ (1 + (n - 1) c_k f_ab) chi2_1,   f of one of the `SHAPES`, c of the `STRENGTHS`,

or chi2_1 of independent pairs, is a mixture of normal priors of the moments (Stephens 2017 calls the
like adaptive shrinkage). Only the weights of the mixture are learned, by expectation maximisation, whose maximum is the
only one; a component other than the linear ones has to earn `_EARNED` pairs. The posterior of a pair is then a closed
form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mmg_ray.estimator.dependence.screen import USED_ORDERS
from mmg_ray.estimator.ranks.rank_polynomials import ORDERS

_A, _B = (USED_ORDERS + 1).T  # degrees
_LEAST, _MOST = np.minimum(_A, _B), np.maximum(_A, _B)


def _shape(of: Callable[..., Any]) -> np.ndarray:
    """(39,) shares of the moments of sum 1."""
    found = np.asarray(of(_LEAST, _MOST), dtype=np.float64)
    return found / found.sum()


# shares of the squared moments in all: which moments a dependence of some shape is seen in
SHAPES: dict[str, np.ndarray] = {
    "linear": _shape(lambda a, b: (a * b == 1) + 1e-4),
    "monotone": _shape(lambda a, b: (a * b) ** -4.0),
    "bent": _shape(lambda a, b: (a * b) ** -2.5),
    "quadratic": _shape(
        lambda a, b: 1.0 * ((a == 1) & (b == 2)) + 0.5 * ((a == 2) & (b == 2)) + 0.05 / (a * b)
    ),
    "scale": _shape(
        lambda a, b: 1.0 * ((a == 2) & (b == 2)) + 0.3 * ((a == 1) & (b == 2)) + 0.05 / (a * b)
    ),
    "cubic": _shape(
        lambda a, b: 1.0 * ((a == 1) & (b == 3)) + 0.3 * ((a == b) & (a <= 2)) + 0.05 / (a * b)
    ),
    "wave": _shape(lambda a, b: 1.0 * ((a == 1) & (b >= 3)) + 0.02),
}
# sums of all squared moments
STRENGTHS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
LEAST_PAIRS = 300  # below it weights are fixed
_EARNED, _MORE_INDEPENDENT = 5.0, 10.0  # pairs: the prior of the weights, against learning noise
_STEPS = 200
_NEGLIGIBLE = 1e-6  # weight
_SURE = 4.0  # standard errors by which an estimate is above what moments show, before it counts


class Moments(NamedTuple):
    """Of P pairs.

    Attributes:
        squares: (P, 39) squared moments at `USED_ORDERS`, 0 of orders that a variable has not.
        n_orders: (P, 2) orders of either variable. n_samples: (P,).
        reduced: (P,) <= 1, what the statistic of a pair is worth beside normal moments: of rare
            values, whose moments are far from normal, less than it seems.
    """

    squares: np.ndarray
    n_orders: np.ndarray
    n_samples: np.ndarray
    reduced: np.ndarray

    @classmethod
    def empty(cls, n_pairs: int) -> Moments:
        """Of pairs that are to be filled in; `reduced` is NaN."""
        orders = np.zeros((n_pairs, 2), dtype=np.int64)
        samples = np.zeros(n_pairs, dtype=np.int64)
        return cls(np.zeros((n_pairs, len(USED_ORDERS))), orders, samples, np.full(n_pairs, np.nan))

    def take(self, rows: np.ndarray) -> Moments:
        """Some of the pairs."""
        return Moments(*(column[rows] for column in self))


class Evidence(NamedTuple):
    """The mixture.

    Attributes:
        independent: weight of independent pairs.
        weights: of the other components, by names of `SHAPES` and positions in `STRENGTHS`.
        n_pairs: that it was learned from; 0 of the fixed one.
    """

    independent: float
    weights: dict[tuple[str, int], float]
    n_pairs: int

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_json` reads them."""
        of_shape: dict[str, dict[str, float]] = {}
        for (shape, k), weight in self.weights.items():
            of_shape.setdefault(shape, {})[str(STRENGTHS[k])] = weight
        return {"independent": self.independent, "dependent": of_shape, "n_pairs": self.n_pairs}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Evidence:
        """What `to_json` gave."""
        weights = {
            (shape, STRENGTHS.index(float(c))): float(weight)
            for shape, of_strength in tree["dependent"].items()
            for c, weight in of_strength.items()
        }
        return cls(float(tree["independent"]), weights, int(tree["n_pairs"]))

    def __str__(self) -> str:
        of_shape = {shape: 0.0 for shape in SHAPES}
        for (shape, _), weight in self.weights.items():
            of_shape[shape] += weight
        shares = ", ".join(f"{s} {w:.1%}" for s, w in of_shape.items() if w >= 5e-4)
        return f"{self.independent:.1%} of the pairs independent" + (
            f", {shares}" if shares else ""
        )


class Posterior(NamedTuple):
    """Of P pairs: mean MI in nats, and the probability that there is any dependence."""

    mi: np.ndarray
    p_dependent: np.ndarray


_KEYS = tuple((shape, k) for shape in SHAPES for k in range(len(STRENGTHS)))
# of pairs that no more is known of: one in ten depends, three in ten of them along a line
FIXED = Evidence(
    0.9,
    {
        (shape, k): 0.1 * {"linear": 0.3, "monotone": 0.2, "bent": 0.2}.get(shape, 0.075) / 11
        for shape, k in _KEYS
    },
    0,
)


def learn(moments: Moments) -> Evidence:
    """The mixture of these pairs; `FIXED` of fewer than `LEAST_PAIRS`."""
    if len(moments.n_samples) < LEAST_PAIRS:
        return FIXED
    log_ratio = np.zeros((len(moments.n_samples), 1 + len(_KEYS)))
    for n in np.unique(moments.n_samples):
        rows = np.flatnonzero(moments.n_samples == n)
        log_ratio[rows, 1:] = _log_ratio(moments.take(rows), _Components.of(_KEYS, int(n)))
    log_ratio -= log_ratio.max(axis=1, keepdims=True)
    likelihood = np.exp(log_ratio, out=log_ratio)
    earned = np.array([0.0 if shape == "linear" else _EARNED for shape, _ in _KEYS])
    weight = np.full(1 + len(_KEYS), 0.1 / len(_KEYS))
    weight[0] = 0.9
    for _ in range(_STEPS):
        share = likelihood * weight
        share /= share.sum(axis=1, keepdims=True)
        weight = share.sum(axis=0)
        weight[0] += _MORE_INDEPENDENT
        weight[1:] = np.maximum(weight[1:] - earned, 0.0)
        weight /= weight.sum()
    weight = np.round(weight, 6)
    found = {key: float(w) for key, w in zip(_KEYS, weight[1:], strict=True) if w > _NEGLIGIBLE}
    return Evidence(round(1.0 - sum(found.values()), 6), found, len(log_ratio))


def posterior(evidence: Evidence, moments: Moments, mi: np.ndarray, se: np.ndarray) -> Posterior:
    """Of P pairs with these moments, whose own estimates are mi +- se, (P,) nats.

    The mean is that of 1/2 log(1 + sum S_ab^2), the `screen`'s MI, under the mixture. What a pair's
    own estimate is above that, by many standard errors, is a dependence that moments do not show, and counts.
    """
    n_pairs = len(moments.n_samples)
    found = Posterior(np.zeros(n_pairs), np.zeros(n_pairs))
    keys = tuple(key for key in _KEYS if key in evidence.weights)  # sums are in this order
    if keys:
        weights = np.array([evidence.weights[key] for key in keys])
        log_weight = np.log(weights / max(evidence.independent, 1e-12))
        for n in np.unique(moments.n_samples):
            rows = np.flatnonzero(moments.n_samples == n)
            part, components = moments.take(rows), _Components.of(keys, int(n))
            found.mi[rows], found.p_dependent[rows] = _posterior(
                part.squares * (n - 1.0),
                part.n_orders,
                part.reduced,
                *components,
                log_weight,
                n - 1.0,
            )
    more = np.maximum(mi - found.mi, 1e-12)
    more *= np.maximum(1.0 - np.square(_SURE * se / more), 0.0)
    return found._replace(mi=found.mi + np.nan_to_num(more))


class _Components(NamedTuple):
    """C components at n samples.

    Attributes:
        shrink: (C, 39) what is left of a moment, g / (1 + g) with g = (n - 1) c f.
        log_scale: (C, 15, 15) sum of log(1 + g), and left: (C, 15, 15) of g / (1 + g), over the
            orders up to those of two variables.
    """

    shrink: np.ndarray
    log_scale: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, keys: tuple[tuple[str, int], ...], n: int) -> _Components:
        growth = (n - 1) * np.array([STRENGTHS[k] * SHAPES[shape] for shape, k in keys])
        shrink = growth / (1 + growth)
        return cls(shrink, _up_to(np.log1p(growth)), _up_to(shrink))


def _up_to(of_orders: np.ndarray) -> np.ndarray:
    """(C, 39) -> (C, 15, 15) sums over the orders up to (k, m)."""
    table = np.zeros((len(of_orders), ORDERS + 1, ORDERS + 1))
    table[:, _A, _B] = of_orders
    return table.cumsum(1).cumsum(2)


def _log_ratio(moments: Moments, components: _Components) -> np.ndarray:
    """(P, C) log of the likelihood of each component over that of independence."""
    z2 = moments.squares * (moments.n_samples[:, None] - 1.0) * moments.reduced[:, None]
    scale = components.log_scale[:, moments.n_orders[:, 0], moments.n_orders[:, 1]].T
    found: np.ndarray = 0.5 * (z2 @ components.shrink.T - scale)
    return found


@njit(cache=True)  # type: ignore[misc, unused-ignore]
def _posterior(
    z2: Any,
    n_orders: Any,
    reduced: Any,
    shrink: Any,
    log_scale: Any,
    left: Any,
    log_weight: Any,
    n: float,
) -> Any:
    """(P,) mean MI and p_dependent of pairs, one after the other: no pair's depends on the others."""
    n_components = len(log_weight)
    mean, p_dependent = np.zeros(len(z2)), np.zeros(len(z2))
    log_share, mi = np.empty(n_components), np.empty(n_components)
    for p in range(len(z2)):
        k, m = n_orders[p]
        most = 0.0  # of independence
        for c in range(n_components):
            seen, square = 0.0, 0.0
            for order in range(z2.shape[1]):
                part = shrink[c, order] * z2[p, order]
                seen += part
                square += shrink[c, order] * part
            log_share[c] = log_weight[c] + 0.5 * (reduced[p] * seen - log_scale[c, k, m])
            mi[c] = 0.5 * np.log1p((square + left[c, k, m]) / n)
            most = max(most, log_share[c])
        dependent = 0.0
        for c in range(n_components):
            share = np.exp(log_share[c] - most)
            dependent += share
            mean[p] += share * mi[c]
        total = dependent + np.exp(-most)
        mean[p] /= total
        p_dependent[p] = dependent / total
    return mean, p_dependent
