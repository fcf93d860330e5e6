"""The actor that follows a session: it receives one session's packets, over as many connections as are
needed.

`Follower.run` returns when it has sent the terminal packet or an exception to its channel. It has no
deadline: the caller uses a cancel scope.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import trio

from pinactors import protocol
from pinactors.backoff import Backoff
from pinactors.client.connecting import Broken, NoServer, NotPinactors, Unreachable
from pinactors.protocol import TERMINAL, UPLOAD_LOST, ErrorCode, Packet, PinactorsError

log = logging.getLogger(__name__)

PAUSES = Backoff(0.25, 8.0)
"""First and longest limit (seconds) of the pauses between attempts. Each pause is random, between half the
limit and the limit, so that clients do not return all at the same time."""

Progress = Callable[[int, int], None]
"""Called with the bytes of an upload that were sent, and the bytes in all."""

MAX_RESTARTS = 3
"""How often an upload is sent again from the start, for example because the server lost its session."""


class NetworkError(ConnectionError):
    """The client received no byte from the server for `unreachable_seconds`, or has never reached it and
    cannot: no host has its name, or it does not speak TLS."""


@dataclass(frozen=True, slots=True)
class Received:
    """A received packet: `raw` is the line without its newline, `fields` the parsed JSON."""

    raw: bytes
    fields: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.fields["packetType"])

    @property
    def terminal(self) -> bool:
        return self.kind in TERMINAL

    def decode(self) -> Packet:
        """The packet as a struct. Raises `msgspec.ValidationError` for a packet type unknown to this
        version."""
        return protocol.decode(self.raw)


class OnPacket(Protocol):
    async def __call__(self, raw: bytes) -> bool:
        """Handles the next packet of a connection; returns False if no further packet is needed."""
        ...


BUSY_PAUSE_SECONDS = 2.0
"""Least pause before an upload is sent again if its session ended with `overloaded`: the `ERROR` packet
contains no pause."""


class Transport(Protocol):
    """A way to communicate with a server. Both methods return when the connection ended normally, and raise
    `Broken` otherwise."""

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        """Sends the photographs and passes the received packets to `on_packet`. Sets `session.complete` when
        all photographs are sent."""
        ...

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        """Reads a session from packet `position` on and passes the packets to `on_packet`."""
        ...


@dataclass(slots=True)
class FollowedSession:
    """The state of a session that is kept between connections. `position` is that of the next packet in the
    session's log, `uploaded` the number of bytes of the upload that the server has confirmed."""

    stream_id: str | None = None
    position: int = 0
    complete: bool = False
    uploaded: int = 0

    def reset(self) -> None:
        """Resets the state because the session has to be started again."""
        self.stream_id, self.position, self.complete = None, 0, False


class Follower:
    """Receives the packets of one session and sends them to `sink`. `can_upload` is False if an existing
    session is followed. After `unreachable_seconds` without a byte from the server it ends with
    `NetworkError`; at once if there is no such server, unless that was `reached` before."""

    def __init__(
        self,
        transport: Transport,
        session: FollowedSession,
        sink: trio.MemorySendChannel[Received | Exception],
        *,
        can_upload: bool,
        unreachable_seconds: float,
        reached: bool = False,
    ) -> None:
        self._transport, self._session, self._sink = transport, session, sink
        self._can_upload, self._unreachable_seconds = can_upload, unreachable_seconds
        self._sent_kinds: set[str] = set()
        self._ended = False
        self._restarts = 0
        self._failures = self._uploaded = 0
        self._active = 0.0
        self._reached, self._warned = reached, False

    def __repr__(self) -> str:
        return f"<Follower {self._session}>"

    def on_activity(self) -> None:
        """Notes that a byte was sent or received, so that the server is reachable."""
        self._active = trio.current_time()
        self._reached = True

    async def run(self) -> None:
        self._active = trio.current_time()
        with self._sink:
            try:
                await self._deliver()
            except (PinactorsError, NotPinactors, NetworkError, OSError) as error:
                await self._sink.send(error)

    async def _deliver(self) -> None:
        while not self._ended:
            try:
                await self._connect()
                error: Exception = Broken("the connection ended before the session did")
            except Broken as broken:
                if isinstance(broken, Unreachable) and not self._reached:
                    self._note_unreachable(broken)
                error = broken
            except PinactorsError as refusal:
                self._raise_unless_retryable(refusal)
                error = refusal
            if not self._ended:
                await self._pause(error)

    def _note_unreachable(self, error: Unreachable) -> None:
        """Warns once that a server which was never reached is still tried. Raises `NetworkError` if there is
        no such server."""
        if isinstance(error, NoServer):
            raise NetworkError(str(error)) from error
        if not self._warned:
            self._warned = True
            log.warning("%s; trying for %g s", error, self._unreachable_seconds)

    async def _connect(self) -> None:
        session = self._session
        if session.stream_id is not None and (session.complete or not self._can_upload):
            await self._transport.follow(session.stream_id, session.position, self._handle_packet)
        else:
            session.reset()
            await self._transport.upload(session, self._handle_packet)

    def _raise_unless_retryable(self, refusal: PinactorsError) -> None:
        """Returns if another attempt may succeed; else raises the refusal."""
        if refusal.code is ErrorCode.OVERLOADED or refusal.status in (429, 503):
            return
        stream_lost = refusal.code is ErrorCode.STREAM_NOT_FOUND and self._session.stream_id is not None
        stalled = refusal.code is ErrorCode.CANCELLED and self._session.stream_id is None
        if not (stream_lost or stalled) or not self._may_restart():
            raise refusal

    def _may_restart(self) -> bool:
        """Whether the upload may be sent again from the start. If so, counts the restart and resets the
        session, so that the next connection uploads."""
        if not self._can_upload or self._restarts >= MAX_RESTARTS:
            return False
        self._restarts += 1
        self._session.reset()
        return True

    async def _pause(self, error: Exception) -> None:
        """Waits before the next attempt, longer after each attempt without progress, and at least the time
        that the server asked for. Raises `NetworkError` if the wait would exceed that limit."""
        if self._session.uploaded > self._uploaded:
            self._failures = 0
        self._uploaded = self._session.uploaded
        limit = PAUSES.after(self._failures)
        wait = random.uniform(limit / 2, limit)
        if isinstance(error, PinactorsError):
            wait = max(wait, error.retry_after or 0.0)
        elif trio.current_time() + wait > self._active + self._unreachable_seconds:
            raise NetworkError(
                f"no connection to the server for {self._unreachable_seconds:g} s: {error}"
            ) from error
        self._failures += 1
        await trio.sleep(wait)

    def _is_upload_lost(self, error: Received) -> bool:
        """Whether a session ended because the upload was not sent completely, or did not arrive
        completely."""
        unsent = error.fields.get("errorCode") == ErrorCode.CANCELLED and not self._session.complete
        return unsent or error.fields.get("message") in UPLOAD_LOST

    async def _handle_packet(self, raw: bytes) -> bool:
        packet = _read(raw)
        session = self._session
        stream_id = packet.fields.get("streamId")
        if self._can_upload and stream_id not in (None, session.stream_id):
            session.stream_id, session.position = (
                stream_id,
                0,
            )  # a new log, or that of an earlier session it joined
        sequence = packet.fields["sequence"]
        if packet.kind == "ERROR" and sequence == 0:
            raise refusal_of(packet.fields)  # a session's first packet is another one: no session was opened
        if sequence < session.position:
            return True
        if sequence > session.position:
            raise Broken(f"packet {session.position} is missing")
        session.position += 1
        self._failures = 0
        if packet.kind == "ERROR" and self._is_upload_lost(packet) and self._may_restart():
            raise Broken("the upload did not arrive completely")
        if packet.fields.get("errorCode") == ErrorCode.OVERLOADED and self._may_restart():
            raise refusal_of(packet.fields, retry_after=BUSY_PAUSE_SECONDS)  # its disk is full
        if packet.kind not in self._sent_kinds:  # after a restart the caller gets no packet a second time
            self._sent_kinds.add(packet.kind)
            await self._sink.send(packet)
        self._ended = packet.terminal
        return not self._ended


def _read(raw: bytes) -> Received:
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        if isinstance(fields["packetType"], str) and isinstance(fields["sequence"], int):
            return Received(raw, fields)
    except (msgspec.DecodeError, KeyError):
        pass
    raise NotPinactors(f"it sent something other than packets: {raw[:80]!r}")


def refusal_of(
    body: dict[str, Any], *, status: int | None = None, retry_after: float | None = None
) -> PinactorsError:
    """The error that a refusal's body or an `ERROR` packet describes."""
    try:
        code = ErrorCode(body.get("errorCode", ""))
    except ValueError:
        code = ErrorCode.PROCESSING_ERROR
    message, detail = str(body.get("message", "Request refused")), str(body.get("error", ""))
    field, view = str(body.get("field", "")), str(body.get("view", ""))
    return PinactorsError(
        code, message, detail, field=field, view=view, status=status, retry_after=retry_after
    )
