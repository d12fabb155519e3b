"""What is learned from the whole matrix: rankings of known networks, local false-discovery rates, stability.

    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part rankings
    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part rates
    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part stability
    OMP_NUM_THREADS=1 python benchmarks/evidence.py --part changes

rankings: area under the precision-recall curve over unordered pairs, of few and of more samples: scale-free networks of
100 genes (grnlab), a layered network of 150 genes whose regulation saturates (made here), and trees of 20 genes in
single cells (harissa). With CLR too.

rates: families of `network.py`; what share of the edges found at a rate is independent, by q-values and by the local
false-discovery rate, and how far the shares of dependent pairs are from p_dependent, by tenths of it.

stability: how many of the strongest 1,000 of 20,000 pairs stay when one sample is left out.

changes: two conditions of 100 variables; 30 % of 64 edges are of another strength in the second, or none. Differences of MI
and their posterior, of edges of either network, against the exact change (Gaussian family), and p_changed against the share that changed.

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
from network import SHAPES, draw, found_at, judge
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from mmg_ray.matrices import mi_matrix
from mmg_ray.network.changes import posterior

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


Edge = tuple[
    int, int, tuple[float, float], int
]  # driver, target, strength in either condition, shape
_MODULES, _VARIABLES = 16, 100  # modules of a driver and four targets; 20 variables stand alone


def two_conditions(share: float, rng: np.random.Generator) -> list[Edge]:
    """Edges of 16 modules, `share` of them of another strength in the second condition, or none there."""
    edges = []
    for driver in range(0, 5 * _MODULES, 5):
        for target in range(driver + 1, driver + 5):
            first, other = rng.uniform(0.15, 0.8, 2)
            changes = rng.random() < share
            second = first if not changes else other * rng.integers(2)
            edges.append((driver, target, (first, second), int(rng.integers(len(SHAPES)))))
    return edges


def of_condition(
    family: str, edges: list[Edge], which: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    """(n, 100) samples."""
    x = rng.standard_normal((n, _VARIABLES))
    for driver, target, strengths, shape in edges:
        r = strengths[which]
        of = SHAPES[shape](x[:, driver]) if family == "nonlinear" else x[:, driver]
        x[:, target] = r * of + np.sqrt(1 - r**2) * x[:, target]
    if family == "counts":
        return rng.poisson(np.exp(np.linspace(-1.5, 2, _VARIABLES) + 0.8 * x)).astype(float)
    return x


def part_changes(seeds: list[int]) -> None:
    rows = []
    for family in ("gaussian", "nonlinear", "counts"):
        for n in (200, 1000):
            for share in (0.3, 0.0):
                found = np.concatenate([_changes(family, n, share, seed) for seed in seeds])
                raw, mean, probability, changed, exact = found.T
                tenth = np.minimum((10 * probability).astype(int), 9)
                off = [
                    abs(changed[tenth == k].mean() - probability[tenth == k].mean())
                    for k in range(10)
                    if (tenth == k).sum() >= 50
                ]
                error = [f"{np.sqrt(np.mean((v - exact) ** 2)):.4f}" for v in (raw, mean)]
                sure = probability >= 0.9
                rows.append(
                    [
                        *(
                            family,
                            n,
                            len(found),
                            f"{changed.mean():.2f}",
                            f"{probability.mean():.2f}",
                        ),
                        *(error if family == "gaussian" else ["", ""]),
                        *(int(sure.sum()), int((sure & (changed == 0)).sum()), f"{max(off):.2f}"),
                    ]
                )
                print(*rows[-1], file=sys.stderr, flush=True)
    header = ["family", "N", "edges", "changed", "mean p_changed", "RMSE of difference"]
    header += ["RMSE of its posterior", "p_changed >= .9", "of these unchanged", "tenths off by"]
    print_table(header, rows)


def _changes(family: str, n: int, share: float, seed: int) -> np.ndarray:
    """(E, 5) difference, its posterior, p_changed, whether it changed and by how much, of the edges of either network."""
    rng = np.random.default_rng([seed, n])
    edges = two_conditions(share, rng)
    both = [mi_matrix(of_condition(family, edges, which, n, rng)) for which in (0, 1)]
    strength = {target: strengths for _, target, strengths, _ in edges}
    compared = [
        (i, j)
        for i, j in sorted(
            {
                (min(i, j), max(i, j))
                for m in both
                for i, j in zip(
                    *(m.network(["fdr=0.05"]).table[c].to_pylist() for c in "ij"), strict=True
                )
            }
        )
        if i < 5 * _MODULES and i // 5 == j // 5  # others are false discoveries, and did not change
    ]
    i, j = np.array(compared).T
    raw = both[1].mi[i, j] - both[0].mi[i, j]
    se = np.hypot(both[0].se[i, j], both[1].se[i, j])
    # of a pair the product of the edges on its way
    way = np.array(
        [
            [np.prod([strength[v][k] for v in pair if v in strength]) for k in (0, 1)]
            for pair in compared
        ]
    )
    changed = [
        any(strength[v][0] != strength[v][1] for v in pair if v in strength) for pair in compared
    ]
    mi = -0.5 * np.log1p(-(way**2))
    return np.column_stack([raw, *posterior(raw, se), changed, mi[:, 1] - mi[:, 0]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", choices=["rankings", "rates", "stability", "changes"], default="rankings"
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    args = parser.parse_args()
    seeds = list(range(args.first_seed, args.first_seed + args.seeds))
    began = time.perf_counter()
    if args.part == "rankings":
        part_rankings(seeds, args.families)
    else:
        parts = {"rates": part_rates, "stability": part_stability, "changes": part_changes}
        parts[args.part](seeds)
    print(f"\nseeds {seeds[0]}-{seeds[-1]}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
