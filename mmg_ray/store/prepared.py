"""Prepared variables: ordinal codes by column and a quality table, written once per run.

    prepared/codes.zarr         (n_columns, N) int32, one chunk = a few columns of all samples
    prepared/condition.parquet  what all pairs are conditioned on, if anything (see `condition`)
    prepared/identity.npy       (N,) uint64 hashes of the names of the samples, if all have one of their own
    prepared/segments.npy       (S,) int64 first samples of the trials of a run with lags, if it has several
    prepared/strata.npy         (N,) int64 strata of the samples, if pairs are compared within such
    prepared/variables.parquet  one row per variable, and the digests of the others; written last, so it
                                says that all is there

A worker reads the few chunks that hold its tile's columns, checks their digests, and reads nothing else.
The bytes depend on the table and the groups alone: preparing twice, or twice at once, writes the same
objects.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from mmg_ray.errors import MMGError, StoreError
from mmg_ray.schema import SCHEMA_KEY, SCHEMA_VERSION, Status, Variable
from mmg_ray.store import digests
from mmg_ray.store.digests import Digest, Digests
from mmg_ray.store.location import Location
from mmg_ray.store.quality import QUALITY_SCHEMA
from mmg_ray.store.zarr_store import Checked

if TYPE_CHECKING:
    from mmg_ray.estimator.conditional.conditional_ranks import Condition

CODES = "prepared/codes.zarr"
CONDITION = "prepared/condition.parquet"
IDENTITY = "prepared/identity.npy"
SEGMENTS = "prepared/segments.npy"
STRATA = "prepared/strata.npy"
VARIABLES = "prepared/variables.parquet"
METADATA = "zarr.json"
DIGESTS = b"mmg_ray.digests"


class Prepared:
    """The prepared variables of a run, read as needed.

    Attributes:
        names: of the V variables, in the order of their indices.
        dims: (V,) int64, usable columns of each; 0 only where the status is not ok.
        statuses: of each; messages are in `qc()`.
        n_samples: N, rows of the table.
        digests: of everything below prepared/ but the table of variables, which holds them.
    """

    def __init__(
        self, variables: pa.Table, codes: zarr.Array[Any], run: Location, written: Digests
    ) -> None:
        self.digests = written
        self._variables = variables
        self._codes = codes
        self._run = run
        self._columns: list[list[int]] = variables.column("columns").to_pylist()
        self.names: list[str] = variables.column("name").to_pylist()
        # not to_numpy, which imports pandas
        self.dims = np.array(variables.column("n_columns").to_pylist(), dtype=np.int64)
        self.statuses = [Status(status) for status in variables.column("status").to_pylist()]
        self.n_samples = int(codes.shape[1])

    @classmethod
    def open(cls, run: Location, digest: str | None = None) -> Prepared:
        """What `prepare` wrote under `run`; two small requests. StoreError if it is not whole.

        Args:
            digest: what `prepare` returned, to be told of a table that was changed since.
        """
        data = (run / VARIABLES).read_bytes()
        if digest is not None:
            digests.require(run, VARIABLES, data, Digest(digest))
        with _readable(run / VARIABLES):
            parquet = pq.ParquetFile(io.BytesIO(data))  # pq.read_table would import pandas
            stored = parquet.schema_arrow.metadata or {}
            version = stored.get(SCHEMA_KEY.encode(), b"unknown").decode()
            if version != str(SCHEMA_VERSION):
                raise ValueError(
                    f"its schema version is {version}, and this version of mmg_ray reads {SCHEMA_VERSION}"
                )
            written = digests.from_json(json.loads(stored[DIGESTS]))
            variables = parquet.read().select(QUALITY_SCHEMA.names).cast(QUALITY_SCHEMA)
        with _readable(run / CODES):
            codes = zarr.open_array(Checked(run, CODES, written), mode="r", zarr_format=3)
        return cls(variables, codes, run, written)

    @property
    def n_variables(self) -> int:
        return len(self.names)

    def load(self, indices: Sequence[int]) -> dict[int, Variable]:
        """The variables of these indices: each chunk that holds one of their columns is read once.

        Raises StoreError where a chunk is lost or damaged.
        """
        needed = np.unique(
            np.array([c for index in indices for c in self._columns[index]], dtype=np.int64)
        )
        codes = np.empty((0, self.n_samples), dtype=np.int32)
        if needed.size:
            with _readable(self._run / CODES):
                codes = np.asarray(self._codes.oindex[needed, :])
        return {
            index: Variable(
                name=self.names[index],
                codes=np.ascontiguousarray(
                    codes[np.searchsorted(needed, self._columns[index])].T, dtype=np.int32
                ),
                status=self.statuses[index],
            )
            for index in indices
        }

    def identity(self) -> np.ndarray | None:
        """(N,) uint64 of the samples: whichever others there are, each stays in its half of them.

        None where the samples have no names of their own; their rows are then what they are known by.
        """
        return self._array(IDENTITY)

    def strata(self) -> np.ndarray | None:
        """(N,) int64 0, 1, ... strata of the samples, within which pairs are compared, or None."""
        return self._array(STRATA)

    def segments(self) -> np.ndarray:
        """(S,) int64 first sample of each trial; of one recording [0]."""
        found = self._array(SEGMENTS)
        return np.zeros(1, dtype=np.int64) if found is None else found

    def _array(self, path: str) -> np.ndarray | None:
        """An array of the samples, if it was written. StoreError where it is lost or damaged."""
        if path not in self.digests:
            return None
        data = (self._run / path).read_bytes()
        digests.require(self._run, path, data, self.digests[path])
        found: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return found

    def condition(self) -> Condition | None:
        """What all pairs are conditioned on, or None. StoreError where it is lost or damaged."""
        digest = self.digests.get(CONDITION)
        if digest is None:
            return None
        from mmg_ray.store.condition import read_condition

        data = (self._run / CONDITION).read_bytes()
        digests.require(self._run, CONDITION, data, digest)
        return read_condition(data, digest.sha256)

    def qc(self) -> pa.Table:
        """The quality table, one row per variable; QUALITY_SCHEMA says what its columns mean."""
        return self._variables


@contextlib.contextmanager
def _readable(location: Location) -> Iterator[None]:
    try:
        yield
    except MMGError:
        raise
    except FileNotFoundError:
        raise StoreError(
            f"there is nothing at {location.url}; the run was not prepared, or its URL is wrong"
        ) from None
    except Exception as error:  # zarr's, Arrow's, a codec's or a storage backend's own
        raise StoreError(
            f"{location.url} cannot be read ({error}); it was truncated or changed by hand. "
            "Restore it, or prepare the run anew at another URL"
        ) from error
