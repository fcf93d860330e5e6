"""The network between phones and a server: connections break after so many bytes, each in its own way."""

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
    """What happens to one connection `after` so many bytes of answer, or of request with `upwards`.

    `drop`: both ends are told that it is over. `stall`: nothing passes any more and nobody is told.
    """

    kind: Kind
    after: int
    upwards: bool = False


def whole(number: int) -> Break | None:
    return None


class Network:
    """`plan` says for the n-th connection from now how it breaks, if at all."""

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
        """Tells the server that the client sends no more, on every connection; with `answered` on those where
        the server has said something (a request that ends in its middle is the client's own fault). How
        many.
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
        except OSError:  # it is down: the client is told so
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
                    while await source.receive_some(CHUNK):  # swallowed: the client is seen to go
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
    """Between phones and the server at `server`, a port of this machine."""
    between = Network(server)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, between.carry, 0, host="127.0.0.1"))
        between.port = listeners[0].socket.getsockname()[1]
        yield between
        nursery.cancel_scope.cancel()
