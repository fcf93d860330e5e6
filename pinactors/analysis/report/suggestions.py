"""Adds the suggestions of a second engine to packets. They are shown as suggestions and decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pinactors.analysis.report.html import render
from pinactors.protocol import CharacterIdentification, DetailedAnalysis, Suggestion

CHARACTER_KINDS = ("character", "series")
"""Kinds of suggestions that are shown with the characters; the others are shown with the details."""


def characters_with(
    full: Callable[..., CharacterIdentification],
    context: Any,
    suggestions: Sequence[Suggestion] | None,
    *values: Any,
) -> CharacterIdentification:
    """The packet that `full` returns for `values`, with the suggestions added."""
    packet = full(context, *values)
    if not suggestions:
        return packet
    html = packet.identification + _fragment([each for each in suggestions if each.kind in CHARACTER_KINDS])
    return msgspec.structs.replace(packet, identification=html, suggestions=list(suggestions))


def details_with(
    full: Callable[..., DetailedAnalysis],
    context: Any,
    suggestions: Sequence[Suggestion] | None,
    *values: Any,
) -> DetailedAnalysis:
    """The packet that `full` returns for `values`, with the suggestions added."""
    packet = full(context, *values)
    if not suggestions:
        return packet
    html = packet.analysis + _fragment([each for each in suggestions if each.kind not in CHARACTER_KINDS])
    return msgspec.structs.replace(packet, analysis=html, suggestions=list(suggestions))


def _fragment(suggestions: Sequence[Suggestion]) -> str:
    if not suggestions:
        return ""
    return render("suggestions.html", suggestions=suggestions, source=suggestions[0].source)
