"""What is there of a run, what of it is damaged, and how prepared data are made again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmg_ray.config import Config
from mmg_ray.errors import MMGError, RunError, StoreError
from mmg_ray.execute.drain import Drain
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.planning import input_digests, make_plan, outline, read_input
from mmg_ray.execute.task import CheckTask, ShardTask, check_files, check_shard
from mmg_ray.store import integrity, manifest, matrix, shards
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import Manifest
from mmg_ray.store.preparing import prepare
from mmg_ray.store.shards import Footer
from mmg_ray.store.sources import Table

log = logging.getLogger(__name__)

_CHECKED_AT_ONCE = 64  # objects that one task reads, other than shards


class RunState:
    """What is there of a run.

    Attributes:
        done: digests of the finished shards.
        footers: of the shards that were finished before this session.
        wrong: what is lost or damaged of everything else that can be made again, by path.
    """

    def __init__(
        self,
        place: Location,
        config: Config,
        found: Manifest,
        footers: dict[int, Footer],
        table: Table | None,
    ) -> None:
        self._place, self._config, self._found, self._table = place, config, found, table
        self.footers = footers
        self.done = {shard: footer.digest for shard, footer in footers.items()}
        self.wrong: dict[str, str] = {}

    @classmethod
    def of(
        cls, place: Location, config: Config, found: Manifest, table: Table | None = None
    ) -> RunState:
        """As far as listings, footers and small reads can tell; `table` if the data are in no file."""
        state = cls(place, config, found, shards.finished(place, found.fingerprint), table)
        state.wrong = _without_files(place, integrity.glance(place, found))
        return state

    def forget(self, shard: int) -> Footer:
        """A finished shard is damaged."""
        del self.done[shard]
        return self.footers.pop(shard)

    @property
    def lacks_matrix(self) -> bool:
        """Whether there is to be a matrix, and none of these shards is there and whole."""
        if not self._config.edges.matrix:
            return False
        if any(integrity.is_matrix(path) for path in self.wrong):
            return True
        made_of = matrix.made_of(self.done)
        return matrix.written(self._place, self._found.fingerprint, made_of) is None

    @property
    def complete(self) -> bool:
        """Whether there is nothing to do."""
        return len(self.done) == self._found.n_shards and not self.wrong and not self.lacks_matrix

    def prepare_again(self) -> None:
        """Make the plan and the prepared data again where they are damaged, from the same input."""
        damaged = sorted(path for path in self.wrong if integrity.is_input(path))
        if not damaged:
            return
        place, config, found = self._place, self._config, self._found
        first = f"{(place / damaged[0]).url} {self.wrong[damaged[0]]}"
        log.warning("preparing the data again: %s", first)
        try:
            manifest.refuse_other(found, config, input_digests(config, self._table), place.url)
            table = read_input(config, self._table)
            names, dims = outline(table, config.data)
            # the data may lie elsewhere now, the plan is that of the start
            plan = make_plan(found.resolved(), table, names, dims)
            digests = (
                manifest.write_plan(place, plan),
                prepare(table, config.data, place, config.lags.trials),
            )
        except MMGError as error:
            raise StoreError(
                f"{first}. It cannot be made again: {error}. Restore it or the input, or start the run at "
                "another URL"
            ) from None
        if digests != (found.plan_digest, found.prepared_digest):
            raise StoreError(
                f"{first}. Made again it is another, so it is of another version of mmg_ray or of a library. "
                f"Use the version that wrote the run ({found.version}), or start it at another URL"
            )
        for path in damaged:
            del self.wrong[path]


def damaged_shards(executor: Executor, tasks: Sequence[ShardTask], drain: Drain) -> list[int]:
    """Which of the finished shards are not as they were written."""
    damaged = []
    for outcome in executor.map(check_shard, drain.until(tasks)):
        if outcome.error:
            raise RunError(f"shard {outcome.item.shard} could not be checked: {outcome.error}")
        if outcome.result:
            damaged.append(outcome.item.shard)
            log.warning("computing shard %d again: %s", outcome.item.shard, outcome.result)
    log.info("%d finished shards were read, %d are damaged", len(tasks), len(damaged))
    return damaged


def damaged_files(
    executor: Executor, place: Location, found: Manifest, drain: Drain
) -> dict[str, str]:
    """What is lost or damaged but shards, and can be made again, by path; every byte is read."""
    expected, wrong = integrity.covered(place, found)
    items = sorted(expected.items())
    tasks = [
        CheckTask(place.url, dict(items[k : k + _CHECKED_AT_ONCE]))
        for k in range(0, len(items), _CHECKED_AT_ONCE)
    ]
    for outcome in executor.map(check_files, drain.until(tasks)):
        if outcome.error:
            raise RunError(f"{place.url} could not be checked: {outcome.error}")
        wrong |= outcome.result or {}
    log.info("%d other objects were read, %d are damaged", len(items), len(wrong))
    return _without_files(place, wrong)


def _without_files(place: Location, wrong: dict[str, str]) -> dict[str, str]:
    """What a run can make again. The files that a job has added it cannot, and says so."""
    for path in sorted(wrong):
        if not (integrity.is_input(path) or integrity.is_matrix(path)):
            log.warning(
                "%s %s. The command that wrote it (`mmg-ray genomics`, `mmg-ray neural`) writes it again",
                (place / path).url,
                wrong[path],
            )
    return {
        path: why
        for path, why in wrong.items()
        if integrity.is_input(path) or integrity.is_matrix(path)
    }
