"""What is learned from the whole matrix: rankings of known networks, local false-discovery rates, stability.

    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part rankings
    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part rates
    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part stability

rankings: area under the precision-recall curve over unordered pairs, of few and of more samples: scale-free networks of
100 genes (grnlab), a layered network of 150 genes whose regulation saturates (made here), and trees of 20 genes in
single cells (harissa). With CLR too.

rates: families of `network.py`; what share of the edges found at a rate is independent, by q-values and by the local
false-discovery rate, and how far the shares of dependent pairs are from p_dependent, by tenths of it.

stability: how many of the strongest 1,000 of 20,000 pairs stay when one sample is left out.

The shapes and strengths of the mixture were chosen on seeds below 200.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time

import numpy as np
from common import print_table
from genomics import grnlab_cells, harissa_cells, installed, scores, stepped
from network import draw, found_at, judge
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from mmg_ray.api import mi_matrix

PEERS = ("KSG k=3", "B-spline MI (widestats)", "GRNBoost2")
SLOW = {"KSG k=3": 80, "GRNBoost2": 80}  # samples up to which they are asked


def layered(seed: int, n_samples: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """(1000, 150) log expression and the (150, 150) network: every gene follows up to three before it.

    Regulators are few and act by saturating curves; 15 genes have none.
    """
    rng, n_genes = np.random.default_rng([77, seed]), 150
    x, edges = np.empty((n_samples, n_genes)), np.zeros((n_genes, n_genes), dtype=bool)
    pull = rng.pareto(1.5, n_genes) + 0.2
    for gene in range(n_genes):
        noise = rng.standard_normal(n_samples)
        if gene < 15:
            x[:, gene] = noise
            continue
        some = rng.choice(
            gene, rng.integers(1, 4), replace=False, p=pull[:gene] / pull[:gene].sum()
        )
        total = rng.uniform(0.5, 1.2) * noise * np.sqrt(len(some))
        for regulator in some:
            edges[regulator, gene] = True
            steep, middle = rng.choice([1, 2, 4]), rng.normal(0, 0.7)
            curve = 1 / (1 + np.exp(-steep * (x[:, regulator] - middle)))
            sign = rng.choice([-1, 1], p=[0.35, 0.65])
            total += sign * rng.uniform(0.5, 1.5) * (curve - curve.mean()) / max(curve.std(), 0.2)
        x[:, gene] = (total - total.mean()) / total.std()
    return x, edges


FAMILIES = {
    "grnlab": (grnlab_cells, (50, 80, 200, 660)),
    "layered": (layered, (50, 80, 200, 1000)),
    "harissa": (harissa_cells, (80, 200, 700)),
}


def part_rankings(seeds: list[int], families: list[str]) -> None:
    for family in families:
        rows = []
        make, sizes = FAMILIES[family]
        if family != "layered" and importlib.util.find_spec(family) is None:
            print(f"{family} is not installed")
            continue
        found: dict[tuple[int, str], list[float]] = {}
        for seed in seeds:
            whole, edges = make(seed)
            order = np.random.default_rng(seed).permutation(len(whole))
            i, j = np.triu_indices(whole.shape[1], 1)
            truth = (edges | edges.T)[i, j]
            for n in sizes:
                x = whole[order[:n]]
                of = mi_matrix(x).estimates
                matrices = {f"mmg {k}": of.matrix(k) for k in ("mi_posterior", "mi_nats")}
                with np.errstate(invalid="ignore"):  # genes without a count
                    matrices["Pearson"] = np.abs(np.corrcoef(x.T))
                    matrices["Spearman"] = np.abs(np.corrcoef(rankdata(x, axis=0).T))
                for peer in PEERS:
                    if installed(peer) and n <= SLOW.get(peer, n):
                        matrices[peer] = scores(peer, x, None, seed)[0]
                for name, matrix in matrices.items():
                    matrix = np.nan_to_num(matrix)
                    for suffix, weight in (("", matrix), (", CLR", stepped(matrix, ["clr"]))):
                        value = average_precision_score(truth, weight[i, j])
                        found.setdefault((n, name + suffix), []).append(value)
            print(family, seed, file=sys.stderr, flush=True)
        names = list(dict.fromkeys(name for _, name in found))
        for name in names:
            values = [found.get((n, name)) for n in sizes]
            rows.append([name, *(f"{np.mean(v):.3f}" if v else "" for v in values)])
        print_table([family, *(f"N = {n}" for n in sizes)], rows)


def part_rates(seeds: list[int]) -> None:
    rows = []
    for family in ("gaussian", "nonlinear", "counts"):
        for n in (100, 200, 1000):
            rates, tenths = [], []
            for seed in seeds:
                x, module = draw(family, n, seed)
                i, j = np.triu_indices(x.shape[1], 1)
                dependent = module[i] == module[j]
                columns = mi_matrix(x, denoiser="screen").estimates.columns
                p, q = columns.p_value, columns.p_dependent
                by = [found_at(p, rate) for rate in (0.05, 0.1)]
                # the largest set whose mean local rate is the rate
                order = np.argsort(-q, kind="stable")
                mean = np.cumsum(1 - q[order]) / np.arange(1, len(q) + 1)
                for rate in (0.05, 0.1):
                    chosen = np.zeros(len(q), dtype=bool)
                    chosen[order[: np.searchsorted(mean, rate)]] = True
                    by.append(chosen)
                rates.append([v for chosen in by for v in judge(chosen, dependent, dependent)[:2]])
                edges = np.linspace(0, 1, 11)
                place = np.minimum(np.digitize(q, edges) - 1, 9)
                tenths.append(
                    [
                        (dependent[place == k].sum(), q[place == k].sum(), (place == k).sum())
                        for k in range(10)
                    ]
                )
            there, said, count = np.sum(tenths, axis=0).T
            off = np.abs(there - said)[count >= 100] / count[count >= 100]
            rows.append(
                [family, n, *(f"{v:.3f}" for v in np.mean(rates, axis=0)), f"{off.max():.3f}"]
            )
            print(*rows[-1], file=sys.stderr, flush=True)
    header = ["family", "N"]
    for what in ("q", "lfdr"):
        header += [f"{v} at {r} by {what}" for r in ("5 %", "10 %") for v in ("FDR", "recall")]
    print_table([*header, "tenths off by"], rows)


def part_stability(seeds: list[int]) -> None:
    rows = []
    for n in (80, 700):
        kept: dict[str, list[float]] = {"mi_posterior": [], "mi_nats": []}
        for seed in seeds:
            x = layered(seed)[0][:n]
            n_pairs = x.shape[1] * (x.shape[1] - 1) // 2
            some = np.random.default_rng(seed).permutation(n_pairs)[:20_000]
            one, other = (
                mi_matrix(x[rows_]).estimates.columns for rows_ in (slice(None), slice(1, None))
            )
            for name, of in kept.items():
                first, again = (
                    set(some[np.argsort(-getattr(c, name)[some], kind="stable")[:1000]].tolist())
                    for c in (one, other)
                )
                of.append(len(first & again) / 1000)
        rows.append([n, *(f"{np.mean(v):.3f}" for v in kept.values())])
    print_table(["N", *kept], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["rankings", "rates", "stability"], default="rankings")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    args = parser.parse_args()
    seeds = list(range(args.first_seed, args.first_seed + args.seeds))
    began = time.perf_counter()
    if args.part == "rankings":
        part_rankings(seeds, args.families)
    else:
        {"rates": part_rates, "stability": part_stability}[args.part](seeds)
    print(f"\nseeds {seeds[0]}-{seeds[-1]}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
