"""A relay between client and server that cuts connections after a given number of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf

import trio

CHUNK = 65536


class Relay:
    """A relay on `port`. The n-th connection since `plan` is cut after `cuts[n]` bytes of the answer or
    `asked[n]` bytes of the request; later connections are not cut.

    `carried` and `delivered` count the bytes of requests and of answers that the relay has forwarded.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self.cuts: Sequence[float] = ()
        self.asked: Sequence[float] = ()
        self.connections = 0
        self.delivered = self.carried = 0
        self.port = 0

    def plan(self, *cuts: float, asked: Sequence[float] = ()) -> None:
        self.cuts, self.asked, self.connections = cuts, asked, 0
        self.delivered = self.carried = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _carry(self, client: trio.SocketStream) -> None:
        number = self.connections
        self.connections += 1
        down = self.cuts[number] if number < len(self.cuts) else inf
        up = self.asked[number] if number < len(self.asked) else inf
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._server)
        except OSError:
            await client.aclose()
            return
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, server, up, nursery.cancel_scope, False)
            nursery.start_soon(self._pump, server, client, down, nursery.cancel_scope, True)

    async def _pump(
        self,
        source: trio.SocketStream,
        target: trio.SocketStream,
        left: float,
        both: trio.CancelScope,
        counted: bool,
    ) -> None:
        try:
            while left > 0:
                data = await source.receive_some(int(min(left, CHUNK)))
                if not data:
                    break
                left -= len(data)
                if counted:
                    self.delivered += len(data)
                else:
                    self.carried += len(data)
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        both.cancel()


@asynccontextmanager
async def relaying(server: int) -> AsyncIterator[Relay]:
    """Runs a relay to the port `server` of this machine."""
    relay = Relay(server)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, relay._carry, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        relay.port = listeners[0].socket.getsockname()[1]
        yield relay
        nursery.cancel_scope.cancel()
