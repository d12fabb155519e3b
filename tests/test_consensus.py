"""Edges that come again and again over draws of the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mmg_ray
from mmg_ray import config as configuration
from mmg_ray.cli import main
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.execute import driver
from mmg_ray.store.run import Run


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5))
    x[:, 1] += x[:, 0]
    x[:, 2] += 0.25 * x[:, 0]
    pd.DataFrame(x, columns=list("abcde")).to_csv(folder / "table.csv", index=False)
    text = f"data: {{path: {folder / 'table.csv'}, subsample: 0.5}}"
    settings = ["execute.executor=serial", "estimator.denoiser=screen"]
    return [
        driver.run(
            configuration.load(
                text, [*settings, f"data.subsample_seed={k}", f"output.url={folder / f'half-{k}'}"]
            )
        )
        for k in range(5)
    ]


def test_draws_are_of_half_the_samples_and_differ(halves: list[Run]):
    assert {run.manifest.n_samples for run in halves} == {100}
    assert len({run.manifest.fingerprint for run in halves}) == 5
    mi = [run.edge_store().table()["mi_nats"][0].as_py() for run in halves]
    assert len(set(mi)) == 5


def test_weights_are_shares(halves: list[Run]):
    networks = [run.network(["fdr=0.05"]) for run in halves]
    found = mmg_ray.consensus(networks, min_share=0.2)
    rows = {(r["source"], r["target"]): r for r in found.table.to_pylist()}
    assert rows["a", "b"]["weight"] == 1.0
    for (source, target), row in rows.items():
        mi = [
            r["mi_nats"]
            for network in networks
            for r in network.table.to_pylist()
            if (r["source"], r["target"]) == (source, target)
        ]
        assert row["weight"] == len(mi) / 5
        assert row["mi_nats"] == pytest.approx(np.mean(mi))
        assert row["se_nats"] == pytest.approx(np.std(mi), abs=1e-9)
    assert (np.diff(found.table["weight"].to_numpy()) <= 0).all()
    every = mmg_ray.consensus(networks, min_share=1.0)
    assert set(every.table["weight"].to_pylist()) == {1.0}
    assert every.table.num_rows <= found.table.num_rows


def test_command_and_export(halves: list[Run], tmp_path: Path):
    file = tmp_path / "stable.graphml"
    result = CliRunner().invoke(
        main,
        ["consensus", *(run.url for run in halves), "--min-share", "0.8", "--export", str(file)],
    )
    assert result.exit_code == 0, result.output
    assert "100% a - b" in result.output
    assert "a" in file.read_text()


def test_what_does_not_fit_says_so(halves: list[Run]):
    networks = [run.network(["fdr=0.05"]) for run in halves[:2]]
    with pytest.raises(ConfigError, match="min_share"):
        mmg_ray.consensus(networks, min_share=0)
    with pytest.raises(DataError, match="two or more"):
        mmg_ray.consensus(networks[:1])
