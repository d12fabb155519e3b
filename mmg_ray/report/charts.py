"""Charts of a whole run: its MI, its p-values, known pairs estimated as its own were."""

from __future__ import annotations

import numpy as np

from mmg_ray.report.findings import Findings
from mmg_ray.report.svg import Chart, ticks


def of_mi(found: Findings) -> Chart:
    counts = found.mi_counts
    last = int(np.flatnonzero(counts).max(initial=1)) + 1
    cuts = found.mi_cuts[: last + 1]
    places = np.log10(np.maximum(cuts, 10**-3.2))
    most = float(np.ceil(np.log10(max(counts.max(), 10))))
    marks = [(np.log10(v), f"{v:g}") for v in (0.001, 0.01, 0.1, 1, 10) if v <= cuts[-1] * 1.01]
    chart = Chart(
        "Histogram of mutual information",
        (places[0], places[-1]),
        (-0.3, most),
        "MI, nats (log scale)",
        "pairs (log scale)",
        marks,
        [(float(k), f"{10**k:,}") for k in range(int(most) + 1)],
    )
    heights = np.log10(np.maximum(counts[:last], 0.1))
    chart.bars(
        places,
        heights,
        lambda k: f"{cuts[k]:.3g} to {cuts[k + 1]:.3g} nats: {counts[k]:,.0f} pairs",
    )
    return chart


def of_p_values(found: Findings) -> Chart:
    counts = found.p_counts
    most = max(float(counts.max()), 1.0)
    cuts = np.linspace(0, 1, 21)
    chart = Chart(
        "Histogram of p-values",
        (0.0, 1.0),
        (0.0, 1.05 * most),
        "p-value",
        "pairs",
        ticks(0, 1, 5),
        [(v, f"{v:,.0f}") for v, _ in ticks(0, most, 4) if v == round(v)],
    )
    chart.bars(
        cuts, counts, lambda k: f"{cuts[k]:.2f} to {cuts[k + 1]:.2f}: {counts[k]:,.0f} pairs"
    )
    level = found.of.n_tests / 20
    if 0 < level < most:
        chart.line([0, 1], [level, level], "dash")
    return chart


def of_calibration(found: Findings) -> Chart:
    most = max(max(c.mi_nats, *c.estimates, 0.1) for c in found.calibration) * 1.1
    marks = ticks(0, most)
    chart = Chart(
        "Estimates of known pairs against their exact MI",
        (-0.03 * most, most),
        (-0.03 * most, most),
        "exact MI, nats",
        "estimate, nats",
        marks,
        marks,
    )
    chart.line([0, most], [0, most], "dash")
    for c in found.calibration:
        for k, (value, error) in enumerate(zip(c.estimates, c.errors, strict=True)):
            at = c.mi_nats + (k - (len(c.estimates) - 1) / 2) * 0.006 * most
            low, high = (min(max(value + s * 1.96 * error, chart.y[0]), most) for s in (-1, 1))
            chart.line([at, at], [low, high], "bar")
            chart.points(np.array([at]), np.array([value]), "dot2", 2.5)
    return chart
