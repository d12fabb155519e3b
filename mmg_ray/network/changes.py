"""The change of MI between two runs in the light of all pairs that are compared, by empirical Bayes.

A pair's difference d has the standard error s of both runs. Which changes there are is learned from all pairs
(Stephens, Biostatistics 2017, "False discovery rates: a new deal"), in units of the errors, since both errors and
changes are larger of pairs that depend strongly:

    z = d / s,    z | delta ~ N(delta, 1),    delta ~ pi_0 [0] + sum_k pi_k N(0, tau_k^2)

with a fixed grid of tau_k from 1, as no data tell smaller changes from none. The shares pi are those of largest
likelihood under a prior that counts `_NULL` more pairs as unchanged, so that few pairs say little. A pair's posterior
mean is its difference shrunk by what the others say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_NULL = 10.0  # pairs that count as unchanged beside those that there are (Stephens 2017)
_STEP = np.sqrt(2.0)  # from one tau to the next
_FITTED = 20_000  # pairs that the shares are learned from; more would not move them
_ROUNDS = 2_000  # of expectation and maximisation
_SETTLED = 1e-7  # change of the mean log likelihood that ends them
_AT_ONCE = 65_536


class Changes(NamedTuple):
    """Of E pairs, NaN where one has no difference.

    Attributes:
        mean: (E,) posterior mean of the change, nats.
        probability: (E,) that there is one: 1 - local false-discovery rate.
    """

    mean: np.ndarray
    probability: np.ndarray


def posterior(difference: np.ndarray, se: np.ndarray) -> Changes:
    """The posterior of (E,) changes from differences and their standard errors, nats; of no order.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> change = np.where(np.arange(1000) < 200, 0.5 * rng.standard_normal(1000), 0)
        >>> found = posterior(change + 0.1 * rng.standard_normal(1000), np.full(1000, 0.1))
        >>> bool(abs(found.probability.mean() - 0.2) < 0.05)
        True
    """
    known = np.isfinite(difference) & np.isfinite(se) & (se > 0)
    mean, probability = (np.full(difference.shape, np.nan) for _ in range(2))
    if known.any():
        z = difference[known] / se[known]
        # evenly spaced ones in order: a fair sample, the same whatever the order of pairs
        chosen = np.sort(z)[np.linspace(0, len(z) - 1, min(len(z), _FITTED)).astype(np.int64)]
        tau = _grid(chosen)
        share = _shares(_log_likelihood(chosen, tau))
        parts = [_posterior(z[k : k + _AT_ONCE], tau, share) for k in range(0, len(z), _AT_ONCE)]
        shrunk, probability[known] = (np.concatenate(part) for part in zip(*parts, strict=True))
        mean[known] = shrunk * se[known]
    return Changes(mean, probability)


def _grid(z: np.ndarray) -> np.ndarray:
    """(K,) 0 and standard deviations from 1 to as large as any change."""
    high = 2 * np.sqrt(max(float(np.max(z**2)) - 1, 1.0))
    n = int(np.ceil(np.log(high) / np.log(_STEP)))
    return np.concatenate([[0.0], _STEP ** np.arange(n + 1)])


def _log_likelihood(z: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """(E, K) of each pair under each tau, up to a constant."""
    variance = 1 + tau**2
    found: np.ndarray = -0.5 * (np.log(variance) + z[:, None] ** 2 / variance)
    return found


def _shares(log_likelihood: np.ndarray) -> np.ndarray:
    """(K,) shares of the components, by expectation and maximisation."""
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    n, k = likelihood.shape
    extra = np.where(np.arange(k) == 0, _NULL, 0.0)
    share, before = np.full(k, 1 / k), -np.inf
    for _ in range(_ROUNDS):
        weighted = likelihood * share
        total = weighted.sum(axis=1)
        share = ((weighted / total[:, None]).sum(axis=0) + extra) / (n + _NULL)
        reached = float(np.log(total).mean())
        if reached - before < _SETTLED:
            break
        before = reached
    return share


def _posterior(z: np.ndarray, tau: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean in units of the error, and probability of a change."""
    log_likelihood = _log_likelihood(z, tau)
    weight = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True)) * share
    weight /= weight.sum(axis=1, keepdims=True)
    return z * (weight * tau**2 / (1 + tau**2)).sum(axis=1), 1 - weight[:, 0]
