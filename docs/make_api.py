"""Write docs/api.md from the docstrings, the tables and the help texts of the package itself.

python docs/make_api.py
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import click

import mmg_ray
from mmg_ray import cli, genomics, neural
from mmg_ray.config import Config, load
from mmg_ray.network.compare import COMPARISON_COLUMNS, Comparison
from mmg_ray.network.graph import NETWORK_COLUMNS, Network
from mmg_ray.network.modules import MODULE_COLUMNS
from mmg_ray.network.steps import STEPS
from mmg_ray.schema import EDGE_COLUMNS, PairEstimate, Status, Stop
from mmg_ray.store.exports import FORMATS
from mmg_ray.store.exports import write as write_network
from mmg_ray.store.run_status import RunStatus
from mmg_ray.store.sources import SOURCES, Table, read_table

PAGE = Path(__file__).with_name("api.md")
_MORE = (PairEstimate, RunStatus, Network, Comparison, write_network, read_table, Table, load)
_FIELDS = {"genomics": genomics.run, "neural": neural.run}
_CONFIGS = ("Config", "EstimatorConfig", "NullConfig")  # shown as a table of their fields


def page() -> str:
    """The whole reference as Markdown."""
    parts = [
        "# Reference",
        "Written by `python docs/make_api.py` from the docstrings; examples are run by the tests. "
        "Numbers are explained in [reading.md](reading.md).",
        "## Python",
        "`import mmg_ray` gives the names below; others say where they come from.",
    ]
    named = [(name, getattr(mmg_ray, name)) for name in mmg_ray.__all__]
    parts += [_thing(f"mmg_ray.{name}", value) for name, value in named if name not in _CONFIGS]
    parts += [_thing(f"mmg_ray.{field}.run", of) for field, of in _FIELDS.items()]
    parts += [_thing(_imported_as(value), value) for value in _MORE]
    parts += ["## Columns of the edge table", _columns(EDGE_COLUMNS)]
    parts += ["## Columns of a network", _columns(NETWORK_COLUMNS)]
    parts += ["## Columns of modules", _columns(MODULE_COLUMNS)]
    parts += ["## Columns of a comparison", _columns(COMPARISON_COLUMNS)]
    parts += ["## Statuses", _rows(("status", "what to do"), ((s.value, s.remedy) for s in Status))]
    parts += [
        "## Why it went no deeper",
        _rows(("stop", "reason"), ((s.value, s.reason) for s in Stop)),
    ]
    steps = ((f"{n}={s.value}" if s.value else n, s.doc) for n, s in STEPS.items())
    parts += ["## Network steps", _rows(("step", "what it does"), steps)]
    formats = ((name, " ".join(how.endings), how.doc) for name, how in FORMATS.items())
    parts += ["## Export formats", _rows(("format", "endings", "for"), formats)]
    sources = (
        (name, " ".join(s.endings), ", ".join(f"data.{o}" for o in sorted(s.options)))
        for name, s in SOURCES.items()
    )
    parts += ["## Input formats", _rows(("format", "endings", "options of its own"), sources)]
    parts += [
        "## Configuration",
        "The fields of a run's YAML; `mmg-ray config` prints them.",
        _fields(),
    ]
    parts += ["## Command line", *_commands()]
    return "\n\n".join(parts) + "\n"


def _imported_as(value: Any) -> str:
    """The shortest path by which a function or class can be imported."""
    parts = value.__module__.split(".")
    paths = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    found = (p for p in paths if getattr(sys.modules[p], value.__name__, None) is value)
    return f"{next(found)}.{value.__name__}"


def _thing(name: str, value: Any) -> str:
    heading = f"### {name}"
    if isinstance(value, type) and issubclass(value, enum.Enum | Exception):
        return f"{heading}\n\n{_text(value)}"
    signature = "" if isinstance(value, type) and not _has_init(value) else _signature(name, value)
    parts = [heading, signature, _text(value)]
    if isinstance(value, type):
        for key, member in _members(value).items():
            if key.startswith("_"):
                continue
            read = isinstance(member, property | cached_property)
            inner = getattr(member, "fget", None) or getattr(member, "func", member)
            inner = getattr(inner, "__func__", inner)
            if inspect.isfunction(inner) and inner.__doc__:
                call = key if read else f"{key}{_arguments(inner)}"
                parts.append(f"**`.{call}`** {_text(inner)}")
    return "\n\n".join(part for part in parts if part)


def _members(value: type) -> dict[str, Any]:
    """Of a class, and what it has from other classes of the package."""
    ours = [base for base in reversed(value.__mro__) if base.__module__.startswith("mmg_ray")]
    return {key: member for base in ours for key, member in vars(base).items()}


def _has_init(value: type) -> bool:
    return "__init__" in _members(value) and not dataclasses.is_dataclass(value)


def _signature(name: str, value: Any) -> str:
    return f"```python\n{name.rsplit('.', 1)[-1]}{_arguments(value)}\n```"


def _arguments(value: Any) -> str:
    found = inspect.signature(value)
    shown = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    text = str(found.replace(parameters=shown))
    return re.sub(r"mmg_ray\.schema\.(\w+\.)?(?=[A-Z])", "", text.replace("'", ""))


def _text(value: Any) -> str:
    """A docstring as Markdown: its sections in bold, indented parts as they are, examples as code."""
    lines = (inspect.getdoc(value) or "").splitlines()
    out: list[str] = []
    block = False
    for k, line in enumerate(lines):
        after = lines[k + 1] if k + 1 < len(lines) else ""
        heads = line.endswith(":") and not line.startswith(" ") and after.startswith("    ")
        if block and line and not line.startswith("    "):
            while out and not out[-1]:
                out.pop()
            out += ["```", ""]
            block = False
        if heads and line.split(":")[0] in ("Args", "Attributes", "Returns", "Raises", "Examples"):
            language = "python" if line == "Examples:" else "text"
            out += [f"*{line[:-1]}*", "", f"```{language}"]
            block = True
        else:
            out.append(line[4:] if block else line)
    if block:
        out.append("```")
    return "\n".join(out)


def _columns(columns: Iterable[Any]) -> str:
    return _rows(("column", "type", "meaning"), ((c.name, c.dtype, c.doc) for c in columns))


def _fields() -> str:
    rows = []
    for section, field in Config.__pydantic_fields__.items():
        for name, inner, text in _leaves(section, field):
            rows.append((name, inner, text))
    return _rows(("field", "default", "meaning"), rows)


def _leaves(path: str, field: Any) -> Iterable[tuple[str, str, str]]:
    if dataclasses.is_dataclass(field.annotation):
        for name, inner in field.annotation.__pydantic_fields__.items():
            yield from _leaves(f"{path}.{name}", inner)
        return
    needed = field.is_required()
    default = "required" if needed else f"`{field.get_default(call_default_factory=True)!r}`"
    yield path, default, field.description


def _commands() -> list[str]:
    main = cli.main
    with main.make_context("mmg-ray", [], max_content_width=100, resilient_parsing=True) as context:
        parts = [f"```text\n{main.get_help(context)}\n```"]
        for name in sorted(main.list_commands(context)):
            command = main.get_command(context, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=context) as inner:
                parts.append(f"### mmg-ray {name}\n\n```text\n{command.get_help(inner)}\n```")
    return parts


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(head), line("---" for _ in head), *(line(row) for row in rows)])


if __name__ == "__main__":
    PAGE.write_text(page())
