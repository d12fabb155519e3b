"""What several tests need."""

import pytest
from s3_store import S3Store, environment

# files of whole runs on Ray, S3 stores, browsers and other processes, by what they take
_INTEGRATION = (
    "test_processes.py",
    "test_storage.py",
    "test_drain.py",
    "test_s3.py",
    "test_starts.py",
    "test_footprint.py",
    "test_scheduled.py",
    "test_gpu_benchmark.py",
    "test_attacks_on_storage.py",
    "test_wheel.py",  # takes kernels that others have compiled
    "test_lag_runs.py",
    "test_on_ray.py",
    "test_explore.py",
    "test_shards.py",
    "test_attacks_by_inputs.py",
    "test_harness.py",
    "test_integrity.py",
    "test_browser.py",
    "test_workflows.py",
)
_SLOW = ("test_no_index_is_out_of_bounds", "test_every_denoiser_gives_the_same_bits")
# and the others that take a minute
_LONG = (
    "test_denoisers.py",
    "test_groups_of_counts.py",
    *_INTEGRATION,
    "test_kernels.py",
    "test_numerics.py",
    "test_known_mi.py",
    "test_docs.py",
    "test_cascade.py",
)


def pytest_collection_modifyitems(items):
    """The files that take longest first: workers take a file each, and the last of them alone would wait for it."""
    place = {name: k for k, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(_LONG)))
    for item in items:
        if item.path.name in _INTEGRATION or any(name in item.name for name in _SLOW):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory):
    """A real S3 store on loopback for the session; it may be killed and started again."""
    store = S3Store(tmp_path_factory.mktemp("s3"))
    yield store
    store.stop()


@pytest.fixture(scope="session")
def s3_url(s3_store):
    """URL of a bucket in it, with the environment of this process saying where and who."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(s3_store.port).items():
            patch.setenv(name, value)
        yield "s3://mmg"
