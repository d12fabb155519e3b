"""The same bits: one thread for every library, whatever the environment, the executor and its CPUs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import mmg_ray
from mmg_ray import config
from mmg_ray.api import pair as api_pair
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.errors import ConfigError
from mmg_ray.execute import driver, task
from mmg_ray.execute.numerics import library_threads, numerical_environment
from mmg_ray.matrices import estimate as of_matrices
from mmg_ray.store import environments, manifest
from mmg_ray.store.location import Location

DENOISERS = ("screen", "spline", "auto", "neural", "gaussian")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def tree(folder: Path, name: str, denoiser: str, **execute: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    # long enough for OpenBLAS to share a product between threads
    values = rng.normal(size=(120 if denoiser == "neural" else 3000, 7))
    values[:, 1] += np.sin(2 * values[:, 0])
    values[:, 3] += 0.3 * values[:, 2] ** 2
    np.save(folder / f"{denoiser}.npy", values)
    network = {"n_steps": 20, "batch_size": 32} if denoiser == "neural" else {}
    return {
        "data": {"path": str(folder / f"{denoiser}.npy")},
        "estimator": {"denoiser": denoiser, "network": network},
        "plan": {"tile_variables": 3, "shard_s": 1.0e-9},
        "edges": {"matrix": False},
        "execute": {"executor": "serial", **execute},
        "output": {"url": str(folder / f"{name}-{denoiser}")},
    }


def edges(url: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(url) / "edges").glob("*.parquet")}


# A driver in a process of its own: libraries take their count of threads when they are loaded.
_RUN_ALL = """
import json, sys
from mmg_ray import config
from mmg_ray.execute import driver
from mmg_ray.execute.executor import open_executor
configs = [config.from_dict(tree) for tree in json.load(sys.stdin)]
with open_executor(configs[0].execute, 2**28):  # one Ray for all
    for cfg in configs:
        driver.run(cfg)
"""


def run_all(trees: list[dict], n_threads: int | None) -> list[dict[str, bytes]]:
    environment = {name: value for name, value in os.environ.items() if name not in _THREADS}
    if n_threads is not None:
        environment |= dict.fromkeys(_THREADS, str(n_threads))
    subprocess.run(
        [sys.executable, "-c", _RUN_ALL], input=json.dumps(trees), text=True, check=True,
        env=environment,
    )  # fmt: skip
    return [edges(tree["output"]["url"]) for tree in trees]


def test_every_denoiser_gives_the_same_bits_however_it_is_run(tmp_path: Path) -> None:
    def trees(name: str, **execute: object) -> list[dict]:
        return [tree(tmp_path, name, denoiser, **execute) for denoiser in DENOISERS]

    expected = run_all(trees("serial"), 1)
    assert all(len(found) > 3 for found in expected)
    for found in (
        run_all(trees("unset"), None),
        run_all(trees("two-cpus", executor="ray", num_cpus=2), None),
    ):
        for denoiser, ours, theirs in zip(DENOISERS, expected, found, strict=True):
            assert ours == theirs, denoiser


def test_the_limit_holds_for_libraries_that_are_loaded_later() -> None:
    code = """
from mmg_ray.execute.numerics import library_threads
from threadpoolctl import threadpool_info
import sys
with library_threads():
    before = len(threadpool_info())
    import sklearn.cluster
    assert len(threadpool_info()) > before
    print({library["num_threads"] for library in threadpool_info()})
"""
    environment = {name: value for name, value in os.environ.items() if name not in _THREADS}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{1}"


def test_what_was_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with threadpool_limits(2):
        torch.set_num_threads(2)
        with library_threads():
            with library_threads(2):  # the first decides
                assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
                assert {library["num_threads"] for library in threadpool_info()} == {1}
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        assert {e["num_threads"] for e in threadpool_info() if e["user_api"] == "blas"} == {2}
    torch.set_num_threads(1)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_calls_in_this_process_choose_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(*args: object, **kwargs: object):
        seen.append(torch.get_num_threads())
        return estimate(*args, **kwargs)

    estimate = api_pair.estimate_given
    for module in (api_pair, of_matrices):
        monkeypatch.setattr(module, "estimate_given", spy)
    x, e = np.random.default_rng(0).normal(size=(2, 100))
    cfg = EstimatorConfig(denoiser="gaussian", network=NetworkConfig())
    mmg_ray.estimate_mi(x, x + e, config=cfg)
    mmg_ray.estimate_mi(x, x + e, config=cfg, n_jobs=2)
    mmg_ray.mi_matrix(np.stack([x, e], axis=1), config=cfg, n_jobs=2)
    mmg_ray.transfer_entropy(x, e, config=cfg)
    assert seen == [1, 2, 2, 1]
    for wrong in (0, -2, 1.5, True):
        with pytest.raises(ConfigError, match="number of threads"):
            mmg_ray.estimate_mi(x, e, config=cfg, n_jobs=wrong)


def test_a_run_records_with_what_it_was_computed_and_warns_of_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config.from_dict(tree(tmp_path, "mixed", "gaussian"))
    run = driver.run(cfg)
    here = numerical_environment()
    assert here["numpy"] == np.__version__
    assert here["torch CPU capability"]
    assert "openblas" in here["BLAS kernels"] or "mkl" in here["BLAS kernels"]
    assert manifest.read(Location(run.url)).environment == here
    assert environments.recorded(Location(run.url)) == [here]

    def resumed() -> list[str]:
        next((Path(run.url) / "edges").iterdir()).unlink()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "mmg_ray"):
            driver.run(cfg)
        return [record.getMessage() for record in caplog.records]

    assert resumed() == []
    task._record_environment.cache_clear()
    other = here | {"torch CPU capability": "DEFAULT"}
    for module in (driver, task):
        monkeypatch.setattr(module, "numerical_environment", lambda: other)
    (message,) = resumed()
    assert (
        f"torch CPU capability: {' or '.join(sorted([here['torch CPU capability'], 'DEFAULT']))}"
        in message
    )
    assert "ATEN_CPU_CAPABILITY" in message
    assert len(environments.recorded(Location(run.url))) == 2
