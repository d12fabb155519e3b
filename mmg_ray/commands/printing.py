"""Tables and rows for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmg_ray.names import visible
from mmg_ray.output import say
from mmg_ray.schema import Status

if TYPE_CHECKING:
    import pyarrow as pa

    from mmg_ray.store.run_status import RunStatus


class _Console(Console):
    """Names and URLs are text: none of them is read as rich's markup, or as a terminal's commands."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text, lines=True), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # not rich's exit with 1, which here means failed shards


def terminal() -> Console:
    return _Console(markup=False, highlight=False)


def print_rows(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        say(f"{name:<{width}}  {value}")


def print_statuses(console: Console, status: RunStatus) -> None:
    if not status.pairs_not_ok:
        return
    table = Table(title=f"{status.pairs_not_ok:,} pairs without a value", title_justify="left")
    table.add_column("status")
    table.add_column("pairs", justify="right")
    table.add_column("what to do")
    for name, count in status.statuses.items():
        if name != Status.OK:
            table.add_row(name, f"{count:,}", Status(name).remedy)
    console.print(table)


def edge_table(rows: pa.Table, title: str) -> Table:
    """The columns that fit a terminal; `--csv` has them all."""
    table = Table(title=title, title_justify="left")
    for name in ("source", "target"):
        table.add_column(name, overflow="fold")
    for name in ("MI ± se, nats", "gap", "p-value", "Spearman"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.to_pylist():
        table.add_row(
            row["source"],
            row["target"],
            f"{row['mi_nats']:.4f} ± {row['se_nats']:.4f}",
            f"{row['gap']:.4f}",
            p_value(row["p_value"]),
            number(row["spearman"], "+.3f"),
        )
    return table


def p_value(p: float | None) -> str:
    return "< 1e-99" if p is not None and p < 1e-99 else number(p, ".1e")


def number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def bytes_text(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
