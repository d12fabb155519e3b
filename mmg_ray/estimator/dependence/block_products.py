"""Sums over samples of products of the polynomials of two blocks of variables, on the CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from mmg_ray.estimator.ranks.rank_polynomials import ORDERS, Ranked
from mmg_ray.estimator.ranks.strata import Within

Side = Ranked | Within  # within strata, if at all, all variables of a run are
ORDER = 5  # of either side; waves of higher order go with the first of the other
_FAST = slice(ORDER, ORDERS)
# products of more fall out of the CPU's cache; a GPU is idle with less
_SAMPLES_AT_ONCE = {"cpu": 512, "cuda": 8192}


def products(
    x: Callable[[slice], torch.Tensor],
    y: Callable[[slice], torch.Tensor],
    n: int,
    n_x: int,
    n_y: int,
    device: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums over n of products of (14, U, n) and (14, V, n), a slice at a time: low with low orders, fast with first, and
    first with fast."""
    new = partial(torch.zeros, dtype=torch.float64, device=device)
    square = new(ORDER * n_x, ORDER * n_y)
    fast_x, fast_y = new((ORDERS - ORDER) * n_x, n_y), new(n_x, (ORDERS - ORDER) * n_y)
    step = _SAMPLES_AT_ONCE["cpu" if device == "cpu" else "cuda"]
    for start in range(0, n, step):
        a, b = (side(slice(start, start + step)) for side in (x, y))
        square += a[:ORDER].flatten(0, 1) @ b[:ORDER].flatten(0, 1).T
        fast_x += a[_FAST].flatten(0, 1) @ b[0].T
        fast_y += a[0] @ b[_FAST].flatten(0, 1).T
    return (
        square.view(ORDER, n_x, ORDER, n_y),
        fast_x.view(ORDERS - ORDER, n_x, n_y),
        fast_y.view(n_x, ORDERS - ORDER, n_y),
    )


class Lookup:
    """Polynomials of a block of variables at some of the samples; `spread` (14, U, S) of those within strata."""

    def __init__(self, block: Sequence[Side], device: str) -> None:
        new = partial(torch.tensor, dtype=torch.float64, device=device)
        within = [side for side in block if isinstance(side, Within)]
        self.spread: torch.Tensor | None = None
        if within:
            self.spread = new(np.stack([side.spread.T for side in within], axis=1))
            self._mean = new(np.concatenate([side.mean for side in within]))
            self._stratum = torch.from_numpy(within[0].stratum.astype(np.int64)).to(device)
            self._first_mean = torch.arange(len(within), device=device)[:, None] * len(
                within[0].mean
            )
        tables: dict[int, int] = {}  # variables without ties share theirs
        at: list[np.ndarray] = []
        first, n_rows = [], 0
        for side in block:
            table = side.polynomials.at
            if id(table) not in tables:
                tables[id(table)] = n_rows
                at.append(table)
                n_rows += len(table)
            first.append(tables[id(table)])
        self._at = new(np.concatenate(at))
        self._value = np.stack([side.value for side in block])
        self._first = torch.tensor(first, device=device)[:, None]

    def at(self, samples: slice) -> torch.Tensor:
        """(14, U, samples)."""
        value = torch.from_numpy(self._value[:, samples].astype(np.int64)).to(self._at.device)
        found = torch.nn.functional.embedding(value + self._first, self._at)
        if self.spread is not None:
            means = self._stratum[samples] + self._first_mean
            found = found - torch.nn.functional.embedding(means, self._mean)
        return found.permute(2, 0, 1)
