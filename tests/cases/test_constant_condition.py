"""Conditions that say nothing, or too much: no condition and said so, or refused by name; in arrays and in runs."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mmg_ray
from mmg_ray.cli import main
from mmg_ray.config import from_dict
from mmg_ray.errors import DataError
from mmg_ray.execute import task
from mmg_ray.schema import Status

N = 240
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3))
X[:, 1] = 0.6 * X[:, 0] + 0.8 * X[:, 1]
BATCH = RNG.choice(["b1", "b2"], N)
DEPTH = RNG.standard_normal(N)

ONE_VALUE = {
    "label": np.array(["b1"] * N),
    "boolean": np.ones(N, dtype=bool),
    "zero": np.zeros(N),
    "category": pd.Series(["b1"] * N, dtype="category"),
    "dict": {"batch": ["b1"] * N, "depth": np.full(N, 3.5)},
}


def equal(found, expected):
    """The same estimate; streams are named by the codes of all samples, so a few digits may differ."""
    assert found.status is Status.OK
    assert found.mi_nats == pytest.approx(expected.mi_nats, abs=1e-3)
    assert found.se_nats == pytest.approx(expected.se_nats, rel=0.05)
    assert found.p_value == pytest.approx(expected.p_value)


@pytest.mark.parametrize("kind", ONE_VALUE)
@pytest.mark.parametrize("denoiser", ["auto", "screen", "gaussian"])
def test_a_condition_of_one_value_is_no_condition(kind, denoiser, caplog):
    with caplog.at_level(logging.WARNING):
        found = mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition=ONE_VALUE[kind], denoiser=denoiser)
    equal(found, mmg_ray.estimate_mi(X[:, 0], X[:, 1], denoiser=denoiser))
    assert "has one value, so it is no condition" in caplog.text


def test_where_it_is_missing_the_samples_do_not_count():
    known = np.arange(N) < 200
    expected = mmg_ray.estimate_mi(X[known, 0], X[known, 1])
    for condition in (np.where(known, "b1", None), np.where(known, 2.0, np.nan)):
        equal(mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition=condition), expected)
    names = mmg_ray.mi_matrix(X, condition=np.where(known, "b1", None), denoiser="screen")
    assert names.estimates[0, 2].n_samples == 200


def test_a_constant_beside_a_condition_changes_nothing():
    alone = mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition={"b": BATCH})
    both = mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition={"b": BATCH, "one": np.ones(N)})
    assert both.mi_nats == pytest.approx(alone.mi_nats, abs=0.01)


@pytest.mark.parametrize(
    "copy",
    [
        {"b": BATCH, "again": BATCH},
        {"b": BATCH, "renamed": np.where(BATCH == "b1", "z", "a")},
        {"d": DEPTH, "again": DEPTH},
        {"d": DEPTH, "mirrored": -DEPTH},
        {"d": DEPTH, "scaled": np.exp(DEPTH)},
    ],
)
def test_a_repeated_condition_counts_once(copy, caplog):
    first = dict([next(iter(copy.items()))])
    with caplog.at_level(logging.WARNING):
        found = mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition=copy)
    expected = mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition=first)
    assert found.mi_nats == pytest.approx(expected.mi_nats, abs=0.01)
    assert "repeats another" in caplog.text


def test_two_different_conditions_are_both_kept(caplog):
    other = RNG.standard_normal(N)
    shared = X[:, :2] + 2 * DEPTH[:, None] + 2 * other[:, None]
    with caplog.at_level(logging.WARNING):
        found = mmg_ray.estimate_mi(*shared.T, condition={"d": DEPTH, "o": other})
    assert not caplog.records
    assert found.mi_nats < mmg_ray.estimate_mi(*shared.T, condition=DEPTH).mi_nats - 0.1


@pytest.mark.parametrize("denoiser", ["auto", "gaussian"])
def test_vectors_and_transfer_entropy(denoiser):
    cfg = {"config": mmg_ray.EstimatorConfig(denoiser, network={"n_steps": 50})}
    given = mmg_ray.estimate_mi(X[:, :2], X[:, 2], condition=["b1"] * N, **cfg)
    equal(given, mmg_ray.estimate_mi(X[:, :2], X[:, 2], **cfg))
    moved = mmg_ray.transfer_entropy(X[:, 0], X[:, 1], condition={"batch": ["b1"] * N}, **cfg)
    assert moved.status is Status.OK
    nested = {"donor": np.array([f"{b}{k % 3}" for k, b in enumerate(BATCH)]), "batch": BATCH}
    found = mmg_ray.estimate_mi(X[:, :2], X[:, 2], condition=nested, **cfg)
    assert found.status is Status.OK


def test_a_condition_that_varies_only_where_the_pair_is_missing():
    y = np.where(BATCH == "b2", np.nan, X[:, 1])
    found = mmg_ray.estimate_mi(X[:, 0], y, condition=BATCH)
    assert (found.status, found.n_samples) == (Status.OK, int((BATCH == "b1").sum()))
    numbers = mmg_ray.estimate_mi(X[:, 0], y, condition=(BATCH == "b1") * 1.5)
    assert numbers.status is Status.OK
    expected = mmg_ray.estimate_mi(X[BATCH == "b1", 0], X[BATCH == "b1", 1])
    assert found.mi_nats == pytest.approx(expected.mi_nats, abs=0.05)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ([f"cell {k}" for k in range(N)], "condition has 240 different labels for 240 samples"),
        (
            {"donor": [f"d{k // 2}" for k in range(N)]},
            "column 'donor' of condition has 120 different",
        ),
        ({"batch": [None] * N}, "column 'batch' of condition has no value in any sample"),
        (np.full(N, np.nan), "condition has no value in any sample"),
        (
            {
                "a": np.where(np.arange(N) < 9, 1.0, np.nan),
                "b": np.where(np.arange(N) < 9, np.nan, 1),
            },
            "no value in any sample together",
        ),
    ],
)
def test_conditions_that_say_too_much_or_are_missing_are_refused_by_name(condition, message):
    with pytest.raises(DataError, match=message):
        mmg_ray.estimate_mi(X[:, 0], X[:, 1], condition=condition)


def test_few_samples_with_a_label_each_are_refused():
    with pytest.raises(DataError, match="condition has 40 different labels for 40 samples"):
        mmg_ray.estimate_mi(X[:40, 0], X[:40, 1], condition=[f"m{k}" for k in range(40)])


class TestRuns:
    """Conditions of a run, and the exit code of one that has failures."""

    @staticmethod
    def config(folder, **data):
        frame = pd.DataFrame(X, columns=list("abc")).assign(
            batch="b1", donor=[f"d{k}" for k in range(N)], two=BATCH, nothing=None
        )
        frame.to_csv(folder / "t.csv", index=False)
        return {
            "data": {
                "path": str(folder / "t.csv"),
                "metadata": ["batch", "donor", "two", "nothing"],
                **data,
            },
            "execute": {"executor": "serial"},
            "output": {"url": str(folder / "run")},
        }

    @pytest.mark.parametrize(
        "data", [{"conditions": ["batch"]}, {"conditions": ["two"], "samples": {"two": ["b1"]}}]
    )
    def test_one_batch(self, tmp_path, data, caplog):
        with caplog.at_level(logging.WARNING):
            edges = (
                mmg_ray.run(from_dict(self.config(tmp_path, **data)))
                .edge_store()
                .table()
                .to_pylist()
            )
        name = data["conditions"][0]
        assert f"data.conditions: {name!r} has one value, so it is no condition" in caplog.text
        rows = BATCH == "b1" if "samples" in data else slice(None)
        expected = mmg_ray.mi_matrix(X[rows], list("abc"))
        for edge in edges:
            assert edge["status"] == "ok"
            assert edge["mi_nats"] == pytest.approx(
                expected.mi.iloc[edge["i"], edge["j"]], abs=1e-9
            )

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("donor", "data.conditions: 'donor' has 240 different labels"),
            ("nothing", "data.conditions: 'nothing' has no value in any sample"),
        ],
    )
    def test_refused_by_name_before_anything_is_estimated(self, tmp_path, name, message):
        with pytest.raises(DataError, match=message):
            mmg_ray.run(from_dict(self.config(tmp_path, conditions=[name])))

    def test_failures_are_never_forgotten(self, tmp_path, monkeypatch):
        """A pair that the estimator fails on: exit code 1, however often the run is looked at."""
        import yaml

        estimate = task.estimate_given

        def failing(variables, pairs, **more):
            if any(variables[index].name == "b" for pair in np.asarray(pairs) for index in pair):
                raise np.linalg.LinAlgError("SVD did not converge")
            return estimate(variables, pairs, **more)

        (tmp_path / "c.yaml").write_text(yaml.safe_dump(self.config(tmp_path)))
        monkeypatch.setattr(task, "estimate_given", failing)
        first = CliRunner().invoke(main, ["run", str(tmp_path / "c.yaml")])
        monkeypatch.undo()
        for result in (first, CliRunner().invoke(main, ["run", str(tmp_path / "c.yaml")])):
            assert result.exit_code == 1
            assert "2 pairs of" in result.output
            assert "a" in result.output  # the pair that has a value is shown
        status = CliRunner().invoke(main, ["status", str(tmp_path / "run")])
        assert "failed" in status.output
