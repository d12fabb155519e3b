"""The campaign against stored runs, in short; `make attack` runs it in full."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack_storage import storage


def test_no_damage_passes_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    failures = storage(tmp_path, n=12, seed=1, limit_s=120)
    shown = capsys.readouterr().out
    assert failures == 0, shown
    assert "repaired" in shown
