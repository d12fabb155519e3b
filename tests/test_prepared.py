"""Prepared variables: codes and quality numbers against hand-made columns, and every fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from scipy import sparse

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError, StoreError
from mmg_ray.estimator.ranks.marginals import ordinal_codes, sparse_codes
from mmg_ray.schema import Status
from mmg_ray.store import preparing
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import Prepared
from mmg_ray.store.preparing import prepare
from mmg_ray.store.quality import measure, measure_sparse
from mmg_ray.store.sources import Table

NAN, INF = np.nan, np.inf

HAND_MADE = {
    "ties": [0, 0, 1, 1, 1, 2, 3, 4],
    "gaps": [5, NAN, 4, INF, 3, -INF, 2, 1],
    "flat": [7, 7, NAN, 7, 7, 7, 7, 7],
    "gone": [NAN, NAN, NAN, INF, NAN, NAN, NAN, NAN],
    "whole": [8, 7, 6, 5, 4, 3, 2, 1],
    "left": [1, 2, 3, 4, NAN, NAN, NAN, NAN],
    "right": [NAN, NAN, NAN, NAN, 1, 2, 3, 4],
}


def hand_made() -> Table:
    values = np.array(list(HAND_MADE.values()), dtype=float).T
    return Table(values=values, names=list(HAND_MADE))


def config(tmp_path: Path, groups: str | None = None) -> DataConfig:
    """A configuration whose groups file has these `variable,group` lines."""
    if groups is None:
        return DataConfig(path="unused.csv")
    path = tmp_path / "groups.csv"
    path.write_text("variable,group\n" + groups.replace(" ", "\n") + "\n")
    return DataConfig(path="unused.csv", groups=str(path))


def prepared(tmp_path: Path, table: Table, groups: str | None = None) -> Prepared:
    run = Location(str(tmp_path / "run"))
    prepare(table, config(tmp_path, groups), run)
    return Prepared.open(run)


def qc_row(run: Prepared, name: str) -> dict[str, Any]:
    row: dict[str, Any] = run.qc().to_pylist()[run.names.index(name)]
    return row


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def counts_table(n_samples: int = 20, n_variables: int = 150, *, is_sparse: bool = False) -> Table:
    values = np.random.default_rng(1).poisson(0.5, (n_samples, n_variables)).astype(float)
    values[3, ::7] = NAN
    names = [f"g{v}" for v in range(n_variables)]
    return Table(values=sparse.csc_matrix(values) if is_sparse else values, names=names)


def test_codes(tmp_path: Path) -> None:
    run = prepared(tmp_path, hand_made())
    assert run.names == list(HAND_MADE)
    assert (run.n_samples, run.n_variables) == (8, 7)
    assert run.dims.tolist() == [1] * 7
    variables = run.load(range(7))
    for index, values in enumerate(HAND_MADE.values()):
        variable = variables[index]
        assert variable.name == run.names[index]
        assert variable.codes.dtype == np.int32
        np.testing.assert_array_equal(
            variable.codes[:, 0], ordinal_codes(np.array(values, dtype=float))
        )
    assert variables[1].codes[:, 0].tolist() == [4, -1, 3, -1, 2, -1, 1, 0]


def test_quality_numbers(tmp_path: Path) -> None:
    run = prepared(tmp_path, hand_made())
    ties = qc_row(run, "ties")
    assert {key: ties[key] for key in ("index", "n_samples", "n_missing", "n_distinct")} == {
        "index": 0,
        "n_samples": 8,
        "n_missing": 0,
        "n_distinct": 5,
    }
    assert (ties["tie_share"], ties["zero_share"]) == (5 / 8, 2 / 8)
    assert (ties["minimum"], ties["maximum"], ties["mean"]) == (0, 4, 1.5)
    assert ties["sd"] == pytest.approx(np.std(HAND_MADE["ties"], ddof=1), rel=1e-12)
    gaps = qc_row(run, "gaps")
    assert (gaps["n_samples"], gaps["n_missing"], gaps["n_nonfinite"]) == (5, 3, 2)
    assert (gaps["tie_share"], gaps["minimum"], gaps["maximum"]) == (0, 1, 5)
    assert (gaps["status"], gaps["message"]) == ("ok", "")


def test_unusable_variables_say_why(tmp_path: Path) -> None:
    run = prepared(tmp_path, hand_made())
    assert run.statuses[2:4] == [Status.CONSTANT, Status.ALL_MISSING]
    assert run.load([2])[2].status is Status.CONSTANT
    flat, gone = qc_row(run, "flat"), qc_row(run, "gone")
    assert "7 in all 7 samples" in flat["message"]
    assert "8 missing or non-finite values" in gone["message"]
    assert all("data.exclude" in row["message"] for row in (flat, gone))
    assert (flat["sd"], flat["tie_share"], flat["n_distinct"]) == (0, 1, 1)
    nothing = ("tie_share", "zero_share", "minimum", "maximum", "mean", "sd")
    assert all(gone[key] is None for key in nothing)


def test_sparse_equals_dense(tmp_path: Path) -> None:
    for name, is_sparse in (("dense", False), ("sparse", True)):
        prepare(counts_table(is_sparse=is_sparse), config(tmp_path), Location(str(tmp_path / name)))
    assert files(tmp_path / "dense") == files(tmp_path / "sparse")


def test_sparse_table_is_never_dense_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the whole table was made dense")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(sparse.csc_matrix, name, refuse)
    assert prepared(tmp_path, counts_table(is_sparse=True)).n_variables == 150


def test_preparing_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    groups = "g1,A g2,A g149,B g1,B"
    cfg = config(tmp_path, groups)
    for name in ("one", "two", "two"):  # the second time over what is there
        prepare(counts_table(), cfg, Location(str(tmp_path / name)))
    first = files(tmp_path / "one")
    assert first == files(tmp_path / "two")
    assert {name for name in first if "/c/" in name} == {
        f"prepared/codes.zarr/c/{chunk}/0" for chunk in range(3)
    }


def test_preparing_over_another_table_leaves_nothing_of_it(tmp_path: Path) -> None:
    run = Location(str(tmp_path / "run"))
    prepare(counts_table(), config(tmp_path), run)
    prepare(hand_made(), config(tmp_path), run)
    prepare(hand_made(), config(tmp_path), Location(str(tmp_path / "fresh")))
    assert files(tmp_path / "run") == files(tmp_path / "fresh")


def test_memory_url() -> None:
    run = Location("memory://prepared-test/run")
    prepare(counts_table(), DataConfig(path="unused.csv"), run)
    opened = Prepared.open(run)
    np.testing.assert_array_equal(
        opened.load([149])[149].codes[:, 0], ordinal_codes(counts_table().column(149))
    )


def test_long_tables_get_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "CHUNK_BYTES", 4 * 20 * 3)
    run = prepared(tmp_path, counts_table(n_variables=7))
    chunks = [name for name in files(tmp_path / "run") if "/c/" in name]
    assert len(chunks) == 3
    np.testing.assert_array_equal(
        run.load([6])[6].codes[:, 0], ordinal_codes(counts_table(n_variables=7).column(6))
    )


def test_load_reads_each_needed_chunk_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Location("memory://prepared-requests/run")
    prepare(counts_table(), DataConfig(path="unused.csv"), run)
    memory = type(fsspec.filesystem("memory"))
    read: list[str] = []
    cat_file = memory.cat_file

    def recorded(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        read.append(path)
        return cat_file(self, path, *args, **kwargs)

    monkeypatch.setattr(memory, "cat_file", recorded)
    opened = Prepared.open(run)
    assert len(read) == 2  # variables.parquet and zarr.json
    read.clear()
    assert list(opened.load([149, 0, 3, 140, 63])) == [149, 0, 3, 140, 63]
    assert sorted(path[-5:] for path in read) == ["c/0/0", "c/2/0"]
    assert opened.load([]) == {}


# Groups --------------------------------------------------------------------------------------


def test_groups(tmp_path: Path) -> None:
    run = prepared(tmp_path, hand_made(), "whole,A gaps,A gaps,B ties,B left,C right,D right,C")
    assert run.names == ["flat", "gone", "A", "B", "C", "D"]
    assert run.dims.tolist() == [1, 1, 2, 2, 2, 1]
    a = run.load([2])[2]
    expected = [ordinal_codes(np.array(HAND_MADE[name], dtype=float)) for name in ("gaps", "whole")]
    np.testing.assert_array_equal(a.codes, np.stack(expected, axis=1))
    row = qc_row(run, "B")
    assert (row["columns"], row["n_samples"], row["n_missing"]) == ([0, 1], 5, 3)
    assert (row["n_nonfinite"], row["n_distinct"]) == (2, 5)
    assert (row["tie_share"], row["zero_share"]) == (5 / 8, 2 / 8)
    assert [row[key] for key in ("minimum", "maximum", "mean", "sd")] == [None] * 4
    # each column has values, but no sample has both
    assert run.statuses[4] is Status.ALL_MISSING
    assert "no sample has a value in all 2 columns" in qc_row(run, "C")["message"]
    assert run.statuses[5] is Status.OK


def test_unusable_members_are_left_out_and_named(tmp_path: Path) -> None:
    run = prepared(tmp_path, hand_made(), "whole,A flat,A gone,A flat,B gone,B gone,C")
    rows = {name: qc_row(run, name) for name in "ABC"}
    assert (rows["A"]["columns"], rows["A"]["status"]) == ([4], "ok")
    assert rows["A"]["message"] == "left out: 'flat' (constant), 'gone' (all_missing)"
    assert (rows["B"]["columns"], rows["B"]["status"]) == ([], "constant")
    assert "no member is usable: 'flat' (constant)" in rows["B"]["message"]
    assert rows["C"]["status"] == "all_missing"
    index = run.names.index("B")
    assert run.load([index])[index].codes.shape == (8, 0)


@pytest.mark.parametrize(
    ("groups", "parts"),
    [
        ("wole,A", ["'wole' of group 'A'", "did you mean 'whole'?", "data.variables"]),
        ("whole,ties", ["group 'ties' has the name of a variable", "rename", "data.exclude"]),
        ("whole,", ["row 1", "empty cell", "'whole'"]),
        ("", ["no rows", "leave data.groups out"]),
    ],
)
def test_group_faults(tmp_path: Path, groups: str, parts: list[str]) -> None:
    run = Location(str(tmp_path / "run"))
    with pytest.raises(DataError) as caught:
        prepare(hand_made(), config(tmp_path, groups), run)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert not run.exists()


def test_groups_file_without_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "groups.tsv"
    path.write_text("variables\tgroup\nwhole\tA\n")
    with pytest.raises(DataError, match="no column 'variable'; did you mean 'variables'"):
        prepare(
            hand_made(), DataConfig(path="unused.csv", groups=str(path)), Location(str(tmp_path))
        )


def test_a_group_may_have_the_name_of_its_member(tmp_path: Path) -> None:
    assert "whole" in prepared(tmp_path, hand_made(), "whole,whole ties,whole").names


# Faults --------------------------------------------------------------------------------------


def test_open_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"variables.parquet"):
        Prepared.open(Location(str(tmp_path / "absent")))


@pytest.mark.parametrize("n_bytes", [0, 100])
@pytest.mark.parametrize("name", ["variables.parquet", "codes.zarr/zarr.json"])
def test_open_truncated(tmp_path: Path, name: str, n_bytes: int) -> None:
    prepared(tmp_path, hand_made())
    path = tmp_path / "run" / "prepared" / name
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(StoreError, match=r"damaged or changed since.*--verify|changed by hand"):
        Prepared.open(Location(str(tmp_path / "run")))


def test_open_with_codes_of_another_run(tmp_path: Path) -> None:
    prepared(tmp_path, hand_made())
    prepare(counts_table(n_variables=3), config(tmp_path), Location(str(tmp_path / "other")))
    codes = tmp_path / "run" / "prepared" / "codes.zarr"
    codes.rename(tmp_path / "aside")
    with pytest.raises(StoreError, match="there is nothing at"):
        Prepared.open(Location(str(tmp_path / "run")))
    (tmp_path / "other" / "prepared" / "codes.zarr").rename(codes)
    with pytest.raises(StoreError, match=r"its checksum differs"):
        Prepared.open(Location(str(tmp_path / "run")))


@pytest.mark.parametrize("damage", ["lost", "truncated", "flipped", "empty"])
def test_damaged_chunk_is_an_error_not_a_number(tmp_path: Path, damage: str) -> None:
    run = prepared(tmp_path, counts_table())
    chunk = tmp_path / "run" / "prepared" / "codes.zarr" / "c" / "1" / "0"
    data = bytearray(chunk.read_bytes())
    if damage == "lost":
        chunk.unlink()
    else:
        data[-1] ^= 1
        chunk.write_bytes({"truncated": data[:-9], "flipped": data, "empty": b""}[damage])
    assert run.load([0])[0].status is Status.OK
    how = "is lost" if damage == "lost" else "its checksum differs"
    with pytest.raises(StoreError, match=rf"codes\.zarr/c/1/0 {how}.*|c/1/0 is not what.*{how}"):
        run.load([0, 70])


def test_prepare_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, not a folder")
    with pytest.raises(StoreError, match=r"cannot .*run.*"):
        prepare(hand_made(), config(tmp_path), Location(str(tmp_path / "run")))


def test_sparse_columns_have_the_codes_and_the_quality_of_dense_ones() -> None:
    rng = np.random.default_rng(0)
    for k in range(300):
        n = int(rng.integers(1, 60))
        x = rng.integers(-3, 4, n) * (rng.random(n) < rng.random()).astype(float)
        x[rng.random(n) < 0.1] = np.nan
        x[rng.random(n) < 0.05 * (k % 3 == 0)] = np.inf
        stored = np.flatnonzero((x != 0) | (rng.random(n) < 0.1 + (k % 7 == 0)))
        dense, other = ordinal_codes(x), sparse_codes(n, stored, x[stored])
        np.testing.assert_array_equal(other, dense)
        assert measure_sparse(x[stored], other) == measure(x, dense)
