"""The sections of the page, each the HTML of some findings."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

import numpy as np

from mmg_ray.report import pairs
from mmg_ray.report.findings import Findings
from mmg_ray.report.html import figure, folded, section, table
from mmg_ray.report.svg import Chart
from mmg_ray.schema import Status, Stop


def head(found: Findings, title: str) -> str:
    of = found.of
    n_variables, n_samples = of.quality.num_rows, of.n_samples
    kept = found.network.table.num_rows
    steps = ", ".join(found.network.provenance["steps"]) or "no steps"
    tiles = {
        "pairs estimated": f"{of.n_pairs:,}",
        f"edges left ({steps})": f"{kept:,}",
        "variables with an edge": f"{found.network.connected.size:,} of {n_variables:,}",
        "samples": f"{n_samples:,}",
        "pairs without a value": f"{of.n_pairs - of.statuses.get(Status.OK, 0):,}",
    }
    items = "".join(f"<li><b>{v}</b>{escape(k)}</li>" for k, v in tiles.items())
    near = ""
    top = found.strongest[0]["mi_nats"] if found.strongest else 0.0
    if top > np.log(n_samples) - 1.5:
        near = (
            f"<p>The strongest pairs are near what {n_samples:,} samples can show at all "
            f"(log N = {np.log(n_samples):.1f} nats): read them as “at least”.</p>"
        )
    return (
        f"<p class='muted'>mmg_ray report of {escape(of.where)}</p><h1>{escape(title)}</h1>"
        f"<ul class='tiles'>{items}</ul>{near}"
    )


def strongest_section(found: Findings, charts: dict[str, Chart]) -> str:
    columns = [
        "source",
        "target",
        "mi_posterior",
        "p_dependent",
        "mi_nats",
        "se_nats",
        "mi_ij",
        "mi_ji",
        "gap",
        "orthogonal",
        "p_value",
        "spearman",
        "denoiser",
    ]
    rows = [[row[name] for name in columns] for row in found.strongest]
    cards = "".join(
        f"<div class='card'><h3>{escape(d.row['source'])} &ndash; {escape(d.row['target'])}</h3>"
        f"<p>{d.row['mi_nats']:.3f} ± {d.row['se_nats']:.3f} nats</p>"
        + figure(charts[f"pair-{k}-scatter"], pairs.OF_SCATTER)
        + figure(charts[f"pair-{k}-gap"], pairs.of_gap(d))
        + "</div>"
        for k, d in enumerate(found.details, start=1)
    )
    return section(
        "Strongest pairs",
        f"<div class='scroll'>{table(columns, rows)}</div>"
        "<p class='muted'>mi_ij and mi_ji denoise the second and the first; gap is a lower bound up to "
        "sampling noise; gap and orthogonal far apart warn of a poor fit.</p>"
        f"<div class='row'>{cards}</div>",
    )


def evidence_section(found: Findings) -> str:
    """What a weight means, and where to cut."""
    model = found.of.evidence
    if model is None:
        return section(
            "Weights",
            "<p>The weight of an edge is its MI, nats. There is no posterior: pairs of series, with groups and "
            "given conditions have none.</p>",
        )
    learned = (
        f"Learned from {model.n_pairs:,} pairs: {escape(str(model))}."
        if model.n_pairs
        else "There are too few pairs to learn from, so one pair in ten is taken to depend."
    )
    rows = [
        [
            f"{cut:g}",
            f"{n:,}",
            f"{rate:.1%}",
            found.of.cut_by(f"lfdr={cut:g}"),
        ]
        for cut, n, rate in found.local
    ]
    columns = ["lfdr up to", "edges", "of these independent", "to keep them"]
    return section(
        "Weights, and where to cut",
        "<p>The weight of an edge before any step is mi_posterior, its mean MI in the light of all pairs, nats: "
        "shrunk where samples say little, so that it ranks well where there are few. mi_nats is the estimate "
        "of the pair alone. p_dependent is the probability that a pair depends at all, and 1 - p_dependent "
        "its local false-discovery rate (lfdr); a q-value is the rate of all pairs up to it. "
        f"{learned}</p><div class='scroll'>{table(columns, rows)}</div>",
    )


def p_caption(found: Findings) -> str:
    stored = int(found.p_counts.sum())
    if not found.of.n_tests:
        return "No pair has a p-value: none was asked for (estimator.nulls.max_permutations: 0)."
    note = (
        ""
        if stored >= found.of.n_tests
        else f" Of {found.of.n_tests:,} tests {stored:,} are stored: a filter left out the others."
    )
    return (
        "p-values of independence. Independent pairs would lie on the dashed line; what stands "
        f"above it at the left depends.{note}"
    )


def heat_section(found: Findings) -> str:
    n = len(found.heat_names)
    if n < 2:
        return ""
    return section(
        "Heat map",
        f"<p>The {n} variables of the edges of largest weight, similar ones side by side; colour follows "
        "the square root of the MI. Point at a cell, or use the arrow keys.</p>"
        f"<canvas id='heat' tabindex='0' role='img' aria-label='MI of {n} variables; arrow keys read "
        "cells out'></canvas><p id='heat-said' aria-live='polite'></p>",
    )


def calibration_section(found: Findings, charts: dict[str, Chart]) -> str:
    if not found.calibration:
        return ""
    columns = ["pair", "exact MI, nats", "mean estimate", "RMSE", "mean se", "in its interval"]
    rows = []
    for c in found.calibration:
        error = c.estimates - c.mi_nats
        covered = np.abs(error) <= 1.96 * c.errors
        rows.append(
            [
                c.name,
                c.mi_nats,
                float(c.estimates.mean()) if error.size else None,
                float(np.sqrt((error**2).mean())) if error.size else None,
                float(c.errors.mean()) if error.size else None,
                f"{covered.sum()} of {covered.size}",
            ]
        )
    n = found.of.n_samples
    return section(
        "How far to trust the numbers",
        f"<p>Pairs whose MI is known exactly, drawn with {n:,} samples and, where it says rho, with the ties "
        "of two of this run's variables (the median one and one of many ties), then estimated as this run "
        "was. Ties take MI away: that is in the data, not in the estimate.</p>"
        + "<div class='narrow'>"
        + figure(charts["calibration"], "Estimates with 95 % intervals against the truth.")
        + f"</div><div class='scroll'>{table(columns, rows)}</div>",
    )


def quality_section(found: Findings) -> str:
    q = found.of.quality
    status = q["status"].to_pylist()
    bad = [k for k, s in enumerate(status) if s != Status.OK]
    text = f"<p>{len(status) - len(bad):,} of {len(status):,} variables can be used.</p>"
    columns = [
        "name",
        "status",
        "n_samples",
        "n_missing",
        "n_distinct",
        "tie_share",
        "zero_share",
        "message",
    ]
    if bad:
        rows = [[q[name][k].as_py() for name in columns] for k in bad[:200]]
        more = f"<p>and {len(bad) - 200:,} more</p>" if len(bad) > 200 else ""
        text += f"<div class='scroll'>{table(columns, rows)}</div>{more}"
    facts = []
    for name, words in (
        ("n_samples", "samples with a value"),
        ("n_distinct", "distinct values"),
        ("tie_share", "share of samples that tie"),
        ("zero_share", "share of zeros"),
    ):
        values = np.array([v for v in q[name].to_pylist() if v is not None], dtype=float)
        if values.size:
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            facts.append([words, float(low), float(middle), float(high)])
    text += table(["of the variables", "5 %", "median", "95 %"], facts)
    return section("Variables", text)


def run_section(found: Findings) -> str:
    of = found.of
    facts = {**of.facts, "report made": datetime.now(UTC).isoformat(timespec="seconds")}
    rows = "".join(f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    by_tier = [[name, count] for name, count in found.denoisers.items()]
    stops = [[name, count, Stop(name).reason] for name, count in found.stops.items()]
    not_ok = [
        [name, count, name.remedy] for name, count in of.statuses.items() if name != Status.OK
    ]
    missing = (
        f"<h3>Pairs without a value</h3>{table(['status', 'pairs', 'what to do'], not_ok)}"
        if not_ok
        else "<p>Every pair has a value.</p>"
    )
    lines = [[key, text.strip()] for key, _, text in (n.partition(":") for n in of.notes)]
    before = (
        f"<h3>Found and done before</h3>{table(['step', 'what was found or done'], lines)}"
        if lines
        else ""
    )
    return section(
        "How it was made",
        f"<table class='facts'>{rows}</table>{before}<div class='row'>"
        f"<div><h3>Stored pairs by denoiser</h3>{table(['denoiser', 'pairs'], by_tier)}</div>"
        f"<div><h3>Why they stopped there</h3>{table(['stop', 'pairs', 'meaning'], stops)}</div></div>"
        f"{missing}{folded('Configuration', f'<pre>{escape(of.configuration)}</pre>')}",
    )
