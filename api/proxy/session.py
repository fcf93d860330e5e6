"""One session at the proxy: from an upload on its way in to a log that ends, whatever happens to masters."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import trio

from pinactors.api.errors import status_of
from pinactors.api.health import Checks
from pinactors.api.proxy import upstream
from pinactors.api.proxy.journal import Kept, Relayed
from pinactors.api.proxy.masters import Master, Masters
from pinactors.api.proxy.metrics import Metrics
from pinactors.api.proxy.outlet import Outlet, RelayedLog
from pinactors.api.proxy.packets import OPENING, Line, read
from pinactors.api.proxy.refusals import ABANDONED, LATE, LOST, NO_MASTER, UNREADABLE
from pinactors.api.proxy.spool import Spool
from pinactors.api.proxy.upstream import Head
from pinactors.client.http import Broken, NotPinactors, Unreachable
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import (
    ConnectionEstablished,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    new_session_id,
    new_stream_id,
)
from pinactors.protocol.merge import kind_of
from pinactors.settings import Settings

RESUMES = 3
"""Connections in a row to one master that may break before a packet has come."""

ROUNDS = 2
"""How often all masters are tried for an upload that none of them takes, or while each of them misbehaves.
"""

PAUSE_FIRST, PAUSE_LIMIT = 0.1, 2.0
"""Seconds between attempts when there is no other master to go to."""

RECORD_GRACE = 2.0
"""Seconds beyond the deadline for a master that keeps to the protocol to store its record."""

_root = structlog.get_logger(__name__)


@dataclass(slots=True)
class Place:
    """Where the session is: at a master, under the id it has there. `taken` packets of that log are known.

    `whole`: it has the upload; what breaks before can only begin again.
    """

    master: Master
    stream_id: str | None = None
    taken: int = 0
    breaks: int = 0
    whole: bool = True


class Others(Protocol):
    """What a session has to know of the others."""

    def claim(self, session: RelayedSession, master: Master, stream_id: str) -> RelayedSession | None:
        """`session` relays this stream of `master` from now on; another one that does so already, instead.

        Raises `NotPinactors` for a name that belongs to a stream of another master.
        """
        ...

    def register(self, session: RelayedSession) -> None:
        """`session` has its log now."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyServices:
    masters: Masters
    settings: Settings
    metrics: Metrics
    folder: Path
    disk: trio.CapacityLimiter
    checks: Checks = field(default_factory=Checks)


class RelayedSession:
    """`run` returns when the log is closed, or the upload was refused or joined to another session.

    `spool` is None where there is nothing to start again from.
    """

    def __init__(
        self,
        services: ProxyServices,
        others: Others,
        head: Head,
        owner: str,
        route: str,
        spool: Spool | None,
        *,
        place: Place | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.owner, self.head = owner, head
        self.place = place
        self._services, self._others = services, others
        self._route, self._spool = route, spool
        self._outlet: Outlet | None = None
        self._avoided: set[Master] = set()
        self._rounds = 0
        self._pause = 0.0
        self._refusal: PinactorsError | None = None
        self._bad = 0
        self._error: PinactorsError | None = None
        self._answer: PacketLog | PinactorsError | None = None
        self._answered = trio.Event()
        self._scope = trio.CancelScope()
        self._due = trio.CancelScope()
        self._time = services.settings.deadline
        self._uploaded_at = math.inf
        self._log = _root.bind(session=head.session_id)
        if kept is not None:
            self._take_up(kept)

    @property
    def log(self) -> RelayedLog | None:
        return self._outlet.log if self._outlet is not None else None

    def __repr__(self) -> str:
        return f"<RelayedSession {self.log or self.head.session_id}>"

    async def answer(self) -> PacketLog:
        """The log the upload is answered from. Raises `PinactorsError` when it is refused."""
        await self._answered.wait()
        if isinstance(self._answer, PinactorsError):
            raise self._answer
        assert self._answer is not None
        return self._answer

    async def wait_answered(self) -> None:
        await self._answered.wait()

    @property
    def spool_name(self) -> str:
        """Its file's name without suffix, empty without one."""
        return self._spool.path.stem if self._spool is not None else ""

    async def run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._clock, name="clock")
                    await self._deliver()
                    nursery.cancel_scope.cancel()
            self._end(self._error or self._refusal or LATE)
        finally:
            if self._outlet is not None:
                self._outlet.release()
            if self._spool is not None:
                self._spool.close()
        if self._spool is not None:
            await self._spool.remove()
        if self._error is not None and self._error.code is ErrorCode.CANCELLED:
            await self._cancel_upstream()

    def fail(self, error: PinactorsError) -> None:
        """Ends the session: its log with `ERROR`, or the upload with a refusal. The first word counts."""
        if self._error is None and not self._done:
            self._error = error
            self._scope.cancel()

    def crash(self) -> None:
        """The same for what nobody foresaw, once `run` has raised."""
        with suppress(OSError):
            self._end(LOST)

    @property
    def _done(self) -> bool:
        if self.log is not None:
            return self.log.closed
        return self._answered.is_set()

    # The clock

    async def _clock(self) -> None:
        """Begins when the upload is in: a sign of life if no master gives one, and the deadline."""
        settings = self._services.settings
        if self._spool is not None:
            await self._spool.wait_complete()
        self._uploaded_at = trio.current_time()
        self._hasten()
        if self._spool is not None and self._outlet is not None:
            self._outlet.uploaded(self._spool.path.name, time.time() + self._remaining())
        with trio.move_on_after(settings.keepalive):
            await self._answered.wait()
        if not self._answered.is_set() and self._spool is not None:
            self._open_alone()
        with self._due:
            await trio.sleep_forever()
        if self._at_work:
            await trio.sleep(RECORD_GRACE)
        self._scope.cancel()

    @property
    def _at_work(self) -> bool:
        """Whether the present master has begun, and has not failed since."""
        return self.place is not None and self.place.taken > 1 and not self.place.breaks

    def _hasten(self) -> None:
        """The deadline is as early as anything we know says."""
        self._due.deadline = min(self._due.deadline, self._uploaded_at + self._time)

    def _remaining(self) -> float:
        return self._due.deadline - trio.current_time()

    # Delivery

    async def _deliver(self) -> None:
        while not self._done and self._error is None:
            if self._pause:
                await trio.sleep(self._pause)
                self._pause = 0.0
            if self.place is None and not self._choose():
                return
            assert self.place is not None
            place = self.place
            place.master.sessions += 1
            try:
                await self._converse(place)
                if not self._done:
                    raise Broken("the stream ended before its session")
                self._services.masters.succeeded(place.master)
            except PinactorsError as refusal:
                self._consider(place, refusal)
            except (Broken, NotPinactors) as failure:
                self._fail_over(place, failure)
            except OSError as error:
                self._log.error("upload not readable", error=str(error))
                self._end(UNREADABLE)
            finally:
                place.master.sessions -= 1

    async def _converse(self, place: Place) -> None:
        settings = self._services.settings
        if place.stream_id is not None:
            await upstream.follow(
                place.master,
                place.stream_id,
                place.taken,
                self.head.token,
                settings.proxy_silence,
                self._take,
            )
        else:
            assert self._spool is not None
            sending = upstream.Sending(self._spool)
            try:
                await upstream.upload(
                    place.master, self.head, sending, self._remaining(), self._services.settings, self._take
                )
            finally:
                place.whole = sending.ended
                if self._outlet is not None:  # the phone is not refused any more, so its clock has to begin
                    self._spool.leave()

    def _choose(self) -> bool:
        """The next master in the session's order; False when the session is over because there is none."""
        order = self._services.masters.order(self._route)
        for master in order:
            if master not in self._avoided:
                self.place = Place(master)
                return True
        self._rounds += 1
        self._avoided.clear()
        if self._bad >= ROUNDS * len(order):
            self._open_alone()
            self._end(self._refusal or LOST)
            return False
        if self.log is None and (self._rounds >= ROUNDS or self._refusal is not None):
            self._refuse(self._refusal or NO_MASTER)
            return False
        self._pause = min(PAUSE_LIMIT, PAUSE_FIRST * 2**self._rounds)
        self.place = Place(order[0])
        return True

    def _consider(self, place: Place, refusal: PinactorsError) -> None:
        """A master says no: the phone hears of it, unless another one may say yes or something was sent."""
        lost = place.stream_id is not None and refusal.code is ErrorCode.STREAM_NOT_FOUND
        if lost and self._spool is not None:
            self._leave(place, "lost")
            self._avoided.discard(place.master)
            return
        if self._spool is None:
            self.fail(refusal)
        elif status_of(refusal) < 500 and (self.log is None or len(self.log.packets) == 1):
            self._end(refusal)
        else:
            self._refusal = refusal
            self._bad += status_of(refusal) < 500
            self._leave(place, "refused")

    def _fail_over(self, place: Place, failure: Broken | NotPinactors) -> None:
        masters, metrics = self._services.masters, self._services.metrics
        self._log.info("master failed", master=place.master.name, reason=str(failure))
        unreachable = isinstance(failure, Unreachable)
        if unreachable:
            masters.unreachable(place.master)
        else:
            masters.failed(place.master, failure)
            self._bad += isinstance(failure, NotPinactors)
        if place.stream_id is not None and place.whole:
            alone = self._spool is None or not masters.others_available(place.master)
            waits = unreachable and alone
            again = isinstance(failure, Broken) and not unreachable and (alone or place.breaks < RESUMES)
            if waits or again:
                place.breaks += 1
                self._pause = min(PAUSE_LIMIT, PAUSE_FIRST * 2**place.breaks) if place.breaks > 1 else 0.0
                metrics.resumes.labels(place.master.name).inc()
                return
        self._leave(place, "unreachable" if unreachable else "failed")
        if self._spool is None:
            self.fail(LOST)

    def _leave(self, place: Place, reason: str) -> None:
        self._avoided.add(place.master)
        self._services.metrics.failovers.labels(place.master.name, reason).inc()
        self.place = None

    # Packets

    def _take(self, raw: bytes) -> bool:
        """A packet from where the session is now. False: nothing more is wanted from there."""
        place = self.place
        assert place is not None
        line = read(raw)
        if line.sequence < place.taken:
            return True
        if line.sequence > place.taken:
            raise Broken(f"packet {place.taken} is missing")
        if line.upload_lost and self._spool is not None:
            place.whole = False
            raise Broken("the upload did not arrive whole")
        if place.stream_id is None:
            self._arrive(place, line)
            if self._answered.is_set() and self._answer is not self.log:
                return False
        place.taken += 1
        place.breaks = 0
        outlet = self._outlet or self._open(line)
        outlet.take(raw, line)
        self._told(outlet)
        return not outlet.log.closed

    def _told(self, outlet: Outlet) -> None:
        """The phone has something."""
        if not self._answered.is_set():
            self._settle(outlet.log)
        if outlet.log.closed:
            self._services.metrics.sessions.labels(kind_of(outlet.log.packets[-1]).lower()).inc()

    def _arrive(self, place: Place, line: Line) -> None:
        """The first packet of a new conversation names the stream: perhaps one that is relayed already."""
        if line.packet_type != OPENING or line.stream_id is None:
            raise NotPinactors("its stream does not begin with its name")
        other = self._others.claim(self, place.master, line.stream_id)
        if other is not None and other.log is not None and self.log is None:
            self._services.metrics.joined.inc()
            self._settle(other.log)
            return
        place.stream_id = line.stream_id
        if self._outlet is not None:
            self._outlet.moved(place.master.url, line.stream_id)

    def _open(self, line: Line) -> Outlet:
        """The master answered in time: the phone's stream bears the master's name."""
        assert line.stream_id is not None
        if line.deadline_ms is not None and self._spool is not None:
            self._time = min(self._time, line.deadline_ms / 1000)
            self._hasten()
        return self._begin(line.stream_id, line.session_id)

    def _open_alone(self) -> None:
        """Nobody did: the phone gets its sign of life from here, and a name made here."""
        if self._outlet is not None or self._answered.is_set():
            return
        settings = self._services.settings
        stream_id = new_stream_id()
        outlet = self._begin(stream_id, self.head.session_id or new_session_id())
        deadline_ms = round(1000 * settings.deadline)
        outlet.write(ConnectionEstablished(message="Connected", stream_id=stream_id, deadline_ms=deadline_ms))
        self._told(outlet)

    def _begin(self, stream_id: str, session_id: str) -> Outlet:
        self._log = _root.bind(session=session_id, stream=stream_id[:8])
        relayed = Relayed(
            stream_id,
            session_id,
            self.owner,
            time.time() + min(self._remaining(), self._services.settings.deadline),
            self._spool.path.name if self._spool is not None and self._spool.complete else None,
            self.head.content_type,
            self.head.idempotency_key,
        )
        outlet = self._outlet = Outlet.create(self._services.folder, relayed, self._journal_failed)
        if self.place is not None and self.place.stream_id is not None:
            outlet.moved(self.place.master.url, self.place.stream_id)
        self._heed_readers(outlet.log)
        self._others.register(self)
        return outlet

    def _take_up(self, kept: Kept) -> None:
        """Goes on where another process was."""
        outlet = self._outlet = Outlet.reopen(self._services.folder, kept, self._journal_failed)
        left = max(kept.relayed.ends_at - time.time(), self._services.settings.proxy_silence)
        self._due.deadline = trio.current_time() + left
        self._heed_readers(outlet.log)
        self._settle(outlet.log)

    def _heed_readers(self, log: PacketLog) -> None:
        """Where the policy is that a session ends when its last reader leaves."""
        if self._services.settings.disconnect == "cancel":
            log.on_abandoned(partial(self.fail, ABANDONED))

    # The end

    def _settle(self, answer: PacketLog | PinactorsError) -> None:
        self._answer = answer
        self._answered.set()

    def _refuse(self, error: PinactorsError) -> None:
        if not self._answered.is_set():
            self._services.metrics.refused.labels(str(status_of(error))).inc()
            self._settle(error)

    def _end(self, error: PinactorsError) -> None:
        """Whatever is still open ends with `error`; nothing happens where all is said."""
        outlet = self._outlet
        if outlet is None:
            self._refuse(error)
        elif not outlet.log.closed:
            outlet.write(ErrorPacket.of(error))
            self._told(outlet)

    async def _cancel_upstream(self) -> None:
        place = self.place
        if place is None or place.stream_id is None:
            return
        try:
            await upstream.cancel(place.master, place.stream_id, self.head.token)
        except (Broken, NotPinactors, PinactorsError) as error:
            self._log.info("not cancelled at the master", master=place.master.name, reason=str(error))

    def _journal_failed(self, error: OSError) -> None:
        self._services.metrics.journal_failures.inc()
        self._log.error("session goes on without journal", error=repr(error))
