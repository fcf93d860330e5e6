"""The upload's fields by name, and how a refusal names the one at fault."""

from __future__ import annotations

import math

from pinactors.protocol import ErrorCode, PinactorsError, View, said

SESSION_FIELD = "sessionId"
TEXT_FIELDS = {"frontImageData": View.FRONT, "backImageData": View.BACK, "angledImageData": View.ANGLED}
"""Photographs as base64."""

BINARY_FIELDS = {"front_image": View.FRONT, "back_image": View.BACK, "angled_image": View.ANGLED}
"""Photographs as parts of a multipart body."""


SENT_AS = "X-Sent-As"
"""Header of a part that a proxy made of a WebSocket's message: the photograph's name there, its view."""

REGION_FIELDS = {"frontRegion": View.FRONT, "backRegion": View.BACK, "angledRegion": View.ANGLED}
"""Where the pin is in a photograph, sent before the photograph itself."""

ROUNDING_SLACK = 1e-3
"""How far beyond the picture a region may reach: what clients round off."""

WEBHOOK_FIELD = "webhook"
"""Where the session's events are to be sent."""

REGION_LIMIT = 200
"""Characters of a region's four numbers."""

Region = tuple[float, float, float, float]


def region_of(text: str, field: str) -> Region | None:
    """x, y, width, height as shares of the upright picture, written as "x,y,width,height" with or without
    brackets; None for a text that says nothing. Raises `PinactorsError`, naming `field`."""
    if said(text) is None:
        return None
    try:
        x, y, width, height = (
            float(part) for part in text.strip().removeprefix("[").removesuffix("]").split(",")
        )
    except ValueError:
        x = y = width = height = math.nan
    if not (
        0 <= x < 1
        and 0 <= y < 1
        and 0 < width <= 1 - x + ROUNDING_SLACK
        and 0 < height <= 1 - y + ROUNDING_SLACK
    ):
        detail = f"{field} must be x,y,width,height: four numbers from 0 to 1, a region inside the picture"
        raise refused("Invalid region", detail, field)
    return x, y, min(width, 1 - x), min(height, 1 - y)


def view_of(field: str) -> View | None:
    """The photograph that `field` carries; None for any other field."""
    return TEXT_FIELDS.get(field) or BINARY_FIELDS.get(field)


def refused(message: str, detail: str, field: str = "") -> PinactorsError:
    """A refusal of what was sent. `field` is named as it was sent; its photograph follows from it."""
    view = view_of(field) or REGION_FIELDS.get(field) or (field if field in list(View) else "")
    return PinactorsError(ErrorCode.INVALID_FORMAT, message, detail, field=field, view=view)


def malformed(reason: str, field: str = "") -> PinactorsError:
    """A body that cannot be read."""
    return refused("Invalid upload", f"The upload is malformed: {reason}", field)
