"""Which pairs a configuration asks for: names and patterns resolved against the run's variables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from mmg_ray.config import PairsConfig
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.plan.pairs import PairSet, all_pairs, listed, source_pairs
from mmg_ray.store.sources.files import digest as file_digest
from mmg_ray.store.sources.files import locate
from mmg_ray.store.sources.name_table import read_name_table
from mmg_ray.store.sources.select import match_names, nearest

log = logging.getLogger(__name__)


def check(cfg: PairsConfig) -> None:
    """ConfigError where the fields do not fit the mode: nothing given is ignored in silence."""
    given = {
        "sources": bool(cfg.sources),
        "sources_file": cfg.sources_file is not None,
        "path": cfg.path is not None,
    }
    used = {"all": (), "bipartite": ("sources", "sources_file"), "list": ("path",)}[cfg.mode]
    if used and not any(given[name] for name in used):
        raise ConfigError(
            f"pairs.mode is {cfg.mode!r}: give {' or '.join(f'pairs.{name}' for name in used)}"
        )
    for name, is_given in given.items():
        if is_given and name not in used:
            raise ConfigError(
                f"pairs.{name} is given but pairs.mode is {cfg.mode!r}, which does not use it; "
                f"set pairs.mode: {'list' if name == 'path' else 'bipartite'}, or remove it"
            )


def digest(cfg: PairsConfig) -> str:
    """sha256 of the file that lists pairs or sources; empty without one."""
    path = cfg.path if cfg.mode == "list" else cfg.sources_file
    return "" if path is None else file_digest(locate(path))


def resolve(cfg: PairsConfig, names: Sequence[str]) -> PairSet:
    """The pairs of the variables `names`.

    Raises:
        ConfigError: a source that is no variable, or a pattern without a match.
        DataError: a listed pair that names no variable, or one variable twice; no pair at all.
    """
    check(cfg)
    if cfg.mode == "all":
        pairs: PairSet = all_pairs(len(names))
    elif cfg.mode == "bipartite":
        pairs = source_pairs(len(names), _sources(cfg, names))
    else:
        assert cfg.path is not None
        pairs = listed(len(names), _listed(cfg.path, names))
    if pairs.n_pairs == 0:
        raise DataError(
            f"there is no pair to estimate: {len(names)} variable(s), pairs.mode {cfg.mode!r}"
        )
    return pairs


def _sources(cfg: PairsConfig, names: Sequence[str]) -> np.ndarray:
    index = {name: k for k, name in enumerate(names)}
    found: set[int] = set()
    for pattern in cfg.sources:
        matches = [pattern] if pattern in index else [n for n in names if fnmatchcase(n, pattern)]
        if not matches:
            raise ConfigError(
                f"pairs.sources: {pattern!r} matches no variable of this run"
                f"{nearest(pattern, names)}"
            )
        found |= {index[name] for name in matches}
    if cfg.sources_file is not None:
        lines = locate(cfg.sources_file).read_text().splitlines()
        wanted = [name for line in lines if (name := line.strip().strip("\"'").strip())]
        matched, notes = match_names(wanted, names)
        absent = [name for name in wanted if name not in matched]
        for note in notes:
            log.warning("pairs.sources_file: %s", note)
        if len(absent) == len(wanted):
            hint = f"{wanted[0]!r} is no variable{nearest(wanted[0], names)}" if wanted else "empty"
            raise ConfigError(
                f"pairs.sources_file: {cfg.sources_file} names no variable of this run ({hint})"
            )
        if absent:
            # published lists of regulators always name some that were filtered out of the data
            log.warning(
                "%d of the %d names in %s are no variables and are left out: %s%s",
                len(absent),
                len(wanted),
                cfg.sources_file,
                ", ".join(absent[:5]),
                ", ..." if len(absent) > 5 else "",
            )
        found |= {index[name] for name in matched.values()}
    return np.array(sorted(found), dtype=np.int64)


def _listed(path: str, names: Sequence[str]) -> np.ndarray:
    """(P, 2) indices of the table's pairs."""
    index = {name: k for k, name in enumerate(names)}
    rows = read_name_table(path, ("source", "target"), "pairs.path")
    for row, pair in enumerate(rows):
        for name in pair:
            if name not in index:
                raise DataError(
                    f"{path}, pair {row + 1}: {name!r} is no variable of this run"
                    f"{nearest(name, names)}"
                )
        if pair[0] == pair[1]:
            raise DataError(
                f"{path}, pair {row + 1}: {pair[0]!r} is paired with itself; remove the row"
            )
    pairs = [(index[source], index[target]) for source, target in rows]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
