"""Tests of the WebSocket client with a server whose order of frames the test determines."""

from __future__ import annotations

from functools import partial

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from pinactors.client.transports import Server
from pinactors.client.websocket import WebSocketTransport

PING = b"\x89\x00"
TERMINAL = '{"packetType":"ANALYSIS_COMPLETE"}'


async def pings_behind_the_goodbye(said: trio.Event, stream: trio.SocketStream) -> None:
    """A server that sends the terminal packet, and answers the client's close frame with a ping first."""
    protocol = WSConnection(ConnectionType.SERVER)
    async with stream:
        async for data in stream:
            protocol.receive_data(data)
            for event in protocol.events():
                if isinstance(event, Request):
                    await stream.send_all(protocol.send(AcceptConnection()))
                elif isinstance(event, TextMessage):
                    await stream.send_all(protocol.send(TextMessage(data=TERMINAL)))
                elif isinstance(event, CloseConnection):
                    await stream.send_all(PING)
                    said.set()
                    await stream.send_all(protocol.send(event.response()))
                    return


async def test_a_ping_that_crosses_the_goodbye_is_no_failure() -> None:
    taken: list[bytes] = []

    async def on_packet(packet: bytes) -> bool:
        taken.append(packet)
        return False

    said = trio.Event()
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, partial(pings_behind_the_goodbye, said), 0, host="127.0.0.1")
            )
            port = listeners[0].socket.getsockname()[1]
            transport = WebSocketTransport(Server(f"http://127.0.0.1:{port}"), None, lambda: None, None)
            await transport.follow("stream", 0, on_packet)
            nursery.cancel_scope.cancel()
    assert taken == [TERMINAL.encode()]
    assert said.is_set()
