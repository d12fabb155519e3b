"""Whether lags of groups, or given a condition, have room in a recording."""

from __future__ import annotations

import numpy as np

from mmg_ray.errors import ConfigError
from mmg_ray.estimator.lags import LagSettings
from mmg_ray.estimator.lags.segments import LEAST_BLOCKS, LEAST_TRIALS


def check(starts: np.ndarray, n_samples: int, settings: LagSettings) -> None:
    """ConfigError where segments or lags leave no room for this null."""
    lengths = np.diff(np.append(starts, n_samples))
    if settings.null == "jitter":
        raise ConfigError(
            "lags.nulls is 'jitter', which moves events, and lags of groups, or given data.conditions, are of samples; set "
            "lags.nulls: shift, block or trial"
        )
    if settings.null == "trial" and (len(starts) < LEAST_TRIALS or len(np.unique(lengths)) > 1):
        raise ConfigError(
            f"lags of groups, or given data.conditions, take {LEAST_TRIALS} trials of one length or more; lags.trials parts "
            f"{len(starts)} of {lengths.min()} to {lengths.max()} samples. Set lags.nulls: shift"
        )
    room = n_samples - 3 * settings.most
    if settings.null == "shift" and room < 2 * (2 * settings.most + 1):
        raise ConfigError(
            f"lags of up to {settings.most} samples either way are too many for a series of {n_samples}; lower "
            "lags.max_s"
        )
    n_blocks = (lengths // (2 * settings.most + 1)).sum()
    if settings.null == "block" and n_blocks < LEAST_BLOCKS:
        raise ConfigError(
            f"lags.nulls is 'block', which needs {LEAST_BLOCKS} blocks longer than lags of {settings.most} samples either "
            f"way; there is room for {n_blocks}. Set lags.nulls: shift, or lower lags.max_s"
        )
