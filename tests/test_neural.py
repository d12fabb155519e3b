"""mmg_ray/neural on small written files: bins against plain NumPy, lags, every fault named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from neural_settings import SECONDS, refusal, settings, trains

from mmg_ray.cli import main
from mmg_ray.config import documented_yaml, load_as
from mmg_ray.neural.bins import counts, means
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.job import go, inputs
from mmg_ray.neural.recordings import Series
from mmg_ray.neural.samples import PHASE, RATE


def written(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "spikes.npz"
    np.savez(path, **arrays)
    return path


def series_csv(folder: Path, values: np.ndarray, times: np.ndarray | None = None) -> Path:
    table = pd.DataFrame(values, columns=[f"c{k}" for k in range(values.shape[1])])
    if times is not None:
        table["seconds"] = times
    path = folder / "lfp.csv"
    table.to_csv(path, index=False)
    return path


def smooth(n: int, channels: int, seed: int = 0) -> np.ndarray:
    """Series whose neighbours in time correlate by .9."""
    e = np.random.default_rng(seed).standard_normal((n, channels))
    for t in range(1, n):
        e[t] += 0.9 * e[t - 1]
    return e


# --- the whole way -------------------------------------------------------------------------------


def test_spikes_to_edges_lags_and_directions(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    cfg = settings(
        path,
        lags={"max_s": 0.3, "transfer": [1, 2], "own": [1]},
        network={"files": {"n.graphml": "graphml"}, "steps": ["fdr=0.05"], "report": True},
    )
    made, run, said = go(cfg)
    assert made.table.names == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(
        made.table.column(0), np.histogram(trains()["a"], made_edges(made))[0]
    )
    found = run.edges().set_index(["source", "target"])
    row = found.loc[("a", "b")]
    assert row.lag_s == pytest.approx(0.1)
    assert row.p_value < 1e-4
    assert row.mi_nats > 0.01
    assert row.transfer_p_ij < 1e-4 < 0.01 < row.transfer_p_ji
    assert (found.drop(("a", "b")).p_value > 0.005).all()
    (edge,) = run.network(["fdr=0.05"]).table.to_pylist()
    assert (edge["source"], edge["target"]) == ("a", "b")
    (step,) = networkx.read_graphml(f"{run.url}/network/n.graphml").edges(data=True)
    assert (step[:2], step[2]["lag_s"]) == (("a", "b"), pytest.approx(0.1))
    assert run.manifest.config["estimator"]["nulls"]["kind"] == "shift"
    assert any(line.startswith("lags:    1 of 6 pairs") for line in said)
    page = Path(f"{run.url}/report.html").read_text()
    assert "<h2>Lags</h2>" in page
    assert "MI of a and b by lag" in page
    assert json.loads((tmp_path / "run/neural.json").read_text())["notes"] == made.notes


def made_edges(made: Any) -> np.ndarray:
    middle = made.table.metadata["time_s"]
    return np.append(middle - made.width_s / 2, middle[-1] + made.width_s / 2)


def test_nwb_units_trials_areas_and_series(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    nwb.add_unit_column("area", "where")
    spikes = trains()
    for k, (name, times) in enumerate(spikes.items()):
        nwb.add_unit(
            spike_times=times,
            area="V1" if k < 2 else "CA1",
            obs_intervals=[[0.0, 50.0 + 10 * (k < 3)]],
        )
        assert name
    nwb.add_trial_column("contrast", "of the grating")
    rng = np.random.default_rng(1)
    for k in range(58):
        nwb.add_trial(
            start_time=float(k), stop_time=k + 0.9, contrast=float(rng.choice([0, 0.5, 1]))
        )
    lfp = smooth(6000, 2)
    nwb.add_acquisition(
        pynwb.TimeSeries(name="lfp", data=lfp, unit="V", rate=100.0, starting_time=0.0)
    )
    path = tmp_path / "session.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    made = inputs(settings(path, recording={"series": ["lfp"]}, bins={"width_s": 0.1}))
    assert made.table.names == ["unit0", "unit1", "unit2", "unit3", "lfp0", "lfp1"]
    # bins begin half a sample of the series before it, and so does the first of its samples in each
    edges = -0.005 + 0.1 * np.arange(601)
    np.testing.assert_allclose(made.table.column(4), lfp[:, 0].reshape(600, 10).mean(1))
    np.testing.assert_array_equal(made.table.column(0)[1:], np.histogram(spikes["a"], edges)[0][1:])
    # unit3 was looked at for 50 s only; the first bin begins before anything was
    assert np.isnan(made.table.column(3)).sum() == 1 + 100
    # trials, their columns, areas
    cfg = settings(
        path,
        bins={"align": "start_time", "width_s": 0.1, "window_s": [0.0, 0.5]},
        between={"stimulus": ["contrast"]},
        data={"conditions": [PHASE]},
    )
    made, run, _ = go(cfg)
    assert (made.n_segments, made.table.n_samples) == (58, 290)
    first = np.array([((spikes["a"] >= k) & (spikes["a"] < k + 0.1)).sum() for k in range(58)])
    np.testing.assert_array_equal(made.segments[:, 0, 1], first)
    assert made.stimuli == ["contrast"]
    nulls = run.manifest.resolved().estimator.nulls
    assert (nulls.kind, nulls.block_samples) == ("block", 5)
    assert set(run.edge_store().table().column("source").to_pylist()) == {"contrast"}
    made = inputs(settings(path, between={"areas": "area"}))
    assert made.areas == {"unit0": "V1", "unit1": "V1", "unit2": "CA1", "unit3": "CA1"}
    assert "did you mean 'area'" in refusal(settings(path, between={"areas": "areas"}))
    assert "no time series 'lfq'; did you mean 'lfp'" in refusal(
        settings(path, recording={"series": ["lfq"]})
    )


def test_area_by_area_runs_on_groups(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    areas = tmp_path / "areas.csv"
    areas.write_text("unit,area\na,V1\nb,V1\nc,CA1\n")
    cfg = settings(
        path,
        between={"areas": str(areas)},
        estimator={"denoiser": "gaussian", "nulls": {"max_permutations": 99}},
        bins={"width_s": 0.2},
    )
    made, run, _ = go(cfg)
    assert run.names == ["CA1", "V1"] or run.names == ["V1", "CA1"]
    assert ("d", "has no area") in made.left_out
    assert run.edge_store().table().num_rows == 1


def test_the_command_teaches_and_refuses(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["neural", "--show-config"])
    assert shown.output == documented_yaml(NeuralConfig)
    load_as(NeuralConfig, shown.output)
    config = tmp_path / "cells.yaml"
    config.write_text(f"data: {{path: {written(tmp_path, **trains())}}}\n")
    looked = CliRunner().invoke(
        main, ["neural", str(config), "--dry-run", "--set", "bins.width_s=0.1"]
    )
    assert looked.exit_code == 0, looked.output
    assert "samples of 0.1 s x 4 variables" in looked.output
    assert not (tmp_path / "runs").exists()
    old = CliRunner().invoke(main, ["neural", str(config), "--set", "recording.turned=ignore"])
    assert "'recording.turned': it is now called 'recording.transposed'" in old.output
    wrong = CliRunner().invoke(main, ["neural", str(config), "--set", "bins.width=1"])
    assert wrong.exit_code == 2
    assert "did you mean 'width_s'" in wrong.output
    assert CliRunner().invoke(main, ["neural", "nothing.yaml"]).exit_code == 2


def test_examples_are_read_from_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nitime")
    monkeypatch.chdir(tmp_path)
    for example, line in (
        ("fmri", "run:     250 samples of 1.89 s x 28 variables"),
        ("grasshopper", "samples of 0.002 s x 2 variables"),
    ):
        looked = CliRunner().invoke(main, ["neural", "--dry-run", "--example", example])
        assert looked.exit_code == 0, looked.output
        assert line in looked.output


# --- files with faults ---------------------------------------------------------------------------


def test_spike_times_with_faults_are_named(tmp_path: Path) -> None:
    good = trains()
    back = good["c"].copy()
    back[[10, 300]] = back[[300, 10]]
    path = written(tmp_path, **good | {"c": back})
    text = refusal(settings(path))
    assert "unit 'c': spike times go back" in text
    assert "recording.unsorted: sort" in text
    made = inputs(settings(path, recording={"unsorted": "sort"}))
    np.testing.assert_array_equal(
        made.segments, inputs(settings(written(tmp_path, **good))).segments
    )
    assert any("sorted:  spike times of c" in note for note in made.notes)
    missing = good["c"].copy()
    missing[5] = np.nan
    assert "unit 'c': 1 of 600 spike times are missing" in refusal(
        settings(written(tmp_path, **good | {"c": missing}))
    )
    samples = {name: np.floor(t * 30000) for name, t in good.items()}
    assert "set recording.time_unit_s" in refusal(settings(written(tmp_path, **samples))).replace(
        "S", "s"
    )
    made = inputs(settings(written(tmp_path, **samples), recording={"time_unit_s": 1 / 30000}))
    assert made.table.n_samples == pytest.approx(1200, abs=2)


def test_units_without_spikes_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path, **trains(), silent=np.empty(0), rare=np.array([3.0, 9.0]))
    made, _, _ = go(settings(path))
    assert made.table.names == ["a", "b", "c", "d"]
    left = pd.read_csv(tmp_path / "run/input/left_out.tsv", sep="\t").set_index("name").reason
    assert "no spikes" in left["silent"]
    assert "2 spikes in the samples" in left["rare"]
    assert any("2 left out, of fewer than 50 spikes" in note for note in made.notes)
    assert "0 variables are left" in refusal(settings(path, recording={"min_spikes": 5000}))


@pytest.mark.parametrize(
    "names", [("spike_times", "spike_clusters"), ("t", "index"), ("times", "units")]
)
def test_layouts_of_sorters_and_pynapple(tmp_path: Path, names: tuple[str, str]) -> None:
    good = trains()
    times = np.concatenate(list(good.values()))
    owner = np.repeat(np.arange(4), [len(t) for t in good.values()])
    order = np.argsort(times)
    path = written(
        tmp_path, **dict(zip(names, (times[order], owner[order]), strict=True)), keys=np.arange(5)
    )
    made = inputs(settings(path))
    assert made.table.names == ["unit0", "unit1", "unit2", "unit3"]
    same = inputs(settings(written(tmp_path, **good)))
    np.testing.assert_array_equal(made.segments, same.segments)
    assert [name for name, _ in made.left_out] == ["unit4"]


def test_files_that_neo_reads(tmp_path: Path) -> None:
    neo = pytest.importorskip("neo")
    import quantities as pq

    block, segment = neo.Block(), neo.Segment()
    for name, times in trains().items():
        segment.spiketrains.append(neo.SpikeTrain(times * pq.s, t_stop=SECONDS * pq.s, name=name))
    signal = smooth(600, 2)
    segment.analogsignals.append(
        neo.AnalogSignal(signal * pq.mV, sampling_rate=10 * pq.Hz, name="lfp")
    )
    block.segments.append(segment)
    path = tmp_path / "session.mat"
    neo.io.NeoMatlabIO(str(path)).write_block(block)
    made = inputs(settings(path, recording={"layout": "neo"}, bins={"width_s": 0.1}))
    assert made.table.names == ["a", "b", "c", "d", "lfp0", "lfp1"]
    np.testing.assert_allclose(made.table.column(5), signal[:, 1])
    block.segments.append(neo.Segment())
    neo.io.NeoMatlabIO(str(path)).write_block(block)
    assert "holds 2 segments" in refusal(settings(path, recording={"layout": "neo"}))
    (tmp_path / "session.pkl").write_bytes(b"x")
    pickled = settings(tmp_path / "session.pkl", recording={"layout": "neo"})
    assert "nothing is ever unpickled" in refusal(pickled)


def test_gaps_and_missing_blocks_cost_only_what_they_hold(tmp_path: Path) -> None:
    values, times = smooth(600, 3), np.arange(600) * 0.01
    values[100:150, 1] = np.nan
    keep = (np.arange(600) < 300) | (np.arange(600) >= 340)
    path = series_csv(tmp_path, values[keep], times[keep])
    cfg = settings(path, recording={"time_column": "seconds"})
    made, run, _ = go(cfg)
    assert any(
        "gaps:    1 in c0, c1, c2, 0.4 s in all, the first from 2.99 to 3.4" in n
        for n in made.notes
    )
    assert any("missing: 50 values, in c1, from 1 to 1.49 s" in n for n in made.notes)
    assert made.table.n_samples == 600
    expected = np.where(keep[:, None], values, np.nan)
    np.testing.assert_allclose(made.table.values, expected)
    edges = run.edges().set_index(["source", "target"])
    assert edges.loc[("c0", "c2"), "n_samples"] == 560
    assert edges.loc[("c0", "c1"), "n_samples"] == 510
    assert Series(np.round(np.arange(900) / 30, 3), values, []).step_s == pytest.approx(
        1 / 30, rel=1e-4
    )
    times[50] = times[48]
    path = series_csv(tmp_path, values, times)
    assert "time does not go on from row 49" in refusal(
        settings(path, recording={"time_column": "seconds"})
    )


def test_channels_as_times_are_noticed(tmp_path: Path) -> None:
    path = series_csv(tmp_path, smooth(400, 20).T)
    text = refusal(settings(path, estimator={"min_samples": 8}))
    assert "20 times x 400 channels look the wrong way round" in text
    assert "Set data.transpose" in text
    ignored = {"recording": {"transposed": "ignore"}, "estimator": {"min_samples": 8}}
    assert inputs(settings(path, **ignored)).table.n_variables == 400
    # many channels of few times are what they are
    series_csv(tmp_path, smooth(50, 200))
    assert inputs(settings(path)).table.n_variables == 200


def test_settings_that_do_not_fit_say_why(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    assert "'start' is no column of the trials" in refusal(settings(path, bins={"align": "start"}))
    assert "of 4 units" in refusal(settings(path, data={"conditions": [RATE]}))
    assert "leave out one" in refusal(settings(path, between={"areas": "a.csv", "stimulus": ["x"]}))
    assert "set lags.max_s" in refusal(settings(path, lags={"transfer": [1]}))
    assert "ends before it begins" in refusal(
        settings(path, bins={"window_s": [1, 0], "align": "start"})
    )
    assert "window_s does nothing without bins.align" in refusal(
        settings(path, bins={"window_s": [0, 2]})
    )
    assert "fewer than estimator.min_samples" in refusal(settings(path, bins={"width_s": 10}))
    assert "are 0 samples of 0.05 s" in refusal(settings(path, lags={"max_s": 0.001}))
    assert "it takes 1 to 599" in refusal(settings(path, lags={"max_s": 40}))
    assert "lags.sample_s is of no use" in refusal(settings(path, lags={"max_s": 1, "sample_s": 2}))
    np.savez(path, matrix=np.zeros((5, 5)), other=np.zeros(3))
    assert "holds 2 arrays" in refusal(settings(path))
    assert "is float64 of shape (5, 5)" in refusal(settings(path, recording={"layout": "spikes"}))


def test_trials_beyond_the_recording_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    table = tmp_path / "trials.csv"
    table.write_text(
        "onset,kind\n" + "".join(f"{t},{'go' if t % 2 else 'stop'}\n" for t in range(70))
    )
    cfg = settings(
        path,
        recording={"stop_s": SECONDS},
        bins={"trials": str(table), "align": "onset", "window_s": [-0.2, 0.3], "width_s": 0.1},
        data={"conditions": ["kind", PHASE]},
    )
    made, run, _ = go(cfg)
    assert made.n_segments == 60
    assert ("trial 60", "reaches beyond the recording") in made.left_out
    assert made.table.metadata[PHASE][:5] == pytest.approx([-0.15, -0.05, 0.05, 0.15, 0.25])
    assert run.edge_store().table().column("status").to_pylist() == ["ok"] * 6
    assert "did you mean 'onset'" in refusal(
        settings(path, bins={"trials": str(table), "align": "one"})
    )


# --- samples and lags ----------------------------------------------------------------------------


def test_counts_and_means_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    times, edges = np.sort(rng.uniform(0, 10, 300)), np.linspace(0, 10, 41)
    np.testing.assert_array_equal(counts(times, edges[None])[0], np.histogram(times, edges)[0])
    values = rng.standard_normal((300, 2)) + 1e6
    values[20:60, 1] = np.nan
    got = means(Series(times, values, ["a", "b"]), edges[None])[0]
    place = np.searchsorted(edges, times, side="right") - 1
    for b in range(40):
        inside = values[place == b]
        for c in range(2):
            present = inside[np.isfinite(inside[:, c]), c]
            expected = present.mean() if present.size else np.nan
            assert got[b, c] == pytest.approx(expected, nan_ok=True, rel=1e-12)


def test_means_keep_the_ties_of_counts() -> None:
    rng = np.random.default_rng(1)
    values = rng.poisson(0.3, (600, 3)).astype(float)
    values[7, 1] = np.nan
    times = (np.arange(600) + 0.5) * 0.01
    own = means(Series(times, values, ["a", "b", "c"]), np.arange(601)[None] * 0.01)
    np.testing.assert_array_equal(own[0], values)
    halves = means(Series(times, values, ["a", "b", "c"]), np.arange(151).reshape(1, -1) * 0.04)
    assert set(np.unique(halves[0, :, 0] * 4)) <= set(range(9))
    # bins of trials in any order, that overlap, that are empty
    starts = np.array([3.0, 1.0, 1.01, 6.5])[:, None]
    found = means(Series(times, values, ["a", "b", "c"]), starts + np.arange(3) * 0.02)
    np.testing.assert_array_equal(found[1, 0], values[100:102].mean(axis=0))
    np.testing.assert_array_equal(found[2, 1], values[103:105].mean(axis=0))
    assert np.isnan(found[3]).all()


def test_a_job_looks_at_lags_given_its_conditions(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    cfg = settings(path, lags={"max_s": 0.3}, data={"conditions": ["d"]})
    _, run, _ = go(cfg)
    found = run.edges().set_index(["source", "target"])
    ok = found[found.status == "ok"]
    assert sorted(ok.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert set(found.status) == {"ok", "determined"}
    assert ok.loc[("a", "b")].lag_s == pytest.approx(0.1)
    assert ok.loc[("a", "b")].mi_nats > 0.01


def test_lags_of_areas_and_of_stimuli(tmp_path: Path) -> None:
    path = written(tmp_path, **trains())
    areas = tmp_path / "areas.csv"
    areas.write_text("unit,area\na,V1\nc,V1\nb,CA1\n")
    cfg = settings(
        path,
        between={"areas": str(areas)},
        estimator={"denoiser": "gaussian"},
        lags={"max_s": 0.3},
    )
    (edge,) = go(cfg)[1].network(["fdr=0.05"]).table.to_pylist()
    assert (edge["source"], edge["target"]) == ("V1", "CA1")
    assert edge["lag_s"] == pytest.approx(0.1)
    rate = tmp_path / "rate.csv"
    seconds = np.arange(600) * 0.1 + 0.05
    counts_a = np.histogram(trains()["a"], np.arange(601) * 0.1)[0]
    pd.DataFrame({"time": seconds, "rate": counts_a}).to_csv(rate, index=False)
    cfg = settings(
        path,
        between={"stimulus_path": str(rate)},
        bins={"width_s": 0.1},
        lags={"max_s": 0.5},
        output={"url": str(tmp_path / "of-stimulus")},
    )
    found = go(cfg)[1].edges().set_index("target")
    assert set(found.source) == {"rate"}
    assert found.loc["a"].lag_s == 0
    assert found.loc["b"].lag_s == pytest.approx(0.1)
    assert found.p_value[["a", "b"]].max() < 1e-4 < found.p_value[["c", "d"]].min()


def test_the_same_recording_in_other_files_gives_the_same_numbers(tmp_path: Path) -> None:
    spikes = trains()
    runs = {}

    def lags_of(path: Path, **sections: Any) -> list[dict[str, Any]]:
        cfg = settings(
            path,
            recording={"start_s": 0.0, "stop_s": SECONDS} | sections.get("recording", {}),
            bins={"width_s": 0.02},
            lags={"max_s": 0.2, "transfer": [5], "own": [1]},
            output={"url": str(tmp_path / f"run-{len(runs)}")},
        )
        names = ["lag_s", "p_value", "mi_nats", "transfer_ij", "transfer_p_ji", "curve", "band"]
        return go(cfg)[1].edge_store().table().select(names).to_pylist()

    runs["npz"] = lags_of(written(tmp_path, **spikes))
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    for times in spikes.values():
        nwb.add_unit(spike_times=times)
    with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
        io.write(nwb)
    runs["nwb"] = lags_of(tmp_path / "s.nwb")
    neo, nap = pytest.importorskip("neo"), pytest.importorskip("pynapple")
    import quantities as pq

    block, segment = neo.Block(), neo.Segment()
    for name, times in spikes.items():
        segment.spiketrains.append(neo.SpikeTrain(times * pq.s, t_stop=SECONDS * pq.s, name=name))
    block.segments.append(segment)
    neo.io.NeoMatlabIO(str(tmp_path / "s.mat")).write_block(block)
    runs["neo"] = lags_of(tmp_path / "s.mat", recording={"layout": "neo"})
    group = nap.TsGroup({k: nap.Ts(t) for k, t in enumerate(spikes.values())})
    (tmp_path / "nap").mkdir()
    group.save(str(tmp_path / "nap/group.npz"))
    runs["pynapple"] = lags_of(tmp_path / "nap/group.npz")
    assert all(found == runs["npz"] for found in runs.values()), runs
    assert runs["npz"][0]["lag_s"] == pytest.approx(0.1)
