"""Edges a part at a time: what network steps take and give, so that no step needs all pairs in memory.

A step may look at the edges before it says what becomes of them (sums for CLR, an adjacency for DPI), so
a stream can be read again and again; each reading goes back to storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Batch(NamedTuple):
    """B edges, (B,) arrays; their meaning is that of `graph.NETWORK_COLUMNS`, NaN is null.

    `lags` is (B, 5), the columns of `graph.LAG_COLUMNS`, of a run with lags, else None.
    """

    i: np.ndarray
    j: np.ndarray
    weight: np.ndarray
    mi_nats: np.ndarray
    se_nats: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    spearman: np.ndarray
    p_dependent: np.ndarray
    lags: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Batch:
        """The edges at these positions, or where a (B,) mask is true."""
        return Batch._make(None if column is None else column[rows] for column in self)

    @classmethod
    def concatenate(cls, batches: list[Batch]) -> Batch:
        """The edges of all parts; of none, no edge."""
        if not batches:
            none = len(cls._fields) - 1
            return cls(*(np.zeros(0, dtype=np.int32 if k < 2 else float) for k in range(none)))
        return cls._make(
            None if columns[0] is None else np.concatenate(columns)
            for columns in zip(*batches, strict=True)
        )


@dataclass(frozen=True, eq=False)
class EdgeStream:
    """Undirected edges i < j of V variables.

    Attributes:
        partners: (V,) pairs that were estimated of each variable; one without an edge has weight 0.
        n_tests: pairs that have a p-value, whether there is an edge of them or not.
        batches: begins a reading of all edges, a part at a time.
    """

    partners: np.ndarray
    n_tests: int
    batches: Callable[[], Iterator[Batch]]

    @property
    def n_variables(self) -> int:
        return len(self.partners)

    def map(self, change: Callable[[Batch], Batch]) -> EdgeStream:
        """The same edges, each part changed or thinned on its way."""
        return replace(self, batches=lambda: map(change, self.batches()))

    def where(self, kept: Callable[[Batch], np.ndarray]) -> EdgeStream:
        """The edges for which it is true."""
        return self.map(lambda batch: batch.take(kept(batch)))

    @cached_property
    def adjacency(self) -> csr_array:
        """(V, V) symmetric weights of the edges with a weight above 0, in memory: 24 bytes an edge."""
        from scipy.sparse import (
            csr_array,  # a tenth of a second, which looking at edges does without
        )

        whole = Batch.concatenate([batch.take(batch.weight > 0) for batch in self.batches()])
        i, j, weight = whole.i, whole.j, whole.weight
        shape = (self.n_variables, self.n_variables)
        both = np.concatenate([i, j]), np.concatenate([j, i])
        found = csr_array((np.concatenate([weight, weight]), both), shape=shape)
        found.sort_indices()
        return found
