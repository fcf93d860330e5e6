"""WebSocket messages piece by piece: Hypercorn's stream without its buffer for a whole message.

Hypercorn collects a whole message before it passes it to the application. Whole photographs would be held in
memory, several of them if a client sends ahead, and a slow upload could not be distinguished from a stopped
one. Here each piece of a binary message is passed on as it is read from the socket, as a `websocket.receive`
of its own with `more_body` (not part of ASGI), which is True for all but the last. Text messages are passed
whole; a longer one than `TEXT_LIMIT` is passed cut, and the application refuses it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import h11
import msgspec
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.handshake import WEBSOCKET_VERSION

from pinactors.api.errors import UNEXPECTED, body_of
from pinactors.protocol import ErrorCode, PinactorsError

TEXT_LIMIT = 64 * 1024
"""Characters of a text message after which it is cut; the protocol's only one has fewer than 300."""


_OTHER_VERSION = PinactorsError(
    ErrorCode.INVALID_FORMAT,
    "Upgrade required",
    f"This URL accepts WebSocket version {WEBSOCKET_VERSION.decode()} only",
    field="Sec-WebSocket-Version",
)
_BAD_HANDSHAKE = PinactorsError(
    ErrorCode.INVALID_FORMAT,
    "Invalid WebSocket handshake",
    "It needs Upgrade, Connection, Sec-WebSocket-Version, a Sec-WebSocket-Key and no body",
)


class PiecewiseStream(WSStream):
    """One WebSocket of a connection, in place of Hypercorn's `WSStream`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.buffer.max_length = TEXT_LIMIT
        self._cut = False

    async def handle(self, event: Event) -> None:
        if isinstance(event, Request):
            # No compression: photographs do not get smaller, and compressed data can expand without limit.
            headers = [pair for pair in event.headers if pair[0].lower() != b"sec-websocket-extensions"]
            event = dataclasses.replace(event, headers=headers)
        elif isinstance(event, Body | Data) and not self.closed and not self.handshake.accepted:
            self.closed = True  # before the refusal is written: the application must not accept meanwhile
            await self._send_error_response(400)
            return
        await super().handle(event)

    async def _send_error_response(self, status_code: int) -> None:
        """Refuses a handshake as Hypercorn does, but with the reason in the body; for another WebSocket
        version the answer names the supported one (RFC 6455, 4.4)."""
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        if status_code == 400 and self.handshake.version not in (None, WEBSOCKET_VERSION):
            status_code, error = 426, _OTHER_VERSION
            headers[1] = (b"connection", b"close, upgrade")
            headers += [(b"upgrade", b"websocket"), (b"sec-websocket-version", WEBSOCKET_VERSION)]
        else:
            error = _BAD_HANDSHAKE if status_code < 500 else UNEXPECTED
        body = msgspec.json.encode(body_of(error))
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send(Response(stream_id=self.stream_id, status_code=status_code, headers=headers))
        await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case BytesMessage(data=data, message_finished=last):
                    piece = {
                        "type": "websocket.receive",
                        "bytes": bytes(data),
                        "text": None,
                        "more_body": not last,
                    }
                    await self._put(piece)
                case TextMessage(message_finished=last):
                    await self._take_text(event, last=last)
                case Ping():
                    await self._send_wsproto_event(event.response())
                case CloseConnection():
                    if self.connection.state is ConnectionState.REMOTE_CLOSING:
                        await self._send_wsproto_event(event.response())
                        await self.send(StreamClosed(stream_id=self.stream_id))
                    else:  # wsproto also reports protocol errors so: answer and close
                        await self._close(event.code)
                    return

    async def _take_text(self, event: TextMessage, *, last: bool) -> None:
        """Passes on a text message that is complete or longer than `TEXT_LIMIT`; drops the rest of such a
        one."""
        passes = last and not self._cut
        if not self._cut:
            try:
                self.buffer.extend(event)
            except FrameTooLargeError:
                self._cut = passes = True
        if passes:
            message = self.buffer.to_message()
            self.buffer.clear()
            await self._put(message)
        if last:
            self._cut = False

    async def _put(self, message: dict[str, Any]) -> None:
        assert (
            self.app_put is not None
        )  # set before the handshake is accepted, and no frame is read before that
        await self.app_put(message)

    async def _close(self, code: int) -> None:
        await self._send_wsproto_event(CloseConnection(code=code))
        await self.send(StreamClosed(stream_id=self.stream_id))


class PiecewiseProtocol(H11Protocol):
    """HTTP/1.1 with `PiecewiseStream` for WebSocket upgrades."""

    async def _create_stream(self, request: h11.Request) -> None:
        if not _upgrades(request):
            await super()._create_stream(request)
            return
        self.stream = PiecewiseStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )


def _upgrades(request: h11.Request) -> bool:
    headers: dict[bytes, bytes] = dict(request.headers)
    tokens = headers.get(b"connection", b"").lower().split(b",")
    upgrade = headers.get(b"upgrade", b"").strip().lower()
    return request.method == b"GET" and upgrade == b"websocket" and b"upgrade" in map(bytes.strip, tokens)
