"""One HTML file that says what a run found: nothing is fetched when it is read, and it needs no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from mmg_ray.report import charts as drawn
from mmg_ray.report import lags, network_view, pairs
from mmg_ray.report.findings import Findings, find
from mmg_ray.report.html import asset, document, figure, section
from mmg_ray.report.sections import (
    calibration_section,
    evidence_section,
    head,
    heat_section,
    p_caption,
    quality_section,
    run_section,
    strongest_section,
)
from mmg_ray.report.subject import Subject
from mmg_ray.report.svg import Chart
from mmg_ray.store.location import Location


class Report(Findings):
    """What a report says, in numbers; in a notebook it shows as the page."""

    def _repr_html_(self) -> str:
        text = escape(page(self, figures_of(self)), quote=True)
        return f'<iframe srcdoc="{text}" style="width: 100%; height: 80vh; border: 0"></iframe>'


def write(
    of: Subject,
    url: str,
    steps: Sequence[str] | None = None,
    figures: str | None = None,
) -> Report:
    """Write the report of a run or a matrix to a file at any URL.

    Args:
        steps: of the network that it shows; default `fdr=0.05`, or `top=5` of a run without p-values.
        figures: a folder for the charts as SVG files, too.

    Returns:
        What it says, in numbers.

    Raises:
        StoreError: something is damaged, or the place cannot be written. ConfigError: a wrong step.
    """
    found = Report(**vars(find(of, steps)))
    charts = figures_of(found)
    Location(url).write_bytes(page(found, charts).encode())
    if figures is not None:
        for name, chart in charts.items():
            text = str(chart).replace("<title>", f"<style>{_lone_style()}</style><title>", 1)
            (Location(figures) / f"{name}.svg").write_bytes(text.encode())
    return found


def page(found: Findings, charts: dict[str, Chart]) -> str:
    """The whole file."""
    of = found.of
    title = (
        f"{of.quality.num_rows:,} variables, {of.n_pairs:,} pair{'s' if of.n_pairs != 1 else ''}"
    )
    body = "".join(
        [
            head(found, title),
            network_view.section_of(found),
            lags.section_of(found, charts) if of.lags else strongest_section(found, charts),
            evidence_section(found),
            section(
                "How much, and how sure",
                "<div class='row'>"
                + figure(charts["mi"], "Mutual information of the stored pairs.")
                + figure(charts["p"], p_caption(found))
                + "</div>",
            ),
            heat_section(found),
            calibration_section(found, charts),
            quality_section(found),
            run_section(found),
        ]
    )
    data = json.dumps(_data(found), allow_nan=False).replace("<", "\\u003c")
    after = f"<script type='application/json' id='data'>{data}</script><script>{asset('page.js')}</script>"
    return document(title, body, after)


def figures_of(found: Findings) -> dict[str, Chart]:
    """The charts, by name."""
    charts = {"mi": drawn.of_mi(found), "p": drawn.of_p_values(found)}
    if found.calibration:
        charts["calibration"] = drawn.of_calibration(found)
    if found.of.lags:
        charts |= lags.charts_of(found)
    for k, detail in enumerate(found.details, start=1):
        charts[f"pair-{k}-scatter"] = pairs.scatter(detail)
        charts[f"pair-{k}-gap"] = pairs.gap_chart(detail)
    return charts


def _data(found: Findings) -> dict[str, Any]:
    heat = [[None if np.isnan(v) else round(float(v), 5) for v in row] for row in found.heat]
    return {
        "heat": {"names": found.heat_names, "rows": heat},
        "graph": network_view.graph_of(found),
    }


def _lone_style() -> str:
    """The colours of a chart that stands alone, light."""
    return (
        "text{font:11px sans-serif;fill:#5a646e}.mark{fill:#2b6cb0}.dot{fill:#2b6cb0;fill-opacity:.45}"
        ".dot2{fill:#c05621}.axis{stroke:#5a646e}.grid{stroke:#d9dfe5}"
        ".line,.line2,.dash,.bar{fill:none;stroke:#2b6cb0;stroke-width:2}.line2{stroke:#c05621}"
        ".dash{stroke:#5a646e;stroke-width:1;stroke-dasharray:4 3}.bar{stroke-width:1.5}"
    )
