"""A simulated cellular link in user space: a TCP relay that forwards bytes when the link would have delivered
them.

It simulates the bytes per delivery opportunity, delay, jitter, silences, lost packets as TCP shows them
(late, in order), a bounded queue that makes the sender wait, and the handshake's round trip. It does not
simulate TCP's slow start (the sender fills the link from the first byte) and header bytes.
"""

from __future__ import annotations

import math
import random
import socket
import struct
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from pinactors.simulation.profiles import PACKET_BYTES, Direction, Profile

READ_SIZE = 8 * PACKET_BYTES
SOCKET_BUFFER = 64 << 10
"""Receive buffer of the relay's sockets in bytes: small, so that bytes wait in the link's queue and not in
the kernel."""


class Shaper:
    """Computes when bytes arrive over one direction of a link: pure arithmetic on the caller's clock.

    Bytes leave in the first opportunities not yet used, at most `PACKET_BYTES` bytes in each; the unused rest
    of an opportunity is lost. Arrival times never decrease, so that the order is kept. Connections may share
    a shaper, which counts the bytes that came from their senders (`offered`) and those forwarded to their
    receivers (`delivered`).
    """

    def __init__(self, direction: Direction, start: float, seed: int = 0) -> None:
        self._direction = direction
        self._start = start
        self._chance = random.Random(seed)
        self._number = -1
        self._time = -math.inf
        self._room = 0
        self._last_arrival = -math.inf
        self._stall_from = self._stall_to = start
        self._next_stall()
        self.offered = self.delivered = 0

    def take(self, now: float, size: int) -> tuple[int, float]:
        """How many of the `size` (1 or more) bytes ready at `now` leave in the next opportunity, and when
        they arrive."""
        if self._room == 0 or self._time < now:
            self._advance(now)
        count = min(size, self._room)
        self._room -= count
        arrival = self._time + self._direction.delay + self._chance.uniform(0, self._direction.jitter)
        self._last_arrival = max(self._last_arrival, arrival)
        return count, self._last_arrival

    def _advance(self, now: float) -> None:
        """Moves to the first opportunity at `now` or later that is unused, not in a silence and not lost."""
        while True:
            self._to_next(now)
            while self._stall_to <= self._time:
                self._next_stall()
            if self._time >= self._stall_from:
                now = self._stall_to
            elif self._direction.loss and self._chance.random() < self._direction.loss:
                # Sent and lost, requested again, sent again: three times the delay. Later packets wait.
                self._last_arrival = max(self._last_arrival, self._time + 3 * self._direction.delay)
            else:
                self._room = PACKET_BYTES
                return

    def _to_next(self, now: float) -> None:
        trace = self._direction.opportunities
        if not trace:
            self._time = max(now, self._time)
            return
        period, elapsed = trace[-1], (now - self._start) * 1000
        laps = max(0, math.floor(elapsed / period))
        number = max(self._number + 1, laps * len(trace) + bisect_left(trace, elapsed - laps * period))
        while self._time_of(number) < now:
            number += 1
        self._number, self._time = number, self._time_of(number)

    def _time_of(self, number: int) -> float:
        trace = self._direction.opportunities
        lap, index = divmod(number, len(trace))
        return self._start + (lap * trace[-1] + trace[index]) / 1000

    def _next_stall(self) -> None:
        if not self._direction.stall_every:
            self._stall_from = self._stall_to = math.inf
            return
        self._stall_from = self._stall_to + self._chance.expovariate(1 / self._direction.stall_every)
        self._stall_to = self._stall_from + self._chance.expovariate(1 / self._direction.stall)


class Link:
    """One phone's link: all its connections share its two directions."""

    def __init__(self, profile: Profile, seed: int = 0) -> None:
        """Starts the link's clock; `seed` determines its jitter, losses and silences."""
        self.profile = profile
        now = trio.current_time()
        self.up = Shaper(profile.up, now, seed)
        self.down = Shaper(profile.down, now, seed + 1)

    async def carry(self, phone: trio.abc.HalfCloseableStream, server: trio.abc.HalfCloseableStream) -> None:
        """Forwards bytes in both directions until both have ended or one is broken; closes both streams.

        The end of one direction is forwarded after its last byte; a broken stream breaks the connection.
        """
        queues = self.profile.up.queue, self.profile.down.queue
        async with phone, server, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, phone, server, self.up, queues[0], nursery.cancel_scope)
            nursery.start_soon(_pump, server, phone, self.down, queues[1], nursery.cancel_scope)


async def _pump(
    source: trio.abc.ReceiveStream,
    sink: trio.abc.HalfCloseableStream,
    shaper: Shaper,
    queue: int,
    connection: trio.CancelScope,
) -> None:
    # At most `queue` packets of PACKET_BYTES, plus one read: by profile 64 kB to 9 MB per direction.
    send, receive = trio.open_memory_channel[tuple[float, bytes]](queue)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_deliver, receive, sink, shaper, connection)
            async with send:
                while data := await source.receive_some(READ_SIZE):
                    shaper.offered += len(data)
                    await _offer(bytes(data), shaper, send)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        connection.cancel()


async def _offer(data: bytes, shaper: Shaper, send: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
    offset = 0
    while offset < len(data):
        count, arrival = shaper.take(trio.current_time(), len(data) - offset)
        await send.send((arrival, data[offset : offset + count]))
        offset += count


def _due(
    receive: trio.MemoryReceiveChannel[tuple[float, bytes]], data: bytes
) -> tuple[bytes, tuple[float, bytes]]:
    """`data` joined with all packets that have arrived by now; and the next packet with its arrival time,
    empty if there is none."""
    pieces, now = [data], trio.current_time()
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            arrival, data = receive.receive_nowait()
            if arrival > now:
                return b"".join(pieces), (arrival, data)
            pieces.append(data)
    return b"".join(pieces), (0.0, b"")


async def _deliver(
    receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
    sink: trio.abc.HalfCloseableStream,
    shaper: Shaper,
    connection: trio.CancelScope,
) -> None:
    try:
        async with receive:
            async for arrival, data in receive:
                while data:
                    await trio.sleep_until(arrival)
                    due, (arrival, data) = _due(receive, data)
                    await sink.send_all(due)
                    shaper.delivered += len(due)
            await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        connection.cancel()


@dataclass
class Relay:
    """A listening relay on `port` of 127.0.0.1. `connections` counts all accepted connections, `offered` the
    bytes received from phones, `delivered` the bytes forwarded to the server: the difference was on the link
    when it broke."""

    port: int
    link: Link
    connections: int = 0
    _open: set[tuple[trio.CancelScope, trio.SocketStream]] = field(default_factory=set)

    @property
    def offered(self) -> int:
        return self.link.up.offered

    @property
    def delivered(self) -> int:
        return self.link.up.delivered

    def disconnect_all(self) -> None:
        """Resets every open connection, like a phone that lost its network."""
        for scope, stream in self._open:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            scope.cancel()


async def relay(
    profile: Profile,
    host: str,
    port: int,
    *,
    seed: int = 0,
    task_status: trio.TaskStatus[Relay] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on a free local port and forwards connections over one link to `host`:`port`, until cancelled.

    Start it with `nursery.start`, which returns the `Relay`. If the server is not reachable, the connection
    is reset.
    """
    link = Link(profile, seed)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    state = Relay(listeners[0].socket.getsockname()[1], link)

    async def handle(phone: trio.SocketStream) -> None:
        state.connections += 1
        with trio.CancelScope() as scope:
            connection = (scope, phone)
            state._open.add(connection)
            try:
                await trio.sleep(profile.round_trip)
                server = await trio.open_tcp_stream(host, port)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
                await link.carry(phone, server)
            except OSError:
                phone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            finally:
                state._open.discard(connection)

    task_status.started(state)  # the socket already listens
    await trio.serve_listeners(handle, listeners)
