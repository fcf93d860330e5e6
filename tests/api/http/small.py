"""A small application on real sockets, for clients that do not behave."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from quart import Response, request, websocket
from quart.wrappers.response import ResponseBody

from pinactors.api.app import Application
from pinactors.api.http.body import sent_at
from pinactors.api.server import Listener, open_sockets, port_of
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from pinactors.supervision import Supervision
from tests.api.wire import LIMIT, Wire, ask
from tests.waiting import until

QUICK = 0.3
"""Seconds that replace the minute of the real time limits."""

IDLE = 1.0
"""Seconds after which the connections of the fixture `impatient` are idle for too long."""

BUSY = 3.0
"""Seconds after which a handler reads its body: long enough for a client to send it on a busy machine."""

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Drip(ResponseBody):
    """A body of `count` chunks of `size` bytes, one every `pause` seconds; then it ends, or raises if
    `crash`."""

    def __init__(self, count: int, size: int = 10, pause: float = 0, *, crash: bool = False) -> None:
        self._left, self._chunk, self._pause, self._crash = count, b"x" * size, pause, crash

    async def __aenter__(self) -> Drip:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> Drip:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(self._pause)
        if not self._left:
            if self._crash:
                raise RuntimeError("in the middle")
            raise StopAsyncIteration
        self._left -= 1
        return self._chunk


def application() -> Application:
    app = Application.bare()

    @app.get("/")
    async def hello() -> str:
        return "hello"

    @app.post("/busy")
    async def busy() -> dict[str, float]:
        """Reads the body only after a while."""
        begun = trio.current_time()
        await trio.sleep(BUSY)
        async for _ in request.body:
            pass
        sent = sent_at(request)
        assert sent is not None
        return {"sent": sent - begun, "read": trio.current_time() - begun}

    @app.get("/drip")
    async def drip() -> Response:
        return Response(Drip(5, pause=IDLE / 4))

    @app.get("/flood")
    async def flood() -> Response:
        return Response(Drip(2000, size=64 * 1024))

    @app.get("/broken")
    async def broken() -> Response:
        return Response(Drip(2, crash=True))

    @app.get("/streams/<stream_id>/task")
    async def task(stream_id: str) -> Response:
        return Response(trio.lowlevel.current_task().name)

    @app.get("/boom")
    async def boom() -> str:
        raise RuntimeError("a secret")

    @app.get("/group")
    async def group() -> str:
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - a group is what is tested
            nursery.start_soon(fail)
        return ""

    async def fail() -> None:
        raise PinactorsError(ErrorCode.SESSION_CONFLICT, "Conflict")

    @app.post("/refuse")
    async def refuse() -> str:
        raise PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized")

    @app.post("/read")
    async def read() -> str:
        return str(sum([len(piece) async for piece in request.body]))

    @app.post("/pieces")
    async def pieces() -> list[int]:
        return [len(piece) async for piece in request.body]

    @app.post("/wait")
    async def wait() -> Response:
        return Response(Drip(1, pause=10 * LIMIT))

    @app.post("/stuck")
    async def stuck() -> str:
        await anext(aiter(request.body))
        await trio.sleep_forever()
        return ""

    @app.post("/ignore")
    async def ignore() -> Response:
        return Response(Drip(5, pause=QUICK / 4))

    @app.websocket("/ws")
    async def talk() -> None:
        await websocket.accept()
        await websocket.receive()

    return app


class Served:
    def __init__(self, port: int, listener: Listener) -> None:
        self.port, self.listener = port, listener

    async def wait_for_connections(self, count: int) -> None:
        await until(lambda: len(self.listener) == count)

    async def assert_unhurt(self) -> None:
        self.listener._config.keep_alive_timeout = LIMIT
        assert (await ask(self.port, "GET", "/")).body == b"hello", "the server is hurt"


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Served]:
    chosen = Settings(**{"port": 0, "data": Path("unused"), "stalled_reader": QUICK, **settings})
    listener = Listener(application(), chosen, Supervision())
    async with trio.open_nursery() as nursery:
        sockets = await open_sockets(chosen)
        nursery.start_soon(listener.accept, sockets, nursery)
        with trio.fail_after(LIMIT):  # noqa: ASYNC100 - around the test
            yield Served(port_of(sockets), listener)
        listener.abort()
        nursery.cancel_scope.cancel()


async def still_takes(wire: Wire, data: bytes) -> bool:
    try:
        await wire.send(data)
    except trio.BrokenResourceError:
        return False
    return True


async def send_until_full(wire: Wire) -> int:
    """Sends until the server takes no bytes for `2 * QUICK` seconds, at most 32 MiB; returns the number of
    bytes."""
    sent = 0
    while sent < 32 << 20:
        with trio.move_on_after(2 * QUICK) as patience:
            await wire.send(bytes(64 * 1024))
        if patience.cancelled_caught:
            break
        sent += 64 * 1024
    return sent


def reset(wire: Wire) -> None:
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
