"""Every format: read again by the program or library it is for, with nothing lost that it can hold."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import anndata
import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.names import visible
from mmg_ray.network.graph import Network, network
from mmg_ray.network.stream import Batch, EdgeStream
from mmg_ray.store.exports import FORMATS, write
from mmg_ray.store.exports.anndata import annotate

NAMES = ["STAT1", "a,b", 'say "x"', "<T&C>", "tab\there", "Ünï", "nul\x01", "lone"]


def make(directed: bool = False) -> Network:
    rng = np.random.default_rng(0)
    i, j = np.array([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (0, 6)], dtype=np.int32).T
    numbers = rng.random((7, len(i)))
    numbers[5] -= 0.5  # spearman has a sign
    numbers[3:, 2] = np.nan  # a pair with a group: no test, no sign
    batch = Batch(i, j, *numbers)
    partners = np.full(len(NAMES), len(NAMES) - 1)
    stream = EdgeStream(partners, len(i), lambda: iter([batch]))
    sources = np.array([0, 1, 2, 3, 4]) if directed else None
    return network(stream, NAMES, sources, {"run": "runs/x", "steps": ["clr"]})


@pytest.fixture(params=[False, True], ids=["undirected", "directed"])
def net(request) -> Network:
    return make(request.param)


def rows(net: Network) -> list[dict]:
    return net.table.to_pylist()


def regulated(net: Network) -> dict[tuple[str, str], dict]:
    """Expected rows of formats that lead from a regulator to a target; harmful characters are written out."""
    found = {(visible(row["source"]), visible(row["target"])): row for row in rows(net)}
    if not net.directed:
        found |= {(b, a): row for (a, b), row in list(found.items())}
    return found


def exported(net: Network, name: str, tmp_path: Path) -> Path:
    path = tmp_path / f"out.{name}"
    assert write(net, str(path), name) == name
    return path


def test_parquet(net, tmp_path):
    table = pq.read_table(exported(net, "parquet", tmp_path))
    assert table.equals(net.table)
    origin = json.loads(table.schema.metadata[b"mmg_ray"])
    assert (origin["steps"], origin["directed"]) == (["clr"], net.directed)


@pytest.mark.parametrize(("name", "separator"), [("csv", ","), ("tsv", "\t")])
def test_text_with_every_column(net, tmp_path, name, separator):
    found = pd.read_csv(exported(net, name, tmp_path), sep=separator, keep_default_na=True)
    expected = net.edges
    for end in ("source", "target"):
        expected[end] = expected[end].map(visible)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_scenic(net, tmp_path):
    """As pyscenic reads adjacencies: pandas, three columns."""
    found = pd.read_csv(exported(net, "scenic", tmp_path))
    assert list(found.columns) == ["TF", "target", "importance"]
    expected = regulated(net)
    assert len(found) == len(expected)
    for tf, target, importance in found.itertuples(index=False):
        assert importance == pytest.approx(expected[tf, target]["weight"])
    assert (np.diff(found["importance"]) <= 0).all()


@pytest.mark.parametrize("name", ["aracne", "viper"])
def test_tables_without_quotes(net, tmp_path, name):
    text = exported(net, name, tmp_path).read_text()
    found = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    plain = {  # without quotes, a tab is a space
        (a.replace("\\t", " "), b.replace("\\t", " ")): r for (a, b), r in regulated(net).items()
    }
    assert '"STAT1"' not in text
    if name == "aracne":
        assert list(found[0]) == ["Regulator", "Target", "MI", "pvalue"]
        assert len(found) == len(plain)
        for row in found:
            expected = plain[row["Regulator"], row["Target"]]
            assert float(row["MI"]) == pytest.approx(expected["weight"])
            if expected["p_value"] is None:
                assert row["pvalue"] == ""
    else:
        assert list(found[0]) == ["regulator", "target", "mor", "likelihood"]
        signed = {pair: r for pair, r in plain.items() if r["spearman"] is not None}
        assert len(found) == len(signed)
        for row in found:
            expected = signed[row["regulator"], row["target"]]
            assert float(row["mor"]) == pytest.approx(expected["spearman"])
        likelihood = [float(row["likelihood"]) for row in found]
        assert max(likelihood) == 1
        assert min(likelihood) > 0


def test_sif(net, tmp_path):
    lines = exported(net, "sif", tmp_path).read_text().splitlines()
    ends = [line.split("\t") for line in lines]
    assert [e for e in ends if len(e) == 1] == [["lone"]]
    pairs = {(e[0], e[2]) for e in ends if len(e) == 3}
    assert len(pairs) == net.table.num_rows
    assert all(e[1] == "mi" for e in ends if len(e) == 3)


@pytest.mark.parametrize("name", ["graphml", "gexf"])
def test_xml_graphs(net, tmp_path, name):
    path = exported(net, name, tmp_path)
    ElementTree.parse(path)
    read = {"graphml": nx.read_graphml, "gexf": nx.read_gexf}[name]
    graph = read(path)
    assert graph.is_directed() == net.directed
    assert graph.number_of_nodes() == len(NAMES)
    for row in rows(net):
        a, b = (
            row[end].replace("\x01", "\N{REPLACEMENT CHARACTER}") for end in ("source", "target")
        )
        assert graph.edges[a, b]["mi_nats"] == pytest.approx(row["mi_nats"])


def test_igraph_reads_graphml(net, tmp_path):
    graph = igraph.Graph.Read_GraphML(str(exported(net, "graphml", tmp_path)))
    assert (graph.vcount(), graph.ecount()) == (len(NAMES), net.table.num_rows)


def test_objects(net):
    for graph in (net.to_networkx(), nx.Graph(net.to_igraph().to_networkx())):
        assert graph.number_of_edges() == len({frozenset((r["i"], r["j"])) for r in rows(net)}) or (
            net.directed
        )
    ig = net.to_igraph()
    assert ig.vs["name"] == NAMES
    assert ig.is_directed() == net.directed
    row = rows(net)[0]
    assert ig.es[0]["weight"] == row["weight"]
    assert net.to_networkx().edges[row["source"], row["target"]]["q_value"] == row["q_value"]


def test_npz(net, tmp_path):
    with np.load(exported(net, "npz", tmp_path), allow_pickle=False) as found:
        assert found["names"].tolist() == NAMES
        np.testing.assert_array_equal(found["q_value"], net.table["q_value"].to_numpy())
        assert json.loads(str(found["provenance"]))["run"] == "runs/x"


def test_netcdf_in_xarray(net, tmp_path):
    with xarray.open_dataset(exported(net, "netcdf", tmp_path), engine="scipy") as found:
        names = [bytes(v).rstrip(b"\0").decode() for v in found["variable"].values]
        assert names == NAMES
        assert found["mi_nats"].attrs["units"] == "nats"
        matrix = found["mi_nats"].values
    expected = np.full((8, 8), np.nan)
    for row in rows(net):
        expected[row["i"], row["j"]] = row["mi_nats"]
        if not net.directed:
            expected[row["j"], row["i"]] = row["mi_nats"]
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


class TestAnnData:
    def test_file(self, net, tmp_path):
        found = anndata.read_h5ad(exported(net, "h5ad", tmp_path))
        assert found.var_names.tolist() == NAMES
        assert found.varp["mmg_ray_mi_nats"].nnz == len(regulated(net))
        assert json.loads(found.uns["mmg_ray"]["provenance"])["steps"] == ["clr"]

    def test_follows_the_order_of_the_variables(self, net):
        order = ["other", *NAMES[::-1]]
        adata = anndata.AnnData(np.zeros((2, 9)), var=pd.DataFrame(index=order))
        matrix = annotate(net, adata).varp["mmg_ray_weight"]
        for row in rows(net):
            at = order.index(row["source"]), order.index(row["target"])
            assert matrix[at] == row["weight"]
            if not net.directed:
                assert matrix[at[::-1]] == row["weight"]
        assert adata.var["mmg_ray"].tolist() == [False] + [True] * 8

    def test_of_other_data_is_refused(self, net):
        adata = anndata.AnnData(np.zeros((2, 2)), var=pd.DataFrame(index=["p", "q"]))
        with pytest.raises(DataError, match="none of the run's variables"):
            annotate(net, adata)
        repeated = anndata.AnnData(np.zeros((2, 2)), var=pd.DataFrame(index=["STAT1", "STAT1"]))
        with pytest.raises(DataError, match="'STAT1' occurs more than once"):
            annotate(net, repeated)


def test_an_ending_says_the_format(tmp_path):
    for name, how in FORMATS.items():
        for ending in how.endings:
            assert write(make(), str(tmp_path / f"out{ending}")) == name
    with pytest.raises(ConfigError, match=r"\.txt means no format; .*scenic"):
        write(make(), str(tmp_path / "out.txt"))
    with pytest.raises(ConfigError, match="no export format 'xml'"):
        write(make(), str(tmp_path / "out.txt"), "xml")


def test_an_empty_network_is_a_file(tmp_path):
    empty = EdgeStream(np.full(3, 2), 3, lambda: iter([]))
    net = network(empty, ["a", "b", "c"], None, {})
    for name in FORMATS:
        assert exported(net, name, tmp_path).stat().st_size >= 0
    assert (tmp_path / "out.sif").read_text().split() == ["a", "b", "c"]
