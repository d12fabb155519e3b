"""What callers pass as the data of a run, as a file's contents are: variables and samples to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from mmg_ray.arrays.columns import is_of
from mmg_ray.arrays.containers import matrix_of, read
from mmg_ray.arrays.samples import Samples, require_numbers
from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources import Table, choose, refuse_unused
from mmg_ray.store.sources.anndata_group import annotated
from mmg_ray.store.sources.select import nearest
from mmg_ray.store.sources.table import Contents, array_contents, default_names

_WHAT = "data"  # what messages call it
_OF_ANNDATA = {"layer", "feature_types", "variable_names", "sample_names"}


def table_of(data: Any, cfg: DataConfig) -> Table:
    """The samples x variables table of whatever `api.mi_matrix` takes; sparse data stay sparse.

    Columns of obs, and columns of a DataFrame that `cfg.metadata` lists, describe samples. Sample labels
    that are all different are what the samples are known by, see `Prepared.identity`.

    Raises:
        DataError: there is no such table in it, or `cfg` has a field that only files use.
    """
    return choose(_contents(data, cfg), cfg)


def _contents(data: Any, cfg: DataConfig) -> Contents:
    if is_of(data, "anndata", "AnnData"):
        refuse_unused(cfg, _OF_ANNDATA, "an AnnData object")
        values, var = matrix_of(data, _WHAT, cfg.layer)
        return annotated(values, data.obs, var, cfg, _WHAT)
    if sparse.issparse(data) and data.ndim == 2:
        refuse_unused(cfg, (), "a sparse matrix")
        return array_contents(data, _WHAT, names=None)
    samples = read(data, _WHAT)
    names = samples.names
    refuse_unused(cfg, () if names is None else {"metadata"}, "data without names of columns")
    return _of_columns(samples, names or default_names(len(samples.columns)), cfg.metadata)


def _of_columns(samples: Samples, names: list[str], metadata: Sequence[str]) -> Contents:
    """Columns of a table; those that describe samples are no variables."""
    place = {name: k for k, name in enumerate(names)}
    for name in metadata:
        if name not in place:
            raise DataError(f"data.metadata: {name!r} is no column{nearest(name, names)}")
    if repeated := [name for name in metadata if names.count(name) > 1]:
        raise DataError(f"data.metadata: several columns are called {repeated[0]!r}; rename them")
    kept = [k for k, name in enumerate(names) if name not in metadata]
    described = {name: samples.column(place[name]) for name in metadata}

    def take(positions: np.ndarray) -> np.ndarray:
        chosen = [kept[k] for k in positions.tolist()]
        values = np.empty((samples.n, len(chosen)), order="F")
        part = replace(
            samples,
            columns=[samples.columns[k] for k in chosen],
            names=[names[k] for k in chosen],
        )
        for k, column in enumerate(part.read()):
            require_numbers(column, part.called(k))
            values[:, k] = column.values
        return values

    return Contents(
        names=[names[k] for k in kept],
        n_samples=samples.n,
        take=take,
        sample_names=_labels(samples),
        metadata={name: column.values for name, column in described.items()},
    )


def _labels(samples: Samples) -> list[str] | None:
    """Of the samples, where they have any: a DataFrame that was given none counts its rows."""
    if samples.index is None or is_of(samples.index, "pandas", "RangeIndex"):
        return None
    return [str(label) for label in samples.index]
