"""One TCP connection: Hypercorn's HTTP/1.1 and WebSocket protocols with our own read and write loops.

With Hypercorn's connection class one client can harm all others: an exception ends the whole server
(https://github.com/pgjones/hypercorn/issues/225), a client that does not read blocks the server for ever, an
idle connection is never closed, and the connection of a refused upload is reset before its sender can read
the refusal. Here each connection ends without effect on the others and within bounded time.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11WSConnection
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from pinactors.api.http.calls import Calls
from pinactors.api.http.http1 import Protocol, ProtocolRefused

RECEIVE_BYTES = 64 * 1024
"""Bytes read from the socket at once."""

SMALL_READ_PAUSE_SECONDS = 0.02
"""Seconds between reads of a large body that arrives in small pieces. A cellular link delivers one network
packet at a time, and reading 2.7 MB packet by packet took three times the CPU."""

PIECE_BYTES = 64 * 1024
"""Bytes of one write, which has to be finished within the setting `stalled_reader`."""

LINGER_SECONDS = 5.0
"""How long a client that is still sending has to read an early answer before its connection is closed."""

LINGER_BYTES = 1 << 20
"""Most bytes of such a client that are read and discarded during that time."""

log = structlog.get_logger(__name__)


class ServerConnection:
    """One connection. `run` returns when it is over, and raises nothing but cancellation.

    A client that closes its sending side after a complete request still receives its answer. A client that
    has disconnected is noticed by a reset or a failed write.
    """

    def __init__(
        self,
        app: Any,
        config: Config,
        context: WorkerContext,
        stalled_reader: float,
        stream: trio.SocketStream,
    ) -> None:
        self._app, self._config, self._context = app, config, context
        self._stalled_reader = stalled_reader
        self._stream = stream
        self._writing = trio.Lock()
        self._gathered: list[bytes] | None = None
        self._reading = trio.CancelScope()
        self._waited = 0.0
        self._idle = True
        self._closing = False
        self._over = trio.Event()
        self._tasks: trio.Nursery | None = None
        self._deadline = trio.current_time() + config.keep_alive_timeout

    async def run(self) -> None:
        try:
            await self._serve()
        except* OSError:
            pass  # the client disconnected before the first read
        except* Exception as group:
            # An error that a client causes must end its own connection only.
            log.error("connection crashed", exc_info=group)
        finally:
            self._stream.socket.close()
            self._over.set()
            # The protocol refers back to the connection: together they would keep all that belongs to its
            # requests until a garbage collection.
            self._tasks = None
            vars(self).pop("_protocol", None)

    def stop(self) -> None:
        """For shutdown: closes the connection now if it is idle, otherwise after its answer."""
        if self._idle:
            self._finish()
            self._set_deadline(trio.current_time())  # no unread data, so no need to linger

    async def wait_all_sent(self) -> None:
        """Returns once the kernel has the last byte for the client, or the connection is over."""
        await self._over.wait()

    def abort(self) -> None:
        """Closes the connection at once. Drops data that the kernel has not sent yet, unless the answer is
        complete."""
        if not self._closing:
            with suppress(OSError):
                self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _serve(self) -> None:
        sock = self._stream.socket
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        async with trio.open_nursery() as nursery:
            self._tasks = nursery
            tasks: Any = Calls(
                nursery,
                self._invite,
                lambda: self._waited,
                self._together,
                lambda: self._closing,
                self._inform,
            )
            state = ConnectionState({})
            self._protocol = Protocol(
                self._app, self._config, self._context, tasks, state, False, client, server, self._send
            )
            with suppress(ProtocolRefused):
                await self._read()
            if self._closing:
                await self._linger()
            else:
                await self._protocol.handle(Closed())
            nursery.cancel_scope.cancel()

    async def _invite(self) -> None:
        await self._protocol.invite()

    async def _inform(self, status: int, headers: Mapping[str, str]) -> None:
        await self._protocol.inform(status, headers)

    async def _read(self) -> None:
        """Reads until the client disconnects, is idle for too long, or has received its last answer."""
        received = 0
        while not self._closing:
            data = await self._receive()
            if data is None or self._closing:
                return
            await self._protocol.handle(RawData(data))
            if not data:
                if not isinstance(self._protocol.connection, H11WSConnection) and not self._idle:
                    await self._over.wait()
                return
            received = 0 if self._idle else received + len(data)
            if received > RECEIVE_BYTES > 2 * len(data):
                await trio.sleep(SMALL_READ_PAUSE_SECONDS)
                self._waited += SMALL_READ_PAUSE_SECONDS

    async def _receive(self) -> bytes | None:
        """Reads from the socket; None if the connection is broken or its deadline has passed. Counts the time
        that it waits for the client, that is, if nothing has arrived yet."""
        data = None
        begun = trio.current_time() if not _has_data(self._stream.socket) else inf
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.CancelScope(deadline=self._deadline) as self._reading, gone:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        self._waited += max(0.0, trio.current_time() - begun)
        return data

    async def _linger(self) -> None:
        """Reads and discards data after our side was closed: closing the socket with unread data would send a
        reset before the client has read the answer."""
        dropped = 0
        while dropped < LINGER_BYTES:
            data = await self._receive()
            if not data:
                return
            dropped += len(data)
        await trio.sleep_until(self._deadline)

    async def _together(self, steps: Iterable[Awaitable[None]]) -> None:
        """Runs `steps` and sends their data in one write."""
        self._gathered = []
        try:
            for step in steps:
                await step
            await self._flush()
        finally:
            self._gathered = None

    async def _flush(self) -> None:
        while self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            await self._write(data)

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if self._gathered is None:
                await self._write(event.data)
            elif event.data:
                self._gathered.append(event.data)
            return
        await self._flush()
        if isinstance(event, Closed):
            self._finish()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._idle = event.idle
            self._set_deadline(trio.current_time() + self._config.keep_alive_timeout if event.idle else inf)
            if event.idle and self._context.terminated.is_set():
                self._finish()

    async def _write(self, data: bytes) -> None:
        """Writes `data`, shielded from cancellation, because a partial chunk would corrupt the answer, but
        within the setting `stalled_reader` per piece.

        Data that the kernel accepts at once is written without a cancel scope and without a checkpoint.
        """
        try:
            if not self._writing.locked():
                data = self._offer(data)
            if data:
                await self._write_slowly(data)
            if self._protocol.sending_ended:
                self._finish()
            return
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except trio.TooSlowError:
            log.info("stalled reader dropped")
        with trio.CancelScope(shield=True):
            await self._protocol.handle(Closed())
        self.abort()

    def _offer(self, data: bytes) -> bytes:
        """Writes as much of `data` as the kernel accepts now; returns the rest. Raises `OSError`."""
        try:
            return data[os.write(self._stream.socket.fileno(), data) :]
        except BlockingIOError:
            return data

    async def _write_slowly(self, data: bytes) -> None:
        with trio.CancelScope(shield=True):
            async with self._writing:
                for start in range(0, len(data), PIECE_BYTES):
                    with trio.fail_after(self._stalled_reader):
                        await self._stream.send_all(data[start : start + PIECE_BYTES])

    def _finish(self) -> None:
        """Closes our sending side. Has no checkpoint, so that it also runs if the application was just
        cancelled."""
        if self._closing:
            return
        self._closing = True
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_WR)
        self._set_deadline(trio.current_time() + LINGER_SECONDS)
        self._over.set()

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = self._reading.deadline = deadline


def _has_data(sock: trio.socket.SocketType) -> bool:
    """Whether the kernel has received data that was not read yet."""
    descriptor = sock.fileno()
    return descriptor >= 0 and any(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
