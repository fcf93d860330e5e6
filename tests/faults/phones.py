"""Phones for every framing, and a witness that checks the packets on each connection.

Three framings use the project's own client. Browsers and desktops read server-sent events and buffered
answers with their own clients, so this module has one for each: the first resumes as a browser does
(`Last-Event-ID`), the second as a desktop does (it sends the same upload again).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import trio

from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.follower import FollowedSession, Follower, OnPacket, Received, Transport, refusal_of
from pinactors.client.http import LINE_LIMIT
from pinactors.client.session import TRANSPORTS
from pinactors.client.transports import LineTransport, Server, check, read_json
from pinactors.client.uploads import UploadContent
from pinactors.lines import LineSplitter
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.protocol.offsets import to_offset

Framing = Literal["ndjson", "sse", "long-poll", "websocket", "buffered"]
FRAMINGS: list[Framing] = ["ndjson", "sse", "long-poll", "websocket", "buffered"]

SSE = {"Accept": "text/event-stream"}
BUFFERED_PAUSE = 0.1


class EventTransport(LineTransport):
    """Reads an upload's answer as server-sent events, and resumes after a break with the last event's id."""

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        async with self.connection() as connection:
            await self._events(await self.send(connection, session, SSE), on_packet)

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        headers = {**SSE, "Last-Event-ID": to_offset(position), **self._server.headers()}
        async with self.connection() as connection:
            answer = await connection.request("GET", f"/streams/{quote(stream_id, safe='')}", headers)
            await check(answer)
            await self._events(answer, on_packet)

    async def _events(self, answer: Any, on_packet: OnPacket) -> None:
        lines, identifier, data = LineSplitter(LINE_LIMIT, NotPinactors), "", b""
        while piece := await answer.chunk():
            for line in lines.feed(piece):
                name, _, value = line.partition(b":")
                if name == b"id":
                    identifier = value.decode()
                elif name == b"data":
                    data = value
                elif not line and data:
                    assert identifier == to_offset(json.loads(data)["sequence"] + 1), "not the offset behind"
                    if not await on_packet(data):
                        return
                    data = b""


@dataclass
class Witness:
    """Receives the packets between a transport and the client, and counts the errors that the client would
    correct by itself.

    `gaps`: packets with a sequence number above the next one of their connection. `repeats`: packets that
    came twice on one connection. `changes`: packets that came with other bytes than before. `odd` describes
    all of them. An `ERROR` with sequence number 0 is a refusal: it opens no session and is in no log.
    """

    streams: dict[str, dict[int, bytes]] = field(default_factory=dict)
    connections: int = 0
    gaps: int = 0
    repeats: int = 0
    changes: int = 0
    odd: list[str] = field(default_factory=list)

    def on_connection(self, on_packet: OnPacket, stream_id: str | None, position: int) -> OnPacket:
        self.connections += 1
        current, due = stream_id, position

        async def seen(raw: bytes) -> bool:
            nonlocal current, due
            packet = json.loads(raw)
            sequence = packet["sequence"]
            if packet["packetType"] == "ERROR" and sequence == 0:
                return await on_packet(raw)
            if packet.get("streamId", current) != current:  # a new session, or the joined duplicate
                current, due = packet["streamId"], 0
            if current is not None:
                self.gaps += sequence > due
                self.repeats += sequence < due
                expected, due = due, sequence + 1
                earlier = self.streams.setdefault(current, {}).setdefault(sequence, raw)
                self.changes += earlier != raw
                if sequence != expected or earlier != raw:
                    self.odd.append(f"{current} due {expected}: {raw[:200]!r}, earlier {earlier[:200]!r}")
            return await on_packet(raw)

        return seen

    def packets(self, stream_id: str) -> list[bytes]:
        """All packets of a session that were received, over all connections, by sequence number."""
        seen = self.streams.get(stream_id, {})
        return [seen[sequence] for sequence in sorted(seen)]


class Witnessed:
    def __init__(self, transport: Transport, witness: Witness) -> None:
        self._transport, self._witness = transport, witness

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        await self._transport.upload(session, self._witness.on_connection(on_packet, None, 0))

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        seen = self._witness.on_connection(on_packet, stream_id, position)
        await self._transport.follow(stream_id, position, seen)


@dataclass
class Phone:
    """One upload over one framing. `run` returns when the answer is complete.

    `received`: the packets that the client of a streaming framing delivered. `answer`: the object that a
    buffered phone received. `silence`: seconds without a byte after which the phone gives up a connection.
    """

    url: str
    photographs: UploadContent
    framing: Framing
    silence: float = 15.0
    unreachable_seconds: float = 60.0
    received: list[Received] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    witness: Witness = field(default_factory=Witness)
    refused: int = 0
    stream_id: str = ""
    on_packet: Callable[[str], None] = lambda kind: None

    async def run(self) -> None:
        """Raises the client's exceptions: `NetworkError`, `Broken` for a buffered answer, `PinactorsError`,
        `NotPinactors`."""
        if self.framing == "buffered":
            await self._ask_until_answered()
        else:
            await self._follow()

    async def _follow(self) -> None:
        sink, source = trio.open_memory_channel[Received | Exception](0)
        make = EventTransport if self.framing == "sse" else TRANSPORTS[self.framing]
        transport = make(
            Server(self.url, silence=self.silence), self.photographs, lambda: follower.on_activity(), None
        )
        session = FollowedSession()
        watched = Witnessed(transport, self.witness)
        follower = Follower(
            watched, session, sink, can_upload=True, unreachable_seconds=self.unreachable_seconds
        )
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            async for packet in source:
                if isinstance(packet, Exception):
                    failure = packet
                else:
                    self.received.append(packet)
                    self.on_packet(packet.kind)
        self.stream_id = session.stream_id or ""
        if failure is not None:
            raise failure

    async def _ask_until_answered(self) -> None:
        plain = LineTransport(Server(self.url, silence=self.silence), self.photographs, lambda: None, None)
        until = trio.current_time() + self.unreachable_seconds
        while not self.answer:
            self.witness.connections += 1
            try:
                async with plain.connection() as connection:
                    answer = await plain.send(connection, FollowedSession(), {"Accept": "application/json"})
                    fields = read_json(await answer.read())
                    if not fields["success"]:  # the status line was already sent
                        raise refusal_of(fields, retry_after=BUFFERED_PAUSE)
                    self.answer = fields
            except Broken:
                if trio.current_time() > until:
                    raise
                await trio.sleep(BUFFERED_PAUSE)
            except PinactorsError as refusal:
                if refusal.code not in (ErrorCode.OVERLOADED, ErrorCode.CANCELLED):
                    raise
                if refusal.code is ErrorCode.CANCELLED and trio.current_time() > until:
                    raise
                self.refused += 1
                await trio.sleep(min(refusal.retry_after or BUFFERED_PAUSE, 1.0))
        self.stream_id = self.answer["streamId"]
