"""Every GPU check and timing of the project in one command, written with device, versions and commit.

    python benchmarks/gpu.py --out folder                       # under 8 minutes on a GPU
    python benchmarks/gpu.py --out folder --device cpu --small  # its twin without a GPU: seconds

For each path that takes a device, three things. Agreement: the same pairs on the CPU and on the device, the
largest difference in nats, and for networks, whose random streams differ by device, in standard errors.
Rate: pairs/s at each number of samples, on the device and on one thread of the CPU. Memory: the device's peak.

Nothing of Ray, storage or tables is imported: torch, numpy, scipy, numba, pydantic and PyYAML do.
`gpu.json` and `gpu.md` are written anew after every row, so that what is done is kept whatever comes. A row that
fails records its traceback; one that would take longer than its share of the budget is skipped, and says so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

Work = Callable[[str], Any]  # a device -> what is found there

_SIZES = (1_000, 10_000, 100_000)

_TOLERANCE_NATS = 1e-5  # of closed forms
_TOLERANCE_ERRORS = 4.0  # of networks: standard errors of the difference
_FILLED_S = 1.0  # a timing of at least this long is taken


@dataclass(frozen=True)
class Route:
    """One way through the estimator that takes a device.

    Attributes:
        work: (n_samples, n_pairs at least) -> what is to be run, and how many pairs it is.
        n_pairs: of the agreement, and the first of the timing; the timing takes more, up to `most_pairs`.
        trained: networks, which a device trains from random numbers of its own.
        largest: number of samples that the path is for.
    """

    name: str
    work: Callable[[int, int], tuple[Work, int]]
    n_pairs: int = 64
    most_pairs: int = 8192
    trained: bool = False
    largest: int = _SIZES[-1]


def table(n: int, n_variables: int, kind: str, dim: int = 1) -> dict[int, Any]:
    """Variables of which three in four follow one of two factors, one of the three in a bent way.

    continuous: normal noise plus that. counts: about one on average, many of them 0.
    """
    from mmg_ray.estimator.ranks.marginals import ordinal_codes
    from mmg_ray.schema import Variable

    rng = np.random.default_rng([n, n_variables, dim])
    factors = rng.normal(size=(n, 2))
    found = {}
    for v in range(n_variables):
        columns = []
        for _ in range(dim):
            x = rng.normal(size=n)
            if v % 4 < 3:
                f = factors[:, v // 4 % 2]
                x += rng.choice([0.6, 0.9, 1.2]) * (f**2 - 1 if v % 4 == 2 else f) / math.sqrt(dim)
            if kind == "counts":
                x = rng.poisson(np.exp(0.8 * x + rng.uniform(-1, 1)))
            columns.append(ordinal_codes(x.astype(float)))
        found[v] = Variable(f"v{v}", np.stack(columns, axis=1))
    return found


def tile(
    n: int,
    n_pairs: int,
    *,
    kind: str = "continuous",
    dim: int = 1,
    given: bool = False,
    **fields: Any,
) -> tuple[Work, int]:
    """All pairs of a table, as a shard's tile takes them, by an estimator's configuration."""
    from mmg_ray.config import EstimatorConfig
    from mmg_ray.estimator.conditional.conditional_ranks import Condition
    from mmg_ray.estimator.conditional.conditioner import Conditioner
    from mmg_ray.estimator.conditional.pairs import estimate_given

    cfg = EstimatorConfig(**fields)
    n_variables = math.ceil((1 + math.sqrt(1 + 8 * n_pairs)) / 2)
    variables = table(n, n_variables, kind, dim)
    i, j = np.triu_indices(n_variables, 1)
    pairs = np.stack([i, j], axis=1)[:n_pairs]
    condition = None
    if given:
        number = table(n, 1, "continuous")[0].codes[:, 0]
        condition = Condition.of("c", n, [number], [(np.arange(n) % 3).astype(np.int32)])

    def work(device: str) -> Any:
        # one condition's ranks are made once a run, here once a call: they belong to the cost
        known = None if condition is None else Conditioner(condition, cfg.seed)
        return estimate_given(variables, pairs, known, cfg, device)

    return work, len(pairs)


def moments(n: int, n_pairs: int) -> tuple[Work, int]:
    """The screen's products of ranks alone, of two blocks of variables."""
    from mmg_ray.estimator.dependence import screen
    from mmg_ray.estimator.ranks.rank_polynomials import ranked

    side = math.ceil(math.sqrt(n_pairs))
    rng = np.random.default_rng(n)
    x, y = ([ranked(rng.permutation(n)) for _ in range(side)] for _ in range(2))
    # MI of a weak pair is half the sum of S^2 over n: the chi-square in nats
    return lambda device: screen.block_moments(x, y, device).chi_square / (2 * n), side**2


_DIRECT = {"p_value": 1.0, "weak_nats": 0.0, "mi_nats": 1e9, "fine_structure": False}
PATHS = (
    Route("block moments", moments, 4096, 1 << 22),
    Route("screen", partial(tile, denoiser="screen"), 2016, 130_816),
    Route("spline-direct", partial(tile, cascade=_DIRECT), 64),
    Route("spline", partial(tile, denoiser="spline"), 64),
    Route("auto, continuous", tile, 496),
    Route("auto, counts", partial(tile, kind="counts"), 496),
    Route("auto, given a condition", partial(tile, given=True), 64, largest=10_000),
    Route("neural, scalars", partial(tile, denoiser="neural"), 6, 120, True, 10_000),
    Route("neural, 5 x 5", partial(tile, denoiser="neural", dim=5), 6, 120, True, 10_000),
    Route("neural, 20 x 20", partial(tile, denoiser="neural", dim=20), 3, 60, True, 10_000),
    Route("counts, 20 x 20", partial(tile, kind="counts", dim=20), 3, 60, True, 10_000),
)


def agreement(path: Route, n: int, device: str) -> dict[str, Any]:
    """The same pairs on the CPU and on the device."""
    work, n_pairs = path.work(n, path.n_pairs)
    a, b = work("cpu"), work(device)
    row: dict[str, Any] = {"pairs": n_pairs}
    if isinstance(a, np.ndarray):
        row["max_difference_nats"] = float(np.abs(a - b).max())
    else:
        both = a.ok & b.ok
        mi = [np.asarray(found.mi_nats, dtype=float)[both] for found in (a, b)]
        se = [np.asarray(found.se_nats, dtype=float)[both] for found in (a, b)]
        difference = np.abs(mi[0] - mi[1])
        row["pairs_ok"] = int(both.sum())
        row["same_status"] = bool((a.ok == b.ok).all())
        row["same_denoiser"] = sum(a[k].denoiser == b[k].denoiser for k in range(n_pairs)) / max(
            n_pairs, 1
        )
        row["max_difference_nats"] = float(difference.max(initial=0))
        row["median_difference_nats"] = float(np.median(difference)) if both.any() else 0.0
        errors = difference / np.maximum(np.hypot(*se), 1e-12)
        row["max_difference_standard_errors"] = float(errors.max(initial=0))
        row["max_mi_nats"] = float(mi[0].max(initial=0))
    if path.trained:
        row["agrees"] = row["max_difference_standard_errors"] <= _TOLERANCE_ERRORS
    else:
        row["agrees"] = row["max_difference_nats"] <= _TOLERANCE_NATS
    row["agrees"] = row["agrees"] and row.get("same_status", True)
    return row


def rate(path: Route, n: int, device: str, allowed_s: float, small: bool) -> dict[str, Any]:
    """Pairs/s of the largest batch that the row has time for; the first call is a warm-up."""
    cuda = device == "cuda"
    until = time.perf_counter() + allowed_s
    n_pairs, row = (path.n_pairs if cuda or small else max(1, path.n_pairs // 4)), {}
    while True:
        began = time.perf_counter()
        work, made = path.work(n, n_pairs)
        setup = time.perf_counter() - began
        for _ in range(
            1 if row else 2
        ):  # what is compiled and loaded the first time does not count
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            began = time.perf_counter()
            work(device)
            if cuda:
                torch.cuda.synchronize()
            took = time.perf_counter() - began
            if time.perf_counter() + took > until:
                break
        row = {"pairs": made, "wall_s": took, "pairs_per_s": made / took}
        if cuda:
            row["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
        grown = min(4 * n_pairs, path.most_pairs)
        projected = 1.5 * (setup + took) * grown / n_pairs
        if small or took > _FILLED_S or grown == n_pairs or time.perf_counter() + projected > until:
            return row
        n_pairs = grown


class Results:
    """The rows so far, in two files that are always whole."""

    def __init__(self, folder: Path, head: dict[str, Any], go_on: bool) -> None:
        self._folder, self._json = folder, folder / "gpu.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = []
        self.head = head
        if go_on and self._json.exists():
            found = json.loads(self._json.read_text())
            self.head, self.rows = found["head"], found["rows"]

    def done(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The row of this part, path, size and device; None where there is none."""
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        for file, text in (
            (self._json, json.dumps({"head": self.head, "rows": self.rows}, indent=1)),
            (self._folder / "gpu.md", self.markdown()),
        ):
            file.with_suffix(".part").write_text(text)
            file.with_suffix(".part").replace(file)
        said = row.get("error", "").strip().splitlines()[-1:] or [
            f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}"
            for k, v in row.items()
            if k not in ("part", "path", "n_samples", "device")
        ]
        print(
            f"{row['part']:9} {row['path']:24} N={row['n_samples']:<7,} {row['device']:4}",
            *said,
            flush=True,
        )

    def markdown(self) -> str:
        lines = [f"{name}: {value}  " for name, value in self.head.items()]
        lines += [
            "",
            "| path | N | pairs | same status | same denoiser | max difference, nats | in standard errors | agrees |",
        ]
        lines.append("|---|---|---|---|---|---|---|---|")
        for row in self._of("agreement"):
            cells = [
                _shown(row, name)
                for name in (
                    "pairs",
                    "same_status",
                    "same_denoiser",
                    "max_difference_nats",
                    "max_difference_standard_errors",
                    "agrees",
                )
            ]
            lines.append(f"| {row['path']} | {row['n_samples']:,} | {' | '.join(cells)} |")
        lines += [
            "",
            "| path | N | CPU, one thread, pairs/s | device, pairs/s | times | pairs at once | peak memory, GB |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        seen = dict.fromkeys((row["path"], row["n_samples"]) for row in self._of("rate"))
        for path, n in seen:
            key = {"part": "rate", "path": path, "n_samples": n}
            cpu = self.done(key | {"device": "cpu"}) or {}
            gpu = self.done(key | {"device": "cuda"}) or {}
            times = (
                gpu["pairs_per_s"] / cpu["pairs_per_s"]
                if gpu.get("pairs_per_s") and cpu.get("pairs_per_s")
                else None
            )
            peak = gpu["peak_gpu_bytes"] / 1e9 if "peak_gpu_bytes" in gpu else None
            cells = [
                _shown(cpu, "pairs_per_s"),
                _shown(gpu, "pairs_per_s"),
                *(("" if x is None else f"{x:.3g}") for x in (times,)),
                _shown(gpu, "pairs"),
                "" if peak is None else f"{peak:.3g}",
            ]
            lines.append(f"| {path} | {n:,} | {' | '.join(cells)} |")
        failed = [row for row in self.rows if "error" in row]
        for row in failed:
            lines += [
                "",
                f"{row['part']}, {row['path']}, N = {row['n_samples']:,}, {row['device']}:",
                "",
                "```",
                row["error"].strip(),
                "```",
            ]
        return "\n".join(lines) + "\n"

    def _of(self, part: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["part"] == part]


def _shown(row: dict[str, Any], name: str) -> str:
    if "skipped" in row:
        return "skipped"
    if "error" in row:
        return "failed"
    value = row.get(name, "")
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def planned(parts: list[str], device: str, small: bool) -> list[tuple[str, Route, int, str]]:
    """The rows in the order of their worth: what agrees, how fast the device is, how fast the CPU."""
    sizes = (300,) if small else _SIZES
    both = list(dict.fromkeys((device, "cpu")))
    rows = [("agreement", path, n, device) for n in sizes[:2] for path in PATHS]
    rows += [("rate", path, n, where) for where in both for n in sizes for path in PATHS]
    return [
        (part, path, n, where)
        for part, path, n, where in rows
        if n <= path.largest
        and not (part == "agreement" and path.trained and n > _SIZES[0])
        and any(wanted in (part, path.name) for wanted in parts or [part])
    ]


def reduced(path: Route) -> Route:
    """The same code in seconds: three pairs, networks that hardly learn."""
    work = partial(path.work, network={"n_steps": 30}) if path.trained else path.work
    return replace(path, work=work, n_pairs=min(path.n_pairs, 1 if path.trained else 3))


def too_long(results: Results, part: str, path: Route, n: int, where: str, allowed_s: float) -> str:
    """Why the row is skipped, from the time of a pair at the size before; "" where it is not."""
    before = [
        row
        for row in results.rows
        if row["part"] == part
        and row["path"] == path.name
        and row["device"] == where
        and row["n_samples"] < n
        and "seconds" in row
    ]
    if not before:
        return ""
    last = before[-1]
    if "skipped" in last or "error" in last:
        return f"N = {last['n_samples']:,} was skipped, or failed"
    first = path.n_pairs if part == "agreement" or where == "cuda" else max(1, path.n_pairs // 4)
    a_pair = (
        last["seconds"] / last["pairs"] if part == "agreement" else last["wall_s"] / last["pairs"]
    )
    needed = 2 * first * a_pair * n / last["n_samples"]
    return f"would take about {needed:.0f} s of {allowed_s:.0f} s" if needed > allowed_s else ""


def head(device: str, commit: str | None) -> dict[str, Any]:
    """Where and with what it ran."""
    root = Path(__file__).parent.parent
    if commit is None:
        asked = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        commit = found.stdout.strip() or "unknown"
    where = platform.machine()
    if device == "cuda":
        made = torch.cuda.get_device_properties(0)
        where = f"{made.name}, {made.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return {
        "device": where,
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread used",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        "commit": commit,
        "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def broken(device: str) -> bool:
    """Whether an error has left the device unusable for this process, as an illegal access does."""
    try:
        return device == "cuda" and float(torch.ones(8, device=device).sum()) != 8
    except RuntimeError:
        return True


def main(arguments: list[str] | None = None) -> int:
    began = time.perf_counter()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), help="folder of gpu.json and gpu.md"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--budget-s", type=float, default=440, help="for all of it; rows share what is left"
    )
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        help="agreement, rate, or the name of a path; repeatable",
    )
    parser.add_argument("--small", action="store_true", help="300 samples and small batches alone")
    parser.add_argument("--commit", help="what is run, where the folder has no .git")
    parser.add_argument(
        "--go-on", action="store_true", help="keep the rows that are in the folder, do the others"
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu runs the twin")
    results = Results(asked.out, head(asked.device, asked.commit), asked.go_on)
    rows = planned(asked.part, asked.device, asked.small)
    for number, (part, path, n, where) in enumerate(rows):
        key = {"part": part, "path": path.name, "n_samples": n, "device": where}
        if results.done(key):
            continue
        left_s = asked.budget_s - (time.perf_counter() - began)
        allowed_s = max(2.0, 2.5 * left_s / (len(rows) - number)) if left_s > 0 else 0.0
        small = reduced(path) if asked.small else path
        started = time.perf_counter()
        try:
            if why := too_long(results, part, small, n, where, allowed_s):
                row: dict[str, Any] = {"skipped": why}
            elif left_s <= 0:
                row = {"skipped": f"the budget of {asked.budget_s:.0f} s is spent"}
            elif part == "agreement":
                row = agreement(small, n, where)
            else:
                row = rate(small, n, where, allowed_s, asked.small)
        except Exception:  # noqa: BLE001  # one row must not lose the others
            row = {"error": traceback.format_exc()}
        results.add(key | row | {"seconds": time.perf_counter() - started})
        if "error" in row and broken(asked.device):
            again = [*(sys.argv[1:] if arguments is None else arguments), "--go-on"]
            left = f"--budget-s={asked.budget_s - (time.perf_counter() - began):.0f}"
            os.execv(sys.executable, [sys.executable, __file__, *again, left])
        if where == "cuda":
            torch.cuda.empty_cache()
    failed = sum("error" in row for row in results.rows)
    differ = sum(row.get("agrees") is False for row in results.rows)
    print(f"{len(results.rows)} rows, {failed} failed, {differ} do not agree: {asked.out}/gpu.md")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
