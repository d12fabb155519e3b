"""The correction: E[w | z, y] as a penalised sum of smooth products, from one matrix of moments.

At each noise level f(z, y) = sum_F beta_F B_a(z) B_b(y) is fitted to two halves of the samples by
least squares with a roughness penalty. Sums over samples enter only through the moments

    S_jq = mean of phi_j(r) psi_q(y),

of which right-hand sides, Gram matrices, held-out errors and influences are linear functions (see
`basis`). The estimate is the cross-product of the two fits,

    1/2 Int E_2[w f_1] + E_1[w f_2] - E[f_1 f_2] du,

which has no bias from the noise of the fits, and of their shrinkage only the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.nn.functional import embedding

from mmg_ray.estimator.spline.basis import Tables, cell

_RIDGE = 1e-3
_AT_ONCE = {"cpu": 2**18, "cuda": 2**30}  # numbers of a table's curves that are held


class Correction(NamedTuple):
    """MI beyond a reference, of S directions, nats.

    Attributes:
        cross: (S,) the estimate. direct: (S,) held-out gap. orthogonal: (S,) squared distance.
        influence: (S, N) of each sample: its mean is close to `cross`; 0 in the padding.
        held_out: (S, K) integrand of `direct`, E[2 w f - f^2], at each noise level.
    """

    cross: torch.Tensor
    direct: torch.Tensor
    orthogonal: torch.Tensor
    influence: torch.Tensor
    held_out: torch.Tensor


def correct(
    r: torch.Tensor,
    y: torch.Tensor,
    half: torch.Tensor,
    mask: torch.Tensor,
    t: Tables,
    penalties: tuple[float, ...],
    lighter: int,
) -> Correction:
    """Fit and integrate S directions.

    Args:
        r: (S, D, N) draws of the target, referred to N(0, 1). y: (S, N) source scores.
        half: (N,) 0 or 1. mask: (S, N) float32. penalties: ascending; at each level the best on the
            other half is taken, `lighter` notches down: the cross-product has little bias from
            noise, so less shrinkage is better for it than for the fit itself.
    """
    sides = [_Half(t, r, y, mask, (half == side).nonzero()[:, 0]) for side in (0, 1)]
    s = torch.stack([side.moments() for side in sides], 1)  # (S, 2, J, Q)

    right = _expand(t.linear, s, t.single)[..., t.of_target, t.of_source]  # (S, 2, K, F)
    gram = _expand(t.quadratic, s, t.product).flatten(-2)[..., t.entry]
    gram = gram.unflatten(-1, (len(t.roughness), -1))
    # (S, 2, K, F, L)
    beta = torch.stack([_fit(gram, right, penalty * t.roughness) for penalty in penalties], -1)
    gain = []
    for own, other in ((0, 1), (1, 0)):
        fitted = gram[:, other] @ beta[:, own]
        gain.append((beta[:, own] * (2 * right[:, other, ..., None] - fitted)).sum(-2))
    held_out = 0.5 * (gain[0] + gain[1])  # (S, K, L)
    best = _smoothed(held_out).argmax(-1, keepdim=True)
    taken = (best - lighter).clamp(min=0)
    # never so light that a fit falls apart
    least = -5 / mask.sum(1)[:, None, None]
    taken = torch.where(held_out.gather(-1, taken) > least, taken, best)[:, None, :, None]
    one, two = beta.gather(-1, taken.expand(-1, 2, -1, beta.shape[-2], 1))[..., 0].unbind(1)
    product = 0.5 * (one * _times(gram[:, 0], two) + one * _times(gram[:, 1], two)).sum(-1)
    cross = (one * right[:, 1] + two * right[:, 0]).sum(-1) - product
    at_best = held_out.gather(-1, best)[..., 0]
    return Correction(
        cross=cross @ t.weight,
        direct=at_best @ t.weight,
        orthogonal=product @ t.weight,
        influence=_influence(t, one, two, sides),
        held_out=at_best,
    )


class _Half:
    """Curves of r and lookups of y at the samples of one half.

    They are looked up each time for a few directions, which the cache then holds: reading them from
    memory would take longer than all that is done with them.
    """

    def __init__(
        self,
        t: Tables,
        r: torch.Tensor,
        y: torch.Tensor,
        mask: torch.Tensor,
        samples: torch.Tensor,
    ) -> None:
        self.samples = samples
        self._t, self._mask = t, mask[:, samples]
        self._r, self._y = cell(r[..., samples]), cell(y[:, samples])
        self._whole = bool(self._mask.all())

    def _values(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Directions, their curves (s, n, J) and lookups (s, n, Q), 0 in the padding."""
        n_directions, n_draws, n = self._r.shape
        at_once = _AT_ONCE[self._r.device.type] // (n_draws * n * self._t.curves.shape[1] + 1) + 1
        for start in range(0, n_directions, at_once):
            rows = slice(start, start + at_once)
            curves = embedding(self._r[rows], self._t.curves)
            lookups = embedding(self._y[rows], self._t.lookups)
            if not self._whole:
                lookups = lookups * self._mask[rows, :, None]
            yield rows, curves[:, 0] if n_draws == 1 else curves.mean(1), lookups

    def moments(self) -> torch.Tensor:
        """(S, J, Q) means of products."""
        sums = torch.cat([curves.mT @ lookups for _, curves, lookups in self._values()])
        return sums / self._mask.sum(1)[:, None, None]

    def at(self, tables: torch.Tensor) -> torch.Tensor:
        """(S, n) sums of products of (S, J, Q) tables, 0 in the padding."""
        return torch.cat(
            [
                ((curves @ tables[rows]) * lookups).sum(-1)
                for rows, curves, lookups in self._values()
            ]
        )


def _expand(left: torch.Tensor, s: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Sums of products: (K, A, J), moments (S, 2, J, Q) and (B, Q) -> (S, 2, K, A, B)."""
    n_directions, _, n_curves, n_lookups = s.shape
    columns = s.permute(2, 0, 1, 3).reshape(n_curves, -1)  # one product, the tables read once
    half_way = (left.flatten(0, 1) @ columns).view(-1, n_lookups) @ right.T
    shaped = half_way.view(*left.shape[:2], n_directions, 2, right.shape[0])
    return shaped.permute(2, 3, 0, 1, 4)


def _smoothed(values: torch.Tensor) -> torch.Tensor:
    """(S, K, L) with half of each neighbouring level added."""
    pad = torch.nn.functional.pad
    return values + 0.5 * (pad(values[:, 1:], (0, 0, 0, 1)) + pad(values[:, :-1], (0, 0, 1, 0)))


def _fit(gram: torch.Tensor, right: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """(..., F) solutions of (G + diag(penalty) + ridge) beta = b."""
    lower, failed = torch.linalg.cholesky_ex(gram + torch.diag(penalty + _RIDGE))
    beta = torch.cholesky_solve(right[..., None], lower)[..., 0]
    return torch.where(failed[..., None] == 0, beta, 0.0)


def _times(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _influence(t: Tables, one: torch.Tensor, two: torch.Tensor, sides: list[_Half]) -> torch.Tensor:
    """(S, N) integral of 2 w f_held - f_1 f_2 for each sample, by its curves and lookups."""
    n_directions, levels, _ = one.shape
    n_target, n_source = t.linear.shape[1], t.single.shape[0]
    products = one.new_zeros(n_directions, levels, t.quadratic.shape[1] * t.product.shape[0])
    outer = (one[..., :, None] * two[..., None, :]).flatten(-2) * t.weight[:, None]
    products.scatter_add_(-1, t.entry.expand(n_directions, levels, -1), outer)
    quadratic = _collect(t.quadratic, products.unflatten(-1, (t.quadratic.shape[1], -1)), t.product)
    values = one.new_empty(n_directions, sum(len(side.samples) for side in sides))
    # the fit that has not seen the samples of half 0, then of half 1
    for side, beta in zip(sides, (two, one), strict=True):
        linear = one.new_zeros(n_directions, levels, n_target, n_source)
        linear[..., t.of_target, t.of_source] = 2 * beta * t.weight[:, None]
        values[:, side.samples] = side.at(_collect(t.linear, linear, t.single) - quadratic)
    return values


def _collect(left: torch.Tensor, middle: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Sum over levels of left^T middle right: (K, A, J), (S, K, A, B), (B, Q) -> (S, J, Q)."""
    stacked = (middle @ right).flatten(1, 2)
    return left.flatten(0, 1).T @ stacked
