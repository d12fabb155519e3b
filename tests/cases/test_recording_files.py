"""Recordings as MATLAB, suite2p and MNE save them: the values that were written, or a refusal that says why."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from neural_settings import refusal, settings, trains
from scipy import sparse
from scipy.io import savemat

import mmg_ray
from mmg_ray.neural.job import go, inputs

UNITS = ["unit1", "unit2", "unit3", "unit4"]


def notes(made: Any) -> str:
    return "\n".join(made.notes)


def smooth(n: int, channels: int) -> np.ndarray:
    """Series whose neighbours in time are alike."""
    steps = np.random.default_rng(0).standard_normal((n, channels))
    return np.cumsum(steps, axis=0) - np.linspace(0, 1, n)[:, None] * steps.sum(axis=0)


# --- MATLAB --------------------------------------------------------------------------------------


def cell(values: list[Any]) -> np.ndarray:
    """A cell array, 1 x n."""
    made = np.empty((1, len(values)), dtype=object)
    made[0] = [None] * len(values)
    for k, value in enumerate(values):
        made[0, k] = value
    return made


def save_v73(path: Path, variables: dict[str, Any]) -> Path:
    """As MATLAB does: axes in reverse, classes as attributes, cells and struct arrays as references to #refs#."""

    fresh = itertools.count()

    def labelled(node: Any, kind: str, **more: Any) -> Any:
        node.attrs["MATLAB_class"] = np.bytes_(kind)
        for name, value in more.items():
            node.attrs[name] = value
        return node

    def put(group: Any, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            node = labelled(group.create_group(name), "struct")
            for key, part in value.items():
                put(node, key, part)
            return node
        if sparse.issparse(value):
            value = sparse.csc_matrix(value)
            node = labelled(
                group.create_group(name), "double", MATLAB_sparse=np.uint64(value.shape[0])
            )
            parts = {"data": value.data, "ir": value.indices, "jc": value.indptr}
            for key in parts if value.nnz else ["jc"]:
                node[key] = parts[key] if key == "data" else parts[key].astype(np.uint64)
            return node
        if isinstance(value, str):
            codes = np.array([[ord(c) for c in value]], dtype=np.uint16)
            return labelled(
                group.create_dataset(name, data=codes.T), "char", MATLAB_int_decode=np.int32(2)
            )
        value = np.asarray(value)
        if value.dtype == object:
            refs = file.require_group("#refs#")
            found = [put(refs, f"r{next(fresh)}", v).ref for v in value.ravel("F")]
            data = np.array(found, dtype=h5py.ref_dtype).reshape(value.shape[::-1])
            return labelled(group.create_dataset(name, data=data, dtype=h5py.ref_dtype), "cell")
        if value.size == 0:
            shape = np.array(value.shape if value.ndim == 2 else (0, 0), dtype=np.uint64)
            return labelled(
                group.create_dataset(name, data=shape), "double", MATLAB_empty=np.uint8(1)
            )
        kind = {"b": "logical", "f": "double"}.get(value.dtype.kind, str(value.dtype))
        data = np.atleast_2d(value)
        data = data.astype(np.uint8) if kind == "logical" else data
        return labelled(group.create_dataset(name, data=data.T), kind)

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            put(file, name, value)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2026 HDF5 schema 1.00 ."
    with open(path, "r+b") as raw:
        raw.write(header.ljust(124) + b"\x00\x02IM")
    return path


def save_v5(path: Path, variables: dict[str, Any]) -> Path:
    savemat(path, variables)
    return path


@pytest.fixture(params=[save_v5, save_v73])
def save(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_cells_of_spike_times(tmp_path: Path, save: Any) -> None:
    good = list(trains().values())
    # a row, a column, a unit without spikes, one spike
    parts = [good[0], good[1][:, None], good[2], good[3], np.empty((0, 0)), np.array([[1.0]])]
    path = save(tmp_path / "a.mat", {"spikes": cell(parts), "fs": 30_000.0, "subject": "rat 7"})
    made = inputs(settings(path))
    assert made.table.names == UNITS
    assert [name for name, _ in made.left_out] == ["unit5", "unit6"]
    np.savez(tmp_path / "same.npz", **dict(zip(UNITS, good, strict=True)))
    same = inputs(settings(tmp_path / "same.npz"))
    np.testing.assert_array_equal(made.segments, same.segments)
    assert "layout:  mat, by the ending of data.path" in notes(made)
    assert "numbered from 1" in notes(made)
    assert "fs (numbers 1 x 1), subject (1 texts)" in notes(made)


def test_a_struct_of_units_with_names_and_areas(tmp_path: Path, save: Any) -> None:
    session = {
        "times": cell(list(trains().values())),
        "label": cell(["a", "b", "c", "d"]),
        "region": cell(["V1", "V1", "CA1", "CA1"]),
        "shank": np.array([[1.0, 1.0, 2.0, 2.0]]),
    }
    path = save(tmp_path / "a.mat", {"session": {"spikes": session}})
    made = inputs(settings(path))
    assert made.table.names == UNITS
    assert (
        "session/spikes/label, session/spikes/region holds 4 texts, see recording.names"
        in notes(made)
    )
    named = {"names": "label", "variable": "session.spikes.times"}
    made = inputs(settings(path, recording=named, between={"areas": "region"}))
    assert made.areas == {"a": "V1", "b": "V1", "c": "CA1", "d": "CA1"}
    made = inputs(settings(path, between={"areas": "shank"}))
    assert made.areas == dict(zip(UNITS, "1122", strict=True))
    assert "did you mean" in refusal(settings(path, recording={"names": "labels"}))
    assert "'CA1' more than once" in refusal(settings(path, recording={"names": "region"}))
    assert "is 4 cells of numbers, no cell array" in refusal(
        settings(path, recording={"names": "times"})
    )
    assert "struct of session/spikes/label, session/spikes/region" in refusal(
        settings(path, recording={"variable": "session"})
    )


def test_a_struct_array_holds_a_unit_in_each_element(tmp_path: Path) -> None:
    units = np.empty((1, 4), dtype=[("times", object), ("label", object)])
    for k, (name, times) in enumerate(trains().items()):
        units[0, k] = (times, name)
    path = save_v5(tmp_path / "a.mat", {"units": units})
    made = inputs(settings(path, recording={"names": "label"}))
    assert made.table.names == ["a", "b", "c", "d"]
    # as v7.3 has it: a group of references, without a class of cells
    path = save_v73(
        tmp_path / "b.mat",
        {"units": {"times": cell(list(trains().values())), "label": cell(["a", "b", "c", "d"])}},
    )
    with h5py.File(path, "r+") as file:
        for name in ("times", "label"):
            del file["units"][name].attrs["MATLAB_class"]
    same = inputs(settings(path, recording={"names": "label"}))
    np.testing.assert_array_equal(same.segments, made.segments)


def test_channels_and_which_way_round(tmp_path: Path, save: Any) -> None:
    values = smooth(600, 20)
    path = save(tmp_path / "a.mat", {"lfp": values.T, "chan": cell([f"c{k}" for k in range(20)])})
    assert "look the wrong way round" in refusal(settings(path))
    made = inputs(
        settings(path, data={"transpose": True}, recording={"rate_hz": 100.0, "names": "chan"})
    )
    np.testing.assert_allclose(made.table.values, values)
    assert made.table.names == [f"c{k}" for k in range(20)]
    assert made.width_s == pytest.approx(0.01)
    path = save(tmp_path / "b.mat", {"lfp": values})
    made = inputs(settings(path))
    assert made.table.names == [f"lfp{k}" for k in range(1, 21)]
    assert "a second is a sample" in notes(made)
    assert "window_s" not in notes(made)


def test_channels_at_times_of_another_variable(tmp_path: Path, save: Any) -> None:
    values, times = smooth(600, 3), 5 + np.arange(600) * 0.02
    path = save(tmp_path / "a.mat", {"lfp": values, "t": times, "ms": times * 1000})
    made = inputs(settings(path, recording={"time_column": "t"}))
    np.testing.assert_allclose(made.table.values, values)
    np.testing.assert_allclose(made.table.metadata["time_s"], times)
    in_ms = {"time_column": "ms"}
    assert "recording.time_unit_s: 0.001" in refusal(settings(path, recording=in_ms))
    same = inputs(settings(path, recording=in_ms | {"time_unit_s": 0.001}))
    np.testing.assert_allclose(same.table.values, values)
    text = refusal(settings(path, recording={"time_column": "t"}, data={"transpose": True}))
    assert "holds 600 times, and 'lfp' has 3 rows" in text
    assert "leave out data.transpose" in text
    # times as one of the channels
    path = save(tmp_path / "b.mat", {"lfp": np.column_stack([times, values])})
    assert "column 'lfp1' goes up in every row" in refusal(settings(path))
    made = inputs(settings(path, recording={"time_column": "lfp1"}))
    assert made.table.names == ["lfp2", "lfp3", "lfp4"]


def test_several_candidates_are_refused_with_the_list(tmp_path: Path, save: Any) -> None:
    content = {"lfp": smooth(600, 3), "raw": {"mua": smooth(600, 2)}, "fs": 100.0}
    path = save(tmp_path / "a.mat", content)
    text = refusal(settings(path))
    assert "recording.variable: 2 variables" in text
    assert "lfp (numbers 600 x 3), raw/mua (numbers 600 x 2)" in text
    made = inputs(settings(path, recording={"variable": "mua"}))
    np.testing.assert_allclose(made.table.values, content["raw"]["mua"])
    assert "'fs' is numbers 1 x 1" in refusal(settings(path, recording={"variable": "fs"}))
    assert "did you mean 'lfp'" in refusal(settings(path, recording={"variable": "lfq"}))
    path = save(tmp_path / "b.mat", {"x": np.zeros((3, 4, 5)), "name": "none", "c": cell([cell([1.0])])})  # fmt: skip
    text = refusal(settings(path))
    assert "holds neither a matrix nor a cell array of spike times" in text
    assert "c (cells of cells in cells), name (1 texts), x (numbers 3 x 4 x 5)" in text


def test_times_beside_the_units_they_belong_to(tmp_path: Path, save: Any) -> None:
    times = np.concatenate(list(trains().values()))
    owners = np.repeat([1, 2, 3, 4], [len(t) for t in trains().values()]).astype(np.int32)
    order = np.argsort(times)
    content = {"spike_times": times[order][:, None], "spike_clusters": owners[order][:, None]}
    made = inputs(settings(save(tmp_path / "a.mat", content)))
    assert made.table.names == UNITS
    path = save(tmp_path / "b.mat", content | {"lfp": smooth(600, 3)})
    assert "spike_times (numbers" in refusal(settings(path))
    for sections in (
        {"recording": {"variable": "spike_times", "rate_hz": 10.0}},
        {"recording": {"variable": "spike_times", "time_column": "spike_times"}},
        {"recording": {"variable": "spike_times"}, "data": {"transpose": True}},
    ):
        assert "is spike times, which do not use it" in refusal(settings(path, **sections))
    named = {"variable": "spike_times", "names": "spike_clusters"}
    assert "go by their numbers" in refusal(settings(path, recording=named))
    same = inputs(settings(path, recording={"variable": "spike_times"}))
    np.testing.assert_array_equal(same.segments, made.segments)


def test_sparse_logical_and_whole_numbers(tmp_path: Path, save: Any) -> None:
    counts = np.random.default_rng(0).poisson(0.4, (400, 3)).astype(float)
    counts[:, 2] *= 0
    counts[5, 2] = 1
    for made in (sparse.csc_matrix(counts), counts.astype(np.int16), counts > 0):
        path = save(tmp_path / "a.mat", {"counts": made})
        table = inputs(settings(path, recording={"rate_hz": 100.0})).table
        np.testing.assert_array_equal(
            table.values, made.toarray() if sparse.issparse(made) else made
        )


def test_files_of_no_matlab_and_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"no file of MATLAB" * 20)
    assert "cannot be read as mat" in refusal(settings(path))
    with h5py.File(path, "w") as file:
        file["x"] = smooth(600, 3)
    assert "Unknown mat file type" in refusal(settings(path))
    save_v73(path, {"x": smooth(600, 3), "s": {"a": 1.0}})
    with h5py.File(path, "r+") as file:
        file["x"].attrs["MATLAB_class"] = np.bytes_("table")
        file["s/again"] = h5py.SoftLink("/s")
    assert "x (of class table)" in refusal(settings(path))


# --- suite2p -------------------------------------------------------------------------------------


def plane(folder: Path, n_rois: int = 4, seed: int = 0, settings_file: str = "settings.npy") -> Any:
    """As suite2p saves a plane: float32 traces, iscell of two columns, settings as a dict."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    found = {name: rng.random((n_rois, 500)).astype(np.float32) for name in ("F", "Fneu", "spks")}
    for name, values in found.items():
        np.save(folder / f"{name}.npy", values)
    cells = np.stack([np.arange(n_rois) != 1, np.linspace(0.2, 0.9, n_rois)], axis=1)
    np.save(folder / "iscell.npy", cells.astype(float))
    np.save(folder / "stat.npy", np.array([{"med": (1, 2)}] * n_rois, dtype=object))
    of_version = {
        "settings.npy": {"fs": 15.5, "tau": 1.0, "extraction": {"neuropil_coefficient": 0.6}},
        "ops.npy": {"fs": 15.5, "Ly": np.int64(512), "meanImg": np.zeros((4, 4)), "neucoeff": 0.6},
    }
    np.save(folder / settings_file, of_version[settings_file])
    return found


@pytest.mark.parametrize("settings_file", ["settings.npy", "ops.npy"])
def test_a_folder_of_suite2p(tmp_path: Path, settings_file: str) -> None:
    found = plane(tmp_path / "suite2p/plane0", settings_file=settings_file)
    for url in ("suite2p/plane0", "suite2p"):
        made = inputs(settings(tmp_path / url))
        assert made.table.names == ["roi0", "roi2", "roi3"]
        np.testing.assert_array_equal(made.table.values, found["spks"][[0, 2, 3]].T)
        assert made.width_s == pytest.approx(1 / 15.5)
        assert [name for name, _ in made.left_out] == ["roi1"]
    assert "is no cell by iscell.npy (probability 0.43)" in made.left_out[0][1]
    assert f"15.5 frames a second, fs of {settings_file}" in notes(made)
    made = inputs(settings(tmp_path / "suite2p", recording={"trace": "F", "quality": []}))
    np.testing.assert_allclose(made.table.values, (found["F"] - 0.6 * found["Fneu"]).T, atol=1e-6)
    assert "trace:   F - 0.6 Fneu" in notes(made)
    whole = {"trace": "F", "neuropil": 0.0, "rate_hz": 30.0}
    made = inputs(settings(tmp_path / "suite2p", recording=whole))
    np.testing.assert_array_equal(made.table.values, found["F"][[0, 2, 3]].T)
    assert made.width_s == pytest.approx(1 / 30)


def test_planes_of_one_recording(tmp_path: Path) -> None:
    found = [plane(tmp_path / f"suite2p/plane{k}", seed=k) for k in (0, 1, 10)]
    (tmp_path / "suite2p/combined").mkdir()
    made = inputs(settings(tmp_path / "suite2p"))
    assert made.table.names[2:5] == ["plane0_roi3", "plane1_roi0", "plane1_roi2"]
    assert made.table.names[-1] == "plane10_roi3"
    np.testing.assert_array_equal(made.table.values[:, -1], found[2]["spks"][3])


def test_folders_of_suite2p_that_lack_something(tmp_path: Path) -> None:
    folder = tmp_path / "plane0"
    plane(folder)
    assert "deconvolved from corrected" in refusal(settings(folder, recording={"neuropil": 0.7}))
    assert "[good] takes the cells" in refusal(settings(folder, recording={"quality": ["mua"]}))
    np.save(folder / "settings.npy", {"fs": np.float32(3), "tau": 1.0})
    assert "set recording.rate_hz" in refusal(settings(folder))
    assert "set recording.neuropil" in refusal(settings(folder, recording={"trace": "F"}))

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (Path(tmp_path / "touched"),))

    np.save(folder / "settings.npy", {"fs": 20.0, "trap": Trap()})
    assert inputs(settings(folder)).width_s == pytest.approx(0.05)
    assert not (tmp_path / "touched").exists()
    np.save(folder / "iscell.npy", np.ones((3, 2)))
    assert "iscell.npy has shape (3, 2) and there are 4 traces" in refusal(settings(folder))
    np.save(folder / "iscell.npy", np.zeros((4, 2)))
    assert "no units, and no series" in refusal(settings(folder))
    (folder / "spks.npy").unlink()
    assert "has no spks.npy; see recording.trace" in refusal(settings(folder))
    (folder / "iscell.npy").unlink()
    assert "names no known format" in refusal(settings(folder))
    named = settings(folder, recording={"layout": "suite2p"})
    assert "is no folder of suite2p" in refusal(named)


# --- MNE -----------------------------------------------------------------------------------------

RATE_HZ = 128.0


@pytest.fixture
def mne() -> Any:
    return pytest.importorskip("mne")


def raw_of(mne: Any, *, bad: bool = True) -> Any:
    """Three EEG channels, one of them bad, an EMG and a trigger channel; 30 s."""
    values = smooth(int(30 * RATE_HZ), 5).T * 1e-6
    info = mne.create_info(["Fz", "Cz", "Oz", "arm", "STI"], RATE_HZ, ["eeg"] * 3 + ["emg", "stim"])
    raw = mne.io.RawArray(values, info, verbose="error")
    raw.info["bads"] = ["Oz"] if bad else []
    return raw


def test_raw_files_of_mne(tmp_path: Path, mne: Any) -> None:
    raw = raw_of(mne)
    raw.set_annotations(
        mne.Annotations([2.0, 5.0, 9.0], [0.0, 1.0, 0.0], ["tone", "BAD_blink", "light"])
    )
    path = tmp_path / "session_raw.fif"
    raw.save(path, fmt="double", verbose="error")
    made = inputs(settings(path))
    assert made.table.names == ["Fz", "Cz"]
    expected = raw.get_data(["Fz", "Cz"]).T
    expected[int(5 * RATE_HZ) : int(6 * RATE_HZ)] = np.nan
    np.testing.assert_allclose(made.table.values, expected)
    assert dict(made.left_out) == {
        "Oz": "is marked as bad (info['bads'])",
        "arm": "is a channel of type emg, no data channel",
        "STI": "is a channel of type stim, no data channel",
    }
    assert "128 samples lie in segments annotated as bad" in notes(made)
    assert "2 annotations: light, tone" in notes(made)
    assert "layout:  mne, by the ending" in notes(made)
    assert "no channel is of type 'ecog'; types of channels: eeg, emg, stim" in refusal(
        settings(path, recording={"series": ["ecog"]})
    )
    made = inputs(settings(path, recording={"series": ["emg"]}))
    assert made.table.names == ["Fz", "Cz", "arm"]
    made = inputs(settings(path, bins={"align": "onset", "window_s": [0.0, 1.0]}))
    assert made.table.metadata["description"][::128].tolist() == ["tone", "light"]
    np.testing.assert_allclose(made.segments[1, :, 0], raw.get_data("Fz")[0, 1152:1280])
    raw.info["bads"] = ["Fz", "Cz", "Oz"]
    raw.save(path, overwrite=True, verbose="error")
    assert "no channel is left of 5" in refusal(settings(path))
    path.write_bytes(path.read_bytes()[:500])
    assert "cannot be read as a file of MNE" in refusal(settings(path))


def test_edf_files(tmp_path: Path, mne: Any) -> None:
    pytest.importorskip("edfio")
    raw = raw_of(mne, bad=False).pick(["Fz", "Cz", "Oz"])
    path = tmp_path / "night.edf"
    raw.export(path, verbose="error")
    made, run, _ = go(settings(path))
    assert made.table.names == ["Fz", "Cz", "Oz"]
    step = np.ptp(raw.get_data()) / 2**16  # of its 16 bits
    np.testing.assert_allclose(made.table.values, raw.get_data().T, atol=2 * step)
    assert run.manifest.resolved().estimator.nulls.kind == "shift"


def test_epochs_are_trials(tmp_path: Path, mne: Any) -> None:
    raw = raw_of(mne)
    events = np.array([[k * 64 + 100, 0, 1 + k % 2] for k in range(50)])  # they overlap
    pandas = pytest.importorskip("pandas")
    epochs = mne.Epochs(
        raw, events, {"tone": 1, "light": 2}, tmin=-0.25, tmax=0.75, baseline=None,
        metadata=pandas.DataFrame({"level": np.arange(50.0), "side": ["left", "right"] * 25}),
        preload=True, verbose="error",
    )  # fmt: skip
    epochs.drop([3], reason="blink", verbose="error")
    path = tmp_path / "a-epo.fif"
    epochs.save(path, fmt="double", verbose="error")
    cfg = settings(path, bins={"align": "onset", "window_s": [-0.25, 0.75]})
    made, run, _ = go(cfg)
    expected = epochs.get_data(["Fz", "Cz"])
    assert expected.shape == (49, 2, 129)
    np.testing.assert_allclose(made.segments, np.moveaxis(expected, 1, 2)[:, :128])
    assert made.table.metadata["event"][::128].tolist() == [["tone", "light"][k % 2] for k in range(50) if k != 3]  # fmt: skip
    assert made.table.metadata["level"][::128].tolist() == [k for k in range(50) if k != 3]
    assert ("epoch 3", "dropped in MNE: blink") in made.left_out
    nulls = run.manifest.resolved().estimator.nulls
    assert (nulls.kind, nulls.block_samples) == ("block", 128)
    later = settings(path, bins={"align": "onset", "window_s": [0.1, 0.6], "width_s": 0.1})
    np.testing.assert_allclose(
        inputs(later).segments[5, 0, 0], expected[5, 0, 45:58].mean(), rtol=0.2
    )
    assert "set bins.align: onset, and bins.window_s within -0.25 to 0.757812 s" in refusal(
        settings(path)
    )
    assert "reaches beyond the epochs" in refusal(settings(path, bins={"align": "onset"}))


def test_objects_of_mne_as_arrays(mne: Any, caplog: pytest.LogCaptureFixture) -> None:
    raw = raw_of(mne)
    with caplog.at_level(logging.WARNING):
        found = mmg_ray.mi_matrix(raw, denoiser="screen")
    assert found.names == ["Fz", "Cz"]
    assert "3 channels are left out: Oz is marked as bad" in caplog.text
    same = mmg_ray.mi_matrix(raw.get_data(["Fz", "Cz"]).T, ["Fz", "Cz"], denoiser="screen")
    np.testing.assert_array_equal(found.mi, same.mi)
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error")
    np.testing.assert_array_equal(mmg_ray.mi_matrix(epochs, denoiser="screen").mi, found.mi)


def test_lags_of_objects_of_mne(mne: Any, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(4000)
    y = 0.5 * np.roll(x, 3) + rng.standard_normal(4000)
    bad = rng.standard_normal(4000)
    info = mne.create_info(["Fz", "Cz", "Oz"], 200.0, "eeg")
    raw = mne.io.RawArray(np.stack([x, y, bad]) * 1e-6, info, verbose="error")
    raw.info["bads"] = ["Oz"]
    with caplog.at_level(logging.WARNING):
        curve = mmg_ray.lag_scan(raw, max_s=0.05)
    assert "Oz is marked as bad" in caplog.text
    [pair] = curve.attrs["pairs"]
    assert (pair["source"], pair["target"], round(pair["lag_s"], 4)) == ("Fz", "Cz", 0.015)
    same = mmg_ray.lag_scan({"Fz": x, "Cz": y}, max_s=0.05, sample_s=0.005)
    np.testing.assert_allclose(curve.mi_nats, same.mi_nats)
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error")
    cut = mmg_ray.lag_scan(epochs, max_s=0.05, null="trial").attrs["pairs"][0]
    trials = list(range(0, 4000, 200))
    expected = mmg_ray.lag_scan(
        {"Fz": x, "Cz": y}, max_s=0.05, sample_s=0.005, trials=trials, null="trial"
    ).attrs["pairs"][0]
    assert cut["lag_s"] == pytest.approx(0.015)
    assert cut == pytest.approx(expected, nan_ok=True)
    with pytest.raises(mmg_ray.MMGError, match="leave out sample_s"):
        mmg_ray.lag_scan(raw, max_s=0.05, sample_s=0.1)
