"""A limit of memory ends with one message and a way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmg_ray.errors import DataError
from mmg_ray.memory import fits


@pytest.mark.parametrize("kilobytes", [300_000, 700_000, 1_200_000])
def test_a_limit_that_the_libraries_do_not_fit_in_is_said(tmp_path: Path, kilobytes: int) -> None:
    words = f"ulimit -v {kilobytes}; exec {sys.executable} -m mmg_ray run run.yaml"
    done = subprocess.run(
        ["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "the address space of this process is limited" in done.stderr
    assert "OpenBLAS" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_does_not_fit_is_an_error_of_the_data() -> None:
    with (
        pytest.raises(DataError, match=r"a\.csv does not fit into memory .no more was given"),
        fits("a.csv"),
    ):
        raise MemoryError
