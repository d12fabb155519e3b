"""Two runs or conditions side by side: the permutation test, the table, the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import mmg_ray
from mmg_ray import config as configuration
from mmg_ray.cli import main
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.estimator.dependence.differences import _statistic, test_difference
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.estimator.ranks.rank_polynomials import basis
from mmg_ray.estimator.ranks.ranked_variable import RankedVariable
from mmg_ray.execute import driver
from mmg_ray.network.compare import COMPARISON_COLUMNS
from mmg_ray.store.run import Run

test_difference.__test__ = False  # a function of the package, not a test


def sides(
    rng: np.random.Generator, n: int, rho: float, scale: float = 1.0
) -> tuple[RankedVariable, RankedVariable]:
    x, e = rng.standard_normal((2, n))
    y = np.exp(scale * (rho * x + np.sqrt(1 - rho**2) * e))
    return tuple(
        RankedVariable(k, k, ordinal_codes(v)[:, None], 0) for k, v in (("x", x), ("y", y))
    )  # type: ignore[return-value]


class TestDifferences:
    def test_the_statistic_is_of_ranks_within_each_condition(self):
        rng = np.random.default_rng(0)
        a, b = sides(rng, 70, 0.8), sides(rng, 50, 0.1)
        labels = np.arange(120)[None] < 70
        orders = [np.argsort(np.concatenate([a[k].uniform[0], b[k].uniform[0]])) for k in (0, 1)]
        moments = [
            basis(n)[x.ranks[:, 0]].T[:5] @ basis(n)[y.ranks[:, 0]][:, :5] / n
            for n, (x, y) in ((70, a), (50, b))
        ]
        weight = 1 / np.outer(np.arange(1, 6), np.arange(1, 6))
        expected = (weight * (moments[0] - moments[1]) ** 2).sum()
        assert _statistic(orders, labels)[0] == pytest.approx(expected)

    @pytest.mark.parametrize(("rho", "paired"), [(0.0, False), (0.8, False), (0.8, True)])
    def test_the_same_dependence_is_no_difference(self, rho, paired):
        """However strong, and whatever the marginals."""
        p = [
            test_difference(
                sides(np.random.default_rng([1, k]), 100, rho),
                sides(np.random.default_rng([2, k]), 100, rho, scale=3.0),
                100,
                paired,
                k,
            ).p_value
            for k in range(120)
        ]
        assert np.mean(np.array(p) <= 0.05) < 0.12
        assert np.mean(p) == pytest.approx(0.5, abs=0.09)

    def test_another_dependence_is_one(self):
        """Of another strength, or as strong the other way: equal MI."""
        for rho in (0.7, -0.3):
            rng = np.random.default_rng(3)
            first, second = sides(rng, 400, 0.3), sides(rng, 300, rho)
            found = test_difference(first, second, 500, False, 0)
            assert found.p_value == pytest.approx(1 / 501)
            assert found == test_difference(first, second, 500, False, 0)

    def test_permutations_go_to_contenders(self):
        rng = np.random.default_rng(4)
        assert (
            test_difference(sides(rng, 60, 0), sides(rng, 60, 0), 3000, False, 0).n_permutations
            < 2000
        )


def table(rng: np.random.Generator, n: int, edges: dict[int, float], prefix: str = "v") -> Any:
    """n samples of six variables; `edges` are of 0 to k."""
    x = rng.standard_normal((n, 6))
    for k, rho in edges.items():
        x[:, k] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, k]
    return pd.DataFrame(x, columns=[f"{prefix}{k}" for k in range(6)])


def make_run(folder: Path, name: str, data: Any, **sections: Any) -> Run:
    data.to_csv(folder / f"{name}.csv", index=False)
    return driver.run(
        configuration.from_dict(
            {
                "data": {"path": str(folder / f"{name}.csv")},
                "execute": {"executor": "serial"},
                "output": {"url": str(folder / name)},
                **sections,
            }
        )
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """1 and 2 are edges of both, 2 a stronger one in the second; 3 is lost, 4 is gained."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(5)
    first = table(rng, 400, {1: 0.6, 2: 0.4, 3: 0.6})
    second = table(rng, 400, {1: 0.6, 2: 0.9, 4: 0.6})[[f"v{k}" for k in (5, 4, 3, 2, 1, 0)]]
    second["new"] = second["v0"]
    return make_run(folder, "first", first), make_run(folder, "second", second)


class TestRuns:
    @pytest.mark.parametrize("permutations", [0, 999])
    def test_edges_come_go_and_change(self, runs, permutations):
        found = mmg_ray.compare(*runs, permutations=permutations)
        rows = {frozenset((r["source"], r["target"])): r for r in found.edges.to_pylist()}
        of_0 = {k: rows[frozenset(("v0", f"v{k}"))] for k in (1, 2, 3, 4)}
        assert [of_0[k]["edge"] for k in (1, 2, 3, 4)] == ["kept", "kept", "lost", "gained"]
        assert [of_0[k]["changed"] for k in (1, 2, 3, 4)] == [False, True, True, True]
        assert of_0[4]["difference"] == pytest.approx(-0.5 * np.log(1 - 0.36), abs=0.1)
        assert found.edges.column_names == [c.name for c in COMPARISON_COLUMNS]
        assert found.only_second == ("new",)
        assert found.names == tuple(f"v{k}" for k in range(6))
        assert found.counts["changed"] >= 3
        assert "changed" in repr(found)
        assert "<table>" in found._repr_html_()

    def test_with_itself_nothing_differs(self, runs):
        found = mmg_ray.compare(runs[0], runs[0])
        assert found.counts["kept"] == found.edges.num_rows > 0
        assert found.counts["changed"] == 0
        assert (found.edges["difference"].to_numpy() == 0).all()

    def test_paired_needs_pairs(self, runs, tmp_path):
        other = make_run(tmp_path, "other", table(np.random.default_rng(6), 90, {1: 0.6}))
        with pytest.raises(DataError, match="400 and 90 samples"):
            mmg_ray.compare(runs[0], other, paired=True, permutations=10)
        found = mmg_ray.compare(runs[0], runs[0], paired=True, permutations=100)
        assert found.counts["changed"] == 0

    def test_of_nothing_in_common_says_so(self, runs, tmp_path):
        other = make_run(tmp_path, "x", table(np.random.default_rng(6), 60, {1: 0.6}, prefix="w"))
        with pytest.raises(DataError, match="0 variables of the same name"):
            mmg_ray.compare(runs[0], other)
        with pytest.raises(ConfigError, match="rate"):
            mmg_ray.compare(*runs, rate=0.0)

    def test_command(self, runs, tmp_path):
        result = CliRunner().invoke(main, ["compare", *(run.url for run in runs)])
        assert result.exit_code == 0, result.output
        assert "gained" in result.output
        assert "1 variables are in" in result.output
        file = tmp_path / "changes.csv"
        command = ["compare", *(run.url for run in runs), "--step", "mi=0.05", "--csv", str(file)]
        assert CliRunner().invoke(main, command).exit_code == 0
        assert set(pd.read_csv(file)["edge"]) == {"gained", "lost", "kept"}


def test_a_run_reports_itself(runs, tmp_path):
    found = mmg_ray.open_run(runs[0].url).report(str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert "srcdoc=" in found._repr_html_()
    assert "Network(" in repr(found)
