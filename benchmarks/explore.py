"""Seconds of the local page on a run of very many pairs.

    python benchmarks/explore.py --variables 5000

Makes a run of all pairs of so many variables by the screen (12.5 million of 5,000), starts `mmg-ray explore` on it, and
times what a person waits for, from the start of the command and then a click after the other, and the memory of the server.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, print_table

import mmg_ray


def table(n_samples: int, n_variables: int) -> pd.DataFrame:
    """Modules of twelve variables that share a factor, and as many variables that share none."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_samples, n_variables)).astype(np.float32)
    for first in range(0, n_variables // 2, 12):
        x[:, first : first + 12] += rng.standard_normal((n_samples, 1)) * rng.uniform(0.3, 1.2, 12)
    return pd.DataFrame(x, columns=[f"v{v}" for v in range(n_variables)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variables", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--shard-s", type=float, default=1.0, help="projected seconds of a shard")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = ["estimator.denoiser=screen", f"plan.shard_s={args.shard_s}"]
        run = mmg_ray.run(table(args.samples, args.variables), settings, url=f"{folder}/run")
        print(f"{run.manifest.n_pairs:,} pairs in {run.manifest.n_shards} shards, {machine()}\n")
        print_table(["what", "s"], explored(run.url))


def explored(url: str) -> list[list[str]]:
    """Rows of what is waited for."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "mmg_ray", "explore", url, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    rows: list[list[str]] = []
    try:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        base, _, token = address.partition("?")

        def ask(path: str, **query: str) -> bytes:
            text = urllib.parse.urlencode({**query, **dict([token.split("=", 1)])})
            with urllib.request.urlopen(f"{base}{path}?{text}") as answer:
                return answer.read()

        def note(what: str, since: float) -> None:
            rows.append([what, f"{time.perf_counter() - since:.2f}"])

        ask("page.js")
        note("from the command to the page", began)
        edges = json.loads(ask("edges", max_q="0.05"))
        note(f"from the command to its {edges['n']:,} edges", began)
        first = edges["rows"][0]
        for what, path, query in (
            ("the edges of one variable", "edges", {"variable": first["source"], "max_q": "0.05"}),
            ("find a variable by a part of its name", "variables", {"text": "v1"}),
            ("the first pair, which loads torch", "pair", first),
            ("another pair", "pair", edges["rows"][1]),
            ("modules", "modules", {}),
            ("download of all edges", "edges.csv", {"max_q": "0.05"}),
        ):
            since = time.perf_counter()
            ask(path, **{k: v for k, v in query.items() if isinstance(v, str)})
            note(what, since)
        status = Path(f"/proc/{server.pid}/status").read_text()
        most = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6  # type: ignore[index]
        rows.append(["memory of the server, GB", f"{most:.2f}"])
    finally:
        server.terminate()
        server.wait()
    return rows


if __name__ == "__main__":
    main()
