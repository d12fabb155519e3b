"""Feature types: of a file that holds several kinds of features, gene expression is used unless told otherwise."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources.select import choose_variables, nearest
from mmg_ray.store.sources.table import Contents

EXPRESSION = "Gene Expression"


def keep_types(
    contents: Contents, keep: np.ndarray, cfg: DataConfig
) -> tuple[np.ndarray, list[str]]:
    """Those of the positions `keep` whose feature type is wanted, and what there is to say about it.

    Antibody tags, peaks or guides have a depth of their own: as genes they would depend on
    everything, and be added to the depth of the cells.

    Raises DataError for a type that the file does not have, for several types without gene expression
    and no choice, and for a variable that is asked for by name but is of another type.
    """
    types = contents.feature_types
    if types is None:
        if cfg.feature_types:
            raise DataError(
                f"data.feature_types is {list(cfg.feature_types)}, but {cfg.path} does not say of what "
                "type its features are; leave it out, or choose by name with data.variables"
            )
        return keep, []
    wanted = _wanted(types, cfg)
    is_wanted = np.array([kind in wanted for kind in types])
    for pattern in cfg.variables:
        hits = choose_variables(contents.names, [pattern], [])
        if not is_wanted[hits].any():
            raise DataError(
                f"data.variables: {pattern!r} is of feature type {types[hits[0]]!r}, and only "
                f"{', '.join(sorted(wanted))} is read; set data.feature_types: "
                f"[{', '.join([*sorted(wanted), types[hits[0]]])}]"
            )
    kept = keep[is_wanted[keep]]
    if kept.size == 0:
        raise DataError(
            f"data.variables and data.exclude keep no feature of type {', '.join(sorted(wanted))} of "
            f"{cfg.path}; see data.feature_types"
        )
    out = Counter(kind for kind in types if kind not in wanted)
    if not out and (wanted == {EXPRESSION} or len(wanted) > 1):
        return kept, []
    note = f"features: {_counted(Counter(k for k in types if k in wanted))}"
    if out:
        note += f"; left out: {_counted(out)} (data.feature_types chooses)"
    return kept, [note]


def _wanted(types: list[str], cfg: DataConfig) -> set[str]:
    known = list(dict.fromkeys(types))
    if not cfg.feature_types:
        expression = {kind for kind in known if kind.lower() == EXPRESSION.lower()}
        if not expression and len(known) > 1:
            raise DataError(
                f"{cfg.path} has features of several types ({_counted(Counter(types))}), and none is "
                f"{EXPRESSION!r}; say which to read with data.feature_types: [{known[0]}]"
            )
        return expression or set(known)
    if "*" in cfg.feature_types:
        return set(known)
    found: set[str] = set()
    for name in cfg.feature_types:
        same = {kind for kind in known if kind.lower() == name.lower()}
        if not same:
            raise DataError(
                f"data.feature_types: {cfg.path} has no features of type {name!r}{nearest(name, known)}"
            )
        found |= same
    return found


def _counted(types: Counter[str]) -> str:
    return ", ".join(f"{n:,} of {kind or '(no type)'}" for kind, n in types.most_common())
