"""The harness of the campaigns tells every end of an attempt from the others."""

from __future__ import annotations

import os
import signal
import time

from harness import Attempt, Outcome, campaign

from mmg_ray.errors import DataError


def fine() -> tuple[Outcome, str]:
    return Outcome.HARMLESS, ""


def refuse() -> tuple[Outcome, str]:
    raise DataError("row 3 is damaged; restore it")


def fail() -> tuple[Outcome, str]:
    return Outcome.HARMLESS, str(1 // 0)


def die() -> tuple[Outcome, str]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return fine()


def hang() -> tuple[Outcome, str]:
    time.sleep(60)
    return fine()


def test_every_end_is_told_from_the_others() -> None:
    ends = (fine, refuse, fail, die, hang, fine)
    attempts = [Attempt(fn.__name__, f"attempt {k}", fn) for k, fn in enumerate(ends)]
    *_, (table, _) = campaign(attempts, limit_s=120, attempt_s=10)
    assert table.n_tried == 6
    lines = str(table).splitlines()
    last = next(line for line in lines if line.startswith("all"))
    total = dict(zip(lines[0].split(), last.split()[1:], strict=True))
    expected = {"refused": 1, "harmless": 2, "silent": 0, "traceback": 1, "crash": 1, "hang": 1}
    assert total == {"tried": "6"} | {name: str(count) for name, count in expected.items()}
    assert [line.split(":")[0] for line in table.bad] == ["traceback", "crash", "hang"]
    assert "ZeroDivisionError" in table.bad[0]


def test_a_campaign_ends_in_time() -> None:
    began = time.monotonic()
    assert len(list(campaign([Attempt("slow", "", fine)] * 10, limit_s=0.0))) <= 1
    assert time.monotonic() - began < 30
