"""Who the samples of a table are, in whatever order they come."""

from __future__ import annotations

import hashlib

import numpy as np

from mmg_ray.store.sources import Table


def sample_identity(table: Table) -> np.ndarray | None:
    """(N,) uint64 digests of the names of samples, which know a sample in any order; None without distinct names."""
    names = table.sample_names
    if names is None or len(set(names)) < len(names):
        return None
    hashes = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(hashes, dtype="<u8")
