"""What was read and measured, in words and as values. Nothing appears here that was not measured."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment

from pinactors.analysis.model import Match, PreparedView, StampReading
from pinactors.protocol import DetailedAnalysis

_TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<section class="details"><h3>Details</h3>
<dl>
{% for label, value in facts %}<dt>{{ label }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>
{% if unread %}<p>Not read: {{ unread | join(", ") }}.</p>
{% endif %}
{% for advice in advices %}<p>{{ advice }}</p>
{% endfor %}</section>"""
)


def describe(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match | None,
) -> DetailedAnalysis:
    """Marks, codes, edition, year, maker, origin, size ratio and the photographs' quality."""
    details: dict[str, Any] = {}
    facts: list[tuple[str, str]] = []
    unread: list[str] = []
    for label, name, value in _stamped(stamp):
        if value is None:
            unread.append(label.lower())
        else:
            details[name] = value
            facts.append((label, str(value)))
    views = {str(view.view): view for view in (front, back, angled) if view is not None}
    details["photos"] = {
        name: {"score": round(view.quality.score, 2), "problems": list(view.quality.problems)}
        for name, view in views.items()
    }
    advices = [
        f"{name.capitalize()}: {problem}" for name, view in views.items() for problem in view.quality.problems
    ]
    html = _TEMPLATE.render(facts=facts, unread=unread, advices=advices)
    return DetailedAnalysis(analysis=html, details=details)


def _stamped(stamp: StampReading | None) -> list[tuple[str, str, Any]]:
    read = stamp or StampReading()
    return [
        ("Factory code", "factoryCode", read.factory_code),
        ("Year", "year", read.year),
        ("Edition size", "editionSize", read.edition_size),
        ("Edition number", "editionNumber", read.edition_number),
        ("Brand", "brand", read.brand),
        ("Made in", "origin", read.origin),
    ]
