"""The report in a real browser: no error, nothing wider than the screen, keys work. Without Chromium, skipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chromium import dom, needed

import mmg_ray
from mmg_ray import config as configuration

pytestmark = needed

# says in the page itself what a person would see; headless windows are no narrower than 500 pixels, so a
# phone is a frame of its width
_ASK = """<script>addEventListener("load", () => {
  const node = document.querySelector("#graph .node");
  node.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
  const cut = (e) => e.parentElement && (getComputedStyle(e.parentElement).overflowX !== "visible"
    || cut(e.parentElement));
  const wide = [...document.querySelectorAll("main, main *")].filter((e) => !cut(e)
    && e.getBoundingClientRect().right > innerWidth + 1);
  parent.postMessage(JSON.stringify({width: innerWidth, page: document.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map((e) => e.tagName + " " + e.className), errors: window.failed,
    faded: document.querySelectorAll("#graph .faded").length,
    nodes: document.querySelectorAll("#graph .node").length,
    paper: getComputedStyle(document.body).backgroundColor}), "*");
});</script>"""
_CATCH = "<script>window.failed = []; onerror = (m) => { failed.push(String(m)); };</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 8))
    x[:, 1:4] += x[:, :1]
    names = ["a_name_that_is_far_too_long_for_a_phone_" + "x" * 40, *(f"v{k}" for k in range(7))]
    pd.DataFrame(x, columns=names).to_csv(folder / "table.csv", index=False)
    settings = [
        "execute.executor=serial",
        f"output.url={folder / 'run'}",
        "estimator.denoiser=gaussian",
    ]
    run = mmg_ray.run(configuration.load(f"data: {{path: {folder / 'table.csv'}}}", settings))
    run.report(str(folder / "report.html"))
    return (folder / "report.html").read_text()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_and_answers(report: str, tmp_path: Path, width: int, scheme: str):
    inside = report.replace("<head>", "<head>" + _CATCH, 1).replace("</body>", _ASK + "</body>", 1)
    (tmp_path / "inside.html").write_text(inside)
    outside = (
        f"<iframe src=inside.html style='width:{width}px;height:900px;border:0'></iframe>"
        "<pre></pre><script>onmessage = (e) => { document.querySelector('pre').textContent = e.data; };"
        "</script>"
    )
    (tmp_path / "outside.html").write_text(outside)
    flag = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    page = dom((tmp_path / "outside.html").as_uri(), tmp_path, 1400, flag, budget_ms=3000)
    said = re.search(r"<pre>(\{.*?\})</pre>", page, re.DOTALL)
    assert said, page[-500:]
    seen = json.loads(said[1].replace("&amp;", "&").replace("&gt;", ">").replace("&lt;", "<"))
    assert seen["errors"] == []
    assert seen["width"] == width
    assert seen["wide"] == []
    assert seen["page"] <= width
    assert seen["nodes"] >= 4
    assert seen["faded"] > 0  # Enter on a variable shows its edges and fades the others
    dark = sum(map(int, re.findall(r"\d+", seen["paper"])[:3])) < 200
    assert dark == (scheme == "dark")
