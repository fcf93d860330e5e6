"""Makes HTML fragments from templates. Text from a catalogue or a photograph is escaped and its length
bounded."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import escape

from pinactors.protocol import View

VIEW_TITLES = {View.FRONT: "Front", View.BACK: "Back", View.ANGLED: "Tilted"}

_DROPPED = {"Cs", "Co", "Cn"}
"""Unicode categories that are removed: lone surrogates, which cannot be encoded, and characters without a
meaning."""

_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of the text after them: a name could reorder the sentence around it."""


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pinactors.analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(template: str, **values: Any) -> str:
    """The fragment made from `templates/<template>`, with every value escaped. A missing value is an
    error."""
    return _environment().get_template(template).render(**values).strip()


def plain(text: str, limit: int) -> str:
    """`text` on one line, without control characters, cut so that it takes at most `limit` bytes after it is
    escaped and encoded in a packet. A cut text ends in an ellipsis."""
    kept: list[str] = []
    for character in text[: 4 * limit]:  # longer text is cut anyway: do not process megabytes
        category = unicodedata.category(character)
        if character.isspace() or category == "Cc":
            kept.append(" ")
        elif category not in _DROPPED and character not in _DIRECTIONS:
            kept.append(character)
    line = " ".join("".join(kept).split())
    if _size(line) <= limit:
        return line
    room = limit - _size("…")
    end = 0
    for character in line:
        room -= _size(character)
        if room < 0:
            break
        end += 1
    return line[:end].rstrip() + "…"


def _size(text: str) -> int:
    """Bytes of `text` in a packet: escaped for HTML, then for JSON, which doubles backslashes."""
    return len(str(escape(text)).encode()) + text.count("\\")
