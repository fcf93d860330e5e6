"""The log of one session as rows of PostgreSQL, held by this master until another takes it over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import LogDatabase, LogUnavailable
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver

RETRIES = Backoff(0.05, 0.5)
"""Pauses between attempts while the database is unavailable."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Holder:
    """This master as the holder of logs; `master` is its id in the database. `held` has its logs by stream
    id, `given_up` those to be handed back as soon as the database answers. `failed` is called with each
    failure of a log.

    The lease is counted from the request for it (`leased_until`, on trio's clock), so that it ends here
    slightly earlier than in the database.
    """

    database: LogDatabase
    master: str
    failed: Callable[[OSError], None]
    held: dict[str, StoredRows] = field(default_factory=dict)
    given_up: dict[str, StoredRows] = field(default_factory=dict)
    leased_until: float = -inf

    @property
    def has_lease(self) -> bool:
        """Whether this master's lease is valid, so that no other master may take its sessions over."""
        return trio.current_time() < self.leased_until

    def drop(self, stored: StoredRows) -> bool:
        """Removes a log from the held ones; returns False if it was not among them."""
        # This master may hold the session again, under another `StoredRows`, after taking it over itself.
        if self.held.get(stored.stream_id) is not stored:
            return False
        del self.held[stored.stream_id]
        return True

    def give_up(self, stored: StoredRows) -> None:
        """Marks a log to be handed back."""
        self.drop(stored)
        self.given_up[stored.stream_id] = stored


class StoredRows:
    """The log of one session: a `StoredLog`. All entries are kept in memory as well, in case the database
    loses some."""

    def __init__(self, holder: Holder, stream_id: str, owner: str, fence: int, age: float = 0.0) -> None:
        self.stream_id = stream_id
        self.cancelled = False
        self.age = age
        self.owner = owner
        self.fence = fence
        self._holder = holder
        self._entries: list[Entry] = []
        self._kept = 0
        self._losses: int | None = None
        self._failed = False

    def __repr__(self) -> str:
        return f"<StoredRows {self.stream_id[:8]} fence {self.fence}>"

    @property
    def healthy(self) -> bool:
        return not self._failed

    @property
    def length(self) -> int:
        """Number of stored entries."""
        return self._kept

    def begin(self, entries: Sequence[Entry]) -> None:
        """Sets the entries that existed when this master took the session over."""
        self._entries = list(entries)
        self._kept = len(entries)
        self._losses = self._holder.database.losses

    async def append(self, entries: Sequence[Entry]) -> None:
        await self._append(entries, durable=False)

    async def seal(self, final: Entry) -> None:
        await self._append([final], durable=True)
        await self.finish()  # this also notifies the other masters, which a durable append does not

    async def store_again(self) -> None:
        """Stores all entries again if the database may have lost some. Raises `LogTakenOver`."""
        if self._losses is not None and self._losses != self._holder.database.losses:
            await self.append([])

    def hand_back(self, connection: Any) -> None:
        """Releases the session for another master, after storing all entries again: a crash of the database
        may have lost entries that readers already have."""
        statements.append(connection, **self._held, first=0, entries=self._entries)
        statements.release(connection, {self.stream_id: self.fence}, self._holder.master)

    async def finish(self) -> None:
        await self._attempt(
            partial(statements.finish, **self._held),
            partial(self._holder.database.run, single_statement=True),
        )
        self._holder.drop(self)

    async def remove(self) -> None:
        await self._attempt(partial(statements.remove, **self._held))
        self._holder.drop(self)

    async def set_aside(self) -> None:
        """Keeps the log as long as any finished log; no master takes it over."""
        await self.finish()

    async def park(self) -> None:
        await trio.lowlevel.checkpoint()

    async def release(self) -> None:
        if self._holder.drop(self):
            await self._attempt(
                partial(statements.release, fences={self.stream_id: self.fence}, master=self._holder.master)
            )

    @property
    def _held(self) -> dict[str, Any]:
        return {"stream_id": self.stream_id, "master": self._holder.master, "fence": self.fence}

    async def _append(self, entries: Sequence[Entry], *, durable: bool) -> None:
        self._entries.extend(entries)
        if self._failed:
            return
        run = self._holder.database.run_durably if durable else self._holder.database.run
        count = len(self._entries)
        for pause in RETRIES:
            losses = self._holder.database.losses
            first = self._kept if losses == self._losses else 0
            new = self._losses is None
            write = partial(
                self._write,
                new=new,
                first=first,
                entries=self._entries[first:count],
                notify=not durable,
            )
            try:
                held = await run(write, single_statement=new or first > 0)
            except LogUnavailable as error:
                if self._losses is None:  # no other master can see the session: it continues without its log
                    self._failed = True
                    self._holder.drop(self)
                    self._holder.failed(error)
                    return
                if not self._holder.has_lease:
                    self._holder.give_up(self)
                    raise LogTakenOver(
                        "the database is unavailable and others may take the session over"
                    ) from error
                await trio.sleep(pause)
            else:
                if not held:
                    self._holder.drop(self)
                    raise LogTakenOver(f"{self!r} is another master's")
                self._kept, self._losses = max(self._kept, count), losses
                return

    def _write(self, connection: Any, new: bool, first: int, entries: Sequence[Entry], notify: bool) -> bool:
        """A single statement, except when a session that the database may have lost is inserted again."""
        if first == 0 and not new:
            statements.create_again(connection, self.owner, **self._held)
        return statements.append(
            connection,
            **self._held,
            first=first,
            entries=entries,
            notify=notify,
            new_of=self.owner if new else None,
        )

    async def _attempt(
        self, function: Callable[[Any], None], run: Callable[..., Awaitable[None]] | None = None
    ) -> None:
        """Runs `function`. If the database is unavailable the log is given up: the master that takes it over
        ends it."""
        if self._failed:
            return
        try:
            await (run or self._holder.database.run_durably)(function)
        except LogUnavailable as error:
            log.warning("log not completed", stream=self.stream_id[:8], error=str(error))
            self._holder.give_up(self)
