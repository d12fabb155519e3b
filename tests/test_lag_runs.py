"""Runs with lags: as planned, sharded work; the same to the bit whoever computes it; directed outputs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import mmg_ray
from mmg_ray.config import from_dict
from mmg_ray.errors import ConfigError, DataError, StoreError
from mmg_ray.execute import driver
from mmg_ray.execute import lags as of_lags
from mmg_ray.schema import PairEstimates
from mmg_ray.store.exports.graphs import graphml
from mmg_ray.store.run import Run

N, MOST = 4000, 4


def spikes(n_variables: int = 8) -> np.ndarray:
    """(N, V) counts: v1 follows v0 by three bins, v2 leads v3 by one, v4 and v5 share bins."""
    x = np.random.default_rng(0).poisson(0.1, (N, n_variables)).astype(float)
    follows = np.random.default_rng(1).random((N, 3)) < 0.4
    x[3:, 1] += (x[:-3, 0] * follows[3:, 0]).round()
    x[:-1, 2] += (x[1:, 3] * follows[1:, 1]).round()
    x[:, 5] += (x[:, 4] * follows[:, 2]).round()
    return x


def tree(folder: Path, name: str = "run", **sections: Any) -> dict[str, Any]:
    np.save(folder / "counts.npy", spikes())
    found: dict[str, Any] = {
        "data": {"path": str(folder / "counts.npy")},
        "lags": {"max_s": 0.02, "sample_s": 0.005},
        "plan": {"tile_variables": 2, "shard_s": 1e-9},
        "execute": {"executor": "serial"},
        "output": {"url": str(folder / name)},
    }
    for section, fields in sections.items():
        found[section] = found.get(section, {}) | fields
    return found


def stored_bytes(url: str) -> dict[str, bytes]:
    """Everything that results are made of, by path."""
    folder = Path(url)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("edges", "matrix.zarr")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return mmg_ray.run(from_dict(tree(tmp_path_factory.mktemp("lags"))))


def test_edges_have_lags_curves_and_bands(whole: Run) -> None:
    edges = whole.edges().set_index(["source", "target"])
    assert set(edges.status) == {"ok"}
    for pair, lag in ((("v0", "v1"), 0.015), (("v2", "v3"), 0.005), (("v4", "v5"), 0.0)):
        row = edges.loc[pair]
        assert row.lag_s == pytest.approx(lag)
        assert row.p_value < 1e-8
        assert len(row.curve) == 2 * MOST + 1
        assert row.curve.argmax() == MOST + round(lag / 0.005)
        assert row.curve.max() > 10 * row.band
        assert np.delete(row.curve, row.curve.argmax()).max() < 2 * row.band
    assert (edges.p_value > 1e-3).sum() == len(edges) - 3
    text = io.BytesIO()
    whole.edge_store().write_csv(text)
    table = pd.read_csv(io.BytesIO(text.getvalue()))
    assert {"lag_s", "transfer_ij"} < set(table)
    assert "curve" not in table


def test_the_network_leads_from_the_first_to_the_one_that_follows(whole: Run) -> None:
    net = whole.network(["fdr=0.001"])
    found = {(row["source"], row["target"]): row["lag_s"] for row in net.table.to_pylist()}
    expected = {("v0", "v1"): 0.015, ("v2", "v3"): 0.005, ("v4", "v5"): 0.0, ("v5", "v4"): 0.0}
    assert found == pytest.approx(expected)
    graph = net.to_networkx()
    assert graph.is_directed()
    assert graph.edges["v0", "v1"]["lag_s"] == pytest.approx(0.015)
    assert b"lag_s" in graphml(net)
    # the same whatever the order of the variables
    lag = np.asarray(whole.matrix("lag_s")[:])
    np.testing.assert_allclose(lag, -lag.T)
    assert lag[1, 0] == pytest.approx(-0.015)
    mi = np.asarray(whole.matrix()[:])
    np.testing.assert_array_equal(mi, mi.T)


def test_the_report_shows_curves(whole: Run, tmp_path: Path) -> None:
    mmg_ray.open_run(whole.url).report(str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "MI of v0 and v1 by lag" in page
    assert "Normal scores" not in page
    assert "<h2>Lags</h2>" in page


def test_edges_turn_with_the_order_of_the_variables(tmp_path: Path) -> None:
    cfg = tree(tmp_path, "turned")
    np.save(tmp_path / "turned.npy", spikes()[:, ::-1])
    turned = mmg_ray.run(from_dict({**cfg, "data": {"path": str(tmp_path / "turned.npy")}}))
    found = turned.network(["fdr=0.001"]).table.to_pylist()
    ends = {(f"v{7 - row['i']}", f"v{7 - row['j']}") for row in found}
    assert ends == {("v0", "v1"), ("v2", "v3"), ("v4", "v5"), ("v5", "v4")}
    assert all(row["lag_s"] >= 0 for row in found)


def test_the_same_bits_on_ray_after_a_kill_and_in_other_tiles(whole: Run, tmp_path: Path) -> None:
    expected = stored_bytes(whole.url)
    ray = mmg_ray.run(from_dict(tree(tmp_path, "ray", execute={"executor": "ray"})))
    assert stored_bytes(ray.url) == expected
    # a driver that is killed, and another that goes on
    cfg = tree(tmp_path, "killed")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(cfg))
    slow = (
        "import time, sys\nfrom mmg_ray.execute import driver, task\n"
        "def slow(item):\n    time.sleep(0.4)\n    return task.run_shard(item)\n"
        "driver.run_shard = slow\ndriver.run(sys.argv[1])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, str(tmp_path / "run.yaml")], env=dict(os.environ)
    )
    edges = tmp_path / "killed/edges"
    while len(list(edges.glob("*.parquet"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(edges.glob("*.parquet"))) < len(list(Path(whole.url).glob("edges/*.parquet")))
    assert stored_bytes(driver.run(from_dict(cfg)).url) == expected
    # other tiles: other objects, the same rows
    other = mmg_ray.run(from_dict(tree(tmp_path, "tiles", plan={"tile_variables": 5})))
    order = [("i", "ascending"), ("j", "ascending")]
    assert (
        other.edge_store().table().sort_by(order).equals(whole.edge_store().table().sort_by(order))
    )


def test_a_pair_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = of_lags.scan_tile

    def poisoned(series: Any, pairs: np.ndarray, settings: Any) -> Any:
        if (pairs == [0, 3]).all(axis=1).any():
            raise ZeroDivisionError("no")
        return scan(series, pairs, settings)

    monkeypatch.setattr(of_lags, "scan_tile", poisoned)
    run = mmg_ray.run(from_dict(tree(tmp_path)))
    rows = run.edges().set_index(["source", "target"])
    bad = rows.loc[("v0", "v3")]
    assert (bad.status, bad.denoiser) == ("failed", "lags")
    assert "ZeroDivisionError" in bad.message
    assert bad.curve is None
    assert (rows.drop(("v0", "v3")).status == "ok").all()


def test_constant_and_short_variables_get_a_status(tmp_path: Path) -> None:
    values = spikes()[:, :4]
    values[:, 1] = 2
    values[20:, 2] = np.nan
    np.save(tmp_path / "odd.npy", values)
    run = mmg_ray.run(from_dict(tree(tmp_path, data={"path": str(tmp_path / "odd.npy")})))
    status = {(r["source"], r["target"]): r["status"] for r in run.edge_store().table().to_pylist()}
    assert status["v0", "v1"] == "constant"
    assert status["v0", "v2"] == "too_few_samples"
    assert status["v0", "v3"] == "ok"


def test_series_that_are_no_events_are_not_jittered(tmp_path: Path) -> None:
    values = spikes()[:, :4]
    values[:, 2] = np.random.default_rng(2).standard_normal(N)
    np.save(tmp_path / "odd.npy", values)
    lags = {"nulls": "jitter", "jitter_s": 0.025}
    cfg = tree(tmp_path, data={"path": str(tmp_path / "odd.npy")}, lags=lags)
    rows = {
        (r["source"], r["target"]): r
        for r in mmg_ray.run(from_dict(cfg)).edge_store().table().to_pylist()
    }
    assert rows["v0", "v1"]["lag_s"] == pytest.approx(0.015)
    assert rows["v0", "v1"]["p_value"] < 1e-8
    assert rows["v0", "v2"]["status"] == "unsupported"
    assert "v2 is no series of events; set lags.nulls: shift" in rows["v0", "v2"]["message"]


def test_transfer_entropy_is_the_second_stage(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([spikes()[:, :2], rng.standard_normal((N, 2))], axis=1)
    values[2:, 3] += 0.3 * values[:-2, 2]
    np.save(tmp_path / "both.npy", values)
    lags = {"transfer": [2, 3], "own": [1]}
    cfg = tree(tmp_path, data={"path": str(tmp_path / "both.npy")}, lags=lags)
    rows = {
        (r["source"], r["target"]): r
        for r in mmg_ray.run(from_dict(cfg)).edge_store().table().to_pylist()
    }
    for pair in (("v0", "v1"), ("v2", "v3")):  # of events, and of series
        assert rows[pair]["transfer_p_ij"] < 1e-6 < rows[pair]["transfer_p_ji"]
        assert rows[pair]["transfer_ij"] > 0.01 > rows[pair]["transfer_ji"]
    assert rows["v0", "v2"]["transfer_ij"] is None


def test_trials_of_a_table_part_the_lags(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.poisson(0.3, (40, 50, 2)).astype(float)
    x[:, 2:, 1] += x[:, :-2, 0]
    table = pd.DataFrame(x.reshape(-1, 2), columns=["a", "b"])
    table["trial"] = np.repeat(np.arange(40), 50)
    table.to_csv(tmp_path / "t.csv", index=False)
    data = {"path": str(tmp_path / "t.csv"), "metadata": ["trial"]}
    lags = {"max_s": 5, "sample_s": 1.0, "trials": "trial"}
    cfg = tree(tmp_path, data=data, lags=lags)
    (row,) = mmg_ray.run(from_dict(cfg)).edge_store().table().to_pylist()
    assert (row["lag_s"], row["n_samples"]) == (2, 40 * 48)
    assert row["p_value"] < 0.01
    with pytest.raises(DataError, match=r"'trail' is no metadata column; did you mean 'trial'"):
        mmg_ray.run(from_dict(tree(tmp_path, "x", data=data, lags=lags | {"trials": "trail"})))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"lags": {"max_s": None, "transfer": [1]}}, "set lags.max_s"),
        ({"lags": {"own": [1]}}, "set lags.transfer"),
        ({"lags": {"max_s": 0.001}}, "are 0 samples of 0.005 s"),
        ({"lags": {"max_s": 30}}, "it takes 1 to 2000"),
        ({"lags": {"nulls": "jitter"}}, "go together"),
        ({"lags": {"nulls": "jitter", "jitter_s": 0.005}}, "less than two samples"),
        ({"lags": {"nulls": "trial"}}, "set lags.trials"),
        ({"data": {"subsample": 0.5}}, "data.subsample leaves out samples"),
    ],
)
def test_sections_that_do_not_fit_say_why(
    tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mmg_ray.run(from_dict(tree(tmp_path, **sections)))
    assert not (tmp_path / "run/manifest.json").exists()


def test_rows_are_taken_over_and_runs_without_lags_have_no_matrix_of_them(
    whole: Run, tmp_path: Path
) -> None:
    again = mmg_ray.run(from_dict(tree(tmp_path, plan={"reuse": whole.url})))
    assert again.edges().equals(whole.edges())
    plain = tree(tmp_path, "plain", lags={"max_s": None, "sample_s": 1.0})
    plain["estimator"] = {"denoiser": "screen"}
    run = mmg_ray.run(from_dict(plain))
    assert run.edge_store().table()["curve"].null_count == run.edge_store().table().num_rows
    assert "lag_s" not in run.network().table.column_names
    with pytest.raises(StoreError, match="without lags"):
        run.matrix("lag_s")
    with pytest.raises(ConfigError, match="its lags section differs"):
        mmg_ray.run(from_dict(tree(tmp_path, "x", lags={"max_s": 0.01}, plan={"reuse": whole.url})))


def test_a_plan_forecasts_lags(tmp_path: Path) -> None:
    summary = driver.plan_run(from_dict(tree(tmp_path)))
    assert (summary.denoiser, summary.n_pairs) == ("lags", 28)
    assert summary.task_s > 0
    assert isinstance(PairEstimates.from_rows([]).curve, np.ndarray)
