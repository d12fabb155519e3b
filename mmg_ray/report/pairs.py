"""One pair, looked at closely: its samples, and the gap in denoising error by noise level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmg_ray.api import mmse_gap
from mmg_ray.errors import DataError
from mmg_ray.estimator.ranks.marginals import MISSING, midrank_scores
from mmg_ray.report.svg import Chart, ticks
from mmg_ray.schema import Variable

_POINTS = 800
OF_SCATTER = "Normal scores of the ranks."


@dataclass(frozen=True, eq=False)
class Detail:
    """A pair of scalars.

    Attributes:
        row: of the edge table, or of a network.
        x, y: (S,) normal scores of the two variables, some of the samples.
        logsnr, gap_x, gap_y: (K,) the MMSE gap of denoising either, given the other and nothing else.
        given: names of what the MI of the row is given.
    """

    row: dict[str, Any]
    x: np.ndarray
    y: np.ndarray
    logsnr: np.ndarray
    gap_x: np.ndarray
    gap_y: np.ndarray
    given: tuple[str, ...] = ()


def detail_of(
    load: Callable[[Sequence[int]], Mapping[int, Variable]], row: dict[str, Any], given: list[str]
) -> Detail | None:
    """The pair of a row; None of groups, and where there are too few samples for a curve.

    Args:
        load: variables by their indices. given: names of what the pairs of the run are estimated given.
    """
    held = load([row["i"], row["j"]])
    if any(held[row[end]].dim != 1 for end in ("i", "j")):
        return None
    codes = [held[row[end]].codes[:, 0] for end in ("i", "j")]
    both = (codes[0] != MISSING) & (codes[1] != MISSING)
    x, y = (np.unique(c[both], return_inverse=True)[1] for c in codes)
    try:
        logsnr, gap_x = mmse_gap(x, y)
        gap_y = mmse_gap(y, x)[1]
    except DataError:
        return None
    some = np.random.default_rng(0).permutation(len(x))[:_POINTS]
    return Detail(
        row, midrank_scores(x)[some], midrank_scores(y)[some], logsnr, gap_x, gap_y, tuple(given)
    )


def scatter(detail: Detail) -> Chart:
    most = float(max(np.abs(detail.x).max(), np.abs(detail.y).max())) * 1.08
    marks = ticks(-most, most)
    source, target = detail.row["source"], detail.row["target"]
    chart = Chart(
        f"{target} against {source}", (-most, most), (-most, most), source, target, marks, marks
    )
    chart.points(detail.x, detail.y)
    return chart


def of_gap(detail: Detail) -> str:
    """What the gap chart shows."""
    names = ", ".join(detail.given)
    but = f" of the two alone, which is not their MI given {names}" if names else ""
    return (
        f"Gap in denoising error: {detail.row['source']} given the other (line), "
        f"{detail.row['target']} given the other (second colour). Half the area is the MI{but}."
    )


def gap_chart(detail: Detail) -> Chart:
    curves = detail.gap_x, detail.gap_y
    most = float(max(max(c.max() for c in curves), 0.01)) * 1.1
    least = float(min(min(c.min() for c in curves), 0.0))
    first, last = float(detail.logsnr[0]), float(detail.logsnr[-1])
    chart = Chart(
        "MMSE gap by noise level",
        (first, last),
        (least, most),
        "log SNR",
        "gap",
        ticks(first, last),
        ticks(least, most, 3),
    )
    for curve, kind in zip(curves, ("line", "line2"), strict=True):
        chart.line(detail.logsnr.tolist(), curve.tolist(), kind)
    return chart
