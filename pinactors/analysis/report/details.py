"""Makes the packet of details: what was read and measured, in words and as values, and nothing else."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Any

from msgspec import UNSET

from pinactors.analysis.evidence import stamp_text
from pinactors.analysis.imaging import appearance
from pinactors.analysis.model import CatalogPin, Match, PreparedView, StampReading
from pinactors.analysis.report import html
from pinactors.analysis.stamp import grammar
from pinactors.protocol import DetailedAnalysis

MAX_MARKS = 12
MARK_BYTES = 60
MARK_CONFIDENCE = 0.6
"""Confidence of the text recognition from which a line is shown as read."""

MAX_PROBLEMS = 4
PROBLEM_BYTES = 200
VALUE_BYTES = 80

PARTLY_READ_MESSAGE = (
    "A factory code is stamped, but not all of its digits can be read: photograph the back from closer."
)


def describe(
    front: PreparedView,
    back: PreparedView | None,
    angled: PreparedView | None,
    stamp: StampReading | None,
    match: Match | None,
) -> DetailedAnalysis:
    """The packet with marks, code, edition, year, maker, origin, metal, colours, proportions, photo
    quality."""
    views = [view for view in (front, back, angled) if view is not None]
    values = _stamped(stamp or StampReading(), match.pin if match else None) | _measured(front, back)
    read = {name: value for name, value in values.items() if value is not None and value != []}
    marks = _marks(stamp)
    partly = _partly_read(stamp, values)
    demonstration = match is not None and match.demonstration
    details: dict[str, Any] = {_KEYS[name]: value for name, value in read.items()}
    if marks:
        details["marks"] = marks
    if partly:
        details["partlyRead"] = ["factoryCode"]
    details["photos"] = {
        str(view.view): {
            "score": round(view.quality.score, 2),
            "pinFound": view.pin is not None,
            "problems": _problems(view),
        }
        for view in views
    }
    return DetailedAnalysis(
        analysis=html.render(
            "details.html",
            facts=[(name, _as_text(value)) for name, value in read.items()],
            marks=marks,
            unread=[name.lower() for name in values if name not in read],
            reason=PARTLY_READ_MESSAGE
            if partly
            else html.plain(stamp.reason, PROBLEM_BYTES)
            if stamp
            else "",
            advices=[
                f"{html.VIEW_TITLES[view.view]}: {problem}" for view in views for problem in _problems(view)
            ],
            demonstration=demonstration,
        ),
        details=details,
        demonstration=demonstration or UNSET,
    )


_KEYS = {
    "Factory code": "factoryCode",
    "Made on": "madeOn",
    "Year": "year",
    "Edition size": "editionSize",
    "Edition number": "editionNumber",
    "Brand": "brand",
    "Made in": "origin",
    "Metal": "metal",
    "Colours": "colours",
    "Length to width": "sizeRatio",
}
"""Labels shown to users, with the keys of the values in the packet."""


def _stamped(stamp: StampReading, pin: CatalogPin | None) -> dict[str, Any]:
    code = _reported_number(stamp.factory_code, stamp.likely.get("factory_code"), pin and pin.factory_code)
    return {
        "Factory code": code,
        "Made on": _made_on(code),
        "Year": _reported_number(stamp.year, stamp.likely.get("year"), pin and pin.year),
        "Edition size": _reported_number(
            stamp.edition_size, stamp.likely.get("edition_size"), pin and pin.edition_size
        ),
        "Edition number": stamp.edition_number,
        "Brand": html.plain(stamp.brand, VALUE_BYTES) if stamp.brand else None,
        "Made in": html.plain(stamp.origin, VALUE_BYTES) if stamp.origin else None,
    }


def _reported_number(read: Any, likely: Any, known: Any) -> Any:
    """The number that is reported for the stamp, given the catalogue's (`known`) for the identified pin.

    The catalogue's number never replaces a reading. It confirms a number that most readings gave (`likely`).
    A number that was read but differs from the catalogue's only in digits that look alike is not reported,
    because it is as often misread as from another stamp.
    """
    if read is None:
        return known if likely is not None and likely == known else None
    if known is not None and read != known and not stamp_text.contradicts(str(read), str(known)):
        return None
    return read


def _measured(front: PreparedView, back: PreparedView | None) -> dict[str, Any]:
    return {
        "Metal": appearance.metal(back) if back is not None else None,
        "Colours": [
            {"name": colour.name, "hex": colour.hex, "share": colour.share}
            for colour in appearance.enamel_colours(front)
        ],
        "Length to width": appearance.proportions(front),
    }


def _made_on(code: str | None) -> str | None:
    """The day of manufacture in a code's YYDDD, as an ISO date."""
    if code is None:
        return None
    year, day = grammar.manufacture(code)
    if day is None or (day == 366 and not calendar.isleap(year)):
        return None
    return (dt.date(year, 1, 1) + dt.timedelta(days=day - 1)).isoformat()


def _partly_read(stamp: StampReading | None, values: dict[str, Any]) -> bool:
    """Whether a line begins like a factory code, but no code was read."""
    lines = stamp.lines if stamp else ()
    return values["Factory code"] is None and any(grammar.begins_code(line.text) for line in lines)


def _marks(stamp: StampReading | None) -> list[str]:
    """The lines read with confidence, without incomplete or misread codes, which users would take for
    codes."""
    lines = stamp.lines if stamp else ()
    sure = [line.text for line in lines if line.confidence >= MARK_CONFIDENCE]
    return [html.plain(text, MARK_BYTES) for text in sure if not grammar.broken_code(text)][:MAX_MARKS]


def _problems(view: PreparedView) -> list[str]:
    problems = (view.pin_problem, *view.quality.problems) if view.pin is None else view.quality.problems
    return [html.plain(problem, PROBLEM_BYTES) for problem in problems if problem][:MAX_PROBLEMS]


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{colour['name']} {colour['share']:.0%}" for colour in value)
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
