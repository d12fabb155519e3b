"""The MI, standard-error and p-value matrices: Zarr v3 arrays filled from the edge table, a band of rows a task.

The edges are the source of truth in float64; the matrix is a view of them for linear algebra and
pictures, in float32: its rounding (1e-7 of the value) is far below any standard error, at half the
bytes. A band of rows is a row of chunks, so no two tasks write one chunk; each task reads only the
shards that touch its band and sets both halves from the rows (i, j), i < j. The driver holds no
part of it, only a digest of each chunk, which matrix.json lists with one of the shards they were made of:
a reader checks what it reads, and a matrix of other shards is not this run's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from mmg_ray.config import Config
from mmg_ray.errors import MMGError, StoreError
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import SCHEMA_KEY, SCHEMA_VERSION
from mmg_ray.store import digests
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.edges import Edges
from mmg_ray.store.location import Location
from mmg_ray.store.zarr_store import Checked, Recording

MATRIX = "matrix.zarr"
MATRICES = {
    "mi_nats": "mutual information, nats",
    "se_nats": "standard error of the mutual information, nats",
    "p_value": "p-value of independence",
}
LAGS = {"lag_s": "lag of the largest dependence: the target follows the source by so much"}
_NAN = "NaN on the diagonal and where the edges have no value or, of a filtered run, no row"
MARKER = "matrix.json"
BAND_BYTES = 128 * 2**20  # memory of the rows of one band, all matrices together
_CHUNK_COLUMNS = 1024
_COMPRESSORS = ZstdCodec(level=0, checksum=True)  # so that other readers notice damage, too


def of_run(config: Config) -> dict[str, str]:
    """The matrices of a run, by name, and what they hold."""
    return MATRICES | (LAGS if config.lags.max_s is not None else {})


def bands(n_variables: int) -> list[tuple[int, int]]:
    """Ranges [first, last) of rows that tasks fill, each of at most 128 MiB."""
    height = _band_rows(n_variables)
    return [(k, min(k + height, n_variables)) for k in range(0, n_variables, height)]


def create(run: Location, names: Sequence[str], matrices: Mapping[str, str] = MATRICES) -> Digests:
    """Write all but the values: the group, its arrays and the variables' names as coordinates; its digests.

    Written over what is there: it was left by a driver that died, or is being filled by another one
    now. Every driver writes the same bytes, and deleting them could empty a matrix that the other is
    about to finish.
    """
    n = len(names)
    written: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(written), attributes={SCHEMA_KEY: SCHEMA_VERSION})
    for name, doc in matrices.items():
        group.create_array(
            name,
            shape=(n, n),
            chunks=(_band_rows(n), min(_CHUNK_COLUMNS, n)),
            dtype="float32",
            fill_value=float("nan"),
            compressors=_COMPRESSORS,
            dimension_names=("source", "target"),
            attributes={
                "description": f"{doc}; {_NAN}",
                "units": {"p_value": "1", "lag_s": "s"}.get(name, "nats"),
            },
        )
    for axis in ("source", "target"):  # the same names: one coordinate for each axis
        labels = group.create_array(
            axis,
            shape=(n,),
            chunks=(n,),
            dtype="string",
            compressors=_COMPRESSORS,
            dimension_names=(axis,),
        )
        labels[:] = np.array(names, dtype=object)
    found: Digests = {}
    for key, value in written.items():
        data = value.to_bytes()
        (run / MATRIX / key).write_bytes(data)
        found[f"{MATRIX}/{key}"] = Digest.of(data)
    return found


def write_band(
    run: Location,
    fingerprint: str,
    plan: Plan,
    first: int,
    last: int,
    matrices: Iterable[str] = tuple(MATRICES),
) -> Digests:
    """Fill rows [first, last) of every matrix from the shards that touch them; the digests of its chunks."""
    edges = Edges(run, fingerprint, plan.shards_touching(first, last).tolist())
    rows = {
        name: np.full((last - first, plan.n_variables), np.nan, dtype=np.float32)
        for name in matrices
    }
    for batch in edges.batches(columns=["i", "j", *rows]):
        i, j = batch.column("i").to_numpy(), batch.column("j").to_numpy()
        for row, column, sign in ((i, j, 1), (j, i, -1)):
            here = (first <= row) & (row < last)
            for name, values in rows.items():
                found = batch.column(name).to_numpy(zero_copy_only=False)[here]
                values[row[here] - first, column[here]] = sign * found if name in LAGS else found
    store = Recording(run, MATRIX)
    with _errors(run, "write"):
        group = zarr.open_group(store, mode="r+", zarr_format=3)
        for name, values in rows.items():
            _array(group, name)[first:last] = values
    return store.written


def finish(run: Location, fingerprint: str, of_shards: str, written: Digests) -> None:
    """Mark the matrices as complete; call it when every band is written.

    Args:
        of_shards: what `made_of` says of the shards.
        written: digests of everything below matrix.zarr.
    """
    tree = {"fingerprint": fingerprint, "of_shards": of_shards, "files": written}
    (run / MARKER).write_json(digests.signed(tree))


def made_of(shards: Mapping[int, str]) -> str:
    """One digest of the digests of shards, by shard."""
    lines = [f"{shard} {digest}\n" for shard, digest in sorted(shards.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def written(run: Location, fingerprint: str, of_shards: str | None = None) -> Digests | None:
    """The digests of a matrix that was assembled to the end; None where there is none.

    Args:
        of_shards: a matrix that was made of others does not count; None: of whichever.

    Raises StoreError where the object that holds them is damaged.
    """
    if not (run / MARKER).exists():
        return None
    tree = (run / MARKER).read_json(_way_out(run))
    found = digests.require_signed(run / MARKER, tree, _way_out(run))
    if found["fingerprint"] != fingerprint or of_shards not in (None, found["of_shards"]):
        return None
    return digests.from_json(found["files"])


def open_matrix(run: Location, fingerprint: str, name: str) -> zarr.Array:
    """One matrix, (n_variables, n_variables) float32, symmetric; read when sliced, and checked."""
    if name not in MATRICES | LAGS:
        raise StoreError(f"there is no matrix {name!r}; known: {', '.join(MATRICES | LAGS)}")
    expected = written(run, fingerprint)
    if expected is None:
        raise StoreError(
            f"{run.url} has no matrix yet: it is assembled when every shard is done. "
            f"`mmg-ray run {run.url}` goes on"
        )
    with _errors(run, "read"):
        group = zarr.open_group(Checked(run, MATRIX, expected), mode="r", zarr_format=3)
        if group.attrs.get(SCHEMA_KEY) != SCHEMA_VERSION:
            raise ValueError(
                f"its schema version is {group.attrs.get(SCHEMA_KEY, 'unknown')}, and this version of "
                f"mmg_ray reads {SCHEMA_VERSION}"
            )
        if name not in group:
            raise StoreError(f"{run.url} was run without lags (lags.max_s), so it has no {name}")
        return _array(group, name)


def _way_out(run: Location) -> str:
    return f"`mmg-ray run {run.url}` assembles the matrix again from the edges"


@contextmanager
def _errors(run: Location, verb: str) -> Iterator[None]:
    try:
        yield
    except MMGError:
        raise
    except Exception as error:  # zarr's, a codec's or a storage backend's own
        raise StoreError(
            f"cannot {verb} {(run / MATRIX).url}: {error}. Check the rights and the free space; "
            f"{_way_out(run)}"
        ) from error


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _band_rows(n_variables: int) -> int:
    return max(1, min(n_variables, BAND_BYTES // (4 * len(MATRICES) * n_variables)))
