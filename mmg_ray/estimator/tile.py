"""Estimate all pairs of a tile in a few stacked batches; a bad pair becomes a status, never an error.

sort the pairs -> screen the scalar ones -> tier after tier, each on the pairs that its gate lets in.
Everything known of the pairs stands in columns, one array a field.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator import marginals, screen, table
from mmg_ray.estimator.denoisers import Known, Tier, denoiser
from mmg_ray.estimator.sides import Side, Sides, stack
from mmg_ray.schema import Labels, PairEstimates, Status, Stop, Variable

_SAMPLES_PER_DIMENSION = 2  # below it a covariance matrix says more of the noise than of the data
_STACK_BYTES = 2**27  # of the scores of one stack
_STATUSES, _STOPS = tuple(Status), tuple(Stop)
_NUMBERS = (
    "mi_nats",
    "se_nats",
    "mi_ij",
    "mi_ji",
    "gap",
    "orthogonal",
    "p_value",
    "spearman",
    "ess",
)
SCREEN = "screen"


def estimate_tile(
    variables: Mapping[int, Variable],
    pairs: np.ndarray | Sequence[tuple[int, int]],
    cfg: EstimatorConfig,
    device: str = "cpu",
) -> PairEstimates:
    """MI of each of the (P, 2) pairs (i, j), in the order given; never raises for what one contains.

    Pairs whose variables have a status other than ok, too few complete samples, or one value left
    among the complete samples, get that status. The rest goes through the tiers of `cfg.denoiser`.
    """
    chosen = denoiser(cfg.denoiser)
    tile = _Tile(variables, np.asarray(pairs, dtype=np.int64).reshape(-1, 2), cfg, device)
    scalars = tile.screen()
    tile.run(scalars, chosen.scalars, chosen.last)
    vectors = tile.vectors()
    if chosen.vectors:
        tile.run(vectors, chosen.vectors, chosen.last)
    for row in () if chosen.vectors else vectors:
        tile.refuse(row, Status.UNSUPPORTED, f"{cfg.denoiser} takes pairs of scalars")
    return tile.estimates()


class _Found(NamedTuple):
    """One direction of P pairs, (P,) arrays."""

    mi: np.ndarray
    se: np.ndarray
    direct: np.ndarray
    orthogonal: np.ndarray
    ess: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class _Sorted:
    """Which pairs of a tile can be estimated: rows of complete scalars, and others with their sides."""

    complete: np.ndarray
    others: dict[int, tuple[Side, Side]]


class _Tile:
    """The pairs of a tile and the columns of what is found of them."""

    def __init__(
        self,
        variables: Mapping[int, Variable],
        pairs: np.ndarray,
        cfg: EstimatorConfig,
        device: str,
    ) -> None:
        self._variables = {
            index: replace(v, codes=marginals.distinct_coordinates(v.codes)) if v.dim > 1 else v
            for index, v in variables.items()
        }
        self._pairs, self._cfg, self._device = pairs, cfg, device
        self._sides = Sides(cfg.seed)
        n = len(pairs)
        self._n_samples = np.zeros(n, dtype=np.int32)
        self._status = np.zeros(n, dtype=np.int32)  # Status.OK is the first
        self._stop = np.full(n, -1, dtype=np.int32)
        self._denoiser = np.zeros(n, dtype=np.int32)
        self._names = [cfg.denoiser]
        self._messages: dict[int, str] = {}
        self._numbers = {name: np.full(n, np.nan) for name in _NUMBERS}
        self._rest = np.zeros(n)
        self._sorted = self._sort()

    def _sort(self) -> _Sorted:
        """Refuse the pairs without a value; complete pairs of scalars need no look one by one."""
        plain = {
            index
            for index, v in self._variables.items()
            if v.dim == 1
            and v.status is Status.OK
            and v.n_samples >= max(self._cfg.min_samples, 2 * _SAMPLES_PER_DIMENSION)
            and not (v.codes == marginals.MISSING).any()
            and self._sides.of(v).varies
        }
        known = np.array(sorted(plain), dtype=np.int64)
        complete = np.isin(self._pairs, known).all(axis=1)
        rows = np.flatnonzero(complete)
        if len(rows):
            self._n_samples[rows] = self._variables[int(known[0])].n_samples
        others = {}
        for row in np.flatnonzero(~complete).tolist():
            sides = self._examine(row)
            if sides is not None:
                others[row] = sides
        return _Sorted(rows, others)

    def _examine(self, row: int) -> tuple[Side, Side] | None:
        """The sides of a pair over the samples that both have; None where it gets a status."""
        a, b = (self._variables[int(index)] for index in self._pairs[row])
        present = ~((a.codes == marginals.MISSING).any(1) | (b.codes == marginals.MISSING).any(1))
        n = int(present.sum())
        self._n_samples[row] = n
        for variable in (a, b):
            if variable.status is not Status.OK:
                return self.refuse(row, variable.status, variable.name)
        needed = max(self._cfg.min_samples, _SAMPLES_PER_DIMENSION * (a.dim + b.dim))
        if n < needed:
            what = f"{n} complete samples of the {needed} needed"
            return self.refuse(row, Status.TOO_FEW_SAMPLES, what)
        sides = self._sides.of(a, present), self._sides.of(b, present)
        for variable, side in zip((a, b), sides, strict=True):
            if not side.varies:
                what = f"{variable.name}, in the {n} samples that both have"
                return self.refuse(row, Status.CONSTANT, what)
        return sides

    def refuse(self, row: int, status: Status, what: str) -> None:
        """A pair without a value: its status and why."""
        self._status[row] = _STATUSES.index(status)
        self._stop[row] = -1
        for column in self._numbers.values():
            column[row] = np.nan
        self._messages[row] = f"{what}: {status.remedy}"

    def vectors(self) -> np.ndarray:
        """Rows of the pairs with a group."""
        rows = [row for row, (a, b) in self._sorted.others.items() if a.dim > 1 or b.dim > 1]
        return np.array(rows, dtype=np.int64)

    def screen(self) -> np.ndarray:
        """Test every scalar pair and estimate its MI as if it were weak; the rows of these pairs."""
        rows = self._sorted.complete
        self._screen_block(rows)
        holed = [row for row, (a, b) in self._sorted.others.items() if a.dim == b.dim == 1]
        for row in holed:
            a, b = self._sorted.others[row]
            moments = screen.moments(a.ranks[:, 0], b.ranks[:, 0])
            self._put_screen(
                np.array([row]),
                moments.statistic[None],
                moments.chi_square[None],
                np.array([a.standard_midranks @ b.standard_midranks / a.n]),
            )
        return np.concatenate([rows, np.array(holed, dtype=np.int64)])

    def _screen_block(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        first, i = np.unique(self._pairs[rows, 0], return_inverse=True)
        second, j = np.unique(self._pairs[rows, 1], return_inverse=True)
        left, right = (
            [self._sides.of(self._variables[v]) for v in u.tolist()] for u in (first, second)
        )
        found = screen.block_moments(
            np.stack([side.ranks[:, 0] for side in left]),
            np.stack([side.ranks[:, 0] for side in right]),
            self._device,
        )
        x, y = (np.stack([side.standard_midranks for side in sides]) for sides in (left, right))
        self._put_screen(
            rows, found.statistic[i, j], found.chi_square[i, j], (x @ y.T / x.shape[1])[i, j]
        )

    def _put_screen(
        self, rows: np.ndarray, statistic: np.ndarray, chi_square: np.ndarray, spearman: np.ndarray
    ) -> None:
        n = self._n_samples[rows]
        put = self._numbers
        for size in np.unique(n):
            of_size = n == size
            if size >= screen.MIN_SAMPLES:
                put["p_value"][rows[of_size]] = screen.p_value(statistic[of_size], int(size))
        put["mi_nats"][rows], put["se_nats"][rows] = screen.weak_mi(chi_square, n)
        put["spearman"][rows] = np.clip(spearman, -1.0, 1.0)
        for name in ("mi_ij", "mi_ji", "gap", "orthogonal"):  # at first order they are one number
            put[name][rows] = put["mi_nats"][rows]
        put["ess"][rows] = 1.0
        self._label(rows, SCREEN)

    def run(self, rows: np.ndarray, tiers: Sequence[Tier], last: Stop) -> None:
        """Take pairs through tiers; each row says where it stopped and why."""
        for tier in tiers:
            if tier.enters is not None:
                known = Known(
                    *(self._numbers[name][rows] for name in ("p_value", "mi_nats")),
                    self._rest[rows],
                )
                enters = tier.enters(known, self._cfg.cascade)
                self._stop[rows[~enters]] = _STOPS.index(tier.otherwise)
                rows = rows[enters]
            if tier.estimate is None:
                tabled = self._tabulate(rows, tier.name)
                self._stop[rows[tabled]] = _STOPS.index(last)
                rows = rows[~tabled]
                continue
            for part in self._parts(rows):
                self._estimate(part, tier)
            rows = rows[self._status[rows] == 0]
        self._stop[rows] = _STOPS.index(last)

    def _tabulate(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Estimate the pairs whose contingency table is small; true for these."""
        tabled = np.zeros(len(rows), dtype=bool)
        put = self._numbers
        for k, row in enumerate(rows.tolist()):
            a, b = self._pair_sides(row)
            if not table.fits(a.n_levels, b.n_levels, a.n):
                continue
            tabled[k] = True
            mi, put["se_nats"][row] = table.mutual_information(a.levels, b.levels)
            for column in ("mi_ij", "mi_ji", "gap", "orthogonal"):
                put[column][row] = mi
            put["mi_nats"][row] = max(mi, 0.0)
        self._label(rows[tabled], name)
        return tabled

    def _pair_sides(self, row: int) -> tuple[Side, Side]:
        if row in self._sorted.others:
            return self._sorted.others[row]
        i, j = self._pairs[row].tolist()
        return self._sides.of(self._variables[i]), self._sides.of(self._variables[j])

    def _parts(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of like dimensions, with or without ties, in stacks that memory holds."""
        by_shape: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for row in rows.tolist():
            a, b = self._pair_sides(row)
            by_shape[a.dim, b.dim, a.tied or b.tied].append(row)
        for (dim_a, dim_b, tied), members in by_shape.items():
            per_sample = 8 * 2 * (5 if tied else 2) * (dim_a + dim_b)
            per_pair = per_sample * int(self._n_samples[members].max())
            size = max(1, _STACK_BYTES // per_pair)
            for start in range(0, len(members), size):
                yield np.array(members[start : start + size])

    def _estimate(self, rows: np.ndarray, tier: Tier) -> None:
        """Both directions of some pairs of one shape by one denoiser."""
        sides = [self._pair_sides(row) for row in rows.tolist()]
        first, second = [a for a, _ in sides], [b for _, b in sides]
        if first[0].dim == second[0].dim:
            both = self._directions(tier, [*second, *first], [*first, *second])
            ij, ji = (
                _Found(*(v[part] for v in both)) for part in np.arange(2 * len(rows)).reshape(2, -1)
            )
        else:
            ij, ji = self._directions(tier, second, first), self._directions(tier, first, second)
        self._combine(rows, tier.name, ij, ji)

    def _directions(self, tier: Tier, targets: list[Side], sources: list[Side]) -> _Found:
        batch = stack(targets, sources, self._device)
        e = tier.estimate(batch, self._cfg)
        values = (e.mi, e.standard_error(batch.n), e.direct, e.orthogonal, e.ess, e.rest)
        return _Found(*(v.double().cpu().numpy() for v in values))

    def _combine(self, rows: np.ndarray, name: str, ij: _Found, ji: _Found) -> None:
        """Both directions -> one estimate with its standard error."""
        finite = np.isfinite([ij.mi, ji.mi, ij.se, ji.se]).all(axis=0)
        for row in rows[~finite].tolist():
            names = (self._variables[int(index)].name for index in self._pairs[row])
            self.refuse(row, Status.DIVERGED, " - ".join(names))
        rows, ij, ji = rows[finite], *(_Found(*(v[finite] for v in found)) for found in (ij, ji))
        # what a closed form has found stands unless networks show more, for the same reason as below
        closed = self._denoiser[rows] == self._place("spline")
        deeper = ~closed | (np.maximum(ij.mi, ji.mi) > self._numbers["mi_nats"][rows])
        rows, ij, ji = rows[deeper], *(_Found(*(v[deeper] for v in found)) for found in (ij, ji))
        # the direction that shows more: both are low where the fit falls short, seldom high
        better = ij.mi >= ji.mi
        scalar = np.isfinite(self._numbers["spearman"][rows])
        # ranks of n samples cannot show more than log n
        most = np.where(scalar, np.log(self._n_samples[rows]), np.inf)
        put = self._numbers
        put["mi_nats"][rows] = np.clip(np.where(better, ij.mi, ji.mi), 0.0, most)
        put["mi_ij"][rows], put["mi_ji"][rows] = ij.mi, ji.mi
        self._rest[rows] = np.minimum(ij.rest, ji.rest)
        for column, field in (
            ("se_nats", "se"),
            ("gap", "direct"),
            ("orthogonal", "orthogonal"),
            ("ess", "ess"),
        ):
            put[column][rows] = np.where(better, getattr(ij, field), getattr(ji, field))
        self._label(rows, name)

    def _label(self, rows: np.ndarray, name: str) -> None:
        """Say which denoiser the values of these rows are from."""
        self._denoiser[rows] = self._place(name)

    def _place(self, name: str) -> int:
        """Where a denoiser stands among the names of this tile."""
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def estimates(self) -> PairEstimates:
        """The columns."""
        messages = tuple(dict.fromkeys(["", *self._messages.values()]))
        position = {text: k for k, text in enumerate(messages)}
        message = np.zeros(len(self._pairs), dtype=np.int32)
        for row, text in self._messages.items():
            message[row] = position[text]
        return PairEstimates(
            status=Labels(self._status, _STATUSES),
            n_samples=self._n_samples,
            denoiser=Labels(self._denoiser, tuple(self._names)),
            stop=Labels(self._stop, _STOPS),
            message=Labels(message, messages),
            **self._numbers,
        )
