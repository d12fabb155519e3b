"""Estimates of all pairs of variables, by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mmg_ray.schema import PairEstimate, PairEstimates


class EstimatesByPair(Mapping[tuple[int, int], PairEstimate]):
    """All that is known of each pair (i, j), i < j, of V variables; a row is made when asked for.

    Attributes:
        pairs: (P, 2) every pair, sorted.
        columns: their estimates, a column a field.
    """

    def __init__(self, n_variables: int, columns: PairEstimates) -> None:
        self.pairs = np.stack(np.triu_indices(n_variables, k=1), axis=1)
        self.columns = columns
        self._n_variables = n_variables

    def __getitem__(self, pair: tuple[int, int]) -> PairEstimate:
        i, j = pair
        if not 0 <= i < j < self._n_variables:
            raise KeyError(pair)
        # the rows before i hold (V - 1) + ... + (V - i) pairs
        return self.columns[i * (2 * self._n_variables - i - 1) // 2 + j - i - 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return map(tuple, self.pairs.tolist())

    def __len__(self) -> int:
        return len(self.pairs)

    def matrix(self, name: str) -> np.ndarray:
        """(V, V) one of the numbers of each pair, symmetric; NaN where there is none."""
        values = np.full((self._n_variables, self._n_variables), np.nan)
        i, j = self.pairs.T
        values[i, j] = values[j, i] = getattr(self.columns, name)
        return values
