"""The network of a report: its picture, laid out here and drawn by page.js, and its modules."""

from __future__ import annotations

from html import escape
from typing import Any

import networkx as nx
import numpy as np

from mmg_ray.network.graph import Network
from mmg_ray.network.modules import MOST_EDGES, SMALLEST
from mmg_ray.network.modules import listed as listed_modules
from mmg_ray.report.findings import Findings, top_edges
from mmg_ray.report.html import folded, section, table

_WIDTH, _HEIGHT, _MARGIN = 1000, 600, 50  # of the plane
_COLOURED = 8  # modules with a colour of their own, the largest
_LISTED = 30  # modules in the table
_HUBS = 3


def section_of(found: Findings) -> str:
    """The picture of the strongest edges, their table, and the modules of the whole network."""
    edges = top_edges(found.network)
    if not edges.num_rows:
        return section("Network", "<p>No edge is left by these steps.</p>")
    text = (
        f"<p>The {edges.num_rows:,} edges of largest weight of {found.network.table.num_rows:,}. Line width "
        "follows the weight, line colour the sign of the Spearman correlation, and the colour of a variable its "
        "module. Choose a variable (click, or Tab and Enter) to see its edges; Ctrl and the wheel zooms, "
        "which also shows more names.</p>"
        "<p class='legend'><span>Spearman above 0 or none</span><span class='b'>below 0</span></p>"
        "<div class='tools'><label for='search'>Find</label><input id='search' list='names' "
        "autocomplete='off'><datalist id='names'>"
        + "".join(f"<option value='{escape(name)}'>" for name in _shown_names(found.network))
        + "</datalist><button id='closer' type='button'>Closer</button><button id='wider' type='button'>"
        "Wider</button><button id='whole' type='button'>All</button></div>"
        f"<div id='graph'><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='group' "
        "aria-label='Network of the strongest edges; the table below lists them'><g></g></svg></div>"
        "<p id='graph-said' aria-live='polite'></p>"
    )
    columns = ["source", "target", "weight", "mi_nats", "se_nats", "q_value", "spearman"]
    columns += ["lag_s"] * bool(found.of.lags)
    rows = [[row[name] for name in columns] for row in edges.to_pylist()]
    listed = folded("These edges as a table", table(columns, rows))
    return section("Network", text + listed) + _modules_section(found)


def _modules_section(found: Findings) -> str:
    parts = listed_modules(found.modules)
    if not parts:
        return ""
    rows = "".join(
        f"<tr><td><span class='swatch m{k if k <= _COLOURED else 0}'></span>{k}</td>"
        f"<td class='n'>{len(part):,}</td><td>{escape(', '.join(part[:_HUBS]))}</td>"
        f"<td>{folded('all names', f'<pre>{escape(chr(10).join(part))}</pre>')}</td></tr>"
        for k, part in enumerate(parts[:_LISTED], start=1)
    )
    whole = found.network.table.num_rows <= MOST_EDGES
    of = "the whole network" if whole else f"the {MOST_EDGES:,} edges of largest weight"
    more = f"<p>and {len(parts) - _LISTED:,} smaller ones</p>" if len(parts) > _LISTED else ""
    return section(
        "Modules",
        f"<p>{len(parts):,} groups of {SMALLEST} or more variables with many edges among themselves (Louvain "
        f"communities of {of}). The names of a module can be pasted into an enrichment test.</p>"
        "<div class='scroll'><table><thead><tr><th scope='col'>module</th><th scope='col' class='n'>variables</th>"
        "<th scope='col'>best connected</th><th scope='col'>members</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{more}",
    )


def _shown_names(network: Network) -> list[str]:
    ends = (top_edges(network)[end].to_pylist() for end in ("source", "target"))
    return sorted({name for names in ends for name in names})


def graph_of(found: Findings) -> dict[str, Any]:
    """Names, places, modules and edges of the strongest edges; the layout is the same every time."""
    graph = nx.Graph()
    rows = top_edges(found.network).to_pylist()
    graph.add_nodes_from(_shown_names(found.network))
    top = max((row["weight"] for row in rows), default=1.0)
    for row in rows:
        graph.add_edge(row["source"], row["target"], weight=0.2 + row["weight"] / top)
    names = list(graph)
    places = _layout(graph)
    position = {name: k for k, name in enumerate(names)}
    module = {
        name: k
        for k, part in enumerate(listed_modules(found.modules)[:_COLOURED], start=1)
        for name in part
    }
    return {
        "directed": found.network.directed,
        "nodes": [
            {"name": name, "x": round(x, 1), "y": round(y, 1), "module": module.get(name, 0)}
            for name, (x, y) in zip(names, places, strict=True)
        ],
        "edges": [
            {
                "a": position[row["source"]],
                "b": position[row["target"]],
                "weight": row["weight"],
                "mi": row["mi_nats"],
                "q": row["q_value"],
                "sign": -1 if (row["spearman"] or 0) < 0 else 1,
            }
            for row in rows
        ],
    }


def _layout(graph: nx.Graph) -> list[tuple[float, float]]:
    """Places on the plane: components side by side in strips of about their size."""
    parts = sorted((sorted(part) for part in nx.connected_components(graph)), key=len, reverse=True)
    widths = [len(part) ** 0.7 + 0.6 for part in parts]

    def stretch(rows: list[list[int]]) -> float:
        """How far from square a part is drawn, on a log scale."""
        wide = _WIDTH / max(sum(widths[k] for k in row) for row in rows)
        tall = _HEIGHT / sum(max(widths[k] for k in row) for row in rows)
        return abs(float(np.log(wide / tall)))

    rows = min((_rows_of(widths, n) for n in range(1, len(parts) + 1)), key=stretch, default=[])
    heights = [max(widths[k] for k in row) for row in rows]
    placed: dict[str, tuple[float, float]] = {}
    top = float(_MARGIN)
    for row, height in zip(rows, heights, strict=True):
        tall = (_HEIGHT - 2 * _MARGIN) * height / sum(heights)
        left = float(_MARGIN)
        for k in row:
            wide = (_WIDTH - 2 * _MARGIN) * widths[k] / sum(widths[m] for m in row)
            for name, (u, v) in _spread(graph.subgraph(parts[k])).items():
                placed[name] = (
                    left + wide * (0.06 + 0.82 * u),
                    top + tall * (0.06 + 0.88 * v),
                )
            left += wide
        top += tall
    return [placed[name] for name in graph]


def _rows_of(widths: list[float], n_rows: int) -> list[list[int]]:
    """Positions of widths in about so many rows of about equal length."""
    target = max([sum(widths) / n_rows, *widths])
    rows: list[list[int]] = []
    for k, width in enumerate(widths):
        if rows and sum(widths[m] for m in rows[-1]) + width <= target * 1.1:
            rows[-1].append(k)
        else:
            rows.append([k])
    return rows


def _spread(part: nx.Graph) -> dict[str, tuple[float, float]]:
    """Places of a connected graph in the unit square, crowds drawn apart."""
    names = sorted(part)
    if len(names) == 1:
        return {names[0]: (0.5, 0.5)}
    ordered = (
        nx.Graph()
    )  # a subgraph has its nodes in the order of their hashes, which are another each time
    ordered.add_nodes_from(names)
    ordered.add_edges_from(part.edges)
    inner = nx.kamada_kawai_layout(ordered, weight=None)
    xy = np.array([inner[name] for name in names])
    # halfway to equal spacing along either axis
    ranks = xy.argsort(0).argsort(0) / (len(names) - 1)
    span = np.ptp(xy, axis=0)
    xy = (xy - xy.min(0)) / np.where(span > 0, span, 1.0)
    mixed = 0.5 * xy + 0.5 * ranks
    return {name: (float(u), float(v)) for name, (u, v) in zip(names, mixed, strict=True)}
