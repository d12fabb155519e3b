"""`mmg_ray.neural.run` of objects in memory: the samples are those of the same recording's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from neural_settings import SECONDS, settings, trains

from mmg_ray import neural
from mmg_ray.errors import ConfigError, DataError, FingerprintError
from mmg_ray.neural.job import inputs
from mmg_ray.neural.objects import in_memory
from mmg_ray.neural.samples import Samples

QUICK = ["estimator.denoiser=screen", "execute.executor=serial", "network.report=false"]
T = 400


def made(data: Any, *overrides: str, **beside: Any) -> Samples:
    """What `neural.run` would run."""
    return inputs(*in_memory(data, "memory://none", overrides, **beside))


def same(left: Samples, right: Samples) -> None:
    assert left.table.names == right.table.names
    np.testing.assert_array_equal(left.segments, right.segments)
    assert left.areas == right.areas
    assert left.stimuli == right.stimuli
    assert left.width_s == right.width_s


def series() -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).standard_normal((T, 3)), axis=0)


@pytest.fixture
def nap() -> Any:
    return pytest.importorskip("pynapple")


def test_groups_of_pynapple(tmp_path: Path, nap: Any) -> None:
    areas = ["V1", "V1", "CA1", "CA1"]
    group = nap.TsGroup(
        {k: nap.Ts(t) for k, t in enumerate(trains().values())},
        time_support=nap.IntervalSet([0, 40], [25, SECONDS]),
        metadata={"location": areas, "depth": [1, 2, 3, 4]},
    )
    path = tmp_path / "group.npz"
    group.save(str(path))
    same(made(group), inputs(settings(path)))
    found = made(group, "between.areas=location")
    assert list(found.areas.values()) == areas
    assert any("no use of columns depth" in line for line in found.notes)
    assert any("2 epochs" in line for line in found.notes)
    same(made(group, areas=dict(enumerate(areas))), made(group, "between.areas=location"))


@pytest.mark.parametrize("columns", [None, ["x", "y", "z"]])
def test_series_of_pynapple(tmp_path: Path, nap: Any, columns: list[str] | None) -> None:
    support = nap.IntervalSet([0, 25], [19.95, 39.95])
    times = np.arange(T) * 0.1
    frame = nap.TsdFrame(times, series(), columns=columns, time_support=support)
    path = tmp_path / "series.npz"
    frame.save(str(path))
    of_file, found = inputs(settings(path)), made(frame)
    np.testing.assert_array_equal(found.segments, of_file.segments)
    assert found.table.names == (columns or of_file.table.names)  # in a file they are a pickle
    tone = nap.Tsd(times, series()[:, 0] ** 2)
    assert made(frame, stimuli=tone).stimuli == ["stimulus"]
    table = pd.DataFrame({"tone": tone.values}, index=times)
    np.testing.assert_array_equal(
        made(frame, stimuli=table).segments, made(frame, stimuli=tone).segments
    )
    same(made(frame, stimuli=table.reset_index(names="time")), made(frame, stimuli=table))
    with pytest.raises(DataError, match="stimuli have no times"):
        made(frame, stimuli=series()[:, 0])
    with pytest.raises(ConfigError, match="says which pairs are estimated"):
        made(frame, "pairs.mode=bipartite", "pairs.sources=[x]", stimuli=tone)


def test_objects_of_neo_and_plain_arrays(tmp_path: Path) -> None:
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    spikes = trains()
    np.savez(tmp_path / "s.npz", **spikes)
    of_file = inputs(settings(tmp_path / "s.npz"))
    same(made(spikes), of_file)
    same(
        made({name: 1000 * t for name, t in spikes.items()}, "recording.time_unit_s=0.001"), of_file
    )
    objects = [
        neo.SpikeTrain(1000 * t * pq.ms, t_stop=SECONDS * pq.s, name=name)
        for name, t in spikes.items()
    ]
    same(made(dict(zip(spikes, objects, strict=True))), of_file)
    segment, block = neo.Segment(), neo.Block()
    segment.spiketrains.extend(objects)
    block.segments.append(segment)
    for data in (objects, segment, block, segment.spiketrains):
        np.testing.assert_allclose(made(data).segments, of_file.segments)
    signal = neo.AnalogSignal(series(), units="mV", sampling_rate=10 * pq.Hz, name="lfp")
    np.testing.assert_array_equal(made(signal).segments[0], series())
    assert made(signal).table.names == ["lfp0", "lfp1", "lfp2"]
    block.segments.append(neo.Segment())
    with pytest.raises(DataError, match="2 segments"):
        made(block)


def test_objects_of_mne(tmp_path: Path) -> None:
    mne = pytest.importorskip("mne")
    info = mne.create_info(["Fz", "Cz", "Oz"], 100.0, "eeg")
    raw = mne.io.RawArray(1e-6 * series().T, info, verbose="error")
    raw.set_annotations(mne.Annotations([0.5, 1.5, 2.5], 0.0, "tone"))
    raw.save(tmp_path / "r_raw.fif", fmt="double", verbose="error")
    window = {"align": "onset", "window_s": [0.0, 0.5]}
    aligned = ["bins.align=onset", "bins.window_s=[0.0, 0.5]"]
    same(made(raw), inputs(settings(tmp_path / "r_raw.fif")))
    same(made(raw, *aligned), inputs(settings(tmp_path / "r_raw.fif", bins=window)))
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error")
    epochs.save(tmp_path / "e-epo.fif", fmt="double", verbose="error")
    same(made(epochs, *aligned), inputs(settings(tmp_path / "e-epo.fif", bins=window)))


def test_tables_by_their_index(tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    times = np.arange(T) / 20
    frame = pd.DataFrame(series(), columns=list("abc"))
    frame.to_csv(tmp_path / "rate.csv", index=False)
    of_rate = inputs(settings(tmp_path / "rate.csv", recording={"rate_hz": 20}))
    same(made(frame, "recording.rate_hz=20"), of_rate)
    frame.assign(t=times).to_csv(tmp_path / "times.csv", index=False)
    of_times = inputs(settings(tmp_path / "times.csv", recording={"time_column": "t"}))
    same(made(frame.assign(t=times), "recording.time_column=t"), of_times)
    frame.index = times
    same(made(frame), of_times)
    same(made(frame.rename_axis("time").stack().to_xarray()), of_times)
    frame.index = pd.Timestamp("2026-01-01") + pd.to_timedelta(times, unit="s")
    np.testing.assert_allclose(made(frame).segments, of_times.segments)
    stimulus = frame[["a"]] + 1
    with pytest.raises(DataError, match="stimuli have no times"):
        made(frame.rename(columns=str.upper), stimuli=stimulus)
    stimulus.index -= stimulus.index[0]
    found = made(frame.rename(columns=str.upper), stimuli=stimulus)
    np.testing.assert_allclose(found.table.column(0), series()[:, 0] + 1)
    with pytest.raises(ConfigError, match="rate_hz and the index"):
        made(frame, "recording.rate_hz=20")
    frame.index = np.arange(T) * 50
    with pytest.raises(DataError, match="may be times or numbers of rows"):
        made(frame)


def test_trials_beside_a_recording(tmp_path: Path, nap: Any) -> None:
    table = pd.DataFrame(
        {
            "onset_time": np.arange(1.0, SECONDS - 2, 2.0),
            "side": ["left", "right"] * 14 + ["left"],
            "contrast": np.arange(29),
        }
    )
    table.to_csv(tmp_path / "trials.csv", index=False)
    np.savez(tmp_path / "s.npz", **trains())
    bins = {"align": "onset_time", "window_s": [0, 1], "trials": str(tmp_path / "trials.csv")}
    aligned = ["bins.align=onset_time", "bins.window_s=[0, 1]"]
    of_file = inputs(settings(tmp_path / "s.npz", bins=bins))
    for given in (table, dict(table)):
        found = made(trains(), *aligned, trials=given)
        same(found, of_file)
        for name, column in of_file.table.metadata.items():
            np.testing.assert_array_equal(found.table.metadata[name], column)
    epochs = nap.IntervalSet(table.onset_time.to_numpy(), table.onset_time.to_numpy() + 1)
    same(made(trains(), "bins.align=start", "bins.window_s=[0, 1]", trials=epochs), of_file)
    milliseconds = {name: 1000 * t for name, t in trains().items()}
    scaled = [*aligned, "recording.time_unit_s=0.001"]  # of the recording, not of what is beside it
    same(made(milliseconds, *scaled, trials=table), of_file)
    onsets = nap.Ts(table.onset_time.to_numpy())
    same(made(trains(), "bins.align=t", "bins.window_s=[0, 1]", trials=onsets), of_file)


@pytest.mark.parametrize(
    ("data", "overrides", "beside", "said"),
    [
        ({"a": series()[:, :1]}, [], {}, "times x channels"),
        ({3: [1.0, 2.0], "unit3": [1.0]}, [], {}, "3 and 'unit3' are one"),
        (trains(), ["recording.layout=npz"], {}, "recording.layout is of files"),
        (trains(), ["between.stimulus_path=s.csv"], {}, "between.stimulus_path is of files"),
        (trains(), ["recording.rate_hz=10"], {}, "do not use it"),
        (trains(), ["data.path=x.npz"], {}, "data.path cannot be set"),
        (trains(), [], {"trials": {"onset": [1.0, 2.0]}}, "bins.align"),
        (trains(), ["bins.align=onset"], {"trials": [1.0, 2.0]}, "trials is a list"),
        (trains(), ["between.areas=x"], {}, "no column that this recording holds"),
        (trains(), ["bins.align=t"], {"trials": {"t": [1.0, 2.0], "u": [1.0]}}, "every trial"),
        (
            trains(),
            ["bins.align=t", "bins.trials=t.csv"],
            {"trials": {"t": [1.0]}},
            "leave out one",
        ),
        (trains(), [], {"areas": {"a": "V1", "zz": "V2"}}, "'unitzz' is no unit|'zz' is no unit"),
    ],
)
def test_what_is_refused(data: Any, overrides: list[str], beside: Any, said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        made(data, *overrides, **beside)


def test_a_run_of_spikes_goes_on_and_other_spikes_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = str(tmp_path / "run")
    overrides = [*QUICK, "bins.width_s=0.1", "lags.max_s=0.3"]
    areas = {"a": "V1", "b": "V1", "c": "CA1", "d": "CA1"}
    with caplog.at_level("INFO", logger="mmg_ray.neural"):
        run = neural.run(trains(), overrides, url=url)
    assert "layout:  spikes, of a dict in memory" in caplog.text
    assert run.network(["fdr=0.05"]).table.num_rows > 0
    assert (tmp_path / "run/neural.json").exists()
    assert neural.run(trains(), overrides, url=url).edges().equals(run.edges())
    other = trains() | {"a": np.sort(trains()["a"] + 0.05)}
    with pytest.raises(FingerprintError):
        neural.run(other, overrides, url=url)
    by_area = neural.run(
        trains(),
        [*QUICK[1:], "estimator.denoiser=gaussian"],
        url=str(tmp_path / "areas"),
        areas=areas,
    )
    assert by_area.edge_store().table().num_rows == 1
    with pytest.raises(ConfigError, match=r"areas and between\.areas"):
        neural.run(trains(), ["between.areas=x"], url=url, areas=areas)
