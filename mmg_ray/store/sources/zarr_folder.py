"""Zarr: one array, an array of a group, or an AnnData store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zarr

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError, MMGError
from mmg_ray.store.location import Location
from mmg_ray.store.sources.anndata_group import element_paths, group_contents
from mmg_ray.store.sources.files import unreadable
from mmg_ray.store.sources.numpy_files import NAMES_KEY, as_names, choose_key
from mmg_ray.store.sources.table import Contents, array_contents, require_numeric
from mmg_ray.store.zarr_store import zarr_store


def read_zarr(location: Location, cfg: DataConfig) -> Contents:
    try:
        node = zarr.open(zarr_store(location, read_only=True), mode="r")
        return _contents(node, location, cfg)
    except MMGError:
        raise
    except Exception as error:  # noqa: BLE001  # zarr's, a codec's or a storage backend's own
        raise unreadable(location, "zarr", error) from None


def _contents(node: Any, location: Location, cfg: DataConfig) -> Contents:
    url = location.url
    if isinstance(node, zarr.Array):
        return _array_contents(node, None, cfg, url)
    if node.attrs.get("encoding-type") == "anndata":
        for path in ("obs", *element_paths(node, cfg, url)):
            _refuse_pickle(node[path], url)
        return group_contents(node, cfg, url)
    arrays = dict(node.arrays())
    if cfg.layer is not None:
        raise DataError(f"data.layer: {url} is no AnnData store and has no layers; use data.key")
    array = node[choose_key(list(arrays), cfg.key, url)]
    return _array_contents(array, arrays.get(NAMES_KEY), cfg, url)


def _array_contents(array: Any, names: Any, cfg: DataConfig, url: str) -> Contents:
    require_numeric(array.dtype, url)
    _refuse_pickle(array, url)
    if names is not None:
        _refuse_pickle(names, url)
    values = array[...]
    return array_contents(
        values.T if cfg.transpose else values,
        url,
        names=None if names is None else as_names(names[...]),
    )


def _refuse_pickle(node: Any, url: str) -> None:
    """Zarr v2 can ask for a pickle codec, which runs code on reading in older numcodecs."""
    for array in _arrays(node):
        codecs = (*array.filters, *array.compressors)
        if any(getattr(codec, "codec_id", "") == "pickle" for codec in codecs):
            raise DataError(
                f"array {array.path or '/'!r} of {url} is pickled, and nothing from storage is "
                "unpickled; write it again with numeric or text types"
            )


def _arrays(node: Any) -> Iterator[Any]:
    if isinstance(node, zarr.Array):
        yield node
    else:
        for _, member in node.members(max_depth=None):
            if isinstance(member, zarr.Array):
                yield member
