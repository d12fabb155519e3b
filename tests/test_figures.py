"""The heat map: the order it puts variables in, and a file that is a picture."""

import numpy as np
import pytest
from click.testing import CliRunner

import mmg_ray
from mmg_ray import config
from mmg_ray.cli import main
from mmg_ray.report.figures import cluster_order, heat_map


def test_similar_variables_are_adjacent():
    mi = np.zeros((6, 6))
    mi[np.ix_([0, 2, 4], [0, 2, 4])] = 1.0  # two groups, interleaved
    mi[np.ix_([1, 3, 5], [1, 3, 5])] = 0.5
    np.fill_diagonal(mi, np.nan)
    groups = cluster_order(mi) % 2
    assert (np.diff(groups) != 0).sum() == 1
    assert sorted(cluster_order(np.full((5, 5), np.nan))) == list(range(5))


@pytest.fixture
def run(tmp_path):
    values = np.random.default_rng(0).standard_normal((100, 5))
    values[:, 3] += values[:, 1]
    values[:, 4] = 0.0
    np.save(tmp_path / "values.npy", values)
    text = f"data: {{path: {tmp_path}/values.npy}}\noutput: {{url: {tmp_path}/run}}"
    settings = ["execute.executor=serial", "estimator.denoiser=gaussian"]
    return mmg_ray.run(config.load(text, settings))


def test_heat_map_shows_the_matrix_in_its_order(run):
    axes = heat_map(run).axes[0]
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert sorted(shown) == run.names
    order = [run.names.index(name) for name in shown]
    np.testing.assert_array_equal(
        np.ma.filled(axes.images[0].get_array(), np.nan), run.matrix()[:][np.ix_(order, order)]
    )


def test_heatmap_command_writes_a_picture(run, tmp_path):
    result = CliRunner().invoke(main, ["heatmap", run.url, str(tmp_path / "mi.png")])
    assert result.exit_code == 0
    assert (tmp_path / "mi.png").read_bytes().startswith(b"\x89PNG")
