"""RankCache of pairs: a variable over the samples that a pair has, ranked and scored once."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from mmg_ray.estimator.ranks import bins, marginals
from mmg_ray.estimator.ranks.identity import half_in_blocks, half_of, hashed, of_rows
from mmg_ray.estimator.ranks.levels import Levels, levels
from mmg_ray.estimator.ranks.rank_polynomials import Ranked, on_grid, ranked
from mmg_ray.estimator.ranks.strata import (
    Within,
    counted,
    group_of,
    mean_within,
    random_ranks_within,
    ranked_within,
    within,
)
from mmg_ray.estimator.streams import numpy_stream
from mmg_ray.schema import Variable

# a few ties move an estimate less than its own rounding; many, as in counts, are drawn repeatedly
_TIED_SHARE = 0.05
_DRAWS = 2


class RankedVariable:
    """A variable of D coordinates over n samples that are all present.

    Attributes:
        key: names the variable and the samples; what is keyed by it is shared between pairs.
        name: of the variable.
        codes: (n, D) ordinal codes.
        identity: (n,) uint64 of the samples, whichever others there are; by default their rows.
        half: (n,) uint8, 0 or 1: the half of each sample, the same for any seed: closed forms need none.
        stratum: (n,) of each sample, or None: what is tested is then dependence within strata.
    """

    def __init__(
        self,
        key: str,
        name: str,
        codes: np.ndarray,
        seed: int,
        identity: np.ndarray | None = None,
        half: np.ndarray | None = None,
        stratum: np.ndarray | None = None,
    ) -> None:
        self.key, self.name, self.codes = key, name, codes
        self.identity = of_rows(len(codes)) if identity is None else identity
        self.stratum = stratum
        self._seed, self._half = seed, half
        self._quantised: dict[int, Levels] = {}
        self._in_strata: dict[int, np.ndarray] = {}

    @property
    def n(self) -> int:
        return len(self.codes)

    @property
    def samples(self) -> str:
        """What names the samples: sides of pairs over the same ones have the same."""
        return self.key[len(self.name) :]

    @property
    def dim(self) -> int:
        return int(self.codes.shape[1])

    @cached_property
    def varies(self) -> bool:
        """Whether there is more than one value, within strata if there are such."""
        if self.n == 0 or not (np.ptp(self.codes, axis=0) > 0).any():
            return False
        return self.stratum is None or self.ranked.polynomials.n_orders > 0

    @cached_property
    def levels(self) -> np.ndarray:
        """(n,) codes of a scalar among the values that these samples have, 0, 1, ..."""
        present = np.bincount(self.codes[:, 0]) > 0
        found: np.ndarray = (np.cumsum(present) - 1)[self.codes[:, 0]]
        return found

    @cached_property
    def n_levels(self) -> int:
        """Distinct values of a scalar."""
        return int(np.count_nonzero(np.bincount(self.codes[:, 0])))

    def quantised(self, n_bins: int) -> Levels:
        """A scalar as few levels, over which pairs are counted; made once for each number of bins."""
        if n_bins not in self._quantised:
            self._quantised[n_bins] = levels(self.codes[:, 0], n_bins)
        return self._quantised[n_bins]

    @cached_property
    def half(self) -> np.ndarray:
        return half_of(0, self.identity) if self._half is None else self._half

    @cached_property
    def non_modal(self) -> np.ndarray | None:
        """(n,) where a scalar is not at its most frequent value, if that is rare; see `codetection`."""
        return bins.non_modal(self.codes[:, 0]) if self.dim == 1 else None

    @cached_property
    def ranked(self) -> Ranked | Within:
        """A scalar as the screen takes it."""
        codes = self.codes[:, 0]
        return ranked(codes) if self.stratum is None else within(codes, self.stratum)

    def group_of_strata(self, n_groups: int) -> np.ndarray:
        """(n,) uint8 which of so many groups of strata each sample is in."""
        assert self.stratum is not None
        found: np.ndarray = group_of(self.n_strata, n_groups)[self.stratum].astype(np.uint8)
        return found

    @cached_property
    def n_strata(self) -> int:
        assert self.stratum is not None
        return int(self.stratum.max()) + 1

    def in_strata(self, n_bins: int) -> np.ndarray:
        """(2, S, L) samples of each half of a scalar at each of its few levels in each stratum."""
        assert self.stratum is not None
        if n_bins not in self._in_strata:
            of, n_strata = self.quantised(n_bins), self.n_strata
            by_half = self.half.astype(np.int64) * n_strata + self.stratum
            found = counted(of.level, by_half, len(of.size), 2 * n_strata)
            self._in_strata[n_bins] = found.reshape(2, n_strata, len(of.size))
        return self._in_strata[n_bins]

    @cached_property
    def binned(self) -> bins.Binned:
        """A scalar in few bins of equal count."""
        return bins.binned(self.ranked.value, self.ranked.polynomials.size)

    @cached_property
    def n_tied(self) -> int:
        """Coordinates whose ties are so many that one way of breaking them is not enough."""
        counts = [np.bincount(column) for column in self.codes.T]
        return sum(int(c[c > 1].sum()) > _TIED_SHARE * self.n for c in counts)

    @property
    def tied(self) -> bool:
        """Whether there is such a coordinate."""
        return self.n_tied > 0

    @cached_property
    def ranks(self) -> np.ndarray:
        """(n, D) ranks 0..n-1, ties broken at random."""
        if self.stratum is not None:
            columns = [self._ranks_within(d) for d in range(self.dim)]
            return np.stack(columns, axis=1)
        columns = [
            codes.astype(np.int64)
            if marginals.are_ranks(codes)
            else marginals.randomised_ranks(codes, self.random("ties", d))
            for d, codes in enumerate(self.codes.T)
        ]
        return np.stack(columns, axis=1)

    def _ranks_within(self, d: int) -> np.ndarray:
        codes, ties, between = self.codes[:, d], self.random("ties", d), self.random("strata", d)
        assert self.stratum is not None
        return random_ranks_within(codes, self.stratum, ties, between)

    @cached_property
    def rank_draws(self) -> np.ndarray:
        """(R, n, D) ranks, ties broken in R ways that share out each tie's ranks evenly."""
        if self.stratum is not None:
            return self.ranks[None]
        shares = np.arange(_DRAWS) / _DRAWS if self.tied else np.zeros(1)
        rotated = [
            np.stack(
                [
                    marginals.rotated_ranks(ranks, codes, share)
                    for ranks, codes in zip(self.ranks.T, self.codes.T, strict=True)
                ],
                axis=1,
            )
            for share in shares
        ]
        return np.stack(rotated)

    @cached_property
    def draws(self) -> np.ndarray:
        """(R, n, D) their normal scores."""
        return marginals.rank_scores(self.rank_draws.swapaxes(0, 1)).swapaxes(0, 1)

    @cached_property
    def uniform(self) -> np.ndarray:
        """(R, n) ranks of a scalar as uniform variables: anywhere in their cell of (0, 1)."""
        return (self.rank_draws[:, :, 0] + self.random("cells")) / self.n

    def random(self, *purpose: str | int) -> np.ndarray:
        """(n,) uniform numbers of this variable, each a hash of its sample: the order is nothing to them."""
        key = " ".join(map(str, (*purpose, self.name)))
        found: np.ndarray = (hashed(self._seed, key, self.identity) >> np.uint64(11)) * 2.0**-53
        return found

    @cached_property
    def midrank_scores(self) -> np.ndarray:
        """(n, D) normal scores of mid-ranks."""
        if self.stratum is not None:
            return self.draws[0]
        return np.stack([marginals.midrank_scores(codes) for codes in self.codes.T], axis=1)

    @cached_property
    def standard_midranks(self) -> np.ndarray:
        """(n,) mid-ranks of a scalar, zero mean and unit square: their products are Spearman's rho, within strata if there
        are such."""
        ranks = marginals.standard_midranks(self.codes[:, 0])
        if self.stratum is not None:
            ranks = ranks - mean_within(ranks, self.stratum)
            ranks /= max(float(np.sqrt(np.mean(ranks**2))), 1e-9)
        return on_grid(ranks, self.n)


Both = tuple[RankedVariable, RankedVariable]  # the sides of a pair


class RankCache:
    """The sides of a tile's pairs, each made once: most pairs are over the same samples.

    Args:
        seed: of the run. identity: (N,) uint64 of the samples, by default their rows: what a sample
            is chosen for, a half or a part of the samples, follows from it. series: whether samples follow one another
            in time: then it follows from their places. strata: (N,) 0, 1, ... of the samples, or None.
    """

    def __init__(
        self,
        seed: int,
        identity: np.ndarray | None = None,
        series: bool = False,
        strata: np.ndarray | None = None,
    ) -> None:
        self._seed, self._identity, self._series = seed, identity, series
        self._strata = strata
        self._made: dict[str, RankedVariable] = {}
        self._fewest: dict[tuple[bytes, int], np.ndarray] = {}

    def of(self, variable: Variable, complete: np.ndarray | None = None) -> RankedVariable:
        """The side of a variable over the samples where `complete` (N,) is true; default all."""
        key = variable.name
        if complete is not None and not complete.all():
            digest = hashlib.blake2b(np.packbits(complete).tobytes(), digest_size=16).hexdigest()
            key = f"{variable.name}|{digest}"
        if key not in self._made:
            codes, identity = variable.codes, self._identity_of(len(variable.codes))
            half = half_in_blocks(len(codes)) if self._series else None
            stratum = self._strata
            if key != variable.name:
                codes, identity = codes[complete], identity[complete]
                half, stratum = (v if v is None else v[complete] for v in (half, stratum))
            if stratum is not None and codes.shape[1] == 1:
                shift = numpy_stream(self._seed, "strata", variable.name).random(stratum.max() + 1)
                codes = ranked_within(codes[:, 0], stratum, shift)[:, None]
            made = RankedVariable(key, variable.name, codes, self._seed, identity, half, stratum)
            if stratum is not None and made.dim > 1:  # estimates of groups know of no strata
                codes = made.ranks.astype(np.int32)
                made = RankedVariable(key, variable.name, codes, self._seed, identity, half)
            self._made[key] = made
        return self._made[key]

    def _identity_of(self, n: int) -> np.ndarray:
        if self._identity is None:
            self._identity = of_rows(n)
        return self._identity

    def at_most(self, most: int, complete: np.ndarray) -> np.ndarray:
        """(N,) which of the samples where `complete` (N,) is true are the `most` that are used.

        Chosen by a hash of their identity, so one sample more or less changes at most one other; of a series as far
        apart as they can be.
        """
        key = complete.tobytes(), most
        if key not in self._fewest:
            rows = np.flatnonzero(complete)
            if len(rows) > most:
                if self._series:
                    rows = rows[np.arange(most) * len(rows) // most]
                else:
                    order = hashed(0, "part", self._identity_of(len(complete))[rows])
                    rows = rows[np.argpartition(order, most)[:most]]
            chosen = np.zeros_like(complete)
            chosen[rows] = True
            self._fewest[key] = chosen
        return self._fewest[key]
