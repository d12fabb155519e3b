"""Every format reads back the table that was written, and every fault names the way out."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from scipy import sparse
from scipy.io import mmwrite

from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.store.sources import SOURCES, read_table, source_digest

N, V = 7, 4
NAMES = ["gene.a", "gene", "c", "d"]
CELLS = [f"cell{n}" for n in range(N)]
BATCH = ["x", "y", "x", "y", "x", "y", "x"]


def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(1.0, (N, V)).astype(float)


def frame() -> pd.DataFrame:
    return pd.DataFrame(counts(), index=CELLS, columns=NAMES)


def adata(matrix: Any = None) -> ad.AnnData:
    result = ad.AnnData(
        counts() if matrix is None else matrix,
        obs=pd.DataFrame({"batch": BATCH, "depth": np.arange(N)}, index=CELLS),
        var=pd.DataFrame(index=NAMES),
        layers={"doubled": 2 * counts()},
    )
    result.raw = result.copy()
    return result


def write_zarr_array(path: Path) -> None:
    zarr.save_array(str(path), counts())


def write_zarr_group(path: Path) -> None:
    group = zarr.open_group(str(path), mode="w")
    group["counts"] = counts()
    names = group.create_array("names", shape=(V,), dtype="<U8")
    names[:] = np.array(NAMES)


def write_h5ad_before_0_7(path: Path) -> None:
    """As anndata wrote it then: obs and var are arrays of records, a category is its number."""
    matrix = sparse.csr_matrix(counts())
    categories, batch = np.unique(BATCH, return_inverse=True)
    obs = np.zeros(N, dtype=[("index", "S8"), ("batch", "i1")])
    obs["index"], obs["batch"] = CELLS, batch
    var = np.zeros(V, dtype=[("index", "S8")])
    var["index"] = NAMES
    with h5py.File(path, "w") as file:
        file["X"] = -counts()
        file["obs"], file["var"], file["raw.var"] = obs, var, var
        file["uns/batch_categories"] = categories.astype("S1")
        raw = file.create_group("raw.X")
        raw.attrs["h5sparse_format"], raw.attrs["h5sparse_shape"] = "csr", matrix.shape
        for part in ("data", "indices", "indptr"):
            raw[part] = getattr(matrix, part)


def write_loom(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["matrix"] = counts().T
        file["layers/doubled"] = 2 * counts().T
        text = h5py.string_dtype()
        file.create_dataset("row_attrs/Gene", data=NAMES, dtype=text)
        file.create_dataset("col_attrs/CellID", data=CELLS, dtype=text)
        file["col_attrs/batch"] = np.array(BATCH, dtype="S1")
        file["col_attrs/depth"] = np.arange(N)
        file["col_attrs/embedding"] = np.zeros((N, 2))


def write_10x(path: Path, zipped: bool = True, prefix: str = "", genes: str = "features") -> None:
    """Cell Ranger's folder: genes x barcodes, three columns of features."""
    path.mkdir()
    buffer = io.BytesIO()
    mmwrite(buffer, sparse.coo_matrix(counts().T.astype(int)))
    files = {
        "matrix.mtx": buffer.getvalue(),
        f"{genes}.tsv": "".join(f"ENSG{k}\t{n}\tGene Expression\n" for k, n in enumerate(NAMES)),
        "barcodes.tsv": "".join(f"{cell}\n" for cell in CELLS),
    }
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        name = prefix + name + (".gz" if zipped else "")
        (path / name).write_bytes(gzip.compress(data) if zipped else data)


def write_10x_h5(path: Path, group: str = "matrix", types: list[str] | None = None) -> None:
    """Cell Ranger's HDF5 of today, or with the name of a genome as the group that of version 2."""
    matrix = sparse.csr_matrix(counts())  # features x barcodes by column
    with h5py.File(path, "w") as file:
        place = file.create_group(group)
        for part in ("data", "indices", "indptr"):
            place[part] = getattr(matrix, part)
        place["shape"], place["barcodes"] = np.array([V, N]), np.array(CELLS, dtype="S")
        ids = [f"ENSG{k}" for k in range(V)]
        if group != "matrix":
            place["gene_names"], place["genes"] = np.array(NAMES, dtype="S"), np.array(ids, "S")
            return
        features = place.create_group("features")
        features["name"], features["id"] = np.array(NAMES, dtype="S"), np.array(ids, "S")
        features["feature_type"] = np.array(types or ["Gene Expression"] * V, dtype="S")


# file name -> (writer, whether the file names variables, whether it names samples)
WRITERS: dict[str, tuple[Callable[[Path], Any], bool, bool]] = {
    "t.csv": (lambda p: frame().to_csv(p), True, True),
    "t.csv.gz": (lambda p: frame().to_csv(p), True, True),
    "t.tsv": (lambda p: frame().to_csv(p, sep="\t"), True, True),
    "t.tsv.gz": (lambda p: frame().to_csv(p, sep="\t"), True, True),
    "plain.csv": (lambda p: frame().to_csv(p, index=False), True, False),
    "headerless.csv": (lambda p: frame().to_csv(p, index=False, header=False), False, False),
    "t.parquet": (lambda p: frame().to_parquet(p), True, True),
    "named_index.parquet": (lambda p: frame().rename_axis("cell").to_parquet(p), True, True),
    "t.npy": (lambda p: np.save(p, counts()), False, False),
    "t.npz": (lambda p: np.savez(p, counts=counts(), names=np.array(NAMES)), True, False),
    "t.h5ad": (lambda p: adata().write_h5ad(p), True, True),
    "sparse.h5ad": (lambda p: adata(sparse.csr_matrix(counts())).write_h5ad(p), True, True),
    "t.loom": (write_loom, True, True),
    "filtered_feature_bc_matrix": (write_10x, True, True),
    "t.h5": (write_10x_h5, True, True),
    "array.zarr": (write_zarr_array, False, False),
    "group.zarr": (write_zarr_group, True, False),
    "anndata.zarr": (lambda p: adata(sparse.csc_matrix(counts())).write_zarr(p), True, True),
}


SPARSE = ("t.h5", "sparse.h5ad", "anndata.zarr", "t.loom", "filtered_feature_bc_matrix")


def dense(values: Any) -> np.ndarray:
    return values.toarray() if sparse.issparse(values) else values


def message(path: Path | str, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(DataConfig(path=str(path), **fields))
    assert caught.value.__cause__ is None
    return str(caught.value)


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("remote", [False, True], ids=["local", "memory"])
def test_round_trip(tmp_path: Path, name: str, remote: bool) -> None:
    write, names_variables, names_samples = WRITERS[name]
    write(tmp_path / name)
    url = str(tmp_path / name)
    if remote:
        url = f"memory://{tmp_path.name}/{name}"
        fsspec.filesystem("memory").put(str(tmp_path / name), url, recursive=True)
    table = read_table(DataConfig(path=url))
    np.testing.assert_array_equal(dense(table.values), counts())
    assert table.values.dtype == np.float64
    assert table.names == (NAMES if names_variables else ["v0", "v1", "v2", "v3"])
    assert table.sample_names == (CELLS if names_samples else None)
    assert sparse.issparse(table.values) == (name in SPARSE)
    for v in range(V):
        np.testing.assert_array_equal(table.column(v), counts()[:, v])


def test_every_format_has_a_round_trip() -> None:
    endings = tuple(ending for source in SOURCES.values() for ending in source.endings)
    readable = [ending for ending in endings if not ending.endswith((".mtx", ".mtx.gz"))]
    assert all(any(name.endswith(ending) for name in WRITERS) for ending in readable)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "write", "names_samples"),
    [
        ("t.csv", lambda p: frame().T.to_csv(p), True),
        ("gene.csv", lambda p: frame().T.rename_axis("symbol").to_csv(p), True),
        ("bare.csv", lambda p: frame().T.to_csv(p, index=False, header=False), False),
        ("t.parquet", lambda p: frame().T.reset_index(names="symbol").to_parquet(p), True),
        ("t.npy", lambda p: np.save(p, counts().T), False),
        ("t.h5ad", lambda p: adata(sparse.csr_matrix(counts())).T.write_h5ad(p), True),
    ],
)
def test_transpose(tmp_path: Path, name: str, write: Any, names_samples: bool) -> None:
    write(tmp_path / name)
    table = read_table(DataConfig(path=str(tmp_path / name), transpose=True))
    np.testing.assert_array_equal(dense(table.values), counts())
    assert table.names == (NAMES if name not in ("bare.csv", "t.npy") else ["v0", "v1", "v2", "v3"])
    assert table.sample_names == (CELLS if names_samples else None)


def test_transposed_text_is_harmless_where_it_is_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path, "gene,about,s1,s2\ng1,first,1,NA\nkind,-,tumour,normal\ng2,second,3,4\n")
    table = read_table(
        DataConfig(path=str(path), transpose=True, metadata=("about",), exclude=("kind",))
    )
    assert (table.names, table.sample_names) == (["g1", "g2"], ["s1", "s2"])
    np.testing.assert_array_equal(table.values, [[1, 3], [np.nan, 4]])
    text = message(path, transpose=True, metadata=("about",))
    assert "'s1'" in text
    assert "'tumour' for variable 'kind'" in text
    assert "data.exclude" in text


def test_transposed_identifiers_must_be_declared(tmp_path: Path) -> None:
    path = csv(tmp_path, "entrez,s1,s2\n007,1,2\n672,3,4\n")
    text = message(path, transpose=True)
    assert "column 'entrez'" in text
    assert "data.index_column: entrez" in text
    table = read_table(DataConfig(path=str(path), transpose=True, index_column="entrez"))
    assert (table.names, table.sample_names) == (["007", "672"], ["s1", "s2"])
    np.testing.assert_array_equal(table.values, [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("text", "names", "samples"),
    [
        (",a,b\ns1,1,2\ns2,3,4\n", ["a", "b"], ["s1", "s2"]),
        ("index,a,b\n007,1,2\n008,3,4\n", ["a", "b"], ["007", "008"]),
        ("Unnamed: 0,a,b\n0,1,2\n1,3,4\n", ["a", "b"], ["0", "1"]),
        ("a,b\ns1,1,2\ns2,3,4\n", ["a", "b"], ["s1", "s2"]),  # R's write.table
        ("\ufeffa,b\r\n1,2\r\n3,4\r\n", ["a", "b"], None),
        ('\n\n"a, x","b"\n1,2\n3,4\n', ["a, x", "b"], None),
        ("0,1\n1,2\n3,4\n", ["0", "1"], None),  # pandas without column names
        ("1.0,2\n3,4", ["v0", "v1"], None),
        ("1e0, 2\n3,4.0", ["v0", "v1"], None),
    ],
)
def test_csv_header_and_index(
    tmp_path: Path, text: str, names: list[str], samples: list[str] | None
) -> None:
    table = read_table(DataConfig(path=str(csv(tmp_path, text))))
    assert (table.names, table.sample_names) == (names, samples)
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_csv_values(tmp_path: Path) -> None:
    text = "a,flag,big,gone\n1,true,9007199254740993,\nNA,false,1e300,NaN\nN/A,,null,nan\ninf,TRUE,-5,\n"
    table = read_table(DataConfig(path=str(csv(tmp_path, text))))
    nan = np.nan
    expected = [
        [1, 1, 2.0**53, nan],
        [nan, 0, 1e300, nan],
        [nan, nan, nan, nan],
        [np.inf, 1, -5, nan],
    ]
    np.testing.assert_array_equal(table.values, expected)


def test_csv_types_may_change_far_down(tmp_path: Path) -> None:
    rows = "\n".join(["1"] * 200_000 + ["1.5"])
    table = read_table(DataConfig(path=str(csv(tmp_path, f"a\n{rows}\n"))))
    assert table.values[-1, 0] == 1.5


def test_parquet_types(tmp_path: Path) -> None:
    columns = {
        "flag": pa.array([True, None, False]),
        "small": pa.array([1, 2, None], pa.int8()),
        "half": pa.array(np.array([0.5, 1, 2], np.float16)),
        "money": pa.array([1, 2, 3]).cast(pa.decimal128(25, 2)),
        "code": pa.array([4, 5, None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(DataConfig(path=str(tmp_path / "t.parquet")))
    nan = np.nan
    expected = [[1, 1, 0.5, 1, 4], [nan, 2, 1, 2, 5], [0, nan, 2, 3, nan]]
    np.testing.assert_array_equal(table.values, expected)
    # text is text in a typed file, even where it could be read as a number
    pq.write_table(pa.table({"a": [1.0], "id": ["001"]}), tmp_path / "t.parquet")
    assert "column 'id'" in message(tmp_path / "t.parquet")


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32"])
def test_numeric_dtypes(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "t.npy", counts().astype(dtype))
    table = read_table(DataConfig(path=str(tmp_path / "t.npy")))
    np.testing.assert_array_equal(table.values, counts().astype(dtype).astype(float))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["t.h5ad", "t.zarr"])
def test_layers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = adata()
    data = data[:, ["c", "d"]].copy()  # raw keeps all four variables
    (data.write_h5ad if name == "t.h5ad" else data.write_zarr)(path)
    layer = read_table(DataConfig(path=str(path), layer="doubled"))
    np.testing.assert_array_equal(layer.values, 2 * counts()[:, 2:])
    raw = read_table(DataConfig(path=str(path), layer="raw"))
    assert raw.names == NAMES
    np.testing.assert_array_equal(raw.values, counts())
    text = message(path, layer="double")
    assert "no layer 'double'; did you mean 'doubled'?" in text


@pytest.mark.parametrize("remote", [False, True], ids=["local", "memory"])
def test_h5ad_of_old(tmp_path: Path, remote: bool) -> None:
    path = tmp_path / "old.h5ad"
    write_h5ad_before_0_7(path)
    url = str(path)
    if remote:
        url = f"memory://{tmp_path.name}/old.h5ad"
        fsspec.filesystem("memory").put(str(path), url)
    np.testing.assert_array_equal(read_table(DataConfig(path=url)).values, -counts())
    raw = DataConfig(path=url, layer="raw", samples={"batch": ("y",)})
    table = read_table(raw)
    assert sparse.issparse(table.values)
    assert (table.names, table.sample_names) == (NAMES, CELLS[1::2])
    np.testing.assert_array_equal(table.values.toarray(), counts()[1::2])


def test_sparse_keeps_stored_zeros_and_missing_values(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(counts())
    matrix.data[0], matrix.data[1] = 0.0, np.nan
    adata(matrix).write_h5ad(tmp_path / "t.h5ad")
    table = read_table(DataConfig(path=str(tmp_path / "t.h5ad")))
    np.testing.assert_array_equal(
        np.stack([table.column(v) for v in range(V)], axis=1), matrix.toarray()
    )


# Selection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"variables": ("gene*",)}, ["gene.a", "gene"]),
        ({"variables": ("d", "gene")}, ["gene", "d"]),
        ({"variables": ("?", "gene"), "exclude": ("d",)}, ["gene", "c"]),
        ({"exclude": ("[cd]",)}, ["gene.a", "gene"]),
    ],
)
def test_variables(tmp_path: Path, fields: dict[str, Any], expected: list[str]) -> None:
    frame().to_csv(tmp_path / "t.csv")
    table = read_table(DataConfig(path=str(tmp_path / "t.csv"), **fields))
    assert table.names == expected
    np.testing.assert_array_equal(table.values, frame()[expected].to_numpy())


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"variables": ("Gene",)}, ["data.variables", "'Gene'", "did you mean 'gene'?"]),
        ({"exclude": ("gene.b*",)}, ["data.exclude", "'gene.b*'", "'gene"]),
        ({"exclude": ("*",)}, ["keeps none of the 4 variables", "widen"]),
        ({"variables": ()}, ["data.variables []", "keeps none"]),
    ],
)
def test_variables_that_match_nothing(
    tmp_path: Path, fields: dict[str, Any], parts: list[str]
) -> None:
    frame().to_csv(tmp_path / "t.csv")
    text = message(tmp_path / "t.csv", **fields)
    assert all(part in text for part in parts), text


def test_exact_name_goes_before_pattern(tmp_path: Path) -> None:
    table = read_table(
        DataConfig(path=str(csv(tmp_path, "HLA[A],HLAA,b\n1,2,3\n4,5,6\n")), variables=("HLA[A]",))
    )
    assert table.names == ["HLA[A]"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.h5ad"])
def test_samples(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    columns = {"batch": BATCH, "day": [1, 2, 3, 1, 2, 3, 1]}
    metadata: tuple[str, ...] = ("batch", "day")
    if name == "t.h5ad":
        data = adata(sparse.csr_matrix(counts()))
        data.obs["day"] = columns["day"]
        data.write_h5ad(path)
        metadata = ()
    else:
        whole = frame().assign(**columns)
        whole.to_csv(path) if name == "t.csv" else whole.to_parquet(path)

    def read(samples: dict[str, Any]) -> Any:
        return read_table(DataConfig(path=str(path), metadata=metadata, samples=samples))

    table = read({"batch": "x", "day": ("1", "2")})
    assert table.sample_names == ["cell0", "cell4", "cell6"]
    assert table.metadata["batch"].tolist() == ["x", "x", "x"]
    assert [str(day) for day in table.metadata["day"]] == ["1", "2", "1"]
    np.testing.assert_array_equal(dense(table.values), counts()[[0, 4, 6]])
    for samples, parts in [
        ({"bath": "x"}, ["'bath'", "did you mean 'batch'?", "data.metadata"]),
        ({"batch": ("x", "z")}, ["'batch' = 'z'", "did you mean"]),
    ]:
        text = message(path, metadata=metadata, samples=samples)
        assert all(part in text for part in parts), text


def test_samples_that_no_sample_meets_together(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,sex,dose\n1,f,high\n2,m,low\n")
    text = message(path, metadata=("sex", "dose"), samples={"sex": "f", "dose": "low"})
    assert "keeps none of the 2 samples" in text
    assert "drop one" in text


def test_sample_filter_reads_booleans_and_missing_values(tmp_path: Path) -> None:
    data = pa.table({"a": [1.0, 2.0, 3.0], "ok": [True, False, None], "x": [1.0, None, 2.5]})
    pq.write_table(data, tmp_path / "t.parquet")

    def kept(samples: dict[str, Any]) -> list[float]:
        cfg = DataConfig(path=str(tmp_path / "t.parquet"), metadata=("ok", "x"), samples=samples)
        return list(read_table(cfg).values[:, 0])

    assert kept({"ok": "true"}) == [1.0]
    assert kept({"ok": ""}) == [3.0]
    assert kept({"x": ("1", "2.5")}) == [1.0, 3.0]


def test_duplicate_names(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,a,a-1,a\n1,2,3,4,5\n6,7,8,9,10\n")
    text = message(path)
    assert "variable 'a' occurs 3 times, at positions 0, 2, 4" in text
    assert "data.duplicate_names: number" in text
    table = read_table(DataConfig(path=str(path), duplicate_names="number"))
    assert table.names == ["a", "b", "a-2", "a-1", "a-3"]
    assert table.values[0].tolist() == [1, 2, 3, 4, 5]
    # what is left out may repeat
    assert read_table(DataConfig(path=str(path), exclude=("a",))).names == ["b", "a-1"]


def test_missing_error(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b,c\n1,NA,3\n4,inf,\n7,8,9\n")
    assert read_table(DataConfig(path=str(path))).n_samples == 3
    text = message(path, missing="error")
    assert "variable 'b' has 2 missing" in text
    assert "2 variables and 3 values" in text
    assert "data.missing: pairwise" in text


# Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields", "parts"),
    [
        ("", {}, ["is empty"]),
        ("\n \n", {}, ["is empty", "header"]),
        ("\ufeff\n", {}, ["is empty", "header"]),
        ("a,b\n", {}, ["zero samples", "0 samples x 2 variables", "data.transpose"]),
        ("index\ns1\n", {}, ["zero variables", "1 samples x 0 variables"]),
        ("cell,a\nx9,1\n", {}, ["column 'cell'", "'x9' in row 1", "data.index_column: cell"]),
        ("a,b\n1,2\n3,oops\n", {}, ["column 'b'", "'oops' in row 2", "data.metadata", "exclude"]),
        ("a,day\n1,2024-01-01\n", {}, ["column 'day'", "'2024-01-01' in row 1"]),
        ("a,b\n1,2\n3\n", {}, ["cannot be read as csv", "Expected 2 columns, got 1"]),
        ("a,b\n1,2,\n3,4,\n", {}, ["cannot be read as csv", "Expected 2 columns, got 3"]),
        ("a\tb\n1\t2\n", {}, ["one column only", "holds tabs", "data.format: tsv"]),
        ("a,,b\n1,2,3\n", {}, ["position 1", "has no name"]),
        ("a,b\n1,2\n", {"index_column": "cel"}, ["data.index_column", "'cel'", "did you mean"]),
        ("1,2\n3,4\n", {"index_column": "cell"}, ["data.index_column", "'cell'"]),
        ("a,kind\n1,x\n", {"metadata": ("knd",)}, ["data.metadata", "did you mean 'kind'?"]),
        ("a,kind\n1,x\n", {"samples": {"kind": "x"}}, ["no metadata column", "data.metadata"]),
        ("a,b\n1,2\n", {"layer": "raw"}, ["data.layer is 'raw'", "csv", "h5ad", "leave it out"]),
        ("a,b\n1,2\n", {"key": "x"}, ["data.key is 'x'", "npz, zarr"]),
        ("a,b\n1,2\n", {"format": "cvs"}, ["data.format is 'cvs'", "did you mean 'csv'?"]),
    ],
)
def test_csv_faults(tmp_path: Path, text: str, fields: dict[str, Any], parts: list[str]) -> None:
    found = message(csv(tmp_path, text), **fields)
    assert all(part in found for part in parts), found


def test_no_such_file_folder_or_format(tmp_path: Path) -> None:
    assert "there is nothing at" in message(tmp_path / "absent.csv")
    assert "there is nothing at memory://" in message("memory://absent/t.csv")
    assert "nosuch" in message("nosuch://bucket/t.csv")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    text = message(tmp_path / "t.xlsx")
    assert "t.xlsx" in text
    assert all(ending in text for source in SOURCES.values() for ending in source.endings)
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in message(tmp_path / "folder.csv")


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    assert "UTF-8" in message(tmp_path / "t.csv")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["t.csv.gz", "t.parquet", "t.npy", "t.npz", "t.h5ad", "sparse.h5ad"]
)
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_files(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    WRITERS[name][0](path)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"GIF89a"}[damage])
    text = message(path)
    assert str(path) in text
    if damage == "empty":
        assert "is empty (0 bytes)" in text
    elif name != "t.csv.gz" or damage == "truncated":
        assert "cannot be read as" in text
        assert "write or copy it again" in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", ["absent", "empty", "half"])
def test_damaged_zarr(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.zarr"
    write_zarr_array(path)
    meta = path / "zarr.json"
    if damage == "absent":
        meta.unlink()
    else:
        meta.write_text("" if damage == "empty" else meta.read_text()[:40])
    assert "cannot be read as zarr" in message(path)


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (np.zeros((3, 2), complex), ["complex", "real and imaginary"]),
        (np.zeros(3), ["shape (3,)", "x[:, None]"]),
        (np.zeros((3, 2, 2)), ["shape (3, 2, 2)", "two axes"]),
        (np.zeros((0, 2)), ["zero samples"]),
        (np.zeros((2, 0)), ["zero variables"]),
        (np.array([["a", "b"]]), ["<U1", "not numeric"]),
        (np.array([[1, None]], dtype=object), ["Python objects", "never unpickled"]),
    ],
)
@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_array_faults(tmp_path: Path, array: np.ndarray, parts: list[str], name: str) -> None:
    path = tmp_path / name
    np.save(path, array) if name == "t.npy" else np.savez(path, x=array)
    text = message(path)
    assert all(part in text for part in parts), text


def test_npz_keys(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, train=counts(), test=counts()[:2], names=np.array(NAMES))
    text = message(path)
    assert "2 arrays (test, train)" in text
    assert "data.key" in text
    assert "did you mean 'train'?" in message(path, key="trian")
    assert read_table(DataConfig(path=str(path), key="test")).n_samples == 2
    np.savez(path, x=counts(), names=np.array(NAMES[:3]))
    assert "names 3 variables, but its array has 4 columns" in message(path)


@pytest.mark.filterwarnings("ignore")
def test_zarr_keys(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "t.zarr"), mode="w")
    group["a"], group["b"] = counts(), 2 * counts()
    assert "2 arrays (a, b)" in message(tmp_path / "t.zarr")
    table = read_table(DataConfig(path=str(tmp_path / "t.zarr"), key="b"))
    np.testing.assert_array_equal(table.values, 2 * counts())
    assert "use data.key" in message(tmp_path / "t.zarr", layer="a")
    assert "did you mean" in message(tmp_path / "t.zarr", key="c")


class _Trap:
    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return (Path.touch, (Path(_Trap.sprung),))  # type: ignore[return-value]

    sprung = ""


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    _Trap.sprung = str(tmp_path / "sprung")
    np.save(tmp_path / "t.npy", np.array([[_Trap()]], dtype=object), allow_pickle=True)
    assert "never unpickled" in message(tmp_path / "t.npy")
    folder = tmp_path / "t.zarr"
    folder.mkdir()
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    for name, dtype, filters in [("x", "<f8", "null"), ("names", "|O", '[{"id": "vlen-utf8"}]')]:
        (folder / name).mkdir()
        compressor = '{"id": "pickle", "protocol": 5}' if name == "names" else "null"
        fill, shape = ('""', "[1]") if name == "names" else ("0", "[2, 1]")
        (folder / name / ".zarray").write_text(
            f'{{"zarr_format": 2, "shape": {shape}, "chunks": {shape}, "dtype": "{dtype}", '
            f'"compressor": {compressor}, "fill_value": {fill}, "order": "C", "filters": {filters}}}'
        )
    (folder / "names" / "0").write_bytes(pickle.dumps(_Trap()))
    assert "nothing from storage is unpickled" in message(folder)
    assert not (tmp_path / "sprung").exists()


# Digest --------------------------------------------------------------------------------------


def test_digest(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b\n1,2\n")
    cfg = DataConfig(path=str(path))
    assert source_digest(cfg) == hashlib.sha256(path.read_bytes()).hexdigest()
    fsspec.filesystem("memory").pipe("/digest/t.csv", path.read_bytes())
    assert source_digest(DataConfig(path="memory://digest/t.csv")) == source_digest(cfg)

    groups = tmp_path / "groups.csv"
    groups.write_text("variable,group\na,g\n")
    first = source_digest(DataConfig(path=str(path), groups=str(groups)))
    groups.write_text("variable,group\nb,g\n")
    second = source_digest(DataConfig(path=str(path), groups=str(groups)))
    assert len({source_digest(cfg), first, second}) == 3
    with pytest.raises(DataError, match="there is nothing at"):
        source_digest(DataConfig(path=str(tmp_path / "absent.csv")))


def test_digest_of_a_folder(tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        write_zarr_array(tmp_path / place / "t.zarr")
        digests.add(source_digest(DataConfig(path=str(tmp_path / place / "t.zarr"))))
    assert len(digests) == 1
    chunk = next(path for path in (tmp_path / "two").rglob("c/**/*") if path.is_file())
    chunk.rename(chunk.with_name("9"))
    digests.add(source_digest(DataConfig(path=str(tmp_path / "two" / "t.zarr"))))
    assert len(digests) == 2


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_table(DataConfig(path=str(tmp_path / "t.csv"))).names == ["a", "b"]


def test_loom_reads_layers_attributes_and_files_the_wrong_way_round(tmp_path: Path) -> None:
    path = tmp_path / "t.loom"
    write_loom(path)
    table = read_table(DataConfig(path=str(path), layer="doubled", samples={"batch": ("y",)}))
    np.testing.assert_array_equal(dense(table.values), 2 * counts()[1::2])
    assert table.sample_names == CELLS[1::2]
    assert sorted(table.metadata) == ["CellID", "batch", "depth"]
    assert "did you mean 'doubled'" in message(path, layer="double")
    turned = tmp_path / "turned.loom"
    with h5py.File(turned, "w") as file:
        file["matrix"] = counts()
        file["row_attrs/CellID"] = np.array(CELLS, dtype="S")
        file["col_attrs/Gene"] = np.array(NAMES, dtype="S")
    assert "does not name its genes" in message(turned)
    table = read_table(DataConfig(path=str(turned), transpose=True))
    np.testing.assert_array_equal(dense(table.values), counts())
    assert (table.names, table.sample_names) == (NAMES, CELLS)


def test_a_file_that_is_no_loom_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.loom"
    path.write_bytes(b"not HDF5 at all")
    assert "cannot be read as loom" in message(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    assert "it is no loom file" in message(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("genes", ["features", "genes"])
def test_10x_folders_of_both_ages_and_with_prefixes(
    tmp_path: Path, zipped: bool, genes: str
) -> None:
    write_10x(tmp_path / "t", zipped, "GSM1_", genes)
    table = read_table(DataConfig(path=str(tmp_path / "t"), format="mtx"))
    np.testing.assert_array_equal(dense(table.values), counts())
    assert (table.names, table.sample_names) == (NAMES, CELLS)


def test_10x_folders_that_do_not_fit_say_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    write_10x(folder, zipped=False)
    assert "give the folder that holds it" in message(folder / "matrix.mtx")
    assert "other way round: set data.transpose: false" in message(
        folder, format="mtx", transpose=True
    )
    (folder / "barcodes.tsv").write_text("a\nb\n")
    assert "barcodes.tsv 2; the files are of different data" in message(folder, format="mtx")
    (folder / "barcodes.tsv").unlink()
    assert "needs one file that ends in barcodes.tsv" in message(folder, format="mtx")
    (folder / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in CELLS))
    (folder / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n4 7 9\n")
    assert "cannot be read as Matrix Market" in message(folder, format="mtx")


def test_repeated_symbols_of_a_10x_folder_are_named(tmp_path: Path) -> None:
    write_10x(tmp_path / "t", zipped=False)
    (tmp_path / "t" / "features.tsv").write_text("E1\tA\nE2\tB\nE3\tA\nE4\tC\n")
    assert "'A' occurs 2 times, at positions 0, 2" in message(tmp_path / "t", format="mtx")
    table = read_table(DataConfig(path=str(tmp_path / "t"), format="mtx", duplicate_names="number"))
    assert table.names == ["A", "B", "A-1", "C"]
