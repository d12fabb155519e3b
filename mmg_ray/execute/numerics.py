"""How many threads the numerical libraries use, and what else decides the last digits of a result.

A sum over several threads is added in another order than over one, so its last digits differ. Every
task therefore runs each library on one thread, whatever the environment, the executor or the CPUs that
are reserved for it. Between unlike CPUs or versions of libraries last digits may differ all the same:
`numerical_environment` names them, and a run records which took part in it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from mmg_ray.errors import ConfigError

# Read by a library when it is loaded, and so by those that are loaded later than a limit is set.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_RESULTS_DEPEND_ON = ("mmg-ray", "numpy", "scipy", "torch")

_lock = threading.Lock()
_n_inside = 0
_undo: list[Any] = []


@contextmanager
def library_threads(n_jobs: int = 1) -> Iterator[None]:
    """Every numerical library of this process on `n_jobs` threads (-1: all cores), until it is left.

    OpenBLAS, MKL, BLIS and OpenMP, those loaded meanwhile included, and torch. Contexts that overlap,
    nested or in several threads of Python, have the count of the first; the last that is left restores
    what was. ConfigError for a count that is none.
    """
    global _n_inside
    with _lock:
        if _n_inside == 0:
            n_threads = _count(n_jobs)
            _undo[:] = [n_threads, torch.get_num_threads(), _set_environment(n_threads)]
            _undo.append(_loaded(len(sys.modules)).limit(limits=n_threads))
        _n_inside += 1
        torch.set_num_threads(_undo[0])  # OpenMP keeps a count for each thread of Python
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _, n_torch, environment, limiter = _undo
                limiter.restore_original_limits()
                torch.set_num_threads(n_torch)
                for name, value in environment.items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value


@lru_cache(maxsize=1)
def numerical_environment() -> dict[str, str]:
    """What the last digits of a result depend on here: versions of libraries, and what CPU they see."""
    found = {name: importlib.metadata.version(name) for name in _RESULTS_DEPEND_ON}
    found["machine"] = platform.machine()
    found["torch CPU capability"] = torch.backends.cpu.get_cpu_capability()
    kernels = {
        f"{library['internal_api']} {library.get('architecture', '')}".strip()
        for library in _loaded(len(sys.modules)).info()
        if library["user_api"] == "blas"
    }
    found["BLAS kernels"] = ", ".join(sorted(kernels))
    return found


@lru_cache(maxsize=1)
def _loaded(_n_modules: int) -> ThreadpoolController:
    """The libraries that are loaded, looked for again when a module has been imported since."""
    return ThreadpoolController()


def _set_environment(n_threads: int) -> dict[str, str | None]:
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, str(n_threads)))
    return before


def _count(n_jobs: int) -> int:
    if n_jobs == -1:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs < 1:
        raise ConfigError(
            f"n_jobs is {n_jobs!r}; it must be a number of threads, or -1 for all cores"
        )
    return n_jobs
