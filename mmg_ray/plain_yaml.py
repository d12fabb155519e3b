"""YAML as configurations use it: what is ambiguous, endless or no text is refused, not guessed.

The parser of PyYAML takes the last of two equal keys, and shares what an alias repeats, so that a few
lines stand for billions of values; both are looked for before values are made.
"""

from __future__ import annotations

import codecs
from typing import Any

import yaml

from mmg_ray.errors import ConfigError

_MAX_VALUES = 1_000_000  # aliases counted as often as they are used
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes, where: str) -> str:
    """The text of a configuration file. ConfigError where it is none.

    UTF-8, or UTF-16 with a byte order mark, as a redirect in PowerShell writes it.
    """
    try:
        return data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where} is not UTF-8 text ({error.reason} at byte {error.start}), so it is no "
            "configuration; save it as UTF-8, or check the path"
        ) from None


def parse(text: str, what: str) -> Any:
    """The value of a YAML text. ConfigError, which begins with `what`, where it is not plain.

    Examples:
        >>> parse("{a: 1, b: [2, 3]}", "the text")
        {'a': 1, 'b': [2, 3]}
        >>> parse("{a: 1, a: 2}", "the text")
        Traceback (most recent call last):
        ...
        mmg_ray.errors.ConfigError: the text has the key 'a' twice (line 1 and line 1); leave one of them out
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None
        _check(node, what, {}, ())
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{what} is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(
            f"{what} is nested hundreds of levels deep; that is no configuration"
        ) from None
    except (ValueError, OverflowError, TypeError) as error:  # a date or number that there is not
        raise ConfigError(f"{what} holds a value that there is not: {error}") from None


def _check(node: yaml.Node, what: str, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for."""
    if id(node) in above:
        raise ConfigError(f"{what} refers to itself (line {_line(node)}); write the value out")
    if id(node) in sizes:
        return sizes[id(node)]
    size = 1
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated(node, what)
        children = [child for pair in node.value for child in pair]
    else:
        children = node.value if isinstance(node, yaml.SequenceNode) else []
    for child in children:
        size += _check(child, what, sizes, (*above, id(node)))
        if size > _MAX_VALUES:
            raise ConfigError(
                f"{what} stands for more than {_MAX_VALUES:,} values, with its aliases (*name) written "
                "out; that is no configuration"
            )
    sizes[id(node)] = size
    return size


def _refuse_repeated(node: yaml.MappingNode, what: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in lines:
                raise ConfigError(
                    f"{what} has the key {key.value!r} twice (line {lines[key.value]} and line "
                    f"{_line(key)}); leave one of them out"
                )
            lines[key.value] = _line(key)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
