"""A whole run in a real S3 store, by the serial executor and by Ray: what lands is the same."""

import numpy as np
import pytest

import mmg_ray
from mmg_ray import config
from mmg_ray.errors import StoreError
from mmg_ray.store.location import Location


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    values = np.random.default_rng(0).standard_normal((200, 9))
    values[:, 1] += values[:, 0]
    path = tmp_path_factory.mktemp("table") / "table.csv"
    header = ",".join(f"v{k}" for k in range(9))
    np.savetxt(path, values, delimiter=",", header=header, comments="")
    return path


def _run(table, url, executor):
    text = f"data: {{path: {table}}}\nestimator: {{denoiser: gaussian}}\noutput: {{url: {url}}}"
    settings = [f"execute.executor={executor}", "plan.tile_variables=3", "plan.shard_s=1.0e-9"]
    return mmg_ray.run(config.load(text, settings))


def _objects(run):
    folder = Location(run.url) / "edges"
    return {name: (folder / name).read_bytes() for name in folder.names()}


def test_a_run_in_a_bucket_by_both_executors(table, s3_url):
    serial = _run(table, f"{s3_url}/serial", "serial")
    on_ray = _run(table, f"{s3_url}/ray", "ray")
    assert serial.status().complete
    assert len(_objects(serial)) > 2
    assert _objects(serial) == _objects(on_ray)
    np.testing.assert_array_equal(serial.matrix()[:], on_ray.matrix()[:])
    assert serial.strongest(1).to_pylist()[0]["target"] == "v1"
    # from the bucket alone: opened, complete, and gone on with without the input file
    again = mmg_ray.run(mmg_ray.open_run(f"{s3_url}/serial").url, ["execute.executor=serial"])
    assert again.edges().num_rows == 36


def test_a_lost_shard_is_computed_again(table, s3_url):
    run = _run(table, f"{s3_url}/lost", "serial")
    before = _objects(run)
    name = sorted(before)[1]
    folder = Location(run.url) / "edges"
    (folder / name).write_bytes(before[name][:-20])  # truncated
    assert not run.status().complete
    _run(table, f"{s3_url}/lost", "serial")
    assert _objects(run) == before


def test_no_credentials_are_stored(table, s3_url):
    run = _run(table, f"{s3_url}/secrets", "serial")
    place = Location(run.url)
    for path in place.fs.find(place.path):
        assert b"not-a-secret" not in place.fs.cat_file(path)


def test_a_missing_bucket_is_an_error_that_says_so(table, s3_url):
    with pytest.raises(StoreError, match="s3://no-such-bucket/run"):
        _run(table, "s3://no-such-bucket/run", "serial")
    assert s3_url
