"""Every field of every job's configuration reaches what is run, or is refused by its name.

A field that is added and used by nobody fails here: it has no value in VALUES, or changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

from mmg_ray import config as configuration
from mmg_ray.config import Config, load_as
from mmg_ray.errors import MMGError
from mmg_ray.genomics import job as genomics
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.neural import job as neural
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.store.location import Location
from mmg_ray.store.preparing import prepare
from mmg_ray.store.sources import read_table

N, V = 120, 8
KINDS: dict[str, type[Config]] = {"run": Config, "genomics": GenomicsConfig, "neural": NeuralConfig}

# A value other than the default for every field: of all jobs, and (key with the job's name) of one.
# `_with` are fields that it needs beside it.
VALUES: dict[str, Any] = {
    "data.path": "other.h5ad", "data.format": "csv", "data.transpose": True, "data.layer": "twice",
    "data.key": "a", "data.index_column": "a", "data.metadata": ["a"], "data.feature_types": ["ADT"],
    "data.variable_names": "symbol", "data.sample_names": "label", "data.header": False,
    "data.separator": ";", "data.decimal": ",", "data.variables": ["G0", "G1", "G2"],
    "data.exclude": ["G3"], "data.samples": {"batch": "b0"}, "data.subsample": 0.5,
    "data.subsample_seed": 3, "data.groups": "groups.csv", "data.conditions": ["age"], "data.strata": ["batch"],
    "data.missing": "error", "data.duplicate_names": "number",
    "neural.data.path": "other.npz", "neural.data.variables": ["a", "b"], "neural.data.exclude": ["c"],
    "neural.data.conditions": ["a"], "neural.data.format": "npz", "neural.data.missing": "error",
    "cells.group_by": "batch", "cells.min_genes": 7, "cells.pseudobulk": ["donor"], "cells.metacells": 4,
    "cells.normalise": "none", "cells.stratify_by": ["batch"], "cells.regress": ["age"],
    "genes.min_cells": 100, "genes.top": 4, "genes.by": "expressed", "genes.regulators": "tfs.txt",
    "genes.sets": "sets.gmt",
    "pairs.mode": "bipartite", "pairs.sources": ["G0"], "pairs.sources_file": "tfs.txt",
    "pairs.path": "pairs.csv",
    "recording.layout": "nwb", "recording.series": ["x"], "recording.units": "x",
    "recording.quality": ["mua"], "recording.rate_hz": 2.0, "recording.time_column": "x",
    "recording.time_unit_s": 0.5, "recording.unsorted": "sort", "recording.transposed": "ignore",
    "recording.min_spikes": 5000, "recording.start_s": 5.0, "recording.stop_s": 50.0,
    "recording.variable": "x", "recording.names": "x", "recording.trace": "F", "recording.neuropil": 0.5,
    "bins.width_s": 0.1, "bins.align": "start", "bins.trials": "trials.csv",
    "bins.window_s": [0.0, 0.5], "between.areas": "areas.csv", "between.stimulus": ["x"],
    "between.stimulus_path": "stimulus.csv", "lags.max_s": 0.2, "lags.transfer": [2],
    "lags.own": [1], "lags.max_p_value": 0.5, "lags.nulls": "jitter", "lags.jitter_s": 0.1, "lags.trials": "trial",
    "network.steps": ["top=1"], "network.files": {"a.csv": "csv"}, "network.heatmap": False,
    "network.report": False,
    "estimator.denoiser": "screen", "estimator.network.width": 8, "plan.tile_variables": 3,
    "plan.reuse": "runs/before", "edges.max_p_value": 0.5, "edges.top_k": 2, "edges.matrix": False,
    "execute.executor": "serial", "execute.address": "auto", "execute.device": "cpu",
    "execute.max_in_flight": 2, "estimator.nulls.kind": "block", "estimator.nulls.block_samples": 5,
    "estimator.snr.sampler": "uniform", "estimator.cascade.fine_structure": None,
    "output.url": "elsewhere",
}  # fmt: skip
WITH: dict[str, dict[str, Any]] = {
    "neural.recording.unsorted": {"data.path": "unsorted.npz"},
    "data.subsample_seed": {"data.subsample": 0.5},
    "genes.by": {"genes.top": 4},
    "pairs.mode": {"pairs.sources": ["G0"]},
    "pairs.sources": {"pairs.mode": "bipartite", "pairs.sources_file": "tfs.txt"},
    "pairs.sources_file": {"pairs.mode": "bipartite", "pairs.sources": ["G0"]},
    "data.missing": {"data.path": "missing.h5ad"},
    "data.duplicate_names": {"data.path": "repeated.h5ad"},
}


def leaves(kind: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(section.field, default) of every field, sections inside sections too."""
    for field in dataclasses.fields(kind):
        info = kind.__pydantic_fields__[field.name]
        if dataclasses.is_dataclass(info.annotation):
            yield from leaves(info.annotation, f"{path}{field.name}.")
        else:
            yield (
                f"{path}{field.name}",
                None if info.is_required() else info.get_default(call_default_factory=True),
            )


def other(key: str, default: Any, job: str) -> Any:
    value = VALUES.get(f"{job}.{key}", VALUES.get(key))
    if value is not None:
        return value
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default * 2 + 1 if isinstance(default, int) else 0.9 * default or 0.001
    raise AssertionError(f"{key} has no value in VALUES: add one, and see that it reaches the run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fields")
    rng = np.random.default_rng(0)

    def cells(seed: int) -> ad.AnnData:
        values = np.random.default_rng(seed).poisson(np.linspace(1, 6, V), (N, V)).astype(float)
        obs = pd.DataFrame(
            {"batch": [f"b{n % 2}" for n in range(N)], "donor": [f"d{n % 30}" for n in range(N)],
             "age": rng.standard_normal(N), "label": [f"l{n}" for n in range(N)]},
            index=[f"c{n}" for n in range(N)],
        )  # fmt: skip
        types = ["Gene Expression"] * (V - 2) + ["ADT"] * 2
        var = pd.DataFrame(
            {"symbol": [f"S{v}" for v in range(V)], "feature_types": types},
            index=[f"G{v}" for v in range(V)],
        )
        made = ad.AnnData(values, obs=obs, var=var)
        made.layers["twice"] = 2 * values[::-1]
        return made

    cells(0).write_h5ad(place / "t.h5ad")
    cells(1).write_h5ad(place / "other.h5ad")
    repeated = cells(0)
    repeated.var_names = ["G0", "G0", *repeated.var_names[2:]]
    repeated.write_h5ad(place / "repeated.h5ad")
    missing = cells(0)
    missing.X = np.log1p(missing.X / missing.X.sum(1, keepdims=True))
    missing.X[3, 2] = np.nan
    missing.write_h5ad(place / "missing.h5ad")
    for name, seed in (("t.npz", 0), ("other.npz", 1)):
        draw = np.random.default_rng(seed)
        np.savez(place / name, **{u: np.sort(draw.uniform(0, 60, 600)) for u in "abc"})
    np.savez(
        place / "unsorted.npz", a=np.random.default_rng(0).uniform(0, 60, 600), b=np.arange(60.0)
    )
    (place / "tfs.txt").write_text("G0\nG1\n")
    (place / "sets.gmt").write_text("A\t-\tG0\tG1\nB\t-\tG2\tG3\n")
    (place / "groups.csv").write_text("variable,group\nG0,A\nG1,A\n")
    (place / "pairs.csv").write_text("source,target\nG0,G1\n")
    (place / "trials.csv").write_text("start,kind\n" + "".join(f"{2 * k},1\n" for k in range(25)))
    (place / "areas.csv").write_text("unit,area\na,V1\nb,V1\nc,V2\n")
    times = "".join(f"{k / 10},{np.sin(k):.3f}\n" for k in range(600))
    (place / "stimulus.csv").write_text("time,x\n" + times)
    return place


def built(job: str, folder: Path, fields: dict[str, Any]) -> Config:
    tree: dict[str, Any] = {"data": {"path": "t.npz" if job == "neural" else "t.h5ad"}}
    for key, value in fields.items():
        *sections, leaf = key.split(".")
        node = reduce(lambda tree, name: tree.setdefault(name, {}), sections, tree)
        node[leaf] = value
    for section, name in (("data", "path"), ("data", "groups"), ("pairs", "path"),
                          ("pairs", "sources_file"), ("genes", "regulators"), ("genes", "sets"),
                          ("bins", "trials"), ("between", "areas"),
                          ("between", "stimulus_path"), ("output", "url")):  # fmt: skip
        if name in tree.get(section, {}):
            tree[section][name] = str(folder / tree[section][name])
    tree.setdefault("output", {}).setdefault("url", str(folder / "run"))
    return load_as(KINDS[job], yaml.safe_dump(tree))


def effect(job: str, cfg: Any) -> Any:
    """All that a run is given: its table, and its configuration as it is passed on."""
    if job == "run":
        table = read_table(cfg.data)
        place = Location(f"memory://fields/{abs(hash(repr(cfg)))}")
        rest = configuration.to_dict(cfg) | {"data": {}}
        return prepare(table, cfg.data, place), table.sample_names, str(rest)
    if job == "genomics":
        every = []
        for folder, made in genomics.inputs(cfg):
            run = genomics.stored(made, cfg, f"{cfg.output.url}/{folder}".rstrip("/"))
            every.append((folder, made.table.sample_names, str(run), str(cfg.network)))
        return every
    made = neural.inputs(cfg)
    run = neural.stored(made, cfg)
    return str(run), made.table.n_samples, str(cfg.lags), str(cfg.network)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("job", KINDS)
def test_every_field_reaches_the_run_or_is_refused_by_name(job: str, folder: Path) -> None:
    silent = []
    for key, default in leaves(KINDS[job]):
        beside = WITH.get(f"{job}.{key}", {} if job == "neural" else WITH.get(key, {}))
        before, value = {**beside}, other(key, default, job)
        before.pop(key, None)
        assert value != default, key
        try:
            plain = effect(job, built(job, folder, before))
        except MMGError as error:
            plain = str(error)
        try:
            reached = effect(job, built(job, folder, before | {key: value})) != plain
        except MMGError as error:
            text = str(error)
            # by its name, or as what it makes of the file that it describes
            reached = (
                key in text or key.split(".")[-1] in text or (text != plain and str(value) in text)
            )
        if not reached:
            silent.append(key)
    assert silent == []
