"""A relay between phones and a server that breaks chosen connections after a number of bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Literal

import trio

CHUNK = 65536

Kind = Literal["drop", "stall"]


@dataclass(frozen=True)
class Break:
    """How one connection breaks, `after` that many bytes of the answer, or of the request if `upwards`.

    `drop`: both connections are closed. `stall`: no more bytes are forwarded, and nothing is closed.
    """

    kind: Kind
    after: int
    upwards: bool = False


def whole(number: int) -> Break | None:
    return None


class Network:
    """The relay. `plan` sets a function that returns, for the n-th connection from now, how it breaks, or
    None."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._plan: Callable[[int], Break | None] = whole
        self._open: set[trio.SocketStream] = set()
        self._answered: set[trio.SocketStream] = set()
        self._sending: defaultdict[trio.SocketStream, trio.Lock] = defaultdict(trio.Lock)
        self.connections = 0
        self.broken = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, plan: Callable[[int], Break | None]) -> None:
        self._plan, self.connections, self.broken = plan, 0, 0

    async def half_close(self, *, answered: bool = False) -> int:
        """Sends the server an end of file on every open connection, and returns the number of connections.
        `answered`: only on those where the server has sent something (a request that ends in its middle is
        the client's own fault).
        """
        streams = list(self._answered & self._open if answered else self._open)
        for stream in streams:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with self._sending[stream]:
                    await stream.send_eof()
        return len(streams)

    async def carry(self, client: trio.SocketStream) -> None:
        planned = self._plan(self.connections)
        self.connections += 1
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._server)
        except OSError:  # the server is down: the client's connection is closed
            await trio.aclose_forcefully(client)
            return
        async with client, server, trio.open_nursery() as nursery:
            up = planned if planned and planned.upwards else None
            down = planned if planned and not planned.upwards else None
            nursery.start_soon(self._pump, client, server, up, nursery.cancel_scope)
            nursery.start_soon(self._pump, server, client, down, nursery.cancel_scope)
            self._open.add(server)
            try:
                await trio.sleep_forever()
            finally:
                self._open.discard(server)
                self._answered.discard(server)
                self._sending.pop(server, None)

    async def _pump(
        self,
        source: trio.SocketStream,
        target: trio.SocketStream,
        planned: Break | None,
        both: trio.CancelScope,
    ) -> None:
        left = planned.after if planned else inf
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                if planned and left <= 0:
                    self.broken += 1
                    if planned.kind == "drop":
                        break
                    if not planned.upwards:
                        await trio.sleep_forever()
                    while await source.receive_some(CHUNK):  # discarded, until the client disconnects
                        pass
                    break
                data = await source.receive_some(int(min(left, CHUNK)))
                if not data:
                    break
                left -= len(data)
                if source in self._open:
                    self._answered.add(source)
                async with self._sending[target]:
                    await target.send_all(data)
        both.cancel()


@asynccontextmanager
async def network(server: int) -> AsyncIterator[Network]:
    """A relay to the server at port `server` of this machine."""
    between = Network(server)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, between.carry, 0, host="127.0.0.1"))
        between.port = listeners[0].socket.getsockname()[1]
        yield between
        nursery.cancel_scope.cancel()
