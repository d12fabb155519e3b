"""The CPU twin of benchmarks/gpu.py: every part runs, a failure is one row, what is done is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def run(folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--out", str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert "gpu.md" in done.stdout, done.stderr
    found: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return found


def test_every_part_runs_and_agrees_with_itself(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert {"device", "versions", "commit"} <= set(found["head"])
    errors = [row["error"] for row in found["rows"] if "error" in row]
    assert not errors, errors[0]
    agreement = [row for row in found["rows"] if row["part"] == "agreement"]
    rates = {row["path"]: row for row in found["rows"] if row["part"] == "rate"}
    assert {row["path"] for row in agreement} == set(rates)
    assert all(row["agrees"] and row["max_difference_nats"] == 0 for row in agreement)
    assert all(row["pairs_per_s"] > 0 for row in rates.values())
    # the pairs depend, so that agreement is not of zeros
    assert min(row.get("max_mi_nats", 1) for row in agreement) > 0.01
    assert all(name in (tmp_path / "gpu.md").read_text() for name in rates)


def test_rows_that_are_there_are_kept_and_a_spent_budget_is_said(tmp_path: Path) -> None:
    first = run(tmp_path, "--part", "screen")
    second = run(tmp_path, "--go-on", "--budget-s", "0")
    assert second["rows"][: len(first["rows"])] == first["rows"]
    rest = second["rows"][len(first["rows"]) :]
    assert rest
    assert all("budget" in row["skipped"] for row in rest)


def test_a_part_that_fails_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import mmg_ray.estimator.conditional.conditioner as given\n"
        "def fails(*_): raise RuntimeError('as planned')\n"
        "given.Conditioner = fails\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{SCRIPT.parent.parent}")
    rows = run(tmp_path, "--part", "auto, given a condition", "--part", "screen")["rows"]
    assert {row["path"] for row in rows if "as planned" in row.get("error", "")} == {
        "auto, given a condition"
    }
    assert {row["path"] for row in rows if "error" not in row} == {"screen"}


def test_it_imports_only_what_a_gpu_machine_has(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['gpu.py', '--device', 'cpu', '--small', '--part', 'screen', '--out', "
        f"{str(tmp_path)!r}]; import runpy\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print({'ray', 'pyarrow', 'zarr', 'fsspec', 'anndata', 'click', 'rich'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "set()"
