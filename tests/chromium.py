"""Pages as a real browser has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needed = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def dom(url: str, folder: Path, width: int, *flags: str, budget_ms: int) -> str:
    """The page at a URL after so much of its own time, as HTML."""
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--dump-dom"),
        *flags,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1000",
        f"--virtual-time-budget={budget_ms}",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
