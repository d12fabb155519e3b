"""Expression files that gave a wrong network without a word: other modalities, corrected counts, conditions."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse
from scipy.io import mmwrite

from mmg_ray.config import DataConfig, PairsConfig, load_as
from mmg_ray.errors import ConfigError, DataError
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.genomics.depth import depth_of
from mmg_ray.genomics.job import go, inputs
from mmg_ray.store.run import Run
from mmg_ray.store.selection import resolve
from mmg_ray.store.sources import Table, read_table

N, V = 400, 40


def counts(seed: int = 3, n: int = N, v: int = V, level: float = 1.5) -> np.ndarray:
    """Counts of cells of very different depth; genes 0 and 1 depend, no others do."""
    rng = np.random.default_rng(seed)
    depth, latent = rng.lognormal(0, 0.4, n), rng.standard_normal((n, v))
    latent[:, 1] = 0.8 * latent[:, 0] + 0.6 * latent[:, 1]
    mean = rng.lognormal(level, 0.8, v)
    return rng.poisson(mean * np.exp(0.5 * latent) * depth[:, None]).astype(float)


def antibodies(rng: np.random.Generator) -> np.ndarray:
    own_depth = rng.lognormal(0, 0.6, N)[:, None]
    return rng.poisson(rng.lognormal(5, 0.6, 10) * own_depth).astype(float)


def settings(path: Path, **sections: Any) -> GenomicsConfig:
    tree: dict[str, Any] = {
        "data": {"path": str(path)},
        "network": {"report": False, "heatmap": False, "files": {}},
        "execute": {"executor": "serial"},
        "estimator": {"denoiser": "screen"},
        "output": {"url": str(path.parent / "run")},
    }
    for name, fields in sections.items():
        tree[name] = tree.get(name, {}) | fields
    return load_as(GenomicsConfig, yaml.safe_dump(tree))


def adata(values: np.ndarray, obs: Any = None, var: Any = None) -> ad.AnnData:
    cells = [f"c{n}" for n in range(values.shape[0])]
    genes = [f"GENE{v}" for v in range(values.shape[1])]
    return ad.AnnData(
        sparse.csr_matrix(values.astype(np.float32)),
        obs=pd.DataFrame(obs or {}, index=cells),
        var=pd.DataFrame(var or {}, index=genes),
    )


def significant(run: Run | None) -> list[tuple[str, str]]:
    assert run is not None
    edges = run.network(["fdr=0.05"]).edges
    return sorted(zip(edges.source, edges.target, strict=True))


def refusal(cfg: GenomicsConfig) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        list(inputs(cfg))
    return str(caught.value)


# --- feature types -------------------------------------------------------------------------------

FEATURES = [(f"ENSG{k:011d}", f"GENE{k}", "Gene Expression") for k in range(V)]
TAGS = [(f"ADT{k}", f"ADT{k}", "Antibody Capture") for k in range(10)]
TRUE_EDGE = [("GENE0", "GENE1")]


def write_folder(path: Path, values: np.ndarray, features: list[tuple[str, str, str]]) -> None:
    path.mkdir()
    matrix = io.BytesIO()
    mmwrite(matrix, sparse.coo_matrix(values.T.astype(int)), field="integer")
    texts = {
        "matrix.mtx.gz": matrix.getvalue(),
        "features.tsv.gz": "".join("\t".join(row) + "\n" for row in features).encode(),
        "barcodes.tsv.gz": "".join(f"c{n}\n" for n in range(len(values))).encode(),
    }
    for name, text in texts.items():
        (path / name).write_bytes(gzip.compress(text))


def write_h5(path: Path, values: np.ndarray, features: list[tuple[str, str, str]]) -> None:
    """Cell Ranger 3: features x barcodes by column, hence barcodes by row."""
    matrix = sparse.csr_matrix(values)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)
        group["shape"] = np.array(values.shape[::-1])
        group["barcodes"] = np.array([f"c{n}" for n in range(len(values))], dtype="S")
        for k, name in enumerate(("id", "name", "feature_type")):
            group[f"features/{name}"] = np.array([row[k] for row in features], dtype="S")


def write_h5ad(path: Path, values: np.ndarray, features: list[tuple[str, str, str]]) -> None:
    made = adata(values, var={"feature_types": pd.Categorical([row[2] for row in features])})
    made.var_names = [row[1] for row in features]
    made.write_h5ad(path)


WRITERS: dict[str, Callable[[Path, np.ndarray, list[tuple[str, str, str]]], None]] = {
    "filtered_feature_bc_matrix": write_folder,
    "filtered_feature_bc_matrix.h5": write_h5,
    "cite.h5ad": write_h5ad,
}


@pytest.mark.parametrize("name", WRITERS)
def test_antibodies_are_no_genes_and_no_depth(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    values = np.hstack([counts(), antibodies(np.random.default_rng(0))])
    WRITERS[name](path, values, FEATURES + TAGS)
    ((made, run, _),) = go(settings(path))
    # those of the genes alone, the true one and no more than chance allows
    (tmp_path / "alone").mkdir()
    genes = tmp_path / "alone/genes.h5ad"
    write_h5ad(genes, counts(), FEATURES)
    ((_, alone, _),) = go(settings(genes))
    assert significant(run) == significant(alone)
    assert set(TRUE_EDGE) <= set(significant(run))
    assert len(significant(run)) <= 3  # with the antibodies nearly all of 780
    text = "\n".join(made.notes)
    assert "40 of Gene Expression; left out: 10 of Antibody Capture (data.feature_types" in text
    # chosen, in any case of letters, and all
    table = read_table(DataConfig(path=str(path), feature_types=("antibody capture",)))
    assert table.names == [row[1] for row in TAGS]
    assert read_table(DataConfig(path=str(path), feature_types=("*",))).n_variables == V + 10
    for fields, parts in [
        ({"feature_types": ("Antibody",)}, ["no features of type 'Antibody'", "Antibody Capture"]),
        ({"variables": ("ADT1",)}, ["'ADT1' is of feature type 'Antibody Capture'", "set data.f"]),
    ]:
        with pytest.raises(DataError) as caught:
            read_table(DataConfig(path=str(path), **fields))
        assert all(part in str(caught.value) for part in parts), caught.value
    # what is left out anyway may be left out by name, too
    assert read_table(DataConfig(path=str(path), exclude=("ADT*",))).n_variables == V


@pytest.mark.parametrize("kinds", [("Peaks", "CRISPR Guide Capture"), ("GEX", "ADT")])
def test_several_types_without_expression_are_asked_about(
    tmp_path: Path, kinds: tuple[str, str]
) -> None:
    path = tmp_path / "t.h5ad"
    write_h5ad(path, counts(), [(row[0], row[1], kinds[k % 2]) for k, row in enumerate(FEATURES)])
    assert f"20 of {kinds[0]}, 20 of {kinds[1]}" in refusal(settings(path))
    ((_, made),) = inputs(settings(path, data={"feature_types": kinds[1]}))
    assert made.table.names == [f"GENE{k}" for k in range(1, V, 2)]


def test_a_file_of_one_other_type_is_read_and_said(tmp_path: Path) -> None:
    path = tmp_path / "t_bc_matrix"
    write_folder(path, counts(), [(a, b, "Peaks") for a, b, _ in FEATURES])
    table = read_table(DataConfig(path=str(path)))
    assert (table.n_variables, table.notes) == (V, ["features: 40 of Peaks"])


def test_h5_of_cell_ranger_2_and_what_is_no_matrix(tmp_path: Path) -> None:
    path = tmp_path / "genes.h5"
    matrix = sparse.csr_matrix(counts())
    with h5py.File(path, "w") as file:
        for genome in ("GRCh38", "mm10"):
            for part in ("data", "indices", "indptr"):
                file[f"{genome}/{part}"] = getattr(matrix, part)
            file[f"{genome}/shape"] = np.array([V, N])
            file[f"{genome}/barcodes"] = np.array([f"c{n}" for n in range(N)], dtype="S")
            file[f"{genome}/genes"] = np.array([row[0] for row in FEATURES], dtype="S")
            file[f"{genome}/gene_names"] = np.array([row[1] for row in FEATURES], dtype="S")
    with pytest.raises(DataError, match=r"2 genomes \(GRCh38, mm10\); name one with data.key"):
        read_table(DataConfig(path=str(path)))
    table = read_table(DataConfig(path=str(path), key="mm10", variable_names="id"))
    np.testing.assert_array_equal(table.values.toarray(), counts())
    assert table.names[:2] == ["ENSG00000000000", "ENSG00000000001"]
    adata(counts()).write_h5ad(path)
    with pytest.raises(DataError, match=r"set data\.format: h5ad"):
        read_table(DataConfig(path=str(path)))


def test_symbols_in_var_name_the_genes_where_there_are_any(tmp_path: Path) -> None:
    symbols = [row[1] for row in FEATURES]
    symbols[5] = None
    data = adata(counts(), obs={"name": [f"n{k}" for k in range(N)]}, var={"symbol": symbols})
    data.var_names = [row[0] for row in FEATURES]
    data.write_h5ad(tmp_path / "t.h5ad")
    own = {"variable_names": "symbol", "sample_names": "name"}
    table = read_table(DataConfig(path=str(tmp_path / "t.h5ad"), **own))
    assert table.names[4:7] == ["GENE4", "ENSG00000000005", "GENE6"]
    assert table.sample_names[:2] == ["n0", "n1"]
    assert table.notes == [
        "names:   1 of 40 have none in 'symbol' (data.variable_names) and keep that of the index"
    ]
    with pytest.raises(DataError, match="did you mean 'symbol'"):
        read_table(DataConfig(path=str(tmp_path / "t.h5ad"), variable_names="symbols"))


def test_attributes_of_a_loom_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "t.loom"
    with h5py.File(path, "w") as file:
        file["matrix"] = counts().T
        file["row_attrs/featurekey"] = np.array([row[1] for row in FEATURES], dtype="S")
        file["col_attrs/barcodekey"] = np.array([f"c{n}" for n in range(N)], dtype="S")
    with pytest.raises(DataError, match=r"it has featurekey.*set data\.variable_names"):
        read_table(DataConfig(path=str(path)))
    own = {"variable_names": "featurekey", "sample_names": "barcodekey"}
    table = read_table(DataConfig(path=str(path), **own))
    assert (table.names[1], table.sample_names[1]) == ("GENE1", "c1")


# --- counts that are not whole -------------------------------------------------------------------


def ambient(c: np.ndarray) -> np.ndarray:
    """As SoupX without rounding: the mean profile is subtracted by depth."""
    return np.clip(c - 0.05 * c.sum(1, keepdims=True) * c.sum(0) / c.sum(), 0, None)


def per_gene(c: np.ndarray) -> np.ndarray:
    return c * np.random.default_rng(1).beta(20, 2, c.shape)


def estimated(c: np.ndarray) -> np.ndarray:
    """As RSEM or Kallisto: most are whole, others share reads."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(c.shape) < 0.6, c, np.round(c * rng.uniform(0.6, 1, c.shape), 2))


def scaled(c: np.ndarray) -> np.ndarray:
    return c / c.sum(1, keepdims=True) * 1e4


COUNTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a share, rounded": lambda c: np.round(0.95 * c, 2),
    "ambient": ambient,
    "per gene": per_gene,
    "estimated": estimated,
    "by cell": lambda c: c * np.random.default_rng(1).beta(20, 2, (len(c), 1)),
    "log1p": np.log1p,
    "log2": lambda c: np.log2(1 + c),
    "roots": np.sqrt,
}
SCALED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "per 10,000": scaled,
    "log1p": lambda c: np.log1p(scaled(c)),
    "log2, rounded": lambda c: np.round(np.log2(1 + scaled(c)), 3),
    "some genes": lambda c: scaled(c)[:, ::3],
    "log1p of some genes": lambda c: np.log1p(scaled(c))[:, ::3].astype(np.float32),
    "z": lambda c: (np.log1p(c) - np.log1p(c).mean(0)) / np.log1p(c).std(0),
    "array": lambda c: 8 + np.random.default_rng(1).standard_normal(c.shape),
}


def found(values: np.ndarray) -> bool | None:
    table = Table(sparse.csc_matrix(values), [f"g{v}" for v in range(values.shape[1])])
    return depth_of(table, False, bool((values < 0).any())).counts


@pytest.mark.parametrize("level", [1.5, -0.5])
@pytest.mark.parametrize("name", COUNTS)
def test_depth_is_seen_in_counts_that_are_not_whole(name: str, level: float) -> None:
    assert found(COUNTS[name](counts(v=200, level=level))) is True


@pytest.mark.parametrize("level", [1.5, -0.5])
@pytest.mark.parametrize("name", SCALED)
def test_what_is_scaled_is_not_scaled_again(name: str, level: float) -> None:
    assert found(SCALED[name](counts(v=200, level=level))) is False


@pytest.mark.parametrize("name", ["a share, rounded", "ambient", "estimated"])
def test_depth_makes_no_edges_of_counts_that_are_not_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.h5ad"
    adata(COUNTS[name](counts())).write_h5ad(path)
    ((made, run, _),) = go(settings(path))
    assert set(TRUE_EDGE) <= set(significant(run))
    assert len(significant(run)) <= 3  # of 780, unscaled more than 700
    assert any("counts that are not whole (" in note for note in made.notes)
    assert any(note.startswith("scaled:") for note in made.notes)
    ((_, held),) = inputs(settings(path, cells={"stratify_by": ["depth"]}))
    assert any("among those alike in depth" in note for note in held.notes)


def test_where_it_is_open_the_job_asks(tmp_path: Path) -> None:
    path = tmp_path / "t.h5ad"
    values = np.round(np.log1p(scaled(ambient(counts(v=300, level=-1.5))))[:, ::2], 2)
    adata(values).write_h5ad(path)
    text = refusal(settings(path))
    assert "it is open whether the values are counts" in text
    assert "cells.normalise: log" in text
    ((_, made),) = inputs(settings(path, cells={"normalise": "none"}))
    np.testing.assert_allclose(made.table.column(0), values[:, 0], rtol=1e-6)
    text = refusal(settings(path, cells={"normalise": "none", "stratify_by": ["depth"]}))
    assert "the depth of cells is known of counts" in text
    # where one read is the smallest value of a cell, that tells its depth
    adata(np.log1p(scaled(counts()))).write_h5ad(path)
    ((_, made),) = inputs(settings(path, cells={"stratify_by": ["depth"]}))
    assert any("among those alike in depth" in note for note in made.notes)


# --- lists of regulators --------------------------------------------------------------------------


def test_versions_and_quotes_in_a_list_of_regulators(tmp_path: Path) -> None:
    path, listed = tmp_path / "t.h5ad", tmp_path / "tfs.txt"
    data = adata(counts())
    data.var_names = [f"ENSG{k:011d}.{k % 3}" for k in range(V - 1)] + ["TP53"]
    data.write_h5ad(path)
    listed.write_text(
        '"ENSG00000000001"\n\'ENSG00000000002.17\'\nENSG00000000003.0\n"TP53"\ntP53\nX\n'
    )
    ((_, made),) = inputs(settings(path, genes={"regulators": str(listed)}))
    assert made.regulators == [
        "ENSG00000000001.1",
        "ENSG00000000002.2",
        "ENSG00000000003.0",
        "TP53",
    ]
    text = "\n".join(made.notes)
    assert "4 of the 6 listed are genes of the table; not there: tP53, X" in text
    assert "2 identifiers matched without their version, as ENSG00000000001 and" in text
    assert "1 more would match if case did not count" in text
    pairs = PairsConfig(mode="bipartite", sources_file=str(listed))
    assert resolve(pairs, made.table.names).n_pairs == 4 * (V - 4) + 6


# --- conditions ----------------------------------------------------------------------------------


@pytest.fixture
def of_age(tmp_path: Path) -> Path:
    """Five genes that share the age of the donor, and nothing else."""
    rng = np.random.default_rng(0)
    age, latent = rng.standard_normal(500), rng.standard_normal((500, 30))
    latent[:, :5] += 1.2 * age[:, None]
    values = rng.poisson(np.exp(2 + 0.5 * latent)).astype(float)
    obs = {"age": age, "batch": pd.Categorical(np.where(age > 0, "old", "young"))}
    adata(values, obs=obs).write_h5ad(tmp_path / "age.h5ad")
    return tmp_path / "age.h5ad"


def shared(run: Run | None) -> float:
    assert run is not None
    edges = run.edges()
    five = {f"GENE{k}" for k in range(5)}
    return float(edges.mi_nats[edges.source.isin(five) & edges.target.isin(five)].mean())


def test_conditions_of_expression_are_taken_out(of_age: Path) -> None:
    deep = {"denoiser": "auto"}
    mi = {}
    for names in ([], ["age"], ["batch"], ["age", "depth"]):
        place = {"url": str(of_age.parent / ("run-" + "-".join(names)))}
        cfg = settings(of_age, data={"conditions": names}, output=place, estimator=deep)
        ((made, run, _),) = go(cfg)
        mi[tuple(names)] = shared(run)
        assert not names or f"given:   {', '.join(names)}" in made.notes
    assert mi[()] > 0.06
    assert abs(mi[("age",)]) < 0.002  # as `mmg-ray run` says of the same file
    assert abs(mi[("age", "depth")]) < 0.003
    assert mi[("age",)] < mi[("batch",)] < 0.6 * mi[()]  # two halves know a part of the age


def test_conditions_may_be_genes_that_take_no_part(of_age: Path) -> None:
    cfg = settings(of_age, data={"conditions": ["GENE0"]}, genes={"top": 6, "by": "expressed"})
    ((made, run, _),) = go(cfg)
    assert run is not None
    assert ("GENE0" in made.conditions) != ("GENE0" in made.table.names)
    assert run.manifest.config["data"]["conditions"] == ["GENE0"]
    text = refusal(settings(of_age, data={"conditions": ["agee"]}))
    assert (
        "'agee' is neither a variable that is kept nor a metadata column; did you mean 'age'?"
        in text
    )
    # of pools only what is alike within each is known
    assert "alike within a pool" in refusal(
        settings(of_age, data={"conditions": ["age"]}, cells={"pseudobulk": ["batch"]})
    )
    assert "genes.sets" in refusal(settings(of_age, data={"groups": "groups.csv"}))


def test_numbers_among_the_metadata_of_a_csv_are_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 400)
    shift = (age - 50) / 15
    values = rng.standard_normal((400, 3)) + shift[:, None]
    frame = pd.DataFrame(values, columns=["a", "b", "c"], index=[f"s{k}" for k in range(400)])
    frame.assign(age=age.round(1)).to_csv(tmp_path / "t.csv")
    from mmg_ray.execute.driver import run

    def mi(conditions: str) -> float:
        url = tmp_path / f"run{len(conditions)}"
        (tmp_path / "run.yaml").write_text(
            f"data: {{path: {tmp_path}/t.csv, metadata: [age], conditions: {conditions}}}\n"
            f"execute: {{executor: serial}}\noutput: {{url: {url}}}\n"
        )
        return float(run(tmp_path / "run.yaml").edges().mi_nats.mean())

    assert mi("[]") > 0.1
    assert abs(mi("[age]")) < 0.02


# --- damaged sparse matrices ---------------------------------------------------------------------

DAMAGE: dict[str, Callable[[dict[str, np.ndarray]], None]] = {
    "index too large": lambda parts: parts["indices"].__setitem__(3, 10**6),
    "index below 0": lambda parts: parts["indices"].__setitem__(0, -5),
    "pointers go back": lambda parts: parts["indptr"].__setitem__(2, 10**6),
    "pointer below 0": lambda parts: parts["indptr"].__setitem__(1, -4),
    "pointers end early": lambda parts: parts["indptr"].__setitem__(-1, 0),
    "pointers cut": lambda parts: parts.update(indptr=parts["indptr"][:-3]),
    "values cut": lambda parts: parts.update(data=parts["data"][:-2]),
    "indices are decimals": lambda parts: parts.update(indices=parts["indices"] + 0.5),
}


def _replace(group: Any, parts: dict[str, np.ndarray]) -> None:
    for name, values in parts.items():
        del group[name]
        group[name] = values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["t.h5ad", "layer.h5ad", "t.h5", "t.npz", "t.zarr"])
def test_damaged_indices_are_refused_before_anything_follows_them(
    tmp_path: Path, name: str, damage: str
) -> None:
    path = tmp_path / name
    matrix = sparse.csr_matrix(counts(v=6)[:50])
    parts = {part: getattr(matrix, part).copy() for part in ("data", "indices", "indptr")}
    DAMAGE[damage](parts)
    fields: dict[str, Any] = {}
    if name == "t.npz":
        np.savez(path, format=b"csr", shape=np.array(matrix.shape), **parts)
    elif name == "t.h5":
        write_h5(path, matrix.toarray(), FEATURES[:6])
        with h5py.File(path, "a") as file:
            _replace(file["matrix"], parts)
    else:
        data = adata(matrix.toarray())
        if name == "t.zarr":
            for part, values in parts.items():
                setattr(data.X, part, values)
            data.write_zarr(path)
        else:
            data.layers["raw_counts"] = data.X.copy()
            data.write_h5ad(path)
            fields = {"layer": "raw_counts"} if name == "layer.h5ad" else {}
            with h5py.File(path, "a") as file:
                _replace(file["layers/raw_counts" if fields else "X"], parts)
    with pytest.raises(DataError, match="damaged sparse matrix"):
        read_table(DataConfig(path=str(path), **fields))


def test_indices_outside_a_matrix_market_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t_bc_matrix"
    write_folder(path, counts(v=3)[:4], FEATURES[:3])
    head = "%%MatrixMarket matrix coordinate integer general\n3 4 1\n"
    for entry in ("9 1 5\n", "0 1 5\n", "-1 1 5\n", "1 99 5\n"):
        (path / "matrix.mtx.gz").write_bytes(gzip.compress((head + entry).encode()))
        with pytest.raises(DataError, match="Matrix Market"):
            read_table(DataConfig(path=str(path)))


def test_sparse_npz_of_scipy_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    for kind in ("csr", "csc", "coo"):
        sparse.save_npz(path, sparse.random(30, 4, 0.5, kind, random_state=0))
        table = read_table(DataConfig(path=str(path)))
        expected = sparse.random(30, 4, 0.5, kind, random_state=0).toarray()
        np.testing.assert_array_equal(table.values.toarray(), expected)
        turned = read_table(DataConfig(path=str(path), transpose=True))
        np.testing.assert_array_equal(turned.values.toarray(), expected.T)
    sparse.save_npz(path, sparse.eye(5, format="dia"))
    with pytest.raises(DataError, match="format 'dia'"):
        read_table(DataConfig(path=str(path)))
