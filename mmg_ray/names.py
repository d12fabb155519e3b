"""The one rule for names that would do harm where they are shown or written.

A character that controls a terminal, ends a line or a text, or turns the direction of writing is written
out as Python writes it (`\\x1b`, `\\r`, `\\x00`, `\\u2028`). Tables are read this way, so no name that a run
stores holds one; what is shown is shown this way, whoever wrote it. In delimited text a name that a
spreadsheet would take for a formula gets an apostrophe before it, as spreadsheets mark text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# control characters, line and paragraph separators, marks of direction, halves of a pair
_HARMFUL = "\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_NAME = re.compile(f"[{_HARMFUL}]")
_LINES = re.compile(f"(?!\n)[{_HARMFUL}]")
_FORMULA = re.compile(r"[=+\-@]")


def visible(text: str, lines: bool = False) -> str:
    """The text with harmful characters written out; `lines`: but for the ends of its lines.

    Examples:
        >>> visible("a\\rb\\x1b[2J")
        'a\\\\rb\\\\x1b[2J'
    """
    return (_LINES if lines else _NAME).sub(
        lambda found: found[0].encode("unicode_escape").decode("ascii"), text
    )


def no_formula(text: str) -> str:
    """The text with an apostrophe before it if a spreadsheet would compute it; numbers stay.

    Examples:
        >>> no_formula("=1+1"), no_formula("-1.5"), no_formula("HLA-A")
        ("'=1+1", '-1.5', 'HLA-A')
    """
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def changed(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """The names that are not the same afterwards."""
    return [old for old, new in zip(before, after, strict=True) if old != new]
