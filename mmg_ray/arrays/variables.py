"""Variables and conditions, as the estimator takes them, of columns that were read."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmg_ray.arrays.columns import Column, Kind
from mmg_ray.arrays.samples import Samples, refuse_numbers_as_text
from mmg_ray.config import EstimatorConfig
from mmg_ray.estimator.conditional.conditional_ranks import Condition, label_codes, warnings_of
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.ranks.marginals import MISSING, ordinal_codes
from mmg_ray.schema import Status, Variable

log = logging.getLogger(__name__)


def condition_of(table: Samples | None, cfg: EstimatorConfig) -> Conditioner | None:
    """What pairs are estimated given; named by content, as variables are. None without a condition."""
    if table is None:
        return None
    numbers: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    for k, column in enumerate(table.read()):
        name = table.called(k)
        if column.kind.is_label:
            labels[name] = label_codes(column.values, name)
        else:
            kind = labels if column.kind is Kind.BOOLEAN else numbers
            kind[name] = ordinal_codes(column.values)
    condition = Condition.of("", table.n, list(numbers.values()), list(labels.values()))
    for warning in warnings_of(condition, [*numbers], [*labels]):
        log.warning("%s", warning)
    content = condition.codes.tobytes() + condition.categories.tobytes()
    name = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Conditioner(condition._replace(name=name), cfg.seed)


def codes_of(columns: Sequence[Column], table: Samples, *, as_groups: bool = True) -> np.ndarray:
    """(n, p) columns -> (n, D) ordinal codes; labels without an order as one indicator each."""
    found = []
    for k, column in enumerate(columns):
        if not column.kind.is_label:
            found.append(ordinal_codes(column.values)[:, None])
            continue
        refuse_numbers_as_text(column, table.called(k))
        codes = _by_frequency(label_codes(column.values, table.called(k)))
        levels = np.arange(codes.max(initial=0) + 1)
        if as_groups and len(levels) > 2:
            indicators = (codes[:, None] == levels[1:]).astype(np.int32)
            found.append(np.where(codes[:, None] == MISSING, MISSING, indicators))
        else:
            found.append(codes[:, None])
    return np.concatenate(found, axis=1)


def _by_frequency(codes: np.ndarray) -> np.ndarray:
    """(n,) codes of labels, the most frequent first, then as they come: whatever the labels are called."""
    known = codes != MISSING
    _, first, counts = np.unique(codes[known], return_index=True, return_counts=True)
    place = np.empty(len(counts) + 1, dtype=np.int32)
    place[np.lexsort([first, -counts])] = np.arange(len(counts))
    place[-1] = MISSING  # where code -1 looks
    found: np.ndarray = place[codes]
    return found


def is_one_label(columns: Sequence[Column]) -> bool:
    """Whether a variable is one column of labels, which may have a contingency table."""
    return len(columns) == 1 and columns[0].kind.is_label


def both_named(codes: Mapping[str, np.ndarray]) -> dict[str, Variable]:
    """Variables x and y of these codes.

    They are named by content: the streams, and so the result, do not depend on which one comes first.
    """
    named = {name: variable(found) for name, found in codes.items()}
    if named["x"].name == named["y"].name:  # equal variables have their ties broken apart, too
        named["y"] = replace(named["y"], name=f"{named['y'].name}, again")
    return named


def dense(values: np.ndarray) -> np.ndarray:
    """(n, p) values or codes -> (n, p) ordinal codes of those that there are."""
    return np.stack([ordinal_codes(column) for column in values.T], axis=1)


def variable(codes: np.ndarray, name: str | None = None) -> Variable:
    """A variable of (n, p) codes, named by their digest unless it has a name."""
    if name is None:
        name = hashlib.blake2b(codes.tobytes(), digest_size=16).hexdigest()
    present = codes[(codes != MISSING).all(axis=1)]
    if not len(present):
        return Variable(name, codes, Status.ALL_MISSING)
    varies = np.ptp(present, axis=0) > 0
    if not varies.any():
        return Variable(name, codes, Status.CONSTANT)
    return Variable(name, codes[:, varies])  # a coordinate that never varies says nothing
