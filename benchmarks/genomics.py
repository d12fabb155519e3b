"""Gene networks beside GRNBoost2, RegDiffusion, B-spline MI, KSG and Spearman: cost, agreement, known edges.

    OMP_NUM_THREADS=1 python benchmarks/genomics.py --part pbmc
    OMP_NUM_THREADS=1 python benchmarks/genomics.py --part networks
    OMP_NUM_THREADS=1 python benchmarks/genomics.py --part depth
    OMP_NUM_THREADS=1 python benchmarks/genomics.py --part power

pbmc: 765 genes in 700 blood cells, as `mmg-ray genomics` takes them. Each method runs in a
process of its own; processor seconds and peak memory are that process's. GRNBoost2 is asked for a sample
of targets and KSG for a sample of pairs, and their times are multiplied up. Then, how the rankings of the
pairs agree, and on which pairs they do not.

networks: simulated cells of known networks, scale-free of 100 genes (grnlab) and trees of 20 (harissa);
area under the precision-recall curve over unordered pairs.

depth: Poisson counts of genes that share nothing but the depths of their cells; the share of pairs with p <= .05
and p <= .001, scaled or with depth taken out, and seconds.
power: Poisson counts of pairs of genes that share a lognormal factor, at depths spread by .5; what is found of them.

What is not installed is left out, and named: pip install --no-deps arboreto regdiffusion widestats grnlab
harissa, with dask, distributed and numba.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from common import ksg, print_table
from scipy.stats import norm, rankdata, spearmanr
from sklearn.metrics import average_precision_score

from mmg_ray import genomics
from mmg_ray.config import DataConfig
from mmg_ray.genomics import pbmc
from mmg_ray.genomics.config import ExpressionEstimator
from mmg_ray.matrices import mi_matrix
from mmg_ray.network.steps import apply
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.store.sources import read_table

NEEDS = {
    "mmg auto": None,
    "mmg screen": None,
    "Spearman": None,
    "KSG k=3": None,
    "B-spline MI (widestats)": "widestats",
    "GRNBoost2": "arboreto",
    "RegDiffusion": "regdiffusion",
}


def scores(method: str, x: np.ndarray, sample: int | None, seed: int) -> tuple[np.ndarray, float]:
    """(V, V) symmetric strength of every pair, NaN where it was not asked, and the share that was.

    Args:
        x: (N, V) log-normalised expression.
        sample: pairs of KSG and targets of GRNBoost2; None for all.
    """
    rng = np.random.default_rng(seed)
    v = x.shape[1]
    if method.startswith("mmg"):
        cfg = ExpressionEstimator(denoiser=method.split()[1], seed=seed)
        return mi_matrix(x, config=cfg).estimates.matrix("mi_nats"), 1.0
    if method == "Spearman":
        return np.abs(spearmanr(x).statistic), 1.0
    if method == "KSG k=3":
        found = np.full((v, v), np.nan)
        i, j = np.triu_indices(v, 1)
        rows = np.arange(len(i)) if sample is None else rng.choice(len(i), sample, replace=False)
        for k in rows:
            found[i[k], j[k]] = found[j[k], i[k]] = ksg((x[:, i[k]], x[:, j[k]]), 3)
        return found, len(rows) / len(i)
    if method == "B-spline MI (widestats)":
        import widestats

        return np.asarray(widestats.mutual_info(x, device="cpu")) * np.log(2), 1.0
    if method == "GRNBoost2":
        from arboreto.core import SGBM_KWARGS, infer_partial_network

        names = [str(k) for k in range(v)]
        targets = range(v) if sample is None else rng.choice(v, sample, replace=False)
        found = np.full((v, v), np.nan)
        for target in targets:
            links = infer_partial_network(
                "GBM", SGBM_KWARGS, x, names, str(target), x[:, target], seed=seed
            )
            found[:, target] = 0.0
            found[links.TF.astype(int), target] = links.importance
        both = np.fmax(found, found.T)
        return both, len(targets) / v
    import regdiffusion
    import torch

    varies = np.flatnonzero(x.std(axis=0) > 0)  # it refuses constant genes
    torch.manual_seed(seed)
    trainer = regdiffusion.RegDiffusionTrainer(
        x[:, varies].astype(np.float32), device="cpu", seed=seed, eval_on_n_steps=10_000
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its bar
        trainer.train()
    adjacency = np.abs(trainer.get_adj())
    found = np.zeros((v, v))
    found[np.ix_(varies, varies)] = np.maximum(adjacency, adjacency.T)
    return found, 1.0


def stepped(mi: np.ndarray, steps: list[str]) -> np.ndarray:
    """(V, V) weights after network steps, 0 where an edge went."""
    i, j = np.triu_indices(len(mi), 1)
    weight = np.maximum(mi[i, j], 0.0)
    none = np.full(len(i), np.nan)
    batch = Batch(i, j, weight, weight, none, none, none, none, none)
    stream = EdgeStream(np.full(len(mi), len(mi) - 1), 0, lambda: iter([batch]))
    kept = Batch.concatenate(list(apply(stream, steps).batches()))
    found = np.zeros_like(mi)
    found[kept.i, kept.j] = found[kept.j, kept.i] = kept.weight
    return found


def installed(method: str) -> bool:
    package = NEEDS[method]
    return package is None or importlib.util.find_spec(package) is not None


# --- blood cells -----------------------------------------------------------------------------------


def blood() -> tuple[np.ndarray, list[str]]:
    """(700, 765) log-normalised expression and the genes."""
    table = read_table(DataConfig(path=pbmc.matrix(), layer="raw"))
    return np.stack([table.column(v) for v in range(table.n_variables)], axis=1), table.names


def apart(method: str, sample: int | None, folder: Path) -> dict[str, float]:
    """Run one method in a process of its own: its seconds, memory and share; the scores are saved."""
    out = folder / f"{method.replace('/', '-')}.npz"
    command = [sys.executable, __file__, "--one", method, "--save", str(out)]
    command += [] if sample is None else ["--sample", str(sample)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, code, used = os.wait4(process.pid, 0)
    if code:
        raise RuntimeError(f"{method} failed")
    with np.load(out) as found:
        inside = json.loads(str(found["inside"]))
    return {
        "wall": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "gb": used.ru_maxrss / 1e6,
        **inside,
    }


def one(method: str, sample: int | None, save: str) -> None:
    warnings.simplefilter("ignore")
    x, _ = blood()
    began = time.process_time()
    found, share = scores(method, x, sample, seed=0)
    inside = {"own": time.process_time() - began, "share": share}
    np.savez(save, scores=found, inside=json.dumps(inside))


def part_pbmc(targets: int, pairs: int, keep: str | None) -> None:
    x, names = blood()
    i, j = np.triu_indices(len(names), 1)
    samples = {"GRNBoost2": targets, "KSG k=3": pairs}
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for method in NEEDS:
            if not installed(method):
                rows.append([method, "not installed", "", "", ""])
                continue
            cost = apart(method, samples.get(method), folder)
            with np.load(folder / f"{method}.npz") as saved:
                found[method] = saved["scores"]
            asked = "all" if cost["share"] == 1 else f"{cost['share']:.1%}"
            total = cost["own"] / cost["share"]
            rows.append([method, asked, f"{cost['own']:.1f}", f"{total:,.0f}", f"{cost['gb']:.2f}"])
    print_table(["method", "pairs asked", "processor s", "s for all pairs", "peak GB"], rows)
    mi = found["mmg auto"][i, j]
    print("\nAgreement with mmg auto over the pairs that both have:\n")
    rows = []
    for method, matrix in found.items():
        other = matrix[i, j]
        both = np.isfinite(other) & np.isfinite(mi)
        k = max(20, int(both.sum() * 0.005))
        top = [set(np.argsort(-values[both])[:k]) for values in (mi, other)]
        rows.append(
            [
                method,
                f"{both.sum():,}",
                f"{spearmanr(mi[both], other[both]).statistic:.2f}",
                f"{len(top[0] & top[1]) / k:.2f} of {k:,}",
            ]
        )
    print_table(["method", "pairs", "Spearman of ranks", "shared among the strongest"], rows)
    print(
        "\nPairs on which a method and mmg auto disagree most (shares of pairs that are stronger):\n"
    )
    rows = []
    for method in ("Spearman", "B-spline MI (widestats)", "KSG k=3", "GRNBoost2", "RegDiffusion"):
        if method not in found:
            continue
        other = found[method][i, j]
        both = np.flatnonzero(np.isfinite(other) & np.isfinite(mi))
        ours, theirs = (rankdata(-values[both]) / len(both) for values in (mi, other))
        gap = np.log(theirs) - np.log(ours)
        for place in (*np.argsort(-gap)[:3], *np.argsort(gap)[:3]):
            a, b = i[both[place]], j[both[place]]
            zeros = [(x[:, k] == 0).mean() for k in (a, b)]
            rho = spearmanr(x[:, a], x[:, b]).statistic
            rows.append(
                [
                    method,
                    f"{names[a]} - {names[b]}",
                    f"{mi[both[place]]:.3f}",
                    f"{ours[place]:.2%}",
                    f"{theirs[place]:.2%}",
                    f"{rho:+.2f}",
                    f"{ksg((x[:, a], x[:, b]), 3):.3f}",
                    f"{zeros[0]:.0%}, {zeros[1]:.0%}",
                ]
            )
    header = ["method", "pair", "MI", "ours", "theirs", "Spearman rho", "KSG", "zeros"]
    print_table(header, rows)


# --- known networks --------------------------------------------------------------------------------


def grnlab_cells(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(660, 100) expression and the (100, 100) network of a scale-free system with noise."""
    import grnlab

    signs = grnlab.random_network(100, topology="scalefree", mean_degree=2.0, seed=seed)
    solution = grnlab.simulate(
        grnlab.build_model(signs, seed=seed),
        duration=54,
        sample_dt=1,
        dt=0.05,
        cells=12,
        transient=20,
        random_ic=True,
        noise="langevin",
        seed=seed,
    )
    return solution.x.transpose(0, 2, 1).reshape(-1, 100), signs != 0


def harissa_cells(seed: int, n_cells: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """(700, 20) counts of bursting genes in a random tree, at seven times after a stimulus."""
    from harissa.model.base import Tree

    np.random.seed(seed)  # noqa: NPY002  # harissa draws from NumPy's global state
    rng = np.random.default_rng(seed)
    tree = Tree(20)
    x = np.empty((n_cells, 20))
    for cell, hours in enumerate(np.resize([6.0, 12, 24, 36, 48, 72, 96], n_cells)):
        x[cell] = tree.simulate(np.array([0.0, hours]), burnin=5, use_numba=True).m[-1]
    return np.log1p(rng.poisson(x)), tree.inter[1:, 1:] != 0


def part_networks(seeds: int, packages: list[str]) -> None:
    rows = []
    for name, draw, package in (
        ("grnlab, 100 genes", grnlab_cells, "grnlab"),
        ("harissa, 20 genes", harissa_cells, "harissa"),
    ):
        if package not in packages:
            continue
        if importlib.util.find_spec(package) is None:
            rows.append([name, f"{package} is not installed"])
            continue
        results: dict[str, list[float]] = {}
        chance, took = [], {}
        for seed in range(seeds):
            x, edges = draw(seed)
            i, j = np.triu_indices(x.shape[1], 1)
            truth = (edges | edges.T)[i, j]
            chance.append(truth.mean())
            for method in NEEDS:
                if not installed(method):
                    continue
                began = time.process_time()
                try:
                    found, _ = scores(method, x, None, seed)
                except ValueError as error:
                    # RegDiffusion leaves out cells without a count, then refuses their genes
                    print(name, seed, method, error, file=sys.stderr, flush=True)
                    continue
                took.setdefault(method, []).append(time.process_time() - began)
                variants = {method: found}
                if method == "mmg auto":
                    variants |= {
                        f"mmg auto, {s}": stepped(found, [s]) for s in ("clr", "dpi", "mrnet")
                    }
                for variant, matrix in variants.items():
                    value = average_precision_score(truth, np.nan_to_num(matrix[i, j]))
                    results.setdefault(variant, []).append(value)
                print(name, seed, method, f"{results[method][-1]:.3f}", file=sys.stderr, flush=True)
        for method, values in sorted(results.items(), key=lambda item: -np.mean(item[1])):
            seconds = f"{np.mean(took[method]):.1f}" if method in took else ""
            spread = f"{min(values):.3f} - {max(values):.3f}"
            rows.append([name, method, f"{np.mean(values):.3f}", spread, seconds])
        rows.append([name, "chance", f"{np.mean(chance):.3f}", "", ""])
    print_table(["network", "method", "AUPR", "least - most", "processor s"], rows)


DEPTH_SETTINGS = {
    "scaled": ["cells.normalise=log"],
    "cells.stratify_by: [depth]": ["cells.stratify_by=[depth]"],
    "data.conditions: [depth]": ["data.conditions=[depth]"],
}


def part_depth() -> None:
    """How often independent genes seem to depend, by what is done about depth."""
    rows: list[list[str]] = []
    warnings.simplefilter("ignore", UserWarning)  # of what is measured here
    for spread, n in ((0.1, 2000), (0.5, 500), (0.5, 2000), (0.5, 10_000), (0.5, 50_000)):
        rng = np.random.default_rng([77, n])
        depth = np.exp(spread * rng.standard_normal((n, 1)))
        counts = rng.poisson(depth * np.exp(rng.uniform(np.log(0.05), np.log(8), 150)))
        for name, more in DEPTH_SETTINGS.items():
            edges, spent = _depth_run(counts, more)
            rho, p = edges.spearman, edges.p_value
            shares = [f"{(p <= level).mean():.4f}" for level in (0.05, 1e-3)]
            plain = f"{(2 * norm.sf(abs(rho) * np.sqrt(n)) <= 1e-3).mean():.4f}"
            mean = f"{edges.mi_nats.mean():.5f}"
            rows.append([f"{spread}", f"{n:,}", name, *shares, plain, mean, f"{spent:.1f}"])
    header = ["spread of log depth", "cells", "", "p <= .05", "p <= .001"]
    print_table([*header, "Spearman, p <= .001", "mean MI, nats", "s"], rows)


def part_power() -> None:
    """How well pairs of genes with a common factor are found among cells of unlike depth, by what is done about depth."""
    rows: list[list[str]] = []
    warnings.simplefilter("ignore", UserWarning)
    for n, strength in ((2000, 0.3), (20_000, 0.15)):
        rng = np.random.default_rng([78, n])
        depth = np.exp(0.5 * rng.standard_normal((n, 1)))
        mean = np.repeat(np.exp(rng.uniform(np.log(0.05), np.log(20), 100)), 2)
        shared = np.repeat(rng.lognormal(-(strength**2) / 2, strength, (n, 100)), 2, axis=1)
        others = rng.poisson(depth * np.full(200, 5.0))  # so that the depth is known
        counts = np.hstack([rng.poisson(depth * mean * shared), others])
        for name in ("scaled", "cells.stratify_by: [depth]"):
            edges, spent = _depth_run(counts, DEPTH_SETTINGS[name])
            ends = [edges[side].str[1:].astype(int).to_numpy() for side in ("source", "target")]
            edges = edges[np.maximum(*ends) < 200]
            i, j = (of[np.maximum(*ends) < 200] for of in ends)
            true = i // 2 == j // 2
            scores = -np.log(edges.p_value.clip(1e-300)), edges.mi_posterior, edges.mi_nats
            areas = [f"{average_precision_score(true, s.fillna(0)):.3f}" for s in scores]
            found = [
                f"{(edges.p_value[true & (mean[i] >= a) & (mean[i] < b)] <= 1e-3).mean():.2f}"
                for a, b in ((0, 0.5), (0.5, 2), (2, 21))
            ]
            false = f"{(edges.p_value[~true] <= 0.05).mean():.3f}"
            rows.append([f"{n:,}", f"{strength}", name, *found, false, *areas, f"{spent:.0f}"])
    header = ["cells", "strength", "", "found, < .5 reads", ".5-2", "> 2", "others p <= .05"]
    print_table([*header, "AUPR by p", "by mi_posterior", "by mi_nats", "s"], rows)


def _depth_run(counts: np.ndarray, more: Sequence[str]) -> tuple[pd.DataFrame, float]:
    """Edges of a gene network of (cells, genes), and seconds."""
    data = pd.DataFrame(counts, columns=[f"g{v}" for v in range(counts.shape[1])])
    settings = ["network.report=false", "execute.executor=serial", *more]
    start = time.perf_counter()
    run = genomics.run(data, settings, url=f"memory://depth/{uuid.uuid4().hex}")
    spent = time.perf_counter() - start
    return run.edges(), spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["pbmc", "networks", "depth", "power"], default="pbmc")
    parser.add_argument("--targets", type=int, default=16, help="of GRNBoost2, in pbmc")
    parser.add_argument("--pairs", type=int, default=3000, help="of KSG, in pbmc")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind")
    parser.add_argument("--packages", nargs="+", default=["grnlab", "harissa"], help="in networks")
    parser.add_argument("--keep", help="folder for the scores of each method, in pbmc")
    parser.add_argument("--one", choices=list(NEEDS), help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.sample, args.save)
    elif args.part == "pbmc":
        part_pbmc(args.targets, args.pairs, args.keep)
    elif args.part == "depth":
        part_depth()
    elif args.part == "power":
        part_power()
    else:
        part_networks(args.seeds, args.packages)


if __name__ == "__main__":
    main()
