"""The upload's fields by name, and how a refusal names the one at fault."""

from __future__ import annotations

from pinactors.protocol import ErrorCode, PinactorsError, View

SESSION_FIELD = "sessionId"
TEXT_FIELDS = {"frontImageData": View.FRONT, "backImageData": View.BACK, "angledImageData": View.ANGLED}
"""Photographs as base64."""

BINARY_FIELDS = {"front_image": View.FRONT, "back_image": View.BACK, "angled_image": View.ANGLED}
"""Photographs as parts of a multipart body."""


def view_of(field: str) -> View | None:
    """The photograph that `field` carries; None for any other field."""
    return TEXT_FIELDS.get(field) or BINARY_FIELDS.get(field)


def refused(message: str, detail: str, field: str = "") -> PinactorsError:
    """A refusal of what was sent. `field` is named as it was sent; its photograph follows from it."""
    return PinactorsError(ErrorCode.INVALID_FORMAT, message, detail, field=field, view=view_of(field) or "")


def malformed(reason: str, field: str = "") -> PinactorsError:
    """A body that cannot be read."""
    return refused("Invalid upload", f"The upload is malformed: {reason}", field)


def named_session(text: str | None) -> str | None:
    """A session id as a client wrote it; None for a word that JavaScript makes of none."""
    return None if text in (None, "", "null", "undefined") else text
