"""Lags in a report: the curves of the most significant pairs, with what independent pairs stay below, and a table."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from mmg_ray.config import LagsConfig
from mmg_ray.report.findings import Findings
from mmg_ray.report.html import figure, section, table
from mmg_ray.report.svg import Chart, ticks

_DRAWN = 6
OF_CURVE = "MI by lag. Of independent pairs 95 % stay below the dashed line at every lag."


def charts_of(found: Findings) -> dict[str, Chart]:
    """The curves of the most significant pairs that leave the null's band, by name."""
    return {f"pair-{k}-lags": chart_of(_lags(found), row) for k, row in enumerate(_rows(found), 1)}


def section_of(found: Findings, charts: dict[str, Chart]) -> str:
    """Curves and a table."""
    lags = _lags(found)
    columns = ["source", "target", "lag_s", "mi_nats", "se_nats", "p_value", "spearman"]
    transfer = ""
    if lags.transfer:
        columns += ["transfer_ij", "transfer_p_ij", "transfer_ji", "transfer_p_ji"]
        transfer = (
            " transfer_ij and transfer_ji are transfer entropies from source to target and from target to source, nats: "
            "what the past of one says of the other that its own past does not."
        )
    cards = "".join(
        f"<div class='card'><h3>{escape(row['source'])} &ndash; {escape(row['target'])}</h3>"
        f"<p>{row['mi_nats']:.3g} ± {row['se_nats'] or 0:.2g} nats at {row['lag_s']:+.3g} s</p>"
        + figure(charts[f"pair-{k}-lags"], OF_CURVE)
        + "</div>"
        for k, row in enumerate(_rows(found), 1)
    )
    given = f", given {escape(', '.join(found.of.given))}" if found.of.given else ""
    rows = [[row[name] for name in columns] for row in found.strongest]
    return section(
        "Lags",
        "<p>The most significant pairs. A lag is positive where the target follows the source. P-values are of the "
        f"largest dependence within {lags.max_s:g} s either way{given}.{transfer}</p>"
        f"<div class='row'>{cards}</div><div class='scroll'>{table(columns, rows)}</div>",
    )


def _lags(found: Findings) -> LagsConfig:
    assert found.of.lags is not None
    return found.of.lags


def _rows(found: Findings) -> list[dict[str, Any]]:
    rows = [row for row in found.strongest if row["curve"] and row["band"] is not None]
    return [row for row in rows if np.nanmax(row["curve"]) > row["band"]][:_DRAWN]


def chart_of(lags: LagsConfig, row: dict[str, Any]) -> Chart:
    """The curve of a row of the edge table that has one, and what independent pairs stay below."""
    seconds = (np.arange(-lags.most, lags.most + 1) * lags.sample_s).tolist()
    mi = np.nan_to_num(row["curve"]).tolist()
    top, low = max(*mi, row["band"]) * 1.1, min(*mi, 0.0)
    chart = Chart(
        f"MI of {row['source']} and {row['target']} by lag",
        (seconds[0], seconds[-1]),
        (low, top),
        f"lag, s (positive: {row['target']} follows)",
        "MI, nats",
        ticks(seconds[0], seconds[-1]),
        ticks(low, top),
    )
    chart.line(seconds, mi)
    chart.line([seconds[0], seconds[-1]], [row["band"]] * 2, "dash")
    return chart
