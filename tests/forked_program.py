"""A program that is loaded once: a server forks for each command, and a client of its name stands in for the program.

Most of the time of a short command goes to loading libraries. What a command prints and reads, its folder, its
environment and its exit status are its own, as if it had been started by itself.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

_SERVER = """
import json, os, socket, sys
import anndata, scipy.stats, sklearn, torch, zarr
import mmg_ray.commands.run, mmg_ray.execute, mmg_ray.report
from mmg_ray.cli import main

here = socket.socket(socket.AF_UNIX)
here.bind(sys.argv[1])
here.listen()
print("ready", flush=True)
while True:
    asked, _ = here.accept()
    data, fds, _, _ = socket.recv_fds(asked, 2**20, 3)
    child = os.fork()
    if child == 0:
        told = json.loads(data)
        for k, fd in enumerate(fds):
            os.dup2(fd, k)
        os.chdir(told["cwd"])
        os.environ.clear()
        os.environ.update(told["environ"])
        sys.argv = told["argv"]
        code = 1
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    for fd in fds:
        os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asked.sendall(str(status).encode())
    asked.close()
"""

_CLIENT = """#!{python} -IS
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect({address!r})
told = {{"cwd": os.getcwd(), "environ": dict(os.environ), "argv": sys.argv}}
socket.send_fds(there, [json.dumps(told).encode()], [0, 1, 2])
sys.exit(int(there.recv(16)))
"""


@contextlib.contextmanager
def forked(python: Path, name: str, folder: Path) -> Iterator[Path]:
    """The folder of a client of that name, whose server runs in the environment of `python`."""
    address = folder / "socket"
    with subprocess.Popen(
        [python, "-c", _SERVER, address], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            client = folder / name
            client.write_text(_CLIENT.format(python=python, address=str(address)))
            client.chmod(0o755)
            yield folder
        finally:
            server.terminate()
