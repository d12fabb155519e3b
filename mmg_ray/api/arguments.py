"""What the functions of the package are passed: samples in one order, and settings over the configuration's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmg_ray.arrays import Samples, aligned, read
from mmg_ray.config import EstimatorConfig


def together(**values: Any) -> dict[str, Samples]:
    """What was passed under these names, unless it is None, with the samples in one order."""
    tables = [read(value, name) for name, value in values.items() if value is not None]
    return {table.what: table for table in aligned(tables)}


def settings_of(
    config: EstimatorConfig | None, denoiser: str | None, seed: int | None
) -> EstimatorConfig:
    settings = config or EstimatorConfig()
    return replace(
        settings,
        denoiser=settings.denoiser if denoiser is None else denoiser,
        seed=settings.seed if seed is None else seed,
    )
