"""Edges of a few variables of every kind, by every denoiser, that tests compare with: `make golden` writes them.

Numbers may change with the estimator alone, and then RESULTS_FORMAT in mmg_ray/store/manifest.py has to be raised:
this file is not written again before that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import mmg_ray
from mmg_ray.config import EstimatorConfig, NetworkConfig, NullConfig
from mmg_ray.schema import PairEstimate
from mmg_ray.store.manifest import RESULTS_FORMAT

FILE = Path(__file__).with_name("edges.json")
NUMBERS = ("mi_nats", "se_nats", "mi_ij", "mi_ji", "gap", "orthogonal", "p_value", "spearman")
# Processors add in different orders. Networks are trained in float32, in steps that make a difference grow.
TOLERANCE = {"neural": 1e-2}
CLOSED_FORM = 1e-6
_N = 300
_SETTINGS: dict[str, Any] = {
    "network": NetworkConfig(n_steps=30),
    "nulls": NullConfig(max_permutations=199),
}


def variables() -> dict[str, np.ndarray]:
    """(300,) or (300, 2) values of every kind."""
    rng = np.random.default_rng(15)
    x, e, f, g = rng.standard_normal((4, _N))
    counts = rng.poisson(np.exp(0.8 * x))
    return {
        "gaussian": x,
        "linear": 0.7 * x + 0.7 * e,
        "quadratic": x**2 + 0.5 * f,
        "counts": counts.astype(float),
        "mostly zeros": np.where(rng.random(_N) < 0.9, 0.0, np.exp(x)),
        "binary": (x + g > 0.5).astype(float),
        "missing": np.where(rng.random(_N) < 0.2, np.nan, x + f),
        "heavy ties": np.round(x + 0.3 * e),
    }


def compute() -> dict[str, dict[str, Any]]:
    """Estimates by "denoiser: x - y", or "... | condition"."""
    table = variables()
    values = np.stack(list(table.values()), axis=1)
    names = list(table)
    found: dict[str, dict[str, Any]] = {}
    for denoiser in ("auto", "screen", "gaussian", "spline"):
        cfg = EstimatorConfig(denoiser, **_SETTINGS)
        matrix = mmg_ray.mi_matrix(values, names, config=cfg)
        for (i, j), estimate in matrix.estimates.items():
            found[f"{denoiser}: {names[i]} - {names[j]}"] = _row(estimate)
    pair = values[:, [0, 3]]
    auto, neural = (EstimatorConfig(denoiser, **_SETTINGS) for denoiser in ("auto", "neural"))
    gaussian = EstimatorConfig("gaussian", **_SETTINGS)
    label = np.where(np.arange(_N) % 3 == 0, "a", "b")
    estimates = {
        "auto: linear - quadratic | gaussian": (values[:, 1], values[:, 2], values[:, 0], auto),
        "auto: gaussian - linear | label": (values[:, 0], values[:, 1], label, auto),
        "auto: counts - binary | label": (values[:, 3], values[:, 5], label, auto),
        "gaussian: group - linear": (pair, values[:, 1], None, gaussian),
        "neural: group - quadratic": (pair, values[:, 2], None, neural),
        "neural: gaussian - quadratic": (values[:, 0], values[:, 2], None, neural),
    }
    for name, (x, y, condition, cfg) in estimates.items():
        found[name] = _row(mmg_ray.estimate_mi(x, y, condition=condition, config=cfg))
    return found


def _row(estimate: PairEstimate) -> dict[str, Any]:
    texts = {"status": estimate.status.value, "denoiser": estimate.denoiser}
    return texts | {"n_samples": estimate.n_samples} | {k: getattr(estimate, k) for k in NUMBERS}


def differences(golden: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[str]:
    """Where two sets of estimates differ by more than processors do, one line each."""
    lines = [f"{name} is in one of them only" for name in sorted(golden.keys() ^ found.keys())]
    for name in golden.keys() & found.keys():
        ours, theirs = found[name], golden[name]
        tolerance = TOLERANCE.get(ours["denoiser"], CLOSED_FORM)
        for key in ours:
            a, b = theirs.get(key), ours[key]
            if key in NUMBERS and a is not None and b is not None:
                if key == "p_value":  # the error of its statistic grows with the depth of the tail
                    same = abs(a - b) <= 10 * tolerance * (1 - np.log(max(a, 1e-300))) * max(a, b)
                else:  # relative, but a MI of nearly 0 is a difference of larger numbers
                    same = abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-2)
            else:
                same = a == b
            if not same:
                lines.append(f"{name}: {key} was {a} and is {b}")
    return sorted(lines)


def main() -> None:
    found = compute()
    if FILE.exists():
        before = json.loads(FILE.read_text())
        changed = differences(before["edges"], found)
        if changed and before["results_format"] == RESULTS_FORMAT:
            sys.exit(
                f"{len(changed)} numbers have changed, such as {changed[0]}. Raise the results' version "
                "(RESULTS_FORMAT in mmg_ray/store/manifest.py) first"
            )
    FILE.write_text(json.dumps({"results_format": RESULTS_FORMAT, "edges": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
