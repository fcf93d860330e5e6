"""The first text frame of a WebSocket: announces an upload, or names a session to resume."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import trio
from quart import websocket

from pinactors.api.json_text import at_fault, parse
from pinactors.api.uploads.fields import REGION_FIELDS, REGION_LIMIT, Region, region_of
from pinactors.api.uploads.mobile_upload import check_idempotency_key
from pinactors.protocol import (
    UPLOAD_STALLED,
    ErrorCode,
    PinactorsError,
    View,
    is_text,
    missing_front,
    none_if_missing,
)
from pinactors.settings import Settings

FRAME_LIMIT = 16 * 1024
"""Most characters of the first frame; our clients send fewer than 300."""

KEY_FIELD = "idempotencyKey"
"""Field of the first frame with the idempotency key."""


class FirstFrame(msgspec.Struct, rename="camel"):
    """The first frame. Unknown fields, which newer clients may add, are ignored."""

    session_id: str | None = None
    images: list[View] | None = None
    stream_id: str | None = None
    offset: str | None = None
    api_key: str | None = None
    idempotency_key: str | None = None
    webhook: str | None = None
    front_region: Any = None
    back_region: Any = None
    angled_region: Any = None


async def receive_first_frame(settings: Settings) -> FirstFrame:
    """Receives the first frame. Raises `PinactorsError` if it is invalid or does not arrive in time."""
    with trio.move_on_after(settings.upload_floor_window) as scope:
        frame = await websocket.receive()
    if scope.cancelled_caught:
        raise PinactorsError(ErrorCode.CANCELLED, UPLOAD_STALLED, "The first frame did not arrive")
    if not isinstance(frame, str) or len(frame) > FRAME_LIMIT:
        raise invalid(f"the first frame must be text of at most {FRAME_LIMIT} characters")
    try:
        # Not parsed by msgspec, which refuses half a surrogate pair even in fields that are not used.
        values = parse(frame)
        if isinstance(values, dict) and type(values.get("sessionId")) is int:  # as of `Date.now()`
            values["sessionId"] = str(values["sessionId"])
        first_frame = msgspec.convert(values, FirstFrame)
    except msgspec.ValidationError as error:
        name, reason = at_fault(error)
        raise invalid(f"the first frame cannot be read: {name and f'{name}: '}{reason}", name) from None
    except ValueError as error:
        raise invalid(f"the first frame cannot be read: {error}") from None
    for field in msgspec.structs.fields(first_frame):
        text = getattr(first_frame, field.name)
        if isinstance(text, str) and not is_text(text):
            raise invalid(
                f"{field.encode_name} contains characters that are not valid text", field.encode_name
            )
    return msgspec.structs.replace(first_frame, stream_id=none_if_missing(first_frame.stream_id))


def views_of(first_frame: FirstFrame) -> list[View]:
    """The views that an upload announces. Raises `PinactorsError` if the front is missing or a view is
    repeated."""
    views = first_frame.images or []
    if View.FRONT not in views:
        raise missing_front()
    if len(set(views)) < len(views):
        raise invalid("images names a view twice", "images")
    return views


def idempotency_key_of(first_frame: FirstFrame) -> str | None:
    """The upload's idempotency key. Raises `PinactorsError` if it is invalid."""
    return check_idempotency_key(first_frame.idempotency_key, KEY_FIELD)


def regions_of(first_frame: FirstFrame) -> dict[View, Region]:
    """Where the pin is in each photograph, if the client says so. Raises `PinactorsError`, naming the
    field."""
    regions = {}
    for field, view in REGION_FIELDS.items():
        value = getattr(first_frame, f"{view}_region")
        text = value if isinstance(value, str) else "" if value is False else json.dumps(value)
        if (region := region_of(text[: REGION_LIMIT + 1], field)) is not None:
            regions[view] = region
    return regions


def invalid(detail: str, field: str = "", kind: type[PinactorsError] = PinactorsError) -> PinactorsError:
    """The error for an invalid frame. `field` is a field of the first frame, or the name of a photograph in
    its `images`."""
    view = field if field in list(View) else ""
    return kind(ErrorCode.INVALID_FORMAT, "Invalid frame", detail, field=field, view=view)
