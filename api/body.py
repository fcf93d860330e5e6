"""Request bodies as they arrive: at most `BUFFERED` bytes of one are in memory, and a sender must make
progress.

Quart collects a whole body before anybody asks for it; here the connection is read no faster than the
handler reads, so that TCP slows the sender down.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)
from quart import Response
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers.request import TrioBody, TrioRequest

from api.reader import Follow, Overlapping
from pinactors.protocol import UPLOAD_STALLED, ErrorCode, PinactorsError
from pinactors.settings import Settings

BUFFERED = 256 * 1024
"""Bytes of a body held while its handler is busy; one more read of the socket (64 KB) may come on top."""


class ArrivingBody(TrioBody):
    """A body with room for `BUFFERED` bytes; a handler that is done with it lets the rest be thrown away."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._room = trio.Event()
        self._wanted = trio.Event()
        self._discarding = False

    @property
    def complete(self) -> bool:
        return self._complete.is_set()

    async def wait_until_wanted(self) -> None:
        """Returns when somebody reads the body, or throws it away."""
        await self._wanted.wait()

    async def wait_for_room(self) -> None:
        while len(self._data) >= BUFFERED and not self._discarding:
            self._room = trio.Event()
            await self._room.wait()

    async def __anext__(self) -> bytes:
        self._wanted.set()
        data = await super().__anext__()
        self._room.set()
        return data

    def append(self, data: bytes) -> None:
        if not self._discarding:
            super().append(data)

    def discard(self) -> None:
        self._discarding = True
        self._wanted.set()
        self._data.clear()
        self._room.set()


class ArrivingRequest(TrioRequest):
    body_class = ArrivingBody


class HTTPConnection(TrioASGIHTTPConnection):
    """One request: the body is fetched while the handler runs, a disconnect ends the handler."""

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: ArrivingRequest, receive: ASGIReceiveCallable
    ) -> None:
        body = cast(ArrivingBody, request.body)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await body.wait_until_wanted()  # asking for it lets the client send it
        while True:
            message = await receive()
            if message["type"] == "http.request":
                await body.wait_for_room()
                body.append(message.get("body", b""))
                if not message.get("more_body", False):
                    body.set_complete()
            elif message["type"] == "http.disconnect":
                break
        nursery.cancel_scope.cancel()

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: ArrivingRequest, send: ASGISendCallable
    ) -> None:
        response = await self.app.handle_request(request)
        body = cast(ArrivingBody, request.body)
        sends_one = bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "")
        if sends_one and not body.complete:
            response.headers["Connection"] = "close"  # what of the body is still to come is in the way
        if not isinstance(response, Response) or not isinstance(response.response, Overlapping):
            # Nobody reads the body any more: what still comes must not keep a disconnect from being seen.
            body.discard()
        await self._send_response(send, response)
        nursery.cancel_scope.cancel()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """As Quart does, but what is ready together is sent together: the head with the first piece, the end
        with the last one, of a body that has its first at once and knows its last."""
        if not isinstance(response, Response):  # Werkzeug's own
            await super()._send_response(send, response)
            return
        head = {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": encode_headers(response.headers),
        }
        await send(cast(HTTPResponseStartEvent, head))
        more = True
        async with response.response as body:
            if not isinstance(body, DataBody | Follow):
                await send(_body(b"", more=True))
            async for data in body:
                more = not (isinstance(body, Follow) and body.ended)
                await send(_body(data, more=more))
        if more:
            await send(_body(b"", more=False))


def _body(data: bytes | str, *, more: bool) -> HTTPResponseBodyEvent:
    body = data.encode() if isinstance(data, str) else data
    return {"type": "http.response.body", "body": body, "more_body": more}


class Piece(NamedTuple):
    """Part of a binary message (see `api.wsstream`); `last`: the message ends with it."""

    data: bytes
    last: bool


class WebsocketConnection(TrioASGIWebsocketConnection):
    """Hands messages to the handler one by one, binary ones in pieces; Quart would queue ten whole ones."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._messages, self.receive_channel = trio.open_memory_channel[Piece | str](0)  # type: ignore[assignment]

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, receive: ASGIReceiveCallable
    ) -> None:
        while True:
            event = cast(dict[str, Any], await receive())
            if event["type"] == "websocket.receive":
                text = event.get("text")
                piece = Piece(event.get("bytes") or b"", not event.get("more_body", False))
                await self._messages.send(piece if text is None else text)
            elif event["type"] == "websocket.disconnect":
                break
        nursery.cancel_scope.cancel()


class Arriving(Protocol):
    """Where a body comes from; a request is one."""

    @property
    def body(self) -> AsyncIterator[bytes]: ...

    @property
    def content_length(self) -> int | None: ...


class BodyReader:
    """Reads one request's body within `limit` bytes.

    The client is held to the progress floor (`settings.upload_floor_bytes` in every `upload_floor_window`
    seconds that are spent waiting for it); there is no limit on the whole.
    """

    def __init__(self, request: Arriving, settings: Settings, limit: int) -> None:
        self._body = request.body
        self._limit = limit
        self._floor, self._window = settings.upload_floor_bytes, settings.upload_floor_window
        self._waited, self._brought = 0.0, 0
        self.size = 0
        if (request.content_length or 0) > limit:
            raise too_large(limit)

    async def chunk(self) -> bytes:
        """The next bytes, empty at the end. Raises `PinactorsError`: `too_large`, `cancelled` (stalled)."""
        while True:  # noqa: ASYNC913 - every round waits for the body
            began = trio.current_time()
            data = b""
            with trio.move_on_after(self._window - self._waited) as patience:
                try:
                    data = await self._body.__anext__()
                except StopAsyncIteration:
                    return b""
            self._account(len(data), trio.current_time() - began, expired=patience.cancelled_caught)
            if data:
                return data

    def _account(self, brought: int, waited: float, *, expired: bool) -> None:
        """Only the time spent waiting for the client counts: a slow disk is not its fault."""
        self._waited += waited
        self._brought += brought
        self.size += brought
        if self.size > self._limit:
            raise too_large(self._limit)
        if expired or self._waited >= self._window:
            if self._brought < self._floor:
                raise PinactorsError(
                    ErrorCode.CANCELLED,
                    UPLOAD_STALLED,
                    f"Fewer than {self._floor} bytes arrived within {self._window:g} seconds",
                )
            self._waited, self._brought = 0.0, 0

    async def whole(self) -> bytes:
        """The body in one piece, for small ones."""
        pieces = []
        while data := await self.chunk():
            pieces.append(data)
        return b"".join(pieces)


def too_large(limit: int) -> PinactorsError:
    return PinactorsError(ErrorCode.TOO_LARGE, "Upload too large", f"At most {limit} bytes are accepted")
