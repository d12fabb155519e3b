"""Whether lags of groups, or given a condition, have room in a recording."""

from __future__ import annotations

import numpy as np

from mmg_ray.errors import ConfigError
from mmg_ray.estimator.lags import LagSettings


def check(starts: np.ndarray, n_samples: int, settings: LagSettings) -> None:
    """ConfigError where segments or lags leave no room for this null."""
    lengths = np.diff(np.append(starts, n_samples))
    if len(starts) > 1 and len(np.unique(lengths)) > 1:
        raise ConfigError(
            f"lags of groups, or given data.conditions, take trials of one length; lags.trials parts {lengths.min()} to "
            f"{lengths.max()} samples"
        )
    if settings.null != ("shift" if len(starts) == 1 else "trial"):
        raise ConfigError(
            f"lags.nulls is {settings.null!r}, and lags of groups, or given data.conditions, are tested by shifts of one recording "
            "or by permuted trials; set lags.nulls: auto"
        )
    room = n_samples - 3 * settings.most
    if len(starts) == 1 and room < 2 * (2 * settings.most + 1):
        raise ConfigError(
            f"lags of up to {settings.most} samples either way are too many for a series of {n_samples}; lower "
            "lags.max_s"
        )
