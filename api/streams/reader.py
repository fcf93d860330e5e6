"""Readers: response bodies that follow a session's log from a cursor, or return one object once the log is
closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Any, Protocol, cast

import msgspec
import trio
from quart import Request, Response
from quart.wrappers.response import ResponseBody

from pinactors.api.errors import RETRY_AFTER, STATUS, body_of
from pinactors.api.streams.framings import JSON_TYPE, Framing
from pinactors.api.streams.pieces import Pieces
from pinactors.protocol import KEEPALIVE_SECONDS, ErrorCode, PinactorsError, stream_urls
from pinactors.protocol.merge import failed, merge
from pinactors.settings import Settings

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Header fields of a stream besides those of every answer (`api.cors`)."""

SILENCE_SECONDS = 8.0
"""Longest time without a byte for a client that waits for one object: OkHttp gives up after ten seconds."""

ASYNC, EARLY = "respond-async", "respond-early"
"""Preferences (RFC 7240) of an upload. `respond-async`: answer at once with the stream's id. `respond-early`,
which is not a standard one and is sent by our proxies: send packets while the upload is still coming in."""


class Log(Protocol):
    """The interface of a log that readers use; `pinactors.pipeline.log.PacketLog` implements it."""

    @property
    def stream_id(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def packets(self) -> list[bytes]: ...

    @property
    def closed(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    async def wait_beyond(self, count: int) -> None: ...

    async def wait_closed(self) -> None: ...

    def watching(self) -> AbstractContextManager[None]: ...


class Reader(Pieces):
    """A body made from a log. It counts as one of the log's readers while it is sent."""

    def __init__(self, log: Log, keepalive: float) -> None:
        self._log, self._keepalive = log, keepalive
        self._opened = self.ended = False

    async def open(self, stack: AsyncExitStack) -> None:
        stack.enter_context(self._log.watching())


class Follow(Reader):
    """Sends a log's packets from `position` on as soon as they are appended.

    Packets that are ready together share one write; after `keepalive` seconds without a packet a keep-alive
    is sent. A reader's only state is its index, so a blocked write delays no other reader and not the
    session. The first piece is returned at once, empty if there is no packet yet, so that the answer's head
    is sent with it. The body ends when the log is closed; `ended` is True once the last piece was returned.
    A reader of a log that was closed before its end asks for the rest with its next request.
    """

    def __init__(self, log: Log, framing: Framing, position: int, keepalive: float) -> None:
        super().__init__(log, keepalive)
        self._framing, self._position = framing, position

    async def __anext__(self) -> bytes:
        while not self.ended:
            if self._opened:
                if len(self._log.packets) > self._position or self._log.closed:
                    await trio.lowlevel.checkpoint()
                else:
                    with trio.move_on_after(self._keepalive) as silence:
                        await self._log.wait_beyond(self._position)
                    if silence.cancelled_caught:
                        return self._framing.keepalive
            first, self._opened = not self._opened, True
            start = self._position
            packets = self._log.packets[start:]
            self._position += len(packets)
            self.ended = self._log.closed
            data = self._framing.encode(packets, start, closed=self._log.ended)
            if data or first:
                return data
        raise StopAsyncIteration


class MergedWhenClosed(Reader):
    """Sends one JSON object once the session has ended; before that, a space at once and at each keep-alive,
    which JSON parsers skip."""

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        first, self._opened = not self._opened, True
        with trio.move_on_after(0 if first else self._keepalive):
            await self._log.wait_closed()
        self.ended = self._log.closed
        return _merged(self._log) if self.ended else b" "


def elsewhere(remedy: str = "send the upload again") -> PinactorsError:
    """The answer for a log that was closed before its end, because another master has taken over its session:
    a client that sends the same upload again joins the session there, and one that has the stream's id can
    read on there."""
    detail = f"It continues on another server; {remedy} to follow it"
    return PinactorsError(ErrorCode.OVERLOADED, "Analysis interrupted", detail)


def _merged(log: Log) -> bytes:
    """The JSON object for a closed log."""
    if log.ended:
        return msgspec.json.encode(merge(log.packets))
    return msgspec.json.encode(body_of(elsewhere(), log.session_id))


class Overlapping(Pieces):
    """An answer that is sent while `receive` still reads the request's body. `receive` must raise nothing."""

    def __init__(self, answer: ResponseBody, receive: Callable[[], Awaitable[None]]) -> None:
        self._answer, self._receive = answer, receive
        self._pieces: AsyncIterator[Any]

    async def open(self, stack: AsyncExitStack) -> None:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(self._receive, name="upload")  # first: it notices a cancellation of what follows
        self._pieces = aiter(await stack.enter_async_context(self._answer))  # type: ignore[arg-type]

    async def __anext__(self) -> bytes:
        return cast(bytes, await anext(self._pieces))


def follow(
    request: Request, log: Log, framing: Framing, settings: Settings, *, position: int = 0
) -> Response:
    """The streamed answer with all packets from `position` on."""
    body = Follow(log, framing, position, settings.keepalive)
    response = Response(body, headers=STREAM_HEADERS, content_type=framing.content_type)
    response.timeout = None  # the session's deadline bounds it; Quart's limit would end it too early
    if request.http_version == "1.1":  # an answer by HTTP/1.0 ends with its connection
        response.headers["Connection"] = "keep-alive"
    return response


async def buffered(log: Log, *, since: float | None = None, keepalive: float = KEEPALIVE_SECONDS) -> Response:
    """Returns one JSON object once the session has ended; if the session failed, with the failure's status.
    Raises `PinactorsError` (503) if another master has taken the session over.

    After `SILENCE_SECONDS` (from `since` on, when the client had sent the upload, on trio's clock) the
    client receives the head with status 200, then spaces until the object is ready. A failure then shows only
    in the object's `success`. Common HTTP clients give up after ten seconds without a byte.
    """
    begun = trio.current_time() if since is None else since
    with log.watching(), trio.move_on_at(begun + SILENCE_SECONDS):
        await log.wait_closed()
    if not log.closed:
        response = Response(MergedWhenClosed(log, keepalive), content_type=JSON_TYPE)
        response.headers |= {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        response.timeout = None  # the session's deadline bounds it
        return response
    if not log.ended:
        raise elsewhere()
    answer = merge(log.packets)
    code = failed(answer)
    response = Response(msgspec.json.encode(answer), STATUS[code] if code else 200, content_type=JSON_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if code is ErrorCode.OVERLOADED:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def accepted_only(log: Log) -> Response:
    """Answers 202 with the stream's id and URLs, for clients that poll (RFC 7240, `respond-async`)."""
    body = {
        "success": True,
        "message": "Accepted",
        "sessionId": log.session_id,
        "streamId": log.stream_id,
        **stream_urls(log.stream_id),
    }
    headers = {
        "Location": f"/streams/{log.stream_id}",
        "Preference-Applied": ASYNC,
        "Cache-Control": "no-store",
    }
    return Response(msgspec.json.encode(body), 202, headers, content_type=JSON_TYPE)


def prefers(request: Request, preference: str) -> bool:
    """Whether the request's `Prefer` header names `preference`."""
    named = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(name.partition(";")[0].strip().lower() == preference for name in named)


async def respond(
    request: Request, framing: Framing | None, log: Log, settings: Settings, *, since: float | None = None
) -> Response:
    """The answer to an upload that was sent by `since`: `log` in `framing`, or one object if `framing` is
    None."""
    if prefers(request, ASYNC):
        return accepted_only(log)
    if framing is None:
        return await buffered(log, since=since, keepalive=settings.keepalive)
    return follow(request, log, framing, settings)


def wants_early(request: Request, framing: Framing | None) -> bool:
    """Whether the answer should begin while the upload is still coming in (see `EARLY`)."""
    return framing is not None and prefers(request, EARLY) and not prefers(request, ASYNC)
