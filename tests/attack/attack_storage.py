"""Damage to what a run has stored: every artifact, every reader.

    python tests/attack/attack_storage.py --attempts 500 --seed 0 --limit-s 1800

Two small runs are made, one of a table with conditions and one of `mmg-ray genomics`. Each attempt copies
one of them, damages an object (a bit flipped, the end cut off, deleted, exchanged with a sibling, or replaced by
another run's), reads the copy by every reader, resumes it and verifies it. A result that differs without a word, or an
exception that is not an MMGError, fails the campaign.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from harness import Answer, Attempt, Outcome, Sandbox, call, campaign

from mmg_ray import config as configuration
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver, task
from mmg_ray.genomics import job
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.runs import Run, open_run
from mmg_ray.store import matrix, preparing

KINDS = ("flip", "flip", "flip", "cut", "delete", "swap", "other")
N_VARIABLES, N_SAMPLES = 12, 60
# what drivers say of themselves and of their machine: no result depends on it, and every start adds to it
_OF_DRIVERS = ("driver", "environments/")
_RUNS = ("table", "genes")
_REPORTS = 25  # one attempt in so many reads the report, too, which takes seconds


def small() -> None:
    """Several chunks of codes, and several bands and chunks of each matrix."""
    preparing.CHUNK_COLUMNS = 5
    matrix.BAND_BYTES = 4 * len(matrix.MATRICES) * N_VARIABLES * 7
    matrix._CHUNK_COLUMNS = 7


def make(folder: Path, seed: int) -> None:
    """The runs of a seed below a folder: `table` and `genes`."""
    small()
    folder.mkdir()
    rng = np.random.default_rng(seed)
    values = rng.poisson(3.0, size=(N_SAMPLES, N_VARIABLES)).astype(float)
    values[:, 1] += values[:, 0]
    header = ",".join(f"v{k}" for k in range(N_VARIABLES))
    np.savetxt(folder / "table.csv", values, delimiter=",", header=header, comments="")
    common = {
        "estimator": {"denoiser": "gaussian"},
        "plan": {"tile_variables": 6, "shard_s": 1.0e-9},
        "execute": {"executor": "serial"},
    }
    path = str(folder / "table.csv")
    with_condition = {"data": {"path": path, "conditions": ["v11"]}}
    driver.run(
        configuration.from_dict(common | with_condition | {"output": {"url": f"{folder}/table"}})
    )
    genes = common | {
        "data": {"path": path},
        "cells": {"min_genes": 1},
        "genes": {"min_cells": 1, "top": N_VARIABLES - 1},
        "network": {"steps": ["fdr=0.5"], "files": {"network.csv": "csv"}, "heatmap": False},
        "output": {"url": f"{folder}/genes"},
    }
    for _ in job.go(configuration.load_as(GenomicsConfig, json.dumps(genes))):
        pass


def objects(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def damage(run: Path, other: Path, kind: str, path: str, rng: np.random.Generator) -> str:
    """Damage one object; what was done."""
    place = run / path
    data = place.read_bytes()
    made: bytes | None = data
    what = kind
    if kind == "flip" and data:
        at, bit = int(rng.integers(len(data))), int(rng.integers(8))
        made = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        what = f"bit {bit} of byte {at} flipped"
    elif kind == "cut":
        made = data[: int(rng.integers(len(data)))] if data else data
        what = f"cut to {len(made)} bytes"
    elif kind == "delete":
        made = None
    elif kind == "swap":
        siblings = sorted(
            p for p in run.rglob("*") if p.is_file() and p.suffix == place.suffix and p != place
        )
        if siblings:
            sibling = siblings[int(rng.integers(len(siblings)))]
            made = sibling.read_bytes()
            sibling.write_bytes(data)
            what = f"exchanged with {sibling.relative_to(run)}"
    elif (other / path).exists():
        made = (other / path).read_bytes()
        what = "replaced by another run's"
    else:
        names = sorted(p for p in (other / path).parent.glob("*") if p.is_file())
        made = names[int(rng.integers(len(names)))].read_bytes() if names else data
        what = "replaced by another run's"
    if made == data:  # no other file of its kind, or the same in both runs
        return damage(run, other, "delete" if not data else "flip", path, rng)
    place.unlink() if made is None else place.write_bytes(made)
    return what


# --- what is read ----------------------------------------------------------------------------


def _bytes(value: Any) -> str:
    return hashlib.sha256(pickle.dumps(value)).hexdigest()


def _csv(run: Run) -> bytes:
    file = io.BytesIO()
    run.edge_store().write_csv(file)
    return file.getvalue()


def _report(run: Run) -> Any:
    """Everything on the page but how long the run took."""
    with tempfile.TemporaryDirectory() as folder:
        found = run.report(f"{folder}/report.html", ("fdr=0.5",))
    texts = (found.of.n_tests, found.denoisers, found.stops, found.strongest, found.heat_names)
    arrays = (found.mi_counts, found.p_counts, found.heat)
    tables = (found.network.table.to_pydict(), found.of.quality.to_pydict())
    return texts, [array.tobytes() for array in arrays], tables


def _matrices(run: Run) -> list[bytes]:
    return [run.matrix(name)[:].tobytes() for name in matrix.MATRICES]


def _axis_names(run: Run) -> list[str]:
    import zarr

    group = zarr.open_group(run.matrix().store, mode="r", zarr_format=3)
    return [str(name) for axis in ("source", "target") for name in group[axis][:]]


def _codes(run: Run) -> list[bytes]:
    opened = run.prepared()
    condition = opened.condition()
    return [v.codes.tobytes() for v in opened.load(range(opened.n_variables)).values()] + [
        pickle.dumps(condition)
    ]


def _identity(run: Run) -> Any:
    """Another run's manifest makes it that run, which does not fit what lies beside it: `status` says so."""
    if damaged := run.status().damaged:
        raise StoreError(damaged[0])
    return run.manifest, repr(run)


READERS: dict[str, Callable[[Run], Any]] = {
    "edges": lambda run: run.edge_store().table().to_pydict(),
    "csv": _csv,
    "strongest": lambda run: run.edge_store().strongest(5).to_pydict(),
    "n_tests": Run.n_tests,
    "network": lambda run: run.network(("fdr=0.5",)).table.to_pydict(),
    "matrix": _matrices,
    "axis names": _axis_names,
    "variables": lambda run: run.prepared().qc().to_pydict(),
    "codes": _codes,
    "names": lambda run: run.names,
    "identity": _identity,
    "report": _report,
}


class Heard(logging.Handler):
    """Warnings of the library: what it says while it goes on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def listening(fn: Callable[[], Answer]) -> tuple[list[str], Answer]:
    """What the library said meanwhile, and the answer."""
    heard, log = Heard(), logging.getLogger("mmg_ray")
    log.addHandler(heard)
    try:
        return heard.lines, fn()
    finally:
        log.removeHandler(heard)


def read(url: str, *, report: bool) -> dict[str, tuple[Answer, bool]]:
    """By reader: what it gives, as a digest, and whether it said anything."""
    found = {}
    for name, reader in READERS.items():
        if report or name != "report":
            heard, answer = listening(
                lambda reader=reader: call(lambda: _bytes(reader(open_run(url))))
            )
            found[name] = answer, bool(heard)
    return found


def _resume(url: str, verify: bool) -> Answer:
    task._opened.cache_clear()
    return call(lambda: driver.run(url, ["execute.executor=serial"], verify=verify).url)


@contextmanager
def copied(base: str) -> Iterator[Path]:
    """A copy of a run, always at the same place: a report names it."""
    run = Path(base).parents[1] / "work"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(base, run)
    try:
        yield run
    finally:
        shutil.rmtree(run)


def attempt(base: str, donor: str, kind: str, path: str, seed: int) -> tuple[Outcome, str]:
    """Damage a copy of `base`, read it, resume it, verify it, and read it again after each."""
    small()
    expected: dict[str, str] = json.loads(Path(f"{base}.json").read_text())
    with copied(base) as run:
        before = objects(run)
        what = damage(run, Path(donor), kind, path, np.random.default_rng(seed))
        steps: list[tuple[str, Callable[[], Answer]]] = [
            ("status", lambda: call(lambda: open_run(str(run)).status().complete)),
            ("run", lambda: _resume(str(run), verify=False)),
            ("run --verify", lambda: _resume(str(run), verify=True)),
        ]
        noticed, refused, state = False, False, objects(run)
        bad, why, noticed, refused = _judge(str(run), expected, report=seed % _REPORTS == 0)
        for name, step in steps:
            if bad is not None:
                break
            heard, answer = listening(step)
            if answer.outcome is Outcome.TRACEBACK:
                bad, why = Outcome.TRACEBACK, f"{name}: {answer.reason}"
                break
            noticed |= answer.outcome is Outcome.REFUSED or answer.value is False
            noticed |= bool(heard) and name != "status"
            if name == "status" and answer.value is True and _sizes(state) != _sizes(before):
                bad, why = Outcome.SILENT, "status calls the run complete"
            if objects(run) != state:
                state = objects(run)
                bad, why, _, refused = _judge(str(run), expected)
        if bad is not None:
            return bad, f"{what}; {why}"
        if _results(state) == _results(before):
            return (Outcome.REPAIRED if noticed else Outcome.HARMLESS), what
        if refused:
            return Outcome.REFUSED, what
        # bytes that nothing reads, such as the header of a page of a shard, may differ
        unread = path.startswith((*_OF_DRIVERS, "edges/"))
        if not noticed and not unread:
            return Outcome.SILENT, f"{what}: nobody noticed"
        return (Outcome.SAID if noticed else Outcome.HARMLESS), what


def _sizes(found: dict[str, bytes]) -> dict[str, int]:
    return {path: len(data) for path, data in _results(found).items()}


def _results(found: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in found.items() if not path.startswith(_OF_DRIVERS)}


def _judge(
    url: str, expected: dict[str, str], *, report: bool = False
) -> tuple[Outcome | None, str, bool, bool]:
    """The worst of what the readers give, or None, and why; whether one said something, or refused."""
    noticed = refused = False
    for name, (answer, said) in read(url, report=report).items():
        if answer.outcome is Outcome.TRACEBACK:
            return Outcome.TRACEBACK, f"{name}: {answer.reason}", noticed, refused
        refused |= answer.outcome is Outcome.REFUSED
        noticed |= said or refused
        if answer.outcome is None and answer.value != expected[name] and not said:
            return Outcome.SILENT, f"{name} gives another result", noticed, refused
    return None, "", noticed, refused


def attempts(folder: Path, n: int, seed: int) -> Iterator[Attempt]:
    """Every artifact in turn, in a shuffled order, each kind of damage in turn."""
    rng = np.random.default_rng(seed)
    places = [(name, path) for name in _RUNS for path in sorted(objects(folder / "one" / name))]
    for k in range(n):
        if k % len(places) == 0:
            rng.shuffle(places)
        name, path = places[k % len(places)]
        kind = KINDS[int(rng.integers(len(KINDS)))]
        base, donor = (str(folder / which / name) for which in ("one", "two"))
        yield Attempt(
            f"{kind:<6} {_group(path)}",
            f"{name}/{path}",
            attempt,
            (base, donor, kind, path, seed * 10**6 + k),
        )


def _group(path: str) -> str:
    top = path.split("/")[0]
    return path if top == "prepared" and "zarr" not in path else top


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--attempts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=1800.0)
    args = parser.parse_args()
    logging.getLogger("mmg_ray").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        return storage(Path(folder), args.attempts, args.seed, args.limit_s)


def storage(folder: Path, n: int, seed: int, limit_s: float) -> int:
    """The campaign; the table is printed. The number of failures."""
    with Sandbox() as sandbox:
        for k, name in enumerate(("one", "two")):
            sandbox.call(make, folder / name, k, limit_s=limit_s)
    for name in _RUNS:
        base = folder / "one" / name
        with copied(str(base)) as run:
            found = read(str(run), report=True)
        expected = {reader: answer.value for reader, (answer, _) in found.items()}
        assert None not in expected.values(), found
        Path(f"{base}.json").write_text(json.dumps(expected))
    table = None
    for table, _ in campaign(attempts(folder, n, seed), limit_s=limit_s):  # noqa: B007
        pass
    print(table)
    if table is None or table.n_tried < n:
        print(f"the time was up after {table.n_tried if table else 0} of {n} attempts")
    return len(table.bad) if table else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(1 if main() else 0)
