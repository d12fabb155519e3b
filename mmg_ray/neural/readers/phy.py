"""Folders of phy and Kilosort: spike times in samples, the cluster of each, labels of the clusters."""

from __future__ import annotations

import ast
import csv
import io

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.readers import beside
from mmg_ray.neural.readers.npz import by_unit, flat, read_npy, unit_name
from mmg_ray.neural.recordings import Recording
from mmg_ray.store.location import Location
from mmg_ray.store.sources.files import locate, unreadable
from mmg_ray.store.sources.select import nearest

_TIMES, _CLUSTERS, _TEMPLATES = "spike_times.npy", "spike_clusters.npy", "spike_templates.npy"
_PARAMS = "params.py"
# a cluster's label: what a person said (group), else what the sorter did
_LABELS = (
    ("cluster_group.tsv", "group"),
    ("cluster_groups.csv", "group"),  # of the first versions of phy
    ("cluster_info.tsv", "group"),
    ("cluster_KSLabel.tsv", "KSLabel"),
    ("cluster_group.tsv", "KSLabel"),  # a copy that Kilosort writes
    ("cluster_info.tsv", "KSLabel"),
)
_UNLABELLED = ("", "nan", "unsorted")


def folder_of(url: str) -> str | None:
    """The folder of a sorting that `url`, or a file in it, names; None where it is none."""
    for name in (_PARAMS, _TIMES, _CLUSTERS):
        if url.endswith(f"/{name}") or url == name:
            return url[: -len(name)].rstrip("/") or "."
    place = Location(url)
    return url if (place / _TIMES).exists() else None


def read_phy(cfg: NeuralConfig) -> Recording:
    """Spikes of the clusters that recording.quality asks for, in seconds."""
    folder = locate(folder_of(cfg.data.path) or cfg.data.path)
    if not (folder / _TIMES).exists():
        raise DataError(f"{folder.url} has no {_TIMES}, as folders of phy and Kilosort have")
    step_s, notes = _sample_s(folder, cfg)
    owners = _CLUSTERS
    if not (folder / _CLUSTERS).exists():
        owners = _TEMPLATES
        if not (folder / _TEMPLATES).exists():
            raise DataError(
                f"{folder.url} has neither {_CLUSTERS} nor {_TEMPLATES}: whose are the spikes?"
            )
        notes.append(
            f"phy:     there is no {_CLUSTERS}, so units are the templates of {_TEMPLATES}"
        )
    times = flat(read_npy(folder / _TIMES))
    if (times != np.floor(times)).any():
        raise DataError(
            f"{folder.url}/{_TIMES} holds fractions, and sorters write whole samples; save the times with "
            f"{owners} as spike_times and spike_clusters of an npz file"
        )
    spikes = by_unit(
        times * step_s,
        flat(read_npy(folder / owners)),
        f"{folder.url}: {_TIMES}, {owners}",
    )
    spikes, left_out = _of_quality(spikes, folder, cfg, notes)
    column = cfg.between.areas
    areas = {} if column is None or beside.is_table(column) else _areas(folder, column)
    return Recording(spikes=spikes, areas=areas, in_seconds=True, notes=notes, left_out=left_out)


def _sample_s(folder: Location, cfg: NeuralConfig) -> tuple[float, list[str]]:
    """Seconds of a sample: recording.time_unit_s, else the `sample_rate` that params.py assigns."""
    unit_s = cfg.recording.time_unit_s
    if unit_s is not None:
        return unit_s, [f"phy:     a sample is {unit_s:g} s, by recording.time_unit_s"]
    params = folder / _PARAMS
    rate = _assigned(params.read_text(), "sample_rate") if params.exists() else None
    if rate is None or not rate > 0:
        raise DataError(
            f"{folder.url}: spike times are in samples, and "
            f"{f'{_PARAMS} assigns no number to sample_rate' if params.exists() else f'there is no {_PARAMS}'}; "
            "set recording.time_unit_s: 1 / the sampling rate (3.3333333e-5 at 30 kHz)"
        )
    return 1 / rate, [f"phy:     {rate:g} samples a second, of {_PARAMS}"]


def _assigned(source: str, name: str) -> float | None:
    """The number that Python source assigns to a name. It is parsed, never executed."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in statement.targets
        ):
            try:
                return float(ast.literal_eval(statement.value))
            except (ValueError, TypeError):
                return None
    return None


def _of_quality(
    spikes: dict[str, np.ndarray], folder: Location, cfg: NeuralConfig, notes: list[str]
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """The units of the wanted labels; the others, with theirs."""
    labels: dict[str, str] = {}
    sources = []
    for file, column in _LABELS:
        found = _column(folder, file, column)
        new = {u: v for u, v in found.items() if u not in labels and v.lower() not in _UNLABELLED}
        if new:
            sources.append(f"{column} of {file}")
        labels |= new
    wanted = cfg.recording.quality
    if not labels or not wanted:
        notes.append(
            f"quality: all {len(spikes)} units, {'recording.quality names none' if labels else 'none is labelled'}"
        )
        return spikes, []
    known = sorted({label for unit, label in labels.items() if unit in spikes})
    for label in wanted:
        if label not in known:
            raise ConfigError(
                f"recording.quality: no unit of {folder.url} is {label!r}{nearest(label, known)} Labels: "
                f"{', '.join(known)}; [] takes every unit"
            )
    kept = {unit: times for unit, times in spikes.items() if labels.get(unit) in wanted}
    others = [labels.get(unit, "unlabelled") for unit in spikes if unit not in kept]
    counted = ", ".join(f"{others.count(label)} {label}" for label in sorted(set(others)))
    notes.append(
        f"quality: {len(kept)} of {len(spikes)} units are {' or '.join(wanted)} ({', else '.join(sources)}); "
        f"left out: {counted or 'none'}. recording.quality chooses"
    )
    left_out = [
        (unit, f"is {labels.get(unit, 'unlabelled')}, recording.quality is {', '.join(wanted)}")
        for unit in spikes
        if unit not in kept
    ]
    return kept, left_out


def _areas(folder: Location, column: str) -> dict[str, str]:
    """{unit: value} of a column of cluster_info.tsv, or of the cluster_*.tsv that is called so."""
    for file in ("cluster_info.tsv", f"cluster_{column}.tsv"):
        if found := _column(folder, file, column):
            return found
    raise DataError(
        f"between.areas: {column!r} is a column neither of {folder.url}/cluster_info.tsv nor of "
        f"cluster_{column}.tsv"
    )


def _column(folder: Location, file: str, column: str) -> dict[str, str]:
    """{unit: text} of a cluster_*.tsv; empty where there is no such file or column."""
    if not (folder / file).exists():
        return {}
    try:
        text = (folder / file).read_bytes().decode("utf-8-sig")
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        ids = next((name for name in ("cluster_id", "id") if rows and name in rows[0]), None)
        if ids is None or column not in rows[0]:
            return {}
        return {unit_name(int(float(row[ids]))): (row[column] or "").strip() for row in rows}
    except (TypeError, ValueError, OverflowError, csv.Error) as error:
        raise unreadable(folder / file, "tsv of clusters", error) from None
