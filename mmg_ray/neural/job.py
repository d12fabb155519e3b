"""The job: read, look, cut into samples, run, look for lags and directions, write what is asked for.

Under output.url are the run itself and

    input/samples-*.parquet   the table that was run, named by its digest
    input/left_out.tsv        every unit, trial and channel that is not in it, with the reason
    neural.json               the configuration, and what was found and done on the way
    files.json                digests of neural.json, left_out.tsv, network/ and the report
    network/                  the files of the section network, and lags.csv
    report.html               one page, with the lags
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from mmg_ray import config as configuration
from mmg_ray.config import Config, EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.execute import driver
from mmg_ray.execute.progress import each
from mmg_ray.network.significance import QValues
from mmg_ray.neural import lags as of_lags
from mmg_ray.neural.config import NeuralConfig, changed
from mmg_ray.neural.readers import read
from mmg_ray.neural.samples import Samples, samples
from mmg_ray.report.page import figure, section, table
from mmg_ray.report.svg import Chart, ticks
from mmg_ray.store.integrity import forget_files
from mmg_ray.store.location import Location
from mmg_ray.store.run import Run

_SECTIONS = configuration.known_keys([])
# fields that recordings have no use for, and fields that do nothing unless another is set
_NO_USE = {
    "data.groups": "between.areas makes the groups of a run",
    "data.samples": "it chooses rows of tables; see recording.start_s and stop_s",
    "data.subsample": "it draws samples at random, and those of a recording follow one another",
    "data.subsample_seed": "it is of data.subsample, and samples of a recording are not drawn",
}
_NEEDS = {
    "bins.trials": "bins.align",
    "bins.window_s": "bins.align",
    "lags.transfer": "lags.max_s",
    "lags.max_q_value": "lags.max_s",
    "lags.own": "lags.transfer",
}
_DRAWN, _POINTS = 6, 41  # curves of the report, and lags of one
_SHOWN = 30  # rows of the report


class Lagged(NamedTuple):
    """The pairs by lag: `rows` as written to lags.csv, `scans` in their order."""

    rows: list[dict[str, Any]]
    scans: list[of_lags.Scan]


def inputs(cfg: NeuralConfig) -> Samples:
    """What a configuration would run. ConfigError or DataError, naming value, reason and way out."""
    _check(cfg)
    made = samples(read(cfg), cfg)
    if cfg.estimator.nulls.kind == "permutation":
        kind = _of_time(made, cfg.estimator).nulls.kind
        made.notes.append(
            f"nulls:   estimator.nulls.kind is {kind}: samples of a recording depend on one another"
        )
    return made


def stored(made: Samples, cfg: NeuralConfig) -> Config:
    """Write an input under the URL of its run; the configuration that runs it."""
    place = Location(cfg.output.url)
    if isinstance(place.fs, LocalFileSystem):
        place = Location(place.path)
    columns = {name: made.table.column(v) for v, name in enumerate(made.table.names)}
    buffer = io.BytesIO()
    metadata = {k: v for k, v in made.table.metadata.items() if k not in columns}
    pq.write_table(pa.table(columns | metadata), buffer)
    data = buffer.getvalue()
    path = place / f"input/samples-{hashlib.sha256(data).hexdigest()[:12]}.parquet"
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    forget_files(place)
    rows = "".join("\t".join(row) + "\n" for row in made.left_out)
    (place / "input/left_out.tsv").write_bytes(("name\treason\n" + rows).encode())
    (place / "neural.json").write_json(
        {"configuration": configuration.to_dict(cfg), "notes": made.notes}
    )
    tree = {k: v for k, v in configuration.to_dict(cfg).items() if k in _SECTIONS}
    tree["data"] = {
        "path": path.url,
        "metadata": list(metadata),
        "variables": list(columns),
        "conditions": cfg.data.conditions,
        "missing": cfg.data.missing,
    }
    if made.areas:
        text = "variable\tgroup\n" + "".join(f"{v}\t{a}\n" for v, a in made.areas.items())
        groups = place / f"input/areas-{hashlib.sha256(text.encode()).hexdigest()[:12]}.tsv"
        groups.write_bytes(text.encode())
        tree["data"]["groups"] = groups.url
    if made.stimuli:
        tree["pairs"] = {"mode": "bipartite", "sources": made.stimuli}
    tree["estimator"] = configuration.to_dict(_of_time(made, cfg.estimator))
    tree["output"] = {"url": place.url}
    return configuration.from_dict(tree)


def go(cfg: NeuralConfig, say: Any = None) -> tuple[Samples, Run, list[str]]:
    """Do all that a configuration asks for: (input, run, what was written)."""
    made = inputs(cfg)
    if callable(say):
        for line in made.notes:
            say(line)
    run = driver.run(stored(made, cfg))
    said, sections = [], []
    beside = ["neural.json", "input/left_out.tsv"]
    if cfg.lags.max_s is not None:
        found = lagged(made, cfg)
        if found.rows:
            _write_csv(Location(run.url) / "network/lags.csv", found.rows)
            beside.append("network/lags.csv")
            said.append(f"wrote:   {run.url}/network/lags.csv ({len(found.rows):,} pairs)")
        said.append(_lags_line(found, cfg))
        sections = [_lags_section(made, found, cfg)]
    return made, run, [*said, *cfg.network.write(run, sections, beside)]


def lagged(made: Samples, cfg: NeuralConfig) -> Lagged:
    """Scan the lags of every pair; MI at the best one and transfer entropy of those that pass."""
    most = round(float(cfg.lags.max_s or 0) / made.width_s)
    n_bins = made.segments.shape[1]
    if not 1 <= most <= n_bins // 2:
        raise ConfigError(
            f"lags.max_s = {cfg.lags.max_s:g} s are {most} bins of {made.width_s:g} s, of "
            f"{n_bins} in a row; it takes 1 to {n_bins // 2}"
        )
    names, values = made.table.names, made.segments
    known = made.columns(cfg.data.conditions)
    condition = of_lags.condition_of(known) if known else None
    used = [
        v
        for v, name in enumerate(names)
        if name not in known and np.nanmax(values[..., v]) > np.nanmin(values[..., v])
    ]
    seed = cfg.estimator.seed
    ready = {v: of_lags.functions(values[..., v], most, condition, seed) for v in used}
    pairs = [p for p in of_lags.pairs_of(names, made.stimuli) if p[0] in ready and p[1] in ready]
    scans = [of_lags.scan(ready[i], ready[j], most, seed) for i, j in pairs]
    p = np.array([s.p_value for s in scans])
    q = QValues([p], len(p)).of(p)
    plain = _untested(made, cfg.estimator)
    past = replace(
        cfg.estimator, nulls=configuration.NullConfig()
    )  # given the past, samples are new
    rows: list[dict[str, Any]] = []
    for (i, j), found, q_value in each(list(zip(pairs, scans, q, strict=True)), "lags, pairs"):
        row: dict[str, Any] = {
            "source": names[i],
            "target": names[j],
            "lag_s": found.peak * made.width_s,
            "p_value": found.p_value,
            "q_value": float(q_value),
        }
        if q_value <= cfg.lags.max_q_value:
            here = of_lags.at_lag(values[..., i], values[..., j], found.peak, plain, known)
            row |= {"mi_nats": here.mi_nats, "se_nats": here.se_nats}
            if cfg.lags.transfer:
                for name, (a, b) in {"forth": (i, j), "back": (j, i)}.items():
                    t = of_lags.transfer(
                        values[..., a], values[..., b], cfg.lags.transfer, cfg.lags.own, past, known
                    )
                    row |= {
                        f"{name}_nats": None if t is None else t.mi_nats,
                        f"{name}_p_value": None if t is None else t.p_value,
                        f"{name}_lag_s": None if t is None else t.lag * made.width_s,
                    }
        rows.append(row)
    order = sorted(range(len(rows)), key=lambda k: (rows[k]["p_value"], rows[k]["source"]))
    return Lagged([rows[k] for k in order], [scans[k] for k in order])


def _of_time(made: Samples, cfg: EstimatorConfig) -> EstimatorConfig:
    """Nulls of series, or of trials: samples of a recording are never independent."""
    if cfg.nulls.kind != "permutation":
        return cfg
    if made.n_segments == 1:
        return replace(cfg, nulls=replace(cfg.nulls, kind="shift"))
    n_bins = made.table.n_samples // made.n_segments
    return replace(cfg, nulls=replace(cfg.nulls, kind="block", block_samples=n_bins))


def _untested(made: Samples, cfg: EstimatorConfig) -> EstimatorConfig:
    """The same without p-values, where a scan has made the test."""
    own = _of_time(made, cfg)
    return replace(own, nulls=replace(own.nulls, max_permutations=0))


def _check(cfg: NeuralConfig) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    for option, reason in _NO_USE.items():
        if changed(cfg, option):
            raise ConfigError(f"{option} is of no use to recordings: {reason}")
    for option, needed in _NEEDS.items():
        if changed(cfg, option) and not changed(cfg, needed):
            raise ConfigError(
                f"{option} does nothing without {needed}; set {needed}, or leave it out"
            )
    stimulus = bool(cfg.between.stimulus or cfg.between.stimulus_path)
    if stimulus and cfg.pairs != configuration.PairsConfig():
        raise ConfigError("between.stimulus says which pairs are estimated; leave out pairs")
    if stimulus and cfg.between.areas is not None:
        raise ConfigError("between.areas and between.stimulus are two runs; leave out one")
    if cfg.bins.window_s[0] >= cfg.bins.window_s[1]:
        raise ConfigError(f"bins.window_s {list(cfg.bins.window_s)} ends before it begins")
    cfg.network.check()


# --- what is said of lags


def _lags_line(found: Lagged, cfg: NeuralConfig) -> str:
    passed = [r for r in found.rows if r["q_value"] <= cfg.lags.max_q_value]
    ahead, behind = (sum(sign * r["lag_s"] > 0 for r in passed) for sign in (1, -1))
    return (
        f"lags:    {len(passed):,} of {len(found.rows):,} pairs at q <= {cfg.lags.max_q_value:g}; the "
        f"source leads in {ahead:,}, the target in {behind:,}, neither in {len(passed) - ahead - behind:,}"
    )


def _lags_section(made: Samples, found: Lagged, cfg: NeuralConfig) -> str:
    """Curves of the most significant pairs, and a table."""
    if not found.rows:
        return section("Lags", "<p>No pair has two variables that vary.</p>")
    charts = "".join(
        figure(
            _curve(made, row, cfg),
            f"{row['source']} and {row['target']}: peak at {row['lag_s']:+.3g} s.",
        )
        for row in found.rows[:_DRAWN]
        if row["q_value"] <= cfg.lags.max_q_value
    )
    columns = list(dict.fromkeys(name for row in found.rows[:_SHOWN] for name in row))
    listed = table(columns, [[row.get(name) for name in columns] for row in found.rows[:_SHOWN]])
    transfer = (
        "<p>forth and back: transfer entropy from source to target and from target to source, nats: what "
        "the past of one says of the other that its own past does not.</p>"
        if cfg.lags.transfer
        else ""
    )
    given = f", given {', '.join(cfg.data.conditions)}" if cfg.data.conditions else ""
    text = (
        f"<p>{_lags_line(found, cfg)[9:]}. A lag is positive where the source leads. p-values are of the "
        f"largest dependence within {cfg.lags.max_s:g} s either way{given}, against "
        f"{'trials paired anew' if made.n_segments > 1 else 'series turned against one another'}.</p>"
        f"<div class='row'>{charts}</div>{transfer}<div class='scroll'>{listed}</div>"
    )
    return section("Lags", text)


def _curve(made: Samples, row: dict[str, Any], cfg: NeuralConfig) -> Chart:
    """MI at every lag, or at some 40 of them."""
    most = round(float(cfg.lags.max_s or 0) / made.width_s)
    every = np.unique(
        np.append(
            np.linspace(-most, most, min(_POINTS, 2 * most + 1)).round().astype(int),
            round(row["lag_s"] / made.width_s),
        )
    )
    plain = _untested(made, cfg.estimator)
    i, j = (made.table.names.index(row[end]) for end in ("source", "target"))
    x, y = made.segments[..., i], made.segments[..., j]
    known = made.columns(cfg.data.conditions)
    mi = [of_lags.at_lag(x, y, int(lag), plain, known).mi_nats or 0.0 for lag in every]
    seconds = (every * made.width_s).tolist()
    top = max(*mi, 0.01) * 1.1
    low = min(*mi, 0.0)
    chart = Chart(
        f"MI of {row['source']} and {row['target']} by lag",
        (seconds[0], seconds[-1]),
        (low, top),
        f"lag, s (positive: {row['source']} leads)",
        "MI, nats",
        ticks(seconds[0], seconds[-1]),
        ticks(low, top),
    )
    chart.line(seconds, mi)
    chart.line([row["lag_s"], row["lag_s"]], [low, top], "dash")
    return chart


def _write_csv(place: Location, rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    place.write_bytes(text.getvalue().encode())
