"""MATLAB files of either kind: a matrix of channels, or the spike times of units, a cell of a cell array each."""

from __future__ import annotations

import math

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig, changed
from mmg_ray.neural.readers import beside
from mmg_ray.neural.readers.mat_file import Numbers, Texts, Value, Vectors, open_mat
from mmg_ray.neural.readers.npz import by_unit, flat, pair
from mmg_ray.neural.readers.paths import choose
from mmg_ray.neural.readers.table import series_of
from mmg_ray.neural.recordings import MOST_VALUES, Recording, channel_names, some
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.files import locate

_VARIABLE = "recording.variable"


def read_mat(cfg: NeuralConfig) -> Recording:
    """What recording.variable names, or the one variable that may be a recording."""
    with open_mat(locate(cfg.data.path)) as found:
        name = _chosen(found, cfg)
        notes = [f"mat:     {name}, {found[name]}"]
        if others := [f"{path} ({value})" for path, value in found.items() if path != name]:
            notes.append(f"mat:     beside it {', '.join(others)}")
        owned = _pair(found)
        value = found[name]
        if isinstance(value, Vectors):
            _refuse_of_series(name, cfg)
            return _cells(found, value, cfg, notes)
        if owned is not None and name in owned:
            _refuse_of_series(name, cfg)
            return _by_owner(found, owned, cfg, notes)
        return _series(found, name, cfg, notes)


def _cells(
    found: dict[str, Value], value: Vectors, cfg: NeuralConfig, notes: list[str]
) -> Recording:
    """A unit a cell; MATLAB counts them from 1."""
    trains = value.read()
    numbered = [f"unit{k}" for k in range(1, len(trains) + 1)]
    names = _names(found, cfg, len(trains), notes) or numbered
    _refuse_repeated(names, cfg)
    areas = _areas(found, cfg, names)
    return Recording(spikes=dict(zip(names, trains, strict=True)), areas=areas, notes=notes)


def _by_owner(
    found: dict[str, Value], owned: tuple[str, str], cfg: NeuralConfig, notes: list[str]
) -> Recording:
    """The times of all spikes, and beside them whose they are."""
    if cfg.recording.names is not None:
        raise ConfigError(
            f"recording.names is of cells or channels; units of {owned[1]} go by their numbers"
        )
    times, owners = (flat(_read(found[path])) for path in owned)
    spikes = by_unit(times, owners, f"{cfg.data.path}: {', '.join(owned)}")
    return Recording(spikes=spikes, notes=notes)


def _series(found: dict[str, Value], name: str, cfg: NeuralConfig, notes: list[str]) -> Recording:
    """Times x channels, or with data.transpose channels x times; MATLAB counts channels from 1."""
    value = found[name]
    if not (isinstance(value, Numbers) and value.is_matrix):
        raise ConfigError(
            f"{_VARIABLE}: {name!r} is {value}, and a recording is a matrix, times x channels, or a cell array of "
            f"the spike times of units. There are: {_listed(found)}"
        )
    if math.prod(value.shape) > MOST_VALUES:
        raise DataError(f"{name!r} is {value}, more than fit; store fewer channels or times")
    values = np.asarray(value.read(), float)
    values = values.T if cfg.data.transpose else values
    n_channels = values.shape[1]
    names = _names(found, cfg, n_channels, notes) or channel_names(
        name.rsplit("/", 1)[-1], n_channels, first=1
    )
    areas = _areas(found, cfg, names)
    clock = cfg.recording.time_column
    if clock is not None and clock not in names:  # a variable of its own
        path = choose(list(found), clock.replace(".", "/"), "recording.time_column", "variable")[0]
        times = _read(found[path]).ravel().astype(float)
        if len(times) != len(values):
            raise DataError(
                f"recording.time_column: {path!r} holds {len(times)} times, and {name!r} has {len(values)} rows, "
                f"one a time; {'leave out' if cfg.data.transpose else 'set'} data.transpose if its columns are times"
            )
        values, names = np.column_stack([values, times]), [*names, clock]
    _refuse_repeated(names, cfg)
    series = series_of(Table(values, names, None, {}), cfg, notes)
    return Recording(series=[series], areas=areas, notes=notes)


def _refuse_of_series(name: str, cfg: NeuralConfig) -> None:
    """ConfigError for a field that is set and that spike times have no use for."""
    for option in ("data.transpose", "recording.rate_hz", "recording.time_column"):
        if changed(cfg, option):
            raise ConfigError(
                f"{option} is set, and {name!r} is spike times, which do not use it; leave it out, or "
                f"name a matrix in {_VARIABLE}"
            )


def _chosen(found: dict[str, Value], cfg: NeuralConfig) -> str:
    """The path of the variable to read. ConfigError where none is named and several may be meant."""
    wanted = cfg.recording.variable
    if wanted is not None:
        paths = choose(list(found), wanted.replace(".", "/"), _VARIABLE, "variable")
        if len(paths) > 1:
            raise ConfigError(
                f"{_VARIABLE}: {wanted!r} is a struct of {', '.join(paths)}; name one"
            )
        return paths[0]
    owned = _pair(found)
    candidates = [path for path, value in found.items() if _may_be_recording(value)]
    candidates += [] if owned is None else [owned[0]]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DataError(
            f"{cfg.data.path} holds neither a matrix nor a cell array of spike times, one cell a unit. There are: "
            f"{_listed(found)}. Tables, strings and objects of MATLAB cannot be read outside of it: save "
            "table2array(x), cellstr(x) or a struct"
        )
    listed = ", ".join(f"{path} ({found[path]})" for path in candidates)
    raise ConfigError(
        f"{_VARIABLE}: {len(candidates)} variables may be the recording: {listed}; name one"
    )


def _may_be_recording(value: Value) -> bool:
    if isinstance(value, Vectors):
        return any(max(part.shape) > 1 for part in value.parts if min(part.shape))
    return isinstance(value, Numbers) and value.is_matrix


def _pair(found: dict[str, Value]) -> tuple[str, str] | None:
    """The vector of all spike times and the one that says whose they are, by their usual names."""
    vectors = {p: v for p, v in found.items() if isinstance(v, Numbers) and v.is_vector}
    return pair(vectors)


def _names(
    found: dict[str, Value], cfg: NeuralConfig, n: int, notes: list[str]
) -> list[str] | None:
    """The n texts that recording.names names; what else may be names is said."""
    wanted = cfg.recording.names
    if wanted is not None:
        return _texts(found, wanted, "recording.names", n)
    fitting = [p for p, v in found.items() if isinstance(v, Texts) and len(v.values) == n > 1]
    if fitting:
        notes.append(f"names:   numbered; {some(fitting)} holds {n} texts, see recording.names")
    else:
        notes.append("names:   numbered from 1, as MATLAB does")
    return None


def _areas(found: dict[str, Value], cfg: NeuralConfig, names: list[str]) -> dict[str, str]:
    column = cfg.between.areas
    if column is None or beside.is_table(column):
        return {}
    return dict(zip(names, _texts(found, column, "between.areas", len(names)), strict=True))


def _texts(found: dict[str, Value], name: str, option: str, n: int) -> list[str]:
    """n texts, or numbers as texts. ConfigError for another variable."""
    path = choose(list(found), name.replace(".", "/"), option, "variable")[0]
    value = found[path]
    if isinstance(value, Texts):
        texts = value.values
    elif isinstance(value, Numbers) and value.is_vector:
        texts = [f"{v:g}" for v in value.read().ravel().tolist()]
    else:
        raise ConfigError(f"{option}: {path!r} is {value}, no cell array of texts")
    if len(texts) != n:
        raise ConfigError(f"{option}: {path!r} holds {len(texts)} texts, and there are {n}")
    return texts


def _read(value: Value) -> np.ndarray:
    if not isinstance(value, Numbers):
        raise DataError(f"recording.time_column is {value}, no vector of numbers")
    return value.read()


def _refuse_repeated(names: list[str], cfg: NeuralConfig) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1 or not name.strip()}):
        raise DataError(
            f"recording.names: {cfg.recording.names} holds {repeated[0]!r} more than once, or without a letter; "
            "names tell units apart"
        )


def _listed(found: dict[str, Value]) -> str:
    return ", ".join(f"{path} ({value})" for path, value in found.items()) or "nothing"
