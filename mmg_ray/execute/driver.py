"""Starting, resuming and finishing a run. The driver counts receipts; results stay in storage."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import yaml
from fsspec.implementations.local import LocalFileSystem

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.errors import ConfigError, DataError, Drained, MMGError, RunError, StoreError
from mmg_ray.estimator.denoisers import denoiser
from mmg_ray.execute.drain import Abandoned, Drain, draining
from mmg_ray.execute.driver_lock import DriverLock, driving
from mmg_ray.execute.executor import open_executor
from mmg_ray.execute.numerics import numerical_environment
from mmg_ray.execute.outcome import Executor
from mmg_ray.execute.planning import (
    PlanSummary,
    calibrate,
    make_plan,
    outline,
    projection,
    summarise,
    task_device,
)
from mmg_ray.execute.progress import Tally, progress
from mmg_ray.execute.task import (
    BandTask,
    CheckTask,
    ShardTask,
    check_files,
    check_shard,
    fill_band,
    run_shard,
)
from mmg_ray.plan.cost import TASK_BYTES
from mmg_ray.store import environments, integrity, manifest, matrix, selection, shards
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import Manifest
from mmg_ray.store.prepared import Prepared, prepare
from mmg_ray.store.reuse import Reuse
from mmg_ray.store.run import Run
from mmg_ray.store.shards import Footer
from mmg_ray.store.sources import Table, read_table, source_digest

log = logging.getLogger(__name__)

# This many failures in a row, with no success before them, are not the shards' fault.
_GIVE_UP = 20
_CHECKED_AT_ONCE = 64  # objects that one task reads, other than shards


def run(
    what: Config | str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    stop_after_s: float | None = None,
    verify: bool = False,
) -> Run:
    """Do what is missing of a run: prepare, plan, shards, matrix. A complete run is only opened.

    Args:
        what: a configuration, a YAML file of one, or the URL of a run to go on with.
        overrides: `section.key=value` over it; for a run at a URL only `execute` may change.
        stop_after_s: seconds after which it stops as it does on SIGTERM; main thread only.
        verify: read every byte that the run wrote, and make again what is damaged.

    Raises:
        Drained: it stopped early, on SIGTERM or after `stop_after_s`; `run` again goes on.
        ConfigError, DataError: before anything of the run is written.
        FingerprintError: the URL holds a run of another configuration or data; nothing is touched.
        StoreError: storage cannot be read or written, or another driver is at work on the run.
        RunError: some shards failed; the others are stored, and `run` again tries the rest.
    """
    asked = _configure(what, overrides)
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
    measure: bool = False,
) -> PlanSummary:
    """What `run` would do and cost. Reads the table; writes nothing.

    Args:
        measure: time a few tiles on this machine, and project from them.
    """
    asked = _configure(what, overrides)
    _check(asked)
    table = _read(asked.config)
    names, dims = outline(table, asked.config.data)
    plan = make_plan(asked.config, names, dims, table.n_samples)
    factor = calibrate(asked.config, table, plan, dims) if measure else None
    return summarise(asked.config, plan, dims, table.n_samples, factor)


def fingerprint_of(config: Config) -> str:
    """What identifies the run of a configuration and its input as they are now. Reads the input."""
    return manifest.fingerprint(config, _digests(config))


class _Asked(NamedTuple):
    """A configuration, the place of its run with an absolute URL, and the run if asked for by URL."""

    config: Config
    place: Location
    found: Manifest | None


def _configure(what: Config | str | os.PathLike[str], overrides: Iterable[str]) -> _Asked:
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
    return _Asked(config, place, found)


def _check(asked: _Asked) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    denoiser(asked.config.estimator.denoiser)
    selection.check(asked.config.pairs)
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
        digests = _digests(asked.config)
    manifest.refuse_other(found, asked.config, digests, asked.place.url)
    return found


def _digests(config: Config) -> dict[str, str]:
    return {
        "source digest": source_digest(config.data),
        "pairs digest": selection.digest(config.pairs),
    }


def _begin(asked: _Asked, digests: dict[str, str]) -> Manifest:
    """Read and prepare the data, plan, and freeze both. DataError if the input is not what it was."""
    config, place = asked.config, asked.place
    if config.plan.reuse is not None:
        Reuse(config).require_complete()
    table = _read(config)
    names, dims = outline(table, config.data)
    plan = make_plan(config, names, dims, table.n_samples)
    log.info("preparing %s variables x %s samples", f"{len(names):,}", f"{table.n_samples:,}")
    prepared = prepare(table, config.data, place)
    changed = [name for name, digest in _digests(config).items() if digest != digests[name]]
    if changed:
        raise DataError(
            f"{config.data.path}, or a file that belongs to it, was replaced or written to while it was "
            f"read (the {' and the '.join(changed)} changed), so nothing was begun. Wait until it is "
            "whole, and start again"
        )
    return manifest.write(
        place, config, digests, plan, table.n_samples, prepared, numerical_environment()
    )


def _read(config: Config) -> Table:
    """The table, with what was decided in reading it in the log."""
    table = read_table(config.data)
    for note in table.notes:
        log.info("%s", note)
    return table


def _drive(asked: _Asked, drain: Drain, verify: bool) -> None:
    """Whatever of a run is missing or damaged; nothing is written if nothing is."""
    place = asked.place
    found = _resume(asked) if manifest.exists(place) else None
    if found is not None and not verify and _State.of(asked, found).complete:
        log.info("%s is complete", place.url)
        return
    digests = {} if found is not None else _digests(asked.config)  # no input, nothing is written
    with driving(place, drain) as lock:
        if found is None:  # another driver may have begun it meanwhile
            found = _resume(asked) if manifest.exists(place) else _begin(asked, digests)
        if drain.requested:
            raise _drained(asked)
        state = _State.of(asked, found)
        if verify or not state.complete:
            _work(asked, found, state, drain, lock, verify)
        else:  # by the driver that was waited for
            log.info("%s is complete", place.url)


class _State:
    """What is there of a run.

    Attributes:
        done: digests of the finished shards.
        footers: of the shards that were finished before this session.
        wrong: what is lost or damaged of everything else, by path.
    """

    def __init__(self, asked: _Asked, found: Manifest, footers: dict[int, Footer]) -> None:
        self._asked, self._found = asked, found
        self.footers = footers
        self.done = {shard: footer.digest for shard, footer in footers.items()}
        self.wrong: dict[str, str] = {}

    @classmethod
    def of(cls, asked: _Asked, found: Manifest) -> _State:
        """As far as listings, footers and small reads can tell."""
        state = cls(asked, found, shards.finished(asked.place, found.fingerprint))
        state.wrong = integrity.glance(asked.place, found)
        for path in sorted(set(state.wrong)):
            if not (integrity.is_input(path) or integrity.is_matrix(path)):
                _say_file(asked, path, state.wrong.pop(path))
        return state

    def forget(self, shard: int) -> Footer:
        """A finished shard is damaged."""
        del self.done[shard]
        return self.footers.pop(shard)

    @property
    def lacks_matrix(self) -> bool:
        """Whether there is to be a matrix, and none of these shards is there and whole."""
        if not self._asked.config.edges.matrix:
            return False
        if any(integrity.is_matrix(path) for path in self.wrong):
            return True
        made_of = matrix.made_of(self.done)
        return matrix.written(self._asked.place, self._found.fingerprint, made_of) is None

    @property
    def complete(self) -> bool:
        """Whether there is nothing to do."""
        return len(self.done) == self._found.n_shards and not self.wrong and not self.lacks_matrix


def _work(
    asked: _Asked, found: Manifest, state: _State, drain: Drain, lock: DriverLock, verify: bool
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

    _prepare_again(asked, found, state.wrong)
    with open_executor(asked.config.execute, _task_bytes(asked, found)) as executor:
        drain.install()
        if verify:
            for shard in _damaged(executor.on_cpu(), tasks(state.done), drain):
                footer = state.forget(shard)
                tally.forget(footer.n_pairs, footer.n_not_ok)
            state.wrong |= _damaged_files(executor.on_cpu(), asked, found, drain)
            _prepare_again(asked, found, state.wrong)
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


def _prepare_again(asked: _Asked, found: Manifest, wrong: dict[str, str]) -> None:
    """Make the plan and the prepared data again where they are damaged, from the same input."""
    damaged = sorted(path for path in wrong if integrity.is_input(path))
    if not damaged:
        return
    place, config = asked.place, found.resolved()
    first = f"{(place / damaged[0]).url} {wrong[damaged[0]]}"
    log.warning("preparing the data again: %s", first)
    try:
        manifest.refuse_other(found, config, _digests(config), place.url)
        table = read_table(config.data)
        names, dims = outline(table, config.data)
        digests = (
            manifest.write_plan(place, make_plan(config, names, dims, table.n_samples)),
            prepare(table, config.data, place),
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
        del wrong[path]


def _damaged_files(
    executor: Executor, asked: _Asked, found: Manifest, drain: Drain
) -> dict[str, str]:
    """What is lost or damaged but shards, by path; every byte is read."""
    place = asked.place
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
    for path in sorted(wrong):
        if not (integrity.is_input(path) or integrity.is_matrix(path)):
            _say_file(asked, path, wrong.pop(path))
    return wrong


def _say_file(asked: _Asked, path: str, why: str) -> None:
    log.warning(
        "%s %s. The command that wrote it (`mmg-ray genomics`, `mmg-ray neural`) writes it again",
        (asked.place / path).url,
        why,
    )


def _task_bytes(asked: _Asked, found: Manifest) -> float:
    """Memory that a task is given: the largest shard's, or a band's of the matrix."""
    dims = Prepared.open(asked.place, found.prepared_digest).dims
    plan = manifest.read_plan(asked.place, found.plan_digest)
    peak = projection(asked.config, plan, dims, found.n_samples).peak_bytes
    return max(peak, TASK_BYTES + matrix.BAND_BYTES) if asked.config.edges.matrix else peak


def _damaged(executor: Executor, tasks: Sequence[ShardTask], drain: Drain) -> list[int]:
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
    executor: Executor, place: Location, found: Manifest, state: _State, drain: Drain
) -> None:
    """Assemble the matrix from the edges, a band a task."""
    fingerprint = found.fingerprint
    names = Prepared.open(place, found.prepared_digest).names
    log.info("assembling the matrix of %s variables", f"{len(names):,}")
    written = matrix.create(place, names)
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
