"""`POST /tokens`: short-lived tokens, so that apps need not contain a key, which could be extracted."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response, request

from pinactors.api.answers import TokenMade
from pinactors.api.auth import ANYONE, authenticate, unauthorized
from pinactors.api.http.body import BodyReader
from pinactors.api.operations import FEEDBACK_BYTES, TOKEN_FIELDS, json_answer, object_in
from pinactors.api.services import current_services
from pinactors.protocol import invalid_field, timestamp
from pinactors.records.tokens import MAX_SECONDS, MIN_SECONDS

DEFAULT_SECONDS = 600

blueprint = Blueprint("tokens", __name__)


@blueprint.post("/tokens")
async def make() -> Response:
    """Makes a token of the caller's key, for uploads or for the one stream that `streamId` names."""
    services = current_services()
    owner = await authenticate(request.headers, services.records)
    if owner == ANYONE:
        raise unauthorized("This server has no keys, so it cannot make tokens")
    body = await BodyReader(request, services.settings, FEEDBACK_BYTES).whole()
    seconds, stream_id = requested(object_in(body, *TOKEN_FIELDS) if body.strip() else {})
    if stream_id is not None:
        await services.registry.find(stream_id, owner)
    token, expires_at = await services.records.add_token(owner, stream_id, seconds)
    return json_answer(
        TokenMade(
            token=token,
            expires_at=timestamp(expires_at),
            seconds=seconds,
            stream_id=stream_id,
            timestamp=timestamp(),
        )
    )


def requested(fields: dict[str, Any]) -> tuple[int, str | None]:
    """Returns `seconds` and `streamId` of the request. Raises `PinactorsError` (`invalid_format`), naming the
    field."""
    seconds = fields.get("seconds")
    seconds = DEFAULT_SECONDS if seconds is None else seconds
    if type(seconds) is not int or not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise invalid_field("seconds", f"it must be a whole number from {MIN_SECONDS} to {MAX_SECONDS}")
    stream_id = fields.get("streamId")
    if stream_id is not None and not isinstance(stream_id, str):
        raise invalid_field("streamId", "it must be text or null")
    return seconds, stream_id
