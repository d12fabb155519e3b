"""The plan: tiles (block x block of variables, one batch) and shards (consecutive tiles, one file).

Tiles are numbered along a Z-order curve over the block coordinates, so that consecutive tiles share
blocks: a shard loads about 2 sqrt(T) blocks for its T tiles, and a band of the matrix touches few
shards. Nothing here grows with the number of pairs: 20,000 variables in blocks of 64 are 2e8 pairs
and 49,000 tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmg_ray.plan.pairs import PairSet


@dataclass(frozen=True, eq=False)
class Plan:
    """A frozen cut of the pairs into tiles and shards; ids are 0..n-1 and never change.

    Attributes:
        pairs: which pairs.
        tile_variables: variables per side of a tile.
        starts: (n_shards + 1,) first tile of each shard, then the number of tiles.
    """

    pairs: PairSet
    tile_variables: int
    starts: np.ndarray

    @property
    def n_variables(self) -> int:
        return self.pairs.n_variables

    @property
    def n_pairs(self) -> int:
        return self.pairs.n_pairs

    @property
    def n_tiles(self) -> int:
        return int(self.starts[-1])

    @property
    def n_shards(self) -> int:
        return self.starts.size - 1

    def shard_tiles(self, shard: int) -> range:
        """Ids of the tiles of a shard, in the order in which its rows are stored."""
        return range(int(self.starts[shard]), int(self.starts[shard + 1]))

    def tile_pairs(self, tile: int) -> np.ndarray:
        """(P, 2) pairs (i, j), i < j, of a tile, sorted; computed when asked for."""
        p, q = self._tiles[tile]
        return self.pairs.between(self._blocks[p], self._blocks[q])

    def shard_pairs(self) -> np.ndarray:
        """(n_shards,) number of pairs of each shard."""
        tiles, n_pairs = self.pairs.tiles(self.tile_variables)
        return np.add.reduceat(n_pairs[tile_order(tiles)], self.starts[:-1])

    def shards_touching(self, first: int, last: int) -> np.ndarray:
        """(K,) sorted ids of the shards that may hold a pair of a variable in [first, last)."""
        touched = np.array([_overlaps(block, first, last) for block in self._blocks])
        tiles = np.flatnonzero(touched[self._tiles].any(axis=1))
        return np.unique(np.searchsorted(self.starts, tiles, side="right") - 1)

    def shard_of(self, pairs: np.ndarray) -> np.ndarray:
        """(P,) id of the shard that holds each of the (P, 2) pairs i < j; -1 where none does."""
        block = np.empty(self.n_variables, dtype=np.int64)
        for k, members in enumerate(self._blocks):
            block[members] = k
        n = len(self._blocks)
        tiles = self._tiles.astype(np.int64) @ np.array([n, 1])
        order = np.argsort(tiles)
        wanted = np.sort(block[pairs], axis=1) @ np.array([n, 1])
        place = np.minimum(np.searchsorted(tiles[order], wanted), len(order) - 1)
        tile = np.where(tiles[order][place] == wanted, order[place], -1)
        return np.searchsorted(self.starts, tile, side="right") - 1

    @cached_property
    def _blocks(self) -> list[np.ndarray]:
        return self.pairs.blocks(self.tile_variables)

    @cached_property
    def _tiles(self) -> np.ndarray:
        """(T, 2) block coordinates of the tiles, by id."""
        tiles, _ = self.pairs.tiles(self.tile_variables)
        return tiles[tile_order(tiles)]


def tile_order(tiles: np.ndarray) -> np.ndarray:
    """(T,) positions, in `PairSet.tiles`, of tile 0, 1, ...: (T, 2) coordinates in Z-order."""
    code = (_spread(tiles[:, 0]) << np.uint64(1)) | _spread(tiles[:, 1])
    return np.argsort(code, kind="stable")


def cut_shards(tile_seconds: np.ndarray, shard_s: float) -> np.ndarray:
    """(n_shards + 1,) first tiles of consecutive shards of about `shard_s` seconds, never empty.

    A tile belongs to the shard in whose share of the total time its middle falls.
    """
    middle = np.cumsum(tile_seconds) - tile_seconds / 2
    share = (middle // shard_s).astype(np.int64)
    starts = np.flatnonzero(np.diff(share, prepend=-1))
    return np.append(starts, tile_seconds.size).astype(np.int64)


def _spread(values: np.ndarray) -> np.ndarray:
    """Each bit k of a 32-bit number moved to bit 2k."""
    spread = values.astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
    return spread


def _overlaps(block: np.ndarray, first: int, last: int) -> bool:
    """Whether a sorted block has a variable in [first, last)."""
    return bool(np.searchsorted(block, first) < np.searchsorted(block, last))
