"""Plain tables whose header, index, separators or times were taken for data, or data for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mmg_ray.cli import main
from mmg_ray.config import DataConfig
from mmg_ray.errors import MMGError
from mmg_ray.store.sources import read_table
from mmg_ray.store.sources.table import Table

N = 200
FLOATS = np.random.default_rng(0).standard_normal((N, 4))
COUNTS = np.random.default_rng(0).poisson(6.0, (N, 4))
WIDE = np.random.default_rng(0).poisson(20.0, (N, 12))


def read(path: Path, **fields: Any) -> Table:
    return read_table(DataConfig(path=str(path), **fields))


def refusal(path: Path | str, **fields: Any) -> str:
    with pytest.raises(MMGError) as caught:
        read_table(DataConfig(path=str(path), **fields))
    return str(caught.value)


def written(tmp_path: Path, text: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def frame(values: np.ndarray, names: list[Any] | None = None) -> pd.DataFrame:
    return pd.DataFrame(values, columns=names or [f"GENE{v}" for v in range(values.shape[1])])


# --- a first row of numbers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (FLOATS, [3, 7, 12, 15]),  # units of a sorter, z-scores
        (FLOATS, [12, 3, 7, 15]),
        (COUNTS, [1, 2, 3, 4]),  # channels
        (COUNTS, [0, 1, 2, 3]),
        (COUNTS, [7157, 672, 1956, 5728]),  # Entrez ids above counts
        (WIDE, list(range(3, 27, 2))),  # units in order, above counts of their size
        (FLOATS, ["0.5", "1.0", "1.5", "2.0"]),  # frequencies
        (COUNTS.astype(float), [10, 2, 5, 3]),  # 6.0 below 10
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_header_of_numbers_is_no_sample(
    tmp_path: Path, name: str, values: np.ndarray, names: list[Any]
) -> None:
    separator = "\t" if name == "t.tsv" else ","
    frame(values, names).to_csv(tmp_path / name, index=False, sep=separator)
    table = read(tmp_path / name)
    assert table.names == [str(n) for n in names]
    np.testing.assert_allclose(table.values, values)
    assert any("the first row holds names" in note for note in table.notes)


@pytest.mark.parametrize("values", [FLOATS, np.round(FLOATS, 1), WIDE % 7, FLOATS[:, :1]])
def test_a_first_sample_is_no_header(tmp_path: Path, values: np.ndarray) -> None:
    frame(values).to_csv(tmp_path / "t.csv", index=False, header=False)
    table = read(tmp_path / "t.csv")
    assert table.names == [f"v{v}" for v in range(values.shape[1])]
    np.testing.assert_allclose(table.values, values)
    assert any("the first row is a sample" in note for note in table.notes)


def test_what_is_open_is_asked_and_settled(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for names in ([4, 7], [7, 4]):  # units in order, or the first sample
        frame(COUNTS[:, :2], names).to_csv(path, index=False)
        assert "data.header: true (names) or false" in refusal(path)
        assert read(path, header=True).names == [str(name) for name in names]
    values = np.vstack([[7, 4], COUNTS[:, :2]])
    np.testing.assert_array_equal(read(path, header=False).values, values)
    # a sample with its name before it, where a header should be
    rows = "\n".join(f"cell{k}," + ",".join(map(str, row)) for k, row in enumerate(COUNTS))
    assert "looks like the names below it" in refusal(written(tmp_path, rows))
    table = read(path, header=False, index_column="v0")
    assert (table.sample_names[:2], table.n_samples) == (["cell0", "cell1"], N)
    # and a header of numbers with a name
    written(tmp_path, "cell,3,17,12,15\n" + rows)
    assert read(path).names == ["3", "17", "12", "15"]
    assert read(path).sample_names[:2] == ["cell0", "cell1"]


def test_the_command_says_what_was_decided(tmp_path: Path) -> None:
    frame(FLOATS, [3, 7, 12, 15]).to_csv(tmp_path / "ids.csv", index=False)
    done = CliRunner().invoke(main, ["estimate", str(tmp_path / "ids.csv"), "3", "7"])
    assert done.exit_code == 0, done.output
    assert "the first row holds names: its numbers are whole" in done.output
    assert "samples             200" in done.output
    (tmp_path / "run.yaml").write_text(f"data: {{path: {tmp_path}/ids.csv}}\n")
    planned = CliRunner().invoke(main, ["plan", str(tmp_path / "run.yaml")])
    assert "the first row holds names" in planned.output
    assert "4 x 200" in planned.output


# --- identifiers and times -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "cell_id",
        "Unnamed: 0",
        "CellID",
        "sample",
        "Sample.Name",
        "patient_id",
        "id",
        "obs",
        "barcode",
    ],
)
@pytest.mark.parametrize("kind", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("ids", ["counted", "any"])
def test_identifiers_are_no_variables(tmp_path: Path, name: str, kind: str, ids: str) -> None:
    if name == "Sample.Name" and kind == "t.parquet":
        name = "sample_name"
    every = (
        np.arange(1, N + 1) if ids == "counted" else np.random.default_rng(1).permutation(9999)[:N]
    )
    whole = frame(COUNTS)
    whole.insert(0, name, every)
    path = tmp_path / kind
    whole.to_csv(path, index=False) if kind == "t.csv" else whole.to_parquet(path)
    table = read(path)
    assert table.names == list(whole.columns[1:])
    assert table.sample_names == [str(k) for k in every]
    if name != "Unnamed: 0":  # a variable, where it is said to be one
        assert read(path, variables=("*", name)).names[0] == name


def test_identifiers_keep_their_zeros_and_others_are_left_out(tmp_path: Path) -> None:
    whole = frame(COUNTS)
    whole["sample_id"] = np.arange(N) + 500
    whole["cell_id"] = [f"{k:05d}" for k in range(N)]
    whole.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv", index_column="cell_id")
    assert table.sample_names[:2] == ["00000", "00001"]
    assert table.names == list(whole.columns[:4])
    assert any("'sample_id' holds identifiers and is left out" in note for note in table.notes)
    # a number of rows that pandas wrote, beside the names of genes
    turned = frame(WIDE[:30]).T.reset_index(names="symbol")
    turned.insert(0, "Unnamed: 0", range(12))
    turned.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv", transpose=True, index_column="symbol")
    np.testing.assert_array_equal(table.values, WIDE[:30])


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("first", np.arange(N), "counts the rows from 0"),
        ("donor_id", np.arange(N) % 7, "whole numbers that repeat"),
        ("time", np.arange(N) * 0.02, "named like a time and goes up"),
        ("time_s", np.sort(np.random.default_rng(0).random(N)), "named like a time"),
        ("day", np.arange(N) + 40, "named like a time"),
    ],
)
@pytest.mark.parametrize("kind", ["t.csv", "t.parquet"])
def test_columns_that_may_be_no_variables_are_asked_about(
    tmp_path: Path, name: str, column: np.ndarray, reason: str, kind: str
) -> None:
    whole = frame(FLOATS)
    whole.insert(0, name, column)
    path = tmp_path / kind
    whole.to_csv(path, index=False) if kind == "t.csv" else whole.to_parquet(path)
    text = refusal(path)
    assert f"column {name!r}" in text
    assert reason in text
    assert f"data.exclude: [{name}]" in text
    assert read(path, exclude=(name,)).names == list(whole.columns[1:])
    assert read(path, variables=("*", name)).names == list(whole.columns)
    assert read(path, metadata=(name,)).n_variables == 4
    assert read(path, variables=("GENE*",)).n_variables == 4


def test_variables_of_such_names_stay_variables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = frame(FLOATS).assign(
        time=rng.random(N), x=rng.integers(0, 5, N), ID3=rng.poisson(3, N), BID=rng.poisson(3, N),
        unit=rng.standard_normal(N), index_of_refraction=rng.random(N),
    )  # fmt: skip
    whole.to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv").names == list(whole.columns)


def test_featurecounts_is_read(tmp_path: Path) -> None:
    whole = frame(COUNTS[:6].T, [f"s{k}.bam" for k in range(6)])
    about = {
        "Chr": "1;1",
        "Start": [1, 5, 9, 14],
        "End": [3, 8, 12, 20],
        "Strand": "+",
        "Length": [2, 3, 3, 6],
    }
    table = pd.DataFrame({"Geneid": [f"G{k}" for k in range(4)], **about}).join(whole)
    text = "# Program:featureCounts v2.0.1; Command:x\n" + table.to_csv(index=False, sep="\t")
    made = read(written(tmp_path, text, "counts.tsv"), transpose=True)
    assert made.names == ["G0", "G1", "G2", "G3"]
    np.testing.assert_array_equal(made.values, COUNTS[:6])
    assert any("Length describe genes and are left out" in note for note in made.notes)


# --- what a message names ------------------------------------------------------------------------

ROWS = "cell,A,B,C\n" + "".join(f"c{k},{a},{b},{c}\n" for k, (a, b, c, _) in enumerate(COUNTS))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (ROWS.replace(",", ";"), ["semicolons", 'data.separator: ";"']),
        (ROWS.replace(",", " "), ["spaces", 'data.separator: " "']),
        (ROWS.replace(",", "|"), ["bars", 'data.separator: "|"']),
        (ROWS.replace(",", "\t"), ["tabs", "data.format: tsv"]),
        (ROWS.replace(",", "   "), ["separated by runs of spaces"]),
        ("a;b\n1,5;2,5\n0,5;3,25\n", ["semicolons", "data.decimal: ','"]),
    ],
)
def test_separators_are_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    found = refusal(written(tmp_path, text))
    assert all(part in found for part in parts), found


def test_separators_and_decimals_are_read(tmp_path: Path) -> None:
    table = read(written(tmp_path, ROWS.replace(",", ";")), separator=";")
    assert (table.names, table.sample_names[0]) == (["A", "B", "C"], "c0")
    text = "a;b\n" + "".join(f"{x:.3f};{y:.2f}\n".replace(".", ",") for x, y in FLOATS[:, :2])
    path = written(tmp_path, text)
    assert "a decimal comma (set data.decimal: ',')" in refusal(path, separator=";")
    table = read(path, separator=";", decimal=",")
    np.testing.assert_allclose(table.values, FLOATS[:, :2], atol=0.006)
    np.testing.assert_array_equal(
        read(written(tmp_path, "# by a program\n" + ROWS)).values, COUNTS[:, :3]
    )
    assert "only csv, tsv do" in refusal(tmp_path / "absent.npy", separator=";")


def test_a_file_that_is_open_for_writing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.h5ad"
    with h5py.File(path, "w", locking=True) as file:
        file["X"] = np.zeros((2, 2))
        file.flush()
        code = (
            "from mmg_ray.config import DataConfig\nfrom mmg_ray.errors import DataError\n"
            "from mmg_ray.store.sources import read_table\n"
            f"try: read_table(DataConfig(path={str(path)!r}))\nexcept DataError as e: print(e)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert "is open for writing in another process" in done.stdout


@pytest.mark.parametrize("path", ["$HOME/t.csv", "${HOME}/t.csv"])
def test_variables_of_the_shell_are_not_paths(path: str) -> None:
    text = refusal(path)
    assert "HOME" in text
    assert "is not expanded" in text


def test_the_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, ROWS)
    assert read_table(DataConfig(path="~/t.csv")).names == ["A", "B", "C"]
