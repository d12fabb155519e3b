"""mmg_ray/genomics on small written files: every choice against plain NumPy, every fault named."""

from __future__ import annotations

import json
import os
import re
import warnings
from html import escape
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from scipy import sparse
from scipy.stats import spearmanr

from mmg_ray import genomics
from mmg_ray.api import estimate_mi
from mmg_ray.cli import main
from mmg_ray.config import documented_yaml, load_as
from mmg_ray.errors import ConfigError, DataError, StoreError
from mmg_ray.genomics import cells, genes
from mmg_ray.genomics.config import ExpressionEstimator, GenomicsConfig
from mmg_ray.genomics.job import go, inputs
from mmg_ray.runs import open_run
from mmg_ray.store.location import Location
from mmg_ray.store.sources import Table

N, V = 120, 14
GENES = ["GAPDH", "ACTB", "CD3D", "STAT1", "RPL3", *[f"G{k}" for k in range(V - 5)]]
CELLS = [f"cell{n}" for n in range(N)]
KINDS = np.array(["T cell", "B cell", "B cell"] * (N // 3))


def counts(seed: int = 0) -> np.ndarray:
    """Genes of one cause, from common to rare, at depths that differ tenfold."""
    rng = np.random.default_rng(seed)
    cause = rng.gamma(2.0, 0.5, (N, 1))
    depth = rng.uniform(0.3, 3.0, (N, 1))
    mean = np.geomspace(6, 0.2, V)
    return rng.poisson(depth * cause ** rng.choice([0, 1], V) * mean).astype(float)


def adata(values: Any = None) -> ad.AnnData:
    matrix = sparse.csr_matrix(counts()) if values is None else values
    obs = pd.DataFrame({"kind": KINDS, "batch": np.arange(N) % 2}, index=CELLS)
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=GENES))


def table(values: np.ndarray, **metadata: Any) -> Table:
    names = [f"g{v}" for v in range(values.shape[1])]
    return Table(values, names, None, {k: np.asarray(v) for k, v in metadata.items()})


def settings(path: Path, **sections: Any) -> GenomicsConfig:
    tree = {"data": {"path": str(path)}, "genes": {"min_cells": 0}}
    tree["network"] = {"report": False}
    tree["execute"] = {"executor": "serial"}
    tree["output"] = {"url": str(path.parent / "run")}
    for name, fields in sections.items():
        tree[name] = tree.get(name, {}) | fields
    return load_as(GenomicsConfig, yaml.safe_dump(tree))


@pytest.fixture
def h5ad(tmp_path: Path) -> Path:
    adata().write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def refusal(cfg: GenomicsConfig) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        list(inputs(cfg))
    return str(caught.value)


# --- the whole way -------------------------------------------------------------------------------


def test_regulators_by_genes_from_counts_to_files(h5ad: Path) -> None:
    listed = h5ad.parent / "tfs.txt"
    listed.write_text("STAT1\nGATA1\nCD3D\n")
    cfg = settings(
        h5ad,
        genes={"regulators": str(listed), "min_cells": 5},
        cells={"normalise": "log"},
        network={
            "steps": ["top=3"],
            "files": {"adj.csv": "scenic", "regulon.tsv": "viper", "n.graphml": "graphml"},
            "heatmap": False,
        },
    )
    ((made, run, written),) = go(cfg)
    assert run is not None
    assert made.regulators == ["STAT1", "CD3D"]
    assert any("2 of the 3 listed" in n and "not there: GATA1" in n for n in made.notes)
    assert run.manifest.n_pairs == 2 * (V - 2) + 1
    edges = run.edges().set_index(["source", "target"])
    assert all({"STAT1", "CD3D"} & set(pair) for pair in edges.index)
    # as the estimator says of values normalised by hand
    x = counts()
    x = np.log1p(x * (np.median(x.sum(1)) / x.sum(1))[:, None])
    pair = edges.index[edges.mi_nats.argmax()]
    ends = [x[:, GENES.index(name)] for name in pair]
    assert edges.loc[pair, "spearman"] == pytest.approx(spearmanr(*ends).statistic, abs=1e-6)
    by_hand = estimate_mi(*ends, config=ExpressionEstimator())
    assert edges.loc[pair, "mi_nats"] == pytest.approx(by_hand.mi_nats, abs=0.02)
    scenic = pd.read_csv(f"{run.url}/network/adj.csv")
    assert list(scenic.columns) == ["TF", "target", "importance"]
    assert set(scenic.TF) <= {"STAT1", "CD3D"}
    regulon = pd.read_csv(f"{run.url}/network/regulon.tsv", sep="\t")
    assert regulon.mor.between(-1, 1).all()
    assert len(written) == 3
    # the same command does nothing again
    (again,) = [again for _, again, _ in go(cfg)]
    assert again is not None
    assert again.manifest.fingerprint == run.manifest.fingerprint
    assert os.listdir(h5ad.parent / "run" / "input") == ["left_out.tsv"]  # no copy of the table


def test_a_run_for_each_kind_of_cell(h5ad: Path) -> None:
    cfg = settings(
        h5ad,
        cells={"group_by": "kind"},
        estimator={"denoiser": "screen", "min_samples": 50},
        network={"heatmap": False, "steps": []},
    )
    done = list(go(cfg))
    assert [run is not None for _, run, _ in done] == [True, False]
    assert "no run, its 40 cells are fewer" in done[1][0].notes[0]
    run = open_run(str(h5ad.parent / "run" / "B-cell"))
    assert run.manifest.n_samples == 80
    assert run.status().complete


def test_sets_of_genes_become_groups(h5ad: Path) -> None:
    gmt = h5ad.parent / "sets.gmt"
    gmt.write_text(
        "ONE\tsource\tGAPDH\tACTB\tCD3D\nTWO\t-\tSTAT1\tRPL3\tABSENT\tCD3D\nTHREE\t-\tNOT\n"
    )
    cfg = settings(
        h5ad,
        genes={"sets": str(gmt)},
        estimator={"network": {"n_steps": 20, "width": 8}},
        network={"steps": [], "heatmap": False},
    )
    ((made, run, _),) = go(cfg)
    assert run is not None
    assert made.sets == {"ONE": ["GAPDH", "ACTB"], "TWO": ["STAT1", "RPL3"]}
    text = "\n".join(made.notes)
    assert "2 genes that the table does not have and 1 that several sets share (CD3D)" in text
    assert "without a gene of their own: THREE" in text
    assert run.names == ["ONE", "TWO"]
    assert run.edge_store().table().num_rows == 1


def test_what_is_left_out_is_listed_with_the_reason(h5ad: Path) -> None:
    values = counts()
    values[[3, 7]] = 0
    values[:, 9] = 0
    adata(sparse.csr_matrix(values)).write_h5ad(h5ad)
    cfg = settings(
        h5ad,
        genes={"min_cells": 5, "top": 6},
        estimator={"denoiser": "screen"},
        network={"heatmap": False},
    )
    ((made, run, _),) = go(cfg)
    assert run is not None
    listed = pd.read_csv(f"{run.url}/input/left_out.tsv", sep="\t")
    assert sorted(listed.name[listed.axis == "cell"]) == ["cell3", "cell7"]
    assert set(listed.name[listed.axis == "gene"]) == set(GENES) - set(made.table.names)
    assert listed.set_index("name").reason[GENES[9]] == "above 0 in 0"
    assert any("2 left out, of fewer than 1 genes: cell3, cell7" in note for note in made.notes)
    said = json.loads((Path(run.url) / "genomics.json").read_text())
    assert said["notes"] == made.notes
    again = open_run(run.url)
    assert again.notes() == made.notes
    again.report(str(h5ad.with_name("again.html")), ["top=5"])
    page = h5ad.with_name("again.html").read_text()
    assert "Found and done before" in page
    assert escape(made.notes[-1].partition(":")[2].strip()) in page
    (Location(run.url) / "genomics.json").write_json(said | {"notes": ["nothing"]})
    with pytest.raises(StoreError, match=r"genomics\.json is not what the run wrote"):
        again.notes()
    assert said["configuration"]["genes"]["top"] == 6


def test_the_command_teaches_and_refuses(h5ad: Path) -> None:
    shown = CliRunner().invoke(main, ["genomics", "--show-config"])
    cfg = load_as(GenomicsConfig, shown.output)
    assert cfg.cells == GenomicsConfig.__pydantic_fields__["cells"].default_factory()
    assert shown.output == documented_yaml(GenomicsConfig)
    # a field of its neighbour set, lines of depth are still no dependence
    near = load_as(GenomicsConfig, f"data: {{path: {h5ad}}}", ["estimator.cascade.p_value=0.01"])
    assert (near.estimator.cascade.p_value, near.estimator.cascade.fine_structure) == (0.01, False)
    config = h5ad.parent / "genes.yaml"
    config.write_text(f"data: {{path: {h5ad}}}\n")
    looked = CliRunner().invoke(
        main, ["genomics", str(config), "--dry-run", "--set", "genes.top=5"]
    )
    assert looked.exit_code == 0, looked.output
    assert "read:    120 cells x 14 genes, counts" in looked.output
    assert "run:     120 samples x 5 genes" in looked.output
    assert not (h5ad.parent / "runs").exists()
    wrong = CliRunner().invoke(main, ["genomics", str(config), "--set", "genes.regulator=x"])
    assert wrong.exit_code == 2
    assert "did you mean 'regulators'" in wrong.output
    assert CliRunner().invoke(main, ["genomics", "nothing.yaml"]).exit_code == 2


# --- files with faults ---------------------------------------------------------------------------


def test_genes_as_samples_are_noticed(tmp_path: Path) -> None:
    bulk = pd.DataFrame(counts().T, index=GENES, columns=[f"patient{n}" for n in range(N)])
    path = tmp_path / "bulk.tsv"
    bulk.to_csv(path, sep="\t")
    text = refusal(settings(path))
    assert "wrong way round: 5 names of genes are among its samples" in text
    assert "Change data.transpose" in text
    ((_, made),) = inputs(settings(path, data={"transpose": True}))
    assert (made.table.names, made.table.n_samples) == (GENES, N)
    # by a list of regulators alone, and by barcodes alone
    bulk.index = [f"gene {k}" for k in range(V)]
    bulk.to_csv(path, sep="\t")
    listed = tmp_path / "tfs.txt"
    listed.write_text("gene 3\ngene 5\n")
    assert "2 regulators are among" in refusal(settings(path, genes={"regulators": str(listed)}))
    rng = np.random.default_rng(0)
    bulk.columns = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(N)]
    bulk.to_csv(path, sep="\t")
    assert "120 cell barcodes are among its variables" in refusal(settings(path))
    ((_, made),) = inputs(settings(path, data={"transpose": True}))
    assert made.table.n_variables == V


def test_repeated_genes_are_refused_or_numbered(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    data = adata()
    data.var_names = ["GAPDH", "GAPDH", *GENES[2:]]
    data.write_h5ad(path)
    assert "'GAPDH' occurs 2 times, at positions 0, 1" in refusal(settings(path))
    ((_, made),) = inputs(settings(path, data={"duplicate_names": "number"}))
    assert made.table.names[:2] == ["GAPDH", "GAPDH-1"]


def test_tables_without_cells_or_counts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    adata()[:0].copy().write_h5ad(path)
    assert "zero samples" in refusal(settings(path))
    adata(np.zeros((N, V))).write_h5ad(path)
    assert "no cell expresses" in refusal(settings(path))
    adata(counts() - 3).write_h5ad(path)
    assert "genes have negative ones" in refusal(settings(path))
    adata().write_h5ad(path)
    text = refusal(settings(path, genes={"min_cells": 1000}))
    assert "0 genes are left of 14" in text
    assert "data.transpose" in text


def test_a_block_of_missing_values_is_named_and_costs_only_its_pairs(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    values = np.log1p(counts())
    values[10:40, 2:5] = np.nan
    adata(values).write_h5ad(path)
    cfg = settings(
        path,
        cells={"normalise": "none"},
        estimator={"denoiser": "screen"},
        network={"heatmap": False, "steps": []},
    )
    ((made, run, _),) = go(cfg)
    assert run is not None
    assert any(
        "90 values, in 3 genes (CD3D, STAT1, RPL3) and 30 cells (cell10" in n for n in made.notes
    )
    edges = run.edges().set_index(["source", "target"])
    assert edges.loc[("GAPDH", "ACTB"), "n_samples"] == N
    assert edges.loc[("CD3D", "STAT1"), "n_samples"] == N - 30
    text = refusal(settings(path, cells={"normalise": "log"}))
    assert "cell cell10 has a depth of nan (30 such cells)" in text
    values[:, 6] = np.nan
    adata(values).write_h5ad(path)
    ((_, made),) = inputs(settings(path, genes={"min_cells": 1}, cells={"normalise": "none"}))
    assert any(f"no value at all of {GENES[6]}" in note for note in made.notes)
    assert ("gene", GENES[6], "above 0 in 0") in made.left_out


def test_lists_that_do_not_fit_say_why(h5ad: Path) -> None:
    listed = h5ad.parent / "tfs.txt"
    listed.write_text("Stat1\nGapdh\n")
    assert "2 would match if case did not count" in refusal(
        settings(h5ad, genes={"regulators": str(listed)})
    )
    listed.write_text("\n")
    assert "names no gene" in refusal(settings(h5ad, genes={"regulators": str(listed)}))
    listed.write_text("ONE GAPDH ACTB\n")
    assert "line 1 of" in refusal(settings(h5ad, genes={"sets": str(listed)}))
    assert "leave out" in refusal(
        settings(h5ad, genes={"sets": str(listed), "regulators": str(listed)})
    )
    assert "did you mean 'kind'" in refusal(settings(h5ad, cells={"group_by": "kinds"}))
    assert "no network step 'frd'" in refusal(settings(h5ad, network={"steps": ["frd"]}))
    assert "formats:" in refusal(settings(h5ad, network={"files": {"a": "xls"}}))


# --- cells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [False, True])
def test_normalising_and_filters_are_those_of_numpy(dense: bool) -> None:
    x = counts()
    values = x if dense else sparse.csc_matrix(x)
    of = Table(values, GENES, CELLS)
    made = cells.log_normalised(of, cells.scale_of(of))
    assert sparse.issparse(made.values) != dense
    expected = np.log1p(x * (np.median(x.sum(1)) / x.sum(1))[:, None])
    got = np.stack([made.column(v) for v in range(V)], axis=1)
    np.testing.assert_allclose(got, expected)
    np.testing.assert_array_equal(cells.n_expressed(Table(values, GENES)), (x > 0).sum(1))
    n_cells, mean, variance = genes.moments(made)
    np.testing.assert_array_equal(n_cells, (x > 0).sum(0))
    np.testing.assert_allclose([mean, variance], [expected.mean(0), expected.var(0)])


def test_genes_that_vary_most_for_their_mean_are_found() -> None:
    rng = np.random.default_rng(1)
    mean = np.exp(rng.uniform(-2, 3, 300))
    x = rng.poisson(mean, (500, 300)).astype(float)
    loud = np.arange(0, 300, 15)
    x[:, loud] = rng.poisson(mean[loud] * rng.gamma(0.5, 2.0, (500, len(loud))))
    _, average, variance = genes.moments(table(np.log1p(x)))
    chosen = genes.strongest(average, variance, len(loud), "variable")
    assert len(set(chosen) & set(loud)) >= 15  # by chance 1.3
    highest = genes.strongest(average, variance, 20, "expressed")
    np.testing.assert_array_equal(highest, np.sort(np.argsort(-average)[:20]))


def test_pseudobulk_adds_counts_and_averages_values() -> None:
    x = counts()
    donor = np.arange(N) % 4
    place = np.unique(donor, return_inverse=True)[1]
    made = cells.pooled(
        Table(sparse.csc_matrix(x), GENES, CELLS, {"donor": donor, "kind": KINDS}),
        place,
        list("abcd"),
        counts=True,
    )
    np.testing.assert_allclose(made.values.toarray(), [x[donor == d].sum(0) for d in range(4)])
    np.testing.assert_array_equal(made.metadata["donor"], range(4))
    assert "kind" not in made.metadata  # differs within a donor
    mean = cells.pooled(Table(x, GENES, CELLS), place, list("abcd"), counts=False)
    np.testing.assert_allclose(mean.values, [x[donor == d].mean(0) for d in range(4)])


def test_metacells_are_of_cells_that_are_alike() -> None:
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 4, 400)
    x = rng.standard_normal((400, 30)) + 4 * rng.standard_normal((4, 30))[kind]
    place = cells.metacells(table(x), 10)
    sizes = np.bincount(place)
    assert (sizes.min() >= 7, sizes.max() < 15) == (True, True)
    pure = [np.bincount(kind[place == p]).max() / sizes[p] for p in range(len(sizes))]
    assert np.mean(pure) > 0.85  # of cells drawn at random 0.4
    np.testing.assert_array_equal(place, cells.metacells(table(sparse.csc_matrix(x)), 10))


def test_pools_through_the_job(h5ad: Path) -> None:
    ((_, made),) = inputs(settings(h5ad, cells={"metacells": 4}))
    assert 24 <= made.table.n_samples <= 40
    assert made.table.metadata["n_cells"].sum() == N
    assert any("rank edges by MI" in note for note in made.notes)
    ((_, made),) = inputs(settings(h5ad, cells={"pseudobulk": ["kind", "batch"]}))
    assert made.table.sample_names == ["B cell, 0", "B cell, 1", "T cell, 0", "T cell, 1"]


def zero_inflated(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) depth and (n, 2) counts, mostly 0, that depend on each other through depth alone."""
    total = rng.choice([1.0, 4.0], n)
    return total, rng.poisson(0.3 * total[:, None], (n, 2)).astype(float)


def test_regression_subtracts_and_refuses_ties() -> None:
    rng = np.random.default_rng(4)
    batch, age = rng.choice(list("abc"), 300), rng.uniform(20, 80, 300)
    y = rng.standard_normal((300, 2)) + 0.1 * age[:, None] + 3.0 * (batch == "b")[:, None]
    y[5, 0] = np.nan
    made, note = cells.regressed(table(y, batch=batch, age=age), ["batch", "age"])
    assert np.isnan(made.values[5, 0])
    rest = made.values[:, 1]
    assert abs(np.corrcoef(rest, age)[0, 1]) < 1e-9
    assert abs(rest[batch == "b"].mean() - rest[batch != "b"].mean()) < 1e-9
    assert "explain" in note
    _, x = zero_inflated(rng, 300)
    with pytest.raises(DataError, match=r"Use cells\.stratify_by"):
        cells.regressed(table(x, age=age), ["age"])


def test_covariates_are_taken_out_in_one_way(h5ad):
    for other in ({"cells": {"regress": ["kind"]}}, {"data": {"conditions": ["kind"]}}):
        cells_too = other.get("cells", {}) | {"stratify_by": ["kind"]}
        (section, fields), *_ = other.items()
        why = rf"cells\.stratify_by and {section}\.{next(iter(fields))} both take out covariates"
        with pytest.raises(ConfigError, match=why):
            list(inputs(settings(h5ad, **(other | {"cells": cells_too}))))


@pytest.mark.parametrize(("old", "new"), [("within", "stratify_by"), ("each", "group_by")])
def test_old_names_of_options_give_the_new_ones(h5ad, old, new):
    with pytest.raises(ConfigError, match=f"'cells.{old}': it is now called 'cells.{new}'"):
        settings(h5ad, cells={old: ["kind"]})


def independent_cells(n: int, seed: int = 5) -> np.ndarray:
    """Poisson counts of 120 genes that share nothing but the depths of their cells, which differ as in a good experiment."""
    rng = np.random.default_rng(seed)
    depth = np.exp(0.4 * rng.standard_normal((n, 1)))
    return rng.poisson(depth * np.geomspace(0.05, 8, 120)).astype(float)


@pytest.mark.parametrize("scaled", [False, True])
def test_depth_that_scaling_leaves_is_told_and_taken_out(scaled: bool) -> None:
    """Counts, and values that another program scaled: of independent genes a third had p <= .001, and nobody said so."""
    values = independent_cells(1500)
    if scaled:
        values = np.log1p(values * (1000 / values.sum(axis=1, keepdims=True)))
    data = pd.DataFrame(values, columns=[f"g{v}" for v in range(120)])
    more = ["network.report=false", "execute.executor=serial", "estimator.denoiser=screen"]
    keep = "cells.normalise=none" if scaled else "cells.normalise=log"
    with pytest.warns(UserWarning, match=r"of pairs of independent genes.*stratify_by: \[depth\]"):
        plain = genomics.run(data, [*more, keep], url=f"memory://depth-{scaled}/plain")
    runs = [plain]
    for k, choice in enumerate(([], ["cells.stratify_by=[depth]"])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runs.append(genomics.run(data, [*more, *choice], url=f"memory://depth-{scaled}/{k}"))
    p_values = [run.edge_store().table().column("p_value").to_numpy() for run in runs]
    assert (p_values[0] <= 1e-3).mean() > 0.1
    assert (p_values[1] <= 1e-3).mean() < 0.003
    np.testing.assert_array_equal(p_values[1], p_values[2])
    unasked = Location(f"memory://depth-{scaled}/0/genomics.json").read_json()["notes"]
    assert any("compared among cells of like depth" in note for note in unasked)
    said = Location(f"memory://depth-{scaled}/plain/genomics.json").read_json()["notes"]
    told = next(float(re.search(r"([0-9.]+)%", n)[1]) / 100 for n in said if "warning" in n)
    assert told == pytest.approx((p_values[0] <= 0.05).mean(), rel=0.4)


@pytest.mark.parametrize("dense", [False, True])
def test_genes_among_cells_of_like_depth(dense: bool) -> None:
    """Few reads as they were counted, ties and all; many about what is usual at the depth of the cell."""
    rng = np.random.default_rng(8)
    depth = np.exp(0.5 * rng.standard_normal(4000))
    counts = rng.poisson(depth[:, None] * np.array([0.1, 0.8, 6.0, 40.0])).astype(float)
    reads = np.median(depth) / depth  # what one read is, before the logarithm
    scaled = np.log1p(counts * reads[:, None])
    of = table(scaled if dense else sparse.csc_matrix(scaled))
    place = np.empty(4000, dtype=np.int64)
    place[np.argsort(depth)] = np.arange(4000) // 40
    made = cells.of_reads(of, cells.Scaled(np.expm1, reads), place).values
    made = made if dense else made.toarray()
    np.testing.assert_array_equal(made[:, :2], counts[:, :2])
    # ties within a stratum stay, so that zeros of two genes are not ordered by depth in both
    assert len(np.unique(made[place == 50, 2])) == len(np.unique(counts[place == 50, 2]))
    for many in made[:, 2:].T:
        assert abs(spearmanr(many, depth).statistic) < 0.05
        deep = depth > np.median(depth)
        assert many[deep].std() == pytest.approx(many[~deep].std(), rel=0.05)
        assert many.std() == pytest.approx(0.5, rel=0.05)
