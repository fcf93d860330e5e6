"""Packet logs as rows of PostgreSQL, shared by several masters: each master serves every stream, and a
session whose master is dead is taken over by another.

What happens after a failure:

- A master is killed. The packets it stored are in the database. When its lease of `LEASE_SECONDS` has ended,
  another master takes its sessions over, each with a higher fence, and continues after the last stored
  packet; no reader received a later one. If the master is started again earlier, it takes them over at once:
  only it can continue those whose upload is incomplete, because the bytes are in its data folder.
- The database does not answer a master. The master can store no packets and therefore sends none. When its
  lease has ended it gives its sessions up. So does a master that was suspended while another took its
  sessions over: its fence is too low.
- The database crashes. Packets are committed asynchronously, so that those of its last half second may be
  lost. The session's master still has them and stores them again before the next packet, under the same
  numbers: a client that received them sees no change. If database and master crash in the same half second
  the packets are lost and computed again. The terminal packet and the record are committed synchronously.
"""

from __future__ import annotations

import hashlib
import math
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
import trio

from pinactors.protocol import is_stream_id
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import LogDatabase, LogUnavailable, dsn_of
from pinactors.storage.logs.master_ids import MasterIds
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver, StoredLog, photographs_in
from pinactors.storage.logs.statements import CHANNEL, LEASE_SECONDS, Taken
from pinactors.storage.logs.stored_rows import RETRIES, Holder, StoredRows
from pinactors.supervision import Supervision

HEARTBEAT_SECONDS = 1.0
"""Pause between two renewals of a master's lease, and between two searches for sessions without a holder."""

CLEAN_SECONDS = 60.0

log = structlog.get_logger(__name__)


class LogRows:
    """The packet logs in the database (`PacketLogs`), and what masters need of each other (`Peers`). `run`
    has to run while the object is in use.

    `changed` is called with the id of a stream when its log has changed, on any master, or with an empty
    string when any log may have changed; `cancelled` with the id of a stream that is to end; `failed` with
    each failure of a log. `orphaned` is set when there may be sessions to take over.
    """

    def __init__(
        self,
        database: LogDatabase,
        replay: float,
        failed: Callable[[OSError], None],
        supervision: Supervision,
        ids: MasterIds,
    ) -> None:
        self.database, self._supervision, self._ids = database, supervision, ids
        self.holder = Holder(database, ids.own, failed)
        self.changed: Callable[[str], None] = _ignore
        self.cancelled: Callable[[str], None] = _ignore
        self.orphaned = trio.Event()
        self._replay = replay
        self._has_inherited = False
        self._leased_since = -math.inf
        self._losses_before_renewal = self._losses_made_up_for = 0
        self._listening = self._outage_logged = False
        self._connecting = trio.CapacityLimiter(1)

    @property
    def master(self) -> str:
        """This master's id in the database."""
        return self.holder.master

    def has_lease_within(self, seconds: float) -> bool:
        """Whether this master's lease was valid at some time within the last `seconds`."""
        return trio.current_time() < self.holder.leased_until + seconds

    @property
    def reachable(self) -> bool:
        return self.holder.has_lease and self._listening

    def create(self, stream_id: str, owner: str = "") -> StoredRows:
        self.holder.held[stream_id] = stored = StoredRows(self.holder, stream_id, owner, fence=1)
        return stored

    async def load(self, stream_id: str, first: int = 0) -> list[Entry] | None:
        if not is_stream_id(stream_id):
            await trio.lowlevel.checkpoint()
            return None
        return (await self.load_all({stream_id: first})).get(stream_id)

    async def load_all(self, firsts: Mapping[str, int]) -> dict[str, list[Entry]]:
        """As `load`, for several streams at once: the entries of each from the given number on."""
        return await self.database.run(partial(statements.entries, firsts=firsts), single_statement=True)

    async def adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        """The first call takes over the sessions of the process that had the data folder before, and released
        ones; further calls this master's share of the sessions without a living holder. Those take none in
        the first `LEASE_SECONDS` of this master's lease: after an outage of the database the leases of all
        masters have ended, and each needs the time to renew its lease."""
        if not self._has_inherited:
            inherit = partial(statements.inherit, earlier=self._ids.earlier, master=self.master)
            adopted = await self._hold(await self.database.run_durably(inherit))
            await trio.to_thread.run_sync(self._ids.forget_earlier)
            self._has_inherited = True
            return adopted
        if not self.holder.has_lease or trio.current_time() < self._leased_since + LEASE_SECONDS:
            await trio.lowlevel.checkpoint()
            return []
        held = ChainMap(self.holder.held, self.holder.given_up)
        take_over = partial(statements.take_over, master=self.master, held=held)
        return await self._hold(await self.database.run_durably(take_over))

    async def _hold(self, taken: Sequence[Taken]) -> list[tuple[StoredLog, list[Entry]]]:
        """The logs of sessions that were taken over. Removes empty ones."""
        # All are read before one is held: if the database fails meanwhile, all are taken over again.
        loaded = [await self.load(stream_id) or [] for stream_id, *_ in taken]
        adopted: list[tuple[StoredLog, list[Entry]]] = []
        for (stream_id, owner, fence, cancelled, age), entries in zip(taken, loaded, strict=True):
            stored = StoredRows(self.holder, stream_id, owner, fence, age)
            stored.begin(entries)
            stored.cancelled = cancelled
            self.holder.held[stream_id] = stored
            if entries:
                adopted.append((stored, entries))
            else:
                await stored.remove()
        return adopted

    async def photographs(self) -> set[str]:
        return photographs_in(await self.database.run(statements.photographs))

    async def cancel(self, stream_id: str) -> None:
        """Has the session ended by the master that holds it, now or after a takeover."""
        await self.database.run_durably(partial(statements.cancel, stream_id=stream_id))

    async def claim(
        self, names: Sequence[tuple[str, ...]], fingerprint: str, stream_id: str
    ) -> tuple[str, str] | None:
        """Claims all `names` for a stream and returns None; if another upload has claimed one of them before,
        returns its stream id and fingerprint."""
        hashed = [hashlib.sha256("\0".join(name).encode()).digest() for name in names]
        return await self.database.run_durably(
            partial(statements.claim, names=hashed, fingerprint=fingerprint, stream_id=stream_id)
        )

    async def forget(self, stream_id: str) -> None:
        await self.database.run(partial(statements.forget, stream_id=stream_id), single_statement=True)

    async def take_token(self, owner: str, per_minute: int) -> float:
        return await self.database.run(partial(statements.take_token, owner=owner, per_minute=per_minute))

    async def under_way(self, owner: str) -> int:
        return await self.database.run(partial(statements.under_way, owner=owner), single_statement=True)

    # -- background tasks ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renews the lease, repairs, removes expired rows and listens for notifications. Never returns."""
        async with trio.open_nursery() as nursery:
            start = partial(self._supervision.start, nursery)
            start("packet log's lease", self._keep_lease, HEARTBEAT_SECONDS)
            start("packet log's repairs", self._keep_repaired, HEARTBEAT_SECONDS)
            start("packet log's cleaner", self._keep_clean, CLEAN_SECONDS)
            start("packet log's listener", self._listen)

    async def heartbeat(self) -> None:
        """Renews the lease once. Raises `LogUnavailable`."""
        holder = self.holder
        requested_at, losses = trio.current_time(), self.database.losses
        valid = await self.database.run(
            partial(statements.heartbeat, master=self.master), single_statement=True
        )
        if not valid or requested_at > holder.leased_until:
            self._leased_since = requested_at
        holder.leased_until = requested_at + LEASE_SECONDS
        self._losses_before_renewal = losses

    async def repair(self) -> None:
        """Does what a failure of the database or of the listener's connection prevented: ends sessions that
        other masters' clients have cancelled, hands back logs that were given up, and stores entries again
        that the database may have lost. With many sessions this takes longer than the lease, so that it must
        not delay `heartbeat`. Raises `LogUnavailable`."""
        holder = self.holder
        for stream_id in await self.database.run(
            partial(statements.cancelled, master=self.master), single_statement=True
        ):
            self.cancelled(stream_id)
        for stream_id, stored in list(holder.given_up.items()):
            await self.database.run_durably(stored.hand_back)
            if holder.given_up.get(stream_id) is stored:
                del holder.given_up[stream_id]
        losses = self._losses_before_renewal
        if losses == self._losses_made_up_for:
            return
        for stored in list(holder.held.values()):
            if losses != self.database.losses:  # the lease may be lost as well, and is renewed first
                return
            try:
                await stored.store_again()
            except LogTakenOver:  # the session gets the same error when it appends its next packet
                log.info("session is another master's", stream=stored.stream_id[:8])
        self._losses_made_up_for = losses

    async def leave(self) -> None:
        """Gives up this master's lease, so that other masters can take over its sessions immediately."""
        try:
            await self.database.run_durably(partial(statements.leave, master=self.master))
        except LogUnavailable as error:
            log.info("lease not given up", error=str(error))

    async def clean(self) -> None:
        await self.database.run(partial(statements.clean, replay=self._replay))

    async def _keep_lease(self) -> None:
        await self._logging_outage(self.heartbeat)

    async def _keep_repaired(self) -> None:
        await self._logging_outage(self.repair)

    async def _keep_clean(self) -> None:
        await self._logging_outage(self.clean)

    async def _logging_outage(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does `work`. Logs an outage of the database once, until the database answers again."""
        try:
            await work()
            self._outage_logged = False
        except LogUnavailable as error:
            if not self._outage_logged:
                log.warning("packet log's database is unavailable", error=str(error))
            self._outage_logged = True

    async def _listen(self) -> None:
        """Listens for notifications and connects again after each failure. Never returns."""
        for pause in RETRIES:
            try:
                await self._listen_once()
            except LogUnavailable as error:
                log.debug("packet log's listener lost the database", error=str(error))
            finally:
                self._listening = False
            await trio.sleep(pause)

    async def _listen_once(self) -> None:
        """Handles notifications until the connection breaks; raises `LogUnavailable` then. Notifications sent
        while the connection was down are made up for: by treating every stream as changed, by a search for
        sessions to take over, and, for cancelled sessions, by `repair`."""
        connection = await trio.to_thread.run_sync(self.database.listen, CHANNEL, limiter=self._connecting)
        try:
            self._listening = True
            self.changed("")
            self.orphaned.set()
            while True:
                await trio.lowlevel.wait_readable(connection.fileno())
                for payload in self.database.notifications(connection):
                    self._handle_notification(payload)
        finally:
            connection.close()

    def _handle_notification(self, payload: str) -> None:
        if payload == "free":
            self.orphaned.set()
        elif payload.startswith("cancel "):
            self.cancelled(payload.removeprefix("cancel "))
        else:
            self.changed(payload)


async def unfinished_photographs(settings: Settings) -> set[str]:
    """Hashes of the photographs that logs of unfinished sessions refer to, for a program that is no master.
    Raises `LogUnavailable`, and `SettingUnusable` if the tables belong to a newer program."""
    database = LogDatabase(dsn_of(settings))
    try:
        await database.prepare()
        return photographs_in(await database.run(partial(statements.photographs, unfinished=True)))
    finally:
        await _shielded(database.close)  # noqa: ASYNC102 - shields itself, closes idle connections


def _ignore(stream_id: str) -> None:
    """The default callback: does nothing."""


@asynccontextmanager
async def open_log_rows(
    settings: Settings, failed: Callable[[OSError], None], supervision: Supervision
) -> AsyncIterator[LogRows]:
    """The logs in the database of `settings`. Raises `SettingUnusable` if the database does not answer or its
    tables belong to a newer program."""
    database = LogDatabase(dsn_of(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_shielded, database.close)
        ids = await trio.to_thread.run_sync(MasterIds.register, settings.data)
        stack.callback(ids.close)
        logs = LogRows(database, settings.replay, failed, supervision, ids)
        try:
            await database.prepare()
            await logs.heartbeat()
        except LogUnavailable as error:
            raise SettingUnusable(str(error)) from None
        stack.push_async_callback(_shielded, logs.leave)  # only after `prepare` has checked the tables
        async with trio.open_nursery() as nursery:
            nursery.start_soon(logs.run, name="packet logs in the database")
            yield logs
            nursery.cancel_scope.cancel()


async def _shielded(work: Callable[[], Awaitable[None]]) -> None:
    with trio.CancelScope(shield=True):
        await work()
