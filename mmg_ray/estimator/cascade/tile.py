"""Estimate all pairs of a tile in a few stacked batches; a bad pair becomes a status, never an error.

sort the pairs -> screen the scalar ones -> tier after tier, each on the pairs that its gate lets in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmg_ray.config import CascadeConfig, EstimatorConfig
from mmg_ray.estimator.cascade.columns import Columns
from mmg_ray.estimator.cascade.denoisers import Known, Tier, denoiser
from mmg_ray.estimator.dependence import (
    binned_ranks,
    codetection,
    contingency,
    nulls,
    permutation_law,
    screen,
)
from mmg_ray.estimator.pairs.directions import Directions, stack
from mmg_ray.estimator.pairs.estimates import BothWays, Estimates, Found
from mmg_ray.estimator.pairs.tables import tabulate
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.ranks.ranked_variable import RankCache, RankedVariable
from mmg_ray.estimator.tiers import neighbours
from mmg_ray.schema import PairEstimates, Status, Stop, Variable

_SAMPLES_PER_DIMENSION = 2  # below it a covariance matrix says more of the noise than of the data
_NEAR_NATS = 2.0  # below log n: there the grid of the ranks begins to show in an estimate
_STACK_BYTES = 2**27  # of the scores of one stack
_TABLE_BYTES = 2**25  # of the tables of one stack
_LEVELS_APART = 16  # tables within so many levels are estimated together
_MOST_SAMPLES = 5000  # that are used where tables are not enough


def estimate_tile(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    cfg: EstimatorConfig,
    device: str = "cpu",
    identity: np.ndarray | None = None,
) -> PairEstimates:
    """MI of each of the (P, 2) pairs (i, j), in the order given; never raises for what one contains.

    Pairs whose variables have a status other than ok, too few complete samples, or one value left
    among the complete samples, get that status. The rest goes through the tiers of `cfg.denoiser`.
    `identity` (N,) uint64 says which samples these are, by default their rows, see `RankCache`.
    """
    chosen = denoiser(cfg.denoiser)
    tile = _Tile(variables, np.asarray(pairs, dtype=np.int64).reshape(-1, 2), cfg, device, identity)
    scalars, vectors = tile.sort()
    asked = cfg.cascade.fine_structure and any(t.enters or t.refined for t in chosen.scalars)
    tile.test(scalars, in_bins=asked)
    tile.test_by_shifts(scalars, vectors)
    tile.run(scalars, chosen.scalars, chosen.last)
    # a tier that was asked for by name stands as it is
    if not chosen.scalars or any(t.enters for t in chosen.scalars):
        tile.raise_to_codetected(scalars)
    if chosen.vectors:
        tile.run(vectors, chosen.vectors, chosen.last)
    else:
        for row in vectors:
            what = f"{cfg.denoiser} takes pairs of scalars"
            tile.columns.refuse(row, Status.UNSUPPORTED, what)
    tile.widen()
    return tile.columns.estimates()


def _rounded(n_levels: int) -> int:
    """Levels to a multiple, so that tables of like size are of one shape."""
    return -(-n_levels // _LEVELS_APART) * _LEVELS_APART


class _Tile:
    """The pairs of a tile, the sides that they share and the columns of what is found."""

    def __init__(
        self,
        variables: Mapping[int, Variable],
        pairs: np.ndarray,
        cfg: EstimatorConfig,
        device: str,
        identity: np.ndarray | None,
    ) -> None:
        self._variables = {
            index: replace(v, codes=marginals.distinct_coordinates(v.codes)) if v.dim > 1 else v
            for index, v in variables.items()
        }
        self._pairs, self._cfg, self._device = pairs, cfg, device
        self._sides = RankCache(cfg.seed, identity)
        self._apart: dict[
            int, tuple[RankedVariable, RankedVariable]
        ] = {}  # sides of all but complete scalar pairs
        self.columns = Columns(len(pairs), cfg.denoiser)

    def sort(self) -> tuple[np.ndarray, np.ndarray]:
        """Refuse the pairs without a value; the rows of scalar pairs, and of pairs with a group."""
        needed = max(self._cfg.min_samples, 2 * _SAMPLES_PER_DIMENSION)
        whole = [
            index
            for index, v in self._variables.items()
            if v.dim == 1 and v.status is Status.OK and v.n_samples >= needed
            if not (v.codes == marginals.MISSING).any() and self._sides.of(v).varies
        ]
        # complete pairs of scalars, nearly all of most tables, need no look one by one
        complete = np.isin(self._pairs, whole).all(axis=1)
        if complete.any():
            self.columns.n_samples[complete] = self._variables[whole[0]].n_samples
        for row in np.flatnonzero(~complete).tolist():
            sides = self._examine(row)
            if sides is not None:
                self._apart[row] = sides
        holed: list[int] = []
        vectors: list[int] = []
        for row, (a, b) in self._apart.items():
            (holed if a.dim == b.dim == 1 else vectors).append(row)
        scalars = np.concatenate([np.flatnonzero(complete), np.array(holed, dtype=np.int64)])
        return scalars, np.array(vectors, dtype=np.int64)

    def _examine(self, row: int) -> tuple[RankedVariable, RankedVariable] | None:
        """The sides of a pair over the samples that both have; None where it gets a status."""
        a, b = (self._variables[int(index)] for index in self._pairs[row])
        present = ~((a.codes == marginals.MISSING).any(1) | (b.codes == marginals.MISSING).any(1))
        n = int(present.sum())
        self.columns.n_samples[row] = n
        for variable in (a, b):
            if variable.status is not Status.OK:
                self.columns.refuse(row, variable.status, variable.name)
                return None
        needed = max(self._cfg.min_samples, _SAMPLES_PER_DIMENSION * (a.dim + b.dim))
        if n < needed:
            what = f"{n} complete samples of the {needed} needed"
            self.columns.refuse(row, Status.TOO_FEW_SAMPLES, what)
            return None
        sides = self._sides.of(a, present), self._sides.of(b, present)
        for variable, side in zip((a, b), sides, strict=True):
            if not side.varies:
                what = f"{variable.name}, in the {n} samples that both have"
                self.columns.refuse(row, Status.CONSTANT, what)
                return None
        return sides

    def _pair_sides(self, row: int) -> tuple[RankedVariable, RankedVariable]:
        if row in self._apart:
            return self._apart[row]
        i, j = self._pairs[row].tolist()
        return self._sides.of(self._variables[i]), self._sides.of(self._variables[j])

    def test_by_shifts(self, scalars: np.ndarray, vectors: np.ndarray) -> None:
        """P-values where the screen has none: groups, too few samples, and all pairs of series."""
        p_value, n_effective = (self.columns.numbers[k] for k in ("p_value", "n_effective"))
        if not self._series:
            scalars = scalars[np.isnan(p_value[scalars])]
        for row in np.concatenate([scalars, vectors]).tolist():
            found = nulls.test(*self._pair_sides(row), self._cfg.nulls, self._cfg.seed)
            p_value[row] = found.p_value
            if self._series:
                n_effective[row] = found.n_effective

    def widen(self) -> None:
        """Standard errors take samples as independent; those of a series are fewer than they seem."""
        if self._series:
            numbers = self.columns.numbers
            numbers["se_nats"] *= np.sqrt(self.columns.n_samples / numbers["n_effective"])

    @property
    def _series(self) -> bool:
        return self._cfg.nulls.kind != "permutation"

    def test(self, rows: np.ndarray, in_bins: bool) -> None:
        """Test every scalar pair, in bins too where asked, and estimate its MI as if it were weak."""
        holed = np.isin(rows, list(self._apart))
        if not holed.all():
            whole = rows[~holed]
            first, i = np.unique(self._pairs[whole, 0], return_inverse=True)
            second, j = np.unique(self._pairs[whole, 1], return_inverse=True)
            left, right = (
                [self._sides.of(self._variables[index]) for index in indices.tolist()]
                for indices in (first, second)
            )
            self._test_block(whole, left, right, i, j, in_bins)
        one = np.zeros(1, dtype=np.int64)
        for row in rows[holed].tolist():
            a, b = self._apart[row]
            self._test_block(np.array([row]), [a], [b], one, one, in_bins)

    def _test_block(
        self,
        rows: np.ndarray,
        left: Sequence[RankedVariable],
        right: Sequence[RankedVariable],
        i: np.ndarray,
        j: np.ndarray,
        in_bins: bool,
    ) -> None:
        """Pairs left[i], right[j], all over the same samples, by one product of either block."""
        columns = self.columns
        x, y = ([side.ranked for side in sides] for sides in (left, right))
        if len(rows) == 1:
            found = screen.Moments(*(np.atleast_1d(v) for v in screen.moments(x[0], y[0])))
        else:
            block = screen.block_moments(x, y, self._device)
            found = screen.Moments(*(v[i, j] for v in block))
        n = len(x[0].value)
        p_value, scatter = np.full(len(rows), np.nan), np.sqrt(2 * found.n_low) / n
        if n >= screen.MIN_SAMPLES:
            tests = permutation_law.test(found.statistic, x, y, i, j)
            p_value, scatter = tests.p_value, scatter * np.sqrt(np.maximum(tests.inflation, 1.0))
        mi, se = screen.weak_mi(found.chi_square, n, scatter)
        columns.screen_mi[rows] = screen.linked_mi(found.all_orders)
        columns.plausible_mi[rows] = screen.plausible_mi(found.all_orders, n)
        self._put_one_number(rows, "screen", mi, se)
        a, b = (np.stack([side.standard_midranks for side in sides]) for sides in (left, right))
        spearman = np.clip((a @ b.T)[i, j] / n, -1.0, 1.0)
        columns.put(rows, "screen", p_value=p_value, spearman=spearman)
        self._keep_codetected(rows, left, right, i, j)
        if in_bins:
            a_bins, b_bins = ([side.binned for side in sides] for sides in (left, right))
            columns.put_binned(rows, binned_ranks.pairs(a_bins, b_bins, i, j))

    def _keep_codetected(
        self,
        rows: np.ndarray,
        left: Sequence[RankedVariable],
        right: Sequence[RankedVariable],
        i: np.ndarray,
        j: np.ndarray,
    ) -> None:
        """The MI of pairs of two rare sides, left[i] and right[j], being away together."""
        rare = [np.array([side.non_modal is not None for side in sides]) for sides in (left, right)]
        chosen = rare[0][i] & rare[1][j]
        if not chosen.any():
            return
        first, i = np.unique(i[chosen], return_inverse=True)
        second, j = np.unique(j[chosen], return_inverse=True)
        away = [
            np.stack([np.asarray(sides[k].non_modal, dtype=np.float32) for k in of])
            for sides, of in ((left, first), (right, second))
        ]
        both = (away[0] @ away[1].T)[i, j].astype(np.float64)
        a, b = (v.sum(axis=1, dtype=np.float64)[k] for v, k in zip(away, (i, j), strict=True))
        mi, se = codetection.mutual_information(both, a, b, away[0].shape[1])
        self.columns.codetected_mi[rows[chosen]], self.columns.codetected_se[rows[chosen]] = mi, se

    def raise_to_codetected(self, rows: np.ndarray) -> None:
        """Where the MI of two rare variables being away is more than was found, it is the estimate."""
        columns = self.columns
        mi, p_value = columns.numbers["mi_nats"][rows], columns.numbers["p_value"][rows]
        higher = (columns.codetected_mi[rows] > mi) & (p_value <= self._cascade.p_value)
        rows = rows[higher]
        self._put_one_number(
            rows, codetection.NAME, columns.codetected_mi[rows], columns.codetected_se[rows]
        )

    def _put_one_number(self, rows: np.ndarray, name: str, mi: np.ndarray, se: np.ndarray) -> None:
        """An estimate that is the same in both directions and in all forms."""
        same = dict.fromkeys(("mi_ij", "mi_ji", "gap", "orthogonal"), mi)
        self.columns.put(rows, name, mi_nats=np.maximum(mi, 0.0), se_nats=se, ess=1.0, **same)

    def run(self, rows: np.ndarray, tiers: Sequence[Tier], last: Stop) -> None:
        """Take pairs through tiers; each row says where it stopped and why."""
        columns = self.columns
        for tier in tiers:
            if tier.enters is not None:
                rows = self._let_in(rows, tier, tier.enters)
            if tier.estimate is None and tier.from_tables is None:
                tabled = self._tabulate(rows, tier.name)
                columns.stop(rows[tabled], last)
                rows = rows[~tabled]
                continue
            fits = np.ones(len(rows), dtype=bool)
            if tier.fits is not None:
                fits = tier.fits(self._known(rows), self._cascade)
            if tier.from_tables is not None:
                self._estimate_tables(rows[fits], tier, tier.from_tables)
            elif tier.estimate is not None:
                for part in self._parts(rows[fits]):
                    self._estimate(part, tier.name, tier.estimate)
            if tier.refined and self._cascade.fine_structure:
                enough = columns.n_samples[rows] >= neighbours.MIN_SAMPLES
                columns.put(rows[~fits & enough], neighbours.NAME)
                self._refine(rows[columns.ok(rows) & enough])
            rows = rows[columns.ok(rows)]
        columns.stop(rows, last)

    @property
    def _cascade(self) -> CascadeConfig:
        return self._cfg.cascade

    def _known(self, rows: np.ndarray) -> Known:
        columns = self.columns
        return Known(
            p_value=columns.numbers["p_value"][rows],
            screen_mi=columns.screen_mi[rows],
            plausible_mi=columns.plausible_mi[rows],
            binned_p_value=columns.binned_p_value[rows],
            binned_mi=columns.binned_mi[rows],
            binned_most=columns.binned_most[rows],
            mi_nats=columns.numbers["mi_nats"][rows],
        )

    def _let_in(
        self,
        rows: np.ndarray,
        tier: Tier,
        gate: Callable[[Known, CascadeConfig], np.ndarray],
    ) -> np.ndarray:
        """The pairs that a tier's gate lets in; the others stop."""
        known = self._known(rows)
        enters = gate(known, self._cascade)
        unseen = enters & (known.p_value > self._cascade.p_value)
        for row, p_value in zip(rows[unseen].tolist(), known.binned_p_value[unseen], strict=True):
            self.columns.note(row, f"seen in binned ranks (p = {p_value:.0e}), not by the p-value")
        # what is significant and yet held back is too weak for more to be found
        self.columns.stop(rows[~enters], tier.otherwise)
        self.columns.stop(rows[~enters & (known.p_value <= self._cascade.p_value)], Stop.WEAK)
        return rows[enters]

    def _tabulate(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Estimate the pairs whose contingency table is small; true for these."""
        few = [i for i, v in self._variables.items() if v.dim == 1 and contingency.few(v.codes)]
        tabled, found = np.zeros(len(rows), dtype=bool), []
        for k in np.flatnonzero(np.isin(self._pairs[rows], few).all(axis=1)).tolist():
            a, b = self._pair_sides(int(rows[k]))
            if contingency.fits(a.n_levels, b.n_levels, a.n):
                tabled[k] = True
                found.append(contingency.mutual_information(a.levels, b.levels))
        if found:
            mi, se = np.array(found).T
            self._put_one_number(rows[tabled], name, mi, se)
        return tabled

    def _refine(self, rows: np.ndarray) -> None:
        """Raise the estimates of pairs, by what a fit hides and by what nearest neighbours see more."""
        columns = self.columns
        mi, se, gap = (columns.numbers[name] for name in ("mi_nats", "se_nats", "gap"))
        for row in rows.tolist():
            u, v = (side.uniform for side in self._fewer_samples(row))
            n_draws = max(len(u), len(v))  # a side without ties has one way to rank it
            u, v = (np.broadcast_to(side, (n_draws, side.shape[1])) for side in (u, v))
            unsure, at_least = max(mi[row] - gap[row], 0.0), columns.binned_mi[row]
            n = int(columns.n_samples[row])
            found = neighbours.refine(u, v, mi[row], se[row], unsure, at_least, n)
            mi[row], se[row] = min(found.mi, np.log(u.shape[1])), found.se
            if found.share > 0.5:
                columns.put(np.array([row]), neighbours.NAME)

    def _estimate_tables(
        self, rows: np.ndarray, tier: Tier, estimate: Callable[[np.ndarray], BothWays]
    ) -> None:
        """Scalar pairs by their tables of counts, those of like size together; strong ones again."""
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in rows.tolist():
            a, b = (len(side.quantised(tier.n_bins).size) for side in self._pair_sides(row))
            by_shape[_rounded(a), _rounded(b)].append(row)
        for (n_x, n_y), members in by_shape.items():
            size = max(1, _TABLE_BYTES // (8 * n_x * n_y))
            for start in range(0, len(members), size):
                part = members[start : start + size]
                sides = [self._pair_sides(row) for row in part]
                found = estimate(tabulate(sides, tier.n_bins, (n_x, n_y)))
                self._combine(np.array(part), tier.name, found.y_given_x, found.x_given_y)
        if tier.from_samples is not None:
            strong = self.columns.numbers["mi_nats"][rows] > tier.strong_nats
            for row in rows[strong & self.columns.ok(rows)].tolist():
                first, second = self._fewer_samples(row)
                found = tier.from_samples(first.levels, second.levels, first.half)
                ways = found.y_given_x, found.x_given_y
                self._combine(np.array([row]), tier.name, *ways, n=first.n)

    def _fewer_samples(self, row: int) -> tuple[RankedVariable, RankedVariable]:
        """The sides of a scalar pair over at most `_MOST_SAMPLES` of its samples; says so of fewer."""
        n = int(self.columns.n_samples[row])
        if n <= _MOST_SAMPLES:
            return self._pair_sides(row)
        a, b = (self._variables[int(index)] for index in self._pairs[row])
        present = ((a.codes != marginals.MISSING) & (b.codes != marginals.MISSING))[:, 0]
        chosen = self._sides.at_most(_MOST_SAMPLES, present)
        self.columns.note(row, f"from {_MOST_SAMPLES} of the {n} samples, as is its standard error")
        return self._sides.of(a, chosen), self._sides.of(b, chosen)

    def _parts(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of like dimensions, with or without ties, in stacks that memory holds."""
        by_shape: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for row in rows.tolist():
            a, b = self._pair_sides(row)
            by_shape[a.dim, b.dim, a.tied or b.tied].append(row)
        for (dim_a, dim_b, tied), members in by_shape.items():
            per_sample = 8 * 2 * (5 if tied else 2) * (dim_a + dim_b)
            per_pair = per_sample * int(self.columns.n_samples[members].max())
            size = max(1, _STACK_BYTES // per_pair)
            for start in range(0, len(members), size):
                yield np.array(members[start : start + size])

    def _estimate(
        self,
        rows: np.ndarray,
        name: str,
        estimate: Callable[[Directions, EstimatorConfig], Estimates],
    ) -> None:
        """Both directions of some pairs of one shape by one denoiser."""

        def directions(targets: list[RankedVariable], sources: list[RankedVariable]) -> Found:
            batch = stack(targets, sources, self._device)
            e = estimate(batch, self._cfg)
            values = (e.mi, e.standard_error(batch.n), e.direct, e.orthogonal, e.ess)
            return Found(*(v.double().cpu().numpy() for v in values))

        sides = [self._pair_sides(row) for row in rows.tolist()]
        first, second = [a for a, _ in sides], [b for _, b in sides]
        if first[0].dim == second[0].dim:
            both = directions([*second, *first], [*first, *second])
            ij, ji = (both.take(half) for half in np.arange(2 * len(rows)).reshape(2, -1))
        else:
            ij, ji = directions(second, first), directions(first, second)
        self._combine(rows, name, ij, ji)

    def _combine(
        self, rows: np.ndarray, name: str, ij: Found, ji: Found, n: int | None = None
    ) -> None:
        """Both directions, from all samples or n of them -> one estimate with its standard error."""
        columns = self.columns
        finite = np.isfinite(np.stack([ij.mi, ji.mi, ij.se, ji.se])).all(axis=0)
        for row in rows[~finite].tolist():
            names = (self._variables[int(index)].name for index in self._pairs[row])
            columns.refuse(row, Status.DIVERGED, " - ".join(names))
        scalar = np.isfinite(columns.numbers["spearman"][rows])
        # ranks of n samples cannot show more than log n
        most = np.where(scalar, np.log(n or columns.n_samples[rows]), np.inf)
        ij, ji = ij.at_most(most), ji.at_most(most)
        rows, ij, ji = rows[finite], ij.take(finite), ji.take(finite)
        better = Found(*(np.where(ij.mi >= ji.mi, a, b) for a, b in zip(ij, ji, strict=True)))
        columns.put(
            rows,
            name,
            mi_nats=np.maximum(better.mi, 0.0),
            se_nats=better.se,
            mi_ij=ij.mi,
            mi_ji=ji.mi,
            gap=better.direct,
            orthogonal=better.orthogonal,
            ess=better.ess,
        )
        near = better.mi > most[finite] - _NEAR_NATS  # of groups never: theirs is infinite
        for row in rows[near].tolist():
            used = n or int(columns.n_samples[row])
            columns.note(
                row,
                f"{used} samples show at most {np.log(used):.1f} nats: the MI may be more or less",
            )
