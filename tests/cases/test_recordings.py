"""Recordings as packages write them: the right value, or a refusal that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from neural_settings import SECONDS, refusal, settings, trains

from mmg_ray.cli import main
from mmg_ray.config import DataConfig
from mmg_ray.errors import ConfigError
from mmg_ray.neural.bins import recorded
from mmg_ray.neural.config import RecordingConfig
from mmg_ray.neural.job import go, inputs
from mmg_ray.neural.readers import READERS
from mmg_ray.neural.readers.paths import matches, short_names

UNITS = ["unit0", "unit1", "unit2", "unit3"]


def notes(made: Any) -> str:
    return "\n".join(made.notes)


# --- NWB -----------------------------------------------------------------------------------------


def nwb(path: Path, fill: Callable[[Any, Any], None]) -> Path:
    """A file that pynwb writes, with the four trains of the tests and what `fill` adds."""
    pynwb = pytest.importorskip("pynwb")
    file = pynwb.NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    fill(file, pynwb)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def add_units(file: Any, times: dict[str, np.ndarray] | None = None) -> None:
    for train in (times or trains()).values():
        file.add_unit(spike_times=train)


def suite2p(file: Any, pynwb: Any) -> None:
    """Three interfaces with a `plane0` each, as suite2p writes them; means 100, 200, 300."""
    device = file.create_device("microscope")
    channel = pynwb.ophys.OpticalChannel(name="c", description="d", emission_lambda=500.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="d", device=device,
        excitation_lambda=600.0, indicator="GCaMP", location="V1",
    )  # fmt: skip
    module = file.create_processing_module("ophys", "d")
    segmentation = pynwb.ophys.ImageSegmentation()
    module.add(segmentation)
    rois = segmentation.create_plane_segmentation(name="rois", description="d", imaging_plane=plane)
    for _ in range(3):
        rois.add_roi(image_mask=np.ones((2, 2)))
    rng = np.random.default_rng(0)
    for k, name in enumerate(("Deconvolved", "Fluorescence", "Neuropil")):
        region = rois.create_roi_table_region(region=[0, 1, 2], description="d")
        values = 100.0 * (k + 1) + rng.standard_normal((300, 3))
        responses = pynwb.ophys.RoiResponseSeries(
            name="plane0", data=values, rois=region, unit="a", rate=10.0
        )
        module.add(pynwb.ophys.Fluorescence(name=name, roi_response_series=responses))


def running(file: Any, pynwb: Any) -> None:
    """`speed` in acquisition and, filtered, in processing/behavior; `lick` in a container."""
    module = file.create_processing_module("behavior", "d")
    raw = np.random.default_rng(1).random(600)

    def series(name: str, data: np.ndarray) -> Any:
        return pynwb.TimeSeries(name=name, data=data, unit="m/s", rate=10.0)

    file.add_acquisition(series("speed", raw))
    module.add(series("speed", raw + 10))
    licks = pynwb.behavior.BehavioralTimeSeries(time_series=[series("lick", raw + 20)], name="BTS")
    module.add(licks)
    file.add_acquisition(
        pynwb.misc.AnnotationSeries(name="log", data=["a", "b"], timestamps=[0.0, 1.0])
    )


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("Fluorescence/plane0", 200),
        ("processing/ophys/Neuropil/plane0", 300),
        ("Deconvolved", 100),
        ("/processing/ophys/Fluorescence", 200),
    ],
)
def test_series_of_one_name_are_told_apart_by_path(tmp_path: Path, name: str, mean: float) -> None:
    path = nwb(tmp_path / "s2p.nwb", suite2p)
    made = inputs(settings(path, recording={"series": [name]}))
    assert made.table.names == ["plane0_0", "plane0_1", "plane0_2"]
    assert np.mean(made.table.values) == pytest.approx(mean, abs=1)


def test_an_ambiguous_name_is_refused_with_every_path(tmp_path: Path) -> None:
    path = nwb(tmp_path / "s2p.nwb", suite2p)
    for option in ("recording", "between"):
        field = {"recording": "series", "between": "stimulus"}[option]
        text = refusal(settings(path, **{option: {field: ["plane0"]}}))
        for interface in ("Deconvolved", "Fluorescence", "Neuropil"):
            assert f"processing/ophys/{interface}/plane0" in text
        assert f"{option}.{field}" in text
    assert "ImageSegmentation" in refusal(
        settings(path, recording={"series": ["ImageSegmentation"]})
    )


def test_two_series_of_one_name_keep_variables_apart(tmp_path: Path) -> None:
    path = nwb(tmp_path / "run.nwb", running)
    assert "2 time series" in refusal(settings(path, recording={"series": ["speed"]}))
    series = ["acquisition/speed", "processing/behavior/speed", "lick"]
    made = inputs(settings(path, recording={"series": series}))
    assert made.table.names == ["acquisition/speed", "behavior/speed", "lick"]
    raw = np.random.default_rng(1).random(600)
    np.testing.assert_allclose(made.table.values, raw[:, None] + [0, 10, 20])
    assert "log holds texts" in refusal(settings(path, recording={"series": ["log"]}))
    # a stimulus of the one path, a variable of the other
    cfg = settings(
        path, recording={"series": ["behavior/speed"]}, between={"stimulus": ["acquisition"]}
    )
    made, run, _ = go(cfg)
    assert made.stimuli == ["acquisition/speed"]
    assert made.table.names == ["acquisition/speed", "behavior/speed"]
    assert run.edge_store().table().num_rows == 1


def test_channels_of_two_series_that_would_share_a_name(tmp_path: Path) -> None:
    def fill(file: Any, pynwb: Any) -> None:
        rng = np.random.default_rng(0)
        for name, shape in (("lfp", (300, 3)), ("lfp1", (300,))):
            file.add_acquisition(
                pynwb.TimeSeries(name=name, data=rng.random(shape), unit="V", rate=10.0)
            )

    path = nwb(tmp_path / "clash.nwb", fill)
    text = refusal(settings(path, recording={"series": ["lfp", "lfp1"]}))
    assert (
        "'lfp1' would be the name of a channel of acquisition/lfp and of one of acquisition/lfp1"
        in text
    )
    assert inputs(settings(path, recording={"series": ["lfp"]})).table.n_variables == 3


def test_names_by_path() -> None:
    paths = ["acquisition/speed", "processing/a/Position/Position", "processing/b/speed", "x/a/y"]
    assert matches(paths, "acquisition/speed") == [["acquisition/speed"]]
    assert matches(paths, "Position") == [["processing/a/Position/Position"]]
    assert matches(paths, "speed") == [["acquisition/speed"], ["processing/b/speed"]]
    assert len(matches(paths, "a")) == 2
    assert matches(paths, "peed") == []
    assert short_names(["a/x/s", "b/x/s", "b/t"]) == {
        "a/x/s": "a/x/s",
        "b/x/s": "b/x/s",
        "b/t": "t",
    }


def ragged(file: Any, _: Any) -> None:
    add_units(file)
    file.add_trial_column("contrast", "of the grating")
    file.add_trial_column("pulses", "of the laser", index=True)
    file.add_trial_column("place", "two numbers")
    file.add_trial_column("kind", "one of a list", enum=True)
    file.add_trial_column("hit", "yes or no")
    for j in range(58):
        file.add_trial(
            start_time=j + 0.01 if j != 7 else np.nan, stop_time=j + 0.9, contrast=float(j % 3),
            pulses=[0.1] * (j % 4), place=[1, 2], kind="ab"[j % 2], hit=bool(j % 2),
            tags=["go"] if j % 2 else ["nogo", "late"],
        )  # fmt: skip


def test_columns_of_several_values_cost_nothing_but_themselves(tmp_path: Path) -> None:
    path = nwb(tmp_path / "tags.nwb", ragged)
    made = inputs(settings(path))
    assert made.table.names == UNITS
    assert "no use of columns pulses" in notes(made)
    for column in ("pulses (several", "place (of shape (58, 2))", "tags (several values a row)"):
        assert column in notes(made)
    cfg = settings(
        path,
        bins={"align": "start_time", "width_s": 0.1, "window_s": [0, 0.5]},
        data={"conditions": ["kind", "contrast", "hit"]},
    )
    made, run, _ = go(cfg)
    assert made.n_segments == 57  # one has no start
    assert ("trial 7", "has no time") in made.left_out
    expected = [f"{'ab'[j % 2]}" for j in range(58) if j != 7]
    assert made.table.metadata["kind"][::5].tolist() == expected
    assert run.edge_store().table().column("status").to_pylist() == ["ok"] * 6
    assert "is no column" in refusal(settings(path, bins={"align": "tags"}))
    assert "no times" in refusal(settings(path, bins={"align": "kind"}))


def test_a_table_of_no_trials_and_intervals_of_other_names(tmp_path: Path) -> None:
    def empty(file: Any, pynwb: Any) -> None:
        add_units(file)
        file.trials = pynwb.epoch.TimeIntervals(name="trials", description="none")

    path = nwb(tmp_path / "empty.nwb", empty)
    assert inputs(settings(path)).table.names == UNITS
    assert "0 trials are left of 0" in refusal(settings(path, bins={"align": "start_time"}))

    def gratings(file: Any, pynwb: Any) -> None:
        add_units(file)
        for name, n in (("gratings", 50), ("spontaneous", 2)):
            table = pynwb.epoch.TimeIntervals(name=name, description="d")
            for j in range(n):
                table.add_interval(start_time=float(j), stop_time=j + 0.5)
            file.add_time_intervals(table)

    path = nwb(tmp_path / "gratings.nwb", gratings)
    text = refusal(settings(path, bins={"align": "start_time"}))
    assert "intervals/gratings, intervals/spontaneous" in text
    assert "bins.trials" in text
    made = inputs(
        settings(path, bins={"align": "start_time", "trials": "gratings", "window_s": [0, 0.5]})
    )
    assert made.n_segments == 50
    assert "no use of intervals/spontaneous" in notes(made)


def test_units_of_every_usual_kind(tmp_path: Path) -> None:
    def electrodes(file: Any, _: Any) -> None:
        device = file.create_device("probe")
        group = file.create_electrode_group("shank0", "d", location="cortex", device=device)
        for k in range(4):
            file.add_electrode(group=group, location="V1" if k < 2 else "CA1")
        for k, times in enumerate(trains().values()):
            places = [k, 3] if k == 0 else [k]
            file.add_unit(
                spike_times=times, electrodes=places, electrode_group=group,
                obs_intervals=[[0.0, SECONDS]] if k else np.empty((0, 2)), waveform_mean=np.zeros(4),
            )  # fmt: skip

    path = nwb(tmp_path / "probe.nwb", electrodes)
    made = inputs(settings(path, between={"areas": "location"}))
    assert made.areas == dict(zip(UNITS, ["V1", "V1", "CA1", "CA1"], strict=True))
    assert "1 units have several values of location" in notes(made)
    assert "1 without obs_intervals" in notes(made)
    assert "no use of columns" in notes(made)
    assert "waveform_mean" in notes(made)
    assert "1 areas (shank0)" in refusal(settings(path, between={"areas": "electrode_group"}))
    table = tmp_path / "areas.csv"
    table.write_text("unit,area\n0,A\n1,B\n")
    assert inputs(settings(path, between={"areas": str(table)})).areas == {
        "unit0": "A",
        "unit1": "B",
    }

    def silent(file: Any, pynwb: Any) -> None:
        file.add_unit_column("quality", "d")
        file.add_unit(quality="good")
        running(file, pynwb)

    path = nwb(tmp_path / "silent.nwb", silent)
    assert "units has no column spike_times" in refusal(settings(path))
    made = inputs(settings(path, recording={"series": ["lick", "acquisition/speed"]}))
    assert made.table.names == ["lick", "speed"]

    def sorted_twice(file: Any, pynwb: Any) -> None:
        for k, module in enumerate(("kilosort", "spykingcircus")):
            units = pynwb.misc.Units(name="units", description="d")
            for times in list(trains().values())[: 2 + k]:
                units.add_unit(spike_times=times)
            file.create_processing_module(module, "d").add(units)

    path = nwb(tmp_path / "twice.nwb", sorted_twice)
    text = refusal(settings(path))
    assert "recording.units" in text
    assert "processing/kilosort/units" in text
    made = inputs(settings(path, recording={"units": "spykingcircus"}))
    assert made.table.names == UNITS[:3]
    assert "no use of processing/kilosort/units" in notes(made)


def test_areas_of_channels_are_those_of_their_electrodes(tmp_path: Path) -> None:
    def fill(file: Any, pynwb: Any) -> None:
        device = file.create_device("probe")
        group = file.create_electrode_group("shank0", "d", location="cortex", device=device)
        for k in range(4):
            file.add_electrode(group=group, location="V1" if k < 2 else "CA1")
        region = file.create_electrode_table_region([3, 0, 1], "three of four")
        data = np.random.default_rng(0).random((300, 3))
        series = pynwb.ecephys.ElectricalSeries(name="lfp", data=data, electrodes=region, rate=10.0)
        file.create_processing_module("ecephys", "d").add(
            pynwb.ecephys.LFP(electrical_series=series)
        )

    path = nwb(tmp_path / "lfp.nwb", fill)
    made = inputs(settings(path, recording={"series": ["LFP"]}, between={"areas": "location"}))
    assert made.areas == {"lfp0": "CA1", "lfp1": "V1", "lfp2": "V1"}


def test_repeated_ids_of_units_lose_none(tmp_path: Path) -> None:
    def fill(file: Any, _: Any) -> None:
        for times in trains().values():
            file.add_unit(spike_times=times, id=5)

    made = inputs(settings(nwb(tmp_path / "ids.nwb", fill)))
    assert made.table.names == UNITS
    assert "ids are repeated" in notes(made)


# --- units of time, and the way round ------------------------------------------------------------


def cells(unit_s: float, rates: tuple[float, ...] = (8, 8, 6), seconds: float = SECONDS) -> Any:
    """Poisson trains, the first two alike, in units of `unit_s`."""
    rng = np.random.default_rng(3)
    found = {}
    for k, rate in enumerate(rates):
        times = rng.uniform(0, seconds, rng.poisson(rate * seconds))
        found[f"unit{k}"] = np.sort(times)
    shared = rng.uniform(0, seconds, int(max(150, 0.5 * rates[0] * seconds)))
    for name in ("unit0", "unit1"):
        found[name] = np.sort(
            np.concatenate([found[name], shared + rng.random(len(shared)) * 0.01])
        )
    return {name: times / unit_s for name, times in found.items()}


@pytest.mark.parametrize(
    ("unit_s", "word"),
    [(1e-3, "milliseconds"), (1e-6, "microseconds"), (1e-9, "nanoseconds")],
)
@pytest.mark.parametrize("rate", [2, 8, 40])
def test_times_that_are_no_seconds_are_refused(
    tmp_path: Path, unit_s: float, word: str, rate: float
) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **cells(unit_s, (rate,) * 3))
    text = refusal(settings(path))
    assert "recording.time_unit_s" in text
    assert word in text
    cfg = settings(path, recording={"time_unit_s": unit_s})
    made, run, _ = go(cfg)
    assert made.table.n_samples == pytest.approx(SECONDS / 0.05, abs=3)
    found = run.edges().set_index(["source", "target"]).p_value
    assert found[("unit0", "unit1")] < 1e-3
    # taken at its word: the user says that they are seconds
    said = settings(path, recording={"time_unit_s": 1}, bins={"width_s": 50 * 1e-3 / unit_s})
    assert "doubt:" in notes(inputs(said))


def test_minutes_and_a_few_seconds_of_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **cells(60, (40, 40, 40)))
    assert "60" in refusal(settings(path)).partition("recording.time_unit_s")[2]
    np.savez(path, **cells(1e-3, (40, 40, 40), seconds=10))
    assert "milliseconds" in refusal(settings(path))


@pytest.mark.parametrize("rate_hz", [30_000, 20_000, 1000, 100])
def test_whole_numbers_are_no_seconds(tmp_path: Path, rate_hz: float) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **{k: np.floor(t).astype(np.uint64) for k, t in cells(1 / rate_hz).items()})
    text = refusal(settings(path))
    assert "every time is a whole number" in text
    assert "recording.time_unit_s" in text
    made = inputs(settings(path, recording={"time_unit_s": 1 / rate_hz}))
    assert made.table.n_samples == pytest.approx(SECONDS / 0.05, abs=3)


def test_slow_cells_and_long_recordings_that_are_seconds_pass(tmp_path: Path) -> None:
    path = tmp_path / "spikes.npz"
    for rates, seconds in (((0.3,) * 3, 3600.0), ((80.0,) * 3, 20.0), ((2.0,) * 3, 4 * 3600.0)):
        np.savez(path, **cells(1, rates, seconds))
        assert "doubt:" not in notes(inputs(settings(path)))


def test_bins_are_bounded_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **cells(1e-6))
    text = refusal(settings(path, recording={"time_unit_s": 1}))
    assert "1,19" in text
    for field in ("recording.time_unit_s", "bins.width_s", "recording.start_s"):
        assert field in text
    np.savez(path, **cells(1))
    assert "bins.width_s" in refusal(settings(path, bins={"width_s": 1e-7}))
    times = tmp_path / "trials.csv"
    times.write_text("start\n1\n2\n")
    assert "bins.width_s" in refusal(
        settings(path, bins={"width_s": 1e-8, "trials": str(times), "align": "start"})
    )
    table = tmp_path / "lfp.csv"
    np.savetxt(
        table, np.random.default_rng(0).random((50, 3)), delimiter=",", header="t,a,b", comments=""
    )
    wide = np.column_stack([np.arange(50) * 1e9, np.random.default_rng(0).random((50, 2))])
    np.savetxt(table, wide, delimiter=",", header="t,a,b", comments="")
    text = refusal(settings(table, recording={"time_column": "t"}))
    assert "recording.time_unit_s" in text


@pytest.mark.parametrize("column", ["time_ms", "t (us)", "Time [ms]", "milliseconds"])
def test_a_column_that_names_its_unit(tmp_path: Path, column: str) -> None:
    table = tmp_path / "eeg.csv"
    values = np.column_stack([np.arange(400) * 4.0, np.random.default_rng(0).random((400, 2))])
    np.savetxt(table, values, delimiter=",", header=f"{column},a,b", comments="")
    assert "recording.time_unit_s" in refusal(settings(table, recording={"time_column": column}))
    made = inputs(settings(table, recording={"time_column": column, "time_unit_s": 1e-3}))
    assert made.width_s == pytest.approx(0.004)


def test_times_of_two_files_that_do_not_meet(tmp_path: Path) -> None:
    path, trials = tmp_path / "spikes.npz", tmp_path / "trials.csv"
    np.savez(path, **cells(1))
    trials.write_text("start\n" + "".join(f"{1000 * t}\n" for t in range(50)))
    cfg = settings(path, bins={"trials": str(trials), "align": "start"})
    assert "49 of 50 trials lie outside of all spikes" in refusal(cfg)
    sound = tmp_path / "sound.csv"
    sound.write_text("time,sound\n" + "".join(f"{10 * t},{t % 7}\n" for t in range(6000)))
    text = refusal(settings(path, between={"stimulus_path": str(sound)}))
    assert "spikes span" in text
    trials.write_text("start\n" + "".join(f"{t / 1000}\n" for t in range(50)))
    assert "bins.trials" in refusal(cfg)
    # the unit is the recording's alone: a stimulus in seconds stays in seconds
    np.savez(path, **cells(1e-3))
    sound.write_text("time,sound\n" + "".join(f"{t / 100},{t % 7}\n" for t in range(6000)))
    cfg = settings(path, between={"stimulus_path": str(sound)}, recording={"time_unit_s": 1e-3})
    assert inputs(cfg).table.n_samples == pytest.approx(SECONDS / 0.05, abs=3)


def test_an_nwb_file_in_milliseconds(tmp_path: Path) -> None:
    def fill(file: Any, pynwb: Any) -> None:
        add_units(file, cells(1e-3))
        for j in range(50):
            file.add_trial(start_time=1000.0 * j, stop_time=1000.0 * j + 900)
        running(file, pynwb)  # by a rate in Hz: seconds whatever the spikes are in

    path = nwb(tmp_path / "ms.nwb", fill)
    assert "milliseconds" in refusal(settings(path))
    cfg = settings(
        path,
        recording={"time_unit_s": 1e-3, "series": ["lick"]},
        bins={"align": "start_time", "width_s": 0.1},
    )
    made = inputs(cfg)
    times = cells(1)["unit0"]
    expected = [((times >= j) & (times < j + 0.1)).sum() for j in range(50)]
    np.testing.assert_array_equal(made.segments[:, 0, 0], expected)
    raw = np.random.default_rng(1).random(600) + 20
    lick = made.segments[1:, 0, made.table.names.index("lick")]
    np.testing.assert_allclose(lick, raw[10:500:10])


def raster(kind: str, n_units: int = 20, n_bins: int = 4000) -> np.ndarray:
    """(bins, units): alike, of different rates, and with bins of high and low rate for all."""
    rng = np.random.default_rng(0)
    rate = np.full((n_bins, n_units), 0.3)
    if kind != "alike":
        rate = rate * rng.lognormal(0, 1, n_units)
    if kind == "hertz":
        return rng.poisson(rate) / 0.03  # counts over the width of a bin
    if kind == "bursts":
        rate *= np.repeat(rng.lognormal(0, 0.5, n_bins // 50), 50)[:, None]
    counts = rng.poisson(rate)
    return np.minimum(counts, 1) if kind == "binary" else counts


@pytest.mark.parametrize("kind", ["alike", "rates", "binary", "bursts", "hertz"])
@pytest.mark.parametrize("ending", ["npy", "npz", "csv"])
def test_a_raster_that_lies_the_wrong_way_round(tmp_path: Path, kind: str, ending: str) -> None:
    path = tmp_path / f"raster.{ending}"

    def write(values: np.ndarray) -> None:
        if ending == "npy":
            np.save(path, values)
        elif ending == "npz":
            np.savez(path, raster=values)
        else:
            names = ",".join(f"n{k}" for k in range(values.shape[1]))
            np.savetxt(path, values, "%.9g", delimiter=",", header=names, comments="")

    counts = raster(kind)
    write(counts)
    rate = {"recording": {"rate_hz": 50}}
    made = inputs(settings(path, **rate))
    assert made.table.values.shape == (4000, 20)
    write(counts.T)
    text = refusal(settings(path, **rate))
    assert "20 times x 4000 channels look the wrong way round" in text
    assert "data.transpose" in text
    if ending != "csv":
        turned = inputs(settings(path, data={"transpose": True}, **rate))
        np.testing.assert_allclose(turned.table.values, made.table.values)
    ignored = {
        "recording": {"transposed": "ignore", "rate_hz": 50},
        "estimator": {"min_samples": 8},
    }
    assert inputs(settings(path, **ignored)).table.n_variables == 4000


@pytest.mark.parametrize("name", ["time", "t_ms", "Timestamp", "row", ""])
def test_a_column_of_times_is_no_channel(tmp_path: Path, name: str) -> None:
    table = tmp_path / "lfp.csv"
    values = np.random.default_rng(0).random((300, 2))
    times = np.arange(300) * 0.5
    header = f"a,{name or 'n'},b"
    np.savetxt(
        table, np.insert(values, 1, times, axis=1), delimiter=",", header=header, comments=""
    )
    text = refusal(settings(table))
    assert "recording.time_column" in text
    assert repr(name or "n") in text
    assert inputs(settings(table, data={"exclude": [name or "n"]})).table.names == ["a", "b"]
    wanted = settings(table, data={"variables": ["a", name or "n"]})
    assert inputs(wanted).table.names == ["a", name or "n"]


def test_a_table_of_spikes_is_no_series(tmp_path: Path) -> None:
    table = tmp_path / "spikes.csv"
    times = np.sort(np.concatenate(list(trains().values())))
    owners = np.random.default_rng(0).integers(0, 4, len(times))
    np.savetxt(table, np.stack([owners, times], 1), delimiter=",", header="unit,time", comments="")
    assert "npz file of spike_times and spike_clusters" in refusal(settings(table))


def test_few_channels_of_many_times_and_many_units_of_few_bins(tmp_path: Path) -> None:
    path = tmp_path / "lfp.npy"
    e = np.random.default_rng(0).standard_normal((2000, 4)).cumsum(axis=0)
    np.save(path, e.T)  # too few rows to have neighbours
    assert "look the wrong way round" in refusal(settings(path))
    np.save(path, raster("rates", 300, 100))  # what it is: 100 bins of 300 units
    assert inputs(settings(path)).table.values.shape == (100, 300)


# --- pynapple ------------------------------------------------------------------------------------


@pytest.fixture
def nap() -> Any:
    return pytest.importorskip("pynapple")


def test_a_group_of_spikes(tmp_path: Path, nap: Any) -> None:
    path = tmp_path / "group.npz"
    spikes = dict(zip((0, 3, 7, 8), trains().values(), strict=True))
    group = nap.TsGroup(
        {k: nap.Ts(t) for k, t in spikes.items()},
        time_support=nap.IntervalSet([0, 40], [25, SECONDS]),
        metadata={"location": ["V1", "V1", "CA1", "CA1"]},
    )
    group.save(str(path))
    made = inputs(settings(path, bins={"width_s": 0.5}))
    assert made.table.names == ["unit0", "unit3", "unit7", "unit8"]
    counts = np.stack([np.histogram(t, np.arange(0, 60.1, 0.5))[0] for t in spikes.values()], 1)
    expected = counts.astype(float)
    expected[50:80] = np.nan
    np.testing.assert_array_equal(made.segments[0], expected)
    assert "time_support is 2 epochs, 45 s" in notes(made)
    assert "pickle" in notes(made)
    areas = tmp_path / "areas.csv"
    areas.write_text("unit,area\n0,V1\n3,V1\n7,CA1\n8,CA1\n")
    made = inputs(settings(path, between={"areas": str(areas)}))
    assert set(made.areas.values()) == {"V1", "CA1"}
    assert "csv or tsv" in refusal(settings(path, between={"areas": "location"}))
    epochs = tmp_path / "epochs.npz"
    nap.IntervalSet(np.arange(20.0), np.arange(20.0) + 0.5).save(str(epochs))
    made = inputs(
        settings(path, bins={"trials": str(epochs), "align": "start", "window_s": [0, 0.5]})
    )
    assert made.n_segments == 20
    assert "bins.trials" in refusal(settings(epochs))
    nap.Ts(np.arange(20.0)).save(str(epochs))
    events = settings(path, bins={"trials": str(epochs), "align": "t", "window_s": [0, 0.5]})
    np.testing.assert_array_equal(inputs(events).segments, made.segments)


def test_files_of_pynapple_before_it_said_what_they_are(tmp_path: Path, nap: Any) -> None:
    """Versions up to 0.3 wrote the same arrays without `type`, and metadata as arrays."""
    path = tmp_path / "old.npz"

    def strip(**more: np.ndarray) -> None:
        with np.load(path, allow_pickle=True) as new:
            kept = {k: new[k] for k in new.files if k not in ("type", "_metadata")}
        np.savez(path, **kept, **more)

    nap.TsGroup({k: nap.Ts(t) for k, t in enumerate(trains().values())}).save(str(path))
    new = inputs(settings(path))
    strip()
    np.testing.assert_array_equal(inputs(settings(path)).segments, new.segments)
    strip(
        type=np.array(["TsGroup"]),
        location=np.array(["V1", "V1", "CA1", "CA1"]),
        depth=np.arange(4),
    )
    made = inputs(settings(path, between={"areas": "location"}))
    assert made.areas == dict(zip(UNITS, ["V1", "V1", "CA1", "CA1"], strict=True))
    assert "no use of columns depth" in notes(made)
    for kind in (nap.Ts, nap.Tsd):
        times = np.arange(300) * 0.1
        (kind(times) if kind is nap.Ts else kind(times, times)).save(str(path))
        strip()
        assert "1 variables are left" in refusal(settings(path))
    nap.IntervalSet([0, 5], [1, 6]).save(str(path))
    strip()
    assert "IntervalSet" in refusal(settings(path))


@pytest.mark.parametrize("columns", [None, ["x", "y", "z"]])
def test_frames_tensors_and_single_series(
    tmp_path: Path, nap: Any, columns: list[str] | None
) -> None:
    values = np.random.default_rng(0).standard_normal((300, 3))
    path, sound = tmp_path / "lfp.npz", tmp_path / "sound.npz"
    support = nap.IntervalSet([0, 20], [9.95, 29.95])
    nap.TsdFrame(np.arange(300) * 0.1, values, columns=columns, time_support=support).save(
        str(path)
    )
    nap.Tsd(np.arange(300) * 0.1, values[:, 0] + 1).save(str(sound))
    made = inputs(settings(path))
    assert made.table.names == ["lfp_0", "lfp_1", "lfp_2"]
    assert ("those of the columns are a pickle" in notes(made)) == (columns is not None)
    inside = np.r_[0:100, 200:300]
    np.testing.assert_allclose(made.table.values[inside], values[inside])
    assert np.isnan(made.table.values[100:200]).all()
    made = inputs(settings(path, between={"stimulus_path": str(sound)}))
    assert made.stimuli == ["sound"]
    np.testing.assert_allclose(made.table.column(0), values[:, 0] + 1)
    nap.TsdTensor(np.arange(300) * 0.1, values.reshape(300, 3, 1)).save(str(path))
    assert inputs(settings(path)).table.names == ["lfp_0_0", "lfp_1_0", "lfp_2_0"]
    unit = tmp_path / "cell.npz"
    nap.Ts(trains()["a"]).save(str(unit))
    nap.Tsd(np.arange(600) * 0.1, np.arange(600.0)).save(str(sound))
    made = inputs(settings(unit, between={"stimulus_path": str(sound)}, bins={"width_s": 0.1}))
    assert made.table.names == ["sound", "cell"]


# --- sorters -------------------------------------------------------------------------------------

RATE_HZ = 30_000


def sorting(folder: Path, *, column: bool = False, clusters: str = "spike_clusters.npy") -> Path:
    folder.mkdir(exist_ok=True)
    times = np.concatenate(list(trains().values()))
    owners = np.repeat([0, 3, 7, 8], [len(t) for t in trains().values()])
    order = np.argsort(times, kind="stable")
    samples = np.round(times[order] * RATE_HZ).astype(np.uint64)
    np.save(folder / "spike_times.npy", samples[:, None] if column else samples)
    np.save(folder / clusters, owners[order][:, None] if column else owners[order])
    (folder / "params.py").write_text(
        f"dat_path = 'raw.dat'\nn_channels_dat = 384\nsample_rate = {RATE_HZ}.\nhp_filtered = False\n"
    )
    return folder


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("named", ["", "/params.py", "/spike_times.npy"])
def test_a_folder_of_phy(tmp_path: Path, column: bool, named: str) -> None:
    folder = sorting(tmp_path / "phy", column=column)
    made = inputs(settings(Path(f"{folder}{named}")))
    assert made.table.names == ["unit0", "unit3", "unit7", "unit8"]
    rounded = {k: np.round(t * RATE_HZ) / RATE_HZ for k, t in trains().items()}
    np.savez(tmp_path / "same.npz", **rounded)
    same = inputs(settings(tmp_path / "same.npz"))
    np.testing.assert_array_equal(made.segments, same.segments)
    assert "none is labelled" in notes(made)
    assert "30000 samples a second, of params.py" in notes(made)


def test_labels_of_clusters_choose_units(tmp_path: Path) -> None:
    folder = sorting(tmp_path / "phy")
    (folder / "cluster_KSLabel.tsv").write_text(
        "cluster_id\tKSLabel\n0\tgood\n3\tgood\n7\tmua\n8\tgood\n"
    )
    made = inputs(settings(folder))
    assert made.table.names == ["unit0", "unit3", "unit8"]
    assert "3 of 4 units are good (KSLabel of cluster_KSLabel.tsv); left out: 1 mua" in notes(made)
    assert ("unit7", "is mua, recording.quality is good") in made.left_out
    (folder / "cluster_KSLabel.tsv").rename(folder / "cluster_group.tsv")  # a copy that it makes
    assert inputs(settings(folder)).table.names == ["unit0", "unit3", "unit8"]
    (folder / "cluster_group.tsv").rename(folder / "cluster_KSLabel.tsv")
    (folder / "cluster_groups.csv").write_text("cluster_id\tgroup\n0\tmua\n")  # as phy 1 did
    assert inputs(settings(folder)).table.names == ["unit3", "unit8"]
    # what a person says goes before the sorter
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tnoise\n3\tunsorted\n7\tgood\n")
    assert inputs(settings(folder)).table.names == ["unit3", "unit7", "unit8"]
    both = settings(folder, recording={"quality": ["good", "noise"]})
    assert inputs(both).table.n_variables == 4
    assert inputs(settings(folder, recording={"quality": []})).table.n_variables == 4
    assert "Labels: good, noise" in refusal(settings(folder, recording={"quality": ["Good"]}))
    (folder / "cluster_info.tsv").write_text(
        "cluster_id\tch\tregion\n0\t3\tV1\n3\t5\tV1\n7\t9\tCA1\n8\t9\tCA1\n"
    )
    made = inputs(settings(folder, between={"areas": "region"}))
    assert made.areas == {"unit3": "V1", "unit7": "CA1", "unit8": "CA1"}
    assert "cluster_info.tsv" in refusal(settings(folder, between={"areas": "layer"}))


def test_templates_rates_and_pairs_of_arrays(tmp_path: Path) -> None:
    folder = sorting(tmp_path / "ks", clusters="spike_templates.npy")
    made = inputs(settings(folder))
    assert made.table.n_variables == 4
    assert "templates" in notes(made)
    (folder / "params.py").write_text("import os\nsample_rate = float(os.environ['RATE'])\n")
    text = refusal(settings(folder))
    assert "recording.time_unit_s" in text
    (folder / "params.py").write_text("open('touched', 'w').close()\nsample_rate = 3e4\n")
    assert inputs(settings(folder)).table.n_variables == 4
    assert not Path("touched").exists()
    (folder / "params.py").unlink()
    assert "there is no params.py" in refusal(settings(folder))
    again = inputs(settings(folder, recording={"time_unit_s": 1 / RATE_HZ}))
    np.testing.assert_array_equal(again.segments, made.segments)
    path = tmp_path / "phy.npz"
    times, owners = (np.load(folder / f"spike_{n}.npy") for n in ("times", "templates"))
    np.savez(path, spike_times=times[:, None], spike_clusters=owners[None])
    assert "samples at 30 kHz" in refusal(settings(path))
    pair = inputs(settings(path, recording={"time_unit_s": 1 / RATE_HZ}))
    np.testing.assert_array_equal(pair.segments, made.segments)
    np.savez(path, **{k: t[:, None] for k, t in trains().items()})
    assert inputs(settings(path)).table.names == ["a", "b", "c", "d"]
    np.savez(path, spike_times=times[:5], spike_clusters=owners)
    assert "each spike needs a time and a unit" in refusal(settings(path))
    np.save(folder / "spike_times.npy", times / RATE_HZ)
    assert "holds fractions" in refusal(settings(folder, recording={"time_unit_s": 1}))


def test_a_window_in_milliseconds_and_single_values(tmp_path: Path) -> None:
    path, table = tmp_path / "spikes.npz", tmp_path / "trials.csv"
    np.savez(path, **trains(), fs=30_000.0)
    made = inputs(settings(path))
    assert made.table.names == ["a", "b", "c", "d"]
    assert "no use of single values fs" in notes(made)
    table.write_text("start\n" + "".join(f"{t}\n" for t in range(50)))
    trial = {"trials": str(table), "align": "start"}
    assert "bins.window_s" in refusal(settings(path, bins=trial | {"window_s": [-200, 800]}))


def test_npz_files_that_are_no_spike_times(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, spikes=np.array(list(trains().values()), dtype=object))
    assert "never unpickled" in refusal(settings(path))
    np.savez(path, **{f"n{k}": c for k, c in enumerate(raster("rates").T)})
    assert "look like counts in bins" in refusal(settings(path))
    sp.save_npz(path, sp.csr_matrix(raster("rates")))
    assert inputs(settings(path)).table.n_variables == raster("rates").shape[1]  # a sparse raster


# --- configurations ------------------------------------------------------------------------------


def test_fields_that_a_format_does_not_use_are_refused_by_name(tmp_path: Path) -> None:
    """Every field of `data` and `recording` is every reader's, some readers', or the job refuses it."""
    values = {
        "format": "npz", "transpose": True, "layer": "raw", "key": "a", "index_column": "a",
        "metadata": ["a"], "duplicate_names": "number", "samples": {"a": "b"}, "subsample": 0.5,
        "subsample_seed": 1, "groups": "a", "strata": ["a"], "series": ["a"], "units": "a", "quality": ["mua"],
        "rate_hz": 2.0, "time_column": "a", "time_unit_s": 0.1, "unsorted": "sort",
        "transposed": "ignore", "min_spikes": 5, "feature_types": ["a"], "variable_names": "a",
        "sample_names": "a", "header": True, "separator": ";", "decimal": ",",
        "variable": "a", "names": "a", "trace": "F", "neuropil": 0.5,
    }  # fmt: skip
    always = {
        "path",
        "variables",
        "exclude",
        "conditions",
        "missing",
        "layout",
        "start_s",
        "stop_s",
    }
    path = tmp_path / "spikes.npz"
    np.savez(path, **trains())
    options = set().union(*(reader.options for reader in READERS.values()))
    for section, kind in (("data", DataConfig), ("recording", RecordingConfig)):
        for field in fields(kind):
            option = f"{section}.{field.name}"
            if field.name in always:
                assert option not in options
                continue
            for layout, reader in READERS.items():
                if option in reader.options:
                    continue
                sections: dict[str, Any] = {"recording": {"layout": layout}}
                sections[section] = sections.get(section, {}) | {field.name: values[field.name]}
                assert option in refusal(settings(path, **sections)), (layout, option)
    assert "nbw" in refusal(settings(path, recording={"layout": "nbw"}))


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("bins", {"window_s": [0.0, 2.0]}), ("bins", {"trials": "t.csv"}),
        ("lags", {"transfer": [1]}), ("lags", {"max_p_value": 0.1}), ("lags", {"own": [1]}),
    ],
)  # fmt: skip
def test_fields_without_the_one_they_need(tmp_path: Path, section: str, field: Any) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **trains())
    assert f"{section}.{next(iter(field))} does nothing" in refusal(
        settings(path, **{section: field})
    )


def test_look_says_what_was_decided(tmp_path: Path) -> None:
    path = tmp_path / "spikes.npz"
    np.savez(path, **trains(), other=np.array([1.0, 2.0]))
    config = tmp_path / "cells.yaml"
    config.write_text(f"data: {{path: {path}, exclude: [d]}}\n")
    said = CliRunner().invoke(main, ["neural", str(config), "--dry-run"]).output
    for part in (
        "layout:  spikes",
        "taken as seconds, recording.time_unit_s is not set",
        "0.05 s, the default; bins.width_s is not set",
        "4 of 5 by data.variables and data.exclude",
        "at 10 Hz (median)",
        "1 left out, of fewer than 50 spikes in the samples: other",
        "estimator.nulls.kind is shift",
    ):
        assert part in said


def test_bins_inside_the_union_of_intervals() -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(rng.uniform(0, 10, (3, 30)), axis=1)
    for _ in range(20):
        starts = rng.uniform(0, 10, 6)
        intervals = np.stack([starts, starts + rng.exponential(1, 6)], 1)
        grid = np.linspace(0, 1, 101)
        low, high = edges[:, :-1, None], edges[:, 1:, None]
        points = low + (high - low) * grid
        inside = (
            (points[..., None] >= intervals[:, 0]) & (points[..., None] <= intervals[:, 1])
        ).any(-1)
        np.testing.assert_array_equal(recorded(intervals, edges), inside.all(-1))


def test_a_configuration_error_is_no_other(tmp_path: Path) -> None:
    path = nwb(tmp_path / "s2p.nwb", suite2p)
    with pytest.raises(ConfigError, match=r"between\.stimulus: no time series"):
        inputs(settings(path, recording={"series": ["Neuropil"]}, between={"stimulus": ["plane9"]}))
