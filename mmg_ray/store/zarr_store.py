"""Zarr stores at a Location: digested while they are written, checked against digests while they are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Self

from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

from mmg_ray.errors import StoreError
from mmg_ray.store import digests
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.location import Location


def zarr_store(location: Location, *, read_only: bool = False) -> Store:
    """The Zarr store rooted at `location`; nothing is read or written yet.

    Credentials and endpoints come from fsspec's configuration and environment, as for a Location.
    Reading and writing through it raises what the file system raises.
    """
    if isinstance(location.fs, LocalFileSystem):
        # writes a temporary file and renames it: a reader never sees half a chunk
        return LocalStore(location.path, read_only=read_only)
    # from the URL, not from location.fs: Zarr needs an instance bound to its own event loop
    return FsspecStore.from_url(location.url, read_only=read_only)


class Recording(WrapperStore[Store]):
    """The Zarr store at `run` / `path`, which notes the digest of every object that is written.

    Attributes:
        written: by path below the run; an object that was deleted is not in it.
    """

    def __init__(self, run: Location, path: str, store: Store | None = None) -> None:
        super().__init__(zarr_store(run / path) if store is None else store)
        self._run, self._path = run, path
        self.written: Digests = {}

    def _with_store(self, store: Store) -> Self:
        other = type(self)(self._run, self._path, store)
        other.written = self.written
        return other

    def note(self, key: str, value: Buffer) -> None:
        """Note the digest of an object that is there already."""
        self.written[f"{self._path}/{key}"] = Digest.of(value.to_bytes())

    async def set(self, key: str, value: Buffer) -> None:
        await super().set(key, value)
        self.note(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await self.set(key, value)  # every writer of a run writes the same bytes

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        for key, value in values:
            await self.set(key, value)

    async def delete(self, key: str) -> None:
        await super().delete(key)
        self.written.pop(f"{self._path}/{key}", None)


class Checked(WrapperStore[Store]):
    """The Zarr store at `run` / `path`, of which only what was written can be read.

    Reading raises StoreError where an object is lost or has other bytes than its digest says. One
    without a digest was never written, and is not looked at.
    """

    def __init__(
        self, run: Location, path: str, expected: Digests, store: Store | None = None
    ) -> None:
        super().__init__(zarr_store(run / path, read_only=True) if store is None else store)
        self._run, self._path, self._expected = run, path, expected

    def _with_store(self, store: Store) -> Self:
        return type(self)(self._run, self._path, self._expected, store)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        path = f"{self._path}/{key}"
        if path not in self._expected:
            return None
        try:
            found = await super().get(key, prototype)
        except Exception as error:  # a storage backend's own
            raise StoreError(f"cannot read {(self._run / path).url}: {error}") from error
        digests.require(
            self._run, path, None if found is None else found.to_bytes(), self._expected[path]
        )
        if found is None or byte_range is None:
            return found
        return await MemoryStore({key: found}).get(key, prototype, byte_range)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, part in requests:
            yield key, await self.get(key, prototype, part)

    async def exists(self, key: str) -> bool:
        return f"{self._path}/{key}" in self._expected
