"""Estimates as columns and as rows: the same values, in memory and in the edge table."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mmg_ray.schema import EDGE_COLUMNS, Labels, PairEstimate, PairEstimates, Status, Stop
from mmg_ray.store.edge_table import edge_schema, edge_table

NUMBERS = [c.name for c in EDGE_COLUMNS if c.dtype == "float64"]
GOOD = PairEstimate(
    Status.OK,
    120,
    "gaussian",
    Stop.FORCED,
    **{name: 0.1 * k for k, name in enumerate(NUMBERS)},
)
ROWS = [
    GOOD,
    PairEstimate(Status.CONSTANT, 120, "gaussian", message="g: one value only"),
    replace(GOOD, denoiser="neural", stop=Stop.CONVERGED, p_value=None, spearman=None),
    PairEstimate(Status.FAILED, 7, "neural", message="ZeroDivisionError: no"),
    replace(GOOD, stop=Stop.WEAK, mi_nats=0.0),
]


def test_rows_survive_as_columns() -> None:
    estimates = PairEstimates.from_rows(ROWS)
    assert list(estimates) == ROWS
    assert len(estimates) == 5
    assert (estimates[-1], estimates[1]) == (ROWS[-1], ROWS[1])
    assert estimates[0].status is Status.OK
    assert estimates[2].stop is Stop.CONVERGED
    assert estimates.ok.tolist() == [True, False, True, False, True]
    assert estimates.n_samples.dtype == np.int32
    assert all(getattr(estimates, name).dtype == np.float64 for name in NUMBERS)


def test_columns_are_taken_and_joined_like_rows() -> None:
    estimates = PairEstimates.from_rows(ROWS)
    assert list(estimates.take(np.array([3, 0, 3]))) == [ROWS[3], ROWS[0], ROWS[3]]
    parts = [PairEstimates.from_rows(rows) for rows in (ROWS[3:], [], ROWS[:3])]
    assert list(PairEstimates.concatenate(parts)) == ROWS[3:] + ROWS[:3]
    assert list(PairEstimates.from_rows([])) == []


def test_columns_of_different_lengths_are_refused() -> None:
    columns = PairEstimates.from_rows(ROWS).columns()
    with pytest.raises(ValueError, match="'ess': 2"):
        PairEstimates(**columns | {"ess": np.zeros(2)})


def test_labels() -> None:
    labels = Labels.of(["b", None, "a", "b"])
    assert [labels[k] for k in range(4)] == ["b", None, "a", "b"]
    assert labels.isin(["a", "c"]).tolist() == [False, False, True, False]
    unused = Labels(labels.codes, (*labels.texts, "c"))
    assert unused.counts() == {"a": 1, "b": 2}
    joined = Labels.concatenate([labels, Labels.same("a", 2), Labels.of([None])])
    assert [joined[k] for k in range(7)] == ["b", None, "a", "b", "a", "a", None]


def test_the_edge_table_holds_the_rows() -> None:
    names = ["g", "h", "i", "j"]
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]])
    table = edge_table(names, pairs, PairEstimates.from_rows(ROWS))
    assert table.schema == edge_schema()
    for (i, j), expected, row in zip(pairs, ROWS, table.to_pylist(), strict=True):
        assert (row["i"], row["j"]) == (i, j)
        assert (row["source"], row["target"]) == (names[i], names[j])
        assert {f.name: row[f.name] for f in fields(expected)} == vars(expected)


def test_every_reason_to_stop_is_explained() -> None:
    assert all(stop.reason for stop in Stop)
