"""Starts of one run at the same moment, in processes of their own: prints how each ended, as JSON.

    python double_start.py FOLDER TIMES HOURS [elsewhere]

Of every two the second has a clock that is HOURS ahead; `elsewhere`: it cannot see the first's process.
"""

import json
import os
import sys
import time
from pathlib import Path

import disturbed

from mmg_ray import config
from mmg_ray.cli import main
from mmg_ray.execute import driver
from mmg_ray.store import process


def child(folder: Path, second: bool, hours: float, elsewhere: bool, gate: int) -> None:
    log = os.open(folder / f"{second:d}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if second:
        now, namespace = time.time, process._namespace()
        time.time = lambda: now() + 3600 * hours
        if elsewhere:
            process._namespace = lambda: namespace[::-1]
    os.read(gate, 1)
    main(["run", str(folder / "run.yaml")])


def double_start(folder: Path, hours: float, elsewhere: bool) -> list[tuple[int, str]]:
    folder.mkdir()
    (folder / "run.yaml").write_text(json.dumps(disturbed.settings(folder)))
    gate, opened = os.pipe()
    pids = []
    for second in (False, True):
        if (pid := os.fork()) == 0:
            code = 70
            try:
                child(folder, second, hours, elsewhere, gate)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                os._exit(code)
        pids.append(pid)
    os.write(opened, b"..")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return [(code, (folder / f"{k}.log").read_text()) for k, code in enumerate(codes)]


if __name__ == "__main__":
    base, times, hours, *elsewhere = sys.argv[1:]
    place = Path(base) / "first"  # what is loaded at a first run is not in the way of the others
    place.mkdir()
    driver.run(config.from_dict(disturbed.settings(place)))
    found = [
        double_start(Path(base) / str(k), float(hours), bool(elsewhere)) for k in range(int(times))
    ]
    sys.stdout.write(json.dumps(found))
