"""Opening an input file: the checks and errors that every format shares, and its digest."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from mmg_ray.errors import DataError, MMGError, StoreError
from mmg_ray.store.location import Location

_BLOCK_BYTES = 1 << 20


def locate(url: str) -> Location:
    """The existing file or folder at `url`. Raises DataError when there is none."""
    try:
        location = Location(url)
        found = location.exists()
    except StoreError as error:
        raise DataError(f"{error}; see data.path and data.groups") from None
    if not found:
        raise DataError(f"there is nothing at {url}; check the path (any fsspec URL is fine)")
    return location


@contextlib.contextmanager
def open_file(location: Location) -> Iterator[BinaryIO]:
    """The bytes of one file, seekable. Raises DataError for a folder or an empty file."""
    with _readable(location):
        if location.fs.isdir(location.path):
            raise DataError(
                f"{location.url} is a folder; only formats zarr and mtx are read from a folder"
            )
        if location.fs.size(location.path) == 0:
            raise DataError(f"{location.url} is empty (0 bytes); write or copy it again")
        file = location.fs.open(location.path, "rb")
        with file:
            yield file


def unreadable(location: Location, kind: str, error: object) -> DataError:
    """The error for a file whose bytes are not what its format promises."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{location.url} cannot be read as {kind}: {reason}. It is truncated, damaged or of "
        "another format; write or copy it again, or set data.format"
    )


def digest(location: Location) -> str:
    """sha256 of a file; of a folder, the sha256 of its sorted `sha256  path` lines."""
    with _readable(location):
        if not location.fs.isdir(location.path):
            return _sha256(_blocks(location, location.path))
        paths = sorted(location.fs.find(location.path))
        lines = (
            f"{_sha256(_blocks(location, path))}  {path[len(location.path) :].lstrip('/')}\n"
            for path in paths
        )
        return _sha256(line.encode() for line in lines)


def _blocks(location: Location, path: str) -> Iterator[bytes]:
    with location.fs.open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _sha256(blocks: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for block in blocks:
        total.update(block)
    return total.hexdigest()


@contextlib.contextmanager
def _readable(location: Location) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"there is nothing at {location.url}; check the path") from None
    except PermissionError as error:
        raise DataError(
            f"cannot read {location.url}: access denied ({error}); check the credentials or rights"
        ) from None
    except MMGError:
        raise
    except Exception as error:  # noqa: BLE001
        # every backend has errors of its own (no credentials, no answer): here they end
        raise DataError(f"cannot read {location.url}: {error or type(error).__name__}") from None
