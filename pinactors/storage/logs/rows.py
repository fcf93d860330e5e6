"""Packet logs as rows of PostgreSQL, shared by several masters: any of them serves any stream, and a session
whose master is gone is taken over by another.

What a crash can cost, and what becomes of it:

- A master that is killed: what it kept is in the database. Within `LEASE_SECONDS` another master takes its
  sessions over, each with a higher fence, and goes on behind the last packet that was kept; no reader had a
  later one.
- A master the database does not answer keeps nothing and therefore tells nothing. When its lease has run out
  it gives its sessions up, as does one that wakes after another has taken them over: its fence is too low.
- Packets are committed asynchronously: a crash of the database may take back those of its last half second.
  Their session's master has them still and stores them again before the next one, under the same numbers, so
  that a client that has had them sees no change. Only a crash of database and master in the same half second
  loses them: they are then computed again. The terminal packet and the record are committed synchronously.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog
import trio

from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import LogDatabase, LogUnavailable, dsn_of
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver, StoredLog
from pinactors.storage.logs.statements import CHANNEL, LEASE_SECONDS
from pinactors.storage.logs.stored_rows import RETRIES, StoredRows
from pinactors.supervision import Supervision

BEAT_SECONDS = 1.0
"""Pause between two renewals of a master's lease, and between two looks for sessions nobody holds."""

CLEAN_SECONDS = 60.0

_STREAM_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HASH = re.compile(rb'"sha256":"([0-9a-f]{64})"')

log = structlog.get_logger(__name__)


class LogRows:
    """`PacketLogs` and `Peers` in the database. `run` has to run as long as they are used.

    `changed` is called with the id of a stream whose log, here or elsewhere, has changed (empty: any may
    have), `cancelled` with one that is to end, and `failed` with each failure of a log; `orphaned` is set
    when there may be sessions to take over.
    """

    def __init__(
        self,
        database: LogDatabase,
        replay: float,
        failed: Callable[[OSError], None],
        supervision: Supervision,
    ) -> None:
        self.database = database
        self._supervision = supervision
        self.master = os.urandom(8).hex()
        self.failed = failed
        self.changed: Callable[[str], None] = _ignore
        self.cancelled: Callable[[str], None] = _ignore
        self.orphaned = trio.Event()
        self._replay = replay
        self._held: dict[str, StoredRows] = {}
        self._given_up: dict[str, StoredRows] = {}
        self._leased_since = self._leased_until = -math.inf
        self._stored_again = 0
        self._listening = self._said_away = False
        self._connecting = trio.CapacityLimiter(1)

    @property
    def has_lease(self) -> bool:
        """Whether no other master may take sessions over from this one: a little less than the database
        thinks."""
        return trio.current_time() < self._leased_until

    def has_lease_within(self, seconds: float) -> bool:
        """Whether it had its lease so long ago."""
        return trio.current_time() < self._leased_until + seconds

    @property
    def reachable(self) -> bool:
        return self.has_lease and self._listening

    @property
    def losses(self) -> int:
        return self.database.losses

    def create(self, stream_id: str, owner: str = "") -> StoredRows:
        self._held[stream_id] = stored = StoredRows(self, stream_id, owner, fence=1)
        return stored

    async def load(self, stream_id: str, first: int = 0) -> list[Entry] | None:
        if not _STREAM_ID.fullmatch(stream_id):
            await trio.lowlevel.checkpoint()
            return None
        return (await self.load_all({stream_id: first})).get(stream_id)

    async def load_all(self, firsts: Mapping[str, int]) -> dict[str, list[Entry]]:
        """As `load`, of several streams at once: of each the entries from that number on."""
        return await self.database.run(partial(statements.entries, firsts=firsts), alone=True)

    async def adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        """Nothing while this master's own lease has just begun: after an outage of the database every
        master's has run out, and each has to have had the time to renew it."""
        self.orphaned = trio.Event()
        if not self.has_lease or trio.current_time() < self._leased_since + LEASE_SECONDS:
            await trio.lowlevel.checkpoint()
            return []
        taken = await self.database.run_durably(
            partial(statements.take_over, master=self.master, held=ChainMap(self._held, self._given_up))
        )
        adopted: list[tuple[StoredLog, list[Entry]]] = []
        for stream_id, owner, fence, cancelled, age in taken:
            entries = await self.load(stream_id) or []
            stored = StoredRows(self, stream_id, owner, fence, age)
            stored.begin(entries)
            stored.cancelled = cancelled
            self._held[stream_id] = stored
            if entries:
                adopted.append((stored, entries))
            else:
                await stored.remove()
        return adopted

    async def photographs(self) -> set[str]:
        facts = await self.database.run(statements.photographs)
        return {found.decode() for fact in facts for found in _HASH.findall(fact)}

    async def cancel(self, stream_id: str) -> None:
        """Whoever holds the session, now or next, ends it."""
        await self.database.run_durably(partial(statements.cancel, stream_id=stream_id))

    async def claim(
        self, names: Sequence[tuple[str, ...]], fingerprint: str, stream_id: str
    ) -> tuple[str, str] | None:
        """Stream id and fingerprint of the upload that claimed one of `names` before; None when all are
        claimed now."""
        hashed = [hashlib.sha256("\0".join(name).encode()).digest() for name in names]
        return await self.database.run_durably(
            partial(statements.claim, names=hashed, fingerprint=fingerprint, stream_id=stream_id)
        )

    async def forget(self, stream_id: str) -> None:
        await self.database.run(partial(statements.forget, stream_id=stream_id))

    async def take_token(self, owner: str, per_minute: int) -> float:
        return await self.database.run(partial(statements.take_token, owner=owner, per_minute=per_minute))

    async def under_way(self, owner: str) -> int:
        return await self.database.run(partial(statements.under_way, owner=owner))

    def let_go(self, stored: StoredRows) -> bool:
        """It is not held any more; False when it was not."""
        if self._held.get(stored.stream_id) is not stored:  # this master may have taken it over itself
            return False
        del self._held[stored.stream_id]
        return True

    def give_up(self, stored: StoredRows) -> None:
        """To be handed back as soon as the database answers."""
        self.let_go(stored)
        self._given_up[stored.stream_id] = stored

    # -- what goes on all the time -------------------------------------------------------------------------

    async def run(self) -> None:
        """Never returns."""
        async with trio.open_nursery() as nursery:
            repeat = self._supervision.repeat
            nursery.start_soon(repeat, "packet log's lease", self._keep_lease, BEAT_SECONDS)
            nursery.start_soon(repeat, "packet log's cleaner", self._keep_clean, CLEAN_SECONDS)
            nursery.start_soon(repeat, "packet log's listener", self._listen)

    async def beat(self) -> None:
        """Renews the lease once. Raises `LogUnavailable`."""
        asked, losses = trio.current_time(), self.losses
        valid = await self.database.run(partial(statements.beat, master=self.master))
        if not valid or asked > self._leased_until:
            self._leased_since = asked
        self._leased_until = asked + LEASE_SECONDS
        for stream_id, stored in list(self._given_up.items()):
            await self.database.run_durably(stored.hand_back)
            if self._given_up.get(stream_id) is stored:
                del self._given_up[stream_id]
        if losses != self._stored_again:
            self._stored_again = losses
            for stored in list(self._held.values()):
                try:
                    await stored.store_again()
                except LogTakenOver:  # its session learns of it with its next packet
                    log.info("session is another master's", stream=stored.stream_id[:8])

    async def leave(self) -> None:
        """Its sessions are anybody's, at once."""
        try:
            await self.database.run_durably(partial(statements.leave, master=self.master))
        except LogUnavailable as error:
            log.info("left without a word", error=str(error))

    async def clean(self) -> None:
        await self.database.run(partial(statements.clean, replay=self._replay))

    async def _keep_lease(self) -> None:
        await self._unless_away(self.beat)

    async def _keep_clean(self) -> None:
        await self._unless_away(self.clean)

    async def _unless_away(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does `work`. That the database is away is said once, until it is back."""
        try:
            await work()
            self._said_away = False
        except LogUnavailable as error:
            if not self._said_away:
                log.warning("packet log's database is away", error=str(error))
            self._said_away = True

    async def _listen(self) -> None:
        """Never returns: a connection that breaks or cannot be had is tried again."""
        for pause in RETRIES:
            try:
                await self._listen_once()
            except LogUnavailable as error:
                log.debug("packet log's listener is away", error=str(error))
            finally:
                self._listening = False
            await trio.sleep(pause)

    async def _listen_once(self) -> None:
        """Until its connection breaks, which raises `LogUnavailable`. What was said meanwhile is asked
        for."""
        connection = await trio.to_thread.run_sync(self.database.listen, CHANNEL, limiter=self._connecting)
        try:
            self._listening = True
            self.changed("")
            self.orphaned.set()
            while True:
                await trio.lowlevel.wait_readable(connection.fileno())
                for payload in self.database.heard(connection):
                    self._heard(payload)
        finally:
            connection.close()

    def _heard(self, payload: str) -> None:
        if payload == "free":
            self.orphaned.set()
        elif payload.startswith("cancel "):
            self.cancelled(payload.removeprefix("cancel "))
        else:
            self.changed(payload)


def _ignore(stream_id: str) -> None:
    """Nobody is interested yet."""


@asynccontextmanager
async def open_log_rows(
    settings: Settings, failed: Callable[[OSError], None], supervision: Supervision
) -> AsyncIterator[LogRows]:
    """The logs in the database of `settings`. Raises `SettingUnusable` where there is none to be had, or one
    of a newer program."""
    database = LogDatabase(dsn_of(settings))
    logs = LogRows(database, settings.replay, failed, supervision)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_shielded, database.close)
        try:
            await database.prepare()
            await logs.beat()
        except LogUnavailable as error:
            raise SettingUnusable(str(error)) from None
        stack.push_async_callback(_shielded, logs.leave)  # of tables that are known to be ours
        async with trio.open_nursery() as nursery:
            nursery.start_soon(logs.run, name="packet logs in the database")
            yield logs
            nursery.cancel_scope.cancel()


async def _shielded(work: Callable[[], Awaitable[None]]) -> None:
    with trio.CancelScope(shield=True):
        await work()
