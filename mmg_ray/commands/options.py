"""What several commands share: options, lists in the help, a run by its URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import click

if TYPE_CHECKING:
    from mmg_ray.runs import Run


SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field of the configuration: --set estimator.seed=1. Repeatable.",
)


STEP = click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="STEP",
    help="A network step, see the list below. Repeatable.",
)


def open_run(url: str) -> Run:
    """Import on use: reading takes pyarrow, zarr and a second, `--help` does without."""
    from mmg_ray.runs import open_run as opened

    return opened(url)


def _steps() -> list[tuple[str, str]]:
    from mmg_ray.network.steps import STEPS

    return [
        (f"{name}={step.value.upper()}" if step.value else name, step.doc)
        for name, step in STEPS.items()
    ]


def _formats() -> list[tuple[str, str]]:
    from mmg_ray.store.exports import FORMATS

    return [(name, " ".join([how.doc, *how.endings])) for name, how in FORMATS.items()]


class WithLists(click.Command):
    """A command whose help lists what there is to choose from, read only when it is shown."""

    lists: ClassVar[dict[str, Callable[[], list[tuple[str, str]]]]] = {
        "Steps, in the order given": _steps
    }

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        for title, rows in self.lists.items():
            with formatter.section(title):
                formatter.write_dl(rows())


class WithFormats(WithLists):
    lists: ClassVar = {**WithLists.lists, "Formats": _formats}
