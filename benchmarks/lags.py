"""Lags of series: levels of the nulls, a network of known synapses, and cost.

    OMP_NUM_THREADS=1 python benchmarks/lags.py --part levels
    OMP_NUM_THREADS=1 python benchmarks/lags.py --part network
    OMP_NUM_THREADS=1 python benchmarks/lags.py --part cover
    OMP_NUM_THREADS=1 python benchmarks/lags.py --part speed

levels: share of p-values of the largest over lags of independent series, over nominal; every pair of units of a recording.

network: 100 units of 3 to 8 spikes a second, a common slow drive, refractory for 2 ms, 200 synapses with delays of 1 to 4
ms, a quarter of them inhibitory; bins of 1 ms. Ordered pairs are ranked by the strongest of their lags 1 to 10 ms: area
under the precision-recall curve, and of the 200 best the share of true delays. Correlogram: (C - E) / sqrt(E), E
from both rates; plug-in: MI of the table of counts, not corrected; GCMI: the Gaussian copula's.

cover: dense series that remember themselves, y follows x three samples later with a known correlation of normal variables, 5,000
samples: how often |MI - exact| is below 1.96 standard errors.

speed: pairs of spike trains of an hour in bins of 5 ms, +-50 ms; trials are of 2 s.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import machine, print_table
from numba import njit
from scipy.signal import lfilter
from sklearn.metrics import average_precision_score

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.conditional.conditional_ranks import Condition
from mmg_ray.estimator.conditional.lagged import LaggedPairs
from mmg_ray.estimator.lags import LagSettings, Series, nulls, scan_tile
from mmg_ray.estimator.lags.moments import lagged
from mmg_ray.estimator.lags.transfer import transfer
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.schema import Variable

_SHARES = (0.05, 0.01, 0.001)


# --- levels


def poisson(rng: np.random.Generator, n: int, rate: float, _: np.ndarray) -> np.ndarray:
    return rng.poisson(rate, n)


def bursty(rng: np.random.Generator, n: int, rate: float, _: np.ndarray) -> np.ndarray:
    on = np.convolve(rng.random(n) < 0.01, np.ones(25))[:n] > 0
    return rng.poisson(rate * np.where(on, 4, 0.2))


def refractory(rng: np.random.Generator, n: int, rate: float, _: np.ndarray) -> np.ndarray:
    found = np.zeros(n, dtype=int)
    at = np.cumsum(4 + rng.geometric(rate, int(n * rate * 1.5) + 10))
    found[at[at < n]] = 1
    return found


def drifting(rng: np.random.Generator, n: int, rate: float, _: np.ndarray) -> np.ndarray:
    return rng.poisson(rate * np.linspace(0.3, 1.7, n))


def slow(rng: np.random.Generator, n: int, rate: float, _: np.ndarray) -> np.ndarray:
    return rng.poisson(rate * np.exp(0.25 * waves(rng, n)))


def together_slowly(
    rng: np.random.Generator, _: int, rate: float, shared: np.ndarray
) -> np.ndarray:
    return rng.poisson(rate * np.exp(0.25 * shared))


def autoregressive(rng: np.random.Generator, n: int, _: float, __: np.ndarray) -> np.ndarray:
    return lfilter([1], [1, -0.9], rng.standard_normal(n // 10))


def waves(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) sums of four slow waves."""
    t = np.arange(n)
    return sum(
        np.sin(2 * np.pi * t / period + rng.uniform(0, 6)) for period in (1300, 2000, 3100, 5000)
    )


LAWS = (
    (poisson, "shift"),
    (bursty, "shift"),
    (refractory, "shift"),
    (drifting, "shift"),
    (slow, "shift"),
    (autoregressive, "shift"),
    (poisson, "jitter"),
    (refractory, "jitter"),
    (together_slowly, "jitter"),
    *((law, "block") for law in (poisson, bursty, drifting, slow, autoregressive)),
    (poisson, "trial"),
    (bursty, "trial"),
)


def part_levels(repeats: int, n: int = 40_000, units: int = 20) -> None:
    rows = []
    for law, null in LAWS:
        p: list[float] = []
        for repeat in range(repeats):
            rng = np.random.default_rng([93, repeat])
            shared = waves(rng, n)
            x = [law(rng, n, rng.uniform(0.01, 0.1), shared) for _ in range(units)]
            starts = np.arange(0, len(x[0]), 200) if null == "trial" else [0]
            series = {k: Series.of(str(k), ordinal_codes(v), starts) for k, v in enumerate(x)}
            # those of a series that is not made of events are estimated at the lag, too
            pairs = np.stack(np.triu_indices(units if not series[0].dense else 6, 1), axis=1)
            settings = LagSettings(10, null, jitter=50 if null == "jitter" else 0)
            p += scan_tile(series, pairs, settings).p_value.tolist()
        shares = [f"{np.mean(np.array(p) <= share) / share:.2f}" for share in _SHARES]
        rows.append([law.__name__.replace("_", " "), null, len(p), *shares])
    print_table(["series", "null", "pairs", *(f"<= {share:g}" for share in _SHARES)], rows)


# --- a network


@njit(cache=True)
def simulate(
    rate: np.ndarray,
    drive: np.ndarray,
    to: np.ndarray,
    delay: np.ndarray,
    weight: np.ndarray,
    seed: int,
) -> list[tuple[int, int]]:
    """Spikes (bin, unit): synapses of unit i are rows i of (V, S) arrays, -1 where there is none."""
    np.random.seed(seed)  # noqa: NPY002  # compiled code draws from a state of its own
    n_units, memory = len(rate), 8
    pushed = np.zeros((memory, n_units))
    last = np.full(n_units, -10)
    spikes = [(0, 0)]
    for t in range(len(drive)):
        now = pushed[t % memory]
        for i in range(n_units):
            chance = rate[i] * np.exp(drive[t] + now[i])
            if t - last[i] > 2 and np.random.random() < chance:  # noqa: NPY002
                last[i] = t
                spikes.append((t, i))
                for s in range(to.shape[1]):
                    if to[i, s] >= 0:
                        pushed[(t + delay[i, s]) % memory, to[i, s]] += weight[i, s]
        now[:] = 0.0
    return spikes[1:]


def part_network(seeds: int, minutes: int) -> None:
    n_units, n_synapses, most = 100, 200, 10
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng([41, seed])
        n = minutes * 60_000
        to, delay = np.full((n_units, 8), -1), np.ones((n_units, 8), dtype=np.int64)
        weight = np.zeros((n_units, 8))
        truth = np.zeros((n_units, n_units), dtype=np.int64)  # the delay of a synapse
        while (truth > 0).sum() < n_synapses:
            i, j = rng.integers(n_units, size=2)
            free = np.flatnonzero(to[i] < 0)
            if i != j and not truth[i, j] and len(free):
                to[i, free[0]], delay[i, free[0]] = j, rng.integers(1, 5)
                weight[i, free[0]] = rng.uniform(1.0, 2.5) * (-1 if rng.random() < 0.25 else 1)
                truth[i, j] = delay[i, free[0]]
        drive = 0.3 * np.convolve(rng.standard_normal(n), np.exp(-np.arange(2000) / 400), "same")
        drive *= 0.35 / drive.std()
        rate = rng.uniform(0.003, 0.008, n_units)
        spikes = np.array(simulate(rate, drive, to, delay, weight, seed))
        series = {
            k: Series.of_events(
                str(k), spikes[spikes[:, 1] == k, 0], np.ones((spikes[:, 1] == k).sum()), n, [0]
            )
            for k in range(n_units)
        }
        pairs = np.stack(np.triu_indices(n_units, 1), axis=1)
        scores = score(series, pairs, most)
        off = ~np.eye(n_units, dtype=bool)
        for name, (strength, lag) in scores.items():
            first = np.argsort(-strength[off])[:n_synapses]
            right = (lag[off][first] == truth[off][first]).mean()
            rows.setdefault(name, []).append(
                (average_precision_score(truth[off] > 0, strength[off]), right)
            )
    print_table(
        ["ranked by", "AUPR", "true delays among the first 200"],
        [[name, *(f"{v:.3f}" for v in np.mean(found, axis=0))] for name, found in rows.items()],
    )


def score(
    series: dict[int, Series], pairs: np.ndarray, most: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(V, V) strength of each ordered pair at the best of lags 1.. and that lag, by method."""
    n_units = len(series)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def put(name: str, i: int, j: int, values: np.ndarray) -> None:
        strength, lag = found.setdefault(
            name, (np.zeros((n_units, n_units)), np.zeros((n_units, n_units), dtype=np.int64))
        )
        for a, b, side in ((i, j, values[most + 1 :]), (j, i, values[:most][::-1])):
            strength[a, b], lag[a, b] = side.max(), 1 + side.argmax()

    for i, j in pairs.tolist():
        x, y = series[i], series[j]
        counts = lagged(x, y, most)
        for name, null in (
            ("mmg, jitter of 25 ms", nulls.jitter(x, y, most, 25)),
            ("mmg, shift", nulls.shift(x, y, most, counts.n)),
        ):
            sums = (
                nulls.coincidence_counts(counts, x, y)[:, None, None]
                if "jitter" in name
                else counts.sums
            )
            put(name, i, j, -np.log(nulls.at_lags(sums, null)[1]))
        table = counts.tables.astype(float)
        n = table.sum(axis=(1, 2))
        expected = table.sum(axis=2)[:, 1] * table.sum(axis=1)[:, 1] / n
        put("correlogram z", i, j, np.abs(table[:, 1, 1] - expected) / np.sqrt(expected))
        p = table / n[:, None, None]
        product = p.sum(2, keepdims=True) * p.sum(1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            put("plug-in MI", i, j, np.nansum(p * np.log(p / product), axis=(1, 2)))
        r = counts.sums[:, 0, 0] / n
        put("GCMI", i, j, -0.5 * np.log(1 - r**2))
    return found


# --- error bars


def part_cover(repeats: int, n: int = 5000, lag: int = 3) -> None:
    rng, rows = np.random.default_rng(11), []
    for memory in (0.0, 0.5, 0.9, 0.97):
        for rho in (0.15, 0.4, 0.7):
            exact = -0.5 * np.log(1 - rho**2)
            error, se, right = np.empty((3, repeats))
            for k in range(repeats):
                noise = rng.standard_normal(
                    (2, n + 600)
                )  # the first of them until it is stationary
                x, own = lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise)
                y = rho * np.roll(x, lag) + np.sqrt(1 - rho**2) * own
                series = {
                    v: Series.of(str(v), ordinal_codes(values[600:]), [0])
                    for v, values in enumerate((x, y))
                }
                found = scan_tile(series, np.array([[0, 1]]), LagSettings(8))
                error[k], se[k] = found.mi_nats[0] - exact, found.se_nats[0]
                right[k] = found.lag[0] == lag
            rows.append(
                [
                    f"{memory:g}",
                    f"{exact:.3f}",
                    f"{error.mean():+.4f}",
                    f"{np.sqrt(np.mean(error**2)):.4f}",
                    f"{se.mean():.4f}",
                    f"{np.mean(np.abs(error) <= 1.96 * se):.2f}",
                    f"{right.mean():.2f}",
                ]
            )
    print_table(["memory", "MI", "bias", "RMSE", "mean se", "cover", "lag right"], rows)


# --- cost


def part_speed() -> None:
    rng, n, units = np.random.default_rng(1), 720_000, 24
    counts = [rng.poisson(rng.lognormal(np.log(5), 0.6) * 0.005, n) for _ in range(units)]
    pairs = np.stack(np.triu_indices(units, 1), axis=1)
    rows = []
    for name, settings in (
        ("shift", LagSettings(10)),
        ("block", LagSettings(10, "block")),
        ("jitter", LagSettings(10, "jitter", jitter=10)),
        ("trial", LagSettings(10, "trial")),
    ):
        starts = np.arange(0, n, 400) if name == "trial" else [0]
        series = {k: Series.of(str(k), v, starts) for k, v in enumerate(counts)}
        scan_tile(series, pairs[:1], settings)
        began = time.perf_counter()
        scan_tile(series, pairs, settings)
        rows.append([f"scan, {name}", f"{1e3 * (time.perf_counter() - began) / len(pairs):.2f}"])
    series = {k: Series.of(str(k), v, [0]) for k, v in enumerate(counts)}
    for lags in ((1,), (1, 2, 3)):
        transfer(series[0], series[1], lags, (1, 2))
        began = time.perf_counter()
        for i, j in pairs[:20].tolist():
            transfer(series[i], series[j], lags, (1, 2))
            transfer(series[j], series[i], lags, (1, 2))
        spent = 1e3 * (time.perf_counter() - began) / 20
        rows.append([f"transfer entropy both ways, {len(lags)} lags", f"{spent:.1f}"])
    rows += _others(rng, n)
    print_table([f"an hour in bins of 5 ms, {machine()}", "ms a pair"], rows)


def _others(rng: np.random.Generator, n: int) -> list[list[str]]:
    """Groups of cells, and cells given what drives them all; functions and smoothers made before."""
    slow = lfilter([1], [1, -0.999], rng.standard_normal(n))
    slow /= slow.std()
    cells = [rng.poisson(0.05 * np.exp(0.6 * slow)) for _ in range(3)]
    cells[1][2:] += (cells[0][:-2] > 0) & (rng.random(n - 2) < 0.3)
    given = Condition.of("slow", n, [ordinal_codes(slow)], [])
    areas = [rng.poisson(0.1, (n, 10)) for _ in range(3)]
    areas[1][3:] += (areas[0][:-3].sum(1, keepdims=True) > 2) & (rng.random((n - 3, 10)) < 0.1)
    rows = []
    for what, values, condition in (
        ("10 + 10 cells", areas, None),
        ("a cell and a cell given what drives both", [c[:, None] for c in cells], given),
    ):
        variables = {
            k: Variable(str(k), np.stack([ordinal_codes(c) for c in v.T], axis=1))
            for k, v in enumerate(values)
        }
        scan = LaggedPairs(np.array([0]), n, condition, LagSettings(10), EstimatorConfig())
        scan.estimate(variables, np.array([(0, 1), (0, 2)]))
        for name, pair in (("independent", (0, 2)), ("dependent", (0, 1))):
            began = time.perf_counter()
            scan.estimate(variables, np.array([pair]))
            rows.append([f"{what}, {name}", f"{1e3 * (time.perf_counter() - began):.0f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["levels", "network", "cover", "speed"], default="levels")
    parser.add_argument(
        "--repeats", type=int, default=24, help="recordings, in levels; pairs, in cover"
    )
    parser.add_argument("--seeds", type=int, default=3, help="networks")
    parser.add_argument("--minutes", type=int, default=20, help="of a network's recording")
    args = parser.parse_args()
    if args.part == "levels":
        part_levels(args.repeats)
    elif args.part == "network":
        part_network(args.seeds, args.minutes)
    elif args.part == "cover":
        part_cover(args.repeats)
    else:
        part_speed()


if __name__ == "__main__":
    main()
