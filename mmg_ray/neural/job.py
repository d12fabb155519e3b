"""The job: read, look, cut into samples, run, write what is asked for.

Under output.url are the run itself and

    input/left_out.tsv        every unit, trial and channel that is not in the run, with the reason
    neural.json               the configuration, and what was found and done on the way
    files.json                digests of neural.json, left_out.tsv, network/ and the report
    network/                  the files of the section network
    report.html               one page
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mmg_ray import config as configuration
from mmg_ray.config import Config, EstimatorConfig, LagsConfig
from mmg_ray.errors import ConfigError
from mmg_ray.execute import driver, lags
from mmg_ray.jobs import begin_beside, write_groups
from mmg_ray.neural.bins import TRIAL
from mmg_ray.neural.config import NeuralConfig, changed
from mmg_ray.neural.readers import read
from mmg_ray.neural.recordings import Recording
from mmg_ray.neural.samples import Samples, samples
from mmg_ray.runs import Run
from mmg_ray.store.sources.in_memory import IN_MEMORY
from mmg_ray.store.sources.table import Table

_SECTIONS = configuration.known_keys([])
# fields that recordings have no use for, and fields that do nothing unless another is set
_NO_USE = {
    "data.groups": "between.areas makes the groups of a run",
    "data.strata": "samples of a recording depend on one another; data.conditions takes out the same",
    "data.samples": "it chooses rows of tables; see recording.start_s and stop_s",
    "data.subsample": "it draws samples at random, and those of a recording follow one another",
    "lags.sample_s": "it is bins.width_s",
    "lags.trials": "bins.align makes the trials",
    "data.subsample_seed": "it is of data.subsample, and samples of a recording are not drawn",
}
_NEEDS = {
    "bins.trials": "bins.align",
    "bins.window_s": "bins.align",
}
_RATE = 0.05  # false-discovery rate of what is said of lags


def inputs(cfg: NeuralConfig, found: Recording | None = None) -> Samples:
    """What a configuration would run, of its file or of a recording that was handed over.

    ConfigError or DataError, naming value, reason and way out.
    """
    _check(cfg, found)
    made = samples(read(cfg) if found is None else found, cfg)
    lags.check(replace(cfg, lags=_lags(made, cfg)))
    if cfg.lags.max_s is not None:
        starts = np.arange(0, made.table.n_samples, made.table.n_samples // made.n_segments)
        dims = np.full(made.table.n_variables, 2 if made.areas else 1)
        lags.check_samples(replace(cfg, lags=_lags(made, cfg)), starts, made.table.n_samples, dims)
    if cfg.estimator.nulls.kind == "permutation":
        kind = _of_time(made, cfg.estimator).nulls.kind
        made.notes.append(
            f"nulls:   estimator.nulls.kind is {kind}: samples of a recording depend on one another"
        )
    return made


def stored(made: Samples, cfg: NeuralConfig) -> tuple[Config, Table]:
    """Write what is to be beside a run; its configuration and its table."""
    metadata = {k: v for k, v in made.table.metadata.items() if k not in made.table.names}
    rows = [("name", "reason"), *made.left_out]
    place = begin_beside(cfg.output.url, "neural.json", cfg, made.notes, rows)
    tree = {k: v for k, v in configuration.to_dict(cfg).items() if k in _SECTIONS}
    tree["data"] = {
        "path": IN_MEMORY,
        "conditions": cfg.data.conditions,
        "missing": cfg.data.missing,
    }
    if made.areas:
        tree["data"]["groups"] = write_groups(place, "areas", made.areas.items())
    if made.stimuli:
        tree["pairs"] = {"mode": "bipartite", "sources": made.stimuli}
    tree["estimator"] = configuration.to_dict(_of_time(made, cfg.estimator))
    tree["lags"] = configuration.to_dict(_lags(made, cfg))
    tree["output"] = {"url": place.url}
    return configuration.from_dict(tree), replace(made.table, metadata=metadata, notes=[])


def _lags(made: Samples, cfg: NeuralConfig) -> LagsConfig:
    """The section of the run: a sample is a bin, and trials are those of the recording."""
    if cfg.lags.max_s is None:
        return cfg.lags
    return replace(cfg.lags, sample_s=made.width_s, trials=TRIAL if made.n_segments > 1 else None)


def go(
    cfg: NeuralConfig, say: Any = None, found: Recording | None = None
) -> tuple[Samples, Run, list[str]]:
    """Do all that a configuration asks for: (input, run, what was written). `found` as in `inputs`."""
    made = inputs(cfg, found)
    if callable(say):
        for line in made.notes:
            say(line)
    settings, table = stored(made, cfg)
    run = Run(driver.run(settings, table=table).url)
    said = [] if cfg.lags.max_s is None else [_lags_line(run)]
    return made, run, [*said, *cfg.network.write(run, ["neural.json", "input/left_out.tsv"])]


def _of_time(made: Samples, cfg: EstimatorConfig) -> EstimatorConfig:
    """Nulls of series, or of trials: samples of a recording are never independent."""
    if cfg.nulls.kind != "permutation":
        return cfg
    if made.n_segments == 1:
        return replace(cfg, nulls=replace(cfg.nulls, kind="shift"))
    n_bins = made.table.n_samples // made.n_segments
    return replace(cfg, nulls=replace(cfg.nulls, kind="block", block_samples=n_bins))


def _check(cfg: NeuralConfig, found: Recording | None) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    for option, reason in _NO_USE.items():
        if changed(cfg, option):
            raise ConfigError(f"{option} is of no use to recordings: {reason}")
    for option, needed in _NEEDS.items():
        if changed(cfg, option) and not changed(cfg, needed):
            raise ConfigError(
                f"{option} does nothing without {needed}; set {needed}, or leave it out"
            )
    stimulus = bool(cfg.between.stimulus or cfg.between.stimulus_path or (found and found.stimuli))
    if stimulus and cfg.pairs != configuration.PairsConfig():
        raise ConfigError("between.stimulus says which pairs are estimated; leave out pairs")
    if stimulus and cfg.between.areas is not None:
        raise ConfigError("between.areas and between.stimulus are two runs; leave out one")
    if cfg.bins.window_s[0] >= cfg.bins.window_s[1]:
        raise ConfigError(f"bins.window_s {list(cfg.bins.window_s)} ends before it begins")
    cfg.network.check()


def _lags_line(run: Run) -> str:
    found = run.network([f"fdr={_RATE}"])
    i, j, lag = (found.table[name].to_numpy() for name in ("i", "j", "lag_s"))
    # an edge at lag 0 leads both ways
    n_neither = int((lag == 0).sum()) // 2
    ahead, behind = (int(((lag > 0) & side).sum()) for side in (i < j, i > j))
    return (
        f"lags:    {ahead + behind + n_neither:,} of {run.n_tests():,} pairs at q <= {_RATE:g}; the source leads in "
        f"{ahead:,}, the target in {behind:,}, neither in {n_neither:,}"
    )
