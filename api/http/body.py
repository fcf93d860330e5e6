"""Request bodies that are read as they arrive, with a minimum rate for the sender.

Quart reads a whole body into memory whether the handler asks for it or not. Here the connection is read at
most `api.http.calls.INBOX_EVENTS` events ahead of the handler, so that TCP slows the sender down.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, Self, cast

import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)
from quart import Request, Response
from quart.typing import ResponseTypes
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers.request import TrioRequest

from pinactors.api.http.calls import Inbox
from pinactors.api.streams.reader import Overlapping, Reader
from pinactors.protocol import UPLOAD_BROKEN_OFF, UPLOAD_STALLED, ErrorCode, PinactorsError
from pinactors.settings import Settings


class ArrivingBody:
    """A request's body as an iterator of pieces, none of which is kept."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        self._receive: ASGIReceiveCallable | None = None
        self.read = False

    def come_from(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive

    @property
    def sent_at(self) -> float | None:
        """When the client had sent all of it: see `Inbox`."""
        return self._receive.sent_at if isinstance(self._receive, Inbox) else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises `PinactorsError` (`cancelled`) if the client has disconnected."""
        if self.read or self._receive is None:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] != "http.request":
            raise PinactorsError(ErrorCode.CANCELLED, UPLOAD_BROKEN_OFF)
        self.read = not message.get("more_body", False)
        return message.get("body", b"")


class ArrivingRequest(TrioRequest):
    body_class = ArrivingBody  # type: ignore[assignment]  # Quart's reading of the whole body is left out


class HTTPConnection(TrioASGIHTTPConnection):
    """Handles one request in one task; the handler reads as much of the body as it needs. The caller cancels
    the task when the client disconnects."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await self._send_response(send, await self._answer(receive, send))

    async def _answer(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> ResponseTypes:
        """Runs the handler. A function of its own, so that the request is freed while the answer is sent,
        which may take minutes."""
        request = self._create_request_from_scope(send)
        body = cast(ArrivingBody, request.body)
        body.come_from(receive)
        response = await self.app.handle_request(request)
        sends_one = bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "")
        inbox = receive if isinstance(receive, Inbox) else None
        if sends_one and not (body.read or (inbox is not None and inbox.complete)):
            response.headers["Connection"] = "close"  # the unread rest of the body precedes the next request
        if inbox is not None and not isinstance(getattr(response, "response", None), Overlapping):
            inbox.close()
        return response

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """Sends a response as Quart does, but with fewer writes: the head together with the first piece if
        the body returns that at once, and the end together with the last piece if the body marks it
        (`Reader.ended`)."""
        if not isinstance(response, Response):  # a response of Werkzeug
            await super()._send_response(send, response)
            return
        if response.status_code in (204, 304):  # no length, not even 0 (RFC 9110, 8.6)
            del response.headers["Content-Length"]
        head = {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": [(_encoded(name.lower()), _encoded(value)) for name, value in response.headers],
        }
        content = response.response
        more = True
        async with content as body:  # first: a body that receives the upload notices a cancellation
            await send(cast(HTTPResponseStartEvent, head))
            del response, head  # free what was sent: the body, or its next piece, can take minutes
            if not isinstance(body, DataBody | Reader):
                await send(_body(b"", more=True))
            async for data in body:
                more = not (isinstance(body, Reader) and body.ended)
                await send(_body(data, more=more))
                del data
        if more:
            await send(_body(b"", more=False))


@lru_cache(256)
def _encoded(text: str) -> bytes:
    """A header's name or value as bytes. Cached, because most answers share the same ones: each is kept in
    memory once, however many answers are open."""
    return text.encode()


def _body(data: bytes | str, *, more: bool) -> HTTPResponseBodyEvent:
    body = data.encode() if isinstance(data, str) else data
    return {"type": "http.response.body", "body": body, "more_body": more}


class Piece(NamedTuple):
    """Part of a binary message (see `api.http.websocket_stream`); `last` is True for the message's last
    part."""

    data: bytes
    last: bool


class WebsocketConnection(TrioASGIWebsocketConnection):
    """Passes messages to the handler one by one, binary ones in pieces; Quart would queue ten whole
    messages."""

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


class HasBody(Protocol):
    """An object with a body, such as a request."""

    @property
    def body(self) -> AsyncIterator[bytes]: ...

    @property
    def content_length(self) -> int | None: ...


def sent_at(request: Request) -> float | None:
    """When the client had sent the request, on trio's clock; None if that is not known."""
    return cast(ArrivingBody, request.body).sent_at


class BodyReader:
    """Reads one request's body within `limit` bytes.

    The client must send at least `settings.upload_floor_bytes` in each `upload_floor_window` seconds that are
    spent waiting for it; the total time is not limited.
    """

    def __init__(self, request: HasBody, settings: Settings, limit: int) -> None:
        self._body = request.body
        self._limit = limit
        self._floor, self._window = settings.upload_floor_bytes, settings.upload_floor_window
        self._waited, self._received = 0.0, 0
        self.size = 0
        if (request.content_length or 0) > limit:
            raise too_large(limit)

    async def chunk(self) -> bytes:
        """Returns the next bytes, empty at the end. Raises `PinactorsError`: `too_large`, `cancelled`
        (stalled)."""
        while True:  # noqa: ASYNC913 - every round waits for the body
            began = trio.current_time()
            data = b""
            with trio.move_on_after(self._window - self._waited) as scope:
                try:
                    data = await self._body.__anext__()
                except StopAsyncIteration:
                    return b""
            self._account(len(data), trio.current_time() - began, expired=scope.cancelled_caught)
            if data:
                return data

    def _account(self, received: int, waited: float, *, expired: bool) -> None:
        """Checks size and rate. Only time spent waiting for the client counts, so that a slow disk does
        not."""
        self._waited += waited
        self._received += received
        self.size += received
        if self.size > self._limit:
            raise too_large(self._limit)
        if expired or self._waited >= self._window:
            if self._received < self._floor:
                raise PinactorsError(
                    ErrorCode.CANCELLED,
                    UPLOAD_STALLED,
                    f"Fewer than {self._floor} bytes arrived within {self._window:g} seconds",
                )
            self._waited, self._received = 0.0, 0

    async def whole(self) -> bytes:
        """Reads the whole body into memory; for small bodies."""
        pieces = []
        while data := await self.chunk():
            pieces.append(data)
        return b"".join(pieces)


def too_large(limit: int) -> PinactorsError:
    return PinactorsError(ErrorCode.TOO_LARGE, "Upload too large", f"At most {limit} bytes are accepted")
