"""What several tests need."""

import pytest
from s3_store import S3Store, environment


def pytest_collection_modifyitems(items):
    """The file that takes longest first: workers take a file each, and the last of them alone would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")


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
