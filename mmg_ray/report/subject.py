"""What a report is about: a stored run, or a matrix in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from mmg_ray.config import EstimatorConfig, LagsConfig
from mmg_ray.estimator.dependence.evidence import Evidence
from mmg_ray.network.graph import Network
from mmg_ray.schema import Status, Variable


class Subject(Protocol):
    """Pairs of V variables, all estimated, as a report reads them.

    Attributes:
        where: what it is called, such as a URL.
        dims: (V,) columns of each variable.
        quality: a row a variable, `store.quality.QUALITY_SCHEMA`.
        n_samples, n_pairs: of the table and of the plan.
        n_tests: pairs with a p-value, stored or not.
        statuses: pairs by status.
        settings: of the estimator. lags: of the run, if it has lags. given: names of what pairs are estimated given.
        evidence: what was learned from all pairs, if anything.
        facts: of how it was made, a line each. configuration: as YAML.
        notes: what was found and done before, a line each.
    """

    where: str
    dims: np.ndarray
    quality: pa.Table
    n_samples: int
    n_pairs: int
    n_tests: int
    statuses: dict[Status, int]
    settings: EstimatorConfig
    lags: LagsConfig | None
    given: list[str]
    evidence: Evidence | None
    facts: dict[str, str]
    configuration: str
    notes: list[str]

    def network(self, steps: Sequence[str]) -> Network:
        """The edges that steps leave."""

    def strongest(self, k: int, by: str) -> pa.Table:
        """The first `k` rows of the edge table by one of `store.kept.RANKINGS`."""

    def batches(self, columns: list[str]) -> Iterable[pa.RecordBatch]:
        """Every stored row, these columns of it, some at a time."""

    def load(self, indices: Sequence[int]) -> Mapping[int, Variable]:
        """The variables of these indices, as the estimators saw them."""

    def cut_by(self, step: str) -> str:
        """What to type for the network that a step leaves."""
