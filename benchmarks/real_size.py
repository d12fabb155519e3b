"""Tables at the size that people have: preparing, a share of all pairs, and whole commands.

    python benchmarks/real_size.py --part prepare
    python benchmarks/real_size.py --part pairs --shards 8
    python benchmarks/real_size.py --part run
    python benchmarks/real_size.py --part pbmc
    python benchmarks/real_size.py --part demo

prepare: an h5ad of 100,000 cells x 20,000 genes, 5 % of them not 0, up to the first shard; seconds and the
peak memory of the process. pairs: 50,000 cells x 5,000 genes, 9 % not 0, `auto`; the first shards of the plan, one
after the other, and from these what all pairs would take on two cores. run: all of them with the defaults, matrices
included, and the driver's peak memory. pbmc: 765 genes in 700 blood cells, as
`mmg-ray genomics` takes them. demo: what `make demo` runs once the environment is there.
"""

from __future__ import annotations

import argparse
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
from common import machine, print_table
from scipy import sparse

from mmg_ray import config as configuration
from mmg_ray.execute import beginning
from mmg_ray.execute.task import ShardTask, run_shard
from mmg_ray.store import manifest
from mmg_ray.store.location import Location


def cells(path: Path, n_cells: int, n_genes: int, share: float, seed: int = 0) -> None:
    """Counts of cells of six types and several programmes, so many of them not 0, written as h5ad."""
    rng = np.random.default_rng(seed)
    types = rng.integers(6, size=n_cells)
    programmes = np.exp(0.6 * rng.standard_normal((n_cells, 40)))
    depth = np.exp(0.3 * rng.standard_normal(n_cells))
    level = rng.lognormal(0.0, 1.4, n_genes)
    mark, of = rng.integers(24, size=n_genes), rng.integers(200, size=n_genes)
    scale = share / np.mean(1 - np.exp(-level * share))
    columns = []
    for gene in range(n_genes):
        rate = depth * level[gene] * share * scale
        if mark[gene] < 6:
            rate = rate * np.where(types == mark[gene], 3.0, 0.6)
        if of[gene] < 40:
            rate = rate * programmes[:, of[gene]]
        columns.append(sparse.csc_matrix(rng.poisson(rate).astype(np.float32)[:, None]))
    x = sparse.csr_matrix(sparse.hstack(columns))
    anndata.AnnData(x).write_h5ad(path)
    print(
        f"{path.name}: {x.shape[0]:,} x {x.shape[1]:,}, {x.nnz / x.shape[0] / x.shape[1]:.1%} not 0"
    )


def begun(path: Path, folder: Path) -> manifest.Manifest:
    """A run up to its first shard."""
    config = configuration.from_dict(
        {
            "data": {"path": str(path)},
            "edges": {"max_p_value": 1e-6, "matrix": False},
            "execute": {"executor": "serial"},
            "output": {"url": str(folder / "run")},
        }
    )
    asked = beginning.configure(config, ())
    return beginning.begin(asked, asked.digests())


def part_prepare(n_cells: int, n_genes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        # made elsewhere, so that the peak is that of preparing
        code = f"import real_size; from pathlib import Path; real_size.cells(Path({str(path)!r}), {n_cells}, {n_genes}, .05)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        begun(path, Path(folder))
        spent = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stored = sum(f.stat().st_size for f in (Path(folder) / "run").rglob("*") if f.is_file())
        rows = [
            [
                f"{n_cells:,} x {n_genes:,}",
                f"{spent:.0f}",
                f"{peak / 2**20:.2f}",
                f"{before / 2**20:.2f}",
            ]
        ]
        rows[0].append(f"{stored / 2**30:.2f}")
    print_table(["table", "s", "peak GB", "of these before", "stored GB"], rows)


def part_pairs(n_cells: int, n_genes: int, shards: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        cells(path, n_cells, n_genes, 0.09)
        found = begun(path, Path(folder))
        run = Location(str(Path(folder) / "run"))
        chosen = np.unique(np.linspace(0, found.n_shards - 1, shards).astype(int)).tolist()
        spent, pairs = 0.0, 0
        for k, shard in enumerate([chosen[0], *chosen]):  # kernels are compiled in the first
            began = time.perf_counter()
            receipt = run_shard(ShardTask(run.url, found.fingerprint, shard, "cpu"))
            if k:
                spent, pairs = spent + time.perf_counter() - began, pairs + receipt.n_pairs
            print(
                f"shard {shard}: {receipt.n_pairs:,} pairs, {time.perf_counter() - began:.1f} s",
                flush=True,
            )
        hours = spent / pairs * found.n_pairs / 2 / 3600
    print_table(
        ["table", "pairs", "timed", "ms a pair", "all pairs on two cores, h"],
        [
            [
                f"{n_cells:,} x {n_genes:,}",
                f"{found.n_pairs:,}",
                f"{pairs:,}",
                f"{1e3 * spent / pairs:.3f}",
                f"{hours:.2f}",
            ]
        ],
    )


_DRIVER = """
import logging, resource, sys
from mmg_ray import config
from mmg_ray.execute import driver
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
run = driver.run(config.from_dict({"data": {"path": sys.argv[1]}, "output": {"url": sys.argv[2]}}))
print(run.status())
print(f"driver: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
"""


def part_run(n_cells: int, n_genes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        cells(path, n_cells, n_genes, 0.09)
        began = time.perf_counter()
        command = [sys.executable, "-c", _DRIVER, str(path), f"{folder}/run"]
        subprocess.run(command, check=True)
        print(f"{time.perf_counter() - began:.0f} s, {machine()}")


def part_command(which: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--set", f"output.url={folder}/run"]
        if which == "pbmc":
            settings += ["--set", "genes.top=100000"]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mmg_ray", "genomics", *settings], check=True, cwd=folder
        )
        print(f"{which}: {time.perf_counter() - began:.1f} s, {machine()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", choices=["prepare", "pairs", "run", "pbmc", "demo"], default="prepare"
    )
    parser.add_argument("--cells", type=int, help="default 100,000 and 50,000")
    parser.add_argument("--genes", type=int, help="default 20,000 and 5,000")
    parser.add_argument("--shards", type=int, default=6)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.part == "prepare":
        part_prepare(args.cells or 100_000, args.genes or 20_000)
    elif args.part == "pairs":
        part_pairs(args.cells or 50_000, args.genes or 5_000, args.shards)
    elif args.part == "run":
        part_run(args.cells or 50_000, args.genes or 5_000)
    else:
        part_command(args.part)


if __name__ == "__main__":
    main()
