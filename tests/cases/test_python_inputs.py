"""What callers of the Python API pass: right, or refused with its name and the way out; never something else."""

from __future__ import annotations

import datetime
import decimal
import logging

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
import xarray as xr

import mmg_ray
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.errors import DataError

N = 400
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 2))
X[:, 1] = 0.8 * X[:, 0] + 0.6 * X[:, 1]
WHOLE = (X * 1000).round()
HOLES = RNG.random((N, 2)) < 0.2
CELLS = [f"cell{k}" for k in range(N)]
FRAME = pd.DataFrame(X, columns=["a", "b"], index=CELLS)
TURN = RNG.permutation(N)
BIG = 2**60 + np.argsort(np.argsort(X[:, 0]))  # float64 would make all of them a few values


def mi(data, **settings) -> float:
    return float(mmg_ray.mi_matrix(data, denoiser="gaussian", **settings).mi.iloc[0, 1])


def pair(x, y, **settings) -> float:
    return mmg_ray.estimate_mi(x, y, **{"denoiser": "gaussian", **settings}).mi_nats


def arrow_stream(table: pa.Table):
    """A table of another library (polars, duckdb), as far as can be seen of it."""

    class Foreign:
        columns = table.column_names

        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    return Foreign()


def adata(matrix) -> anndata.AnnData:
    return anndata.AnnData(
        sp.csr_matrix(np.abs(X)),
        obs=pd.DataFrame(index=CELLS),
        var=pd.DataFrame(index=["g", "h"]),
        layers={"raw": matrix},
    )


SAME_AS_THE_ARRAY = {
    "csr_matrix": lambda: sp.csr_matrix(X),
    "csc_array": lambda: sp.csc_array(X),
    "coo_array": lambda: sp.coo_array(X),
    "coo_matrix": lambda: sp.coo_matrix(X),
    "lil_matrix": lambda: sp.lil_matrix(X),
    "matrix": lambda: np.asmatrix(X),
    "objects": lambda: X.astype(object),
    "DataFrame": lambda: FRAME,
    "nullable": lambda: FRAME.convert_dtypes(),
    "arrow types": lambda: FRAME.astype("double[pyarrow]"),
    "tensor with gradient": lambda: torch.tensor(X, requires_grad=True),
    "sparse tensor": lambda: torch.tensor(X).to_sparse(),
    "DataArray": lambda: xr.DataArray(X, dims=("cell", "gene"), coords={"gene": ["g", "h"]}),
    "Dataset": lambda: xr.Dataset({"a": ("t", X[:, 0]), "b": ("t", X[:, 1])}),
    "Arrow table": lambda: pa.table({"a": X[:, 0], "b": X[:, 1]}),
    "Arrow stream": lambda: arrow_stream(pa.table({"a": X[:, 0], "b": X[:, 1]})),
    "dict": lambda: {"a": X[:, 0], "b": X[:, 1]},
    "record array": lambda: np.rec.fromarrays(X.T, names="a,b"),
    "big integers": lambda: {"a": BIG, "b": X[:, 1]},
    "unsigned": lambda: {"a": BIG.astype(np.uint64) + 2**63, "b": X[:, 1]},
    "Python integers": lambda: {"a": [int(v) * 10**30 for v in BIG], "b": X[:, 1]},
    "decimals": lambda: {"a": [decimal.Decimal(repr(float(v))) for v in X[:, 0]], "b": X[:, 1]},
    "long double": lambda: {"a": X[:, 0].astype(np.longdouble), "b": X[:, 1]},
}


@pytest.mark.parametrize("kind", SAME_AS_THE_ARRAY)
def test_the_same_values_are_the_same(kind):
    assert mi(SAME_AS_THE_ARRAY[kind]()) == pytest.approx(mi(X), abs=1e-12)


WITH_HOLES = {
    "masked": lambda: np.ma.masked_greater(np.where(HOLES, 1e20, X), 1e19),
    "masked, ordinary fill": lambda: np.ma.MaskedArray(np.where(HOLES, 0.0, X), HOLES),
    "None": lambda: np.where(HOLES, None, X.astype(object)),
    "Float64": lambda: pd.DataFrame(X).astype("Float64").mask(HOLES),
    "Arrow nulls": lambda: pa.table(
        {str(k): pa.array(X[:, k], mask=HOLES[:, k]) for k in range(2)}
    ),
    "infinities": lambda: np.where(HOLES, -np.inf, X),
}


@pytest.mark.parametrize("kind", WITH_HOLES)
def test_missing_values_are_missing(kind):
    expected = mi(np.where(HOLES, np.nan, X))
    assert expected == pytest.approx(-0.5 * np.log(0.36), abs=0.12)
    assert mi(WITH_HOLES[kind]()) == pytest.approx(expected, abs=1e-12)


def test_missing_integers_booleans_and_times():
    """Compared with the same values as floats; a fill value, or NaT as a number, would be far off."""
    holes = HOLES[:, 0]
    expected = pair(np.where(holes, np.nan, WHOLE[:, 0]), X[:, 1])
    seconds = WHOLE[:, 0].astype("m8[s]")
    start = pd.Timestamp("2020-01-01", tz="UTC")
    kinds = [
        pd.array(WHOLE[:, 0], dtype="Int64"),
        pd.Series(pd.to_timedelta(seconds)),
        pd.Series(start + pd.to_timedelta(seconds)),
        pd.Series([start.to_pydatetime() + datetime.timedelta(seconds=v) for v in WHOLE[:, 0]]),
    ]
    for values in kinds:
        assert pair(pd.Series(values).mask(holes), X[:, 1]) == pytest.approx(expected, abs=1e-12)
    times = np.where(holes, np.timedelta64("NaT"), seconds)
    assert pair(times, X[:, 1]) == pytest.approx(expected, abs=1e-12)
    positive = pd.array(X[:, 0] > 0, dtype="boolean")
    positive[np.flatnonzero(holes)] = pd.NA
    expected = pair(np.where(holes, np.nan, X[:, 0] > 0), X[:, 1])
    assert pair(positive, X[:, 1]) == pytest.approx(expected, abs=1e-12)
    masked = np.ma.MaskedArray(np.where(holes, 10**6, WHOLE[:, 0]).astype(int), holes)
    assert pair(masked, X[:, 1]) == pytest.approx(
        pair(np.where(holes, np.nan, WHOLE[:, 0]), X[:, 1]), abs=1e-12
    )


def test_infinite_values_are_said_to_be_missing(caplog):
    with caplog.at_level(logging.WARNING):
        mi(pd.DataFrame({"u": np.r_[np.inf, X[1:, 0]], "v": X[:, 1]}))
    assert "infinite values count as missing: 1 in column 'u' of data" in caplog.text


def test_samples_with_labels_are_matched_by_label():
    a, b = FRAME["a"], FRAME["b"]
    expected = pair(a, b)
    assert pair(a, b.iloc[TURN]) == pytest.approx(expected, abs=1e-12)
    assert pair(a.iloc[TURN], b) == pytest.approx(expected, abs=0.01)  # another order of samples
    assert pair(a.to_numpy()[TURN], b.to_numpy()) < 0.02  # by position they are unrelated
    series = [xr.DataArray(X[:, k], dims="t", coords={"t": CELLS}) for k in range(2)]
    assert pair(series[0], series[1][TURN]) == pytest.approx(expected, abs=1e-12)
    noisy = a + 0.5 * RNG.standard_normal(N)
    given = pair(a, b, condition=noisy)
    assert given < 0.7 * expected
    assert pair(a, b, condition=noisy.iloc[TURN]) == pytest.approx(given, abs=1e-12)
    assert pair(a, b, condition={"c": noisy.iloc[TURN]}) == pytest.approx(given, abs=1e-12)
    assert mi(FRAME, condition=noisy.to_frame().iloc[TURN]) == pytest.approx(
        mi(FRAME, condition=noisy), abs=1e-12
    )
    test = mmg_ray.independence_test(a, b.iloc[TURN])
    assert test.p_value < 0.001
    moved = mmg_ray.transfer_entropy(a, b.iloc[TURN], denoiser="gaussian")
    assert moved == mmg_ray.transfer_entropy(a, b, denoiser="gaussian")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            FRAME["a"],
            FRAME["b"].reset_index(drop=True),
            "x and y have different sample labels: 400",
        ),
        (FRAME["a"], FRAME["b"].rename({"cell0": "other"}), "1 of 400, such as 'cell0', are in x"),
        (FRAME["a"].set_axis(["q"] * N), FRAME["b"], "x and y have sample labels that repeat"),
        (FRAME["a"], FRAME["b"].iloc[:-1], "x has 400 samples and y has 399"),
    ],
)
def test_samples_of_other_labels_are_refused(x, y, message):
    with pytest.raises(DataError, match=message):
        pair(x, y)


def test_anndata():
    raw = adata(X)
    assert mi(raw, layer="raw") == pytest.approx(mi(X), abs=1e-12)
    assert mi(raw) == pytest.approx(mi(np.abs(X)), abs=1e-12)
    assert mi(adata(sp.csc_matrix(X)), layer="raw") == pytest.approx(mi(X), abs=1e-12)
    assert mmg_ray.mi_matrix(raw, denoiser="screen").names == ["g", "h"]
    assert pair(raw[:, "g"].layers["raw"], raw[:, "h"].layers["raw"]) == pytest.approx(mi(X))
    with pytest.raises(DataError, match="data has no layer 'counts'; layers: raw"):
        mi(raw, layer="counts")
    with pytest.raises(DataError, match="layer is 'raw', but data is not an AnnData object"):
        mi(X, layer="raw")
    twice = adata(X)
    twice.var_names = ["g", "g"]
    with pytest.raises(DataError, match=r"repeated: \['g'\]"):
        mi(twice)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            FRAME.assign(cell_type="B"),
            "column 'cell_type' of data is not numeric: it holds labels, such as 'B'.*condition=",
        ),
        (
            FRAME.assign(c=pd.Categorical(["u", "v"] * 200)),
            "column 'c' of data is not numeric: it holds labels",
        ),
        (
            FRAME.assign(c=X[:, 0].astype(str)),
            "column 'c' of data holds numbers as text.*astype",
        ),
        (
            FRAME.assign(c=["NA", *X[1:, 0]]),
            "column 'c' of data mixes numbers and text, such as 'NA'",
        ),
        (
            FRAME.assign(c=pd.interval_range(0, N)),
            "column 'c' of data is not numeric: it holds Interval",
        ),
        (X + 1j, "complex"),
        (X[:, 0][None], r"data has shape \(1, 400\), one sample of 400 variables.*transpose"),
        (X[None], r"data has shape \(1, 400, 2\)"),
        (3.0, r"data has shape \(\)"),
        ("genes.csv", "data, of type str, is no array"),
        ({1, 2}, "data, of type set, is no array"),
        ([[1, 2], [3]], "data, of type list, cannot be read as an array"),
        (FRAME.iloc[:0], r"data has shape \(0, 2\)"),
        (
            xr.Dataset({"a": ("t", X[:, 0]), "b": ("u", X[:, 1])}),
            "data has variables over different",
        ),
        (FRAME.set_axis(["a", "a"], axis=1), r"repeated: \['a'\]"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_by_name(data, message):
    with pytest.raises(DataError, match=message):
        mmg_ray.mi_matrix(data)


def test_ordered_categories_are_numbers():
    bins = pd.cut(
        FRAME["a"], 6, labels=list("zyxwvu")
    )  # in this order, not in that of the alphabet
    assert pair(bins, X[:, 1]) == pytest.approx(pair(bins.cat.codes, X[:, 1]), abs=1e-12)


class TestLabels:
    """Text and categories as x or y."""

    @staticmethod
    def mixture(n, shifts, seed=0):
        """Labels, numbers that depend on them, and the exact MI by numerical integration."""
        rng = np.random.default_rng(seed)
        k = rng.integers(len(shifts), size=n)
        grid = np.linspace(-12, 12, 20001)
        density = np.exp(-0.5 * (grid - np.array(shifts)[:, None]) ** 2) / np.sqrt(2 * np.pi)
        mixed = density.mean(0)
        entropy = -np.trapezoid(mixed * np.log(np.maximum(mixed, 1e-300)), grid)
        return (
            k,
            np.array(shifts)[k] + rng.standard_normal(n),
            entropy - 0.5 * np.log(2 * np.pi * np.e),
        )

    def test_two_labels_and_a_number(self):
        k, x, truth = self.mixture(2000, [0.0, 1.5])
        found = [
            mmg_ray.estimate_mi(labels, x)
            for labels in (
                np.where(k, "T", "B"),
                np.where(k, "a", "z"),
                pd.Series(k).astype("category"),
            )
        ]
        assert found[0].mi_nats == pytest.approx(truth, abs=0.03)
        for other in found[1:]:
            assert other.mi_nats == pytest.approx(found[0].mi_nats, abs=0.01)

    def test_names_of_labels_do_not_matter(self):
        """The middle one of three is named first, between and last; by order of names the MI is far off."""
        k, x, truth = self.mixture(800, [-2.0, 2.0, 0.0])
        config = EstimatorConfig(network=NetworkConfig(n_steps=120))
        first, second = (
            mmg_ray.estimate_mi(np.array(list(names))[k], x, config=config)
            for names in ("abc", "qbz")
        )
        assert first.mi_nats == second.mi_nats
        assert first.mi_nats == pytest.approx(truth, abs=0.08)
        assert first.p_value < 0.01

    def test_labels_and_labels_by_their_table(self):
        rng = np.random.default_rng(3)
        joint = rng.dirichlet(np.full(12, 1.0)).reshape(4, 3)
        a, b = np.unravel_index(rng.choice(12, size=3000, p=joint.ravel()), joint.shape)
        truth = (joint * np.log(joint / (joint.sum(1, keepdims=True) * joint.sum(0)))).sum()
        found = mmg_ray.estimate_mi(np.array(list("abcd"))[a], np.array(list("uvw"))[b])
        other = mmg_ray.estimate_mi(np.array(list("cadb"))[a], np.array(list("wuv"))[b])
        assert found == other
        assert found.denoiser == "contingency"
        assert found.spearman is None
        assert found.mi_nats == pytest.approx(truth, abs=3 * found.se_nats)
        assert found.p_value < 0.001
        given = mmg_ray.estimate_mi(
            np.array(list("abcd"))[a],
            np.array(list("uvw"))[b],
            condition=rng.integers(2, size=3000),
        )
        assert given.mi_nats == pytest.approx(truth, abs=4 * given.se_nats)

    def test_independent_labels(self):
        p, covered = [], []
        for seed in range(40):
            rng = np.random.default_rng([4, seed])
            a, b = (rng.choice(list("abcde")[:m], size=600) for m in (5, 4))
            found = mmg_ray.estimate_mi(a, b)
            p.append(found.p_value)
            covered.append(found.mi_nats <= 1.96 * found.se_nats)
        assert np.mean(np.array(p) < 0.1) < 0.25
        assert 0.25 < np.mean(np.array(p) < 0.5) < 0.75
        assert np.mean(covered) > 0.9

    def test_missing_and_refused_labels(self):
        k, x, _ = self.mixture(600, [0.0, 3.0])
        labels = np.where(k, "T", "B").astype(object)
        labels[:50] = None
        assert mmg_ray.estimate_mi(labels, x).n_samples == 550
        with pytest.raises(DataError, match="x has 600 different labels for 600 samples"):
            mmg_ray.estimate_mi([f"cell {v}" for v in range(600)], x)
        with pytest.raises(DataError, match="x holds numbers as text, such as"):
            mmg_ray.estimate_mi(x.astype(str), x)
        clusters = pd.Series(k.astype(str), dtype="category")  # as scanpy names them
        assert mmg_ray.estimate_mi(clusters, x, denoiser="gaussian").mi_nats > 0.2
