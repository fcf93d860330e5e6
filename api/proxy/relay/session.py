"""One session at the proxy: relays an upload to masters and fills the phone's log until it ends."""

from __future__ import annotations

import time
from dataclasses import replace

import structlog
import trio

from pinactors.api.proxy.masters import requests
from pinactors.api.proxy.masters.packets import OPENING, MasterPacket, read
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.relay.deadline import RelayDeadline
from pinactors.api.proxy.relay.failover import Failover, Upstream
from pinactors.api.proxy.relay.journal import Moved, Relayed, StoredSession, Uploaded
from pinactors.api.proxy.relay.outlet import Outlet, RelayedLog
from pinactors.api.proxy.relay.phone_side import PhoneSide
from pinactors.api.proxy.relay.refusals import out_of_time, session_lost, unreadable
from pinactors.api.proxy.relay.services import HOP, ProxyServices, SessionDirectory
from pinactors.api.proxy.relay.session_ids import session_id_of
from pinactors.api.proxy.relay.spool import Spool
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.protocol import (
    ConnectionEstablished,
    ErrorCode,
    PinactorsError,
    cancelled,
    new_stream_id,
)
from pinactors.storage.logs.packet_logs import StoredLog
from pinactors.tracing import Span, SpanKind, ids

RECORD_GRACE_SECONDS = 2.0
"""Time beyond the deadline for a master that works properly, so that it can store its record."""

_root = structlog.get_logger(__name__)


class RelayedSession:
    """One session. `run` returns when the log is closed, or the upload was refused or has joined another
    session.

    `spool` is None if the proxy does not have the upload, so that the session cannot be started again; its
    time limit then counts from what its master sent last. `kept` is the session read from a journal of
    another process, with that journal.
    """

    def __init__(
        self,
        services: ProxyServices,
        directory: SessionDirectory,
        head: Head,
        owner: str,
        route: str,
        spool: Spool | None,
        *,
        upstream: Upstream | None = None,
        kept: tuple[StoredSession, StoredLog] | None = None,
    ) -> None:
        self.owner, self.head, self.spool = owner, head, spool
        self._services, self._directory = services, directory
        self._failover = Failover(services, route, upstream, can_restart=spool is not None)
        self._error: PinactorsError | None = None
        self.phone = PhoneSide(services.metrics)
        self._scope = trio.CancelScope()
        self._deadline = RelayDeadline(services.settings.deadline)
        self._ids = ids(head.span.correlation)
        self._log = _root.bind(session=head.session_id, **self._ids)
        if kept is not None:
            self._restore(*kept)

    def __repr__(self) -> str:
        return f"<RelayedSession {self.log or self.head.session_id}>"

    @property
    def log(self) -> RelayedLog | None:
        """The phone's log; None before the session is open."""
        return self.phone.log

    @property
    def upstream(self) -> Upstream | None:
        """The session's current master, None if there is none."""
        return self._failover.upstream

    async def run(self) -> None:
        """Runs the clock and the delivery; then closes the log and removes the upload's file."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._clock, name="clock")
                    await self._deliver()
                    nursery.cancel_scope.cancel()
            await self.phone.end(self._error or self._failover.refusal or out_of_time())
        finally:
            if self.phone.outlet is not None:
                await self.phone.outlet.release()  # noqa: ASYNC102 - shields itself, bounded by one disk operation
            if self.spool is not None:
                await self.spool.close()  # noqa: ASYNC102 - as above
        if self.spool is not None:
            await self.spool.remove()
        if self._error is not None and self._error.code is ErrorCode.CANCELLED:
            await self._cancel_upstream()

    def fail(self, error: PinactorsError) -> None:
        """Ends the session with `error`: an `ERROR` packet in its log, or a refusal of the upload. Later
        errors are ignored."""
        if self._error is None and not self.phone.done:
            self._error = error
            self._scope.cancel()

    async def crash(self) -> None:
        """Ends the session after `run` has raised an unexpected exception."""
        await self.phone.end(session_lost())

    # The clock

    async def _clock(self) -> None:
        """Waits until the upload is in. Then opens the session without a master if none answers within the
        keep-alive interval, and cancels the session at its deadline."""
        settings = self._services.settings
        if self.spool is not None:
            await self.spool.wait_complete()
        self._deadline.upload_ended()
        if self.spool is not None and self.phone.outlet is not None:
            self.phone.outlet.note(Uploaded(self.spool.path.name, time.time() + self._deadline.remaining))
            await self.phone.outlet.flush()
        with trio.move_on_after(settings.keepalive):
            await self.phone.wait_answered()
        if not self.phone.answered and self.spool is not None:
            await self._open_without_master()
        with self._deadline.scope:
            await trio.sleep_forever()
        if self.upstream is not None and self.upstream.working:
            await trio.sleep(RECORD_GRACE_SECONDS)
        self._scope.cancel()

    # Delivery

    async def _deliver(self) -> None:
        """Uses one master after another until the log is closed or the session has failed."""
        failover = self._failover
        while not self.phone.done and self._error is None:
            if failover.pause:
                await trio.sleep(failover.pause)
                failover.pause = 0.0
            if failover.upstream is None and (error := failover.choose(answered=self.log is not None)):
                if failover.misbehaved:
                    await self._open_without_master()
                self.fail(error)
                return
            upstream = failover.upstream
            assert upstream is not None
            upstream.master.sessions += 1
            ended: PinactorsError | None = None
            try:
                with self.head.span.child(HOP, SpanKind.CLIENT, master=upstream.master.name) as hop:
                    await self._converse(upstream, hop)
                if not self.phone.done:
                    raise Broken("the stream ended before its session")
                self._services.masters.succeeded(upstream.master)
            except PinactorsError as refusal:
                ended = failover.refused(upstream, refusal, self.phone.packets)
            except (Broken, NotPinactors) as failure:
                self._log.info("master failed", master=upstream.master.name, reason=str(failure))
                ended = failover.failed(upstream, failure)
            except OSError as error:
                ended = self._unreadable(error)
            finally:
                upstream.master.sessions -= 1
            if ended is not None:
                self.fail(ended)

    async def _converse(self, upstream: Upstream, hop: Span) -> None:
        settings, api_key = self._services.settings, self.head.api_key
        if upstream.stream_id is not None:
            await requests.follow(
                upstream.master,
                upstream.stream_id,
                upstream.received,
                api_key,
                settings.proxy_silence,
                self._take,
                hop,
            )
            return
        assert self.spool is not None
        spool_body = requests.SpoolBody(self.spool)
        try:
            await requests.upload(
                upstream.master, self.head, spool_body, self._deadline.remaining, settings, self._take, hop
            )
        finally:
            upstream.whole = spool_body.ended
            if self.phone.outlet is not None:  # the answer has begun: let the upload end, to start the clock
                self.spool.leave()

    # Packets

    async def _take(self, lines: list[bytes]) -> bool:
        """Takes packets of the current master that arrived together. Returns False if no more are needed from
        it.

        Packets before an invalid one are kept.
        """
        if self.spool is None:  # the upload may still be arriving: only the master knows the deadline
            self._deadline.begin_anew()
        try:
            for raw in lines:
                if not self._take_one(raw):
                    return False
        finally:
            if self.phone.outlet is not None:
                await self.phone.flush(self.phone.outlet)  # noqa: ASYNC102 - shields itself, bounded by one disk operation
        return not self.phone.done

    def _take_one(self, raw: bytes) -> bool:
        upstream = self.upstream
        assert upstream is not None
        packet = read(raw)
        if not upstream.expects(packet.sequence):
            return True
        if packet.upload_lost and self.spool is not None:
            upstream.whole = False
            raise Broken("the upload did not arrive completely")
        if upstream.stream_id is None:
            self._handle_first_packet(upstream, packet)
            if self.phone.answered_elsewhere:
                return False
        upstream.note_packet()
        outlet = self.phone.outlet or self._open(packet)
        outlet.add(raw, packet)
        return not outlet.ended

    def _handle_first_packet(self, upstream: Upstream, packet: MasterPacket) -> None:
        """Handles the first packet of a stream, which has the stream's id. Joins the session that relays the
        stream already, if there is one."""
        if packet.packet_type != OPENING or packet.stream_id is None:
            raise NotPinactors("its stream does not begin with its name")
        other = self._directory.claim(self, upstream.master, packet.stream_id)
        if other is not None and other.log is not None and self.log is None:
            self.phone.join(other.log)
            return
        upstream.stream_id = packet.stream_id
        if (outlet := self.phone.outlet) is not None:
            if packet.stream_id != outlet.log.stream_id and not outlet.journaled:
                self._begin_journal(outlet)  # no master has the whole stream by the phone's id
            outlet.note(Moved(upstream.master.url, packet.stream_id))

    def _unreadable(self, error: OSError) -> PinactorsError:
        self._log.error("upload not readable", error=str(error))
        return unreadable()

    def _open(self, packet: MasterPacket) -> Outlet:
        """Opens the log after the first packet of a master; the stream keeps the master's id."""
        assert packet.stream_id is not None
        if packet.deadline_ms is not None and self.spool is not None:
            self._deadline.limit(packet.deadline_ms / 1000)
        return self._begin(packet.stream_id, packet.session_id, known=self._services.masters.shared)

    async def _open_without_master(self) -> None:
        """Opens the log without a master: the proxy makes the stream's id and the opening packet. Fails the
        session if its upload names an id that a master refuses."""
        if self.phone.outlet is not None or self.phone.answered:
            await trio.lowlevel.checkpoint()
            return
        assert self.spool is not None
        try:
            session_id = await session_id_of(self.head, self.spool, self._services.disk)
        except PinactorsError as refusal:
            self.fail(refusal)
            return
        except OSError as error:
            self.fail(self._unreadable(error))
            return
        if self.phone.outlet is not None or self.phone.answered:  # a master has answered meanwhile
            return
        self.head = replace(self.head, session_id=session_id)  # masters that are asked from now on use it too
        stream_id = new_stream_id()
        outlet = self._begin(stream_id, session_id)
        deadline_ms = round(1000 * self._services.settings.deadline)
        outlet.write(ConnectionEstablished(message="Connected", stream_id=stream_id, deadline_ms=deadline_ms))
        await self.phone.flush(outlet)

    def _begin(self, stream_id: str, session_id: str, *, known: bool = False) -> Outlet:
        """Creates the log. `known` is True if every master can serve the stream by this id, so that no
        journal is needed."""
        self._log = _root.bind(session=session_id, stream=stream_id[:8], **self._ids)
        outlet = self.phone.open(RelayedLog(stream_id, session_id, self.owner, []))
        if not known:
            self._begin_journal(outlet)
        if self.upstream is not None and self.upstream.stream_id is not None:
            outlet.note(Moved(self.upstream.master.url, self.upstream.stream_id))
        self._end_when_abandoned(outlet.log)
        self._directory.register(self)
        return outlet

    def _begin_journal(self, outlet: Outlet) -> None:
        relayed = Relayed(
            outlet.log.stream_id,
            outlet.log.session_id,
            self.owner,
            time.time() + min(self._deadline.remaining, self._services.settings.deadline),
            self.spool.path.name if self.spool is not None and self.spool.complete else None,
            self.head.content_type,
            self.head.idempotency_key,
        )
        outlet.begin_journal(relayed, self._directory.journal(relayed.stream_id))

    def _restore(self, kept: StoredSession, journal: StoredLog) -> None:
        """Continues a session of another process."""
        relayed = kept.relayed
        log = RelayedLog(relayed.stream_id, relayed.session_id, relayed.owner, kept.packets)
        self.phone.restore(log, journal)
        self._deadline.end_after(max(relayed.ends_at - time.time(), self._services.settings.proxy_silence))
        self._end_when_abandoned(log)

    def _end_when_abandoned(self, log: RelayedLog) -> None:
        """Cancels the session when its last reader leaves, if the setting `disconnect` is `cancel`."""
        if self._services.settings.disconnect == "cancel":
            log.on_abandoned(lambda: self.fail(cancelled("Its last reader disconnected")))

    async def _cancel_upstream(self) -> None:
        upstream = self.upstream
        if upstream is None or upstream.stream_id is None:
            return
        try:
            await requests.cancel(upstream.master, upstream.stream_id, self.head.api_key)
        except (Broken, NotPinactors, PinactorsError) as error:
            self._log.info("not cancelled at the master", master=upstream.master.name, reason=str(error))
