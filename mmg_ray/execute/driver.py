"""Starting, resuming and finishing a run. The driver counts receipts; results stay in storage."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from mmg_ray.config import Config
from mmg_ray.errors import Drained, RunError
from mmg_ray.execute.beginning import Asked, begin, check, configure, resume
from mmg_ray.execute.drain import Abandoned, Drain, draining
from mmg_ray.execute.driver_lock import DriverLock, driving
from mmg_ray.execute.executor import open_executor
from mmg_ray.execute.numerics import numerical_environment
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.planning import (
    PlanSummary,
    build_bytes,
    calibrate,
    executor_of,
    input_digests,
    make_plan,
    outline,
    projection,
    read_input,
    summarise,
    task_device,
)
from mmg_ray.execute.progress import Tally, progress
from mmg_ray.execute.state import RunState, damaged_files, damaged_shards
from mmg_ray.execute.task import BandTask, ShardTask, fill_band, run_shard
from mmg_ray.plan.cost import TASK_BYTES, Projection
from mmg_ray.store import environments, integrity, manifest, matrix
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import Manifest
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.run import Run
from mmg_ray.store.sources import Table

log = logging.getLogger(__name__)

# This many failures in a row, with no success before them, are not the shards' fault.
_GIVE_UP = 20


def run(
    what: Config | str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    table: Table | None = None,
    stop_after_s: float | None = None,
    verify: bool = False,
) -> Run:
    """What `mmg_ray.run` does, which explains arguments and errors, of a configuration or of a run.

    Args:
        table: the data, where they are in no file; its variables and samples are chosen already.
    """
    asked = configure(what, overrides, table)
    check(asked)
    with draining(stop_after_s, asked.config.execute.drain_s) as drain:
        try:
            _drive(asked, drain, verify)
        except (Abandoned, KeyboardInterrupt, SystemError):
            if not drain.abandoned:  # Ray turns whatever a signal raises into either of the others
                raise
            raise _drained(asked) from None
    return Run(asked.place.url)


def _drained(asked: Asked) -> Drained:
    return Drained(
        f"{asked.place.url} stopped before it was complete, as asked; what is finished is stored, and "
        "the same command goes on"
    )


def plan_run(
    what: Config | str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    table: Table | None = None,
    measure: bool = True,
) -> PlanSummary:
    """What `run` would do and cost. Reads the table; writes nothing.

    Args:
        measure: time parts of a few tiles on this machine, some seconds, and project from them.
    """
    asked = configure(what, overrides, table)
    check(asked)
    table = read_input(asked.config, table)
    names, dims = outline(table, asked.config.data)
    plan = make_plan(asked.config, table, names, dims)
    factor = calibrate(asked.config, table, plan, dims) if measure else None
    return summarise(asked.config, plan, dims, table, factor)


def fingerprint_of(config: Config) -> str:
    """What identifies the run of a configuration and its input as they are now. Reads the input."""
    return manifest.fingerprint(config, input_digests(config))


def _drive(asked: Asked, drain: Drain, verify: bool) -> None:
    """Whatever of a run is missing or damaged; nothing is written if nothing is."""
    place = asked.place
    found = resume(asked) if manifest.exists(place) else None
    if (
        found is not None
        and not verify
        and RunState.of(place, asked.config, found, asked.table).complete
    ):
        log.info("%s is complete", place.url)
        return
    # before the first object is written: without its input there is no run
    digests = {} if found is not None else asked.digests()
    with driving(place, drain) as lock:
        if found is None:  # another driver may have begun it meanwhile
            found = resume(asked) if manifest.exists(place) else begin(asked, digests)
        if drain.requested:
            raise _drained(asked)
        state = RunState.of(place, asked.config, found, asked.table)
        if verify or not state.complete:
            _work(asked, found, state, drain, lock, verify)
        else:  # by the driver that was waited for
            log.info("%s is complete", place.url)


def _work(
    asked: Asked, found: Manifest, state: RunState, drain: Drain, lock: DriverLock, verify: bool
) -> None:
    place, fingerprint = asked.place, found.fingerprint
    tally = Tally(found.n_shards, found.n_pairs)
    tally.resume(
        shards=len(state.footers),
        pairs=sum(footer.n_pairs for footer in state.footers.values()),
        not_ok=sum(footer.n_not_ok for footer in state.footers.values()),
    )
    if state.done:
        log.info("going on: %s", tally.line())
        _warn_of_mixture(asked, here=True)
    device = task_device(asked.config.execute)

    def tasks(wanted: Iterable[int]) -> list[ShardTask]:
        return [ShardTask(place.url, fingerprint, shard, device) for shard in wanted]

    state.prepare_again()
    projected = _projection(asked, found)
    execute = asked.config.execute
    execute = replace(execute, executor=executor_of(execute, projected.task_s, place.url))
    if execute.executor == "serial" != asked.config.execute.executor:
        log.info("little work: in this process, without Ray (execute.executor: auto)")
    with open_executor(execute, _task_bytes(asked, projected)) as executor:
        drain.install()
        if verify:
            for shard in damaged_shards(executor.on_cpu(), tasks(state.done), drain):
                footer = state.forget(shard)
                tally.forget(footer.n_pairs, footer.n_not_ok)
            state.wrong |= damaged_files(executor.on_cpu(), place, found, drain)
            state.prepare_again()
        if drain.requested:
            raise _drained(asked)
        todo = tasks(shard for shard in range(found.n_shards) if shard not in state.done)
        if todo:
            _estimate(executor, todo, tally, state.done, drain, lock)
            _warn_of_mixture(asked, here=False)
        if drain.requested and tally.shards < found.n_shards:
            raise _drained(asked)
        if state.lacks_matrix:
            _assemble(executor.on_cpu(), place, found, state, drain)
            if drain.requested and state.lacks_matrix:
                raise _drained(asked)


def _warn_of_mixture(asked: Asked, here: bool) -> None:
    """Say where shards of a run come from unlike CPUs or libraries; `here`: those to come, too."""
    place, execute = asked.place, asked.config.execute
    on_this_machine = execute.executor == "serial" or execute.address == "local"
    if not here and on_this_machine:
        return  # said at the start
    found = environments.recorded(place)
    different = environments.differences(
        [*found, numerical_environment()] if found and on_this_machine else found
    )
    if different:
        log.warning(
            "the shards of %s come from unlike CPUs or versions of libraries (%s): values "
            "may differ in their last digits from those that one of them alone would give. For the "
            "same bits install the same versions everywhere, and set ATEN_CPU_CAPABILITY and "
            "OPENBLAS_CORETYPE to what all CPUs have (docs/cluster.md)",
            place.url,
            "; ".join(different),
        )


def _projection(asked: Asked, found: Manifest) -> Projection:
    """What the whole run costs."""
    prepared = Prepared.open(asked.place, found.prepared_digest)
    plan = manifest.read_plan(asked.place, found.plan_digest)
    zeros = [share or 0.0 for share in prepared.qc().column("zero_share").to_pylist()]
    n_events = found.n_samples * (1.0 - float(np.mean(zeros)))
    return projection(asked.config, plan, prepared.dims, found.n_samples, n_events)


def _task_bytes(asked: Asked, projected: Projection) -> float:
    """Memory that a task is given: the largest shard's, or a band's of the matrix."""
    peak, band = projected.peak_bytes, TASK_BYTES + build_bytes() + matrix.BAND_BYTES
    return max(peak, band) if asked.config.edges.matrix else peak


def _estimate(
    executor: Executor,
    tasks: Sequence[ShardTask],
    tally: Tally,
    done: dict[int, str],
    drain: Drain,
    lock: DriverLock,
) -> None:
    """Run the shards that are missing, and note their digests; RunError at the end if some failed."""
    first_error, any_done = "", False

    def handed_out() -> Iterator[ShardTask]:
        for item in drain.until(tasks):
            lock.handed_out(item.shard)
            yield item

    with progress(tally) as show:
        show()
        for outcome in executor.map(run_shard, handed_out()):
            lock.came_back(outcome.item.shard, outcome.error)
            if outcome.result is not None:
                tally.add(outcome.result)
                done[outcome.item.shard] = outcome.result.digest
                any_done = True
            else:
                tally.failed += 1
                first_error = first_error or f"shard {outcome.item.shard}: {outcome.error}"
                log.warning("shard %d failed: %s", outcome.item.shard, outcome.error)
            show()
            if tally.failed >= _GIVE_UP and not any_done:
                raise RunError(
                    f"the first {tally.failed} shards all failed, so the others were not tried. "
                    f"First, {first_error}"
                )
    if tally.failed:
        raise RunError(
            f"{tally.failed} of {len(tasks)} shards failed; finished shards are stored, and `run` "
            f"again tries the rest. First, {first_error}"
        )


def _assemble(
    executor: Executor, place: Location, found: Manifest, state: RunState, drain: Drain
) -> None:
    """Assemble the matrix from the edges, a band a task."""
    fingerprint = found.fingerprint
    names = Prepared.open(place, found.prepared_digest).names
    log.info("assembling the matrix of %s variables", f"{len(names):,}")
    written = matrix.create(place, names, matrix.of_run(found.resolved()))
    tasks = [BandTask(place.url, fingerprint, *band) for band in matrix.bands(len(names))]
    outcomes = list(executor.map(fill_band, drain.until(tasks)))
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if len(outcomes) < len(tasks):
        return
    if errors:
        raise RunError(
            f"{len(errors)} of {len(tasks)} bands of the matrix failed; the edges are complete, and "
            f"`run` again assembles it. First: {errors[0]}"
        )
    for outcome in outcomes:
        written |= outcome.result or {}
    matrix.finish(place, fingerprint, matrix.made_of(state.done), written)
    state.wrong = {path: why for path, why in state.wrong.items() if not integrity.is_matrix(path)}
