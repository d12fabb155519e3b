"""sha256 and size of what a run wrote, by its path below the run: a changed bit, a lost object and an
object in another's place are all noticed.

A table of digests lies in an object that is itself digested: those of prepared/ in variables.parquet, which
the manifest names; those of the matrix in matrix.json; those of the files that a job adds in files.json.
The last two, like the manifest, hold the digest of their own content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmg_ray.errors import StoreError
from mmg_ray.store.location import Location

_OWN = "digest"
# an object up to this size is read whenever a run is looked at; of a chunk of an array only the size is
_SMALL_BYTES = 2**20


class Digest(NamedTuple):
    """sha256 of the bytes of an object, in hexadecimal, and how many there are (None: not known)."""

    sha256: str
    n_bytes: int | None = None

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).hexdigest(), len(data))


Digests = dict[str, Digest]  # by path below the run


def from_json(tree: Mapping[str, Any]) -> Digests:
    """The table that was stored as JSON."""
    return {path: Digest(*entry) for path, entry in tree.items()}


def require(run: Location, path: str, data: bytes | None, digest: Digest) -> None:
    """StoreError unless `data`, what lies at `path` now (None: nothing), is what was written there."""
    if why := _difference(data, digest):
        raise StoreError(
            f"{(run / path).url} {why}. `mmg-ray run {run.url} --verify` finds all that is damaged and "
            "makes it again"
        )


def check(run: Location, path: str, digest: Digest) -> str:
    """What is wrong with one object, "" if nothing is; every byte is read."""
    try:
        return _difference((run / path).read_bytes(), digest)
    except StoreError as error:
        return str(error)


def glance(run: Location, digests: Digests) -> dict[str, str]:
    """What is wrong, by path, as far as a listing and a read of what is small can tell."""
    sizes = run.sizes()
    for folder in {path.partition("/")[0] for path in digests if "/" in path}:
        sizes |= run.find(folder)
    wrong = {path: "is lost" for path in digests if path not in sizes}
    for path, digest in digests.items():
        if path in sizes and digest.n_bytes not in (None, sizes[path]):
            wrong[path] = f"has {sizes[path]} bytes where {digest.n_bytes} were written"
    small = {
        path: sizes[path]
        for path in digests
        if path not in wrong and "/c/" not in path and sizes[path] <= _SMALL_BYTES
    }
    found = run.read_tails(small, _SMALL_BYTES) if small else {}
    for path in small:
        if why := _difference(found.get(path), digests[path]):
            wrong[path] = why
    return wrong


def _difference(data: bytes | None, digest: Digest) -> str:
    if data is None:
        return "is lost"
    if hashlib.sha256(data).hexdigest() != digest.sha256:
        return "is not what the run wrote (its checksum differs); it was damaged or changed since"
    return ""


def signed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON tree with the digest of its content, however it is written."""
    return {**tree, _OWN: _digest(tree)}


def require_signed(place: Location, tree: Any, way_out: str) -> dict[str, Any]:
    """What was given to `signed`, read at `place`; StoreError with the way out if it was changed."""
    found = dict(tree) if isinstance(tree, dict) else {}
    if found.pop(_OWN, None) != _digest(found):
        raise StoreError(
            f"{place.url} is not what the run wrote (its checksum differs); it was damaged or changed by "
            f"hand. {way_out}"
        )
    return found


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def of_objects(run: Location, paths: Iterable[str]) -> Digests:
    """The digests of objects as they lie there now."""
    return {path: Digest.of((run / path).read_bytes()) for path in sorted(paths)}
