"""Dependence that changes with the condition: pairs estimated among samples of like condition, one stratum at a time.

With U_x and U_y the conditional ranks, each independent of C, and S a stratum of C,

    I(X; Y | C) = I(U_x; U_y | C) >= I(U_x; U_y | S) = sum_s P(s) I(U_x; U_y | S = s)

with equality where C is labels, and nearly so where C changes little within a stratum. A stratum costs what an ordinary pair
of its samples does, so all of them cost about as much as one pair of all samples: networks that are given C cost thousands of
times that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.conditional.conditional_ranks import Condition
from mmg_ray.estimator.ranks import marginals
from mmg_ray.schema import PairEstimates, Variable

NAME = "strata"  # of the rows that are its own

# Strata of numbers: so many from so many samples on. Coarser ones lose what changes within them, and smaller ones read a
# hundredth of a nat too much (`benchmarks/conditions.py`).
_STRATA = ((1_440, 16), (4_800, 32), (19_200, 64))
_OF_LABELS = 50  # samples of a combination of labels


def strata_of_condition(condition: Condition, min_samples: int) -> np.ndarray | None:
    """(n,) stratum of each sample that has the condition; None where there are too few samples for any.

    Labels first, rare ones together, then halves by the median of one number after the other.
    """
    n = len(condition.codes)
    parts = _by_label(condition.categories, max(min_samples, _OF_LABELS))
    if condition.codes.shape[1]:
        wanted = max((count for fewest, count in _STRATA if n >= fewest), default=None)
        if wanted is None:
            return None
        least = n // (wanted + 1)
        parts = [half for part in parts for half in _halves(condition.codes, part, 0, least)]
    if len(parts) < 2:
        return None
    found = np.empty(n, dtype=np.int64)
    for stratum, rows in enumerate(parts):
        found[rows] = stratum
    return found


def _by_label(categories: np.ndarray, least: int) -> list[np.ndarray]:
    """Rows (n,) of each combination of labels; those of fewer than `least` samples together."""
    n = len(categories)
    if not categories.shape[1]:
        return [np.arange(n)]
    label = np.unique(categories, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(label, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(label))[:-1])
    large = [part for part in parts if len(part) >= least]
    rare = [part for part in parts if len(part) < least]
    if rare:
        together = np.sort(np.concatenate(rare))
        if len(together) < least and large:
            smallest = large.pop(int(np.argmin([len(part) for part in large])))
            together = np.sort(np.concatenate([together, smallest]))
        large.append(together)
    return large


def _halves(codes: np.ndarray, rows: np.ndarray, depth: int, least: int) -> list[np.ndarray]:
    """Parts of at least so many samples, of about equal numbers of them."""
    if len(rows) < 2 * least:
        return [rows]
    order = rows[np.argsort(codes[rows, depth % codes.shape[1]], kind="stable")]
    middle = len(order) // 2
    halves = (np.sort(order[:middle]), np.sort(order[middle:]))
    return [part for half in halves for part in _halves(codes, half, depth + 1, least)]


class InStrata(NamedTuple):
    """(P,) sums over strata; names as in `PairEstimates`, NaN where no stratum has a value."""

    mi_nats: np.ndarray
    se_nats: np.ndarray
    mi_ij: np.ndarray
    mi_ji: np.ndarray
    gap: np.ndarray
    orthogonal: np.ndarray


def estimate_in_strata(
    variables: Mapping[int, Variable],
    pairs: np.ndarray,
    strata: np.ndarray,
    cfg: EstimatorConfig,
    device: str = "cpu",
    identity: np.ndarray | None = None,
) -> InStrata:
    """I(U_x; U_y | S) of (P, 2) pairs of conditional ranks (n,), with standard errors.

    A pair with too few samples in a stratum is estimated from the others.
    """
    # samples of a stratum do not follow one another: the tests of a series are made elsewhere
    cfg = replace(cfg, nulls=replace(cfg.nulls, kind="permutation"))
    used = {v: variables[v] for v in np.unique(pairs).tolist()}
    parts: list[PairEstimates] = []
    for stratum in range(int(strata.max()) + 1):
        rows = np.flatnonzero(strata == stratum)
        part = {
            v: replace(variable, codes=marginals.dense_codes(variable.codes[rows]))
            for v, variable in used.items()
        }
        parts.append(
            estimate_tile(part, pairs, cfg, device, None if identity is None else identity[rows])
        )
    ok = np.stack([part.ok for part in parts])
    size = np.where(ok, np.stack([part.n_samples for part in parts]), 0).astype(float)
    total = size.sum(axis=0)
    with np.errstate(invalid="ignore"):
        share = size / total  # NaN where there is no stratum

    def of(name: str) -> np.ndarray:
        return np.where(ok, np.stack([getattr(part, name) for part in parts]), 0.0)

    mi = of("mi_nats")
    mean = (share * mi).sum(axis=0)
    # of each estimate, and of which samples there are in which stratum
    variance = (share**2 * of("se_nats") ** 2).sum(axis=0)
    variance += (share * (mi - mean) ** 2).sum(axis=0) / np.maximum(total, 1)
    sums = ((share * of(name)).sum(axis=0) for name in ("mi_ij", "mi_ji", "gap", "orthogonal"))
    return InStrata(mean, np.sqrt(variance), *sums)
