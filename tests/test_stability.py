"""A network stays what it is: samples in another order, another seed of ties, one sample left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmg_ray.execute import driver
from mmg_ray.store.run import Run

N, V = 400, 24


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Counts of genes in cells that have names, most of them 0, in four modules."""
    rng = np.random.default_rng(0)
    module = rng.standard_normal((N, 4))[:, np.arange(V) % 4]
    rate = np.exp(0.7 * module + 0.5 * rng.standard_normal((N, V)) + rng.uniform(-2, 1, V))
    names = [f"cell{k}" for k in range(N)]
    return pd.DataFrame(rng.poisson(rate), index=names, columns=[f"g{v}" for v in range(V)])


def run(folder: Path, table: pd.DataFrame, **estimator: object) -> Run:
    folder.mkdir()
    table.to_csv(folder / "cells.csv", index_label="cell")
    tree = {
        "data": {"path": str(folder / "cells.csv"), "index_column": "cell"},
        "estimator": estimator,
        "edges": {"matrix": False},
        "execute": {"executor": "serial"},
        "output": {"url": str(folder / "run")},
    }
    from mmg_ray.config import from_dict

    return driver.run(from_dict(tree))


def mi_of(found: Run) -> pd.Series:
    edges = found.edges()
    keys = [tuple(sorted(pair)) for pair in zip(edges.source, edges.target, strict=True)]
    return pd.Series(edges.mi_nats.to_numpy(), index=pd.MultiIndex.from_tuples(keys)).sort_index()


def test_the_order_of_the_samples_changes_nothing(cells: pd.DataFrame, tmp_path: Path) -> None:
    first = mi_of(run(tmp_path / "first", cells))
    shuffled = cells.sample(frac=1.0, random_state=1)
    other = mi_of(run(tmp_path / "other", shuffled))
    assert (first > 0.02).sum() > 20
    np.testing.assert_allclose(other, first, atol=1e-6)


def test_closed_forms_take_no_seed(cells: pd.DataFrame, tmp_path: Path) -> None:
    smooth = {"cascade": {"fine_structure": False}}
    first = mi_of(run(tmp_path / "first", cells, **smooth))
    other = mi_of(run(tmp_path / "other", cells, seed=1, **smooth))
    np.testing.assert_array_equal(other, first)


def test_one_cell_left_out_leaves_the_strongest_pairs(cells: pd.DataFrame, tmp_path: Path) -> None:
    first = mi_of(run(tmp_path / "first", cells))
    other = mi_of(run(tmp_path / "other", cells.drop(index="cell7")))
    strongest = set(first.nlargest(50).index)
    assert len(strongest & set(other.nlargest(50).index)) >= 48
    assert np.abs(other - first).max() < 0.03


def test_samples_without_names_are_known_by_their_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((60, 3)))
    from mmg_ray.config import load

    text = f"data: {{path: {tmp_path / 'x.npy'}}}\nexecute: {{executor: serial}}\n"
    driver.run(load(text, [f"output.url={tmp_path / 'run'}"]))
    assert not (tmp_path / "run/prepared/identity.npy").exists()
