"""Runs begun in Python: of a configuration, or of data in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from mmg_ray import config as configuration
from mmg_ray.arrays.contents import table_of
from mmg_ray.config import AnyConfig, Config
from mmg_ray.errors import ConfigError
from mmg_ray.execute import driver
from mmg_ray.execute.planning import PlanSummary
from mmg_ray.runs import Run
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.in_memory import IN_MEMORY


def run(
    what: Any,
    overrides: Iterable[str] = (),
    *,
    url: str | None = None,
    layer: str | None = None,
    stop_after_s: float | None = None,
    verify: bool = False,
) -> Run:
    """Do what is missing of a run: prepare, plan, shards, matrix. A complete run is only opened.

    Args:
        what: a configuration, a YAML file of one, or the URL of a run to go on with. Or the data: an
            AnnData object, a DataFrame, samples x variables of numbers, whatever `mi_matrix` takes;
            values are taken as they are, see `mmg_ray.genomics.run` for counts of reads.
        overrides: `section.key=value` over the configuration, such as "data.conditions=[batch]" with a
            column of obs; for a run at a URL only `execute` may change.
        url: of data in memory, where the run is stored; the same call goes on with it.
        layer: of an AnnData object, or "raw", instead of X.
        stop_after_s: seconds after which it stops as it does on SIGTERM; main thread only.
        verify: read every byte that the run wrote, and make again what is damaged.

    Raises:
        Drained: it stopped early, on SIGTERM or after `stop_after_s`; `run` again goes on.
        ConfigError, DataError: before anything of the run is written.
        FingerprintError: the URL holds a run of another configuration or data; nothing is touched.
        StoreError: storage cannot be read or written, or another driver is at work on the run.
        RunError: some shards failed; the others are stored, and `run` again tries the rest.

    Examples:
        >>> import numpy as np, pandas as pd, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 300))
        >>> data = pd.DataFrame({"x": x, "noise": e, "sum": x + e})
        >>> run = mmg_ray.run(data, url="memory://sum/run")
        >>> run.network(["fdr=0.05"]).edges[["source", "target"]].to_dict("records")
        [{'source': 'x', 'target': 'sum'}, {'source': 'noise', 'target': 'sum'}]
    """
    asked, table = _asked(what, overrides, url, layer)
    found = driver.run(*asked, table=table, stop_after_s=stop_after_s, verify=verify)
    return Run(found.url)


def plan_run(
    what: Any,
    overrides: Iterable[str] = (),
    *,
    url: str | None = None,
    layer: str | None = None,
    measure: bool = True,
) -> PlanSummary:
    """What `run` would do and cost. Reads the table; writes nothing.

    Args:
        what, overrides, url, layer: as in `run`.
        measure: time parts of a few tiles on this machine, some seconds, and project from them.
    """
    asked, table = _asked(what, overrides, url, layer)
    return driver.plan_run(*asked, table=table, measure=measure)


def in_memory(
    kind: type[AnyConfig],
    data: Any,
    url: str | None,
    overrides: Iterable[str] = (),
    layer: str | None = None,
) -> tuple[AnyConfig, Table]:
    """The configuration of a run of data in memory, and their table."""
    with_layer = [] if layer is None else [f"data.layer={layer}"]
    cfg = configured(kind, data, url, [*with_layer, *overrides])
    return cfg, table_of(data, cfg.data)


def configured(
    kind: type[AnyConfig], data: Any, url: str | None, overrides: Iterable[str] = ()
) -> AnyConfig:
    """The configuration of a run of data in memory; ConfigError for fields that only files use."""
    if url is None:
        raise ConfigError(
            f"url says where the run of this {type(data).__name__} is stored, and was not given: "
            'mmg_ray.run(data, url="runs/first"), or any fsspec URL. For results in memory alone there is '
            "mmg_ray.mi_matrix(data)"
        )
    overrides = list(overrides)
    for text in overrides:
        if (key := text.partition("=")[0].strip()) in ("data.path", "data.format", "output.url"):
            raise ConfigError(f"{key} cannot be set: the data were handed over, and url says where")
    yaml = f"data: {{path: {IN_MEMORY!r}}}"
    return configuration.load_as(kind, yaml, [f"output.url={url}", *overrides])


def _asked(
    what: Any, overrides: Iterable[str], url: str | None, layer: str | None
) -> tuple[tuple[Any, Iterable[str]], Table | None]:
    """What the driver is asked for, and the table where it is in memory."""
    if not isinstance(what, Config | str | os.PathLike):
        cfg, table = in_memory(Config, what, url, overrides, layer)
        return (cfg, ()), table
    for name, value in (("url", url), ("layer", layer)):
        if value is not None:
            field = "output.url" if name == "url" else "data.layer"
            raise ConfigError(
                f"{name} is of data in memory; a configuration says it itself: {field}={value}"
            )
    return (what, overrides), None
