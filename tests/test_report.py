"""The report: a page that stands alone, says what the run found, and survives odd names and runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmg_ray
from mmg_ray import config as configuration
from mmg_ray.errors import StoreError
from mmg_ray.execute import driver
from mmg_ray.known_mi import gaussian
from mmg_ray.known_mi.levels import tied_gaussian
from mmg_ray.report.findings import Findings
from mmg_ray.report.of_run import write_report
from mmg_ray.report.svg import ticks
from mmg_ray.store.run import Run

NASTY = "</script><script>document.title='broken'</script>"
_VOID = {"meta", "input", "br", "option"}


class Page(HTMLParser):
    """What a test asks of a page: it is well formed, and what is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.tags = text, [], []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def data(self) -> dict[str, Any]:
        found = re.search(r"<script type='application/json' id='data'>(.*?)</script>", self.text)
        return json.loads(found[1])


def make_run(folder: Path, values: dict[str, np.ndarray], **sections: Any) -> Run:
    pd.DataFrame(values).to_csv(folder / "table.csv", index=False)
    return driver.run(
        configuration.from_dict(
            {
                "data": {"path": str(folder / "table.csv")},
                "execute": {"executor": "serial"},
                "output": {"url": str(folder / "run")},
                **sections,
            }
        )
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    rng = np.random.default_rng(0)
    values = {f"v{k}": rng.normal(size=150) for k in range(6)}
    values[NASTY] = values["v0"] + 0.3 * rng.normal(size=150)
    values["down"] = -values["v1"] + 0.5 * rng.normal(size=150)
    values["counts"] = rng.poisson(np.exp(0.5 * values["v2"]))
    values["flat"] = np.ones(150)
    return make_run(tmp_path_factory.mktemp("report"), values)


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    folder = tmp_path_factory.mktemp("page")
    return folder, write_report(run, str(folder / "report.html"), figures=str(folder / "figures"))


@pytest.fixture(scope="module")
def page(written: tuple[Path, Findings]) -> Page:
    return Page((written[0] / "report.html").read_text())


def test_the_page_stands_alone(page: Page):
    for _, name, value in page.attributes:
        assert name not in ("src", "href", "action", "data")
        assert not name.startswith("on")
        assert "url(" not in value
    assert not re.search(r"@import|url\(|fetch\(|import\s*\(", page.text)
    links = set(re.findall(r"https?://[^\s'\"<)]+", page.text))
    assert links <= {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_the_picture_is_the_same_in_every_process():
    """Whatever the hashes of texts are there."""
    program = (
        "import networkx as nx; from mmg_ray.report.network_view import _layout\n"
        "g = nx.Graph(); g.add_nodes_from('abcdefgh')\n"
        "g.add_edges_from(['ab', 'bc', 'cd', 'db', 'be', 'fg'])\n"
        "print([(round(x, 3), round(y, 3)) for x, y in _layout(g)])"
    )
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(drawn) == 1


def test_names_are_text(page: Page):
    assert page.tags.count("script") == 2
    names = [node["name"] for node in page.data["graph"]["nodes"]]
    assert NASTY in names
    assert NASTY in page.words


def test_ids_are_unique_and_controls_have_names(page: Page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labelled = {value for _, name, value in page.attributes if name == "for"}
    assert {"search"} <= labelled <= set(ids)
    charts = page.text.count('<svg role="img"')
    assert charts == len(re.findall(r"<svg role=\"img\"[^>]*><title>[^<]", page.text)) > 4
    assert page.text.count("<canvas id='heat' tabindex='0' role='img' aria-label='") == 1


def test_it_says_what_the_run_found(page: Page, written: tuple[Path, Findings], run: Run):
    found = written[1]
    assert found.network.table.num_rows == 3
    text = " ".join(page.words)
    for words in (
        "10 variables, 45 pairs",
        "edges left (fdr=0.05)",
        "9 of 10 variables can be used",
    ):
        assert words in text
    assert "constant" in text
    assert run.manifest.fingerprint in text
    assert sum(found.denoisers.values()) == 45
    assert found.mi_counts.sum() == found.p_counts.sum() == found.of.n_tests == 36
    graph = page.data["graph"]
    signs = {
        frozenset((graph["nodes"][e["a"]]["name"], graph["nodes"][e["b"]]["name"])): e["sign"]
        for e in graph["edges"]
    }
    assert signs[frozenset(("v1", "down"))] == -1
    assert signs[frozenset(("v0", NASTY))] == 1
    heat = page.data["heat"]
    i, j = (heat["names"].index(name) for name in ("v0", NASTY))
    strongest = found.strongest[0]
    assert heat["rows"][i][j] == heat["rows"][j][i] == pytest.approx(strongest["mi_nats"], abs=1e-5)
    assert heat["rows"][i][i] is None


def test_known_pairs_are_estimated_as_the_runs_own(written: tuple[Path, Findings]):
    found = {c.name: c for c in written[1].calibration}
    assert found["independent"].mi_nats == 0
    assert np.abs(found["independent"].estimates).mean() < 0.05
    strong = found["rho = 0.95"]
    # the more of two variables ties, the less of 1.16 nats is left
    assert 0.4 < strong.mi_nats < 1.1
    assert strong.estimates.mean() == pytest.approx(strong.mi_nats, abs=0.25)


def test_a_detail_has_both_curves(written: tuple[Path, Findings]):
    detail = written[1].details[0]
    assert {detail.row["source"], detail.row["target"]} == {"v0", NASTY}
    area = np.trapezoid(detail.gap_x, detail.logsnr) / 2
    assert area == pytest.approx(detail.row["mi_nats"], abs=0.2)
    assert len(detail.x) == 150


def test_figures_are_files(written: tuple[Path, Findings]):
    names = {path.name for path in (written[0] / "figures").iterdir()}
    assert {"mi.svg", "p.svg", "calibration.svg", "pair-1-gap.svg", "pair-1-scatter.svg"} <= names
    for path in (written[0] / "figures").iterdir():
        Page(path.read_text())


def test_the_same_run_gives_the_same_picture(run: Run, written: tuple[Path, Findings], page: Page):
    write_report(run, str(written[0] / "again.html"))
    assert Page((written[0] / "again.html").read_text()).data == page.data


def test_steps_are_those_asked_for(run: Run, tmp_path: Path):
    found = write_report(run, str(tmp_path / "r.html"), ["mi=5"])
    assert found.network.table.num_rows == 0
    assert "No edge is left by these steps" in (tmp_path / "r.html").read_text()


def test_a_run_of_groups_has_a_report(tmp_path: Path):
    rng = np.random.default_rng(1)
    values = {f"{group}{k}": rng.normal(size=120) for group in "abc" for k in range(2)}
    values["b0"] = values["a0"] + 0.4 * rng.normal(size=120)
    pd.DataFrame([(name, name[0]) for name in values], columns=["variable", "group"]).to_csv(
        tmp_path / "groups.csv", index=False
    )
    run = make_run(
        tmp_path,
        values,
        data={"path": str(tmp_path / "table.csv"), "groups": str(tmp_path / "groups.csv")},
        estimator={"denoiser": "gaussian"},
    )
    found = write_report(run, str(tmp_path / "r.html"))
    assert found.network.provenance["steps"] == ["fdr=0.05"]
    assert (found.of.n_tests, found.details, found.calibration) == (3, [], [])
    Page((tmp_path / "r.html").read_text())


def test_a_run_without_p_values_has_a_report(tmp_path: Path):
    """Of time series, of which no shift was asked for."""
    values = {name: np.random.default_rng(k).normal(size=60) for k, name in enumerate("abc")}
    null = {"kind": "shift", "max_permutations": 0}
    run = make_run(tmp_path, values, estimator={"denoiser": "gaussian", "nulls": null})
    found = write_report(run, str(tmp_path / "r.html"))
    assert found.network.provenance["steps"] == ["top=5"]
    assert "No pair has a p-value" in (tmp_path / "r.html").read_text()


def test_a_run_without_an_edge_has_a_report(tmp_path: Path):
    values = {name: np.random.default_rng(k).normal(size=40) for k, name in enumerate("ab")}
    found = write_report(make_run(tmp_path, values), str(tmp_path / "r.html"), ["fdr=0.001"])
    assert found.network.table.num_rows == 0
    Page((tmp_path / "r.html").read_text())


def test_a_matrix_in_memory_has_the_report_of_its_run(run: Run, written, tmp_path: Path):
    table = pd.read_csv(Path(run.manifest.config["data"]["path"]))
    cfg = run.manifest.resolved().estimator
    found = mmg_ray.mi_matrix(table, config=cfg).report(str(tmp_path / "r.html"))
    of_run = written[1]
    pd.testing.assert_frame_equal(found.network.edges, of_run.network.edges)
    assert found.strongest == of_run.strongest
    for name in ("mi_counts", "p_counts", "heat"):
        np.testing.assert_array_equal(getattr(found, name), getattr(of_run, name))
    assert (found.denoisers, found.stops, found.local) == (
        of_run.denoisers,
        of_run.stops,
        of_run.local,
    )
    for a, b in zip(found.details, of_run.details, strict=True):
        np.testing.assert_array_equal(a.gap_x, b.gap_x)
    for a, b in zip(found.calibration, of_run.calibration, strict=True):
        np.testing.assert_array_equal(a.estimates, b.estimates)
    text = " ".join(Page((tmp_path / "r.html").read_text()).words)
    assert "9 of 10 variables can be used" in text
    assert "DataFrame of 150 samples x 10 variables" in text
    assert "m.network().lfdr(0.05)" in text


def test_what_pairs_are_given_is_said_beside_their_charts(tmp_path: Path):
    """The curve of a pair is of the two alone, the MI of its row is not."""
    x, e, c = np.random.default_rng(0).standard_normal((3, 200))
    table = pd.DataFrame({"x": x + c, "y": x + e + 2 * c})
    m = mmg_ray.mi_matrix(table, condition=pd.DataFrame({"depth": c}))
    m.report(str(tmp_path / "r.html"))
    text = " ".join(Page((tmp_path / "r.html").read_text()).words)
    assert "of the two alone, which is not their MI given depth" in text
    assert "DataFrame of 200 samples x 2 variables, given depth" in text


def test_part_of_a_run_has_none(run: Run, tmp_path: Path):
    shutil.copytree(run.url, tmp_path / "part")
    next((tmp_path / "part" / "edges").iterdir()).unlink()
    with pytest.raises(StoreError, match="go on with"):
        write_report(Run(str(tmp_path / "part")), str(tmp_path / "r.html"))


def test_a_browser_shows_it(written: tuple[Path, Findings], tmp_path: Path):
    """In headless Chromium: scripts run without an error, and the network is drawn."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0"]
    command += ["--dump-dom", (written[0] / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Uncaught" not in done.stderr
    assert "broken" not in re.search("<title>(.*?)</title>", done.stdout)[1]
    assert len(re.findall('class="node m\\d', done.stdout)) == len(written[1].network.connected)
    assert done.stdout.count('class="edge minus"') == 1


@pytest.mark.parametrize("rho", [0.3, -0.8])
def test_pairs_with_the_ties_of_others(rho: float):
    every = np.arange(2000)
    assert tied_gaussian("", rho, every, every).mi_nats == pytest.approx(
        gaussian(rho).mi_nats, rel=3e-3
    )
    # of two values each: the table of quadrants, P(both above) = 1/4 + asin(rho) / 2 pi
    half = np.repeat([0, 1], 50)
    p = 0.25 + np.arcsin(rho) / (2 * np.pi)
    exact = 2 * p * np.log(4 * p) + (1 - 2 * p) * np.log(4 * (0.5 - p))
    task = tied_gaussian("", rho, half, half)
    assert task.mi_nats == pytest.approx(exact, abs=1e-5)
    x, y = task.sample(np.random.default_rng(0), 100_000)
    assert np.mean(x * y) == pytest.approx(p, abs=0.006)
    assert tied_gaussian("", rho, half, every).mi_nats < gaussian(rho).mi_nats


def test_ticks_are_round():
    assert [text for _, text in ticks(0, 1, 5)] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [value for value, _ in ticks(-3.2, 3.2)] == [-2.0, 0.0, 2.0]
    assert ticks(0, 0.031)[0][1] == "0"
