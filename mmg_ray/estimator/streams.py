"""Random streams keyed by what they are for, never by who draws them.

A shard is a pure function of its inputs: the same variable or pair draws the same numbers on any
worker, in any order, in any tile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch


def stream_seed(seed: int, *key: object) -> int:
    """63-bit seed of the stream named by `key` under the run's `seed`."""
    text = "\x1f".join([str(seed), *map(str, key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_stream(seed: int, *key: object) -> np.random.Generator:
    """NumPy generator of the stream named by `key`."""
    return np.random.default_rng(stream_seed(seed, *key))


class Streams:
    """S torch streams drawn side by side: row s of every draw comes from key s alone."""

    def __init__(self, seed: int, keys: Sequence[tuple[object, ...]], device: torch.device) -> None:
        self.device = device
        self._generators = [
            torch.Generator(device=device).manual_seed(stream_seed(seed, *key)) for key in keys
        ]

    def uniform(self, *shape: int) -> torch.Tensor:
        """(S, *shape) float32 in [0, 1)."""
        out = torch.empty(len(self._generators), *shape, device=self.device)
        for row, generator in zip(out, self._generators, strict=True):
            row.uniform_(generator=generator)
        return out

    def normal(self, *shape: int) -> torch.Tensor:
        """(S, *shape) float32 standard normal."""
        out = torch.empty(len(self._generators), *shape, device=self.device)
        for row, generator in zip(out, self._generators, strict=True):
            row.normal_(generator=generator)
        return out
