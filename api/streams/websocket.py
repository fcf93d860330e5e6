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

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Self, cast

import structlog
import trio
from quart import Blueprint, websocket

from pinactors.api.auth import ANYTHING, UPLOADS, authenticate, key_of
from pinactors.api.errors import not_stored
from pinactors.api.http.body import BodyReader, Piece
from pinactors.api.services import Services, current_services
from pinactors.api.streams.durable_streams import count_read
from pinactors.api.streams.first_frame import (
    KEY_FIELD,
    FirstFrame,
    idempotency_key_of,
    invalid,
    receive_first_frame,
    regions_of,
    views_of,
)
from pinactors.api.uploads.fields import Region
from pinactors.api.uploads.mobile_upload import named_webhook
from pinactors.logs import begin_logged
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    UPLOAD_BROKEN_OFF,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    View,
    check_session_id,
    decode,
    none_if_missing,
    timestamp,
)
from pinactors.protocol.merge import kind_of
from pinactors.protocol.offsets import to_position
from pinactors.settings import Settings
from pinactors.storage.images import Lease, Sink
from pinactors.storage.stored_image import StoredImage

NORMAL, UNSUPPORTED, INVALID, POLICY, TOO_BIG, INTERNAL, TRY_AGAIN = 1000, 1003, 1007, 1008, 1009, 1011, 1013
CLOSE_CODES = {
    ErrorCode.INVALID_FORMAT: INVALID,
    ErrorCode.TOO_LARGE: TOO_BIG,
    ErrorCode.OVERLOADED: TRY_AGAIN,
    ErrorCode.PROCESSING_ERROR: INTERNAL,
}
"""Close codes (RFC 6455, IANA) of failures; other failures close with 1008 (policy violation)."""

blueprint = Blueprint("websocket", __name__)
log = structlog.get_logger(__name__)


@blueprint.websocket("/ws", strict_slashes=False)
async def converse() -> None:
    """Serves one WebSocket. Refuses a wrong key in the header with 401 before the upgrade."""
    services = current_services()
    named = key_of(websocket.headers) is not None
    if named:
        await authenticate(websocket.headers, services.records, ANYTHING)
    session_id = None
    try:
        first_frame = await receive_first_frame(services.settings)
        session_id = first_frame.session_id
        key = websocket.headers if named else {"x-api-key": first_frame.api_key or ""}
        owner = await authenticate(key, services.records, first_frame.stream_id or UPLOADS)
        if first_frame.stream_id is not None:
            conversation = await _resumed(services, first_frame, owner)
        else:
            views = views_of(first_frame)
            regions = regions_of(first_frame)
            upload = _upload(first_frame, owner, services.settings)
            upload.span = begin_logged(services.tracing, websocket, "upload")
            conversation = WebsocketExchange(services, upload, views, regions)
        code = await conversation.run()
    except PinactorsError as error:
        await refuse(error, session_id)
    else:
        await websocket.close(code)


def _upload(first_frame: FirstFrame, owner: str, settings: Settings) -> Upload:
    named = none_if_missing(first_frame.session_id) is not None
    upload = Upload(
        check_session_id(first_frame.session_id), owner, idempotency_key_of(first_frame), named=named
    )
    upload.key_field = KEY_FIELD
    upload.webhook = named_webhook(first_frame.webhook, settings, owner)
    return upload


async def _resumed(services: Services, first_frame: FirstFrame, owner: str) -> WebsocketExchange:
    found = await services.registry.find(first_frame.stream_id or "", owner)
    return WebsocketExchange(services, None, (), {}, found, position_in(found, first_frame))


def position_in(found: PacketLog, first_frame: FirstFrame) -> int:
    """The position from which a client resumes reading. Raises `PinactorsError` for an invalid offset, and
    (429) for too many reads of a stream that has ended."""
    try:
        position = 0 if first_frame.offset in (None, "-1") else to_position(first_frame.offset or "")
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
