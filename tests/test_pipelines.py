"""The jobs of `pipelines` on real data, whole or in part, without Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import false_discovery_control

from mmg_ray.cli import main
from mmg_ray.config import DataConfig
from mmg_ray.errors import DataError
from mmg_ray.genomics import pbmc
from mmg_ray.jobs import packaged
from mmg_ray.runs import open_run
from mmg_ray.store.sources import read_table
from pipelines import sachs


def data_file(package: str, name: str) -> str:
    """Path of a packaged data file; `make test` installs the packages, other environments may not."""
    try:
        return packaged(package, name)
    except DataError as error:
        pytest.skip(str(error))


def serial(folder: Path, *more: str) -> list[str]:
    return ["execute.executor=serial", f"output.url={folder / 'run'}", *more]


def test_the_sachs_network_shows_its_known_edges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_file("cdt", sachs._TABLE)
    run = sachs.main(serial(tmp_path))
    hits, by_chance = sachs.hits(run)
    assert "18 strongest pairs" in capsys.readouterr().out
    assert by_chance == pytest.approx(18 * 18 / 55)
    assert hits >= 9  # by chance so many are there once in twenty times
    edges = run.edges().set_index(["source", "target"])
    strongest = edges.mi_nats.sort_values(ascending=False)
    assert {("praf", "pmek"), ("PKC", "P38"), ("plcg", "PIP2"), ("PKC", "pjnk")} <= set(
        strongest.index[:5]
    )
    # scikit-learn's KSG says 1.12 with 3 neighbours and 1.02 with 10
    assert strongest.iloc[0] == pytest.approx(1.07, abs=0.07)
    # a known edge that no correlation shows
    assert edges.loc[("pakts473", "PKA"), "mi_nats"] > 0.25
    assert abs(edges.loc[("pakts473", "PKA"), "spearman"]) < 0.1


def test_genes_of_one_kind_of_blood_cell_depend_most(tmp_path: Path) -> None:
    data_file("scanpy", pbmc._MATRIX)
    genes = sorted({gene for pair in pbmc.MARKERS for gene in pair})
    others = ["HES4", "SSU72", "PARK7", "TNFRSF4", "SOX4"]
    asked = serial(tmp_path, f"data.variables=[{', '.join(genes + others)}]")
    words = [word for setting in asked for word in ("--set", setting)]
    result = CliRunner().invoke(main, ["genomics", *words])
    assert result.exit_code == 0, result.output
    printed, run = result.output, open_run(str(tmp_path / "run"))
    n = len(genes) + len(others)
    n_pairs = n * (n - 1) // 2
    assert f"pairs:   {n_pairs} of {n_pairs}" in printed
    assert "denoiser that was enough: " in printed
    edges = run.edge_store().table()
    found = {marker.pair: marker for marker in pbmc.markers(edges, n_pairs)}
    assert len(found) == len(pbmc.MARKERS)
    assert found["HLA-DRA-HLA-DRB1"].share == pytest.approx(1 / n_pairs)
    assert np.median([marker.share for marker in found.values()]) < 0.1
    assert found["HLA-DRA-HLA-DRB1"].mi_nats > 0.7
    table = edges.to_pandas()
    assert (table.p_value <= 1).all()
    expected = (false_discovery_control(table.p_value) <= 0.05).sum()
    assert f"depend:  {expected} at" in printed
    assert 0.1 * n_pairs < expected < n_pairs


def test_labels_choose_cells() -> None:
    path = data_file("scanpy", pbmc._MATRIX)
    everything = read_table(DataConfig(path=path, layer="raw"))
    assert (everything.n_samples, len(everything.names)) == (700, 765)
    b_cells = DataConfig(path=path, layer="raw", samples={"bulk_labels": ("CD19+ B",)})
    assert read_table(b_cells).n_samples == 95
    clusters = DataConfig(path=path, layer="raw", samples={"louvain": ("0", "1")})
    assert read_table(clusters).n_samples == 253
    unknown = DataConfig(path=path, layer="raw", samples={"bulk_labels": ("CD14 Monocyte",)})
    with pytest.raises(DataError, match=r"did you mean 'CD14\+ Monocyte'"):
        read_table(unknown)


def test_data_that_is_not_installed_is_named_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"pip install --no-deps .* no-such-package"):
        packaged("no-such-package", "data.csv")
