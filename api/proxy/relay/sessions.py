"""All sessions of this proxy: opened, found (also those of other processes), cancelled, drained."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import structlog
import trio

from pinactors.api.proxy.masters import requests
from pinactors.api.proxy.masters.fleet import Master, Watch
from pinactors.api.proxy.masters.packets import STREAM_ID
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.relay.failover import Place
from pinactors.api.proxy.relay.journal import SPOOL_SUFFIX, Kept, expired, replay
from pinactors.api.proxy.relay.keys import GoodKeys, owner_of
from pinactors.api.proxy.relay.refusals import LOST
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.api.proxy.relay.session import RelayedSession
from pinactors.api.proxy.relay.spool import Spool
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.logs.files import LogFiles, open_log_files
from pinactors.storage.logs.packet_logs import StoredLog

PRUNE_SECONDS = 30.0
SEARCHES_AT_ONCE = 16
"""Streams that are looked for at the masters at the same time."""

NOT_FOUND = PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found", status=404)
UNKNOWN = PinactorsError(
    ErrorCode.OVERLOADED, "Stream not available now", "The server that has it does not answer", status=503
)
FULL = PinactorsError(
    ErrorCode.OVERLOADED, "Server busy, try again later", "Too many analyses under way", status=503
)
CANCELLED = PinactorsError(ErrorCode.CANCELLED, "Analysis cancelled")
DRAINING = PinactorsError(
    ErrorCode.OVERLOADED, "Server busy, try again later", "The server is shutting down", status=503
)

log = structlog.get_logger(__name__)


class Sessions:
    """Sessions run in a nursery of their own, which never sees their exceptions."""

    def __init__(self, services: ProxyServices, journals: LogFiles, nursery: trio.Nursery) -> None:
        self._services = services
        self._journals = journals
        self._reviving: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._nursery = nursery
        self._running: set[RelayedSession] = set()
        self._named: dict[str, RelayedSession] = {}
        self._upstream: dict[tuple[str, str], RelayedSession] = {}
        self._keys = GoodKeys(services.masters)
        self._searching = trio.CapacityLimiter(SEARCHES_AT_ONCE)
        self._ended = trio.lowlevel.ParkingLot()
        self.accepting = True

    def __len__(self) -> int:
        return len(self._running)

    async def open(self, head: Head, route: str) -> tuple[RelayedSession, Spool]:
        """A session whose upload is about to be written. Raises `PinactorsError` (503), `OSError`."""
        if not self.accepting:
            raise DRAINING
        if len(self._running) >= self._services.settings.max_sessions:
            raise FULL
        path = self._services.folder / f"{secrets.token_hex(16)}{SPOOL_SUFFIX}"
        disk = self._services.disk
        spool = await trio.to_thread.run_sync(Spool.create, path, disk, limiter=disk)
        return self._start(
            RelayedSession(self._services, self, head, owner_of(head.token), route, spool)
        ), spool

    async def find(self, stream_id: str, token: str | None) -> PacketLog:
        """The log of a session of any master, for whoever may see it.

        Raises `PinactorsError`: `stream_not_found` (404, 410), `overloaded` (503) while nobody can tell.
        """
        session = self._named.get(stream_id)
        if session is None:
            lock = self._reviving.setdefault(stream_id, trio.Lock())
            async with lock:  # whoever asks for the same stream meanwhile finds its session
                kept = await self._kept(stream_id)
                session = self._named.get(stream_id)
                if session is None and kept is not None:
                    return await self._revived(kept, token)
        if session is None or session.log is None:
            return await self._discovered(stream_id, token)
        await self._check(session.owner, session.place, token)
        return session.log

    async def cancel(self, stream_id: str, token: str | None) -> None:
        """Ends a session here and at its master; one that has ended is left as it is. Raises as `find`."""
        found = await self.find(stream_id, token)
        session = self._named.get(stream_id)
        if session is not None:
            session.fail(CANCELLED)
        await found.wait_closed()

    async def drain(self) -> None:
        """Takes nothing more; returns when all sessions have ended."""
        self.accepting = False
        await trio.lowlevel.checkpoint()
        while self._running:
            await self._ended.park()

    async def prune(self) -> None:
        """Removes what nobody may ask for any more; once every `PRUNE_SECONDS`."""
        await trio.to_thread.run_sync(self._remove_expired, limiter=self._services.disk)

    def claim(self, session: RelayedSession, master: Master, stream_id: str) -> RelayedSession | None:
        other = self._upstream.setdefault((master.url, stream_id), session)
        if other is not session:
            return other
        named = self._named.get(stream_id)
        if named is not None and named is not session:
            del self._upstream[master.url, stream_id]
            if self._services.masters.shared:  # another master answers with the same stream
                return named
            raise NotPinactors("it names its stream like another one's")
        return None

    def register(self, session: RelayedSession) -> None:
        assert session.log is not None
        self._named[session.log.stream_id] = session

    def journal(self, stream_id: str) -> StoredLog:
        return self._journals.create(stream_id)

    def _start(self, session: RelayedSession) -> RelayedSession:
        self._running.add(session)
        if session.log is not None:
            self.register(session)
        if session.place is not None and session.place.stream_id is not None:
            self._upstream[session.place.master.url, session.place.stream_id] = session
        self._nursery.start_soon(self._supervise, session, name=repr(session))
        return session

    async def _supervise(self, session: RelayedSession) -> None:
        """Nothing a session raises gets further than here; a cancellation leaves its journal to the next."""
        try:
            await session.run()
        except* Exception as group:  # the boundary of the session
            log.exception("session failed", exc_info=group)
            await session.crash()
        finally:
            self._running.discard(session)
            if session.log is not None and self._named.get(session.log.stream_id) is session:
                del self._named[session.log.stream_id]
            for key in [key for key, value in self._upstream.items() if value is session]:
                del self._upstream[key]
            self._ended.unpark_all()

    async def _kept(self, stream_id: str) -> Kept | None:
        """The session `stream_id`, which may be anything a client sends, as its journal has it."""
        if not STREAM_ID.fullmatch(stream_id):
            await trio.lowlevel.checkpoint()
            return None
        entries = await self._journals.load(stream_id)
        return replay(entries) if entries else None

    async def _revived(self, kept: Kept, token: str | None) -> PacketLog:
        """A session of an earlier process: it ended, or it goes on from here with the caller's key."""
        relayed = kept.relayed
        master = self._services.masters.named(kept.moved.master) if kept.moved is not None else None
        place = Place(master, kept.moved.stream_id) if kept.moved is not None and master is not None else None
        await self._check(relayed.owner, place, token)
        if kept.closed:
            return PacketLog(
                relayed.stream_id, relayed.session_id, relayed.owner, packets=kept.packets, closed=True
            )
        journal = await self._journals.hold(relayed.stream_id)
        spool = await self._kept_spool(relayed.spool)
        head = Head(
            relayed.content_type,
            spool.size if spool is not None else None,
            token,
            relayed.idempotency_key,
            relayed.session_id,
        )
        session = RelayedSession(
            self._services,
            self,
            head,
            relayed.owner,
            relayed.stream_id,
            spool,
            place=place,
            kept=(kept, journal),
        )
        if place is None and spool is None:
            session.fail(LOST)
        log.info("session taken up", session=relayed.session_id, packets=len(kept.packets))
        self._start(session)
        assert session.log is not None
        return session.log

    async def _kept_spool(self, name: str | None) -> Spool | None:
        if name is None or os.path.basename(name) != name:
            return None
        disk = self._services.disk
        try:
            return await trio.to_thread.run_sync(Spool.kept, self._services.folder / name, disk, limiter=disk)
        except OSError:
            return None

    async def _discovered(self, stream_id: str, token: str | None) -> PacketLog:
        """A stream this proxy has never heard of: the masters are asked, the likeliest first."""
        if not STREAM_ID.fullmatch(stream_id):
            raise NOT_FOUND
        answer = NOT_FOUND
        async with self._searching:
            for master in self._services.masters.order(stream_id):
                try:
                    tail = await requests.tail(master, stream_id, token)
                except PinactorsError as refusal:
                    if refusal.code is not ErrorCode.STREAM_NOT_FOUND:
                        answer = UNKNOWN
                    elif refusal.status == 410 and answer is NOT_FOUND:
                        answer = refusal
                except (Broken, NotPinactors):
                    answer = UNKNOWN
                else:
                    return await self._followed(master, stream_id, tail, token)
        raise answer

    async def _followed(self, master: Master, stream_id: str, tail: int, token: str | None) -> PacketLog:
        """Returns once the first `tail` packets are here: a reader may ask for any of them."""
        session = self._named.get(stream_id)
        if session is None:
            head = Head("", None, token, "", None)
            place = Place(master, stream_id)
            session = self._start(
                RelayedSession(self._services, self, head, owner_of(token), stream_id, None, place=place)
            )
        with trio.move_on_after(self._services.settings.proxy_silence):
            found = await session.answer()
            if tail:
                await found.wait_beyond(tail - 1)
            return found
        raise UNKNOWN

    async def _check(self, owner: str, place: Place | None, token: str | None) -> None:
        """Returns when `token` is the key a session was uploaded with, and has not been revoked since, or
        when its master says that it will do. Raises `PinactorsError`: 401, 404, 503."""
        if owner == owner_of(token):
            await self._keys.check(token, place)
            return
        if place is None or place.stream_id is None:
            raise NOT_FOUND
        try:
            await requests.tail(place.master, place.stream_id, token)
        except (Broken, NotPinactors):
            raise UNKNOWN from None

    def upstream_of(self, stream_id: str) -> tuple[Master, str] | None:
        """The master that has a session under way here, and its name there."""
        session = self._named.get(stream_id)
        place = session.place if session is not None else None
        return (place.master, place.stream_id) if place is not None and place.stream_id is not None else None

    def _remove_expired(self) -> None:
        settings = self._services.settings
        spools = [session.spool for session in list(self._running)]
        in_use = {*self._named, *(spool.path.stem for spool in spools if spool is not None)}
        lasting = settings.replay + settings.deadline
        for path in expired(self._services.folder, lasting, in_use.__contains__):
            path.unlink(missing_ok=True)


@asynccontextmanager
async def open_sessions(services: ProxyServices) -> AsyncIterator[Sessions]:
    """Leaving the block stops what still runs; journals and spools keep it for the next process."""

    def journal_failed(error: OSError) -> None:
        services.metrics.journal_failures.inc()
        log.error("session goes on without journal", error=repr(error))

    async with (
        open_log_files(services.folder, journal_failed) as journals,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        sessions = Sessions(services, journals, nursery)
        supervision = services.metrics.supervision
        nursery.start_soon(supervision.repeat, "prune", sessions.prune, PRUNE_SECONDS)
        for master in services.masters.all:
            watch = Watch(services.masters, master)
            stack.push_async_callback(watch.close)
            nursery.start_soon(supervision.repeat, "health check", watch.look, watch.pause)
        yield sessions
        nursery.cancel_scope.cancel()
