"""Draw the figures of docs/concepts.md and, where Chromium is installed, take the picture of a report.

python docs/make_figures.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

import mmg_ray

FOLDER = Path(__file__).with_name("figures")
CHROMIUM = shutil.which("chromium")
_HEADLESS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--virtual-time-budget=20000",
)
_BLUE, _GREY, _PALE = "#2f6690", "#5c6770", "#e8eef3"

# tier, which pairs it takes, how; the price goes up to the right
TIERS = (
    ("screen", "every pair", "rank test,\nweak MI"),
    ("contingency", "few values", "table of counts"),
    ("spline-direct", "p \u2264 0.1,\nMI may matter", "closed form"),
    ("spline", "MI > 0.04", "location, scale,\nshape"),
    ("neighbours", "local densities\nsay more", "nearest\nneighbours"),
    ("neural", "groups of\ncolumns", "stacks of\nsmall networks"),
)


def gap() -> None:
    """The difference of the denoising errors of one pair over logsnr: half its area is the MI."""
    x, e = np.random.default_rng(0).standard_normal((2, 5000))
    logsnr, difference = mmg_ray.mmse_gap(x**2 + e, x)
    area = 0.5 * np.trapezoid(difference, logsnr)
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    axes.fill_between(logsnr, difference, color=_PALE)
    axes.plot(logsnr, difference, color=_BLUE, linewidth=2)
    axes.annotate(
        f"half the area\nis the MI:\n{area:.2f} nats\n(exact: 0.43)",
        (float(logsnr[np.argmax(difference)]), float(difference.max()) * 0.4),
        ha="center",
        va="center",
    )
    axes.set(xlabel="log signal-to-noise ratio", ylabel="difference of the errors", ylim=(0, None))
    axes.set_title("Denoising x\u00b2 + e with and without x", color=_GREY, fontsize=11)
    _save(figure, "gap")


def cascade() -> None:
    """The tiers, from what every pair gets to what few pairs need."""
    figure, axes = plt.subplots(figsize=(10.5, 2.5))
    axes.set(xlim=(0, 6), ylim=(0, 1))
    axes.axis("off")
    for k, (name, takes, how) in enumerate(TIERS):
        box = FancyBboxPatch(
            (k + 0.06, 0.22), 0.82, 0.6, boxstyle="round,pad=0.02", fc=_PALE, ec=_BLUE
        )
        axes.add_patch(box)
        axes.text(k + 0.47, 0.71, name, ha="center", weight="bold", color=_BLUE, fontsize=10)
        axes.text(k + 0.47, 0.5, takes, ha="center", va="center", color="black", fontsize=8.5)
        axes.text(k + 0.47, 0.3, how, ha="center", va="center", color=_GREY, fontsize=8)
    axes.annotate("", (5.9, 0.08), (0.1, 0.08), arrowprops={"arrowstyle": "->", "color": _GREY})
    axes.text(0.1, 0.0, "microseconds, all pairs", color=_GREY, fontsize=8, va="top")
    axes.text(5.9, 0.0, "seconds, few pairs", color=_GREY, fontsize=8, va="top", ha="right")
    _save(figure, "cascade")


def report() -> None:
    """The first screen of the report on 200 genes in 700 blood cells."""
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        _blood_cells(folder)
        page = Path(folder) / "blood-cells" / "report.html"
        page.write_text(page.read_text().replace(folder, "runs"))
        _picture("report", page.as_uri(), folder, 1650)


def explore() -> None:
    """The local page on the same genes, one variable and one of its edges."""
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        _blood_cells(folder, "network.report=false")
        command = [sys.executable, "-m", "mmg_ray", "explore", "blood-cells", "--no-browser"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
            _picture("explore", f"{address}#variable=NKG7&source=NKG7&target=GNLY", folder, 1000)
        finally:
            server.terminate()
            server.wait()


def _blood_cells(folder: str, *more: str) -> None:
    settings = ["genes.top=200", "execute.executor=serial", f"output.url={folder}/blood-cells"]
    words = [word for setting in (*settings, *more) for word in ("--set", setting)]
    subprocess.run([sys.executable, "-m", "mmg_ray", "genomics", *words], check=True)


def _picture(name: str, url: str, folder: str, height: int) -> None:
    command = [str(CHROMIUM), *_HEADLESS, f"--user-data-dir={folder}/profile"]
    command += [f"--window-size=1300,{height}", f"--screenshot={FOLDER / name}.png", url]
    subprocess.run(command, check=True)


def _save(figure: plt.Figure, name: str) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    mpl.rcParams |= {"svg.hashsalt": "mmg_ray", "font.size": 10}
    gap()
    cascade()
    report()
    explore()
