"""Adds the suggestions of a second engine to packets. They are shown as suggestions and decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from pinactors.analysis.report.html import render
from pinactors.protocol import CharacterIdentification, DetailedAnalysis, Suggestion

P = TypeVar("P", CharacterIdentification, DetailedAnalysis)

CHARACTER_KINDS = ("character", "series")
"""Kinds of suggestions that are shown with the characters; the others are shown with the details."""


def characters_with(
    full: Callable[..., CharacterIdentification],
    context: Any,
    suggestions: Sequence[Suggestion] | None,
    *values: Any,
) -> CharacterIdentification:
    """The packet that `full` returns for `values`, with the suggestions added."""
    shown = [each for each in suggestions or () if each.kind in CHARACTER_KINDS]
    return _with(full(context, *values), "identification", suggestions, shown)


def details_with(
    full: Callable[..., DetailedAnalysis],
    context: Any,
    suggestions: Sequence[Suggestion] | None,
    *values: Any,
) -> DetailedAnalysis:
    """The packet that `full` returns for `values`, with the suggestions added."""
    shown = [each for each in suggestions or () if each.kind not in CHARACTER_KINDS]
    return _with(full(context, *values), "analysis", suggestions, shown)


def _with(packet: P, field: str, suggestions: Sequence[Suggestion] | None, shown: list[Suggestion]) -> P:
    """The packet with all `suggestions`; those in `shown` are also in the HTML of its `field`."""
    if not suggestions:
        return packet
    html = getattr(packet, field)
    if shown:
        html += render("suggestions.html", suggestions=shown, source=shown[0].source)
    return msgspec.structs.replace(packet, **{field: html, "suggestions": list(suggestions)})
