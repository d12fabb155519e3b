"""Network steps: each takes a stream of edges and gives one. A new step is a file and an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mmg_ray.errors import ConfigError
from mmg_ray.network.steps import clr, dpi, fdr, mrnet, threshold, top
from mmg_ray.network.stream import EdgeStream


class Step(NamedTuple):
    """One step.

    Attributes:
        doc: one line for people.
        apply: the step, with its value if it takes one.
        default: of the value; None where it must be given, and for steps without one.
        value: what the value is; empty for steps without one.
    """

    doc: str
    apply: Callable[..., EdgeStream]
    value: str = ""
    default: float | None = None


STEPS: dict[str, Step] = {
    "fdr": Step(
        "keep edges found at this false-discovery rate (Benjamini-Hochberg)",
        fdr.independent,
        "rate",
        0.05,
    ),
    "by": Step(
        "the same under any dependence of the tests (Benjamini-Yekutieli)",
        fdr.dependent,
        "rate",
        0.05,
    ),
    "lfdr": Step(
        "keep edges up to this local false-discovery rate, 1 - p_dependent", fdr.local, "rate", 0.2
    ),
    "mi": Step("keep edges of at least this MI", threshold.mi, "nats"),
    "weight": Step(
        "keep edges of at least this weight, as the steps before left it", threshold.weight, "least"
    ),
    "top": Step("keep the k strongest edges of each variable", top.top, "k"),
    "clr": Step("weigh an edge against the others of both ends (CLR, Faith 2007)", clr.clr),
    "dpi": Step(
        "drop the weakest edge of triangles, up to a tolerance (ARACNE, Margolin 2006)",
        dpi.dpi,
        "tolerance",
        0.1,
    ),
    "mrnet": Step(
        "weigh an edge by what it adds to stronger ones (MRNET, Meyer 2007)", mrnet.mrnet
    ),
}


def parse(text: str) -> tuple[str, float | None]:
    """The name of a step and its value, from `name` or `name=value`.

    ConfigError where there is no such step, or its value is missing, superfluous or no number.
    """
    name, _, given = text.partition("=")
    if name not in STEPS:
        raise ConfigError(f"there is no network step {name!r}; steps: {', '.join(STEPS)}")
    step = STEPS[name]
    if not given:
        if step.value and step.default is None:
            raise ConfigError(f"step {name} needs a value: {name}={step.value.upper()}")
        return name, step.default
    if not step.value:
        raise ConfigError(f"step {name} takes no value; write {name}")
    try:
        value = float(given)
    except ValueError:
        raise ConfigError(f"step {text}: {given!r} is no number") from None
    if not 0 <= value < float("inf"):
        raise ConfigError(f"step {text}: the value must be a number of at least 0")
    return name, value


def apply(stream: EdgeStream, steps: Iterable[str]) -> EdgeStream:
    """The steps one after the other; all are checked before the first reads anything."""
    for name, value in [parse(text) for text in steps]:
        stream = STEPS[name].apply(stream, *([] if value is None else [value]))
    return stream
