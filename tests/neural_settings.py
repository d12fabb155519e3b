"""What tests of mmg_ray/neural share: small trains, a configuration, what a refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmg_ray.config import load_as
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.job import inputs

SECONDS = 60.0


def trains(seed: int = 0, n_units: int = 4) -> dict[str, np.ndarray]:
    """Poisson trains of 10 Hz; unit b repeats a third of a's spikes 100 ms later."""
    rng = np.random.default_rng(seed)
    names = [chr(ord("a") + k) for k in range(n_units)]
    found = {name: np.sort(rng.uniform(0, SECONDS, 600)) for name in names}
    followed = found["a"][rng.random(600) < 1 / 3] + 0.1
    found["b"] = np.sort(np.concatenate([found["b"], followed[followed < SECONDS]]))
    return found


def settings(path: Path, **sections: Any) -> NeuralConfig:
    tree: dict[str, Any] = {
        "data": {"path": str(path)},
        "estimator": {"denoiser": "screen"},
        "network": {"heatmap": False, "report": False, "steps": []},
        "execute": {"executor": "serial"},
        "output": {"url": str(path.parent / "run")},
    }
    for name, fields in sections.items():
        tree[name] = tree.get(name, {}) | fields
    return load_as(NeuralConfig, yaml.safe_dump(tree))


def refusal(cfg: NeuralConfig) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        inputs(cfg)
    return str(caught.value)
