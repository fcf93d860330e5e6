"""The client's public functions: one analysis as an async iterator of its packets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Self
from urllib.parse import quote

import msgspec
import trio

from pinactors.client.connecting import Broken
from pinactors.client.follower import FollowedSession, Follower, Progress, Received, Transport
from pinactors.client.http import Body, Connection
from pinactors.client.transports import (
    RESUMABLE_BYTES,
    LineTransport,
    PollTransport,
    Server,
    check,
    read_json,
)
from pinactors.client.uploads import Photograph, UploadContent
from pinactors.client.websocket import WebSocketTransport
from pinactors.protocol import View
from pinactors.protocol.merge import merge

TransportName = Literal["ndjson", "long-poll", "websocket"]

TRANSPORTS: dict[str, type[LineTransport] | type[WebSocketTransport]] = {
    "ndjson": LineTransport,
    "long-poll": PollTransport,
    "websocket": WebSocketTransport,
}

UNREACHABLE_SECONDS = 180.0
"""Default of `unreachable_seconds`: after this time without a byte from the server the client gives up."""


_reached: set[str] = set()
"""Servers to which this process has had a connection."""


class Packets:
    """The packets of one session, in order, each kind once; the iteration ends after the terminal packet.

    An `ERROR` packet is returned like any other. Errors outside a session are raised: `PinactorsError`
    (the server refused; the error has its code), `NetworkError` (the server was not reachable for too long),
    `NotPinactors` (the URL is not a pinactors server), `OSError` (a photograph cannot be read).
    """

    def __init__(
        self, session: FollowedSession, source: trio.MemoryReceiveChannel[Received | Exception]
    ) -> None:
        self._session, self._source = session, source
        self.received: list[Received] = []

    @property
    def stream_id(self) -> str | None:
        """The id with which the session can be followed and cancelled; None until the server has sent it."""
        return self._session.stream_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        try:
            packet = await self._source.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if isinstance(packet, Exception):
            raise packet
        self.received.append(packet)
        return packet

    async def answer(self) -> dict[str, Any]:
        """Receives the remaining packets and merges all packets into one object, as the server does for a
        desktop; also for a session that failed."""
        async for _ in self:
            pass
        answer = merge([packet.raw for packet in self.received])
        if answer["success"]:
            answer["streamId"] = (
                self.stream_id
            )  # the id of the session that ended, which after a restart is not the first one
        return answer


@asynccontextmanager
async def analyze(
    server: str,
    images: Mapping[View, Photograph],
    *,
    key: str | None = None,
    session_id: str | None = None,
    idempotency_key: str | None = None,
    webhook: str | None = None,
    transport: TransportName = "ndjson",
    on_progress: Progress | None = None,
    unreachable_seconds: float = UNREACHABLE_SECONDS,
    resumable_bytes: int = RESUMABLE_BYTES,
) -> AsyncIterator[Packets]:
    """Uploads photographs (bytes or files) and follows their analysis, over new connections if one breaks.

        async with analyze("http://127.0.0.1:8080", {View.FRONT: Path("front.jpg")}) as packets:
            async for packet in packets:
                ...

    `webhook` is a URL to which the server sends the session's events as well, for programs that do not wait.
    The whole has no time limit: use a cancel scope (`trio.fail_after`). If the block is left early, the
    session continues on the server (`cancel` ends it). An upload of `resumable_bytes` or more continues after
    a broken connection where it stopped (not over a WebSocket). Raises `ValueError` without a front image.
    """
    identifiers = {"session_id": session_id, "idempotency_key": idempotency_key, "webhook": webhook}
    photographs = UploadContent(
        images, **{name: value for name, value in identifiers.items() if value is not None}
    )
    async with _following(
        Server(server, key, resumable_bytes=resumable_bytes),
        photographs,
        FollowedSession(),
        transport,
        on_progress,
        unreachable_seconds,
    ) as packets:
        yield packets


@asynccontextmanager
async def follow(
    server: str,
    stream_id: str,
    *,
    position: int = 0,
    key: str | None = None,
    transport: TransportName = "ndjson",
    unreachable_seconds: float = UNREACHABLE_SECONDS,
) -> AsyncIterator[Packets]:
    """Follows an existing session from packet `position` on."""
    session = FollowedSession(stream_id, position, complete=True)
    async with _following(
        Server(server, key), None, session, transport, None, unreachable_seconds
    ) as packets:
        yield packets


async def cancel(server: str, stream_id: str, *, key: str | None = None) -> None:
    """Ends a session; does nothing if it has already ended.

    Raises `PinactorsError`, `NotPinactors`, and `ConnectionError` if the server is not reachable.
    """
    target = Server(server, key)
    connection = Connection(server, silence=target.silence)
    async with connection:
        try:
            await check(
                await connection.request("DELETE", f"/streams/{quote(stream_id, safe='')}", target.headers())
            )
        except Broken as error:
            raise ConnectionError(str(error)) from error


async def confirm(
    server: str,
    record_number: int,
    pin_id: str,
    *,
    agree: bool,
    comment: str | None = None,
    corrected_verdict: str | None = None,
    corrected_pin_id: str | None = None,
    corrected_price: float | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Sends whether the owner of the pin agrees with an analysis, and returns the server's answer.

    `record_number` is the answer's `id`, `pin_id` its `sessionId`; `corrected_…` are the values that the
    analysis should have had (a price is in US dollars). Raises `PinactorsError`, `NotPinactors`, and
    `ConnectionError` if the server is not reachable.
    """
    fields: dict[str, Any] = {
        "recordNumber": record_number,
        "pinId": pin_id,
        "userAgreement": "agree" if agree else "disagree",
    }
    optional = {
        "feedbackComment": comment,
        "correctedVerdict": corrected_verdict,
        "correctedPinId": corrected_pin_id,
        "correctedPrice": corrected_price,
    }
    fields |= {name: value for name, value in optional.items() if value is not None}
    content = msgspec.json.encode(fields)
    target = Server(server, key)
    async with Connection(server, silence=target.silence) as connection:
        body = Body("application/json", len(content), [content])
        try:
            answer = await connection.request("POST", "/api/mobile/confirm-pin", target.headers(), body)
            await check(answer)
            return read_json(await answer.read())
        except Broken as error:
            raise ConnectionError(str(error)) from error


@asynccontextmanager
async def _following(
    server: Server,
    photographs: UploadContent | None,
    session: FollowedSession,
    name: TransportName,
    progress: Progress | None,
    unreachable_seconds: float,
) -> AsyncIterator[Packets]:
    sink, source = trio.open_memory_channel[Received | Exception](0)

    def note_activity() -> None:
        _reached.add(server.url)
        follower.on_activity()

    transport: Transport = TRANSPORTS[name](server, photographs, note_activity, progress)
    follower = Follower(
        transport,
        session,
        sink,
        can_upload=photographs is not None,
        unreachable_seconds=unreachable_seconds,
        reached=photographs is None or server.url in _reached,  # a session to follow was opened before
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run, name="follower")
            yield Packets(session, source)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The follower raises nothing: a single exception in the group is that of the caller's block.
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None  # noqa: ASYNC123 - it is the block's own
