"""A reader is a cursor on a session's log: a body that follows it, or one object once it has ended."""

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
from pinactors.protocol.merge import ends, failed, merge
from pinactors.settings import Settings

STREAM_HEADERS = {
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, x-api-key, x-session-id",
    "X-Accel-Buffering": "no",
}


SILENCE_SECONDS = 8.0
"""How long a client that waits for one object hears nothing: OkHttp gives up after ten seconds."""

ASYNC, EARLY = "respond-async", "respond-early"
"""Preferences (RFC 7240) of an upload: to be answered with the session's name at once, or with its packets
while the rest of the upload is still coming (ours: a proxy asks so)."""


_ELSEWHERE = PinactorsError(
    ErrorCode.OVERLOADED, "Analysis interrupted", "It goes on elsewhere; the upload may be sent again"
)
"""Of a log that was closed without a terminal packet, as its session is another master's: whoever sends the
same upload again joins it there."""


class Log(Protocol):
    """What a reader needs of a log; `pinactors.pipeline.log.PacketLog` is one."""

    @property
    def stream_id(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def packets(self) -> list[bytes]: ...

    @property
    def closed(self) -> bool: ...

    async def wait_beyond(self, count: int) -> None: ...

    async def wait_closed(self) -> None: ...

    def watching(self) -> AbstractContextManager[None]: ...


class Reader(Pieces):
    """A body made from a log: counted as one of its readers while it is sent."""

    def __init__(self, log: Log, keepalive: float) -> None:
        self._log, self._keepalive = log, keepalive
        self._opened = self.ended = False

    async def open(self, stack: AsyncExitStack) -> None:
        stack.enter_context(self._log.watching())


class Follow(Reader):
    """Writes a log's packets from `position` on, the moment they exist, and keep-alives in between.

    Packets that are ready together share one write; `keepalive` seconds of silence bring a keep-alive. A
    reader costs its index: while a write is stuck it waits for nobody and nobody waits for it. The first
    piece comes at once, empty where there is no packet yet: the answer's head leaves with it. The body ends
    when the log does; `ended` says that the last piece was the last.
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
            data = self._framing.encode(packets, start, closed=self.ended)
            if data or first:
                return data
        raise StopAsyncIteration


class Awaited(Reader):
    """One object, once the session has ended; white space, which JSON skips, at once and in between."""

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        first, self._opened = not self._opened, True
        with trio.move_on_after(0 if first else self._keepalive):
            await self._log.wait_closed()
        self.ended = self._log.closed
        return _merged(self._log) if self.ended else b" "


def _merged(log: Log) -> bytes:
    """The object that answers for a closed log."""
    if ends(log.packets):
        return msgspec.json.encode(merge(log.packets))
    return msgspec.json.encode(body_of(_ELSEWHERE, log.session_id))


class Overlapping(Pieces):
    """An answer that is sent while its request's body is still being read: by `receive`, which raises
    nothing."""

    def __init__(self, answer: ResponseBody, receive: Callable[[], Awaitable[None]]) -> None:
        self._answer, self._receive = answer, receive
        self._pieces: AsyncIterator[Any]

    async def open(self, stack: AsyncExitStack) -> None:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        self._pieces = aiter(await stack.enter_async_context(self._answer))  # type: ignore[arg-type]
        nursery.start_soon(self._receive, name="upload")

    async def __anext__(self) -> bytes:
        return cast(bytes, await anext(self._pieces))


def follow(
    request: Request, log: Log, framing: Framing, settings: Settings, *, position: int = 0
) -> Response:
    """The streamed answer: every packet from `position` on."""
    body = Follow(log, framing, position, settings.keepalive)
    response = Response(body, headers=STREAM_HEADERS, content_type=framing.content_type)
    response.timeout = None  # the session's deadline bounds it; Quart's own limit would cut it off
    if request.http_version == "1.1":  # the header is an error in HTTP/2
        response.headers["Connection"] = "keep-alive"
    return response


async def buffered(log: Log, *, since: float | None = None, keepalive: float = KEEPALIVE_SECONDS) -> Response:
    """One object, once the session has ended, with the status of its failure where it failed. Raises
    `PinactorsError` (503) where it goes on elsewhere.

    A client that has waited `SILENCE_SECONDS` (from `since` on, the end of its upload on trio's clock) gets
    the head with 200, and white space until the object is there: no status can be told any more, the object's
    `success` tells. Common HTTP clients give up after ten silent seconds.
    """
    begun = trio.current_time() if since is None else since
    with log.watching(), trio.move_on_at(begun + SILENCE_SECONDS):
        await log.wait_closed()
    if not log.closed:
        response = Response(Awaited(log, keepalive), content_type=JSON_TYPE)
        response.headers |= {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        response.timeout = None  # the session's deadline bounds it
        return response
    if not ends(log.packets):
        raise _ELSEWHERE
    answer = merge(log.packets)
    code = failed(answer)
    response = Response(msgspec.json.encode(answer), STATUS[code] if code else 200, content_type=JSON_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if code is ErrorCode.OVERLOADED:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def accepted_only(log: Log) -> Response:
    """Names the session instead of following it: for clients that poll (RFC 7240, `respond-async`)."""
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
    """Whether the client asked for `preference`."""
    named = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(name.partition(";")[0].strip().lower() == preference for name in named)


async def respond(
    request: Request, framing: Framing | None, log: Log, settings: Settings, *, since: float | None = None
) -> Response:
    """The answer to an upload that ended at `since`: `log` in `framing`, or one object when that is None."""
    if prefers(request, ASYNC):
        return accepted_only(log)
    if framing is None:
        return await buffered(log, since=since, keepalive=settings.keepalive)
    return follow(request, log, framing, settings)


def wants_early(request: Request, framing: Framing | None) -> bool:
    """Whether the answer is to begin while the upload is still coming (see `EARLY`)."""
    return framing is not None and prefers(request, EARLY) and not prefers(request, ASYNC)
