"""Networks of known edges: false discoveries and recall, rankings, and what network steps cost.

    OMP_NUM_THREADS=1 python benchmarks/network.py --part fdr
    OMP_NUM_THREADS=1 python benchmarks/network.py --part rankings
    OMP_NUM_THREADS=1 python benchmarks/network.py --part steps

fdr: 500 variables, 60 of which each drive four others by edges of their own strength and shape; 200 stand
alone. A pair within a module depends, any other is independent, and the false-discovery rate is of these;
recall is of the 240 edges. Tests of all pairs, by Benjamini & Hochberg. KSG has no p-value: it is
given the normal law of its values for pairs of shuffled samples. KSG and GRNBoost2 (arboreto; an importance, without
any error rate) are given 60 variables, 8 modules and 20 others; of GRNBoost2, as many of the
strongest pairs count as mmg finds there.

rankings: area under the precision-recall curve over unordered pairs; proteins of Sachs et al. (2005) with
their 18 known edges, and cells simulated from scale-free networks of 100 genes (grnlab).

steps: time and memory of network steps on streams of edges, each in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from common import ksg, print_table
from genomics import grnlab_cells, installed, scores, stepped
from scipy import stats
from sklearn.metrics import average_precision_score

from mmg_ray.config import DataConfig
from mmg_ray.jobs import packaged
from mmg_ray.matrices import mi_matrix
from mmg_ray.network.significance import QValues, count
from mmg_ray.network.steps import apply
from mmg_ray.network.steps.fdr import with_q_values
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.store.sources import read_table
from pipelines import sachs

N_VARIABLES, N_MODULES, N_TARGETS = 500, 60, 4
RATES = (0.05, 0.1)
_SHUFFLED = 1000  # pairs that make KSG's null
SHAPES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: (x**2 - 1) / np.sqrt(2),
    lambda x: (np.abs(x) - 0.798) / 0.603,
    lambda x: np.sin(2 * x) / 0.7,
    lambda x: np.tanh(2 * x),
)


# --- false discoveries -----------------------------------------------------------------------------


def draw(family: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 500) samples and the (500,) module of each variable; the first of a module drives the others."""
    rng = np.random.default_rng([seed, n, ["gaussian", "nonlinear", "counts"].index(family)])
    x = rng.standard_normal((n, N_VARIABLES))
    module = np.arange(N_VARIABLES)
    for m in range(N_MODULES):
        driver = m * (N_TARGETS + 1)
        for target in range(driver + 1, driver + 1 + N_TARGETS):
            module[target] = driver
            strength = rng.uniform(0.15, 0.6) * rng.choice([-1, 1])
            if family == "nonlinear":
                shape = SHAPES[rng.integers(len(SHAPES))]
                scale = np.exp(0.3 * x[:, driver]) if rng.random() < 0.25 else 1.0
                x[:, target] = strength * shape(x[:, driver]) + scale * x[:, target]
            else:
                x[:, target] = strength * x[:, driver] + np.sqrt(1 - strength**2) * x[:, target]
    if family == "counts":  # Poisson of log-normal rates: from few zeros to mostly zeros
        x = rng.poisson(np.exp(rng.uniform(-1.5, 2, N_VARIABLES) + 0.8 * x)).astype(float)
    return x, module


def found_at(p: np.ndarray, rate: float) -> np.ndarray:
    return QValues(count([p]), len(p)).of(p) <= rate


def judge(found: np.ndarray, dependent: np.ndarray, edge: np.ndarray) -> tuple[float, float, int]:
    """Share of found pairs that are independent, share of edges found, and how many are found."""
    return (found & ~dependent).sum() / max(found.sum(), 1), found[edge].mean(), int(found.sum())


def correlation_p(x: np.ndarray) -> np.ndarray:
    """(P,) p-values of Pearson's r of all pairs."""
    i, j = np.triu_indices(x.shape[1], 1)
    r = np.corrcoef(x.T)[i, j]
    t = r * np.sqrt((len(x) - 2) / np.maximum(1 - r**2, 1e-300))
    return 2 * stats.t.sf(np.abs(t), len(x) - 2)


def ksg_p(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P,) p-values of KSG's MI, by the normal law of its values for shuffled samples, cut off at 0."""
    i, j = np.triu_indices(x.shape[1], 1)
    mi = np.array([ksg((x[:, a], x[:, b]), 3) for a, b in zip(i, j, strict=True)])
    order = np.argsort(rng.random(x.shape[::-1]), axis=1)
    shuffled = np.take_along_axis(x, order.T, axis=0)
    some = rng.permutation(len(i))[:_SHUFFLED]
    null = [ksg((shuffled[:, a], x[:, b]), 3) for a, b in zip(i[some], j[some], strict=True)]
    return stats.norm.sf(mi / np.sqrt(2 * np.mean(np.square(null))))  # half of the law is at 0


def part_fdr(seeds: int, first_seed: int, slow_seeds: int) -> None:
    rows = []
    for family in ("gaussian", "nonlinear", "counts"):
        for n in (200, 1000):
            results: dict[str, list[tuple[float, ...]]] = {}
            for seed in range(first_seed, first_seed + seeds):
                x, module = draw(family, n, seed)
                judge_all(results, x, module, "")
                if seed < first_seed + slow_seeds:
                    some = np.r_[0 : 8 * 5, 300:320]
                    judge_all(results, x[:, some], module[some], ", 60 variables", slow=True)
                print(family, n, seed, file=sys.stderr, flush=True)
            for method, values in results.items():
                cells = [f"{v:.3f}" for v in np.mean(values, axis=0)]
                rows.append([family, n, method, *cells])
                print(*rows[-1], file=sys.stderr, flush=True)
    header = ["family", "N", "method"]
    header += [f"{what} at {rate:.0%}" for rate in RATES for what in ("FDR", "recall")]
    print_table(header, rows)


def judge_all(
    results: dict[str, list[tuple[float, ...]]],
    x: np.ndarray,
    module: np.ndarray,
    suffix: str,
    slow: bool = False,
) -> None:
    i, j = np.triu_indices(x.shape[1], 1)
    dependent = module[i] == module[j]
    edge = dependent & (i % (N_TARGETS + 1) == 0)
    p = {
        "mmg": mi_matrix(x, denoiser="screen").estimates.matrix("p_value")[i, j],
        "Spearman": correlation_p(stats.rankdata(x, axis=0)),
    }
    if slow:
        p["KSG k=3"] = ksg_p(x, np.random.default_rng(0))
    else:
        p["Pearson"] = correlation_p(x)
    for method, values in p.items():
        row = [judge(found_at(values, rate), dependent, edge)[:2] for rate in RATES]
        results.setdefault(method + suffix, []).append((*row[0], *row[1]))
    if not slow:
        by = [QValues(count([p["mmg"]]), len(i), dependent=True).of(p["mmg"]) <= r for r in RATES]
        row = [judge(found, dependent, edge)[:2] for found in by]
        results.setdefault("mmg, Benjamini-Yekutieli", []).append((*row[0], *row[1]))
    elif installed("GRNBoost2"):
        importance = np.nan_to_num(scores("GRNBoost2", x, None, 0)[0][i, j])
        row = []
        for rate in RATES:
            k = int(found_at(p["mmg"], rate).sum())
            first = np.isin(np.arange(len(i)), np.argsort(-importance)[:k])
            row.append(judge(first, dependent, edge)[:2])
        results.setdefault("GRNBoost2, as many" + suffix, []).append((*row[0], *row[1]))


# --- rankings --------------------------------------------------------------------------------------

METHODS = ("mmg auto", "Pearson", "Spearman", "KSG k=3", "GRNBoost2")
STEPS = (["clr"], ["dpi"], ["clr", "dpi"], ["mrnet"])


def part_rankings(seeds: int, sachs_samples: int) -> None:
    rows = []
    x, names = sachs_table()
    known = sachs.known_edges()
    i, j = np.triu_indices(len(names), 1)
    truth = np.array([frozenset((names[a], names[b])) in known for a, b in zip(i, j, strict=True)])
    drawn = [np.random.default_rng(s).choice(len(x), sachs_samples) for s in range(seeds)]
    cells = [(x, truth, "Sachs, 7466 cells")]
    cells += [(x[d], truth, f"Sachs, {sachs_samples} cells") for d in drawn]
    if importlib.util.find_spec("grnlab"):
        for seed in range(seeds):
            y, edges = grnlab_cells(seed)
            a, b = np.triu_indices(100, 1)
            cells.append((y, (edges | edges.T)[a, b], "grnlab, 100 genes"))
    results: dict[tuple[str, str], list[float]] = {}
    for x, truth, name in cells:
        a, b = np.triu_indices(x.shape[1], 1)
        results.setdefault((name, "chance"), []).append(float(truth.mean()))
        for method in METHODS:
            if method != "Pearson" and not installed(method):
                continue
            matrix = (
                np.abs(np.corrcoef(x.T)) if method == "Pearson" else scores(method, x, None, 0)[0]
            )
            found = {method: matrix}
            if method != "GRNBoost2":
                found |= {f"{method}, {' + '.join(s)}": stepped(matrix, s) for s in STEPS}
            for variant, values in found.items():
                area = average_precision_score(truth, np.nan_to_num(values[a, b]))
                results.setdefault((name, variant), []).append(float(area))
            print(name, method, file=sys.stderr, flush=True)
    for (name, method), values in results.items():
        spread = f"{min(values):.3f} - {max(values):.3f}" if len(values) > 1 else ""
        rows.append([name, method, f"{np.mean(values):.3f}", spread])
    print_table(["network", "method", "AUPR", "least - most"], rows)


def sachs_table() -> tuple[np.ndarray, list[str]]:
    table = read_table(DataConfig(path=packaged("cdt", "cdt/data/resources/cyto_full_data.csv")))
    return np.stack([table.column(v) for v in range(table.n_variables)], axis=1), table.names


# --- cost of steps ---------------------------------------------------------------------------------


def stream(n: int, share: float, size: int = 2**20) -> EdgeStream:
    """A share of the pairs of n variables, at random, made anew at every reading: nothing is held.

    Weights are gamma distributed, p-values their tail.
    """
    n_pairs = n * (n - 1) // 2
    per_part = max(1, int(size * share))

    def batches() -> Iterator[Batch]:
        for part, start in enumerate(range(0, n_pairs, size)):
            rng = np.random.default_rng([n, part])
            count = min(per_part, n_pairs - start)
            place = start + np.sort(rng.choice(min(size, n_pairs - start), count, replace=False))
            # the pair of a place in the upper triangle, row by row
            i = (n - 2 - np.floor(np.sqrt(4.0 * n * (n - 1) - 8 * place - 7) / 2 - 0.5)).astype(int)
            j = place + i + 1 - n_pairs + (n - i) * (n - i - 1) // 2
            weight = rng.gamma(0.5, 0.05, count)
            p = np.exp(-500 * weight)
            none = np.full(count, np.nan)
            yield Batch(
                i.astype(np.int32), j.astype(np.int32), weight, weight, none, p, none, none, none
            )

    return EdgeStream(np.full(n, n - 1), n_pairs, batches)


def one_step(steps: list[str], n: int, share: float) -> None:
    edges = stream(n, share)
    began = time.process_time()
    read = sum(len(batch.i) for batch in edges.batches())
    reading = time.process_time() - began
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    began = time.process_time()
    left = sum(len(batch.i) for batch in apply(with_q_values(edges), steps).batches())
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{read} {left} {reading:.2f} {took:.2f} {before:.3f} {peak:.3f}")


def part_steps() -> None:
    rows = []
    for n, share, steps in (
        (5_000, 1.0, ["fdr=0.05"]),
        (20_000, 0.05, ["fdr=0.05"]),
        (20_000, 0.05, ["clr"]),
        (20_000, 0.05, ["top=10"]),
        (20_000, 0.002, ["dpi=0.1"]),
        (20_000, 0.01, ["dpi=0.1"]),
        (20_000, 0.002, ["mrnet"]),
        (20_000, 0.01, ["mrnet"]),
        (20_000, 0.05, ["clr", "top=20", "dpi=0.1"]),
        (20_000, 1.0, ["fdr=0.05"]),
    ):
        command = [sys.executable, __file__, "--one", *steps, "--variables", str(n)]
        done = subprocess.run(
            [*command, "--share", str(share)], check=True, capture_output=True, text=True
        )
        read, left, reading, took, before, peak = done.stdout.split()
        row = [f"{n:,}", f"{int(read):,}", " ".join(steps), f"{int(left):,}"]
        rows.append([*row, took, reading, peak, f"{float(peak) - float(before):.2f}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    header = ["variables", "edges read", "steps", "edges left", "processor s"]
    print_table([*header, "of one reading alone", "peak GB", "GB above the reading"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["fdr", "rankings", "steps"], default="fdr")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--slow-seeds", type=int, default=1, help="of KSG and GRNBoost2, in fdr")
    parser.add_argument("--sachs-samples", type=int, default=500)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--variables", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one_step(args.one, args.variables, args.share)
    elif args.part == "fdr":
        part_fdr(args.seeds, args.first_seed, args.slow_seeds)
    elif args.part == "rankings":
        part_rankings(args.seeds, args.sachs_samples)
    else:
        part_steps()


if __name__ == "__main__":
    main()
