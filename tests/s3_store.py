"""A real S3 store on loopback, SeaweedFS, that a test can kill and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
_START_S = 20.0
_STOP_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment(port: int) -> dict[str, str]:
    """How a user says where and who, for this process and for Ray's workers."""
    where = f"http://127.0.0.1:{port}"
    return {**KEYS, "AWS_ENDPOINT_URL": where, "AWS_DEFAULT_REGION": "us-east-1"}


class S3Store:
    """A server with the bucket `mmg`; ended by its own pid."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                Path(sys.executable).with_name("weed"),
                "mini",
                f"-dir={self.folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-s3.port={self.port}",
                *("-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.cacheCapacityMB=0"),
                *("-s3.autoCreateBucket=false", "-bucket=mmg"),
            ],
            env={**os.environ, **KEYS, "GOMEMLIMIT": "256MiB"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while not listening(self.port):
            assert self.process.poll() is None, "the store ended at once"
            assert time.monotonic() < deadline, "the store does not listen"
            time.sleep(0.1)
        time.sleep(1.0)  # it listens a moment before its bucket is there

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
