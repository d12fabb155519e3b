"""A Zarr store at a Location: local folders directly, every other fsspec URL asynchronously."""

from __future__ import annotations

from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

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
