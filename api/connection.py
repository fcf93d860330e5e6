"""One TCP connection: hypercorn's HTTP/1.1 and WebSocket protocols on a loop of our own.

Hypercorn's own connection lets one client hurt all others: an exception ends the whole server, a client
that does not read blocks it for ever, an idle connection is never closed, and a refused upload is reset
before its sender reads why. Here a connection ends alone, by itself and within bounded time.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any

import h11
import msgspec
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11WSConnection
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from api.errors import body_of
from api.wsstream import PiecewiseProtocol
from pinactors.protocol import ErrorCode, PinactorsError

RECEIVE = 64 * 1024
"""Bytes read from the socket at once."""

INBOX = 4
"""Events of `RECEIVE` bytes that wait for the application before TCP slows the sender down."""

PIECE = 64 * 1024
"""Bytes of one write that has to be done within the stalled reader's time."""

LINGER_SECONDS = 5.0
"""How long a client that is still sending gets to read an early answer before the connection is closed on
it."""

LINGER_BYTES = 1 << 20
"""How much of what it sends is read and thrown away meanwhile."""

log = structlog.get_logger(__name__)


class ProtocolRefused(Exception):
    """The client speaks what this server does not; it has been told so."""


class Inbox:
    """What the client sent, for one application call: bounded, but for the disconnect, which never waits."""

    def __init__(self) -> None:
        self._messages: deque[Any] = deque()
        self._last: Any = None
        self._closed = False
        self._changed = trio.lowlevel.ParkingLot()

    async def put(self, message: Any) -> None:
        if message["type"].endswith(".disconnect"):
            self._last = message
        else:
            while len(self._messages) >= INBOX and self._last is None and not self._closed:
                await self._changed.park()
            self._messages.append(message)
        self._changed.unpark_all()

    async def get(self) -> Any:
        while not self._messages and self._last is None:
            await self._changed.park()
        message = self._messages.popleft() if self._messages else self._last
        self._changed.unpark_all()
        return message

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._messages.clear()
        self._changed.unpark_all()


class Tasks:
    """Hypercorn's task group: the application's calls of one connection. An exception ends its own call only.

    `wanted` is called whenever the application asks for more of the request; once `over`, what it sends is
    dropped.
    """

    def __init__(
        self, nursery: trio.Nursery, wanted: Callable[[], Awaitable[None]], over: Callable[[], bool]
    ) -> None:
        self._nursery = nursery
        self._wanted, self._over = wanted, over

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Any
    ) -> Callable[[Any], Awaitable[None]]:
        inbox = Inbox()
        self._nursery.start_soon(self._call, app, scope, inbox, send)
        return inbox.put

    def spawn(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self._nursery.start_soon(function, *arguments)

    async def _call(self, app: Any, scope: Any, inbox: Inbox, send: Any) -> None:
        async def receive() -> Any:
            await self._wanted()
            return await inbox.get()

        async def send_on(message: Any) -> None:
            if self._over():
                await trio.lowlevel.checkpoint()
            else:
                await send(message)

        try:
            await app(scope, receive, send_on)
        except* Exception as group:
            # The application's last boundary: the connection ends without the end of its answer, others go
            # on.
            log.error(
                "request crashed", path=scope["raw_path"].decode("ascii", "replace")[:200], exc_info=group
            )
        finally:
            inbox.close()
        await send_on(None)


class PatientParser(h11.Connection):
    """A client that asks before it sends a body (`Expect: 100-continue`) is answered when somebody wants the
    body, not when its head is read: a refusal then costs it nothing."""

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return False

    @property
    def asked(self) -> bool:
        return super().they_are_waiting_for_100_continue


class Protocol(PiecewiseProtocol):
    """HTTP/1.1 and WebSocket, never HTTP/2: there a refused upload and a client that stops reading are both
    dangerous (PRI and h2c are refused or ignored, and without TLS there is no ALPN to offer it)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = PatientParser(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )

    async def invite(self) -> None:
        """The body is wanted."""
        if isinstance(self.connection, PatientParser) and self.connection.asked:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    @property
    def said_all(self) -> bool:
        """Whether nothing may be sent any more: Hypercorn leaves a refused handshake open."""
        parser = self.connection
        if isinstance(parser, H11WSConnection):
            parser = parser.h11_connection
        return parser.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            await self._send_error_response(505)
            await self.send(Closed())
            raise ProtocolRefused

    async def _send_error_response(self, status_code: int) -> None:
        """What cannot be parsed is refused in the shape of every other refusal."""
        code = ErrorCode.TOO_LARGE if status_code in (413, 414, 431) else ErrorCode.INVALID_FORMAT
        body = msgspec.json.encode(
            body_of(PinactorsError(code, "Malformed request", "This is no valid HTTP/1.1"))
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"access-control-allow-origin", b"*"),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Connection:
    """`run` returns when the connection is over; it raises nothing but cancellation.

    A client that closes its sending side after a complete request still gets its answer. One that is gone is
    noticed by a reset, or by a write that fails.
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
        self._reading = trio.CancelScope()
        self._idle = True
        self._closing = False
        self._over = trio.Event()
        self._tasks: trio.Nursery | None = None
        self._deadline = trio.current_time() + config.keep_alive_timeout

    async def run(self) -> None:
        try:
            await self._serve()
        except* OSError:
            pass  # gone before it could be talked to
        except* Exception as group:
            # The connection's boundary: whatever a client provoked ends with it.
            log.error("connection crashed", exc_info=group)
        finally:
            self._stream.socket.close()
            self._over.set()

    def stop(self) -> None:
        """The server is going: an idle connection is closed, another one after its answer."""
        if self._idle:
            self._finish()
            self._set_deadline(trio.current_time())  # nothing is unread: there is nothing to linger for

    async def wait_said_all(self) -> None:
        """Returns when the last byte for the client is in the kernel's hands, or the connection is over."""
        await self._over.wait()

    def abort(self) -> None:
        """Ends it at once. What the kernel has not sent yet is dropped, unless everything was said."""
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
            tasks: Any = Tasks(nursery, self._invite, lambda: self._closing)
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

    async def _read(self) -> None:
        """Until the client is gone, idle for too long, or answered for the last time."""
        while not self._closing:
            data = await self._receive()
            if data is None or self._closing:
                return
            await self._protocol.handle(RawData(data))
            if not data:
                if not isinstance(self._protocol.connection, H11WSConnection) and not self._idle:
                    await self._over.wait()
                return

    async def _receive(self) -> bytes | None:
        """None when the connection is broken or its time is up."""
        data = None
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        with trio.CancelScope(deadline=self._deadline) as self._reading, gone:
            data = bytes(await self._stream.receive_some(RECEIVE))
        return data

    async def _linger(self) -> None:
        """Our side is closed; closing the other with data unread would reset the client before it has
        read."""
        dropped = 0
        while dropped < LINGER_BYTES:
            data = await self._receive()
            if not data:
                return
            dropped += len(data)
        await trio.sleep_until(self._deadline)

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._finish()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._idle = event.idle
            self._set_deadline(trio.current_time() + self._config.keep_alive_timeout if event.idle else inf)
            if event.idle and self._context.terminated.is_set():
                self._finish()

    async def _write(self, data: bytes) -> None:
        """Shielded, as half a chunk would spoil the connection, but not for longer than a stalled reader
        may take."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                try:
                    for start in range(0, len(data), PIECE):
                        with trio.fail_after(self._stalled_reader):
                            await self._stream.send_all(data[start : start + PIECE])
                    if self._protocol.said_all:
                        self._finish()
                    return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                except trio.TooSlowError:
                    log.info("stalled reader dropped")
            await self._protocol.handle(Closed())
            self.abort()

    def _finish(self) -> None:
        """Closes our side. No checkpoint: it must happen even where the application has just been
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
