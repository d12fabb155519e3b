"""What is found of the pairs of a tile, one array a field, written as tiers come to it."""

from __future__ import annotations

import numpy as np

from mmg_ray.estimator.dependence import binned_ranks, evidence
from mmg_ray.schema import EDGE_COLUMNS, Labels, PairEstimates, Status, Stop

_STATUSES, _STOPS = tuple(Status), tuple(Stop)
_NUMBERS = tuple(column.name for column in EDGE_COLUMNS if column.dtype == "float64")


class Columns:
    """Columns of P pairs, empty at first.

    Attributes:
        numbers: (P,) float64 by name, NaN where there is none.
        n_samples: (P,) int32.
        screen_mi: (P,) nats, of all orders of the screen.
        low_square, n_low: (P,) of the screen: what its MI is made of, see `screen.weak_mi`.
        codetected_mi, codetected_se: (P,) of pairs of rare variables, see `codetection`; 0 of others.
        binned_p_value, binned_mi, binned_most: (P,) of ranks in bins, see `binned_ranks.Found`; 1 and 0 where not asked.
        plausible_mi: (P,) nats, the screen's of all orders and two standard errors more.
        moments: of the screen, where they are wanted; `reduced` is NaN of pairs without.
    """

    def __init__(self, n_pairs: int, denoiser: str, with_moments: bool = False) -> None:
        self.numbers = {name: np.full(n_pairs, np.nan) for name in _NUMBERS}
        self.n_samples = np.zeros(n_pairs, dtype=np.int32)
        self.screen_mi, self.plausible_mi = np.zeros(n_pairs), np.zeros(n_pairs)
        self.low_square, self.n_low = np.zeros(n_pairs), np.zeros(n_pairs)
        self.binned_mi, self.binned_most = np.zeros(n_pairs), np.zeros(n_pairs)
        self.binned_p_value = np.ones(n_pairs)
        self.codetected_mi, self.codetected_se = np.zeros(n_pairs), np.zeros(n_pairs)
        self.moments = evidence.Moments.empty(n_pairs) if with_moments else None
        self._status = np.full(n_pairs, _STATUSES.index(Status.OK), dtype=np.int32)
        self._stop = np.full(n_pairs, -1, dtype=np.int32)
        self._denoiser = np.zeros(n_pairs, dtype=np.int32)
        self._names = [denoiser]
        self._messages: dict[int, str] = {}

    def refuse(self, row: int, status: Status, what: str) -> None:
        """A pair without a value: its status and why."""
        self._status[row] = _STATUSES.index(status)
        self._stop[row], self._denoiser[row] = -1, 0  # the one that was asked for
        for column in self.numbers.values():
            column[row] = np.nan
        self._messages[row] = f"{what}: {status.remedy}"

    def note(self, row: int, text: str) -> None:
        """What to know of a value that is there."""
        self._messages[row] = text

    def ok(self, rows: np.ndarray | slice) -> np.ndarray:
        """Which of the rows have not been refused."""
        return self._status[rows] == _STATUSES.index(Status.OK)

    def stop(self, rows: np.ndarray, why: Stop) -> None:
        """Say why these pairs go no deeper."""
        self._stop[rows] = _STOPS.index(why)

    def put(self, rows: np.ndarray, denoiser: str, **numbers: np.ndarray | float) -> None:
        """Write what a denoiser found of these rows, over what was there."""
        for name, values in numbers.items():
            self.numbers[name][rows] = values
        self._denoiser[rows] = self._place(denoiser)

    def put_one_number(self, rows: np.ndarray, name: str, mi: np.ndarray, se: np.ndarray) -> None:
        """An estimate that is the same in both directions and in all forms."""
        same = dict.fromkeys(("mi_ij", "mi_ji", "gap", "orthogonal"), mi)
        self.put(rows, name, mi_nats=np.maximum(mi, 0.0), se_nats=se, ess=1.0, **same)

    def put_posterior(self, model: evidence.Evidence) -> None:
        """What the pairs with moments and an estimate are in the light of a whole matrix."""
        assert self.moments is not None
        rows = np.flatnonzero(np.isfinite(self.moments.reduced) & self.ok(slice(None)))
        moments = self.moments.take(rows)
        mi, se = (self.numbers[name][rows] for name in ("mi_nats", "se_nats"))
        found = evidence.posterior(model, moments, mi, se)
        self.numbers["mi_posterior"][rows], self.numbers["p_dependent"][rows] = found

    def put_binned(self, rows: np.ndarray, found: binned_ranks.Found) -> None:
        """Keep what the cells of these rows say, for gates."""
        self.binned_p_value[rows], self.binned_mi[rows], self.binned_most[rows] = found

    def worth(self, rows: np.ndarray, n: np.ndarray | int | None = None) -> np.ndarray:
        """(R,) how many independent samples a sample counts for, of all or of n (R,): one, less in a series."""
        n = self.n_samples[rows] if n is None else n
        # of a part, which are further apart, each is worth more
        found = self.numbers["n_effective"][rows] / np.maximum(n, 1)
        return np.where(np.isnan(found), 1.0, np.minimum(found, 1.0))

    def _place(self, name: str) -> int:
        """Where a denoiser stands among the names of this tile."""
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def estimates(self) -> PairEstimates:
        """The columns as the rest of the package takes them."""
        messages = tuple(dict.fromkeys(["", *self._messages.values()]))
        position = {text: k for k, text in enumerate(messages)}
        message = np.zeros(len(self.n_samples), dtype=np.int32)
        for row, text in self._messages.items():
            message[row] = position[text]
        return PairEstimates(
            status=Labels(self._status, _STATUSES),
            n_samples=self.n_samples,
            denoiser=Labels(self._denoiser, tuple(self._names)),
            stop=Labels(self._stop, _STOPS),
            message=Labels(message, messages),
            curve=np.empty((len(self.n_samples), 0), dtype=np.float32),
            **self.numbers,
        )
