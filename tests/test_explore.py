"""The local page of a run: the same edges as its network, for the one who has the token, in a real browser."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestServer
from chromium import dom, needed

import mmg_ray
from mmg_ray.errors import ConfigError, DataError, StoreError
from mmg_ray.explore import index
from mmg_ray.explore.index import index_of
from mmg_ray.explore.pages import SHOWN, Explorer, Filters
from mmg_ray.explore.server import application

V, TOKEN = 24, "a-token"
NAMES = ["=cmd|<script>alert(1)</script>", *(f"gene{v}" for v in range(1, V))]


def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((240, V))
    for module in range(4):
        x[:, 6 * module : 6 * module + 5] += 1.2 * rng.standard_normal((240, 1))
    return pd.DataFrame(x, columns=NAMES)


def series() -> pd.DataFrame:
    x = np.random.default_rng(4).standard_normal((3000, 5))
    x[2:, 1] += x[:-2, 0]  # v1 follows v0 by two samples, and v2 leads v3
    x[:-1, 2] += x[1:, 3]
    x[:, 4] += x[:, 3]
    return pd.DataFrame(x, columns=[f"v{v}" for v in range(5)])


SETTINGS = {
    "all": (data, ["plan.shard_s=0.001", "plan.tile_variables=6"]),
    "bipartite": (data, ["pairs.mode=bipartite", "pairs.sources=[gene7, gene20]"]),
    "lags": (series, ["lags.max_s=4"]),
    "kept": (data, ["edges.max_p_value=0.01", "plan.shard_s=0.001", "plan.tile_variables=6"]),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, mmg_ray.Run]:
    folder = tmp_path_factory.mktemp("explore")
    fixed = ["estimator.denoiser=screen", "execute.executor=serial"]
    return {
        name: mmg_ray.run(made(), [*fixed, *settings], url=str(folder / name))
        for name, (made, settings) in SETTINGS.items()
    }


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_index_holds_the_edges_of_the_network(runs: dict[str, mmg_ray.Run], kind: str) -> None:
    found = index_of(runs[kind])
    at, n = found.find(None, 0.05, 0.0, "weight")
    assert n == len(at) > 3
    expected = runs[kind].network(["fdr=0.05"])
    assert found.n_tests == expected.stream.n_tests  # type: ignore[union-attr]
    rows = expected.table.to_pylist()
    if kind in ("lags", "bipartite"):  # an edge that leads both ways is one row here
        rows = [
            r
            for k, r in enumerate(rows)
            if {(r["j"], r["i"])}.isdisjoint((s["i"], s["j"]) for s in rows[:k])
        ]
    ours = found.table(at).to_pylist()
    assert len(ours) == len(rows)
    for mine, theirs in zip(ours, rows, strict=True):
        assert mine == pytest.approx(theirs)


def test_filters_and_rankings(runs: dict[str, mmg_ray.Run]) -> None:
    found = index_of(runs["all"])
    edges = found.table(np.arange(len(found.edges.i))).to_pandas()
    assert (edges.q_value <= index.LOOSEST_Q).all()
    for by, order in (
        ("weight", -edges.weight),
        ("mi_nats", -edges.mi_nats),
        ("p_value", edges.p_value),
    ):
        for variable in (None, 0, 7):
            for max_q, min_mi in ((0.2, 0.0), (0.01, 0.15)):
                at, n = found.find(variable, max_q, min_mi, by, 4)
                mine = (edges.q_value <= max_q) & (edges.mi_nats >= min_mi)
                if variable is not None:
                    mine &= (edges.i == variable) | (edges.j == variable)
                assert n == mine.sum()
                assert order[at].tolist() == sorted(order[mine])[:4]
    assert [found.n_edges(v) for v in range(V)] == [
        int(((edges.i == v) | (edges.j == v)).sum()) for v in range(V)
    ]


def test_more_edges_than_fit_are_said(
    runs: dict[str, mmg_ray.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = index_of(runs["all"])
    monkeypatch.setattr(index, "_HELD", 5)
    some = index_of(runs["all"])
    assert some.n_left_out > 0
    assert some.edges.weight.tolist() == whole.edges.weight[:5].tolist()
    assert Explorer(runs["all"]).index.n_left_out == some.n_left_out


def test_pages(runs: dict[str, mmg_ray.Run]) -> None:
    explorer = Explorer(runs["all"])
    assert explorer.index.n_tests == V * (V - 1) // 2
    assert explorer.state()["ready"]
    assert {v["name"] for v in explorer.variables("GENE1")} == {n for n in NAMES if "gene1" in n}
    assert {v["name"] for v in explorer.variables("script")} == {NAMES[0]}
    filters = Filters(max_q=0.05)
    assert explorer.edges(filters)["n"] == len(pd.read_csv(io.BytesIO(explorer.csv(filters))))
    modules = explorer.modules()
    assert sorted(map(len, (m["members"] for m in modules)))[-4:] == [5, 5, 5, 5]
    first = explorer.edges(filters)["rows"][0]
    pair = explorer.pair(first["target"], first["source"])
    assert pair["row"]["mi_nats"] == first["mi_nats"]
    assert [svg.count("<circle") for svg, _ in pair["charts"]] == [240, 0]
    # charts are put into the page as they are, captions as text
    assert not any("<script>" in svg for svg, _ in explorer.pair(NAMES[0], "gene1")["charts"])
    with pytest.raises(ConfigError, match="both are 'gene1'"):
        explorer.pair("gene1", "gene1")
    with pytest.raises(DataError, match="no variable 'gene99'"):
        explorer.edges(Filters(variable="gene99"))
    with pytest.raises(ConfigError, match="known: weight, mi_nats, p_value"):
        Filters.parse({"by": "z"})


def test_pairs_that_are_not_stored_have_no_row(runs: dict[str, mmg_ray.Run]) -> None:
    explorer = Explorer(runs["kept"])
    stored = {(e["source"], e["target"]) for e in runs["kept"].edge_store().table().to_pylist()}
    left = next((a, b) for k, a in enumerate(NAMES) for b in NAMES[k + 1 :] if (a, b) not in stored)
    assert explorer.pair(*left) == {"row": None, "charts": []}
    bipartite = Explorer(runs["bipartite"])
    assert bipartite.pair("gene1", "gene2")["row"] is None


def test_a_pair_of_a_run_with_lags_has_its_curve(runs: dict[str, mmg_ray.Run]) -> None:
    explorer = Explorer(runs["lags"])
    rows = explorer.edges(Filters(by="p_value"))["rows"]
    leads = {(r["source"], r["target"]): r["lag_s"] for r in rows}
    assert leads["v0", "v1"] == 2
    assert leads["v2", "v3"] == 1
    (chart,) = explorer.pair("v0", "v1")["charts"]
    assert "MI of v0 and v1 by lag" in chart[0]


def test_an_unfinished_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    url = tmp_path / "run"
    settings = ["estimator.denoiser=screen", "execute.executor=serial", *SETTINGS["all"][1]]
    mmg_ray.run(data(), settings, url=str(url))
    next((url / "edges").iterdir()).unlink()
    with pytest.raises(StoreError, match=f"mmg-ray run {url}"):
        _ = Explorer(mmg_ray.open_run(str(url))).index


def asked(run: mmg_ray.Run, what: Callable[[ClientSession, str], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        async with (
            TestServer(application(Explorer(run), TOKEN)) as server,
            ClientSession(cookie_jar=CookieJar(unsafe=True)) as client,  # of an address, not a name
        ):
            return await what(client, str(server.make_url("/")))

    return asyncio.run(ask())


def test_nothing_is_said_without_the_token(runs: dict[str, mmg_ray.Run]) -> None:
    async def what(client: ClientSession, base: str) -> None:
        for path in (
            "",
            "page.js",
            "edges",
            "state",
            "edges.csv",
            "?token=",
            "edges?token=another",
        ):
            async with client.get(base + path) as answer:
                assert answer.status == 403, path
                assert "gene" not in await answer.text()
        async with client.get(f"{base}?token={TOKEN}", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
        # the address that is printed: it gives a cookie, and the token leaves the address
        async with client.get(f"{base}?token={TOKEN}") as answer:
            assert str(answer.url) == base
            assert "n_variables" in await answer.text()
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        async with client.get(base + "edges", params={"max_q": "0.05"}) as answer:
            assert len((await answer.json())["rows"]) > 10
        async with client.get(base + "edges.csv") as answer:
            assert "attachment" in answer.headers["Content-Disposition"]
            assert "'=cmd" in await answer.text()  # no formula of a spreadsheet
        for query, message in (({"variable": "gene99"}, "gene99"), ({"max_q": "x"}, "numbers")):
            async with client.get(base + "edges", params=query) as answer:
                assert answer.status == 400
                assert message in (await answer.json())["error"]
        async with client.post(base + "edges") as answer:
            assert answer.status == 405

    asked(runs["all"], what)


@pytest.fixture
def address(runs: dict[str, mmg_ray.Run], tmp_path: Path) -> Iterator[str]:
    """Of the command itself, which Ctrl-C ends in good order."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "mmg_ray", "explore", runs["all"].url, "--no-browser"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                if found := re.search(r"http://\S+", log.read_text()):
                    break
                time.sleep(0.1)
            assert found, log.read_text()
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, log.read_text()


@needed
@pytest.mark.parametrize("width", [500, 1300])
def test_a_browser_shows_edges_and_a_pair(address: str, tmp_path: Path, width: int) -> None:
    page = dom(
        f"{address}#variable=gene7&source=gene7&target=gene8", tmp_path, width, budget_ms=20_000
    )
    assert "edges of gene7." in page
    rows = page[page.index("<tbody>") : page.index("</tbody>")]
    assert 3 < rows.count("<tr") < SHOWN
    assert page.count("<circle") == 240
    assert "Half the area is the MI" in page
    assert "token=" not in page
    assert 'class="error"' not in page


@needed
def test_what_is_wrong_is_said_in_the_page(address: str, tmp_path: Path) -> None:
    page = dom(
        f"{address}#variable=gene99&source=gene7&target=gene99", tmp_path, 1300, budget_ms=20_000
    )
    assert page.count("this run has no variable 'gene99'") == 2


def test_without_a_browser_the_command_answers(address: str) -> None:
    async def ask() -> int:
        async with (
            ClientSession() as client,
            client.get(address.replace("/?", "/state?")) as answer,
        ):
            return answer.status

    assert address.startswith("http://127.0.0.1:")
    assert asyncio.run(ask()) == 200
