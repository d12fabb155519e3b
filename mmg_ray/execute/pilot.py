"""What the pairs of a run look like, learned from a sample of them before the first shard.

The sample depends on the names of the variables and on the samples alone, so neither the order of the variables nor
tiles nor workers matter. Stored with the manifest, it is the same for every shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import pilot, takes_evidence
from mmg_ray.estimator.dependence import evidence
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.estimator.ranks.identity import hashed, of_rows
from mmg_ray.plan.pairs import ListedPairs, PairSet
from mmg_ray.schema import Variable

_VARIABLES = 96  # all pairs of so many
_SOURCES = 48  # or of so many with others
_LISTED = 1000  # pairs of a list
_AT_ONCE = 16  # variables in memory in full
_SAMPLES = 20_000  # more say nothing new of shapes


def learn(
    names: Sequence[str],
    dims: np.ndarray,
    pairs: PairSet,
    load: Callable[[list[int]], Mapping[int, Variable]],
    cfg: EstimatorConfig,
    identity: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> Evidence | None:
    """The mixture of a run's pairs; None where posteriors are not taken: of series, and where there are groups.

    Args:
        dims: (V,) of the variables. load: some of them by their positions.
        identity: (N,) uint64 of the samples, by default their rows. strata: (N,) of theirs, if any.
    """
    if not takes_evidence(cfg) or (dims > 1).any():
        return None
    chosen = _sample(names, pairs)
    if len(chosen) < evidence.LEAST_PAIRS:
        return evidence.FIXED
    variables: dict[int, Variable] = {}
    fewer: np.ndarray | None = None
    indices = np.unique(chosen).tolist()
    for start in range(0, len(indices), _AT_ONCE):
        for index, variable in load(indices[start : start + _AT_ONCE]).items():
            if fewer is None:
                rows = of_rows(variable.n_samples) if identity is None else identity
                fewer = np.sort(np.argsort(hashed(0, "pilot", rows), kind="stable")[:_SAMPLES])
            variables[index] = replace(variable, codes=variable.codes[fewer])
    assert fewer is not None
    of_strata = None if strata is None else np.unique(strata[fewer], return_inverse=True)[1]
    return evidence.learn(pilot(variables, chosen, cfg, of_strata))


def _sample(names: Sequence[str], pairs: PairSet) -> np.ndarray:
    """(P, 2) some of the pairs, by hashes of the names."""
    key = np.array([int.from_bytes(_digest(name), "little") for name in names], dtype=np.uint64)
    if isinstance(pairs, ListedPairs):
        i, j = pairs.pairs.T
        order = np.argsort(hashed(0, "pilot", key[i] ^ key[j]), kind="stable")
        return pairs.pairs[np.sort(order[:_LISTED])]
    others = np.setdiff1d(np.arange(len(names)), pairs.sources)
    sources, others = (of[np.argsort(key[of], kind="stable")] for of in (pairs.sources, others))
    if len(others):
        return pairs.between(np.sort(sources[:_SOURCES]), np.sort(others[:_VARIABLES]))
    both = np.sort(sources[:_VARIABLES])
    return pairs.between(both, both) if len(both) > 1 else np.empty((0, 2), dtype=np.int64)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
