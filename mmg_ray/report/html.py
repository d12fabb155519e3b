"""Pieces of the page: sections, figures, tables; all text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import Any

from mmg_ray.report.svg import Chart


def document(title: str, body: str, after: str = "") -> str:
    """A whole file, with the style sheet of the page; `after` follows the body."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{asset('page.css')}</style></head>"
        f"<body><main>{body}</main>{after}</body></html>"
    )


def asset(name: str) -> str:
    """The text of a file beside this module."""
    return resources.files("mmg_ray.report").joinpath(name).read_text()


def section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def figure(chart: Chart, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def folded(summary: str, body: str) -> str:
    return (
        f"<details><summary>{escape(summary)}</summary><div class='scroll'>{body}</div></details>"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    rows = [list(row) for row in rows]
    numeric = [any(isinstance(row[k], int | float) for row in rows) for k in range(len(columns))]
    kinds = [" class='n'" if n else "" for n in numeric]
    head = "".join(
        f"<th scope='col'{kind}>{escape(c)}</th>" for c, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{_text(v)}</td>" for v, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return "&ndash;"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"
    return escape(str(value))
