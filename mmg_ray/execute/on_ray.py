"""Ray: the only module that imports it.

Ray carries items of a few bytes and receipts; data and results go through storage, so its object
store stays empty. Ray repeats a task whose worker or node died, at most `max_retries` times, and one
that reports a storage error; any other exception is the item's outcome at once. Tasks may run twice:
they are pure functions that write one object each.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from mmg_ray.config import ExecuteConfig
from mmg_ray.errors import ConfigError, StoreError
from mmg_ray.execute.outcome import Outcome, describe

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 100 * 2**20

_CONNECT_TIMEOUT_S = 5.0

_WAY_OUT = {
    "CPU": "lower execute.num_cpus",
    "GPU": "set execute.num_gpus: 0, or use an execute.address with GPUs",
    "memory": "lower plan.tile_variables",
}


class OnRay:
    """An Executor over the workers of the Ray that this process is connected to."""

    def __init__(self, cfg: ExecuteConfig, task_bytes: float) -> None:
        self._cfg = cfg
        self._needs = {"CPU": cfg.num_cpus, "GPU": cfg.num_gpus, "memory": float(int(task_bytes))}

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[T, R]]:
        task = ray.remote(fn).options(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            memory=int(self._needs["memory"]),
            max_retries=self._cfg.max_retries,
            retry_exceptions=[StoreError],
        )
        waiting = iter(items)
        pending: dict[ray.ObjectRef[Any], T] = {}
        try:
            while True:
                # read each time: nodes come and go
                room = self._max_in_flight() - len(pending)
                for item in _take(waiting, room):
                    pending[task.remote(item)] = item
                if not pending:
                    return
                ready, _ = ray.wait(list(pending), num_returns=1)
                for ref in ready:
                    yield _outcome(ref, pending.pop(ref))
        finally:
            for ref in pending:
                ray.cancel(ref)

    def on_cpu(self) -> OnRay:
        return OnRay(replace(self._cfg, num_gpus=0), self._needs["memory"])

    def too_large(self) -> str:
        """Why a task fits on no node, so that Ray would wait; empty if it fits."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for name, needed in self._needs.items():
            largest = max(node.get(name, 0.0) for node in nodes)
            if needed > largest:
                return (
                    f"a task needs {_amount(name, needed)}, but the largest node has "
                    f"{_amount(name, largest)}; {_WAY_OUT[name]}"
                )
        return ""

    def _max_in_flight(self) -> int:
        if self._cfg.max_in_flight is not None:
            return self._cfg.max_in_flight
        total = ray.cluster_resources()
        fits = min(total.get(name, 0.0) / need for name, need in self._needs.items() if need > 0)
        return 2 * max(1, math.floor(fits))


@contextmanager
def ray_executor(cfg: ExecuteConfig, task_bytes: float) -> Iterator[OnRay]:
    """Ray as `cfg.address` says: started here, connected to, or the one this process already uses.

    What is started or connected here is stopped on leaving; a Ray that the caller initialised is
    left running. Raises ConfigError where Ray cannot be reached or this machine cannot hold a task.
    """
    executor = OnRay(cfg, task_bytes)
    started = not ray.is_initialized()
    if started:
        _connect(cfg)
    try:
        problem = executor.too_large()
        if problem and started and cfg.address == "local":
            raise ConfigError(problem)
        if problem:
            log.warning("%s. Waiting for the cluster to grow", problem)
        yield executor
    finally:
        if started:
            ray.shutdown()


def _connect(cfg: ExecuteConfig) -> None:
    try:
        if cfg.address == "local":
            ray.init(
                "local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            return
        host, _, port = cfg.address.rpartition(":")
        if port.isdigit() and "/" not in host:
            # Ray itself tries for many minutes when nobody listens there
            socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
        ray.init(cfg.address, logging_level=logging.ERROR, log_to_driver=False)
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"execute.address is {cfg.address!r}, but Ray cannot be reached there "
            f"({describe(error)}). Check the address; a cluster with tokens needs RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN in the environment; execute.executor: serial does without Ray"
        ) from None


def _outcome(ref: Any, item: T) -> Outcome[T, Any]:
    try:
        return Outcome(item, result=ray.get(ref))
    except RayTaskError as error:
        return Outcome(item, error=describe(error.cause))
    except RayError as error:  # the worker or node died too often
        return Outcome(item, error=describe(error))


def _take(items: Iterator[T], n: int) -> Iterator[T]:
    for _ in range(n):
        try:
            yield next(items)
        except StopIteration:
            return


def _amount(name: str, value: float) -> str:
    return f"{value / 2**30:.2g} GiB of memory" if name == "memory" else f"{value:g} {name}"
