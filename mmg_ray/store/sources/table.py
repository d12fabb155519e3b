"""What a source gives: a samples x variables table, or the contents it is cut from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy import sparse

from mmg_ray.errors import DataError
from mmg_ray.names import changed, visible

Values: TypeAlias = np.ndarray | sparse.csc_matrix


@dataclass(frozen=True)
class Table:
    """The input of a run, N samples x V variables.

    Attributes:
        values: (N, V) float64, dense or sparse by column; NaN is missing. A sparse table stays
            sparse: one column at a time is made dense when it is ranked.
        names: the V variables, unique.
        sample_names: the N samples, or None where the file names none.
        metadata: (N,) columns that describe samples.
        notes: what was decided or left out in reading, a line each.
    """

    values: Values
    names: list[str]
    sample_names: list[str] | None = None
    metadata: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Names as `mmg_ray.names` has them; said, and DataError where two become the same."""
        names = [visible(name) for name in self.names]
        if odd := changed(self.names, names):
            self.notes.append(
                f"{len(odd)} names of variables hold control characters, which are written out, "
                f"{visible(odd[0])} for example"
            )
            if len(set(names)) < len(names):
                raise DataError(
                    f"{visible(odd[0])!r} is the name of two variables once its control characters are "
                    "written out; rename one in the file"
                )
            object.__setattr__(self, "names", names)

    @property
    def n_samples(self) -> int:
        return int(self.values.shape[0])

    @property
    def n_variables(self) -> int:
        return int(self.values.shape[1])

    @property
    def nbytes(self) -> int:
        """Of the values in memory."""
        if isinstance(self.values, np.ndarray):
            return int(self.values.nbytes)
        parts = (self.values.data, self.values.indices, self.values.indptr)
        return sum(int(part.nbytes) for part in parts)

    def column(self, v: int) -> np.ndarray:
        """Variable v as a dense (N,) float64 array."""
        if isinstance(self.values, np.ndarray):
            return self.values[:, v]
        dense = np.zeros(self.n_samples)
        rows, values = self.stored(v)
        dense[rows] = values
        return dense

    def stored(self, v: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and values that are stored of variable v of a sparse table; all others are 0."""
        assert not isinstance(self.values, np.ndarray)
        of = slice(self.values.indptr[v], self.values.indptr[v + 1])
        return self.values.indices[of], self.values.data[of]


@dataclass(frozen=True)
class Contents:
    """What a file holds before variables and samples are chosen.

    `take(positions)` gives (N, len(positions)) values; only the variables that are kept are
    converted, so a column of text that the configuration excludes does no harm.

    Attributes:
        feature_types: kind of each variable, such as Gene Expression, where the file says.
        doubts: {position: what to say} of variables that may not be any; refused unless the
            configuration names or excludes them.
        notes: what was decided, a line each.
    """

    names: list[str]
    n_samples: int
    take: Callable[[np.ndarray], Values]
    sample_names: list[str] | None = None
    metadata: dict[str, np.ndarray] = field(default_factory=dict)
    feature_types: list[str] | None = None
    doubts: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def default_names(n_variables: int) -> list[str]:
    """Names for a file that has none: v0, v1, ..."""
    return [f"v{v}" for v in range(n_variables)]


def array_contents(
    values: np.ndarray | sparse.sparray | sparse.spmatrix,
    url: str,
    *,
    names: list[str] | None,
    sample_names: list[str] | None = None,
    metadata: dict[str, np.ndarray] | None = None,
    feature_types: list[str] | None = None,
    notes: Sequence[str] = (),
) -> Contents:
    """Contents of a (samples, variables) array. Raises DataError unless it is 2-D and numeric."""
    require_numeric(values.dtype, url)
    if values.ndim != 2:
        raise DataError(
            f"the array of {url} has shape {values.shape}, but samples x variables needs two axes; "
            "reshape it before saving (one variable: x[:, None])"
        )
    n_samples, n_variables = values.shape
    if names is not None and len(names) != n_variables:
        raise DataError(
            f"{url} names {len(names)} variables, but its array has {n_variables} columns "
            f"(shape {values.shape}); if it holds variables x samples, set data.transpose: true"
        )
    described = {"sample names": sample_names, **(metadata or {})}
    for what, column in described.items():
        if column is not None and len(column) != n_samples:
            raise DataError(
                f"{url} has {len(column)} values of {what}, but its array has {n_samples} samples (shape "
                f"{values.shape}); the file is damaged or put together from two"
            )

    def take(positions: np.ndarray) -> Values:
        if isinstance(values, np.ndarray):
            return np.array(values[:, positions], dtype=np.float64, order="F")
        columns = sparse.csc_matrix(values)
        if len(positions) < n_variables or (np.diff(positions) != 1).any():
            columns = columns[:, positions]
        # what is stored as double in a file may be counted twice
        columns = columns.astype(np.float64, copy=np.shares_memory(columns.data, values.data))
        columns.sum_duplicates()
        return columns

    return Contents(
        names=default_names(n_variables) if names is None else names,
        n_samples=n_samples,
        take=take,
        sample_names=sample_names,
        metadata=metadata or {},
        feature_types=feature_types,
        notes=list(notes),
    )


def require_numeric(dtype: np.dtype, url: str) -> None:
    """Raise DataError unless `dtype` is a real number (integers and booleans are)."""
    if dtype.kind in "biuf":
        return
    if dtype.kind == "c":
        reason = "holds complex numbers; save the real and imaginary parts as two variables"
    elif dtype.hasobject:
        reason = "holds Python objects, which are never unpickled; save it as x.astype(float)"
    else:
        reason = f"holds {dtype}, which is not numeric; save it as numbers (x.astype(float))"
    raise DataError(f"the array of {url} {reason}")
