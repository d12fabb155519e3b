"""Seconds of a matrix of areas: all pairs of groups of cells, by the networks of `auto`.

    python benchmarks/areas.py --kind counts --device cuda
    python benchmarks/areas.py --kind continuous --n-areas 4

One pair alone comes first, so that what is loaded and compiled once does not count.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
import torch
from gpu import tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=("counts", "continuous"), default="counts")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu")
    parser.add_argument("--n-areas", type=int, default=30)
    parser.add_argument("--n-cells", type=int, default=20, help="of an area")
    parser.add_argument("--n-samples", type=int, default=5000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tile(args.n_samples, 1, kind=args.kind, dim=args.n_cells)[0](args.device)
    work, n_pairs = tile(
        args.n_samples, args.n_areas * (args.n_areas - 1) // 2, kind=args.kind, dim=args.n_cells
    )
    began = time.perf_counter()
    found = work(args.device)
    took = time.perf_counter() - began
    by = Counter(found[k].denoiser for k in range(n_pairs))
    mi = np.asarray(found.mi_nats, dtype=float)
    print(
        f"{args.n_areas} areas of {args.n_cells} {args.kind}, N = {args.n_samples:,}, {args.device}: {n_pairs} pairs "
        f"in {took:.1f} s, {took / n_pairs:.3f} s a pair; {dict(by)}; MI {np.nanmedian(mi):.4f} in the middle"
    )
    if args.device == "cuda":
        print(f"peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
