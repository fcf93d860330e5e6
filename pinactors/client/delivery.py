"""The delivery actor: it brings one session's packets in, whatever happens to the connections underneath.

`Delivery.run` returns when the terminal packet was handed out or the session has failed; the failure
travels on the same channel as the packets. It has no deadline of its own: the caller's cancel scope is one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import trio

from pinactors import protocol
from pinactors.backoff import Backoff
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.protocol import TERMINAL, UPLOAD_LOST, ErrorCode, Packet, PinactorsError

PAUSES = Backoff(0.25, 8.0)
"""Longest pauses between attempts; each is drawn from the upper half: clients do not come all at once."""

Progress = Callable[[int, int], None]
"""Called with the bytes of an upload that are sent, and all of them."""

MOST_RESTARTS = 3
"""How often an upload is sent again after its session was lost by the server."""


class NetworkError(ConnectionError):
    """No byte could be had from the server for as long as the client was patient."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet as it came: `raw` the line itself, without its newline, `fields` its JSON."""

    raw: bytes
    fields: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.fields["packetType"])

    @property
    def terminal(self) -> bool:
        return self.kind in TERMINAL

    def decode(self) -> Packet:
        """The packet as a struct. Raises `msgspec.ValidationError` for a type this version does not know."""
        return protocol.decode(self.raw)


class Take(Protocol):
    async def __call__(self, raw: bytes) -> bool:
        """Takes the next packet off a connection; False: nothing more is wanted."""
        ...


BUSY_PAUSE_SECONDS = 2.0
"""Pause before an upload is sent again that a server began to take and had no room for: its packet names
none."""


class Transport(Protocol):
    """A way to a server. Both return when a connection ended in order, and raise `Broken` when not."""

    async def upload(self, job: Job, take: Take) -> None:
        """Sends the photographs and hands over what comes back. Sets `job.complete` once all are sent."""
        ...

    async def follow(self, stream_id: str, position: int, take: Take) -> None:
        """Reads a session from packet `position` on."""
        ...


@dataclass(slots=True)
class Job:
    """What is known about a session between its connections. `position`: of the next packet in its log;
    `uploaded`: bytes of the upload that the server said it has."""

    stream_id: str | None = None
    position: int = 0
    complete: bool = False
    uploaded: int = 0

    def forget(self) -> None:
        """The server has lost the session: it has to be started again."""
        self.stream_id, self.position, self.complete = None, 0, False


class Delivery:
    """`can_upload` is False when a session that exists already is followed."""

    def __init__(
        self,
        transport: Transport,
        job: Job,
        sink: trio.MemorySendChannel[Received | Exception],
        *,
        can_upload: bool,
        patience: float,
    ) -> None:
        self._transport, self._job, self._sink = transport, job, sink
        self._can_upload, self._patience = can_upload, patience
        self._had: set[str] = set()
        self._ended = False
        self._restarts = 0
        self._failures = self._uploaded = 0
        self._active = 0.0

    def __repr__(self) -> str:
        return f"<Delivery {self._job}>"

    def on_activity(self) -> None:
        """A byte has moved: the server is within reach."""
        self._active = trio.current_time()

    async def run(self) -> None:
        self.on_activity()
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
                error = broken
            except PinactorsError as refusal:
                self._consider(refusal)
                error = refusal
            if not self._ended:
                await self._pause(error)

    async def _connect(self) -> None:
        job = self._job
        if job.stream_id is not None and (job.complete or not self._can_upload):
            await self._transport.follow(job.stream_id, job.position, self._take)
        else:
            job.forget()
            await self._transport.upload(job, self._take)

    def _consider(self, refusal: PinactorsError) -> None:
        """Returns when another try may help; else raises the refusal."""
        if refusal.code is ErrorCode.OVERLOADED or refusal.status in (429, 503):
            return
        lost = refusal.code is ErrorCode.STREAM_NOT_FOUND and self._job.stream_id is not None
        stalled = refusal.code is ErrorCode.CANCELLED and self._job.stream_id is None
        if not (lost or stalled) or not self._may_restart():
            raise refusal

    def _may_restart(self) -> bool:
        """Whether the upload may be sent once more; it counts, and the next connection starts with it."""
        if not self._can_upload or self._restarts >= MOST_RESTARTS:
            return False
        self._restarts += 1
        self._job.forget()
        return True

    async def _pause(self, error: Exception) -> None:
        """Waits longer each time without progress, spread so that clients do not come back at once; as told
        to at least."""
        if self._job.uploaded > self._uploaded:
            self._failures = 0
        self._uploaded = self._job.uploaded
        limit = PAUSES.after(self._failures)
        wait = random.uniform(limit / 2, limit)
        if isinstance(error, PinactorsError):
            wait = max(wait, error.retry_after or 0.0)
        elif trio.current_time() + wait > self._active + self._patience:
            raise NetworkError(f"no connection to the server for {self._patience:g} s: {error}") from error
        self._failures += 1
        await trio.sleep(wait)

    def _is_upload_lost(self, error: Received) -> bool:
        """Whether a session ended because not all was sent, or, though all was, not all arrived."""
        unsent = error.fields.get("errorCode") == ErrorCode.CANCELLED and not self._job.complete
        return unsent or error.fields.get("message") in UPLOAD_LOST

    async def _take(self, raw: bytes) -> bool:
        packet = _read(raw)
        job = self._job
        stream_id = packet.fields.get("streamId")
        if self._can_upload and stream_id not in (None, job.stream_id):
            job.stream_id, job.position = stream_id, 0  # a new log, or the earlier one it was joined to
        sequence = packet.fields["sequence"]
        if packet.kind == "ERROR" and sequence == 0:
            raise refusal_of(packet.fields)  # a session opens with another packet: this is none's
        if sequence < job.position:
            return True
        if sequence > job.position:
            raise Broken(f"packet {job.position} is missing")
        job.position += 1
        self._failures = 0
        if packet.kind == "ERROR" and self._is_upload_lost(packet) and self._may_restart():
            raise Broken("the upload did not arrive whole")
        if packet.fields.get("errorCode") == ErrorCode.OVERLOADED and self._may_restart():
            raise refusal_of(packet.fields, retry_after=BUSY_PAUSE_SECONDS)  # its disk is full
        if packet.kind not in self._had:  # after a restart, what the caller has already is not repeated
            self._had.add(packet.kind)
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
    raise NotPinactors(f"what it sends are no packets: {raw[:80]!r}")


def refusal_of(
    body: dict[str, Any], *, status: int | None = None, retry_after: float | None = None
) -> PinactorsError:
    """The server's own error out of a failure body or `ERROR` packet."""
    try:
        code = ErrorCode(body.get("errorCode", ""))
    except ValueError:
        code = ErrorCode.PROCESSING_ERROR
    message, detail = str(body.get("message", "Request refused")), str(body.get("error", ""))
    field, view = str(body.get("field", "")), str(body.get("view", ""))
    return PinactorsError(
        code, message, detail, field=field, view=view, status=status, retry_after=retry_after
    )
