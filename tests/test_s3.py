"""A whole run in a real S3 store, by the serial executor and by Ray: what lands is the same."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
from fault_proxy import FaultProxy

import mmg_ray
from mmg_ray import config
from mmg_ray.errors import DataError, StoreError
from mmg_ray.store import heartbeat
from mmg_ray.store.location import Location


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    values = np.random.default_rng(0).standard_normal((200, 9))
    values[:, 1] += values[:, 0]
    path = tmp_path_factory.mktemp("table") / "table.csv"
    header = ",".join(f"v{k}" for k in range(9))
    np.savetxt(path, values, delimiter=",", header=header, comments="")
    return path


@pytest.fixture
def through(s3_store, s3_url, monkeypatch) -> Iterator[Callable[..., FaultProxy]]:
    """Puts a proxy between this process and the store."""
    assert s3_url
    proxies = []

    def start(**how) -> FaultProxy:
        proxies.append(FaultProxy(s3_store.port, faults=(), **how))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxies[-1].port}")
        fsspec.filesystem("s3").clear_instance_cache()
        return proxies[-1]

    yield start
    fsspec.filesystem("s3").clear_instance_cache()
    for proxy in proxies:
        proxy.close()


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
    assert serial.edge_store().strongest(1).to_pylist()[0]["target"] == "v1"
    # from the bucket alone: opened, complete, and gone on with without the input file
    again = mmg_ray.run(mmg_ray.open_run(f"{s3_url}/serial").url, ["execute.executor=serial"])
    assert again.edge_store().table().num_rows == 36


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
        for secret in (b"not-a-secret", b"tester", b"127.0.0.1"):
            assert secret not in place.fs.cat_file(path)


def test_a_missing_bucket_is_an_error_that_says_so(table, s3_url):
    with pytest.raises(StoreError, match="s3://no-such-bucket/run"):
        _run(table, "s3://no-such-bucket/run", "serial")
    assert s3_url


def test_of_several_starts_at_once_one_takes_the_run(s3_url):
    place = Location(f"{s3_url}/race")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda k: heartbeat.claim(place, f"session {k}", 1), range(8)))
    assert sum(won) == 1
    assert heartbeat.last_claim(place).session == f"session {won.index(True)}"


def test_a_failed_start_leaves_nothing_behind(table, s3_url):
    with pytest.raises(DataError):
        mmg_ray.run(
            config.load(
                f"data: {{path: {table}, variables: [none]}}\noutput: {{url: {s3_url}/failed}}",
                ["execute.executor=serial"],
            )
        )
    left = Location(f"{s3_url}/failed").names()
    assert not [name for name in left if name.endswith(".json")]


def test_an_input_in_a_bucket_that_cannot_be_read_is_a_clear_error(s3_url, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        with pytest.raises(DataError, match=r"s3://mmg/table\.csv"):
            mmg_ray.run(
                config.load(f"data: {{path: {s3_url}/table.csv}}", ["execute.executor=serial"])
            )
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


def test_no_credentials_are_logged(table, s3_url, caplog):
    with caplog.at_level("DEBUG", "mmg_ray"):
        _run(table, f"{s3_url}/logged", "serial")
    assert caplog.text
    for secret in ("not-a-secret", "tester", "127.0.0.1"):
        assert secret not in caplog.text


def test_the_number_of_requests_is_bounded(tmp_path, s3_url, through):
    """A run, a look at it and its edges: so many requests, and so many more a shard."""
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(60, 16)))
    proxy = through()

    def counted(action) -> int:
        before = len(proxy.asked)
        action()
        return len(proxy.asked) - before

    found = {}
    for tile in (4, 2):
        url = f"{s3_url}/requests-{tile}"
        tree = {
            "data": {"path": str(tmp_path / "table.npy")},
            "estimator": {"denoiser": "gaussian"},
            "plan": {"tile_variables": tile, "shard_s": 1.0e-9},
            "execute": {"executor": "serial"},
            "output": {"url": url},
        }
        cfg = config.from_dict(tree)
        went = {"run": counted(lambda cfg=cfg: mmg_ray.run(cfg))}
        done = mmg_ray.open_run(url)
        went |= {"status": counted(done.status), "again": counted(done.status)}
        went |= {"edges": counted(done.edges), "resume": counted(lambda cfg=cfg: mmg_ray.run(cfg))}
        found[done.manifest.n_shards] = went
    (few, first), (many, second) = found.items()
    assert (few, many) == (10, 36)
    per_shard = {name: (second[name] - first[name]) / (many - few) for name in first}
    # a run: of a shard its chunk of columns (2), itself (1), and to the matrix (3); signs of life
    assert per_shard["run"] < 6.5
    assert per_shard["status"] == per_shard["resume"] == 1
    assert per_shard["again"] == 0
    assert per_shard["edges"] == 2
    # to look at a run: four listings, the tables of digests, and every zarr.json
    limits = {"run": 160, "status": 28, "again": 28, "edges": 8, "resume": 40}
    for name, limit in limits.items():
        assert first[name] - few * per_shard[name] <= limit, name


def test_a_store_without_conditional_writes(table, s3_url, through):
    proxy = through(conditions=False)
    run = _run(table, f"{s3_url}/unconditional", "serial")
    assert run.status().complete
    assert proxy.met["501"] > 0
    place = Location(f"{s3_url}/unconditional-claim")
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda k: heartbeat.claim(place, f"session {k}", 1), range(4)))
    assert sum(won) == 1
    assert not heartbeat.claim(place, "late", 1)
    # with conditions the same bytes are stored
    through()
    assert _objects(_run(table, f"{s3_url}/conditional", "serial")) == _objects(run)


def test_damage_in_a_bucket_is_noticed_and_repaired(table, s3_url):
    run = _run(table, f"{s3_url}/damaged", "serial")
    place = Location(run.url)

    def stored():
        paths = [p.removeprefix(f"{place.path}/") for p in place.fs.find(place.path)]
        return {p: (place / p).read_bytes() for p in paths if p != "driver.json"}

    before = stored()
    assert run.status().damaged == ()
    (place / "matrix.zarr/mi_nats/c/0/0").remove()
    (place / "prepared/codes.zarr/c/0/0").write_bytes(
        b"\0" + before["prepared/codes.zarr/c/0/0"][1:]
    )
    status = mmg_ray.open_run(run.url).status()
    assert status.damaged == ("matrix.zarr/mi_nats/c/0/0 is lost",)
    assert not status.complete
    with pytest.raises(StoreError, match=r"mi_nats/c/0/0 is lost.*--verify"):
        run.matrix()[:]
    with pytest.raises(StoreError, match=r"codes\.zarr/c/0/0 is not what the run wrote"):
        run.prepared().load([0])
    done = mmg_ray.run(run.url, ["execute.executor=serial"], verify=True)
    assert done.status().complete
    assert stored() == before
