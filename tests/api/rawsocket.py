"""A WebSocket client that sends single frames as a test needs them, and returns each received frame."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate


class RawSocket:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self.pings = 0

    async def open(self, headers: Mapping[str, str], path: str = "/ws") -> Event:
        """Sends the handshake, and returns `AcceptConnection` or `RejectConnection`."""
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        opening = Request(host="test", target=path, extra_headers=extra, extensions=[PerMessageDeflate()])
        await self.send_event(opening)
        event = await self.event()
        assert isinstance(event, AcceptConnection | RejectConnection)
        return event

    async def send_event(self, event: Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    async def send(self, **opening: Any) -> None:
        await self.send_event(TextMessage(data=json.dumps(opening)))

    async def send_photograph(self, data: bytes, *, pieces: int = 1, last: bool = True) -> None:
        """Sends a message in `pieces` frames. If `last` is false, the message stays open."""
        step = max(1, -(-len(data) // pieces))
        starts = range(0, len(data), step)
        for start in starts:
            end = last and start == starts[-1]
            await self.send_event(BytesMessage(data=data[start : start + step], message_finished=end))

    async def event(self) -> Event:
        """The next frame except pings, which are answered and counted. If the connection breaks, it is
        `CloseConnection` with code 1006."""
        while True:
            for event in self._protocol.events():
                if isinstance(event, Ping):
                    self.pings += 1
                    await self.send_event(event.response())
                else:
                    self._events.append(event)
            if self._events:
                return self._events.pop(0)
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                return CloseConnection(code=1006)
            self._protocol.receive_data(data)

    async def packet(self) -> dict[str, Any]:
        event = await self.event()
        assert isinstance(event, TextMessage), event
        text = event.data
        while not event.message_finished:
            event = await self.event()
            assert isinstance(event, TextMessage)
            text += event.data
        packet = json.loads(text)
        assert isinstance(packet, dict)
        return packet

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Reads packets up to and including the next one of type `kind`."""
        packets = [await self.packet()]
        while packets[-1]["packetType"] != kind:
            packets.append(await self.packet())
        return packets

    async def close_code(self) -> int:
        event = await self.event()
        assert isinstance(event, CloseConnection), event
        return int(event.code)

    async def rejection(self) -> dict[str, Any]:
        """The body of a refused handshake."""
        body = b""
        while True:
            event = await self.event()
            assert isinstance(event, RejectData), event
            body += event.data
            if event.body_finished:
                parsed = json.loads(body)
                assert isinstance(parsed, dict)
                return parsed


@asynccontextmanager
async def opened(port: int, headers: Mapping[str, str] | None = None) -> AsyncIterator[RawSocket]:
    """A socket after an accepted handshake."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        socket = RawSocket(stream)
        accepted = await socket.open(headers or {})
        assert isinstance(accepted, AcceptConnection), accepted
        assert not accepted.extensions, "photographs do not shrink"
        yield socket


def types(packets: Sequence[Mapping[str, Any]]) -> list[str]:
    return [packet["packetType"] for packet in packets]
