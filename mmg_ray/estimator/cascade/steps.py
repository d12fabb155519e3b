"""Tiers take the pairs of a tile in turn, each as far as its gate lets them; the last that took one stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.cascade.columns import Columns
from mmg_ray.estimator.cascade.denoisers import Bins, Known, Tier
from mmg_ray.estimator.cascade.tile_pairs import MOST_SAMPLES, TilePairs
from mmg_ray.estimator.dependence import between_strata, codetection, screen
from mmg_ray.estimator.pairs.directions import Directions, stack
from mmg_ray.estimator.pairs.estimates import BothWays, Estimates, Found
from mmg_ray.estimator.pairs.tables import Samples, batches, rounded, tabulate
from mmg_ray.estimator.ranks.ranked_variable import Both, RankedVariable
from mmg_ray.estimator.tiers import gaussian, neighbours
from mmg_ray.schema import Status, Stop

_NEAR_NATS = 2.0  # below log n: there the grid of the ranks begins to show in an estimate
_MISSED = 1.1  # a gap above so many squared distances of the denoisers: much is missed
_STRONG_NATS = 0.5  # of groups with ties: there other networks may find more
_PLAIN = 1e-3  # p-value: of so few independent pairs the screen's MI is read instead of 0


class Steps:
    """What tiers do to the columns of the pairs of a tile."""

    def __init__(
        self, pairs: TilePairs, columns: Columns, cfg: EstimatorConfig, device: str
    ) -> None:
        self._pairs, self._columns, self._cfg, self._device = pairs, columns, cfg, device

    def run(self, rows: np.ndarray, tiers: Sequence[Tier], last: Stop) -> None:
        """Take pairs through tiers; each row says where it stopped and why."""
        columns, cascade = self._columns, self._cfg.cascade
        for tier in tiers:
            if tier.enters is not None:
                rows = self._let_in(rows, tier, tier.enters)
            own = self._own(rows, tier)
            if own is not None:
                self._estimate(rows[own], tier)
                columns.stop(rows[own], last)
                again = rows[own][self._missed(rows[own], tier)] if tier.from_groups else rows[:0]
                rows = np.union1d(rows[~own], again)
                continue
            fits = np.ones(len(rows), dtype=bool)
            if tier.fits is not None:
                fits = tier.fits(self._known(rows), cascade)
            self._estimate(rows[fits], tier)
            # neighbours know of no strata
            if tier.refined and cascade.fine_structure and not self._pairs.in_strata:
                enough = columns.n_samples[rows] >= neighbours.MIN_SAMPLES
                columns.put(rows[~fits & enough], neighbours.NAME)
                self._refine(rows[columns.ok(rows) & enough])
            rows = rows[columns.ok(rows)]
        columns.stop(rows, last)

    def keep_detected(self, rows: np.ndarray, mi: np.ndarray, se: np.ndarray) -> None:
        """Where a tier reads 0 of a pair that is plainly dependent, what the screen saw, (R,) each, is the estimate.

        Held-out samples may show nothing of a weak dependence, by which a fit is then told to be none.
        """
        columns = self._columns
        none = columns.numbers["mi_nats"][rows] == 0
        # what low orders do not show, all of them may
        all_orders, most = columns.screen_mi[rows], columns.plausible_mi[rows]
        mi, se = np.where(mi > 0, [mi, se], [all_orders, (most - all_orders) / 2])
        seen = none & (columns.numbers["p_value"][rows] <= _PLAIN) & (mi > 0)
        columns.put_one_number(rows[seen], screen.NAME, mi[seen], se[seen])

    def raise_to_codetected(self, rows: np.ndarray) -> None:
        """Where the MI of two rare variables being non-modal is more than was found, it is the estimate."""
        columns = self._columns
        mi, p_value = columns.numbers["mi_nats"][rows], columns.numbers["p_value"][rows]
        higher = (columns.codetected_mi[rows] > mi) & (p_value <= self._cfg.cascade.p_value)
        rows = rows[higher]
        se = columns.codetected_se[rows] / np.sqrt(columns.worth(rows))
        columns.put_one_number(rows, codetection.NAME, columns.codetected_mi[rows], se)

    def _known(self, rows: np.ndarray) -> Known:
        columns = self._columns
        return Known(
            p_value=columns.numbers["p_value"][rows],
            screen_mi=columns.screen_mi[rows],
            plausible_mi=columns.plausible_mi[rows],
            binned_p_value=columns.binned_p_value[rows],
            binned_mi=columns.binned_mi[rows],
            binned_most=columns.binned_most[rows],
            mi_nats=columns.numbers["mi_nats"][rows],
        )

    def _let_in(self, rows: np.ndarray, tier: Tier, gate: Callable[..., np.ndarray]) -> np.ndarray:
        """The pairs that a tier's gate lets in; the others stop."""
        known, least = self._known(rows), self._cfg.cascade.p_value
        enters = gate(known, self._cfg.cascade)
        unseen = enters & (known.p_value > least)
        for row, p_value in zip(rows[unseen].tolist(), known.binned_p_value[unseen], strict=True):
            self._columns.note(row, f"seen in binned ranks (p = {p_value:.0e}), not by the p-value")
        # what is significant and yet held back is too weak for more to be found
        self._columns.stop(rows[~enters], tier.otherwise)
        self._columns.stop(rows[~enters & (known.p_value <= least)], Stop.WEAK)
        return rows[enters]

    def _own(self, rows: np.ndarray, tier: Tier) -> np.ndarray | None:
        """(R,) the pairs that a tier takes for itself, where there are such tiers."""
        if tier.only is not None:
            return np.asarray(tier.only(*self._pairs.n_values(rows), self._columns.n_samples[rows]))
        return self._pairs.mostly_tied(rows) if tier.from_groups is not None else None

    def _missed(self, rows: np.ndarray, tier: Tier) -> np.ndarray:
        """(R,) groups of which a fit may fall short: strong ones, and others if their denoisers are less apart than one is
        better, or if there is less than a linear denoiser has at once.
        """
        numbers = self._columns.numbers
        found = numbers["gap"][rows] > _MISSED * numbers["orthogonal"][rows]
        found |= numbers["mi_nats"][rows] > _STRONG_NATS
        for k in np.flatnonzero(self._columns.ok(rows) & ~found).tolist():
            target, source = self._of_samples(int(rows[k]), tier)
            linear = gaussian.estimate(stack([target], [source], self._device))
            found[k] = float(linear.mi[0]) > numbers["mi_nats"][rows[k]]
        return self._columns.ok(rows) & found

    def _estimate(self, rows: np.ndarray, tier: Tier) -> None:
        if tier.from_tables is not None:
            self._from_tables(rows, tier, tier.from_tables)
        elif tier.from_groups is not None and len(rows):
            both = [self._of_samples(row, tier) for row in rows.tolist()]
            found = tier.from_groups(both, self._cfg, self._device)
            n = np.array([a.n for a, _ in both])
            ij, ji = (self._widened(rows, way, n) for way in (found.y_given_x, found.x_given_y))
            self._combine(rows, tier.name, ij, ji, n)
        elif tier.estimate is not None:
            for part in self._pairs.stacks(rows, self._columns.n_samples, tier.most_samples):
                self._from_directions(part, tier, tier.estimate)

    def _of_samples(self, row: int, tier: Tier) -> Both:
        return self._pairs.of_fewer_samples(row, self._columns, tier.most_samples)

    def _from_tables(
        self, rows: np.ndarray, tier: Tier, estimate: Callable[[np.ndarray, np.ndarray], BothWays]
    ) -> None:
        """Scalar pairs by tables as fine as their MI asks for, then by samples: these at once where all are used."""
        mi, values = self._columns.numbers["mi_nats"], self._pairs.n_values(rows).max(axis=0)
        # what is already known to be strong needs no coarse table
        before = np.maximum(mi[rows], self._columns.screen_mi[rows])
        *_, finest = tier.tables
        by_samples = tier.from_samples and not self._pairs.in_strata  # samples tell of strata
        beyond = values > finest.n if by_samples else np.zeros(len(rows), dtype=bool)
        whole = beyond & (self._columns.n_samples[rows] <= MOST_SAMPLES)
        coarser = 0
        for bins, finer in zip(tier.tables, (*tier.tables[1:], None), strict=True):
            ask = np.ones(len(rows), dtype=bool)
            if coarser:  # of no more values a finer table is the same
                ask = (np.maximum(mi[rows], before) > bins.from_nats) & (values > coarser) & ~whole
            if finer is not None:
                ask &= (before <= finer.from_nats) | (values <= bins.n)
            self._by_bins(rows[ask & self._columns.ok(rows)], tier, bins, estimate)
            coarser = bins.n
        if tier.from_samples is not None:
            strong = beyond & (mi[rows] > tier.strong_nats)
            strong |= whole & (np.maximum(mi[rows], before) > finest.from_nats)
            chosen = rows[strong & self._columns.ok(rows)]
            self._by_samples(chosen, tier.name, tier.from_samples)

    def _by_bins(
        self,
        rows: np.ndarray,
        tier: Tier,
        bins: Bins,
        estimate: Callable[[np.ndarray, np.ndarray], BothWays],
    ) -> None:
        """Tables of like size together."""
        both = [self._pairs[row] for row in rows.tolist()]
        sizes = [[len(v.quantised(bins.n).size) for v in pair] for pair in both]
        n_x, n_y = np.array(sizes, dtype=np.int64).reshape(-1, 2).T
        for part, shape in batches(n_x, n_y, bins.few_shapes):
            some, worth = [both[k] for k in part], self._columns.worth(rows[part])
            if not self._pairs.in_strata:
                found = estimate(tabulate(some, bins.n, shape), worth)
            elif tier.within_strata is not None:
                found = tier.within_strata(some, bins.n, shape, worth)
            else:
                found = between_strata.without(some, bins.n, shape, estimate, worth)
            self._combine(rows[part], tier.name, found.y_given_x, found.x_given_y)

    def _by_samples(
        self,
        rows: np.ndarray,
        name: str,
        estimate: Callable[[Sequence[Samples], np.ndarray], BothWays],
    ) -> None:
        """Pairs of like numbers of samples and values together."""
        by_size: dict[tuple[int, int], list[tuple[int, Samples]]] = defaultdict(list)
        for row in rows.tolist():
            a, b = self._pairs.of_fewer_samples(row, self._columns)
            of = Samples(a.levels, b.levels, a.half)
            by_size[a.n, rounded(max(a.n_levels, b.n_levels))].append((row, of))
        for (n, _), members in by_size.items():
            of_rows = np.array([row for row, _ in members])
            found = estimate([of for _, of in members], self._columns.worth(of_rows, n))
            sizes = np.full(len(members), n)
            self._combine(of_rows, name, found.y_given_x, found.x_given_y, sizes)

    def _refine(self, rows: np.ndarray) -> None:
        """Raise the estimates of pairs, by what a fit hides and by what nearest neighbours see more."""
        columns = self._columns
        mi, se, gap = (columns.numbers[name] for name in ("mi_nats", "se_nats", "gap"))
        for row in rows.tolist():
            n, luck, both = int(columns.n_samples[row]), 0.0, self._pairs[row]
            worth = float(columns.worth(np.array([row]))[0])
            # the nearest samples of a series are those just before and after: of so few none is
            most = min(self._cfg.cascade.neighbour_samples, int(n * worth))
            if most < neighbours.MIN_SAMPLES:
                continue
            unsure = max(mi[row] - gap[row], 0.0)
            if n > most:
                part, chosen = self._pairs.part(row, most)
                luck, least, rest = neighbours.in_bins(*both, chosen, mi[row], worth)
                mi[row], se[row], both = max(mi[row], least), np.hypot(se[row], rest), part
            u, v = (ranked.uniform for ranked in both)
            n_draws = max(len(u), len(v))  # a variable without ties has one way to rank it
            u, v = (np.broadcast_to(draws, (n_draws, draws.shape[1])) for draws in (u, v))
            found = neighbours.refine(u, v, mi[row], se[row], unsure, columns.binned_mi[row], luck)
            mi[row], se[row] = min(found.mi, np.log(u.shape[1])), found.se
            if found.share > 0.5:
                columns.put(np.array([row]), neighbours.NAME)
                if n > most:
                    columns.note(row, f"by nearest neighbours among {most} of the {n} samples")

    # --- pairs by their samples

    def _from_directions(
        self,
        rows: np.ndarray,
        tier: Tier,
        estimate: Callable[[Directions, EstimatorConfig], Estimates],
    ) -> None:
        """Both directions of some pairs of one shape by one denoiser."""

        def directions(targets: list[RankedVariable], sources: list[RankedVariable]) -> Found:
            batch = stack(targets, sources, self._device)
            e = estimate(batch, self._cfg)
            values = (e.mi, e.standard_error(batch.n), e.direct, e.orthogonal, e.ess)
            return Found(*(v.double().cpu().numpy() for v in values))

        both_sides = [self._of_samples(row, tier) for row in rows.tolist()]
        first, second = map(list, zip(*both_sides, strict=True))
        if first[0].dim == second[0].dim:
            both = directions([*second, *first], [*first, *second])
            ij, ji = (both.take(half) for half in np.arange(2 * len(rows)).reshape(2, -1))
        else:
            ij, ji = directions(second, first), directions(first, second)
        n = np.array([side.n for side in first])
        ij, ji = self._widened(rows, ij, n), self._widened(rows, ji, n)
        self._combine(rows, tier.name, ij, ji, n)

    def _widened(self, rows: np.ndarray, found: Found, n: np.ndarray) -> Found:
        """With standard errors of a denoiser that takes every one of n (R,) samples as independent."""
        return found._replace(se=found.se / np.sqrt(self._columns.worth(rows, n)))

    def _combine(
        self, rows: np.ndarray, name: str, ij: Found, ji: Found, n: np.ndarray | None = None
    ) -> None:
        """Both directions, from all samples or n (R,) of them -> one estimate with its standard error."""
        columns = self._columns
        n = columns.n_samples[rows] if n is None else n
        scalar = np.isfinite(columns.numbers["spearman"][rows])
        finite = np.isfinite(np.stack([ij.mi, ji.mi, ij.se, ji.se])).all(axis=0)
        for row in rows[~finite & (scalar | np.isnan(columns.numbers["mi_nats"][rows]))].tolist():
            columns.refuse(row, Status.DIVERGED, self._pairs.names(row))
        # ranks of n samples cannot show more than log n
        most = np.where(scalar, np.log(n), np.inf)
        ij, ji = ij.at_most(most), ji.at_most(most)
        rows, n, ij, ji = rows[finite], n[finite], ij.take(finite), ji.take(finite)
        better = Found(*(np.where(ij.mi >= ji.mi, a, b) for a, b in zip(ij, ji, strict=True)))
        # of groups the larger stands: estimates are low where a fit falls short, seldom high
        more = scalar[finite] | ~(columns.numbers["mi_nats"][rows] >= better.mi)
        rows, n = rows[more], n[more]
        ij, ji, better = (f.take(more) for f in (ij, ji, better))
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
        near = better.mi > most[finite][more] - _NEAR_NATS  # of groups never: theirs is infinite
        for row, used in zip(rows[near].tolist(), n[near].tolist(), strict=True):
            columns.note(
                row,
                f"{used} samples show at most {np.log(used):.1f} nats: the MI may be more or less",
            )
