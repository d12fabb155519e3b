"""Small charts as SVG text: their colours are those of the page's style sheet, light or dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 38


@dataclass
class Chart:
    """A chart that is drawn on a plane of data coordinates.

    Attributes:
        title: what it shows, for those who do not see it.
        x, y: first and last value of the axes. x_label, y_label: their names.
        x_ticks, y_ticks: (value, text).
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    width: int = 340
    height: int = 220
    parts: list[str] = field(default_factory=list)

    def to_x(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return _LEFT + share * (self.width - _LEFT - _RIGHT)

    def to_y(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def bars(self, cuts: np.ndarray, heights: np.ndarray, names: Callable[[int], str]) -> None:
        """A bar between every two cuts; `names(k)` says its content."""
        for k, height in enumerate(heights):
            if height > self.y[0]:
                left, right, top = self.to_x(cuts[k]), self.to_x(cuts[k + 1]), self.to_y(height)
                self.parts.append(
                    f'<rect class="mark" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{max(right - left - 1, 0.5):.1f}" height="{self.to_y(self.y[0]) - top:.1f}">'
                    f"<title>{escape(names(k))}</title></rect>"
                )

    def points(self, x: np.ndarray, y: np.ndarray, kind: str = "dot", radius: float = 2.0) -> None:
        self.parts += [
            f'<circle class="{kind}" cx="{self.to_x(a):.1f}" cy="{self.to_y(b):.1f}" r="{radius}"/>'
            for a, b in zip(x, y, strict=True)
        ]

    def line(self, x: Sequence[float], y: Sequence[float], kind: str = "line") -> None:
        path = " ".join(
            f"{'L' if k else 'M'}{self.to_x(a):.1f},{self.to_y(b):.1f}"
            for k, (a, b) in enumerate(zip(x, y, strict=True))
        )
        self.parts.append(f'<path class="{kind}" d="{path}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "note") -> None:
        """Words at a place of the data."""
        self.parts.append(
            f'<text class="{kind}" x="{self.to_x(x):.1f}" y="{self.to_y(y):.1f}">{escape(words)}</text>'
        )

    def __str__(self) -> str:
        bottom, right = self.height - _BOTTOM, self.width - _RIGHT
        axes = [
            f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>',
            f'<text class="label" x="{(_LEFT + right) / 2}" y="{self.height - 4}" '
            f'text-anchor="middle">{escape(self.x_label)}</text>',
            f'<text class="label" transform="translate(11 {(_TOP + bottom) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y_label)}</text>',
        ]
        for value, words in self.x_ticks:
            axes.append(
                f'<text class="tick" x="{self.to_x(value):.1f}" y="{bottom + 14}" '
                f'text-anchor="middle">{escape(words)}</text>'
            )
        for value, words in self.y_ticks:
            at = self.to_y(value)
            axes.append(
                f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>'
            )
            axes.append(
                f'<text class="tick" x="{_LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">'
                f"{escape(words)}</text>"
            )
        return (
            f'<svg role="img" viewBox="0 0 {self.width} {self.height}" '
            f'xmlns="http://www.w3.org/2000/svg"><title>{escape(self.title)}</title>'
            f"{''.join(axes)}{''.join(self.parts)}</svg>"
        )


def ticks(first: float, last: float, about: int = 4) -> list[tuple[float, str]]:
    """Round values from first to last."""
    raw = (last - first) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * min((m for m in (1, 2, 5, 10)), key=lambda m: abs(m * power - raw))
    start = np.ceil(first / step - 1e-9)
    values = step * np.arange(start, np.floor(last / step + 1e-9) + 1)
    return [(float(v), f"{v:.10g}") for v in np.round(values, 12) + 0.0]
