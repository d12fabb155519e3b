"""What is decided for a sample by who it is, whichever others there are: its half, a random number."""

from __future__ import annotations

import numpy as np

from mmg_ray.estimator.streams import stream_seed

_BLOCKS = 16  # of a series: long beside its memory, and so many that both halves see what drifts


def of_rows(n: int) -> np.ndarray:
    """(n,) uint64 identities of samples without distinct names: their rows."""
    return np.arange(n, dtype=np.uint64)


def half_of(seed: int, identity: np.ndarray) -> np.ndarray:
    """(n,) uint8, 0 or 1: the half of samples of (n,) uint64 identities, rows or digests of names.

    A hash of seed and identity alone, so a sample that is left out moves no other to the other half.
    """
    return (hashed(seed, "halves", identity) >> np.uint64(63)).astype(np.uint8)


def half_in_blocks(n: int) -> np.ndarray:
    """(n,) uint8, 0 or 1: the half of each sample of a series, by turns of blocks.

    Of halves drawn sample by sample each would know the other: samples resemble those beside them.
    """
    found: np.ndarray = (np.arange(n) * _BLOCKS // max(n, 1) % 2).astype(np.uint8)
    return found


def hashed(seed: int, purpose: str, identity: np.ndarray) -> np.ndarray:
    """(n,) uint64 hashes of (n,) uint64 identities: splitmix64 (Steele, Lea & Flood 2014), keyed."""
    with np.errstate(over="ignore"):
        z = identity.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(stream_seed(seed, purpose))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: np.ndarray = z ^ (z >> np.uint64(31))
        return found
