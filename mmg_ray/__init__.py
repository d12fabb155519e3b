"""MI networks with error bars over very many variable pairs (MMG, arXiv 2509.20609).

Arrays in this process: `estimate_mi`, `mi_matrix`, `transfer_entropy`,
`MMGEstimator`. Stored runs: `run`, `open_run`; of counts of reads and of recordings `genomics.run`, `neural.run`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors read; `_HOME` is what runs
    from mmg_ray import genomics, neural
    from mmg_ray.api import (
        MMGEstimator,
        estimate_mi,
        independence_test,
        mmse_gap,
        transfer_entropy,
    )
    from mmg_ray.config import Config, EstimatorConfig, NullConfig
    from mmg_ray.errors import MMGError
    from mmg_ray.lags import lag_scan
    from mmg_ray.matrices import MIMatrix, mi_matrix
    from mmg_ray.network.consensus import consensus
    from mmg_ray.runs import Run, open_run
    from mmg_ray.schema import Status, Stop
    from mmg_ray.start import plan_run, run
    from mmg_ray.store.compare import compare

_HOME = {
    "estimate_mi": "mmg_ray.api",
    "mi_matrix": "mmg_ray.matrices",
    "mmse_gap": "mmg_ray.api",
    "transfer_entropy": "mmg_ray.api",
    "independence_test": "mmg_ray.api",
    "lag_scan": "mmg_ray.lags",
    "MIMatrix": "mmg_ray.matrices",
    "MMGEstimator": "mmg_ray.api",
    "run": "mmg_ray.start",
    "plan_run": "mmg_ray.start",
    "open_run": "mmg_ray.runs",
    "Run": "mmg_ray.runs",
    "compare": "mmg_ray.store.compare",
    "consensus": "mmg_ray.network.consensus",
    "EstimatorConfig": "mmg_ray.config",
    "NullConfig": "mmg_ray.config",
    "Config": "mmg_ray.config",
    "Status": "mmg_ray.schema",
    "Stop": "mmg_ray.schema",
    "MMGError": "mmg_ray.errors",
}

_PIPELINES = ("genomics", "neural")

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and reading a run does without it."""
    import importlib

    if name in _PIPELINES:
        return importlib.import_module(f"mmg_ray.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'mmg_ray' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_PIPELINES})
