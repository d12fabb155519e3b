"""Malformed recordings: NWB, MATLAB of either kind, folders of suite2p and phy; seeded.

    python tests/attack/attack_recordings.py [--tries 400] [--seed 0] [--limit-s 900]

Files are damaged byte by byte, as in attack_inputs.py, and HDF5 files from within: a dataset is lost, of another
type or shape, an attribute is wrong, a link leads to nowhere or round in a circle.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
from attack_inputs import damage, must_refuse
from harness import Attempt, Outcome, Table, campaign
from scipy.io import savemat

from mmg_ray.config import load_as
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.job import inputs

SECONDS, N_UNITS = 60.0, 4


def trains() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.sort(rng.uniform(0, SECONDS, 300)) for _ in range(N_UNITS)]


def lfp() -> np.ndarray:
    return np.cumsum(np.random.default_rng(1).standard_normal((600, 3)), axis=0)


def write_nwb(path: Path) -> None:
    nwb = pynwb.NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC))
    nwb.add_unit_column("area", "where")
    for k, times in enumerate(trains()):
        nwb.add_unit(spike_times=times, area="ab"[k % 2], obs_intervals=[[0.0, SECONDS]])
    for k in range(40):
        nwb.add_trial(start_time=float(k), stop_time=k + 0.9)
    nwb.add_acquisition(pynwb.TimeSeries(name="lfp", data=lfp(), unit="V", rate=10.0))
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)


def _cell(values: list[Any]) -> np.ndarray:
    made = np.empty((1, len(values)), dtype=object)
    for k, value in enumerate(values):
        made[0, k] = value
    return made


def cells() -> np.ndarray:
    return _cell(trains())


def write_v5(path: Path) -> None:
    labels = np.array([[f"u{k}" for k in range(N_UNITS)]], dtype=object)
    savemat(path, {"session": {"spikes": cells(), "label": labels}, "fs": 10.0})


def write_v73(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = []
        for k, times in enumerate(trains()):
            node = file.create_dataset(f"#refs#/{k}", data=times[:, None])
            node.attrs["MATLAB_class"] = np.bytes_("double")
            refs.append(node.ref)
        data = np.array(refs, dtype=h5py.ref_dtype)[:, None]
        made = file.create_dataset("session/spikes", data=data, dtype=h5py.ref_dtype)
        made.attrs["MATLAB_class"] = np.bytes_("cell")
        file["session"].attrs["MATLAB_class"] = np.bytes_("struct")
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_suite2p(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(2)
    for name in ("F", "Fneu", "spks"):
        np.save(folder / f"{name}.npy", rng.random((5, 400)).astype(np.float32))
    np.save(folder / "iscell.npy", np.ones((5, 2)))
    np.save(folder / "settings.npy", {"fs": 15.5, "extraction": {"neuropil_coefficient": 0.7}})


def write_phy(folder: Path) -> None:
    folder.mkdir()
    times = np.concatenate(trains())
    order = np.argsort(times)
    np.save(folder / "spike_times.npy", np.round(times[order] * 30_000).astype(np.uint64))
    np.save(folder / "spike_clusters.npy", np.repeat(np.arange(N_UNITS), 300)[order])
    (folder / "params.py").write_text("sample_rate = 30000.\n")
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n1\tgood\n2\tmua\n")


WRITERS: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "a.nwb": (write_nwb, {"recording": {"series": ["lfp"]}, "bins": {"width_s": 0.1}}),
    "trials.nwb": (write_nwb, {"bins": {"align": "start_time"}, "between": {"areas": "area"}}),
    "v5.mat": (write_v5, {"recording": {"names": "label"}}),
    "v73.mat": (write_v73, {}),
    "plane0": (write_suite2p, {"recording": {"trace": "F"}}),
    "phy": (write_phy, {}),
}


def read(path: Path, sections: dict[str, Any]) -> tuple[Outcome, str]:
    """Read a recording as the job does; what is read must be a table."""
    tree = {"data": {"path": str(path)}, "output": {"url": str(path.parent / "run")}} | sections
    made = inputs(load_as(NeuralConfig, "", [f"{s}={_flow(of)}" for s, of in tree.items()]))
    values = made.table.values
    if values.shape != (made.table.n_samples, len(set(made.table.names))):
        return Outcome.SILENT, f"{values.shape}, {made.table.names}"
    stored = values if isinstance(values, np.ndarray) else values.data  # counts stay sparse
    if np.isinf(stored).any():
        return Outcome.SILENT, "infinite values"
    return Outcome.ACCEPTED, ""


def _flow(section: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in section.items()) + "}"


def bytes_damaged(kind: str, seed: int) -> tuple[Outcome, str]:
    write, sections = WRITERS[kind]
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        write(path)
        hit = rng.choice(sorted(path.iterdir())) if path.is_dir() else path
        hit.write_bytes(damage(hit.read_bytes(), rng))
        return read(path, sections)


def inside_damaged(kind: str, seed: int) -> tuple[Outcome, str]:
    write, sections = WRITERS[kind]
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        write(path)
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            _damage_node(file, rng.choice(sorted(names)), rng)
        return read(path, sections)


def _damage_node(file: h5py.File, name: str, rng: random.Random) -> None:
    node = file[name]
    attributes = {key: node.attrs[key] for key in node.attrs if rng.random() < 0.8}
    shape = getattr(node, "shape", ()) or (3,)
    other = {
        "text": np.array(["a", "b"], dtype="S"), "empty": np.zeros(0), "cube": np.zeros((2, 3, 4)),
        "shorter": np.arange(float(max(shape[0] - 1, 1))), "negative": -np.ones(shape),
        "not finite": np.full(shape, [np.nan, np.inf][rng.randrange(2)]),
        "whole": np.full(shape, 2**62, dtype=np.int64), "complex": np.ones(shape, complex),
        "single": np.array(1.0), "no reference": None,
    }  # fmt: skip
    how = rng.choice(["delete", "loop", "nowhere", "attribute", "group", *other])
    if how == "attribute":
        for key in list(node.attrs):
            if rng.random() < 0.5:
                node.attrs[key] = rng.choice([b"nothing", -1, np.ones(3), ""])
        return
    del file[name]
    if how == "loop":
        file[name] = h5py.SoftLink(f"/{name}")
    elif how == "nowhere":
        file[name] = h5py.SoftLink("/nowhere")
    elif how == "group":
        file.create_group(name)
    elif how != "delete":
        _write(file, name, other[how], shape)
    if how in other:
        file[name].attrs.update(attributes)


def _write(file: h5py.File, name: str, values: Any, shape: tuple[int, ...]) -> None:
    """A dataset of values; None is references of this shape that lead nowhere."""
    if values is None:
        file.create_dataset(name, shape=shape, dtype=h5py.ref_dtype)
    else:
        file.create_dataset(name, data=values)


def _v5(**variables: Any) -> Callable[[Path], None]:
    return lambda path: savemat(path, variables)


def _v73(fill: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_v73(path)
        with h5py.File(path, "r+") as file:
            fill(file)

    return write


def _nwb(fill: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_nwb(path)
        with h5py.File(path, "r+") as file:
            fill(file)

    return write


def _put(name: str, values: Any, **attributes: Any) -> Callable[[h5py.File], None]:
    def fill(file: h5py.File) -> None:
        kept = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        _write(file, name, values, (N_UNITS, 1))
        file[name].attrs.update(kept | attributes)

    return fill


def _itself(file: h5py.File) -> None:
    del file["session/spikes"]
    file["session/spikes"] = file["session"]


def _nested(depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = {"a": value}
    return value


# what must be refused
CRAFTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "no header": ("a.mat", lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124))),
    "a header alone": ("a.mat", lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM")),
    "of no version": ("a.mat", lambda path: path.write_bytes(b"MATLAB 9 MAT-file".ljust(124) + b"\x00\x09IM" + bytes(99))),
    "texts": ("a.mat", _v5(a="text", b=np.array(["a", "b"]))),
    "one number": ("a.mat", _v5(a=1.0)),
    "a cube": ("a.mat", _v5(a=np.zeros((4, 5, 6)))),
    "complex": ("a.mat", _v5(a=np.ones((50, 3), complex))),
    "cells in cells": ("a.mat", _v5(a=_cell([cells()]))),
    "two matrices": ("a.mat", _v5(a=lfp(), b=lfp())),
    "deep structs": ("a.mat", _v5(a=_nested(25))),
    "no variable": ("a.mat", _v5()),
    "spikes that go back": ("a.mat", _v5(a=_cell([t[::-1] for t in trains()]))),
    "a struct in itself": ("a.mat", _v73(_itself)),
    "references to nowhere": ("a.mat", _v73(_put("session/spikes", None))),
    "a class unknown": ("a.mat", _v73(_put("session/spikes", np.ones((4, 4)), MATLAB_class=b"quaternion"))),
    "an empty of ten axes": ("a.mat", _v73(_put("session/spikes", np.arange(10), MATLAB_empty=1, MATLAB_class=b"double"))),
    "a sparse matrix that points outside": ("a.mat", _v73(lambda file: _sparse(file, [0, 9, 2**40]))),
    "no units": ("a.nwb", _nwb(lambda file: file.__delitem__("units"))),
    "an index beyond the spikes": ("a.nwb", _nwb(_put("units/spike_times_index", np.array([300, 600, 900, 5000])))),
    "an index that goes back": ("a.nwb", _nwb(_put("units/spike_times_index", np.array([900, 600, 300, 1200])))),
    "spikes as texts": ("a.nwb", _nwb(_put("units/spike_times", np.array([b"x"] * 1200)))),
    "spikes that are missing": ("a.nwb", _nwb(_put("units/spike_times", np.full(1200, np.nan)))),
    "infinite spikes": ("a.nwb", _nwb(_put("units/spike_times", np.full(1200, np.inf)))),
    "spikes in milliseconds": ("a.nwb", _nwb(_put("units/spike_times", np.concatenate(trains()) * 1000))),
    "no file of NWB": ("a.nwb", lambda path: h5py.File(path, "w").close()),
    "half a file": ("a.nwb", lambda path: (write_nwb(path), path.write_bytes(path.read_bytes()[:9000]))[0]),
}  # fmt: skip


def _sparse(file: h5py.File, rows: list[int]) -> None:
    del file["session/spikes"]
    node = file.create_group("session/spikes")
    node.attrs.update({"MATLAB_sparse": np.uint64(4), "MATLAB_class": np.bytes_("double")})
    node["data"], node["ir"], node["jc"] = np.ones(3), np.array(rows), np.array([0, 2, 3])


def crafted(what: str) -> tuple[Outcome, str]:
    name, write = CRAFTED[what]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return must_refuse(what, lambda: read(path, {}))


def attempts(n: int, seed: int) -> Iterator[Attempt]:
    rng = random.Random(seed)
    whole = [Attempt("crafted recordings", what, crafted, (what,)) for what in CRAFTED]
    rng.shuffle(whole)
    kinds, of_hdf5 = list(WRITERS), ["a.nwb", "trials.nwb", "v73.mat"]
    for k in range(n):
        number = zlib.crc32(f"{seed} {k}".encode())
        if k % 3 == 0 and whole:
            yield whole.pop()
        elif k % 3 == 1:
            kind = kinds[k // 3 % len(kinds)]
            yield Attempt(f"damaged {kind}", f"seed {number}", bytes_damaged, (kind, number))
        else:
            kind = of_hdf5[k // 3 % len(of_hdf5)]
            yield Attempt(f"{kind} from within", f"seed {number}", inside_damaged, (kind, number))


def run(n: int, seed: int, limit_s: float) -> Table:
    folder = Path(tempfile.mkdtemp())
    try:
        for kind, (write, sections) in WRITERS.items():  # what is refused whole would tell nothing
            write(folder / kind)
            read(folder / kind, sections)
    finally:
        shutil.rmtree(folder)
    table = Table()
    for table, _ in campaign(attempts(n, seed), limit_s=limit_s):  # noqa: B007
        pass
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=900.0)
    asked = parser.parse_args()
    table = run(asked.tries, asked.seed, asked.limit_s)
    sys.stdout.write(f"{table}\n")
    sys.exit(1 if table.bad else 0)


if __name__ == "__main__":
    main()
