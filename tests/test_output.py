"""What commands write: a closed pipe is no error, a full disk leaves nothing half made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmg_ray import config
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver
from mmg_ray.output import PIPE_CLOSED, writing


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("output")
    np.save(folder / "values.npy", np.random.default_rng(0).normal(size=(60, 70)))
    tree = {
        "data": {"path": str(folder / "values.npy")},
        "estimator": {"denoiser": "screen"},
        "execute": {"executor": "serial"},
        "output": {"url": str(folder / "run")},
    }
    return driver.run(config.from_dict(tree)).url


def command(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mmg_ray", *words], stderr=subprocess.PIPE, **options
    )


def test_a_reader_that_stops_is_no_error(url: str) -> None:
    with command("edges", url, "--csv", "-", stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == PIPE_CLOSED
    assert said == b""


@pytest.mark.parametrize("words", [("--csv", "-"), ("--top", "5")], ids=str)
def test_a_full_output_is_one_message(url: str, words: tuple[str, ...]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full, command("edges", url, *words, stdout=full) as process:
        said = process.stderr.read().decode()
        assert process.wait() == 2
    assert said == (
        "error: cannot write the output: No space left on device; what was written is not whole\n"
    )


def test_a_file_is_written_whole_or_not_at_all(url: str, tmp_path: Path) -> None:
    file = tmp_path / "edges.csv"
    file.write_text("before")
    limited = f"ulimit -f 8; exec {sys.executable} -m mmg_ray edges {url} --csv {file}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert f"cannot write {file}: File too large; nothing of it was kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["edges.csv"]
    assert file.read_text() == "before"


def test_a_failure_while_writing_leaves_what_was(tmp_path: Path) -> None:
    def fails() -> None:
        with writing(str(tmp_path / "a")) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="No such file"), writing(str(tmp_path / "no" / "a")):
        pass
