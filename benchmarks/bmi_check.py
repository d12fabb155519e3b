"""Our samplers of the BMI tasks beside those of its authors' package: true MI and sample moments.

    python -m venv /tmp/bmi && /tmp/bmi/bin/pip install 'jax==0.4.30' 'jaxlib==0.4.30' 'numpy<2' benchmark-mi==0.1.3
    python benchmarks/bmi_check.py --python /tmp/bmi/bin/python

The package needs an older JAX and NumPy, hence its own environment: the samples are drawn there and
compared here. Of every task: the difference of the true MI, the largest Kolmogorov-Smirnov distance of
any coordinate, of any sum or difference of two coordinates, and of the squared radii of x and of y, in
units of its 1 % point.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import print_table
from scipy.stats import ks_2samp

from mmg_ray.known_mi import bmi_suite

_DRAW = """
import sys, numpy as np, bmi
found = {}
for name, task in bmi.benchmark.BENCHMARK_TASKS.items():
    x, y = task.sample(int(sys.argv[2]), seed=1)
    found[name] = np.concatenate([np.asarray(x), np.asarray(y)], 1)
    found[name + " mi"] = task.mutual_information
np.savez(sys.argv[1], **found)
"""


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance over its 1 % point for two samples of these sizes."""
    critical = 1.628 * np.sqrt((len(a) + len(b)) / (len(a) * len(b)))
    return float(ks_2samp(a, b, method="asymp").statistic / critical)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="interpreter that has benchmark-mi")
    parser.add_argument("--n-samples", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.npz"
        subprocess.run([args.python, "-c", _DRAW, path, str(args.n_samples)], check=True)
        theirs = dict(np.load(path))
    rows, suite, bad = [], bmi_suite(), []
    for name in (key for key in theirs if not key.endswith(" mi")):
        other, task = theirs[name], suite.pop(name)
        x, y = (
            v.reshape(args.n_samples, -1)
            for v in task.sample(np.random.default_rng(2), args.n_samples)
        )
        ours = np.concatenate([x, y], 1)
        dim = ours.shape[1]
        single = max(distance(a, b) for a, b in zip(ours.T, other.T, strict=True))
        chosen = range(dim) if dim <= 10 else [0, 1, 2, dim // 2, dim // 2 + 1, dim // 2 + 2]
        couples = max(
            distance(ours[:, i] + sign * ours[:, j], other[:, i] + sign * other[:, j])
            for i in chosen
            for j in chosen
            if i < j
            for sign in (1, -1)
        )
        radius = max(
            distance((a**2).sum(1), (b**2).sum(1))
            for a, b in ((x, other[:, : x.shape[1]]), (y, other[:, x.shape[1] :]))
        )
        gap = task.mi_nats - float(theirs[f"{name} mi"])
        rows.append([name, f"{gap:+.1e}", f"{single:.2f}", f"{couples:.2f}", f"{radius:.2f}"])
        # the largest of up to 1200 distances may pass its 1 % point, never twice over
        if abs(gap) > 1e-6 or max(single, couples, radius) > 1.5:
            bad.append(name)
    print_table(["task", "difference of MI", "coordinates", "sums", "radii"], rows)
    if suite or bad:
        sys.exit(f"not in the package: {list(suite)}; different: {bad}")
    print(f"\n{len(rows)} tasks, all the same")


if __name__ == "__main__":
    main()
