"""Runs of data that are in memory: the same as of a file, resumed by the same call, and nothing in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import xarray
from scipy import sparse

import mmg_ray
from mmg_ray import config as configuration
from mmg_ray import genomics
from mmg_ray.errors import ConfigError, DataError, FingerprintError, StoreError

N, V = 120, 6
SCREEN = ["estimator.denoiser=screen", "execute.executor=serial"]


def counts() -> np.ndarray:
    rng = np.random.default_rng(5)
    shared = rng.gamma(2, size=(N, 1))
    return rng.poisson(np.hstack([3 * shared, 4 * shared, np.full((N, V - 2), 2.0)])).astype(float)


def adata() -> anndata.AnnData:
    obs = pd.DataFrame(
        {"batch": np.where(np.arange(N) % 3, "a", "b"), "depth": counts().sum(axis=1)},
        index=[f"cell{n}" for n in range(N)],
    )
    var = pd.DataFrame(index=["MYC", "NCL", *(f"GENE{v}" for v in range(V - 2))])
    made = anndata.AnnData(counts(), obs=obs, var=var)
    made.layers["twice"] = 2 * made.X
    made.raw = made.copy()
    made.X = np.log1p(made.X)
    return made


def frame() -> pd.DataFrame:
    found = adata()
    table = pd.DataFrame(found.X, index=found.obs_names, columns=found.var_names)
    return table.assign(batch=found.obs["batch"].to_numpy())


def edges_of(run: mmg_ray.Run) -> list[dict[str, Any]]:
    return run.edge_store().table().to_pylist()


def of_a_file(folder: Path, *settings: str) -> list[dict[str, Any]]:
    path, url = folder / "t.h5ad", f"memory://in-memory/{folder.name}/file{len(settings)}"
    adata().write_h5ad(path)
    cfg = configuration.load(f"data: {{path: {path}}}", [*SCREEN, f"output.url={url}", *settings])
    return edges_of(mmg_ray.run(cfg))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"memory://in-memory/{tmp_path.name}/run"


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["data.layer=raw"],
        ["data.layer=twice", "data.exclude=[GENE0]"],
        ["data.conditions=[batch]"],
        ["data.samples={batch: [a]}"],
        ["data.subsample=0.7"],
    ],
)
def test_an_anndata_gives_what_its_file_gives(
    settings: list[str], tmp_path: Path, url: str
) -> None:
    expected = of_a_file(tmp_path, *settings)
    assert edges_of(mmg_ray.run(adata(), [*SCREEN, *settings], url=url)) == expected


def test_whatever_holds_the_same_values_gives_the_same_run(url: str) -> None:
    found = adata()
    values, names = np.asarray(found.X), list(found.var_names)
    first = mmg_ray.run(found, SCREEN, url=url)
    # sparse or dense, and with an obs column more: the run that is there is of these data, so it is opened
    found.X = sparse.csr_matrix(values)
    found.obs["umap"] = 1.0
    assert mmg_ray.run(found, SCREEN, url=url).manifest == first.manifest
    table = frame()
    data: dict[str, Any] = {
        "frame": table.drop(columns="batch"),
        "xarray": xarray.DataArray(
            values, coords={"cell": list(table.index), "gene": names}, dims=("cell", "gene")
        ),
    }
    for name, what in data.items():
        run = mmg_ray.run(what, SCREEN, url=f"{url}-{name}")
        assert run.manifest.source_digest == first.manifest.source_digest
        assert edges_of(run) == edges_of(first)
    for what in (values, sparse.csc_matrix(values), {n: values[:, v] for v, n in enumerate(names)}):
        run = mmg_ray.run(what, SCREEN, url=f"{url}-{type(what).__name__}")
        # without labels the samples are known by their rows; the screen asks for no halves
        assert [e["mi_nats"] for e in edges_of(run)] == [e["mi_nats"] for e in edges_of(first)]


def test_a_frame_says_which_columns_describe_samples(url: str) -> None:
    with pytest.raises(DataError, match="column 'batch' of data is not numeric"):
        mmg_ray.run(frame(), SCREEN, url=url)
    run = mmg_ray.run(
        frame(), [*SCREEN, "data.metadata=[batch]", "data.conditions=[batch]"], url=url
    )
    given = mmg_ray.run(adata(), [*SCREEN, "data.conditions=[batch]"], url=f"{url}-adata")
    assert edges_of(run) == edges_of(given)
    assert (
        mmg_ray.run(
            frame(), [*SCREEN, "data.exclude=[batch]"], url=f"{url}-out"
        ).manifest.n_variables
        == V
    )


def test_the_same_call_goes_on_and_other_data_are_refused(url: str) -> None:
    run = mmg_ray.run(adata(), SCREEN, url=url)
    assert mmg_ray.run(url).manifest == run.manifest  # by its URL, from what was prepared
    other = adata()
    other.X[3, 2] += 1
    with pytest.raises(FingerprintError, match="source digest"):
        mmg_ray.run(other, SCREEN, url=url)
    other = adata()[::-1]
    with pytest.raises(FingerprintError, match="source digest"):
        mmg_ray.run(other, SCREEN, url=url)


def test_lost_preparations_are_made_again_of_the_data_alone(tmp_path: Path) -> None:
    url = str(tmp_path / "run")
    expected = edges_of(mmg_ray.run(adata(), SCREEN, url=url))
    (tmp_path / "run/plan.npz").unlink()
    with pytest.raises(StoreError, match=r"handed over in memory .* mmg_ray.run\(data, url"):
        mmg_ray.run(url)
    assert edges_of(mmg_ray.run(adata(), SCREEN, url=url)) == expected


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ([], {}, "url says where"),
        (["data.path=x.csv"], {"url": "memory://x"}, "data.path cannot be set"),
        (["output.url=x"], {"url": "memory://x"}, "output.url cannot be set"),
        (["data.header=true"], {"url": "memory://x"}, "an AnnData object does not use it"),
        (["data.conditions=[bach]"], {"url": "memory://x"}, "bach.*batch"),
        ([], {"url": "memory://x", "layer": "counts"}, "no layer 'counts'; layers: twice, raw"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    settings: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        mmg_ray.run(adata(), [*SCREEN, *settings], **options)


def test_a_configuration_takes_no_url() -> None:
    with pytest.raises(ConfigError, match=r"output.url=memory://y"):
        mmg_ray.run(configuration.load("data: {path: t.csv}"), url="memory://y")


def test_a_plan_of_data_in_memory_writes_nothing(tmp_path: Path) -> None:
    summary = mmg_ray.plan_run(adata(), url=str(tmp_path / "run"), measure=False)
    assert (summary.n_samples, summary.n_variables) == (N, V)
    assert not (tmp_path / "run").exists()


def test_genomics_takes_depth_out_of_counts(tmp_path: Path) -> None:
    url = str(tmp_path / "run")
    settings = ["execute.executor=serial", "cells.min_genes=1", "network.heatmap=false"]
    run = genomics.run(adata(), settings, url=url, layer="raw")
    assert run.manifest.n_variables == V
    assert "median depth" in (tmp_path / "run/genomics.json").read_text()
    assert (tmp_path / "run/report.html").exists()
    assert (tmp_path / "run/network/network.parquet").exists()
    assert genomics.run(adata(), settings, url=url, layer="raw").manifest == run.manifest
    with pytest.raises(ConfigError, match="group_by"):
        genomics.run(adata(), ["cells.group_by=batch"], url=url, layer="raw")


def test_mi_matrix_takes_raw_too() -> None:
    whole = mmg_ray.mi_matrix(adata(), layer="raw", denoiser="screen")
    assert np.array_equal(
        whole.mi, mmg_ray.mi_matrix(adata(), layer="twice", denoiser="screen").mi, equal_nan=True
    )
