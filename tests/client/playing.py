"""Scripted servers on real sockets, and requests to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from pinactors.client.http import Body, Connection

LIMIT = 120
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Play = Callable[[trio.SocketStream], Awaitable[None]]


async def head_of(stream: trio.SocketStream) -> bytes:
    """Reads a request up to its body's first bytes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some(65536)
    return data


@asynccontextmanager
async def playing(*plays: Play) -> AsyncIterator[str]:
    """Starts a server whose n-th connection runs the n-th play, and yields its URL."""
    left = list(plays)

    async def serve(stream: trio.SocketStream) -> None:
        await left.pop(0)(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def answers(*answer: bytes) -> Play:
    """A play that answers each request with the next answer and then closes the connection."""

    async def play(stream: trio.SocketStream) -> None:
        for each in answer:
            await head_of(stream)
            await stream.send_all(each)

    return play


def connection(url: str, silence: float = 5) -> Connection:
    return Connection(url, silence=silence)


def body(size: int) -> Body:
    return Body("application/octet-stream", size, [bytes(size)])
