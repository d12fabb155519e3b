"""Starting, resuming and finishing a run. The driver counts receipts; results stay in storage."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import yaml
from fsspec.implementations.local import LocalFileSystem

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.errors import ConfigError, DataError, Drained, RunError
from mmg_ray.estimator.cascade.denoisers import denoiser
from mmg_ray.execute import lags, pilot
from mmg_ray.execute.drain import Abandoned, Drain, draining
from mmg_ray.execute.driver_lock import DriverLock, driving
from mmg_ray.execute.executor import open_executor
from mmg_ray.execute.numerics import library_threads, numerical_environment
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.planning import (
    PlanSummary,
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
from mmg_ray.execute.progress import Tally, each, progress
from mmg_ray.execute.state import RunState, damaged_files, damaged_shards
from mmg_ray.execute.task import (
    BandTask,
    ShardTask,
    fill_band,
    run_shard,
)
from mmg_ray.plan.cost import TASK_BYTES, Projection
from mmg_ray.plan.tiles import Plan
from mmg_ray.store import environments, integrity, manifest, matrix, selection
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import Manifest
from mmg_ray.store.prepared import Prepared, prepare
from mmg_ray.store.reuse import Reuse
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
    asked = _configure(what, overrides, table)
    _check(asked)
    with draining(stop_after_s, asked.config.execute.drain_s) as drain:
        try:
            _drive(asked, drain, verify)
        except (Abandoned, KeyboardInterrupt):
            if not drain.abandoned:  # Ray turns whatever a signal raises into this
                raise
            raise _drained(asked) from None
    return Run(asked.place.url)


def _drained(asked: _Asked) -> Drained:
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
    asked = _configure(what, overrides, table)
    _check(asked)
    table = read_input(asked.config, table)
    names, dims = outline(table, asked.config.data)
    plan = make_plan(asked.config, table, names, dims)
    factor = calibrate(asked.config, table, plan, dims) if measure else None
    return summarise(asked.config, plan, dims, table, factor)


def fingerprint_of(config: Config) -> str:
    """What identifies the run of a configuration and its input as they are now. Reads the input."""
    return manifest.fingerprint(config, input_digests(config))


class _Asked(NamedTuple):
    """A configuration, the place of its run with an absolute URL, and the run if asked for by URL.

    `table` holds the data where they are in no file.
    """

    config: Config
    place: Location
    found: Manifest | None
    table: Table | None = None

    def digests(self) -> dict[str, str]:
        return input_digests(self.config, self.table)


def _configure(
    what: Config | str | os.PathLike[str],
    overrides: Iterable[str],
    table: Table | None = None,
) -> _Asked:
    found = None
    if isinstance(what, Config):
        text = yaml.safe_dump(configuration.to_dict(what))
    else:
        given = Location(os.fspath(what))
        if given.name.endswith((".yaml", ".yml")):
            text = given.read_text()
        elif manifest.exists(given):
            found = manifest.read(given)
            # where it lies now, not where it was begun
            text = yaml.safe_dump(found.config | {"output": {"url": given.url}})
        else:
            raise ConfigError(
                f"{given.url} is neither a configuration (a .yaml file) nor a run (it holds no "
                f"{manifest.MANIFEST}); check the path"
            )
    config = configuration.load(text, overrides)
    place = Location(config.output.url)
    if isinstance(place.fs, LocalFileSystem):
        place = Location(place.path)  # a worker may have another working directory
    return _Asked(config, place, found, table)


def _check(asked: _Asked) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    denoiser(asked.config.estimator.denoiser)
    selection.check(asked.config.pairs)
    lags.check(asked.config)
    task_device(asked.config.execute)
    if asked.config.execute.executor == "ray" and asked.place.url.startswith("memory:"):
        raise ConfigError(
            f"output.url is {asked.place.url!r}, which only this process can see; set "
            "execute.executor: serial, or store the run elsewhere"
        )


def _resume(asked: _Asked) -> Manifest:
    """The manifest of the run that is there; FingerprintError if it is of something else."""
    found = manifest.read(asked.place)
    digests = manifest.stored_digests(found)
    inputs = ("data", "pairs")
    wanted = configuration.to_dict(asked.config)
    if asked.found is None or any(wanted[name] != found.config[name] for name in inputs):
        # a run asked for by its URL goes on from its prepared data: the input may be gone by now
        digests = asked.digests()
    manifest.refuse_other(found, asked.config, digests, asked.place.url)
    return found


def _begin(asked: _Asked, digests: dict[str, str]) -> Manifest:
    """Read and prepare the data, plan, and freeze both. DataError if the input is not what it was."""
    config, place = asked.config, asked.place
    if config.plan.reuse is not None:
        Reuse(config).require_complete()
    table = read_input(config, asked.table)
    names, dims = outline(table, config.data)
    plan = make_plan(config, table, names, dims)
    log.info("preparing %s variables x %s samples", f"{len(names):,}", f"{table.n_samples:,}")
    prepared = prepare(
        table, config.data, place, config.lags.trials, partial(each, what="preparing, parts")
    )
    changed = [name for name, digest in asked.digests().items() if digest != digests[name]]
    if changed:
        raise DataError(
            f"{config.data.path}, or a file that belongs to it, was replaced or written to while it was "
            f"read (the {' and the '.join(changed)} changed), so nothing was begun. Wait until it is "
            "whole, and start again"
        )
    learned = _learn(config, plan, Prepared.open(place, prepared))
    environment = numerical_environment()
    return manifest.write(
        place, config, digests, plan, table.n_samples, prepared, environment, learned
    )


def _learn(config: Config, plan: Plan, prepared: Prepared) -> dict[str, Any] | None:
    """What the pairs look like; of a run that takes over rows, as they looked to the earlier one."""
    if config.plan.reuse is not None:
        return manifest.read(Location(config.plan.reuse)).evidence
    if config.data.conditions or config.lags.max_s is not None:
        return None
    with library_threads():
        found = pilot.learn(
            prepared.names,
            prepared.dims,
            plan.pairs,
            prepared.load,
            config.estimator,
            prepared.identity(),
        )
    if found is None:
        return None
    log.info(
        "posterior: %s",
        f"learned from {found.n_pairs:,} pairs: {found}"
        if found.n_pairs
        else "too few pairs to learn from, so by fixed weights",
    )
    return found.to_json()


def _drive(asked: _Asked, drain: Drain, verify: bool) -> None:
    """Whatever of a run is missing or damaged; nothing is written if nothing is."""
    place = asked.place
    found = _resume(asked) if manifest.exists(place) else None
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
            found = _resume(asked) if manifest.exists(place) else _begin(asked, digests)
        if drain.requested:
            raise _drained(asked)
        state = RunState.of(place, asked.config, found, asked.table)
        if verify or not state.complete:
            _work(asked, found, state, drain, lock, verify)
        else:  # by the driver that was waited for
            log.info("%s is complete", place.url)


def _work(
    asked: _Asked, found: Manifest, state: RunState, drain: Drain, lock: DriverLock, verify: bool
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


def _warn_of_mixture(asked: _Asked, here: bool) -> None:
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


def _projection(asked: _Asked, found: Manifest) -> Projection:
    """What the whole run costs."""
    prepared = Prepared.open(asked.place, found.prepared_digest)
    plan = manifest.read_plan(asked.place, found.plan_digest)
    zeros = [share or 0.0 for share in prepared.qc().column("zero_share").to_pylist()]
    n_events = found.n_samples * (1.0 - float(np.mean(zeros)))
    return projection(asked.config, plan, prepared.dims, found.n_samples, n_events)


def _task_bytes(asked: _Asked, projected: Projection) -> float:
    """Memory that a task is given: the largest shard's, or a band's of the matrix."""
    peak = projected.peak_bytes
    return max(peak, TASK_BYTES + matrix.BAND_BYTES) if asked.config.edges.matrix else peak


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
