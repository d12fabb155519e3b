"""Opening the executor that a configuration names."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from mmg_ray.config import ExecuteConfig
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.serial import Serial

# For a Ray that starts here: local to the machine, closed to others, quiet.
_STARTED_HERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # listen on 127.0.0.1 only. Ray reads it when it is imported and keeps it for the process
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray's default is to repeat a task that is too large for ever
    "RAY_task_oom_retries": "3",
    # Ray asks for a token by default. One for this process (Ray caches it) keeps other users of
    # the machine out and leaves nothing in the home directory
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
# Ray makes the mode explicit itself when it starts with a token: for its processes, not after them.
_SET_BY_RAY = ("RAY_AUTH_MODE",)


@contextmanager
def open_executor(cfg: ExecuteConfig, task_bytes: float) -> Iterator[Executor]:
    """The executor that `cfg` names; leaving the context stops what it started.

    Args:
        cfg: `execute` section.
        task_bytes: peak memory of one task, so that a node is not given more than it can hold.
    """
    if cfg.executor == "serial":
        yield Serial()
        return
    with _ray_environment(cfg):
        # imported here: a serial run does without Ray, and Ray reads its environment on import
        from mmg_ray.execute.on_ray import ray_executor

        with ray_executor(cfg, task_bytes) as executor:
            yield executor


@contextmanager
def _ray_environment(cfg: ExecuteConfig) -> Iterator[None]:
    """Set it before Ray is imported, for as long as it runs; what the user has set is kept.

    Nothing is set for a Ray that runs elsewhere: its own environment must say how to reach it.
    """
    wanted = _STARTED_HERE if cfg.address == "local" else {}
    before = set(os.environ)
    os.environ.update({name: value for name, value in wanted.items() if name not in before})
    try:
        yield
    finally:
        for name in {*wanted, *_SET_BY_RAY} - before:
            os.environ.pop(name, None)
