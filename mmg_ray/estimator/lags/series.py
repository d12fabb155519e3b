"""One variable over time, as lag scans take it: counts of events as events, anything else sample by sample.

A function of the values, orthonormal in their own law (see `rank_polynomials`), is a constant c at the commonest
value and c + h elsewhere. Sums of products of two such series at all lags need the coincidences of the samples that are
away from the commonest values, and the margins of the samples that overlap; nothing grows with the samples in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmg_ray.estimator.lags import kernels
from mmg_ray.estimator.ranks.rank_polynomials import polynomials, ranked

if TYPE_CHECKING:
    from mmg_ray.estimator.lags.segments import Centred

MISSING = -1
ORDERS = 4  # of the functions
_MOST_LEVELS = 32  # of events
RARE = 0.3  # of the samples, away from the commonest value: above it a series is dense
_BLOCKS = 20  # of a recording, whose means are taken out: drift is no dependence
_LAGS_IN_BLOCK = 40  # at least, so that what lags show stays
_CORRELATED = 4096  # samples over which a series may remember itself


def cut(starts: np.ndarray, longest: int) -> np.ndarray:
    """(B + 1,) edges of blocks of about this length, none of which crosses one of the (S + 1,) borders of segments."""
    edges = [
        np.linspace(first, last, max(1, (last - first) // longest) + 1).round().astype(np.int64)
        for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    return np.unique(np.concatenate(edges))


def of_events(count: np.ndarray, n: int) -> bool:
    """Whether values that occur so often, (L,) of n samples, are few and mostly one."""
    few = 1 < int(np.count_nonzero(count)) <= _MOST_LEVELS
    return few and n - int(count.max()) <= RARE * n


class Blocks(NamedTuple):
    """Of a series: (B,) samples of each block and the share present, (B, K) means of the functions, (B,) variances of
    the first; missing samples are 0."""

    length: np.ndarray
    present: np.ndarray
    means: np.ndarray
    variance: np.ndarray


class Series:
    """A scalar variable over N samples in S segments that no lag crosses.

    Attributes:
        starts: (S + 1,) first sample of each segment, and N.
        at: (E,) int64 ascending samples that are events, away from the commonest value; empty of a dense series.
        level: (E,) uint8 their levels, 1, 2, ... in the order of the values; missing samples are the last one.
        size: (L,) samples at each level but the missing; 0 is the commonest.
        value: (L,) the value of each level, its place among the values.
        functions: (L, K) of the levels, mean 0 and mean square 1 over the samples present. K is 1 of events: what
            two rare counts have in common is too little for a law of it to be known; at most 4 otherwise.
    """

    def __init__(
        self,
        name: str,
        n: int,
        starts: np.ndarray,
        size: np.ndarray,
        value: np.ndarray,
        at: np.ndarray,
        level: np.ndarray,
        codes: np.ndarray | None = None,
    ) -> None:
        self.name, self.n = name, n
        self.starts = np.append(np.asarray(starts, dtype=np.int64), n)
        self.at, self.level, self.size, self.value = at, level, size, value
        self.codes = codes
        self.any_missing = int(size.sum()) < n
        # in the order of the values
        order = np.argsort(value)
        found = polynomials(size[order])
        n_orders = min(1 if codes is None else ORDERS, found.n_orders)
        self.functions = np.empty((len(size), n_orders))
        self.functions[order] = found.at[:, :n_orders]

    @classmethod
    def of(cls, name: str, codes: np.ndarray, starts: Sequence[int] | np.ndarray) -> Series:
        """From (N,) ordinal codes, -1 where missing, of any memory layout."""
        codes = np.asarray(codes).reshape(-1)
        count = np.bincount(codes.astype(np.int64) + 1)
        n_missing, count = int(count[0]), count[1:]
        values = np.flatnonzero(count)
        common = int(count.argmax()) if len(values) else 0
        if not of_events(count, len(codes)):
            return cls._dense(name, codes, starts)
        value = np.concatenate([[common], values[values != common]])
        place = np.full(len(count) + 1, len(value), dtype=np.uint8)  # the last, which is missing
        place[value + 1] = np.arange(len(value))
        at = np.flatnonzero(codes != common)
        level = place[codes[at].astype(np.int64) + 1]
        assert n_missing == int((level == len(value)).sum())
        return cls(name, len(codes), np.asarray(starts), count[value], value, at, level)

    @classmethod
    def of_events(
        cls,
        name: str,
        at: np.ndarray,
        counts: np.ndarray,
        n: int,
        starts: Sequence[int] | np.ndarray,
    ) -> Series:
        """From (E,) ascending samples with (E,) counts of 1 and more of N samples, all others being 0."""
        values, level = np.unique(np.asarray(counts, dtype=np.int64), return_inverse=True)
        if len(values) + 1 > _MOST_LEVELS or len(at) > RARE * n:
            codes = np.zeros(n, dtype=np.int64)
            codes[at] = level + 1
            return cls._dense(name, codes, starts)
        size = np.bincount(level, minlength=len(values))
        return cls(
            name,
            n,
            np.asarray(starts),
            np.concatenate([[n - len(at)], size]),
            np.concatenate([[0], values]),
            np.asarray(at, dtype=np.int64),
            (level + 1).astype(np.uint8),
        )

    @classmethod
    def _dense(cls, name: str, codes: np.ndarray, starts: Sequence[int] | np.ndarray) -> Series:
        present = codes != MISSING
        found = ranked(codes[present]) if present.any() else None
        level = np.full(len(codes), MISSING, dtype=np.int16)
        none = np.empty(0, dtype=np.int64)
        if found is None or len(found.polynomials.size) > 2**15:
            size = np.array([int(present.sum())])
        else:
            level[present], size = found.value, found.polynomials.size
        return cls(
            name, len(codes), np.asarray(starts), size, np.arange(len(size)), none, none, level
        )

    @property
    def dense(self) -> bool:
        """Whether every sample is kept."""
        return self.codes is not None

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.size) > 1

    @property
    def skewness(self) -> float:
        """Of the first function."""
        return float(self.size @ self.functions[:, 0] ** 3 / self.size.sum())

    @cached_property
    def away(self) -> np.ndarray:
        """(L + 1, K) functions less those at the commonest level; the last row is of missing samples, which count 0."""
        missing = np.zeros((1, self.functions.shape[1]))
        return np.concatenate([self.functions, missing]) - self.functions[0]

    def levels(self) -> np.ndarray:
        """(N,) levels of all samples, a new array: uint8 of events, missing being the last level."""
        if self.codes is not None:
            return self.codes
        found = np.zeros(self.n, dtype=np.uint8)
        found[self.at] = self.level
        return found

    def values(self) -> np.ndarray:
        """(K, N) functions at all samples, 0 where missing: a new array."""
        whole = np.concatenate([self.functions, np.zeros((1, self.functions.shape[1]))])
        found: np.ndarray = np.ascontiguousarray(whole[self.levels()].T)
        return found

    def present(self) -> np.ndarray:
        """(N,) whether there is a value: a new array."""
        found: np.ndarray = self.levels() != (MISSING if self.dense else len(self.size))
        return found

    @property
    def missing_at(self) -> np.ndarray:
        """(M,) ascending samples of a series of events that are missing."""
        found: np.ndarray = self.at[self.level == len(self.size)]
        return found

    def edge_counts(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """(most + 1, L + 1) events of each level in the first and in the last d samples of segments, d = 0..most."""
        return kernels.edge_counts(self.at, self.level, self.starts, most, len(self.size) + 1)

    @cached_property
    def centred(self) -> dict[tuple[bool, bytes], Centred]:
        """What `segments` has made of it."""
        return {}

    # --- the slow part, and the memory

    def blocks(self, most: int) -> Blocks:
        """Means and variances in blocks; made once for each `most`."""
        if most not in self._blocks:
            longest = max(self.n // _BLOCKS, _LAGS_IN_BLOCK * (2 * most + 1))
            self._blocks[most] = self._in_blocks(cut(self.starts, longest))
        return self._blocks[most]

    @cached_property
    def _blocks(self) -> dict[int, Blocks]:
        return {}

    def _in_blocks(self, edges: np.ndarray) -> Blocks:
        length = np.diff(edges)
        if self.codes is not None:
            values = self.values()
            sums, squares = (np.add.reduceat(v, edges[:-1], axis=1).T for v in (values, values**2))
            n_present = np.add.reduceat(self.present(), edges[:-1], dtype=np.int64)
        else:
            count = np.zeros((len(length), len(self.size) + 1))
            np.add.at(count, (np.searchsorted(edges, self.at, side="right") - 1, self.level), 1)
            count[:, 0] = length - count.sum(axis=1)
            whole = np.concatenate([self.functions, np.zeros((1, self.functions.shape[1]))])
            sums, squares = count @ whole, count @ whole**2
            n_present = length - count[:, -1]
        means = sums / length[:, None]
        variance = squares[:, 0] / length - means[:, 0] ** 2
        return Blocks(length, n_present / length, means, variance)

    def autocovariance(self, most: int) -> np.ndarray:
        """(K, H + 1) of the functions less their means in blocks, at lags 0..H; made once for each `most`."""
        if most not in self._memory:
            self._memory[most] = self._autocovariance(most)
        return self._memory[most]

    @cached_property
    def _memory(self) -> dict[int, np.ndarray]:
        return {}

    def correlation_time(self, most: int) -> float:
        """Samples, the sum of squares of the autocorrelation of the first function over all lags."""
        covariance = self.autocovariance(most)[0]
        return float(2 * np.sum((covariance / max(covariance[0], 1e-300)) ** 2) - 1)

    def _autocovariance(self, most: int) -> np.ndarray:
        reach = min(max(_CORRELATED, 20 * most), max(self.n // 4, 1))
        length, _, means, _ = self.blocks(most)
        if self.codes is not None:
            values = self.values() - np.repeat(means, length, axis=0).T
            n_fft = 1 << (self.n + reach).bit_length()
            spectrum = np.fft.rfft(values, n_fft)
            found: np.ndarray = np.fft.irfft(np.abs(spectrum) ** 2, n_fft)[:, : reach + 1] / self.n
            return found
        slow = (length[:, None] * means**2).sum(0)
        ends, n_levels = np.array([0, self.n]), len(self.size) + 1
        pairs = kernels.coincidences(
            self.at, self.level, self.at, self.level, ends, reach, n_levels, n_levels
        )[reach:]
        first, last = kernels.edge_counts(self.at, self.level, ends, reach, n_levels)
        total = np.bincount(self.level, minlength=n_levels)
        common, h = self.functions[0], self.away
        n_both = self.n - np.arange(reach + 1)
        early, late = (total - last) @ h, (total - first) @ h  # sums over t, and over t + lag
        sums = np.einsum("lxy,xk,yk->lk", pairs, h, h)
        sums += common * (early + late) + n_both[:, None] * common**2
        sums -= n_both[:, None] / self.n * slow
        return np.ascontiguousarray(sums.T) / self.n
