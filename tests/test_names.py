"""Hostile names of variables: one rule at reading, one at output, in every export and on the terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import anndata
import networkx as nx
import numpy as np
import pytest
from click.testing import CliRunner

import mmg_ray
from mmg_ray import config
from mmg_ray.cli import main
from mmg_ray.errors import DataError
from mmg_ray.execute import driver
from mmg_ray.names import no_formula, visible
from mmg_ray.store.exports import FORMATS, write
from mmg_ray.store.sources import Table

HOSTILE = [
    "a\rb", "a\nb", "a\x00b", "a", "\x1b[2J\x1b]0;owned\x07", "[/]", "[red]x[/red]", "[link=file:///]y",
    "=cmd|' /C calc'!A0", "+1+1", "-SUM(A1)", "@x", "-1.5", "é,\"'\t;", "\u202egnp", "x\u2028y", "<b>&amp;",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[mmg_ray.Run]:
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    found = []
    for name in ("first", "second"):
        values = rng.normal(size=(80, 1)) + 0.5 * rng.normal(size=(80, len(HOSTILE)))
        np.savez(folder / f"{name}.npz", X=values, names=np.array(HOSTILE))
        adata = anndata.AnnData(values)
        adata.var_names = [n.replace("\x00", "\\x00") for n in HOSTILE]
        tree = {
            "data": {"path": str(folder / f"{name}.h5ad")},
            "estimator": {"denoiser": "gaussian"},
            "execute": {"executor": "serial"},
            "output": {"url": str(folder / name)},
        }
        adata.write_h5ad(folder / f"{name}.h5ad")
        found.append(driver.run(config.from_dict(tree)))
    return found


def test_no_name_that_is_stored_controls_anything(runs: list[mmg_ray.Run]) -> None:
    names = runs[0].names
    assert len(set(names)) == len(HOSTILE)
    assert names == [visible(name) for name in HOSTILE]
    assert "\\x1b[2J\\x1b]0;owned\\x07" in names
    assert not any(ord(character) < 32 for name in names for character in name)


def test_the_rule_says_so_and_refuses_two_that_become_one() -> None:
    table = Table(np.zeros((3, 2)), ["a\rb", "c"])
    assert table.names == ["a\\rb", "c"]
    assert "1 names of variables hold control characters" in table.notes[0]
    with pytest.raises(DataError, match="two variables once"):
        Table(np.zeros((3, 2)), ["a\rb", "a\\rb"])


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_export_keeps_every_name_apart(
    runs: list[mmg_ray.Run], kind: str, tmp_path: Path
) -> None:
    network = runs[0].network()
    write(network, str(tmp_path / "out"), kind)
    data = (tmp_path / "out").read_bytes()
    for harm in (b"\r", b"\x1b", b"\xe2\x80\xae", b"\xe2\x80\xa8"):
        assert kind in ("parquet", "h5ad", "npz", "netcdf") or harm not in data, harm
    if kind in ("csv", "scenic", "tsv"):
        rows = list(
            csv.reader(io.StringIO(data.decode()), delimiter="\t" if kind == "tsv" else ",")
        )
        assert len({len(row) for row in rows}) == 1
    if kind in ("csv", "scenic", "tsv", "aracne", "viper", "sif"):
        cells = [
            c for line in data.decode().splitlines()[1:] for c in line.replace("\t", ",").split(",")
        ]
        assert not [c for c in cells if c[:1] in ("=", "@") or c[:2] == "+1"]
        assert "'=cmd|" in data.decode()
    if kind == "graphml":
        assert len(nx.read_graphml(io.BytesIO(data))) == len(HOSTILE)
    if kind == "npz":
        with np.load(io.BytesIO(data)) as arrays:
            assert list(arrays["names"]) == list(network.names)
    if kind == "h5ad":
        (tmp_path / "a.h5ad").write_bytes(data)
        assert list(anndata.read_h5ad(tmp_path / "a.h5ad").var_names) == list(network.names)


@pytest.mark.parametrize(
    "words",
    [
        ["edges", "1"],
        ["network", "1"],
        ["compare", "1", "2"],
        ["consensus", "1", "2"],
        ["status", "1"],
    ],
    ids=lambda words: words[0],
)
def test_every_table_shows_names_as_they_are(runs: list[mmg_ray.Run], words: list[str]) -> None:
    urls = {"1": runs[0].url, "2": runs[1].url}
    top = ["--top", "200"] if words[0] in ("edges", "network", "compare") else []
    result = CliRunner(env={"COLUMNS": "300"}).invoke(
        main, [urls.get(word, word) for word in words] + top
    )
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout
    if top:
        assert "[/]" in result.stdout
        assert "[red]x[/red]" in result.stdout


@pytest.mark.parametrize("command", [["edges"], ["compare"]], ids=str)
def test_csv_of_commands(runs: list[mmg_ray.Run], command: list[str], tmp_path: Path) -> None:
    urls = [run.url for run in runs][: 1 if command == ["edges"] else 2]
    result = CliRunner().invoke(main, [*command, *urls, "--csv", str(tmp_path / "rows.csv")])
    assert result.exit_code == 0, result.output
    rows = list(csv.reader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len({len(row) for row in rows}) == 1
    names = {row[rows[0].index("source")] for row in rows[1:]}
    assert names & {"'=cmd|' /C calc'!A0", "'+1+1", "'@x"}
    assert not any(name.startswith(("=", "+", "@")) for name in names)


def test_a_formula_is_marked_and_a_number_is_not() -> None:
    assert [no_formula(text) for text in ("=1", "@a", "+a", "-a", "-1", "+2e3", "a=1", "")] == [
        "'=1", "'@a", "'+a", "'-a", "-1", "+2e3", "a=1", "",
    ]  # fmt: skip
    assert visible("a\ud800b") == "a\\ud800b"
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"
