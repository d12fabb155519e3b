"""How long a recording takes, from spike times to a network with lags: simulated units and field potentials.

    OMP_NUM_THREADS=1 python benchmarks/recordings.py --units 30 --minutes 10
    OMP_NUM_THREADS=1 python benchmarks/recordings.py --units 300 --minutes 60 --shards 8
    OMP_NUM_THREADS=1 python benchmarks/recordings.py --channels 32 --minutes 60

Units fire 0.5 to 20 times a second (log-normal, bursts and refractory times of 2 ms); each of ten drives another 5 to 20 ms
later. Bins of 5 ms, lags up to 50 ms. Channels are sums of slow and fast noise at 250 Hz; each of ten follows another by 20 ms;
lags up to 100 ms. It times `mmg-ray neural` as a whole on two cores, says what of the known pairs it finds, and the memory of the
driver and of the largest worker. With --shards only the first so many are run: their time beside the forecast.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmg_ray.config import load_as
from mmg_ray.execute import beginning, driver
from mmg_ray.execute.task import ShardTask, run_shard
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.job import go, inputs, stored
from mmg_ray.store.run import Run

KNOWN = 10


def trains(units: int, seconds: float, seed: int = 0) -> tuple[dict[str, np.ndarray], set[Any]]:
    """Spike times of units, and the (source, target) that are connected."""
    rng = np.random.default_rng(seed)
    found = []
    for rate in np.clip(rng.lognormal(np.log(4), 0.8, units), 0.5, 20):
        gaps = 0.002 + rng.gamma(0.7, (1 / rate - 0.002) / 0.7, int(seconds * rate * 1.3) + 50)
        times = np.cumsum(gaps)
        found.append(times[times < seconds])
    pairs = rng.permutation(units)[: 2 * min(KNOWN, units // 2)].reshape(-1, 2)
    for source, target in pairs:
        driven = found[source][rng.random(len(found[source])) < 0.15]
        late = driven + rng.uniform(0.005, 0.02) + rng.normal(0, 0.001, len(driven))
        found[target] = np.sort(np.append(found[target], late[late < seconds]))
    names = [f"u{k:04d}" for k in range(units)]
    return dict(zip(names, found, strict=True)), {(names[a], names[b]) for a, b in pairs}


def potentials(channels: int, seconds: float, seed: int = 0) -> tuple[np.ndarray, set[Any]]:
    """(T, C) float32 at 250 Hz, and the pairs that are connected."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 250)
    x = np.empty((n, channels), dtype=np.float32)
    kernel = np.exp(-np.arange(100) / 12.0)
    for c in range(channels):
        x[:, c] = np.convolve(rng.standard_normal(n + 99), kernel, "valid")
    pairs = rng.permutation(channels)[: 2 * min(KNOWN, channels // 2)].reshape(-1, 2)
    for source, target in pairs:
        x[5:, target] += 0.1 * x[:-5, source]
    return x, {(f"c{a}", f"c{b}") for a, b in pairs}


def configuration(
    folder: Path, data: Path, spikes: bool, workers: int, every: bool
) -> NeuralConfig:
    tree = {
        "data": {"path": str(data)},
        "recording": {} if spikes else {"rate_hz": 250.0},
        "bins": {"width_s": 0.005} if spikes else {},
        "lags": {"max_s": 0.05 if spikes else 0.1},
        "network": {"files": {"network.csv": "csv"}, "heatmap": False},
        "execute": {"executor": "serial" if workers == 1 else "auto"},
        "output": {"url": str(folder / "run")},
    }
    if not every:
        tree["edges"] = {"matrix": False}
    return load_as(NeuralConfig, yaml.safe_dump(tree))


class Memory(threading.Thread):
    """The most memory of this process and of any it started, MB, looked at twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.worker = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.5):
            for pid, title, peak in _processes():
                if pid == os.getpid():
                    self.driver = max(self.driver, peak)
                elif "ray::run_shard" in title:
                    self.worker = max(self.worker, peak)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def __enter__(self) -> Memory:
        self.start()
        return self


def _processes() -> list[tuple[int, str, float]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
            lines = (folder / "status").read_text().splitlines()
        except OSError:
            continue
        peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
        found.append((int(folder.name), title, peak[0] if peak else 0.0))
    return found


def report(run: Run, known: set[Any]) -> str:
    edges = run.network(["fdr=0.01"]).table.to_pylist()
    found = {(row["source"], row["target"]) for row in edges}
    return f"{len(found & known)} of {len(known)} known pairs in their direction, {len(found - known)} others"


def first_shards(cfg: NeuralConfig, n_shards: int) -> None:
    """Time of the first shards beside their forecast, and of the whole from it."""
    began = time.perf_counter()
    made = inputs(cfg)
    config, table = stored(made, cfg)
    print(f"read and binned in {time.perf_counter() - began:.0f} s")
    del made
    began = time.perf_counter()
    forecast = driver.plan_run(config, table=table)
    print(
        f"plan in {time.perf_counter() - began:.0f} s: {forecast.n_pairs:,} pairs, {forecast.n_shards} shards, task time "
        f"{forecast.task_s:.0f} s (measured over the cost model's {forecast.calibrated:.2f}), worker {forecast.peak_bytes / 1e6:.0f} MB, "
        f"driver {forecast.driver_bytes / 1e6:.0f} MB"
    )
    asked = beginning.configure(config, (), table)
    began = time.perf_counter()
    found = beginning.begin(asked, asked.digests())
    print(f"prepared in {time.perf_counter() - began:.0f} s")
    began, busy, pairs = time.perf_counter(), time.process_time(), 0
    for shard in range(min(n_shards, found.n_shards)):
        pairs += run_shard(ShardTask(asked.place.url, found.fingerprint, shard, "cpu")).n_pairs
    took, busy = time.perf_counter() - began, time.process_time() - busy
    whole = busy / pairs * found.n_pairs
    print(
        f"{pairs:,} pairs in {took:.1f} s, {busy:.1f} s of one core, {1e3 * busy / pairs:.2f} ms a pair; all of them {whole:.0f} s, "
        f"forecast over that {forecast.task_s / whole:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=0)
    parser.add_argument("--channels", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, help="run the first so many only")
    args = parser.parse_args()
    seconds = 60 * args.minutes
    with tempfile.TemporaryDirectory() as place, Memory() as memory:
        folder = Path(place)
        if args.units:
            found, known = trains(args.units, seconds)
            data = folder / "spikes.npz"
            np.savez(data, **found)
        else:
            series, known = potentials(args.channels, seconds)
            data = folder / "lfp.npy"
            np.save(data, series)
        cfg = configuration(folder, data, bool(args.units), args.workers, args.shards is None)
        if args.shards is not None:
            first_shards(cfg, args.shards)
        else:
            began = time.perf_counter()
            _, run, _ = go(cfg)
            print(f"whole pipeline in {time.perf_counter() - began:.1f} s: {report(run, known)}")
    print(f"most memory: driver {memory.driver:.0f} MB, a worker {memory.worker:.0f} MB")


if __name__ == "__main__":
    main()
