"""A reader is a cursor on a session's log: a body that follows it, or one object once it has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

import msgspec
import trio
from quart import Request, Response
from quart.wrappers.response import ResponseBody

from api.errors import RETRY_AFTER, STATUS
from api.streams.framings import JSON_TYPE, Framing
from pinactors.protocol import ErrorCode
from pinactors.protocol.merge import failed, merge
from pinactors.settings import Settings

STREAM_HEADERS = {
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, x-api-key, x-session-id",
    "X-Accel-Buffering": "no",
}


ASYNC, EARLY = "respond-async", "respond-early"
"""Preferences (RFC 7240) of an upload: to be answered with the session's name at once, or with its packets
while the rest of the upload is still coming (ours: a proxy asks so)."""


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

    def watching(self) -> AbstractContextManager[None]: ...


class Follow(ResponseBody):
    """Writes a log's packets from `position` on, the moment they exist, and signs of life in between.

    Packets that are ready together share one write; `keepalive` seconds of silence bring a sign of life. A
    reader costs its index: while a write is stuck it waits for nobody and nobody waits for it. The first
    piece comes at once, empty where there is no packet yet: the answer's head leaves with it. The body ends
    when the log does; `ended` says that the last piece was the last.
    """

    def __init__(self, log: Log, framing: Framing, position: int, keepalive: float) -> None:
        self._log, self._framing, self._position, self._keepalive = log, framing, position, keepalive
        self._watching = log.watching()
        self._opened = self.ended = False

    async def __aenter__(self) -> Self:
        self._watching.__enter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._watching.__exit__(exc_type, exc_value, tb)

    def __aiter__(self) -> Self:
        return self

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


class Overlapping(ResponseBody):
    """An answer that is sent while its request's body is still being read: by `receive`, which raises
    nothing."""

    def __init__(self, answer: Follow, receive: Callable[[], Awaitable[None]]) -> None:
        self._answer, self._receive = answer, receive
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            await stack.enter_async_context(self._answer)
            nursery.start_soon(self._receive, name="upload")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc_value, tb)  # noqa: ASYNC102 - the nursery is cancelled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._answer.__anext__()


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


async def buffered(log: Log) -> Response:
    """One object, once the session has ended; the client waits in silence, for no status is known before."""
    with log.watching():
        while not log.closed:
            await log.wait_beyond(len(log.packets))
    answer = merge(log.packets)
    code = failed(answer)
    response = Response(msgspec.json.encode(answer), STATUS[code] if code else 200, content_type=JSON_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if code is ErrorCode.OVERLOADED:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def accepted_only(log: Log) -> Response:
    """Names the session instead of following it: for clients that poll (RFC 7240, `respond-async`)."""
    body = {"success": True, "message": "Accepted", "sessionId": log.session_id, "streamId": log.stream_id}
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


async def respond(request: Request, framing: Framing | None, log: Log, settings: Settings) -> Response:
    """The answer to an upload: `log` in `framing`, or one buffered object when that is None."""
    if prefers(request, ASYNC):
        return accepted_only(log)
    return await buffered(log) if framing is None else follow(request, log, framing, settings)
