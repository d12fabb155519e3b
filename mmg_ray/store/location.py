"""A place in storage: one small class over fsspec, with whole-object atomic writes.

file://, s3://, gs://, az://, memory:// and plain paths all work. Credentials and endpoints come from
fsspec's own configuration and environment; they are never stored by a run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mmg_ray.errors import StoreError
from mmg_ray.plain_yaml import decode
from mmg_ray.url_secrets import require_no_secret

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
# what s3fs makes of "not implemented"
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SETTLE_S = 1.0  # of a store without conditional writes: longer than a write of a few bytes takes


class Location:
    """An fsspec URL and the file system behind it. Cheap to make, safe to pickle as its URL.

    StoreError for a URL that holds a password or a signature: URLs are stored and logged.
    """

    def __init__(self, url: str) -> None:
        require_no_secret(url)
        _require_no_variable(url)
        if not url.strip() or _CONTROL.search(url):
            raise StoreError(f"{url!r} is no URL or path: it is empty or has control characters")
        self.url = _trimmed(url)
        try:
            self.fs, self.path = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError, TypeError) as error:
            raise StoreError(f"cannot open {url!r}: {error}") from None

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (Location, (self.url,))

    def absolute(self) -> Location:
        """The same place for a process of another working directory."""
        return Location(self.path) if isinstance(self.fs, LocalFileSystem) else self

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.url}{'' if self.url.endswith('/') else '/'}{name}")

    def __repr__(self) -> str:
        return f"Location({self.url!r})"

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def exists(self) -> bool:
        with self._errors("look at"):
            return bool(self.fs.exists(self.path))

    def read_bytes(self) -> bytes:
        with self._errors("read"):
            data: bytes = self.fs.cat_file(self.path)
            return data

    def read_text(self) -> str:
        """A configuration or a list of names; ConfigError where it is not text."""
        return decode(self.read_bytes(), self.url)

    def read_json(self, way_out: str = "Restore it, or start the run at another URL") -> Any:
        """What it says; StoreError with a way out where it is no JSON."""
        try:
            return json.loads(self.read_bytes())
        except (ValueError, RecursionError) as error:  # not JSON, or not even text
            raise StoreError(
                f"{self.url} is not valid JSON ({error}); it was truncated or changed by hand. "
                f"{way_out}"
            ) from None

    def write_bytes(self, data: bytes) -> None:
        """Write the whole object at once: a reader sees the old bytes or the new, never a part."""
        with self._errors("write"):
            if isinstance(self.fs, LocalFileSystem):
                self._replace_local(data)
            else:
                self.fs.pipe_file(self.path, data)

    def write_json(self, value: Any) -> None:
        self.write_bytes(_json(value))

    def create_json(self, value: Any) -> bool:
        """Write it unless something is there; False if so. Of several at once exactly one succeeds.

        Of values that are to be told apart each must be another. A store without conditional writes
        keeps the last of those that are written within a second.
        """
        with self._errors("write"):
            try:
                if isinstance(self.fs, LocalFileSystem):
                    self._create_local(_json(value))
                else:
                    self.fs.pipe_file(self.path, _json(value), mode="create")
            except Exception as error:
                if _is_conflict(error):
                    return False
                if not _is_unsupported(error):
                    raise
            else:
                return True
        if self.exists():
            return False
        self.write_json(value)
        time.sleep(_SETTLE_S)
        return bool(self.read_json() == value)

    def remove(self) -> None:
        """Delete the object; nothing happens where there is none."""
        with self._errors("delete"), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path)

    def names(self) -> list[str]:
        """Names directly under this place, sorted; empty when there is none."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Bytes of each object directly under this place, by name, from one listing."""
        return {name: size for name, (size, _) in self.listing().items()}

    def listing(self) -> dict[str, tuple[int, float]]:
        """Bytes and time of change (UTC, seconds; 0 if the store has none) of each object by name."""
        with self._errors("list"):
            try:
                # an object store's listing is cached by fsspec; another process may have written
                self.fs.invalidate_cache(self.path)
                found = self.fs.ls(self.path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        return {
            str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: (
                int(entry["size"] or 0),
                _changed(entry),
            )
            for entry in found
        }

    def find(self, folder: str) -> dict[str, int]:
        """Bytes of every object below a folder of this place, by its path from here; empty without one."""
        path = f"{self.path}/{folder}"
        with self._errors("list"):
            self.fs.invalidate_cache()  # as in `listing`
            found = self.fs.find(path, detail=True)
        return {
            folder + str(name).removeprefix(path): int(entry.get("size") or 0)
            for name, entry in found.items()
        }

    def read_tails(self, sizes: Mapping[str, int], n_bytes: int) -> dict[str, bytes]:
        """The last `n_bytes` of the objects of these names and sizes; those gone are left out.

        An object store is asked for many at a time.
        """
        with self._errors("read"):
            tails = self.fs.cat_ranges(
                [f"{self.path}/{name}" for name in sizes],
                [max(0, size - n_bytes) for size in sizes.values()],
                list(sizes.values()),
                on_error="return",
            )
            found = dict(zip(sizes, tails, strict=True))
            for tail in found.values():
                if isinstance(tail, Exception) and not isinstance(tail, FileNotFoundError):
                    raise tail
        return {name: tail for name, tail in found.items() if isinstance(tail, bytes)}

    def _replace_local(self, data: bytes) -> None:
        with self._temporary(data) as temporary:
            os.replace(temporary, self.path)

    def _create_local(self, data: bytes) -> None:
        with self._temporary(data) as temporary:
            try:
                os.link(temporary, self.path)  # the one call that refuses and is atomic
            except FileExistsError:
                raise
            except (OSError, AttributeError):  # no hard links here: errors differ by file system
                # refuses, too; what is read in the moment before it is written is empty
                with open(self.path, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())

    @contextlib.contextmanager
    def _temporary(self, data: bytes) -> Iterator[str]:
        """A file beside this place that is whole and on the disk; gone afterwards."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        # random: two writers of one object may have the same pid on two hosts or in two containers
        temporary = f"{self.path}.{secrets.token_hex(8)}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)

    @contextlib.contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise StoreError(f"cannot {verb} {self.url}: no such file or bucket") from None
        except PermissionError as error:
            raise StoreError(
                f"cannot {verb} {self.url}: access denied ({error}); check the credentials or rights"
            ) from None
        except Exception as error:
            # every backend has errors of its own (no credentials, no endpoint): here they end
            raise StoreError(f"cannot {verb} {self.url}: {error}") from error


def _require_no_variable(url: str) -> None:
    """A variable of the shell in a configuration would name a folder of its own."""
    expanded = os.path.expandvars(url)
    if expanded != url:
        raise StoreError(
            f"{url!r} holds a variable of the shell, which is not expanded in a configuration; write ~ or the "
            "path itself, or give it on the command line with --set"
        )


def _trimmed(url: str) -> str:
    """Without slashes at the end, except those that it cannot be without: / and scheme://."""
    trimmed = url.rstrip("/")
    return url if not trimmed or (trimmed.endswith(":") and "://" in url) else trimmed


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


def _changed(entry: Mapping[str, Any]) -> float:
    """Time of change in an fsspec listing, whose key differs by file system."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return 0.0


def _is_conflict(error: BaseException | None) -> bool:
    """Whether a conditional write failed as it should; stores name it differently."""
    while error is not None:
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else ""
        if isinstance(error, FileExistsError) or str(code) in _CONFLICTS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_unsupported(error: BaseException) -> bool:
    """Whether the store or file system knows no conditional write."""
    unsupported = (NotImplementedError, TypeError)
    return isinstance(error, unsupported) or getattr(error, "errno", None) in _UNSUPPORTED
