"""Cells: which are used, pooling them, their depth, and what of a gene a covariate explains.

Tables are samples x genes (`mmg_ray.store.sources.Table`) and stay sparse up to `regressed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import svds

from mmg_ray.errors import DataError
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.strata import covariate

DEPTH = "depth"
_FEW_READS = 0.3  # of the cells have the same number of them: as of 1.6 reads, or half none
_MANY_READS = 0.1  # as of 16 reads: no number of them is that of many cells
_COMPONENTS = 10
_MOST_TIES = 0.2


def keep_cells(table: Table, cells: np.ndarray) -> Table:
    """The table of the cells where a (N,) mask is true."""
    rows = np.flatnonzero(cells)
    names = table.sample_names
    return replace(
        table,
        values=table.values[rows],
        sample_names=None if names is None else [names[r] for r in rows],
        metadata={name: column[rows] for name, column in table.metadata.items()},
    )


def n_expressed(table: Table) -> np.ndarray:
    """(N,) genes with a value other than 0 in each cell; missing ones do not count."""
    values = table.values
    if isinstance(values, np.ndarray):
        return ((values != 0) & np.isfinite(values)).sum(axis=1)
    present = np.isfinite(values.data) & (values.data != 0)
    return np.bincount(values.indices[present], minlength=table.n_samples)


def depth(table: Table) -> np.ndarray:
    """(N,) sum over the genes of each cell; NaN where a value is missing."""
    return np.asarray(table.values.sum(axis=1), dtype=float).ravel()


def scale_of(table: Table) -> np.ndarray:
    """(N,) what takes each cell to the median depth. DataError where a depth is unknown or 0."""
    total = depth(table)
    wrong = np.flatnonzero(~(total > 0))
    if wrong.size:
        who = wrong[0] if table.sample_names is None else table.sample_names[wrong[0]]
        raise DataError(
            f"cell {who} has a depth of {total[wrong[0]]:g} ({wrong.size} such cells), so it cannot be "
            "scaled to the others': values are missing or all 0. Set cells.min_genes: 1 to leave out "
            "cells without counts; where values are missing, set cells.normalise: none"
        )
    found: np.ndarray = np.median(total) / total
    return found


def log_normalised(table: Table, scale: np.ndarray) -> Table:
    """log(1 + x times the scale of its cell). MI does not see the logarithm; the scaling is what matters."""
    values = table.values
    if isinstance(values, np.ndarray):
        return replace(table, values=np.log1p(values * scale[:, None]))
    scaled = values.copy()
    scaled.data = np.log1p(scaled.data * scale[scaled.indices])
    return replace(table, values=scaled)


def transformed(table: Table, function: Callable[[np.ndarray], np.ndarray]) -> Table:
    """The table of function(x) of every value; function(0) is 0."""
    values = table.values
    if isinstance(values, np.ndarray):
        return replace(table, values=function(values))
    changed = values.copy()
    changed.data = function(values.data)
    return replace(table, values=changed)


def labels(table: Table, columns: Sequence[str], option: str) -> tuple[list[str], np.ndarray]:
    """The values of metadata columns, joined, and the (N,) number of each sample's."""
    for column in columns:
        if column not in table.metadata:
            raise DataError(
                f"{option}: {column!r} is no metadata column{nearest(column, table.metadata)}"
            )
    parts = [[str(value) for value in table.metadata[column]] for column in columns]
    joined = np.array([", ".join(row) for row in zip(*parts, strict=True)])
    names, place = np.unique(joined, return_inverse=True)
    return names.tolist(), place


def pooled(table: Table, place: np.ndarray, names: list[str], counts: bool) -> Table:
    """One sample for each pool: counts are added up, other values averaged.

    Args:
        place: (N,) pool of each cell.

    Metadata that differ within a pool are left out; `n_cells` is added.
    """
    n_cells = np.bincount(place, minlength=len(names))
    weight = np.ones(len(place)) if counts else 1.0 / n_cells[place]
    pools = sparse.csr_array((weight, (place, np.arange(len(place)))), (len(names), len(place)))
    values = pools @ table.values
    metadata: dict[str, np.ndarray] = {"n_cells": n_cells}
    first = np.unique(place, return_index=True)[1]
    for name, column in table.metadata.items():
        if name != DEPTH and all(column.astype(str) == column[first].astype(str)[place]):
            metadata[name] = column[first]
    if not isinstance(values, np.ndarray):
        values = sparse.csc_matrix(values)
    return Table(values, table.names, names, metadata)


def metacells(table: Table, size: int) -> np.ndarray:
    """(N,) the metacell of each cell: halves of halves along the first component that is left.

    Cells are split at the median of the component of most variance among ten of the whole table
    until a part has fewer than 1.5 `size` of them: balanced, and the same every time.

    Args:
        table: normalised, without missing values.
    """
    values = table.values
    n_components = min(_COMPONENTS, min(values.shape) - 1)
    if n_components < 1 or table.n_samples < 2 * size:
        raise DataError(
            f"cells.metacells: {table.n_samples} cells are too few for metacells of {size}"
        )
    data = values if isinstance(values, np.ndarray) else values.data
    if not np.isfinite(data).all():
        raise DataError("cells.metacells: values are missing; fill them, or use cells.pseudobulk")
    mean = np.asarray(values.mean(axis=0)).ravel()
    centred = sparse.linalg.aslinearoperator(values) - sparse.linalg.aslinearoperator(
        np.ones((table.n_samples, 1))
    ) @ sparse.linalg.aslinearoperator(mean[None])
    u, s, _ = svds(centred, n_components, v0=np.ones(min(values.shape)))
    space = u * s
    place = np.zeros(table.n_samples, dtype=np.int64)
    waiting, n_done = [np.arange(table.n_samples)], 0
    while waiting:
        part = waiting.pop()
        if len(part) < 1.5 * size:
            place[part] = n_done
            n_done += 1
            continue
        inside = space[part] - space[part].mean(axis=0)
        axis = np.linalg.svd(inside, full_matrices=False)[2][0]
        order = part[np.argsort(inside @ axis, kind="stable")]
        waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return place


class Scaled(NamedTuple):
    """Scaled counts: what gives them from a table's values, and (N,) what one read is of them in each cell."""

    of: Callable[[np.ndarray], np.ndarray]
    reads: np.ndarray


def of_reads(table: Table, counts: Scaled, place: np.ndarray) -> Table:
    """The table of whole reads of genes that mostly have one number of them; of others the difference of the square roots
    (Anscombe 1948, sqrt(k + 3/8), whose scatter is nearly the same for any mean) of reads k and of those usual at the depth.

    For cells of like depth to be compared: few reads scaled are no ties any more, ordered by what is left of the depth of
    their cell, and many follow it if nothing is taken off. Ties within a stratum stay where they are many: the depth taken
    is then that of the stratum.

    Args:
        place: (N,) stratum of each cell.
    """
    values, depth = table.values, 1 / counts.reads
    of_stratum = pd.Series(depth).groupby(place).transform("median").to_numpy()
    if isinstance(values, np.ndarray):
        values = np.array(values, dtype=float, order="F")
        for column in values.T:
            reads = np.round(counts.of(column) / counts.reads)
            column[:] = _of_reads(reads, depth, of_stratum)
        return replace(table, values=values)
    reads = values.copy()
    reads.data = np.round(counts.of(reads.data) / counts.reads[reads.indices])
    made = [reads[:, [v]] for v in range(table.n_variables)]
    for v, column in enumerate(made):
        if column.nnz >= (1 - _FEW_READS) * table.n_samples:
            dense = _of_reads(column.toarray().ravel(), depth, of_stratum)
            made[v] = sparse.csc_matrix(dense[:, None])
    return replace(table, values=sparse.hstack(made, format="csc"))


def _of_reads(reads: np.ndarray, depth: np.ndarray, of_stratum: np.ndarray) -> np.ndarray:
    """One gene: (N,) reads, depth of each cell, and usual depth of its stratum."""
    present = np.isfinite(reads)
    share = np.unique(reads[present], return_counts=True)[1].max(initial=1) / max(present.sum(), 1)
    if share > _FEW_READS:
        return reads
    of = depth if share < _MANY_READS else of_stratum
    usual = reads[present].sum() / of[present].sum() * of
    found: np.ndarray = np.sqrt(reads + 0.375) - np.sqrt(usual + 0.375)
    return found


def regressed(table: Table, covariates: Sequence[str]) -> tuple[Table, str]:
    """Residuals of every gene after least squares on the covariates, and what that came to.

    DataError where many values are tied: residuals of equal values are ordered by the covariate
    alone, so that two genes full of zeros would seem to depend on each other.
    """
    design = [np.ones(table.n_samples)]
    for name in covariates:
        column = covariate(table, name, "cells.regress")
        if column.dtype.kind == "f":
            column = np.log(column) if name == DEPTH else column
            design.append((column - column.mean()) / max(column.std(), 1e-300))
        else:
            design += [(column == value).astype(float) for value in np.unique(column)[1:]]
    x = np.stack(design, axis=1)
    if table.n_samples < 3 * x.shape[1]:
        raise DataError(
            f"cells.regress {list(covariates)} takes {x.shape[1]} coefficients a gene from "
            f"{table.n_samples} samples; name fewer covariates"
        )
    values = np.full((table.n_samples, table.n_variables), np.nan, order="F")
    explained, ties = [], []
    for v in range(table.n_variables):
        y = table.column(v)
        present = np.isfinite(y)
        if not present.any():
            continue
        y = y[present]
        counts = np.unique(y, return_counts=True)[1]
        ties.append(counts[counts > 1].sum() / len(y) if len(counts) > 1 else 0.0)
        fitted = x[present] @ np.linalg.lstsq(x[present], y, rcond=None)[0]
        residual = y - fitted
        # an exact fit leaves rounding, which ranks would take for a signal
        values[present, v] = residual if np.ptp(residual) > 1e-9 * max(np.ptp(y), 1e-300) else 0.0
        explained.append(1 - residual.var() / y.var() if y.var() else 0.0)
    tied = float(np.median(ties)) if ties else 0.0
    if tied > _MOST_TIES:
        raise DataError(
            f"cells.regress: half of the genes have {tied:.0%} of their values tied (zeros), and "
            "residuals would order ties by the covariates: every pair of such genes would seem to "
            "depend. Use cells.stratify_by, which compares cells that are alike"
        )
    note = f"regress: {', '.join(covariates)} explain {np.median(explained):.0%} of a gene (median)"
    return replace(table, values=values), note
