"""Neural recordings: what is found, at which lag, in which direction; p-values under shuffled time.

    OMP_NUM_THREADS=1 python benchmarks/neural.py --part synchrony
    OMP_NUM_THREADS=1 python benchmarks/neural.py --part lags
    OMP_NUM_THREADS=1 python benchmarks/neural.py --part nulls
    OMP_NUM_THREADS=1 python benchmarks/neural.py --part memory --pairs 20

synchrony: pairs of Poisson trains, 10 Hz, of which a known part are coincidences (elephant's
single_interaction_process, Kuhn et al. 2003), counted in bins of 5 ms. Every method is held to 5 % false
positives by independent pairs of its own: its threshold is their 95th percentile.

lags: systems whose direction and lag (3 samples) are known: the method's largest MI within 10 samples either
way, held to 5 % false positives likewise; how often that lag is the true one; how often transfer entropy is
larger forth than back, and each way's own p-value, where it has one, at 5 %.

nulls: fMRI (nitime, 28 regions x 250 volumes) and EEG (spkit, 14 electrodes x 2048 at 128 Hz): every series
has its time turned, or its Fourier phases drawn, by itself. What is left are independent series as these are.

memory: MI at lag 0 of Gaussian autoregressions of 3,000 samples, tested by shifts; a memory of .97 is that share of a sample
in the next one. Its bias and error, and how often 95 % intervals hold the truth.

GCMI is frites' Gaussian-copula MI (Ince et al. 2017); without frites the same closed form of ours, named so.
"""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from common import print_table
from scipy.signal import lfilter
from scipy.stats import kstest, rankdata

from mmg_ray.api import estimate_mi, independence_test, transfer_entropy
from mmg_ray.config import EstimatorConfig, NullConfig
from mmg_ray.estimator.lags import LagEstimates, LagSettings, Series, scan_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.jobs import packaged
from mmg_ray.neural.examples import EXAMPLES, prepare
from mmg_ray.store.sources import read_table

Pair = tuple[np.ndarray, np.ndarray]
MOST, TRUE = 10, 3
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from frites.core import gccmi_1d_ccc, gcmi_1d_cc
    GCMI = "GCMI (frites)"
except ImportError:
    gcmi_1d_cc = None
    GCMI = "GCMI (ours)"


def gcmi(x: np.ndarray, y: np.ndarray) -> float:
    if gcmi_1d_cc is None:
        return estimate_mi(x, y, denoiser="gaussian").mi_nats or 0.0
    return float(gcmi_1d_cc(x, y)) * np.log(2)


def levels(x: np.ndarray, most: int) -> np.ndarray:
    """Values where there are few, else `most` parts of equal size."""
    values = np.unique(x)
    if len(values) <= most:
        return np.searchsorted(values, x)
    return np.minimum((rankdata(x, "ordinal") - 1) * most // len(x), most - 1).astype(int)


def plug_in(x: np.ndarray, y: np.ndarray, most: int = 6) -> float:
    """MI of a contingency table, Miller & Madow's correction for its cells taken off."""
    a, b = levels(x, most), levels(y, most)
    n = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(n, (a, b), 1.0)
    p = n / n.sum()
    rows, columns = p.sum(1, keepdims=True), p.sum(0, keepdims=True)
    inside = p > 0
    mi = (p[inside] * np.log((p / (rows * columns))[inside])).sum()
    return float(mi - ((rows > 0).sum() - 1) * ((columns > 0).sum() - 1) / (2 * n.sum()))


def plug_in_given(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """I(x; y | z) = I(x; (y, z)) - I(x; z), of tables."""
    b, c = levels(y, 4), levels(z, 4)
    return plug_in(x, b * 4 + c, 16) - plug_in(x, c)


def scanned(x: np.ndarray, y: np.ndarray, most: int, **settings: Any) -> LagEstimates:
    one_recording = np.zeros(1, dtype=np.int64)
    series = {k: Series.of(f"v{k}", ordinal_codes(v), one_recording) for k, v in enumerate((x, y))}
    return scan_tile(series, np.array([[0, 1]]), LagSettings(most=most, null="shift", **settings))


def aligned(x: np.ndarray, y: np.ndarray, lag: int) -> Pair:
    """The samples that are `lag` apart."""
    return x[max(0, -lag) : len(x) - max(0, lag)], y[max(0, lag) : len(y) - max(0, -lag)]


# --- synchrony


def coincident(rate: float, seconds: float, rng: np.random.Generator) -> Pair:
    """Counts in bins of 5 ms of two trains of 10 Hz, of which `rate` a second are shared."""
    edges = np.arange(0, seconds + 1e-9, 0.005)
    if rate:
        import elephant.spike_train_generation as trains
        import quantities as pq

        np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002  # elephant draws from there
        found = trains.single_interaction_process(
            10 * pq.Hz, rate * pq.Hz, seconds * pq.s, n_spiketrains=2, coincidences="deterministic"
        )
        times = [np.asarray(train.rescale("s").magnitude) for train in found]
    else:
        times = [rng.uniform(0, seconds, rng.poisson(10 * seconds)) for _ in range(2)]
    a, b = (np.histogram(t, edges)[0].astype(float) for t in times)
    return a, b


def part_synchrony(pairs: int, nulls: int, seconds: float) -> None:
    methods: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "mmg auto": lambda x, y: estimate_mi(x, y).mi_nats or 0.0,
        "mmg, p by shifts": lambda x, y: (
            -independence_test(x, y, kind="shift", max_permutations=999).p_value
        ),
        "pipeline, lag 0": lambda x, y: float(scanned(x, y, 1).curve[0, 1]),
        "pipeline, any lag to 50 ms": lambda x, y: -float(scanned(x, y, 10).p_value[0]),
        GCMI: gcmi,
        "plug-in of counts": plug_in,
    }
    rng = np.random.default_rng(0)
    rates = [0.0, 0.1, 0.2, 0.4, 0.8]
    draws = {r: [coincident(r, seconds, rng) for _ in range(pairs if r else nulls)] for r in rates}
    rows = []
    for name, method in methods.items():
        found = {r: np.array([method(*pair) for pair in draws[r]]) for r in rates}
        bar = np.quantile(found[0.0], 0.95)
        powers = [f"{np.mean(found[r] > bar):.2f}" for r in rates[1:]]
        own = f"{np.mean(-found[0.0] <= 0.05):.3f}" if (found[0.0] < 0).all() else ""
        rows.append([name, *powers, own])
    print_table(
        ["method", *(f"{r:g} Hz shared" for r in rates[1:]), "own p <= .05, independent"], rows
    )


# --- lags


def _driven(n: int, rng: np.random.Generator, drive: Callable[[np.ndarray], np.ndarray]) -> Pair:
    x, y = np.zeros(n + 100), np.zeros(n + 100)
    e = rng.standard_normal((2, n + 100))
    for t in range(TRUE, n + 100):
        x[t] = 0.6 * x[t - 1] + e[0, t]
        y[t] = 0.6 * y[t - 1] + drive(x[t - TRUE]) + e[1, t]
    return x[100:], y[100:]


def _spikes(n: int, rng: np.random.Generator, gain: float) -> Pair:
    x = rng.poisson(0.1, n).astype(float)
    rate = np.full(n, 0.1)
    rate[TRUE:] += gain * x[:-TRUE]
    return x, rng.poisson(rate).astype(float)


SYSTEMS: dict[
    str,
    tuple[
        int, Callable[[int, np.random.Generator], Pair], Callable[[int, np.random.Generator], Pair]
    ],
] = {
    "linear, y from .15 x": (
        500,
        lambda n, rng: _driven(n, rng, lambda x: 0.15 * x),
        lambda n, rng: _driven(n, rng, lambda x: 0.0 * x),
    ),
    "square, y from .12 x^2": (
        500,
        lambda n, rng: _driven(n, rng, lambda x: 0.12 * x**2),
        lambda n, rng: _driven(n, rng, lambda x: 0.0 * x),
    ),
    "spikes, rate .1 + .1 x": (
        1500,
        lambda n, rng: _spikes(n, rng, 0.1),
        lambda n, rng: _spikes(n, rng, 0.0),
    ),
}


def by_lag(
    mi: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[np.ndarray, np.ndarray], tuple[float, int]]:
    def best(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
        found = [mi(*aligned(x, y, lag)) for lag in range(-MOST, MOST + 1)]
        return max(found), int(np.argmax(found)) - MOST

    return best


def part_lags(pairs: int, nulls: int, transfers: int) -> None:
    def ours(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
        found = scanned(x, y, MOST)
        return -float(found.p_value[0]), int(found.lag[0])

    methods: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, int]]] = {
        "pipeline": ours,
        GCMI: by_lag(gcmi),
        "plug-in": by_lag(plug_in),
    }
    rows, directed = [], []
    for name, (n, coupled, apart) in SYSTEMS.items():
        rng = np.random.default_rng(1)
        with_, without = (
            [draw(n, rng) for _ in range(k)] for draw, k in ((coupled, pairs), (apart, nulls))
        )
        for method, best in methods.items():
            null = np.array([best(*pair)[0] for pair in without])
            found = [best(*pair) for pair in with_]
            seen = np.array([value > np.quantile(null, 0.95) for value, _ in found])
            right = np.array([lag == TRUE for _, lag in found])
            rows.append(
                [
                    name,
                    method,
                    f"{seen.mean():.2f}",
                    f"{right.mean():.2f}",
                    f"{right[seen].mean() if seen.any() else np.nan:.2f}",
                    f"{np.mean(-null <= 0.05):.3f}" if method == "pipeline" else "",
                ]
            )
        directed += [[name, *row] for row in _directions(with_[:transfers], without[:transfers])]
    print_table(
        [
            "system",
            "method",
            "found",
            "lag right",
            "lag right where found",
            "own p <= .05, independent",
        ],
        rows,
    )
    print()
    print_table(
        [
            "system",
            "transfer entropy",
            "x to y above y to x",
            "x to y p <= .05",
            "y to x p <= .05",
            "independent p <= .05",
        ],
        directed,
    )


def _directions(coupled: list[Pair], apart: list[Pair]) -> list[list[str]]:
    def ours(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        if len(np.unique(x)) > 32:  # of dense series, as a run takes them: ranks given the past
            at = transfer_entropy(x, y, TRUE, own_lags=1)
            return at.mi_nats or 0.0, np.nan if at.p_value is None else at.p_value
        found = scanned(x, y, TRUE, transfer=(TRUE,), own=(1,), max_p_value=1.0)
        return float(found.transfer_ij[0]), float(found.transfer_p_ij[0])

    def pasts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return x[:-TRUE], y[TRUE:], y[TRUE - 1 : -1]

    def gaussian(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        return float(gccmi_1d_ccc(*pasts(x, y))) * np.log(2), np.nan

    methods: dict[str, Any] = {"mmg": ours}
    if gcmi_1d_cc is not None:
        methods[GCMI] = gaussian
    methods["plug-in"] = lambda x, y: (plug_in_given(*pasts(x, y)), np.nan)
    rows = []
    for name, te in methods.items():
        forth = np.array([te(x, y) for x, y in coupled])
        back = np.array([te(y, x) for x, y in coupled])
        none = np.array([te(x, y) for x, y in apart])
        row = [name, f"{np.mean(forth[:, 0] > back[:, 0]):.2f}"]
        for part in (forth, back, none):
            row.append("" if np.isnan(part[:, 1]).any() else f"{np.mean(part[:, 1] <= 0.05):.2f}")
        rows.append(row)
    return rows


# --- nulls


def fmri() -> np.ndarray:
    import tempfile
    from pathlib import Path

    from mmg_ray.config import load_as
    from mmg_ray.neural.config import NeuralConfig

    with tempfile.TemporaryDirectory() as folder:
        cfg = load_as(NeuralConfig, EXAMPLES["fmri"].read_text(), prepare("fmri", Path(folder)))
    table = read_table(cfg.data)
    return np.stack([table.column(v) for v in range(table.n_variables)], axis=1)


def eeg() -> np.ndarray:
    with open(packaged("spkit", "spkit/data/files/EEG16SecData.pkl"), "rb") as file:
        return np.asarray(pickle.load(file)[0], float)  # as spkit itself reads its file


def turned(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([np.roll(c, rng.integers(len(c))) for c in x.T], axis=1)


def phases(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wave = np.fft.rfft(x - x.mean(0), axis=0)
    angle = rng.uniform(0, 2 * np.pi, wave.shape)
    return np.fft.irfft(np.abs(wave) * np.exp(1j * angle), len(x), axis=0)


def part_nulls(tests: int) -> None:
    rows = []
    for name, load in (("fMRI", fmri), ("EEG", eeg)):
        x = load()
        for how in (turned, phases):
            rng = np.random.default_rng(2)
            p: dict[str, list[float]] = {
                "mmg, samples as independent": [],
                "shift": [],
                "lags to 5": [],
            }
            for _ in range(tests):  # of two series each, so that the tests are nearly independent
                a, b = how(x[:, rng.choice(x.shape[1], 2, replace=False)], rng).T
                p["mmg, samples as independent"].append(
                    estimate_mi(a, b, denoiser="screen").p_value or 1.0
                )
                p["shift"].append(
                    independence_test(a, b, kind="shift", max_permutations=999).p_value
                )
                p["lags to 5"].append(float(scanned(a, b, 5).p_value[0]))
            for test, found in p.items():
                values = np.array(found)
                rows.append(
                    [
                        name,
                        how.__name__,
                        test,
                        *(f"{np.mean(values <= level):.3f}" for level in (0.01, 0.05, 0.2, 0.5)),
                        f"{kstest(values, 'uniform').pvalue:.2g}",
                    ]
                )
    print_table(
        ["series", "made independent", "p-value", "<= .01", "<= .05", "<= .2", "<= .5", "KS p"],
        rows,
    )


def part_memory(n_pairs: int) -> None:
    cfg, rows = EstimatorConfig(nulls=NullConfig(kind="shift")), []
    for memory in (0.0, 0.5, 0.9, 0.97):
        for rho in (0.0, 0.3, 0.6):
            rng = np.random.default_rng([int(100 * memory), int(10 * rho)])
            noise = rng.standard_normal((3200, 2 * n_pairs))
            x = lfilter([1], [1, -memory], noise, axis=0)[200:]
            y = rho * x[:, ::2] + np.sqrt(1 - rho**2) * x[:, 1::2]
            found = [estimate_mi(x[:, 2 * k], y[:, k], config=cfg) for k in range(n_pairs)]
            truth = -0.5 * np.log1p(-(rho**2))
            error = np.array([f.mi_nats for f in found]) - truth
            held = np.abs(error) <= 1.96 * np.array([f.se_nats for f in found])
            shown = (truth, error.mean(), np.sqrt((error**2).mean()))
            rows.append([memory, *(f"{v:.4f}" for v in shown), f"{held.mean():.2f}"])
    print_table(["memory", "MI", "bias", "RMSE", "cover"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["synchrony", "lags", "nulls", "memory"], required=True)
    parser.add_argument("--pairs", type=int, default=200, help="dependent pairs of a kind")
    parser.add_argument("--nulls", type=int, default=400, help="independent pairs, for thresholds")
    parser.add_argument(
        "--transfers", type=int, default=60, help="pairs of transfer entropy, in lags"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of a train, in synchrony")
    parser.add_argument("--tests", type=int, default=400, help="pairs of series, in nulls")
    args = parser.parse_args()
    if args.part == "synchrony":
        part_synchrony(args.pairs, args.nulls, args.seconds)
    elif args.part == "memory":
        part_memory(args.pairs)
    elif args.part == "lags":
        part_lags(args.pairs, args.nulls, args.transfers)
    else:
        part_nulls(args.tests)


if __name__ == "__main__":
    main()
