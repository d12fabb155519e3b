"""One HTML page about two runs compared: how MI changed, edge by edge."""

from __future__ import annotations

from html import escape

import numpy as np

from mmg_ray.network.compare import Comparison
from mmg_ray.report.html import document, figure, section, table
from mmg_ray.report.svg import Chart, ticks
from mmg_ray.store.location import Location

_DRAWN, _LISTED = 2_000, 50  # edges, the surest changes first
_LIKELY = 0.5  # p_changed from which a change is drawn as one
_COLUMNS = (
    "source",
    "target",
    "edge",
    "mi_first",
    "mi_second",
    "difference_posterior",
    "p_changed",
    "p_value",
    "q_value",
)


def write_differences(found: Comparison, first: str, second: str, url: str) -> None:
    """Write the page of a comparison to a file at any URL; nothing is fetched when it is read.

    Args:
        first, second: what the two runs are called on it.

    Raises:
        StoreError: the place cannot be written.
    """
    Location(url).write_bytes(page_of(found, first, second).encode())


def page_of(found: Comparison, first: str, second: str) -> str:
    """The whole file."""
    title = f"{first} and {second}: {found.table.num_rows:,} edges compared"
    counts = found.counts | {"variables of both": len(found.names)}
    tiles = "".join(f"<li><b>{n:,}</b>{escape(kind)}</li>" for kind, n in counts.items())
    body = (
        f"<p class='muted'>mmg_ray comparison</p><h1>{escape(title)}</h1><ul class='tiles'>{tiles}</ul>"
        + _only(found, first, second)
        + section("How MI changed", _pictures(found, first, second))
        + section("The surest changes", _table(found))
    )
    return document(title, body)


def _only(found: Comparison, first: str, second: str) -> str:
    """Of the variables that are in one run alone: their edges are not compared."""
    text = ""
    for name, only in ((first, found.only_first), (second, found.only_second)):
        if only:
            shown = f"{', '.join(only[:10])}{', ...' if len(only) > 10 else ''}"
            text += f"<p>{len(only):,} variables are in {escape(name)} only: {escape(shown)}</p>"
    return text


def _pictures(found: Comparison, first: str, second: str) -> str:
    a, b, posterior, changed = (
        found.table.column(name).to_numpy(zero_copy_only=False)[:_DRAWN]
        for name in ("mi_first", "mi_second", "difference_posterior", "p_changed")
    )
    both = np.isfinite(np.stack([a, b, posterior])).all(axis=0)
    if not both.any():
        return "<p>No edge has a value in both runs.</p>"
    a, b, posterior, changed = (v[both] for v in (a, b, posterior, changed))
    likely = changed >= _LIKELY
    most = 1.05 * float(max(a.max(), b.max(), 1e-3))
    scatter = Chart(
        f"MI in {first} and in {second}",
        (0.0, most),
        (0.0, most),
        f"MI in {first}, nats",
        f"MI in {second}, nats",
        ticks(0, most),
        ticks(0, most),
        height=340,
    )
    scatter.line((0, most), (0, most), "dash")
    scatter.points(a[~likely], b[~likely])
    scatter.points(a[likely], b[likely], "dot2", 2.5)
    wide = 1.1 * float(np.abs(posterior).max(initial=1e-3))
    volcano = Chart(
        "Change of MI and its probability",
        (-wide, wide),
        (0.0, 1.0),
        "posterior mean of the change, nats",
        "probability of a change",
        ticks(-wide, wide),
        ticks(0, 1, 5),
        height=340,
    )
    volcano.line((0, 0), (0, 1), "dash")
    volcano.points(posterior[~likely], changed[~likely])
    volcano.points(posterior[likely], changed[likely], "dot2", 2.5)
    drawn = "" if len(a) == found.table.num_rows else f" {len(a):,} edges are drawn."
    return (
        "<div class='row'>"
        + figure(
            scatter,
            f"MI of each edge of either network. Orange: p_changed of {_LIKELY:g} or more.{drawn}",
        )
        + figure(
            volcano, "The change in the light of all edges that are compared: shrunk by its error."
        )
        + "</div>"
    )


def _table(found: Comparison) -> str:
    order = np.argsort(
        -np.nan_to_num(found.table.column("p_changed").to_numpy(zero_copy_only=False)),
        kind="stable",
    )
    rows = found.table.take(order[:_LISTED]).select(list(_COLUMNS)).to_pylist()
    listed = table(_COLUMNS, [list(row.values()) for row in rows])
    note = (
        "<p class='muted'>difference_posterior is second less first, nats. An edge is gained or lost as it is in the second "
        "network only or in the first; a threshold may be crossed by chance, so rank by p_changed.</p>"
    )
    return f"<div class='scroll'>{listed}</div>{note}"
