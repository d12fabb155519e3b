"""What several tests need."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

_START_S = 20.0
_STOP_S = 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory):
    """URL of a bucket in a real S3 store, SeaweedFS on loopback, stopped by its own pid."""
    folder = tmp_path_factory.mktemp("s3")
    port = _free_port()
    keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
    server = subprocess.Popen(
        [
            Path(sys.executable).with_name("weed"),
            "mini",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={port}",
            *("-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.cacheCapacityMB=0"),
            *("-s3.autoCreateBucket=false", "-bucket=mmg"),
        ],
        env={**os.environ, **keys, "GOMEMLIMIT": "256MiB"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # the environment is how a user says where and who, for this process and for Ray's workers
    settings = {
        **keys,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    try:
        deadline = time.monotonic() + _START_S
        while not _listening(port):
            assert server.poll() is None, "the store ended at once"
            assert time.monotonic() < deadline, "the store does not listen"
            time.sleep(0.1)
        time.sleep(1.0)  # it listens a moment before its bucket is there
        os.environ.update(settings)
        yield "s3://mmg"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
