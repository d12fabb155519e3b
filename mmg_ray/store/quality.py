"""Quality of each prepared variable: missing values, ties, zeros, and whether it is usable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmg_ray.schema import Status

if TYPE_CHECKING:
    from mmg_ray.store.sources import Table

# Every share is of the samples with a value; statistics are of the finite values.
QUALITY_SCHEMA = pa.schema(
    [
        ("index", pa.int32()),
        ("name", pa.string()),
        ("columns", pa.list_(pa.int32())),  # positions in codes.zarr
        ("n_columns", pa.int32()),  # 0 where no column is usable
        ("n_samples", pa.int32()),  # with a finite value, in every column of a group
        ("n_missing", pa.int32()),  # all others
        ("n_nonfinite", pa.int32()),  # of these, infinite
        ("n_distinct", pa.int32()),  # group: of the column with the fewest
        ("tie_share", pa.float64()),  # samples that share their value; group: largest
        ("zero_share", pa.float64()),  # group: largest
        ("minimum", pa.float64()),  # this and below: null for groups
        ("maximum", pa.float64()),
        ("mean", pa.float64()),
        ("sd", pa.float64()),  # with n - 1
        ("status", pa.string()),
        ("message", pa.string()),
    ]
)


@dataclass(frozen=True)
class Quality:
    """One column of the input table in numbers."""

    n_samples: int
    n_missing: int
    n_nonfinite: int
    n_distinct: int
    tie_share: float | None
    zero_share: float | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    sd: float | None

    @property
    def status(self) -> Status:
        if self.n_samples == 0:
            return Status.ALL_MISSING
        return Status.CONSTANT if self.n_distinct == 1 else Status.OK


def measure(values: np.ndarray, codes: np.ndarray) -> Quality:
    """Quality of one column from its (N,) values and (N,) ordinal codes."""
    return measure_sparse(values, codes)


def measure_sparse(values: np.ndarray, codes: np.ndarray) -> Quality:
    """The same of a column whose samples are 0 but for these (K,) values; zeros among them make no difference."""
    others = values[values != 0]
    present = others[np.isfinite(others)]
    n_zeros = len(codes) - len(others)
    n = len(present) + n_zeros
    counts = np.bincount(codes + 1)[1:]
    ends = np.append(present, 0.0) if n_zeros else present
    mean, sd = 0.0, None
    with np.errstate(over="ignore", invalid="ignore"):
        if n:
            mean = float(present.sum() / n)
        if n > 1:
            squares = np.square(present - mean).sum() + n_zeros * mean * mean
            sd = float(np.sqrt(squares / (n - 1)))
    return Quality(
        n_samples=n,
        n_missing=int(len(codes) - n),
        n_nonfinite=int(np.isinf(others).sum()),
        n_distinct=int(counts.size),
        tie_share=float(counts[counts > 1].sum() / n) if n else None,
        zero_share=float(n_zeros / n) if n else None,
        minimum=float(ends.min()) if n else None,
        maximum=float(ends.max()) if n else None,
        mean=mean if n else None,
        sd=sd,
    )


def column_row(name: str, v: int, quality: Quality) -> dict[str, Any]:
    """Row of a scalar variable, column v of the table."""
    status = quality.status
    message = ""
    if status is Status.CONSTANT:
        message = f"{quality.minimum:g} in all {quality.n_samples} samples: {status.remedy}"
    elif status is Status.ALL_MISSING:
        message = f"{quality.n_missing} missing or non-finite values: {status.remedy}"
    return {
        "name": name,
        "columns": [v],
        "n_columns": 1,
        **vars(quality),
        "status": status.value,
        "message": message,
    }


def group_row(
    name: str, members: list[int], table: Table, qualities: list[Quality]
) -> dict[str, Any]:
    """Row of a vector variable; members without a usable value are left out and named."""
    usable = [v for v in members if qualities[v].status is Status.OK]
    dropped = {table.names[v]: qualities[v].status for v in members if v not in usable}
    columns = usable or members
    complete, infinite = np.ones(table.n_samples, dtype=bool), np.zeros(table.n_samples, dtype=bool)
    for v in columns:
        values = table.column(v)
        complete &= np.isfinite(values)
        infinite |= np.isinf(values)
    left_out = ", ".join(f"{member!r} ({status})" for member, status in dropped.items())
    status, message = Status.OK, f"left out: {left_out}" if dropped else ""
    if not usable:
        constant = Status.CONSTANT in dropped.values()
        status = Status.CONSTANT if constant else Status.ALL_MISSING
        message = f"no member is usable: {left_out}; leave them out with data.exclude"
    elif not complete.any():
        status = Status.ALL_MISSING
        message = (
            f"no sample has a value in all {len(usable)} columns; split the group in data.groups"
        )
    shown = [qualities[v] for v in columns]
    return {
        "name": name,
        "columns": usable,
        "n_columns": len(usable),
        "n_samples": int(complete.sum()),
        "n_missing": int((~complete).sum()),
        "n_nonfinite": int(infinite.sum()),
        "n_distinct": min(q.n_distinct for q in shown),
        "tie_share": max((q.tie_share for q in shown if q.tie_share is not None), default=None),
        "zero_share": max((q.zero_share for q in shown if q.zero_share is not None), default=None),
        "status": status.value,
        "message": message,
    }
