"""Faulty masters: socket servers that answer each upload with bytes from a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

Script = Callable[[trio.SocketStream], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
OPENING = (
    b'{"packetType":"CONNECTION_ESTABLISHED","sessionId":"s","timestamp":"t","sequence":0,"message":"m",'
    b'"streamId":"aaaaaaaaaaaaaaaaaaaaaaaa","deadlineMs":90000}'
)
STARTED = b'{"packetType":"PROCESSING_STARTED","sessionId":"s","timestamp":"t","sequence":1,"message":"m"}'
COMPLETE = (
    b'{"packetType":"ANALYSIS_COMPLETE","sessionId":"s","timestamp":"t","sequence":2,"success":true,'
    b'"complete":true,"id":1,"message":"m","processingTime":1,"degraded":[],"missing":[]}'
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def says(*pieces: bytes, then_silent: bool = False) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        for piece in pieces:
            await stream.send_all(piece)
        if then_silent:
            await trio.sleep_forever()

    return script


def repeats(first: bytes, piece: bytes, pause: float) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(first)
        while True:
            await stream.send_all(piece)
            await trio.sleep(pause)

    return script


class Scripted:
    """A faulty master. `uploads` counts the requests that it read to their end, or answered before that."""

    def __init__(self, script: Script, *, reads: bool) -> None:
        self._script, self._reads = script, reads
        self.uploads = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream: trio.SocketStream) -> None:
        parser = h11.Connection(h11.SERVER)
        try:
            async with stream:
                while self._reads:
                    event = parser.next_event()
                    if event is h11.NEED_DATA:
                        parser.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request) and event.target == b"/health":
                        body = b'{"status":"ok"}'
                        await stream.send_all(
                            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                        )
                        return
                    elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                        break
                self.uploads += 1
                await self._script(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass


@asynccontextmanager
async def scripted(script: Script, *, reads: bool = True) -> AsyncIterator[Scripted]:
    """Runs a faulty master. If `reads` is false, it reads no byte of a request."""
    server = Scripted(script, reads=reads)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        server.port = listeners[0].socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()
