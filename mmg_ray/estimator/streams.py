"""Random streams keyed by what they are for, never by who draws them.

A shard is a pure function of its inputs: the same variable or pair draws the same numbers on any
worker, in any order, in any tile.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def stream_seed(seed: int, *key: object) -> int:
    """63-bit seed of the stream named by `key` under the run's `seed`."""
    text = "\x1f".join([str(seed), *map(str, key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_stream(seed: int, *key: object) -> np.random.Generator:
    """NumPy generator of the stream named by `key`."""
    return np.random.default_rng(stream_seed(seed, *key))


def torch_stream(seed: int, *key: object, device: str = "cpu") -> torch.Generator:
    """Torch generator of the stream named by `key`, on `device`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *key))
