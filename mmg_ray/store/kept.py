"""Which rows of a shard are stored: all of them, or those that a screen is made for.

A shard may be of tens of millions of pairs of which next to none depend on one another, so rows are
dropped while its tiles are estimated: memory is bounded by what is stored. Every pair is counted.
What is kept of a shard depends on its own rows alone.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from mmg_ray.config import EdgesConfig
from mmg_ray.errors import ConfigError
from mmg_ray.schema import FAILURES, PairEstimates

RANKINGS = {
    "mi_nats": "highest MI first",
    "mi_posterior": "highest posterior mean of the MI first, pairs without one by their MI",
    "p_value": "lowest p-value first, pairs without one last; then highest MI",
}


def first_weight(mi_nats: np.ndarray, mi_posterior: np.ndarray) -> np.ndarray:
    """(P,) by what edges are ranked before any step: the posterior mean, which ranks better than the MI of
    a pair alone where samples are few; that MI where there is no posterior."""
    return np.where(np.isnan(mi_posterior), mi_nats, mi_posterior)


def best(
    k: int,
    by: str,
    i: np.ndarray,
    j: np.ndarray,
    mi_nats: np.ndarray,
    mi_posterior: np.ndarray,
    p_value: np.ndarray,
) -> np.ndarray:
    """(<= k,) positions of the first rows in a ranking, of (P,) columns.

    Ties go to the lower (i, j), so the first k of a whole are the first k of the best of its parts.
    """
    if by not in RANKINGS:
        raise ConfigError(f"edges cannot be ranked by {by!r}; known: {', '.join(RANKINGS)}")
    keys = [j, i, -mi_nats]  # the last key is the first to be looked at; NaN comes last
    if by == "mi_posterior":
        keys.append(-first_weight(mi_nats, mi_posterior))
    elif by == "p_value":
        keys.append(p_value)
    return np.lexsort(keys)[:k]


class KeptRows:
    """The rows of a shard that are stored, gathered a tile at a time in plan order.

    Without a filter that is every row. With one it is
    - of the pairs with a value, those of a p-value up to ``max_p_value`` or of none, and of these
      the ``top_k`` first in each of the `RANKINGS`;
    - every pair whose estimate failed: it needs a look, and may hide an edge.
    A pair that the data leave without a value (a constant variable, too few samples) is then only
    counted: constant genes alone could be most of the rows of a screen.

    Attributes:
        n_pairs: pairs seen.
    """

    def __init__(self, cfg: EdgesConfig) -> None:
        self._cfg = cfg
        self._held: list[tuple[np.ndarray, PairEstimates]] = []
        self._n_held = self.n_pairs = 0
        self._statuses: Counter[str] = Counter()
        # what a row must reach, one of them, to be among the top_k
        self._p_value_bar, self._mi_bar, self._posterior_bar = np.inf, -np.inf, -np.inf
        self._cut_at = 4 * (cfg.top_k or 0)

    @property
    def statuses(self) -> dict[str, int]:
        """Pairs seen by status, by name."""
        return dict(sorted(self._statuses.items()))

    def add(self, pairs: np.ndarray, estimates: PairEstimates) -> None:
        """Count the (P, 2) pairs of a tile and keep those that are to be stored."""
        self.n_pairs += len(pairs)
        self._statuses.update(estimates.status.counts())
        if self._cfg.filtered:
            rows = np.flatnonzero(self._wanted(estimates))
            pairs, estimates = pairs[rows], estimates.take(rows)
        self._held.append((pairs, estimates))
        self._n_held += len(pairs)
        if self._cfg.top_k is not None and self._n_held > self._cut_at:
            self._cut(self._cfg.top_k)

    def rows(self) -> tuple[np.ndarray, PairEstimates]:
        """(K, 2) pairs that are stored, in plan order, and their estimates."""
        if self._cfg.top_k is not None:
            self._cut(self._cfg.top_k)
        return self._merged()

    def _merged(self) -> tuple[np.ndarray, PairEstimates]:
        """What is held, in one piece; the pieces are let go."""
        pairs, estimates = zip(*self._held, strict=True)
        self._held = [(np.concatenate(pairs), PairEstimates.concatenate(estimates))]
        return self._held[0]

    def _wanted(self, estimates: PairEstimates) -> np.ndarray:
        """(P,) rows that pass the filters, as far as is known by now."""
        p_value = _or_last(estimates.p_value)
        wanted = estimates.ok
        reaches = (p_value <= self._p_value_bar) | (estimates.mi_nats >= self._mi_bar)
        weight = first_weight(estimates.mi_nats, estimates.mi_posterior)
        wanted &= reaches | (weight >= self._posterior_bar)
        if self._cfg.max_p_value is not None:
            wanted &= ~(estimates.p_value > self._cfg.max_p_value)
        return wanted | estimates.status.isin(FAILURES)

    def _cut(self, k: int) -> None:
        """Drop what is not among the first k of a ranking, and raise the bars to the k-th rows.

        It sorts twice what was left the last time, so all cuts together take the time of a few.
        """
        pairs, estimates = self._merged()
        ok = np.flatnonzero(estimates.ok)
        i, j = pairs[ok].T
        mi_nats, mi_posterior = estimates.mi_nats[ok], estimates.mi_posterior[ok]
        p_value = _or_last(estimates.p_value[ok])
        first = {by: best(k, by, i, j, mi_nats, mi_posterior, p_value) for by in RANKINGS}
        if len(ok) >= k:
            self._p_value_bar = p_value[first["p_value"][-1]]
            self._mi_bar = mi_nats[first["mi_nats"][-1]]
            weight = first_weight(mi_nats, mi_posterior)
            self._posterior_bar = weight[first["mi_posterior"][-1]]
        failed = np.flatnonzero(estimates.status.isin(FAILURES))
        rows = np.unique(np.concatenate([failed, *(ok[row] for row in first.values())]))
        self._held, self._n_held = [(pairs[rows], estimates.take(rows))], len(rows)
        self._cut_at = 2 * (self._n_held + k)


def _or_last(p_value: np.ndarray) -> np.ndarray:
    """A pair without a p-value comes after all that have one."""
    return np.nan_to_num(p_value, nan=np.inf)
