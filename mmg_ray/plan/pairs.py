"""Which pairs of variables: held as a rule or as a short list, never as all pairs at once.

Both kinds give the same few things to the plan: their blocks of variables, the block x block tiles
that hold any pair, and the pairs of one tile. A pair is always stored as (i, j) with i < j.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmg_ray.errors import DataError


@dataclass(frozen=True, eq=False)
class SourcePairs:
    """Every pair with at least one source; all pairs when every variable is a source.

    A pair of two sources appears once and no variable is paired with itself.

    Attributes:
        n_variables: variables of the run.
        sources: (S,) sorted distinct indices.
    """

    n_variables: int
    sources: np.ndarray

    @property
    def n_pairs(self) -> int:
        n_sources = self.sources.size
        return n_sources * (n_sources - 1) // 2 + n_sources * (self.n_variables - n_sources)

    @property
    def partners(self) -> np.ndarray:
        """(V,) pairs of each variable."""
        found = np.full(self.n_variables, self.sources.size)
        found[self.sources] = self.n_variables - 1
        return found

    def blocks(self, size: int) -> list[np.ndarray]:
        """Sources first, then the others, cut into blocks of at most `size` variables.

        No block mixes the two kinds, so that every tile is a full rectangle of pairs.
        """
        others = np.setdiff1d(np.arange(self.n_variables), self.sources, assume_unique=True)
        return _cut(self.sources, size) + _cut(others, size)

    def tiles(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(T, 2) block coordinates of the tiles that hold a pair, and their (T,) pair counts."""
        lengths = np.array([block.size for block in self.blocks(size)], dtype=np.int64)
        n_blocks, n_source_blocks = lengths.size, -(-self.sources.size // size)
        p, q = np.triu_indices(n_blocks)
        keep = p < n_source_blocks
        p, q = p[keep], q[keep]
        n_pairs = np.where(p == q, lengths[p] * (lengths[p] - 1) // 2, lengths[p] * lengths[q])
        tiles = np.stack([p, q], axis=1).astype(np.int32)
        return tiles[n_pairs > 0], n_pairs[n_pairs > 0]

    def between(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(P, 2) pairs of the tile between two blocks, sorted."""
        i, j = np.meshgrid(rows, columns, indexing="ij")
        if rows[0] == columns[0]:
            above = np.triu_indices(rows.size, k=1)
            i, j = i[above], j[above]
        pairs = np.sort(np.stack([i.ravel(), j.ravel()], axis=1), axis=1)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@dataclass(frozen=True, eq=False)
class ListedPairs:
    """The given pairs, each once. Built by `listed`.

    Attributes:
        n_variables: variables of the run.
        pairs: (P, 2) sorted distinct pairs, i < j.
    """

    n_variables: int
    pairs: np.ndarray

    @property
    def n_pairs(self) -> int:
        return len(self.pairs)

    @property
    def partners(self) -> np.ndarray:
        """(V,) pairs of each variable."""
        return np.bincount(self.pairs.ravel(), minlength=self.n_variables)

    def blocks(self, size: int) -> list[np.ndarray]:
        """All variables in their order, cut into blocks of at most `size`."""
        return _cut(np.arange(self.n_variables), size)

    def tiles(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(T, 2) block coordinates of the tiles that hold a pair, and their (T,) pair counts."""
        tiles, counts = np.unique(self.pairs // size, axis=0, return_counts=True)
        return tiles.astype(np.int32), counts

    def between(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(P, 2) pairs of the tile between two blocks, sorted."""
        first, last = np.searchsorted(self._i, [rows[0], rows[-1] + 1])
        pairs = self.pairs[first:last]
        return pairs[(columns[0] <= pairs[:, 1]) & (pairs[:, 1] <= columns[-1])]

    @cached_property
    def _i(self) -> np.ndarray:
        return np.ascontiguousarray(self.pairs[:, 0])


PairSet = SourcePairs | ListedPairs


def all_pairs(n_variables: int) -> SourcePairs:
    """Every pair i < j of `n_variables` variables."""
    return SourcePairs(n_variables, np.arange(n_variables))


def source_pairs(n_variables: int, sources: np.ndarray) -> SourcePairs:
    """Every pair of a source and another variable; `sources` are indices, in any order."""
    return SourcePairs(n_variables, np.unique(_checked(n_variables, sources)))


def listed(n_variables: int, pairs: np.ndarray) -> ListedPairs:
    """The (P, 2) given pairs in either order, repeats dropped; DataError for a self pair."""
    pairs = _checked(n_variables, pairs).reshape(-1, 2)
    itself = pairs[:, 0] == pairs[:, 1]
    if itself.any():
        raise DataError(
            f"pair {int(itself.argmax())} is variable {int(pairs[itself.argmax(), 0])} with "
            "itself; remove it from the list"
        )
    return ListedPairs(n_variables, np.unique(np.sort(pairs, axis=1), axis=0))


def _checked(n_variables: int, indices: np.ndarray) -> np.ndarray:
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size and not (indices.min() >= 0 and indices.max() < n_variables):
        raise DataError(
            f"indices {indices.min()}..{indices.max()} leave 0..{n_variables - 1}; "
            "the list belongs to another table"
        )
    return indices


def _cut(variables: np.ndarray, size: int) -> list[np.ndarray]:
    return [variables[k : k + size] for k in range(0, variables.size, size)]
