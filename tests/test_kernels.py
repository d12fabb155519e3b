"""Compiled kernels write where their inputs say: with every index checked, none is out of bounds."""

import os
import subprocess
import sys

PAIRS = """
from itertools import combinations
import numpy as np
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.tile import estimate_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.schema import Variable

rng = np.random.default_rng(5)
for n in (60, 700, 4000, 12_000):
    z = rng.standard_normal(n)
    columns = [
        z,
        z**2 + 0.1 * rng.standard_normal(n),
        np.round(50 * rng.random(n) + 40 * z),  # some 200 values, of many samples
        rng.integers(250, size=n),
        rng.poisson(np.exp(z - 2)),
        z > 0.5,
        rng.random(n) < 5 / n,
        np.where(rng.random(n) < 0.1, np.nan, z + rng.standard_normal(n)),
        np.where(rng.random(n) < 0.9, 0, z),
    ]
    codes = [ordinal_codes(np.asarray(c, dtype=float))[:, None] for c in columns]
    variables = {k: Variable(f"v{k}", c) for k, c in enumerate(codes)}
    found = estimate_tile(variables, list(combinations(variables, 2)), EstimatorConfig())
    assert found.ok.all(), [e.message for e in found if e.message]
"""


def test_no_index_is_out_of_bounds(tmp_path):
    # less optimised they are compiled sooner
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "1"}
    subprocess.run([sys.executable, "-c", PAIRS], env=os.environ | checked, check=True)
