"""The package that a user installs: a wheel of a clean clone, in a fresh environment, outside the repository.

The environment has the wheel and nothing else of its own. Its dependencies are those of the environment that
runs the tests, through a .pth file, which takes over folders but no editable installation.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import yaml
from forked_program import forked

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("runs", "cluster", "genomics", "neural")),
]

# What pages name and a test has not: a bucket, a cluster, GPUs, minutes.
_STAND_INS = {
    "s3://bucket": "bucket",
    "execute.address=auto": "execute.executor=serial",
    " --set execute.num_gpus=0.25": "",
    "--permutations 9999": "--permutations 99",
}
# The worked examples take minutes in full: some genes, some regions, some seconds instead.
_REDUCED = {
    "mmg-ray genomics": "--set genes.top=12 --set execute.executor=serial",
    "mmg-ray neural": "--set data.variables=[LCau,RCau,LPut,RPut] --set lags.transfer=[]",
    "mmg-ray neural --example grasshopper": "--set recording.stop_s=2",
}
# What a reader edits in a configuration that a command has printed.
_EDITS = {
    "run.yaml": {"data": {"path": "table.csv"}},
    "genes.yaml": {"data": {"path": "counts.csv"}, "genes": {"min_cells": 1}},
    "cells.yaml": {"data": {"path": "spikes.npz"}},
}
# Runs that pages speak of and none of their commands makes.
_RUNS = ("runs/b-cells", "runs/before", "runs/after", "runs/half-0", "runs/half-1", "bucket/run-1")


def _do(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command in which nothing leads to the repository; its output where it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what is committed."""
    folder = tmp_path_factory.mktemp("wheel")
    _do("git", "clone", "--quiet", ROOT, "clone", cwd=folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    _do(*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "clone", cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """The folder of programs of a fresh environment into which the wheel is installed."""
    home = wheel.parent / "environment"
    _do(sys.executable, "-m", "venv", "--without-pip", home, cwd=wheel.parent)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    _do(*pip, "install", "--no-deps", wheel, cwd=wheel.parent)
    site = Path(
        _do(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home
        ).strip()
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _take_compiled(site)
    return home / "bin"


def _take_compiled(site: Path) -> None:
    """Kernels that are compiled already, of files that are the same: they go by a file's size and time."""
    for file in (ROOT / "mmg_ray").rglob("*.py"):
        there = site / file.relative_to(ROOT)
        if there.exists() and there.read_bytes() == file.read_bytes():
            os.utime(there, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
            for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.nb*"):
                shutil.copy(compiled, there.parent / "__pycache__")


@pytest.fixture(scope="module")
def program(environment: Path) -> Iterator[Path]:
    """The folder of a stand-in for the program of the environment, which is loaded once for all commands."""
    folder = environment.parent.parent / "loaded"
    folder.mkdir()
    with forked(environment / "python", "mmg-ray", folder) as there:
        yield there


@pytest.fixture(scope="module")
def filled(environment: Path) -> Path:
    """A folder of what the pages' commands read: tables, a configuration, runs."""
    folder = environment.parent.parent / "filled"
    folder.mkdir()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(120, 4))
    values[:, 1] += values[:, 0]
    np.savetxt(folder / "table.csv", values, "%.6g", ",", header="A,B,C,D", comments="")
    counts = rng.poisson(rng.gamma(2, 2, size=(80, 1)), size=(80, 6))
    names = "STAT1,IRF1,CD3D,CD3E,LYZ,NKG7"
    np.savetxt(folder / "counts.csv", counts, "%d", ",", header=names, comments="")
    np.savez(folder / "spikes.npz", **{f"u{k}": np.sort(rng.uniform(0, 60, 300)) for k in range(3)})
    _edit(folder / "run.yaml", _EDITS["run.yaml"])
    _shell("mmg-ray run run.yaml --set output.url=first", environment, folder)
    for run in _RUNS:
        shutil.copytree(folder / "first", folder / run)
    return folder


@pytest.fixture
def place(filled: Path, tmp_path: Path) -> Path:
    """A folder of one's own, filled."""
    return shutil.copytree(filled, tmp_path, dirs_exist_ok=True)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    listed = _do("git", "ls-files", "mmg_ray", cwd=wheel.parent / "clone").split()
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    there = {file for file in files if ".dist-info/" not in file}
    assert there == set(listed)
    for kind in (".yaml", ".html", ".css", ".js", ".service", ".timer", ".typed"):
        assert any(PurePosixPath(file).suffix == kind or file.endswith(kind) for file in there), (
            kind
        )
    [licence] = [file for file in files if file.endswith("/LICENSE")]
    assert ".dist-info/" in licence


def test_what_runs_is_the_wheel(environment: Path, tmp_path: Path) -> None:
    program = "import mmg_ray, importlib.util as u; print(mmg_ray.__file__); print(u.find_spec('pipelines'))"
    file, pipelines = _do(environment / "python", "-c", program, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(environment.parent)
    assert pipelines == "None"
    modules = (
        "import importlib, pkgutil, mmg_ray\n"
        "for found in pkgutil.walk_packages(mmg_ray.__path__, 'mmg_ray.'):\n"
        "    if found.name != 'mmg_ray.__main__': importlib.import_module(found.name)\n"
    )
    _do(environment / "python", "-c", modules, cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_pages_run(page: Path, program: Path, place: Path) -> None:
    """Every command of a page, in its order, as it stands there but for what `_STAND_INS` says."""
    commands = _commands(page)
    assert commands
    for command in commands:
        _shell(command, program, place)
        name = command.rpartition("> ")[2]
        if name in _EDITS and "> " in command:
            _edit(place / name, _EDITS[name])
    if page.name == "genomics.md":
        assert (place / "runs/pbmc/network/mi.png").read_bytes().startswith(b"\x89PNG")
        assert (place / "runs/pbmc/report.html").exists()
    if page.name == "neural.md":
        for run in ("fmri", "grasshopper"):
            assert (place / f"runs/{run}/network/network.csv").exists()


def test_python_of_the_pages_runs(environment: Path, place: Path) -> None:
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/runs.md"))
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 2
    before = (
        "import anndata, numpy as np\n"
        "import mmg_ray\n"
        "other = mmg_ray.open_run('runs/after')\n"
        "halves = [mmg_ray.open_run(f'runs/half-{k}') for k in (0, 1)]\n"
        "values = np.random.default_rng(0).normal(size=(120, 4))\n"
        "adata = anndata.AnnData(values, obs={'batch': ['a', 'b'] * 60})\n"
        "adata.var_names = list('ABCD')\n"
    )
    (place / "readme.py").write_text(before + "\n".join(blocks).replace("=9999", "=99"))
    _do(environment / "python", "readme.py", cwd=place)


def test_a_scheduled_run_and_its_recipes(environment: Path, place: Path) -> None:
    command = "mmg-ray nightly run.yaml --base nights --date 2026-11-"
    assert '"state": "complete"' in _shell(command + "24", environment, place)
    assert '"state": "skipped"' in _shell(command + "25", environment, place)
    assert (place / "nights/2026-11-24/summary.json").exists()
    written = _shell("mmg-ray nightly --recipes recipes", environment, place).split()
    assert {Path(file).suffix for file in written} == {".yaml", ".service", ".timer"}


def _commands(page: Path) -> list[str]:
    """The lines of a page's blocks that call mmg-ray, without their comments."""
    found = []
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    for block in (text for language, text in fenced if not language):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+# .*", "", line).strip()
            # `explore` serves until it is stopped: test_explore.py does both
            if not re.match(r"([A-Z_]+=\S+ )*mmg-ray (?!explore )", command):
                continue
            for there, here in _STAND_INS.items():
                command = command.replace(there, here)
            found.append(command)
    return found


def _shell(command: str, programs: Path, cwd: Path) -> str:
    """Standard output of a line of a page, as a shell takes it that finds programs there first."""
    for start in sorted(_REDUCED, key=len, reverse=True):
        if re.fullmatch(rf"{start}( --set .*)?", command):
            command += f" {_REDUCED[start]}"
            break
    return _do("bash", "-c", f"PATH={programs}:$PATH; {command}", cwd=cwd)


def _edit(file: Path, edits: dict[str, dict[str, object]]) -> None:
    """Change a configuration as a reader would; a serial run starts no Ray."""
    tree = yaml.safe_load(file.read_text()) if file.exists() else {}
    for section, fields in {**edits, "execute": {"executor": "serial"}}.items():
        tree.setdefault(section, {}).update(fields)
    file.write_text(yaml.safe_dump(tree))
