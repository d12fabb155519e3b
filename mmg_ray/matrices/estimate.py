"""MI of all pairs of the columns of a table in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa

from mmg_ray.api.arguments import settings_of
from mmg_ray.arrays import aligned, read, require_numbers
from mmg_ray.arrays.variables import condition_of, variable
from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import DataError
from mmg_ray.estimator.cascade.denoisers import denoiser as denoiser_named
from mmg_ray.estimator.cascade.tile import sees_fine_structure
from mmg_ray.estimator.conditional.pairs import estimate_given
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.execute import pilot
from mmg_ray.execute.numerics import library_threads
from mmg_ray.execute.progress import Tally, progress
from mmg_ray.execute.task import device_of
from mmg_ray.matrices.by_pair import EstimatesByPair
from mmg_ray.matrices.matrix import Made, MIMatrix
from mmg_ray.plan.pairs import all_pairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import PairEstimates, Receipt
from mmg_ray.store import scaled_counts
from mmg_ray.store.quality import QUALITY_SCHEMA, column_row, measure
from mmg_ray.store.sources.table import default_names


def mi_matrix(
    data: Any,
    names: Sequence[str] | None = None,
    *,
    layer: str | None = None,
    condition: Any = None,
    denoiser: str | None = None,
    seed: int | None = None,
    config: EstimatorConfig | None = None,
    n_jobs: int = 1,
    show_progress: bool = False,
) -> MIMatrix:
    """Mutual information of all pairs of columns.

    Args:
        data: (n, V) samples x variables of numbers: an AnnData object, MNE's Raw or Epochs (data channels that
            are not marked as bad), or anything that `estimate_mi` takes as x; missing values cost only the
            pairs they are in.
        names: (V,) unique names; default those of the columns, or v0, v1, ...
        layer: of an AnnData object, or "raw", instead of X.
        condition: as in `estimate_mi`: every pair is estimated given it.
        denoiser, seed, config, n_jobs: as in `estimate_mi`.
        show_progress: a bar on a terminal, log lines elsewhere.

    Raises:
        DataError: a column is not of numbers, the table is not 2-D, or its names are not unique.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500))
        >>> m = mmg_ray.mi_matrix(np.stack([x, e, x + e], axis=1), ["x", "e", "sum"])
        >>> m
        MIMatrix(3 variables, 3 of 3 pairs ok)
        >>> bool(m.p_value.loc["x", "e"] > 0.01), bool(m.p_value.loc["x", "sum"] < 1e-6)
        (True, True)
    """
    tables = {"data": read(data, "data", layer)}
    if condition is not None:
        tables["condition"] = read(condition, "condition")
    table, *others = aligned(list(tables.values()))
    if names is None:
        names = table.names or default_names(len(table.columns))
    names = list(names)
    if len(names) != len(table.columns) or len(set(names)) != len(names):
        twice = [name for name, count in Counter(names).items() if count > 1][:3]
        raise DataError(
            f"{len(table.columns)} columns need as many different names; got {len(names)}, "
            f"{len(set(names))} of them different{f'; repeated: {twice}' if twice else ''}"
        )
    settings = settings_of(config, denoiser, seed)
    variables, rows = {}, []
    for k, column in enumerate(table.read()):
        require_numbers(column, table.called(k))
        codes = ordinal_codes(column.values)
        variables[k] = variable(codes[:, None], names[k])
        rows.append({"index": k, **column_row(names[k], k, measure(column.values, codes))})
    if sees_fine_structure(settings):
        scaled_counts.warn(lambda k: table.column(k).values, len(names))
    given = condition_of(others[0] if others else None, settings)
    device = device_of("auto")
    size = denoiser_named(settings.denoiser).tile_variables
    pairs = all_pairs(len(names))
    n_tiles = len(pairs.tiles(size)[0])
    plan = Plan(pairs, size, np.arange(n_tiles + 1))  # a tile a shard: all it is for is the bar
    tile_pairs = [plan.tile_pairs(tile) for tile in range(n_tiles)]
    dims = np.ones(len(names), dtype=np.int64)
    learned = None
    if given is None:
        with library_threads(n_jobs):
            learned = pilot.learn(
                names, dims, pairs, lambda some: {k: variables[k] for k in some}, settings
            )
    found = [PairEstimates.from_rows([])]  # one variable has no tile
    tally = Tally(plan.n_shards, plan.n_pairs)
    with progress(tally) if show_progress else nullcontext(lambda: None) as show:
        for tile, some in enumerate(tile_pairs):
            with library_threads(n_jobs):
                found.append(
                    estimate_given(variables, some, given, settings, device, model=learned)
                )
            tally.add(Receipt(tile, len(some), int((~found[-1].ok).sum())))
            show()
    i, j = np.concatenate([np.empty((0, 2), dtype=np.int64), *tile_pairs]).T
    columns = PairEstimates.concatenate(found).take(np.lexsort([j, i]))
    made = Made(
        what=type(data).__name__,
        variables=variables,
        quality=pa.Table.from_pylist(rows, schema=QUALITY_SCHEMA),
        settings=settings,
        given=(others[0].names or ["the condition"]) if others else [],
        evidence=learned,
    )
    return MIMatrix(names, EstimatesByPair(len(names), columns), made)
