"""The correction: E[w | z, y] as a penalised sum of smooth products, from one matrix of moments.

At each noise level f(z, y) = sum_F beta_F B_a(z) B_b(y) is fitted to two halves of the samples by
least squares with a roughness penalty. Sums over samples enter only through the moments

    S_jq = mean of phi_j(r) psi_q(y),

of which right-hand sides, Gram matrices, held-out errors and influences are linear functions (see
`basis`). The estimate is the cross-product of the two fits,

    1/2 Int E_2[w f_1] + E_1[w f_2] - E[f_1 f_2] du,

which has no bias from the noise of the fits, and of their shrinkage only the product. Directions are
along the last axis throughout, so that one matrix product or instruction works on many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmg_ray.estimator.tiers.spline.basis import Tables
from mmg_ray.estimator.tiers.spline.solve import cross_fitted, products

_WIDTH = 64


class Correction(NamedTuple):
    """MI beyond a reference, of S directions, nats.

    Attributes:
        cross: (S,) the estimate. direct: (S,) held-out gap. orthogonal: (S,) squared distance.
        held_out: (S, K) integrand of `direct`, E[2 w f - f^2], at each noise level.
        influence: (S, 2, J, Q) float32 coefficients: a sample of half h has the influence
            sum_jq phi_j(r) influence[h, j, q] psi_q(y), whose mean is close to `cross`.
    """

    cross: np.ndarray
    direct: np.ndarray
    orthogonal: np.ndarray
    held_out: np.ndarray
    influence: np.ndarray


def correct(
    s: np.ndarray, n: np.ndarray, t: Tables, penalties: tuple[float, ...], lighter: int
) -> Correction:
    """Fit and integrate S directions.

    Args:
        s: (S, 2, J, Q) float32 moments of each half. n: (S,) samples of both.
        penalties: ascending; at each level the best on the other half is taken, `lighter` notches
            down: the cross-product has little bias from noise, so less shrinkage is better for it
            than for the fit itself.
    """
    n_directions, _, n_curves, _ = s.shape
    s = _padded(np.moveaxis(s, 0, -1))  # (2, J, Q, S')
    single, product = (
        np.matmul(right, s).reshape(2, n_curves, -1) for right in (t.single, t.product)
    )
    of_function = t.of_target * len(t.single) + t.of_source
    penalty = np.multiply.outer(np.array(penalties, dtype=np.float32), t.roughness)
    fits = []
    for linear, quadratic in zip(t.linear, t.quadratic, strict=True):
        right = (linear @ single).reshape(2, -1, s.shape[-1])[:, of_function, :n_directions]
        gram = (quadratic @ product).reshape(2, -1, s.shape[-1])[..., :n_directions]
        fits.append(cross_fitted(gram, right, t.entry, penalty))
    # (K, 2, L, F, S), and (K, L, S) each
    beta, held_out, both, squares = (np.stack(values) for values in zip(*fits, strict=True))

    best = _smoothed(held_out).argmax(axis=1)[:, None]
    taken = np.maximum(best - lighter, 0)
    # never so light that a fit falls apart
    taken = np.where(np.take_along_axis(held_out, taken, 1) > -5 / n, taken, best)
    at_best = np.take_along_axis(held_out, best, 1)[:, 0].T.astype(np.float64)
    both, squares = (
        np.take_along_axis(v, taken, 1)[:, 0].T.astype(np.float64) for v in (both, squares)
    )
    chosen = np.take_along_axis(beta, taken[:, None, :, None], 2)[:, :, 0]  # (K, 2, F, S)
    weight = t.weight.astype(np.float64)
    return Correction(
        cross=((both - squares) * weight).sum(axis=1),
        direct=(at_best * weight).sum(axis=1),
        orthogonal=(squares * weight).sum(axis=1),
        held_out=at_best,
        influence=_influence(t, _padded(chosen))[:n_directions],
    )


def _padded(values: np.ndarray) -> np.ndarray:
    """(..., S) with zeros to a multiple of `_WIDTH`: a matrix product may round a column by how many there are."""
    short = -values.shape[-1] % _WIDTH
    return np.ascontiguousarray(np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, short)]))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """(K, L, S) with half of each neighbouring level added."""
    out = values.copy()
    out[:-1] += 0.5 * values[1:]
    out[1:] += 0.5 * values[:-1]
    return out


def _influence(t: Tables, beta: np.ndarray) -> np.ndarray:
    """(S, 2, J, Q) of the integral of 2 w f_held - f_1 f_2, by curves and lookups.

    Args:
        beta: (K, 2, F, S) of both fits; a sample of one half is held out of the fit to the other.
    """
    n_directions = beta.shape[-1]
    n_target, n_source = t.linear.shape[1], len(t.single)
    quadratic = _collect(
        t.quadratic,
        products(beta, t.entry, t.weight, t.quadratic.shape[1] * len(t.product)),
        t.product,
    )
    found = []
    for h in (0, 1):
        linear = np.zeros((len(beta), n_target * n_source, n_directions), dtype=np.float32)
        linear[:, t.of_target * n_source + t.of_source] = (
            2 * beta[:, 1 - h] * t.weight[:, None, None]
        )
        found.append(_collect(t.linear, linear, t.single) - quadratic)
    return np.ascontiguousarray(np.moveaxis(np.stack(found), -1, 0))


def _collect(left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum over levels of left^T middle right: (K, A, J), (K, A B, S), (B, Q) -> (J, Q, S)."""
    n_levels, n_left, n_curves = left.shape
    stacked = left.reshape(-1, n_curves).T @ middle.reshape(n_levels * n_left, -1)
    return np.matmul(right.T, stacked.reshape(n_curves, len(right), -1))
