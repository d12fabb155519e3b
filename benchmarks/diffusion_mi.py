"""The MMG estimator of the paper's authors (package `diffusion-mi`) beside ours, at equal time and at ten times it.

    OMP_NUM_THREADS=1 python benchmarks/diffusion_mi.py --n-samples 5000

Some of the 40 tasks of `bmi.py`, standardised. Theirs trains on four fifths of the samples, as many steps as fit
into the seconds that ours took for the pair (at least 2 s), and estimates from the rest; its learning rate is ten
times its default, which is made for runs a thousand times as long. It needs

    pip install --no-deps diffusion-mi lightning pytorch_lightning lightning_utilities torchmetrics matplotlib
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import time
import types
import warnings

import numpy as np
from common import machine, print_table

import mmg_ray
from mmg_ray.config import EstimatorConfig
from mmg_ray.known_mi import bmi_suite

TASKS = [
    "1v1-normal-0.75",
    "1v1-additive-0.1",
    "multinormal-dense-2-2-0.5",
    "multinormal-sparse-3-3-2-2.0",
    "multinormal-sparse-25-25-2-2.0",
    "student-identity-3-3-2",
    "half_cube-multinormal-sparse-5-5-2-2.0",
    "spiral-multinormal-sparse-3-3-2-2.0",
]


def theirs() -> type:
    """`MMGEstimator`, without torchvision, which its package imports and needs for images alone."""
    import pytorch_lightning  # noqa: F401  # looks for torchvision itself, so it comes first
    import torchmetrics  # noqa: F401

    for name in ("torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]
    import dmi

    found: type = dmi.estimators.MMGEstimator
    return found


def fitted(estimator: type, x: np.ndarray, y: np.ndarray, steps: int) -> tuple[float, float]:
    """(MI of the held-out fifth, seconds)."""
    cut = len(x) * 4 // 5
    model = estimator(learning_rate=1e-3, batch_size=512, max_n_steps=steps, ema_decay=0.99)
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        # it looks at all of the validation samples after every epoch: two of them
        model.fit(x[:cut], y[:cut], x[cut : cut + 2], y[cut : cut + 2])
    mi = model.estimate(x[cut:], y[cut:])
    return float(mi), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=7700)
    parser.add_argument("--times", type=float, nargs="+", default=[1, 10], help="our time")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    estimator, suite = theirs(), bmi_suite()
    print(f"N = {args.n_samples}, {machine()}\n", flush=True)
    rows, errors = [], []
    for number, name in enumerate(TASKS):
        task = suite[name]
        x, y = task.sample(np.random.default_rng([args.seed, number]), args.n_samples)
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        began = time.perf_counter()
        ours = mmg_ray.estimate_mi(x, y, config=EstimatorConfig(seed=args.seed))
        seconds = time.perf_counter() - began
        x, y = ((v - v.mean(0)) / v.std(0) for v in (x, y))
        fitted(estimator, x, y, 5)  # whatever the first run has to load
        per_step = fitted(estimator, x, y, 100)[1] / 100
        found = [ours.mi_nats]
        row = [name, f"{task.mi_nats:.3f}", f"{ours.mi_nats:.3f}", f"{seconds:.1f}"]
        for times in args.times:
            steps = max(20, round(times * max(seconds, 2.0) / per_step))
            mi, took = fitted(estimator, x, y, steps)
            found.append(mi)
            row += [f"{mi:.3f}", f"{took:.1f}", f"{steps:,}"]
        errors.append(np.abs(np.array(found, dtype=float) - task.mi_nats))
        rows.append(row)
        print(*row, flush=True)
    header = ["task", "MI", "mmg_ray", "s"]
    for times in args.times:
        header += [f"diffusion-mi x{times:g}", "s", "steps"]
    print()
    print_table(header, rows)
    means = " / ".join(f"{value:.3f}" for value in np.mean(errors, axis=0))
    print(f"\nmean absolute error, mmg_ray and diffusion-mi at each time: {means}")


if __name__ == "__main__":
    main()
