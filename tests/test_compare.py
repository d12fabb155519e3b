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
from mmg_ray.network.changes import posterior
from mmg_ray.network.compare import COMPARISON_COLUMNS
from mmg_ray.report.differences import page_of
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


class TestPosterior:
    """Of the change of MI, in the light of all pairs that are compared."""

    @staticmethod
    def drawn(seed: int, share: float, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        se = rng.uniform(0.05, 0.2, n)
        change = np.where(rng.random(n) < share, 3 * se * rng.standard_normal(n), 0.0)
        return change, change + se * rng.standard_normal(n), se

    @pytest.mark.parametrize("share", [0.1, 0.5])
    def test_it_is_that_of_who_knows_the_law(self, share):
        """Against Bayes' rule with the true law of changes, by numerical integration."""
        change, difference, se = self.drawn(1, share)
        found = posterior(difference, se)
        z, grid = difference / se, np.linspace(-20, 20, 8001)  # changes in errors
        law = (
            share * np.exp(-0.5 * (grid / 3) ** 2) / (3 * np.sqrt(2 * np.pi)) * (grid[1] - grid[0])
        )
        seen = np.exp(-0.5 * (z[:, None] - grid) ** 2) * law
        moved, stays = seen.sum(1), (1 - share) * np.exp(-0.5 * z**2)
        mean = se * (seen * grid).sum(1) / (moved + stays)
        assert np.abs(found.mean - mean).mean() < 0.01
        assert np.abs(found.probability - moved / (moved + stays)).mean() < 0.04
        own, best, raw = (
            np.sqrt(np.mean((v - change) ** 2)) for v in (found.mean, mean, difference)
        )
        assert own < 1.02 * best
        assert best < 0.9 * raw

    def test_nothing_changes_where_there_is_noise_alone(self):
        for seed in range(5):
            _, difference, se = self.drawn(seed, 0.0)
            found = posterior(difference, se)
            assert found.probability.mean() < 0.05
            assert np.abs(found.mean).mean() < 0.01

    def test_the_order_of_pairs_is_nothing_and_missing_ones_stay_missing(self):
        _, difference, se = self.drawn(2, 0.3, 70_000)  # more than are looked at at once
        difference[7], se[11] = np.nan, np.nan
        one, other = posterior(difference, se), posterior(difference[::-1], se[::-1])
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right[::-1])
        assert np.flatnonzero(np.isnan(one.mean)).tolist() == [7, 11]

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_few_pairs_say_little(self, n):
        found = posterior(np.full(n, 0.3), np.full(n, 0.1))
        assert (found.probability < 0.95).all()
        assert (np.abs(found.mean) < 0.3).all()


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
        rows = {frozenset((r["source"], r["target"])): r for r in found.table.to_pylist()}
        of_0 = {k: rows[frozenset(("v0", f"v{k}"))] for k in (1, 2, 3, 4)}
        assert [of_0[k]["edge"] for k in (1, 2, 3, 4)] == ["kept", "kept", "lost", "gained"]
        assert [of_0[k]["changed"] for k in (1, 2, 3, 4)] == [False, True, True, True]
        assert of_0[4]["difference"] == pytest.approx(-0.5 * np.log(1 - 0.36), abs=0.1)
        assert 0 < of_0[4]["difference_posterior"] < of_0[4]["difference"]
        assert of_0[1]["p_changed"] < 0.5 < of_0[4]["p_changed"]
        assert found.table.column_names == [c.name for c in COMPARISON_COLUMNS]
        assert found.only_second == ("new",)
        assert found.names == tuple(f"v{k}" for k in range(6))
        assert found.counts["changed"] >= 3
        assert "changed" in repr(found)
        assert "<table>" in found._repr_html_()

    def test_with_itself_nothing_differs(self, runs):
        found = mmg_ray.compare(runs[0], runs[0])
        assert found.counts["kept"] == found.table.num_rows > 0
        assert found.counts["changed"] == 0
        for name in ("difference", "difference_posterior"):
            assert (found.table[name].to_numpy() == 0).all()
        assert max(found.table["p_changed"].to_pylist()) < 0.1

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


def test_a_page_shows_how_mi_changed(runs, tmp_path):
    file = tmp_path / "changes.html"
    command = ["compare", *(run.url for run in runs), "--report", str(file)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    text = file.read_text()
    found = mmg_ray.compare(*runs)
    n = found.table.num_rows
    assert text.startswith("<!doctype html>")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched
    assert text.count("<tr>") == n + 1
    likely = sum(p >= 0.5 for p in found.table["p_changed"].to_pylist() if p is not None)
    assert text.count('class="dot2"') == 2 * likely > 0
    assert "1 variables are in" in text
    for row in found.table.to_pylist():
        assert f"<td>{row['source']}</td><td>{row['target']}</td>" in text
    other = page_of(found, "a <b>", "c")
    assert "<b>, nats" not in other
    assert "a &lt;b&gt;" in other


def test_a_run_reports_itself(runs, tmp_path):
    found = mmg_ray.open_run(runs[0].url).report(str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert "srcdoc=" in found._repr_html_()
    assert "Network(" in repr(found)
