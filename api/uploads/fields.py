"""Names of the upload's fields, the region's format, and errors that name the field at fault."""

from __future__ import annotations

import math

from pinactors.protocol import ErrorCode, PinactorsError, View, none_if_missing

SESSION_FIELD = "sessionId"
TEXT_FIELDS = {"frontImageData": View.FRONT, "backImageData": View.BACK, "angledImageData": View.ANGLED}
"""Fields that carry photographs as base64 text."""

BINARY_FIELDS = {"front_image": View.FRONT, "back_image": View.BACK, "angled_image": View.ANGLED}
"""Parts of a multipart body that carry photographs as bytes."""


SENT_AS = "X-Sent-As"
"""Header that the proxy adds to a part which it made from a WebSocket message. The value is the view, which
is the photograph's name on the WebSocket."""

REGION_FIELDS = {"frontRegion": View.FRONT, "backRegion": View.BACK, "angledRegion": View.ANGLED}
"""Fields that say where the pin is in a photograph, sent before or after it."""

ROUNDING_SLACK = 1e-3
"""How far a region may reach beyond the picture, as a share of its side: clients round their numbers."""

WEBHOOK_FIELD = "webhook"
"""Field with the URL to which the session's events are sent."""

REGION_LIMIT = 200
"""Most characters of a region's text."""

REASON_LIMIT = 200
"""Most characters of the reason in an error."""

Region = tuple[float, float, float, float]


def region_of(text: str, field: str) -> Region | None:
    """Returns x, y, width and height as shares of the upright picture, from "x,y,width,height" with or
    without brackets; None for an empty text or one of `MISSING_VALUES`. Raises `PinactorsError`, naming
    `field`."""
    if none_if_missing(text) is None:
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
        detail = f"{field} must be x,y,width,height: numbers from 0 to 1, with the region inside the picture"
        raise refused("Invalid region", detail, field)
    return x, y, min(width, 1 - x), min(height, 1 - y)


def view_of(field: str) -> View | None:
    """The view of the photograph that `field` carries; None if `field` carries none."""
    return TEXT_FIELDS.get(field) or BINARY_FIELDS.get(field)


def refused(message: str, detail: str, field: str = "") -> PinactorsError:
    """An `invalid_format` error. `field` is the name that the client sent; the view is derived from it."""
    view = view_of(field) or REGION_FIELDS.get(field) or (field if field in list(View) else "")
    return PinactorsError(ErrorCode.INVALID_FORMAT, message, detail, field=field, view=view)


def malformed(reason: str, field: str = "") -> PinactorsError:
    """The error for a body that cannot be parsed. A long `reason`, which quotes the client, is cut."""
    return refused("Invalid upload", f"The upload is malformed: {reason[:REASON_LIMIT]}", field)
