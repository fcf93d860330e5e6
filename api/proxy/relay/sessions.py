"""All sessions of this proxy: opens, finds (also those of other processes), cancels and drains them."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import structlog
import trio

from pinactors.api.errors import not_stored, status_of
from pinactors.api.proxy.masters import requests
from pinactors.api.proxy.masters.fleet import Master, Watch, in_turn
from pinactors.api.proxy.masters.requests import Head
from pinactors.api.proxy.relay.failover import Upstream
from pinactors.api.proxy.relay.journal import SPOOL_SUFFIX, StoredSession, expired, replay
from pinactors.api.proxy.relay.keys import ValidKeys, owner_of
from pinactors.api.proxy.relay.refusals import session_lost, stream_unreachable
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.api.proxy.relay.session import RelayedSession
from pinactors.api.proxy.relay.spool import Spool
from pinactors.api.streams.reader import SILENCE_SECONDS
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError, busy, cancelled, is_stream_id, stream_not_found
from pinactors.storage.logs.files import LogFiles, open_log_files
from pinactors.storage.logs.packet_logs import StoredLog

PRUNE_SECONDS = 30.0
SEARCHES_AT_ONCE = 16
"""Most streams that are searched for at the masters at the same time."""


log = structlog.get_logger(__name__)


class Sessions:
    """All sessions of this proxy. They run in their own nursery, which their exceptions never reach."""

    def __init__(self, services: ProxyServices, journals: LogFiles, nursery: trio.Nursery) -> None:
        self._services = services
        self._journals = journals
        self._reviving: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._nursery = nursery
        self._running: set[RelayedSession] = set()
        self._by_stream_id: dict[str, RelayedSession] = {}
        self._upstream: dict[tuple[str, str], RelayedSession] = {}
        self._keys = ValidKeys(services.masters)
        self._searching = trio.CapacityLimiter(SEARCHES_AT_ONCE)
        self._ended = trio.lowlevel.ParkingLot()
        self.accepting = True

    def __len__(self) -> int:
        return len(self._running)

    async def open(self, head: Head, route: str) -> tuple[RelayedSession, Spool]:
        """Starts a session and returns it with the spool to write its upload to. Raises `PinactorsError`
        (503)."""
        if not self.accepting:
            raise busy("The server is shutting down")
        if len(self._running) >= self._services.settings.max_sessions:
            raise busy("Too many analyses under way")
        path = self._services.folder / f"{secrets.token_hex(16)}{SPOOL_SUFFIX}"
        disk = self._services.disk
        try:
            spool = await trio.to_thread.run_sync(Spool.create, path, disk, limiter=disk)
        except OSError as error:
            raise not_stored(error) from error
        session = RelayedSession(self._services, self, head, owner_of(head.api_key), route, spool)
        return self._start(session), spool

    async def find(self, stream_id: str, api_key: str | None) -> PacketLog:
        """The log of a stream of this proxy or any master, if `api_key` may read it.

        Raises `PinactorsError`: `stream_not_found` (404, 410); `overloaded` (503) if a master that might have
        the stream does not answer; `unauthorized` (401).
        """
        session = self._by_stream_id.get(stream_id)
        if session is None:
            lock = self._reviving.setdefault(stream_id, trio.Lock())
            async with lock:  # concurrent requests for the same stream share one session
                kept = await self._load_from_journal(stream_id)
                session = self._by_stream_id.get(stream_id)
                if session is None and kept is not None:
                    return await self._resume(kept, api_key)
        if session is None or session.log is None:
            return await self._discover(stream_id, api_key)
        await self._check(session.owner, session.upstream, api_key)
        return session.log

    async def cancel(self, stream_id: str, api_key: str | None) -> None:
        """Ends a session here and at its master; does nothing if it has ended. Returns once the master knows,
        so that the same upload sent again does not join the cancelled session there. Raises as `find`."""
        found = await self.find(stream_id, api_key)
        session = self._by_stream_id.get(stream_id)
        if session is not None:
            session.fail(cancelled())
        await found.wait_closed()
        while session in self._running:
            await self._ended.park()

    async def drain(self) -> None:
        """Accepts no more uploads; returns when all sessions have ended."""
        self.accepting = False
        await trio.lowlevel.checkpoint()
        while self._running:
            await self._ended.park()

    async def prune(self) -> None:
        """Removes expired journals and spools; runs every `PRUNE_SECONDS`."""
        await trio.to_thread.run_sync(self._remove_expired, limiter=self._services.disk)

    def claim(self, session: RelayedSession, master: Master, stream_id: str) -> RelayedSession | None:
        other = self._upstream.setdefault((master.url, stream_id), session)
        if other is not session:
            return other
        same_id = self._by_stream_id.get(stream_id)
        if same_id is not None and same_id is not session:
            del self._upstream[master.url, stream_id]
            if self._services.masters.shared:  # another master serves the same stream
                return same_id
            raise NotPinactors("the id of its stream is another stream's")
        return None

    def register(self, session: RelayedSession) -> None:
        assert session.log is not None
        self._by_stream_id[session.log.stream_id] = session

    def journal(self, stream_id: str) -> StoredLog:
        return self._journals.create(stream_id)

    def _start(self, session: RelayedSession) -> RelayedSession:
        self._running.add(session)
        if session.log is not None:
            self.register(session)
        if session.upstream is not None and session.upstream.stream_id is not None:
            self._upstream[session.upstream.master.url, session.upstream.stream_id] = session
        self._nursery.start_soon(self._supervise, session, name=repr(session))
        return session

    async def _supervise(self, session: RelayedSession) -> None:
        """Runs a session and catches its exceptions. After a cancellation, the next process continues from
        the journal."""
        try:
            await session.run()
        except* Exception as group:  # the boundary of the session
            log.exception("session failed", exc_info=group)
            await session.crash()
        finally:
            self._running.discard(session)
            if session.log is not None and self._by_stream_id.get(session.log.stream_id) is session:
                del self._by_stream_id[session.log.stream_id]
            for key in [key for key, value in self._upstream.items() if value is session]:
                del self._upstream[key]
            self._ended.unpark_all()

    async def _load_from_journal(self, stream_id: str) -> StoredSession | None:
        """The session `stream_id` from its journal, None without one. `stream_id` is unchecked text of a
        client. Raises `PinactorsError` (503) if the journal cannot be read now."""
        if not is_stream_id(stream_id):
            await trio.lowlevel.checkpoint()
            return None
        try:
            entries = await self._journals.load(stream_id)
        except OSError as error:
            log.warning("journal not readable", stream=stream_id[:8], error=repr(error))
            raise stream_unreachable() from error
        return replay(entries) if entries else None

    async def _resume(self, kept: StoredSession, api_key: str | None) -> PacketLog:
        """The log of a session of an earlier process. If it has not ended, it continues with the caller's
        key."""
        relayed = kept.relayed
        master = self._services.masters.named(kept.moved.master) if kept.moved is not None else None
        upstream = (
            Upstream(master, kept.moved.stream_id) if kept.moved is not None and master is not None else None
        )
        await self._check(relayed.owner, upstream, api_key)
        if kept.closed:
            return PacketLog(
                relayed.stream_id, relayed.session_id, relayed.owner, packets=kept.packets, closed=True
            )
        journal = await self._journals.hold(relayed.stream_id)
        spool = await self._open_spool(relayed.spool)
        head = Head(
            relayed.content_type,
            spool.size if spool is not None else None,
            api_key,
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
            upstream=upstream,
            kept=(kept, journal),
        )
        if upstream is None and spool is None:
            session.fail(session_lost())
        log.info("session taken up", session=relayed.session_id, packets=len(kept.packets))
        self._start(session)
        assert session.log is not None
        return session.log

    async def _open_spool(self, name: str | None) -> Spool | None:
        if name is None or os.path.basename(name) != name:
            return None
        disk = self._services.disk
        try:
            return await trio.to_thread.run_sync(Spool.kept, self._services.folder / name, disk, limiter=disk)
        except OSError:
            return None

    async def _discover(self, stream_id: str, api_key: str | None) -> PacketLog:
        """Searches the masters, the likeliest first, for a stream of which this proxy has no record."""
        masters = self._services.masters.order(stream_id)
        refusals: list[PinactorsError] = []
        async with self._searching:
            if not is_stream_id(stream_id):
                await requests.check_key(masters, api_key, any_purpose=True)
                raise stream_not_found()
            for master, seconds in in_turn(masters, SILENCE_SECONDS):
                try:
                    tail = await requests.tail(master, stream_id, api_key, seconds)
                except PinactorsError as refusal:
                    known = refusal.code in (ErrorCode.UNAUTHORIZED, ErrorCode.STREAM_NOT_FOUND)
                    refusals.append(refusal if known else stream_unreachable())
                except (Broken, NotPinactors):
                    refusals.append(stream_unreachable())
                else:
                    return await self._follow(master, stream_id, tail, api_key)
        # 503 if a master could not say, 410 or 404 if one accepts the key, 401 if none does
        raise max(refusals, key=status_of)

    async def _follow(self, master: Master, stream_id: str, tail: int, api_key: str | None) -> PacketLog:
        """Follows a stream at `master`. Returns once the first `tail` packets are here, because a reader may
        ask for any of them."""
        session = self._by_stream_id.get(stream_id)
        if session is None:
            head = Head("", None, api_key, "", None)
            upstream = Upstream(master, stream_id)
            session = self._start(
                RelayedSession(
                    self._services, self, head, owner_of(api_key), stream_id, None, upstream=upstream
                )
            )
        with trio.move_on_after(self._services.settings.proxy_silence):
            found = await session.phone.answer()
            if tail:
                await found.wait_beyond(tail - 1)
            return found
        raise stream_unreachable()

    async def _check(self, owner: str, upstream: Upstream | None, api_key: str | None) -> None:
        """Checks that `api_key` is the key of the upload and not revoked, or that the session's master
        accepts it. Raises `PinactorsError`: 401, 404, 503."""
        if owner == owner_of(api_key):
            await self._keys.check(api_key, upstream)
            return
        if upstream is None or upstream.stream_id is None:
            await requests.check_key(self._services.masters.order(owner), api_key, any_purpose=True)
            raise stream_not_found()
        try:
            await requests.tail(upstream.master, upstream.stream_id, api_key)
        except (Broken, NotPinactors):
            raise stream_unreachable() from None

    def upstream_of(self, stream_id: str) -> tuple[Master, str] | None:
        """The master of a running session, and the stream's id there; None if there is none."""
        session = self._by_stream_id.get(stream_id)
        upstream = session.upstream if session is not None else None
        if upstream is None or upstream.stream_id is None:
            return None
        return upstream.master, upstream.stream_id

    def _remove_expired(self) -> None:
        settings = self._services.settings
        spools = [session.spool for session in list(self._running)]
        in_use = {*self._by_stream_id, *(spool.path.stem for spool in spools if spool is not None)}
        lifetime = settings.replay + settings.deadline
        self._services.folder.mkdir(mode=0o700, exist_ok=True)  # `/readyz` fails without it
        for path in expired(self._services.folder, lifetime, in_use.__contains__):
            path.unlink(missing_ok=True)


@asynccontextmanager
async def open_sessions(services: ProxyServices) -> AsyncIterator[Sessions]:
    """Opens the sessions and the health checks. Leaving the block stops running sessions; journals and spools
    keep them for the next process."""

    def journal_failed(error: OSError) -> None:
        services.metrics.journal_failures.inc()
        log.error("session continues without a journal", error=repr(error))

    async with (
        open_log_files(services.folder, journal_failed) as journals,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        sessions = Sessions(services, journals, nursery)
        supervision = services.metrics.supervision
        supervision.start(nursery, "prune", sessions.prune, PRUNE_SECONDS)
        for master in services.masters.all:
            watch = Watch(services.masters, master)
            stack.push_async_callback(watch.close)
            supervision.start(nursery, "health check", watch.check, watch.pause)
        yield sessions
        nursery.cancel_scope.cancel()
