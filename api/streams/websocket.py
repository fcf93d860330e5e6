"""`/ws`: receives photographs and sends packets at the same time, on one connection.

The client's first text frame announces the upload: `{"sessionId": …, "images": ["front", "back"]}`; then the
client sends one binary message per image, in that order. Instead of images the frame may name a session to
resume: `{"streamId": …, "offset": …}`. A browser, which cannot send headers here, puts its key into that
frame as `apiKey`. Packets are sent as text frames; every failure is an `ERROR` packet and a close code.

If an earlier session has the same session id or idempotency key, the upload may be a duplicate.
Packets are then sent only once the upload is in and was compared; for a duplicate they are the earlier
session's, from the first one. If two duplicates are sent at the same time, that may be noticed only after
some packets were sent; the remaining packets are then those of the other session.

Keep-alives are pings, which the HTTP server sends at its configured interval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self, cast

import msgspec
import structlog
import trio
from quart import Blueprint, websocket

from pinactors.api.auth import ANYTHING, UPLOADS, authenticate, key_of
from pinactors.api.errors import not_stored
from pinactors.api.http.body import BodyReader, Piece
from pinactors.api.json_text import at_fault, parse
from pinactors.api.services import Services, current_services
from pinactors.api.streams.durable_streams import count_read
from pinactors.api.uploads.fields import REGION_FIELDS, REGION_LIMIT, Region, region_of
from pinactors.api.uploads.mobile_upload import check_idempotency_key, named_webhook
from pinactors.logs import begin_logged
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    UPLOAD_BROKEN_OFF,
    UPLOAD_STALLED,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    View,
    check_session_id,
    decode,
    is_text,
    missing_front,
    none_if_missing,
    timestamp,
)
from pinactors.protocol.merge import kind_of
from pinactors.protocol.offsets import to_position
from pinactors.settings import Settings
from pinactors.storage.images import Lease, Sink
from pinactors.storage.stored_image import StoredImage

OPENING_LIMIT = 16 * 1024
"""Most characters of the first frame; our clients send fewer than 300."""

NORMAL, UNSUPPORTED, INVALID, POLICY, TOO_BIG, INTERNAL, TRY_AGAIN = 1000, 1003, 1007, 1008, 1009, 1011, 1013
CLOSE_CODES = {
    ErrorCode.INVALID_FORMAT: INVALID,
    ErrorCode.TOO_LARGE: TOO_BIG,
    ErrorCode.OVERLOADED: TRY_AGAIN,
    ErrorCode.PROCESSING_ERROR: INTERNAL,
}
"""Close codes (RFC 6455, IANA) of failures; other failures close with 1008 (policy violation)."""

KEY_FIELD = "idempotencyKey"
"""Field of the first frame with the idempotency key."""

blueprint = Blueprint("websocket", __name__)
log = structlog.get_logger(__name__)


class Opening(msgspec.Struct, rename="camel"):
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


@blueprint.websocket("/ws", strict_slashes=False)
async def converse() -> None:
    """Serves one WebSocket. Refuses a wrong key in the header with 401 before the upgrade."""
    services = current_services()
    named = key_of(websocket.headers) is not None
    if named:
        await authenticate(websocket.headers, services.records, ANYTHING)
    session_id = None
    try:
        opening = await opening_of(services.settings)
        session_id = opening.session_id
        key = websocket.headers if named else {"x-api-key": opening.api_key or ""}
        owner = await authenticate(key, services.records, opening.stream_id or UPLOADS)
        if opening.stream_id is not None:
            conversation = await _resumed(services, opening, owner)
        else:
            views = views_of(opening)
            regions = regions_of(opening)
            upload = _upload(opening, owner, services.settings)
            upload.span = begin_logged(services.tracing, websocket, "upload")
            conversation = WebsocketExchange(services, upload, views, regions)
        code = await conversation.run()
    except PinactorsError as error:
        await refuse(error, session_id)
    else:
        await websocket.close(code)


async def opening_of(settings: Settings) -> Opening:
    """Receives the first frame. Raises `PinactorsError` if it is invalid or does not arrive in time."""
    with trio.move_on_after(settings.upload_floor_window) as scope:
        frame = await websocket.receive()
    if scope.cancelled_caught:
        raise PinactorsError(ErrorCode.CANCELLED, UPLOAD_STALLED, "The first frame did not arrive")
    if not isinstance(frame, str) or len(frame) > OPENING_LIMIT:
        raise invalid(f"the first frame must be text of at most {OPENING_LIMIT} characters")
    try:
        # Not parsed by msgspec, which refuses half a surrogate pair even in fields that are not used.
        values = parse(frame)
        if isinstance(values, dict) and type(values.get("sessionId")) is int:  # as of `Date.now()`
            values["sessionId"] = str(values["sessionId"])
        opening = msgspec.convert(values, Opening)
    except msgspec.ValidationError as error:
        name, reason = at_fault(error)
        raise invalid(f"the first frame cannot be read: {name and f'{name}: '}{reason}", name) from None
    except ValueError as error:
        raise invalid(f"the first frame cannot be read: {error}") from None
    for field in msgspec.structs.fields(opening):
        text = getattr(opening, field.name)
        if isinstance(text, str) and not is_text(text):
            raise invalid(
                f"{field.encode_name} contains characters that are not valid text", field.encode_name
            )
    return msgspec.structs.replace(opening, stream_id=none_if_missing(opening.stream_id))


def views_of(opening: Opening) -> list[View]:
    """The views that an upload announces. Raises `PinactorsError` if the front is missing or a view is
    repeated."""
    views = opening.images or []
    if View.FRONT not in views:
        raise missing_front()
    if len(set(views)) < len(views):
        raise invalid("images names a view twice", "images")
    return views


def idempotency_key_of(opening: Opening) -> str | None:
    """The upload's idempotency key. Raises `PinactorsError` if it is invalid."""
    return check_idempotency_key(opening.idempotency_key, KEY_FIELD)


def _upload(opening: Opening, owner: str, settings: Settings) -> Upload:
    named = none_if_missing(opening.session_id) is not None
    upload = Upload(check_session_id(opening.session_id), owner, idempotency_key_of(opening), named=named)
    upload.key_field = KEY_FIELD
    upload.webhook = named_webhook(opening.webhook, settings, owner)
    return upload


async def _resumed(services: Services, opening: Opening, owner: str) -> WebsocketExchange:
    found = await services.registry.find(opening.stream_id or "", owner)
    return WebsocketExchange(services, None, (), {}, found, position_in(found, opening))


def position_in(found: PacketLog, opening: Opening) -> int:
    """The position from which a client resumes reading. Raises `PinactorsError` for an invalid offset, and
    (429) for too many reads of a stream that has ended."""
    try:
        position = 0 if opening.offset in (None, "-1") else to_position(opening.offset or "")
    except ValueError as error:
        raise invalid("offset was not issued by this server", "offset") from error
    if position > len(found.packets):
        raise invalid("offset is beyond the end of the stream", "offset")
    count_read(found, empty=position == len(found.packets))
    return position


async def send_packets(log: PacketLog, position: int) -> int:
    """Sends a log's packets until it is closed; returns the position behind the last one."""
    with log.watching():
        while position < len(log.packets) or not log.closed:
            await log.wait_beyond(position)
            for packet in log.packets[position:]:
                await websocket.send(packet.decode())
                position += 1
    return position


def regions_of(opening: Opening) -> dict[View, Region]:
    """Where the pin is in each photograph, if the client says so. Raises `PinactorsError`, naming the
    field."""
    regions = {}
    for field, view in REGION_FIELDS.items():
        value = getattr(opening, f"{view}_region")
        text = value if isinstance(value, str) else "" if value is False else json.dumps(value)
        if (region := region_of(text[: REGION_LIMIT + 1], field)) is not None:
            regions[view] = region
    return regions


def close_code(log: PacketLog, *, mistaken: bool = False) -> int:
    """The close code for a closed log; `mistaken` is True if text arrived in place of a photograph. A client
    whose log was closed before its end has to connect again for the rest."""
    if not log.ended:
        return TRY_AGAIN
    last = log.packets[-1]
    if kind_of(last) != "ERROR":
        return NORMAL
    error = decode(last)
    assert isinstance(error, ErrorPacket)
    return UNSUPPORTED if mistaken else CLOSE_CODES.get(error.error_code, POLICY)


async def drain() -> None:
    """Receives and discards frames that were not announced, so that a disconnect behind them is noticed."""
    while True:
        await websocket.receive()


class WebsocketExchange:
    """One WebSocket connection. `run` returns the close code once the log's last packet is sent."""

    def __init__(
        self,
        services: Services,
        upload: Upload | None,
        views: Sequence[View],
        regions: Mapping[View, Region],
        resumed: PacketLog | None = None,
        position: int = 0,
    ) -> None:
        self._services, self._upload = services, upload
        self._views, self._regions = views, regions
        self._log, self._position = resumed, position
        self._received = trio.Event()
        self._messages = Messages()

    async def run(self) -> int:
        """Raises `PinactorsError` if the session is refused before any packet was sent."""
        if self._upload is None:
            receive = drain
        else:
            registry = self._services.registry
            self._upload.announced = not await registry.may_join(self._upload)
            self._log = await registry.open(self._upload)
            receive = self._receive
        assert self._log is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, name="websocket receive")
                if self._upload is not None and not self._upload.announced:
                    await self._received.wait()
                    with suppress(PinactorsError):  # a conflict is reported in the session's own log
                        self._log = await self._services.registry.answer(self._upload, self._log)
                await send_packets(self._log, self._position)
                nursery.cancel_scope.cancel()
        finally:
            if self._upload is not None and not self._upload.complete:
                gone = PinactorsError(ErrorCode.CANCELLED, UPLOAD_BROKEN_OFF, "The connection ended early")
                self._upload.fail(gone)
            if self._upload is not None:
                self._upload.span.end(self._upload.error)
        return close_code(self._log, mistaken=self._messages.mistaken)

    async def _receive(self) -> None:
        upload = self._upload
        assert upload is not None
        reader = BodyReader(
            self._messages, self._services.settings, self._services.settings.max_request_bytes
        )
        try:
            with self._services.store.leasing() as lease:
                for view in self._views:
                    self._messages.begin(view)
                    image = await self._photograph(view, reader, lease)
                    upload.put(view, replace(image, region=self._regions.get(view)))
                upload.close()
                upload.span.end()
        except PinactorsError as error:
            upload.fail(error)  # which also ends the session
        self._received.set()
        await drain()

    async def _photograph(self, view: View, reader: BodyReader, lease: Lease) -> StoredImage:
        """Stores one message as it arrives. Raises `PinactorsError`."""
        threads = partial(trio.to_thread.run_sync, limiter=self._services.disk)
        sink: Sink | None = None
        try:
            sink = await threads(Sink.create, lease)
            while data := await reader.chunk():
                await threads(sink.write, data)
            if not sink.size:
                raise invalid(f"the {view} image is empty", view)
            return await threads(sink.keep)
        except OSError as error:
            raise not_stored(error, self._upload.session_id if self._upload is not None else None) from error
        finally:
            if sink is not None and not sink.kept:
                with trio.CancelScope(shield=True):  # remove the file also if the client has disconnected
                    await threads(sink.discard)  # noqa: ASYNC102 - shielded, one disk operation


class Messages:
    """The connection's binary messages as request bodies, one after another: `begin` starts the next one, and
    the iteration ends with each message. `mistaken` is True once text arrived instead."""

    content_length = None

    def __init__(self) -> None:
        self._view = View.FRONT
        self._ended = False
        self.mistaken = False

    def begin(self, view: View) -> None:
        self._view, self._ended = view, False

    @property
    def body(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        message = cast("Piece | str", await websocket.receive())
        if isinstance(message, str):
            self.mistaken = True
            detail = f"a binary message with the {self._view} image was expected, but text came"
            raise invalid(detail, self._view, WrongKind)
        self._ended = message.last
        return message.data


def invalid(detail: str, field: str = "", kind: type[PinactorsError] = PinactorsError) -> PinactorsError:
    """The error for an invalid frame. `field` is a field of the first frame, or the name of a photograph in
    its `images`."""
    view = field if field in list(View) else ""
    return kind(ErrorCode.INVALID_FORMAT, "Invalid frame", detail, field=field, view=view)


class WrongKind(PinactorsError):
    """The error for text in place of a photograph, which has a close code of its own (1003)."""


async def refuse(error: PinactorsError, session_id: str | None) -> None:
    """Sends a refusal before there is a session, as a single `ERROR` packet, and closes the connection."""
    packet = ErrorPacket.of(error)
    with suppress(PinactorsError):  # an invalid session id is not repeated
        packet.session_id = check_session_id(session_id)
    packet.timestamp, packet.sequence = timestamp(), 0
    await websocket.send(packet.encode().decode())
    await websocket.close(
        UNSUPPORTED if isinstance(error, WrongKind) else CLOSE_CODES.get(error.code, POLICY)
    )
