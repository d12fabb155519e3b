"""Whether everything that a run wrote is there, and is what it wrote. Shards say so themselves, see `shards`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mmg_ray.errors import StoreError
from mmg_ray.store import digests, matrix
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import PLAN, Manifest
from mmg_ray.store.prepared import VARIABLES, Prepared

FILES = "files.json"
_OF_JOBS = ("genomics.json", "neural.json")  # where one of them is, there is a table of files
_PREPARED = "prepared/"


def record_files(run: Location, fingerprint: str, paths: Iterable[str]) -> None:
    """Write down the digests of files that a job has added to a run, as they lie there now."""
    found = digests.of_objects(run, paths)
    (run / FILES).write_json(digests.signed({"fingerprint": fingerprint, "files": found}))


def forget_files(run: Location) -> None:
    """Say nothing of such files while they are being written again; call it before the first."""
    (run / FILES).write_json(digests.signed({"fingerprint": "", "files": {}}))


def covered(run: Location, found: Manifest) -> tuple[Digests, dict[str, str]]:
    """The digests of everything but the shards, and what is wrong, by path, with the tables of them."""
    known = {PLAN: Digest(found.plan_digest), VARIABLES: Digest(found.prepared_digest)}
    wrong: dict[str, str] = {}
    tables = {
        VARIABLES: lambda: Prepared.open(run, found.prepared_digest).digests,
        matrix.MARKER: lambda: matrix.written(run, found.fingerprint) or {},
        FILES: lambda: _files(run, found.fingerprint),
    }
    for path, read in tables.items():
        try:
            known |= read()
        except StoreError as error:
            wrong[path] = str(error)
    return known, wrong


def glance(run: Location, found: Manifest) -> dict[str, str]:
    """What is lost or damaged, by path, as far as a few small requests can tell."""
    known, wrong = covered(run, found)
    return digests.glance(run, known) | wrong


def is_input(path: str) -> bool:
    """Whether the shards are made of it."""
    return path == PLAN or path.startswith(_PREPARED)


def is_matrix(path: str) -> bool:
    """Whether it is the matrix, or a part of it."""
    return path.partition("/")[0] in (matrix.MARKER, matrix.MATRIX)


def notes(run: Location, found: Manifest) -> list[str]:
    """What a job found and did before its run began, a line each; none of other runs.

    Raises:
        StoreError: the file is lost, or not what was written.
    """
    known, names = _files(run, found.fingerprint), run.names()
    for name in _OF_JOBS:
        if name in known:
            data = (run / name).read_bytes() if name in names else None
            digests.require(run, name, data, known[name])
            tree = json.loads(data or b"{}")
        elif name in names:  # the job is still writing
            tree = (run / name).read_json()
        else:
            continue
        return [str(line) for line in tree.get("notes", [])]
    return []


def _files(run: Location, fingerprint: str) -> Digests:
    place, way_out = run / FILES, "The command that wrote it writes it again"
    names = run.names()
    if FILES not in names:
        if any(name in names for name in _OF_JOBS):
            raise StoreError(f"{place.url} is lost. {way_out}")
        return {}
    found = digests.require_signed(place, place.read_json(way_out), way_out)
    if found["files"] and found["fingerprint"] != fingerprint:
        raise StoreError(f"{place.url} is of another run. {way_out}")
    return digests.from_json(found["files"])
