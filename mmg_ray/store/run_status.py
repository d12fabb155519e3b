"""How far a run is, from storage alone."""

from __future__ import annotations

from dataclasses import dataclass

from mmg_ray.schema import FAILURES, Status
from mmg_ray.store.heartbeat import Heartbeat


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        n_shards, n_pairs: of the plan.
        shards_done, pairs_done: of the plan, estimated by now.
        pairs_stored: of the pairs done, rows of the edge table; all of them without a filter.
        statuses: pairs done by status, stored or not.
        matrix_asked: whether the configuration asks for the matrices.
        matrix_done: whether they are assembled, of the shards that are there, and not damaged.
        damaged: what is lost or damaged, a line each, as far as listings and small reads can tell:
            shards, matrix, prepared data and the files that a job has added. `run` makes the first
            three again; `run` with ``verify`` reads every byte before.
        pairs_per_s: over the last shards, by their times of change; None where too few tell.
        last_s: when the last shard was stored, UTC, seconds since 1970; None before the first.
        heartbeat: the driver's last one; None where there is none.
    """

    n_shards: int
    n_pairs: int
    shards_done: int
    pairs_done: int
    pairs_stored: int
    statuses: dict[str, int]
    matrix_asked: bool
    matrix_done: bool
    pairs_per_s: float | None
    last_s: float | None
    heartbeat: Heartbeat | None
    damaged: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every shard is there, the matrix if there is to be one, and nothing is damaged."""
        return (
            self.shards_done == self.n_shards
            and (self.matrix_done or not self.matrix_asked)
            and not self.damaged
        )

    @property
    def pairs_not_ok(self) -> int:
        """Pairs done that have no value."""
        return self.pairs_done - self.statuses.get(Status.OK, 0)

    @property
    def pairs_failed(self) -> int:
        """Pairs that the estimator failed on, where any other status is of the data."""
        return sum(self.statuses.get(status, 0) for status in FAILURES)
