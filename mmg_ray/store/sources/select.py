"""Which variables and samples of a file a run uses: patterns, filters, duplicate names."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate

import numpy as np

from mmg_ray.errors import DataError


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the closest known name, or a note that there is none."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"; did you mean {found[0]!r}?" if found else "; there is none to choose from."


_VERSION = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$", re.IGNORECASE)


def unversioned(name: str) -> str:
    """An Ensembl identifier without its version: ENSG00000141510.18 is ENSG00000141510."""
    return _VERSION.sub(r"\1", name)


def match_names(wanted: Sequence[str], names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """{wanted: name} of those that are there, by spelling or else without the versions of identifiers.

    Also gives notes on how: an identifier whose version differs is matched where that is unambiguous, and
    other ways of writing letters are counted, not matched.
    """
    there = set(names)
    found = {name: name for name in wanted if name in there}
    by_bare: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_bare[unversioned(name)].append(name)
    loose = {
        name: same[0]
        for name in wanted
        if name not in found and len(same := by_bare.get(unversioned(name), [])) == 1
    }
    upper = {name.upper() for name in names}
    cased = sum(name.upper() in upper for name in wanted if name not in found and name not in loose)
    notes = []
    if loose:
        first, name = next(iter(loose.items()))
        notes.append(
            f"{len(loose):,} identifiers matched without their version, as {first} and {name}"
        )
    if cased:
        notes.append(f"{cased:,} more would match if case did not count, and are left out")
    return {name: (found | loose)[name] for name in wanted if name in found or name in loose}, notes


def choose_variables(
    names: Sequence[str], variables: Sequence[str], exclude: Sequence[str]
) -> np.ndarray:
    """Positions, in file order, of the names that match `variables` and none of `exclude`.

    An exact name goes before a pattern of the same spelling. Raises DataError for a name or a
    pattern that matches nothing, and when nothing is left.
    """
    positions: dict[str, list[int]] = defaultdict(list)
    for v, name in enumerate(names):
        positions[name].append(v)
    kept = _matches(positions, variables, "data.variables")
    kept -= _matches(positions, exclude, "data.exclude")
    if not kept:
        raise DataError(
            f"data.variables {list(variables)} without data.exclude {list(exclude)} keeps none of "
            f"the {len(names)} variables; widen the one or narrow the other"
        )
    return np.array(sorted(kept), dtype=np.int64)


def _matches(positions: Mapping[str, list[int]], patterns: Sequence[str], key: str) -> set[int]:
    found: set[int] = set()
    for pattern in patterns:
        if pattern in positions:
            hits = [pattern]
        else:
            match = re.compile(translate(pattern)).match
            hits = [name for name in positions if match(name)]
        if not hits:
            raise DataError(
                f"{key}: {pattern!r} matches no variable{nearest(pattern, positions)} "
                "Names and * patterns are case-sensitive"
            )
        found.update(v for name in hits for v in positions[name])
    return found


def unique_names(names: Sequence[str], positions: Sequence[int], *, number: bool) -> list[str]:
    """The names of the kept variables, each once.

    Repeated ones raise DataError or, with `number`, get -1, -2, ... after the first, as AnnData's
    `var_names_make_unique` does. `positions` are the variables' places in the file.
    """
    for position, name in zip(positions, names, strict=True):
        if not name.strip():
            raise DataError(
                f"the variable at position {position} (from 0) has no name; name it in the file"
            )
    counts = Counter(names)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated and not number:
        places = [int(p) for p, name in zip(positions, names, strict=True) if name == repeated[0]]
        others = f" ({len(repeated)} names are repeated)" if len(repeated) > 1 else ""
        raise DataError(
            f"variable {repeated[0]!r} occurs {counts[repeated[0]]} times, at positions "
            f"{', '.join(map(str, places))} (from 0){others}. Rename them, leave them out with "
            "data.exclude, or set data.duplicate_names: number"
        )
    taken = set(names)
    used: set[str] = set()
    unique = []
    for name in names:
        fresh, k = name, 0
        while fresh in used or (k and fresh in taken):
            k += 1
            fresh = f"{name}-{k}"
        used.add(fresh)
        unique.append(fresh)
    return unique


def choose_samples(
    metadata: Mapping[str, np.ndarray],
    wanted: Mapping[str, str | tuple[str, ...]],
    n_samples: int,
) -> np.ndarray:
    """(N,) bool: samples whose metadata have one of the wanted values, in every wanted column.

    Values are compared as text: 1 and 1.0 are '1', a boolean is 'true' or 'false', a missing
    value is ''. Raises DataError for an unknown column or a value that never occurs.
    """
    keep = np.ones(n_samples, dtype=bool)
    for column, values in wanted.items():
        if column not in metadata:
            raise DataError(
                f"data.samples: {column!r} is no metadata column{nearest(column, metadata)} "
                "A csv, tsv or parquet file needs it listed in data.metadata"
            )
        texts = np.array([_text(value) for value in metadata[column]])
        accepted = [values] if isinstance(values, str) else list(values)
        for value in accepted:
            if value not in texts:
                raise DataError(
                    f"data.samples: no sample has {column!r} = {value!r}"
                    f"{nearest(value, sorted(set(texts.tolist())))}"
                )
        keep &= np.isin(texts, accepted)
    if wanted and not keep.any():
        raise DataError(
            f"data.samples {dict(wanted)} keeps none of the {n_samples} samples: no sample meets "
            "all of its conditions; drop one"
        )
    return keep


def draw_samples(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of the (N,) positions at random, without replacement and in their order."""
    count = max(1, round(share * rows.size))
    drawn: np.ndarray = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    return drawn


def _text(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else str(value)
    return "" if value is None else str(value)
