"""What is done before the first shard: the configuration, the run that is there, preparing, the plan, the pilot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import yaml

from mmg_ray import config as configuration
from mmg_ray.config import Config
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.estimator.cascade.denoisers import denoiser
from mmg_ray.execute import lags, pilot
from mmg_ray.execute.numerics import library_threads, numerical_environment
from mmg_ray.execute.planning import input_digests, make_plan, outline, read_input, task_device
from mmg_ray.execute.progress import each
from mmg_ray.plan.tiles import Plan
from mmg_ray.store import manifest, selection
from mmg_ray.store.location import Location
from mmg_ray.store.manifest import Manifest
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.preparing import prepare
from mmg_ray.store.reuse import Reuse
from mmg_ray.store.sources import Table
from mmg_ray.store.strata import described

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A configuration, the place of its run with an absolute URL, and the run if asked for by URL.

    `table` holds the data where they are in no file.
    """

    config: Config
    place: Location
    found: Manifest | None
    table: Table | None = None

    def digests(self) -> dict[str, str]:
        return input_digests(self.config, self.table)


def configure(
    what: Config | str | os.PathLike[str],
    overrides: Iterable[str],
    table: Table | None = None,
) -> Asked:
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
    return Asked(config, Location(config.output.url).absolute(), found, table)


def check(asked: Asked) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    denoiser(asked.config.estimator.denoiser)
    selection.check(asked.config.pairs)
    lags.check(asked.config)
    _check_strata(asked.config)
    task_device(asked.config.execute)
    if asked.config.execute.executor == "ray" and asked.place.url.startswith("memory:"):
        raise ConfigError(
            f"output.url is {asked.place.url!r}, which only this process can see; set "
            "execute.executor: serial, or store the run elsewhere"
        )


def _check_strata(config: Config) -> None:
    """ConfigError where there is no test or estimate within strata."""
    if not config.data.strata:
        return
    others = {
        "data.conditions, another way to take out the same": bool(config.data.conditions),
        "lags.max_s": config.lags.max_s is not None,
        f"estimator.nulls.kind: {config.estimator.nulls.kind}": config.estimator.nulls.kind
        != "permutation",
    }
    for what, there in others.items():
        if there:
            raise ConfigError(f"data.strata does not go with {what}; leave out one of them")


def resume(asked: Asked) -> Manifest:
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


def begin(asked: Asked, digests: dict[str, str]) -> Manifest:
    """Read and prepare the data, plan, and freeze both. DataError if the input is not what it was."""
    config, place = asked.config, asked.place
    if config.plan.reuse is not None:
        Reuse(config).require_complete()
    table = read_input(config, asked.table)
    names, dims = outline(table, config.data)
    plan = make_plan(config, table, names, dims)
    log.info("preparing %s variables x %s samples", f"{len(names):,}", f"{table.n_samples:,}")
    digest = prepare(
        table, config.data, place, config.lags.trials, partial(each, what="preparing, parts")
    )
    prepared = Prepared.open(place, digest)
    strata = prepared.strata()
    if strata is not None:
        log.info("%s", described(strata, config.data.strata))
    changed = [name for name, digest in asked.digests().items() if digest != digests[name]]
    if changed:
        raise DataError(
            f"{config.data.path}, or a file that belongs to it, was replaced or written to while it was "
            f"read (the {' and the '.join(changed)} changed), so nothing was begun. Wait until it is "
            "whole, and start again"
        )
    learned = _learn(config, plan, prepared)
    environment = numerical_environment()
    return manifest.write(
        place, config, digests, plan, table.n_samples, digest, environment, learned
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
            prepared.strata(),
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
