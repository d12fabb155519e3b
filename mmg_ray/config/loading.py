"""From YAML and overrides to a configuration and back; what is wrong is named with the nearest known key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from mmg_ray.config.sections import Config
from mmg_ray.errors import ConfigError
from mmg_ray.plain_yaml import parse

_COMMENT = 100  # columns of a comment in the documented YAML
# keys of earlier versions, and what they are called now
RENAMED = {
    "recording.turned": "recording.transposed",
    "lags.max_q_value": "lags.max_p_value",
    "cells.within": "cells.stratify_by",
    "cells.each": "cells.group_by",
}


AnyConfig = TypeVar("AnyConfig", bound=Config)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Build the frozen configuration, or raise ConfigError naming key, value and way out."""
    return _build(tree, Config)


def load(text: str, overrides: Iterable[str] = ()) -> Config:
    """Parse YAML text and apply `a.b=value` overrides, in order.

    Examples:
        >>> load("data: {path: cells.h5ad}", ["estimator.seed=7"]).estimator.seed
        7
        >>> load("data: {path: cells.h5ad, layers: raw}")
        Traceback (most recent call last):
        ...
        mmg_ray.errors.ConfigError: unknown key 'data.layers': did you mean 'layer'? Known here: ...
    """
    return load_as(Config, text, overrides)


def load_as(kind: type[AnyConfig], text: str, overrides: Iterable[str] = ()) -> AnyConfig:
    """The same for a dataclass that adds sections to Config, as pipelines do."""
    tree = parse(text, "the configuration")
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(
            f"the configuration must be a mapping of sections, got {type(tree).__name__}; "
            "start it with 'data:'"
        )
    tree = {key: {} if section is None else section for key, section in tree.items()}
    for override in overrides:
        _set(tree, override)
    return _build(tree, kind)


def _build(tree: Mapping[str, Any], kind: type[AnyConfig]) -> AnyConfig:
    try:
        return TypeAdapter(kind).validate_python(dict(tree))
    except ValidationError as error:
        raise ConfigError(_explain(error, kind)) from None


def to_dict(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain types, ready for JSON or YAML."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def _set(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *sections, leaf = (part.strip() for part in key.split("."))
    if not separator or not all([*sections, leaf]):
        raise ConfigError(f"--set {override!r:.200}: write it as section.key=value")
    node = tree
    for section in sections:
        if node.get(section) is None:  # absent, or an empty section in the file
            node[section] = {}
        node = node[section]
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override!r}: {section!r} holds a value, not a section")
    try:
        node[leaf] = parse(text, "the value")
    except ConfigError as error:
        raise ConfigError(f"--set {override:.200}: {error}; a list is [a, b]") from None


def _explain(error: ValidationError, kind: type[Config]) -> str:
    return "; ".join(_explain_one(item, kind) for item in error.errors())


def _explain_one(item: Mapping[str, Any], kind: type[Config]) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        if key in RENAMED:
            return f"unknown key '{key}': it is now called '{RENAMED[key]}'"
        known = known_keys(path[:-1], kind)
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.0)
        return f"unknown key '{key}': did you mean '{near[0]}'? Known here: {', '.join(known)}"
    if item["type"] == "missing":
        return f"'{key}' is required and was not given"
    value = item["input"]
    # what is no number or text where one is asked for may be anything, credentials for example
    shown = (
        f"{value!r:.200}"
        if isinstance(value, str | int | float | None)
        else f"a {type(value).__name__}"
    )
    return f"'{key}' is {shown}: {item['msg']}"


def known_keys(path: Iterable[str], kind: type[Config] = Config) -> list[str]:
    """Field names of the section at `path` (empty: the sections)."""
    section: Any = kind
    for part in path:
        fields = section.__pydantic_fields__
        section = fields[part].annotation if part in fields else section
    return [f.name for f in dataclasses.fields(section)]


def documented_yaml(kind: type[Config] = Config) -> str:
    """Every field with its default below its description: a configuration to start from."""
    return "\n".join(_document(kind, "")) + "\n"


def _choices(annotation: Any) -> str:
    """` (error | sort)` of a field that takes one of a few words."""
    if get_origin(annotation) is not Literal:
        return ""
    return f" ({' | '.join(map(str, get_args(annotation)))})"


def _document(section: Any, indent: str) -> list[str]:
    lines = []
    for name, field in section.__pydantic_fields__.items():
        text = f"{field.description}{_choices(field.annotation)}"
        mark = f"{indent}# "
        lines += textwrap.wrap(
            text, _COMMENT, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
        )
        if dataclasses.is_dataclass(field.annotation):
            lines += [f"{indent}{name}:", *_document(field.annotation, indent + "  ")]
        else:
            value = (
                "data.csv" if field.is_required() else field.get_default(call_default_factory=True)
            )
            lines.append(f"{indent}{name}: {json.dumps(value)}")
        if not indent:
            lines.append("")
    return lines
