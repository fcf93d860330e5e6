"""The log of one session as rows of PostgreSQL, held by this master until another takes it over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.storage.logs import statements
from pinactors.storage.logs.database import LogUnavailable
from pinactors.storage.logs.packet_logs import Entry, LogTakenOver

if TYPE_CHECKING:
    from pinactors.storage.logs.rows import LogRows

RETRIES = Backoff(0.05, 0.5)
"""Pauses while the database is away."""

log = structlog.get_logger(__name__)


class StoredRows:
    """The log of one session: a `StoredLog`. It has all entries in memory as well, should the database lose
    some."""

    def __init__(self, logs: LogRows, stream_id: str, owner: str, fence: int, age: float = 0.0) -> None:
        self.stream_id = stream_id
        self.cancelled = False
        self.age = age
        self.owner = owner
        self.fence = fence
        self._logs = logs
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
        """Entries that are kept."""
        return self._kept

    def begin(self, entries: Sequence[Entry]) -> None:
        """It was taken over with these."""
        self._entries = list(entries)
        self._kept = len(entries)
        self._losses = self._logs.losses

    async def append(self, entries: Sequence[Entry]) -> None:
        await self._append(entries, durable=False)

    async def seal(self, final: Entry) -> None:
        await self._append([final], durable=True)
        await self.finish()  # which tells the others

    async def store_again(self) -> None:
        """What the database may have lost. Raises `LogTakenOver`."""
        if self._losses is not None and self._losses != self._logs.losses:
            await self.append([])

    def hand_back(self, connection: Any) -> None:
        """Leaves it to whoever takes it over, with all its entries: where the database crashed before it was
        away, it may have lost some that readers have."""
        statements.append(connection, **self._held, first=0, entries=self._entries)
        statements.release(connection, {self.stream_id: self.fence}, self._logs.master)

    async def finish(self) -> None:
        await self._attempt(partial(statements.finish, **self._held), self._logs.database.run)
        self._logs.let_go(self)

    async def remove(self) -> None:
        await self._attempt(partial(statements.remove, **self._held))
        self._logs.let_go(self)

    async def set_aside(self) -> None:
        """It stays as long as any finished log, and is not taken over."""
        await self.finish()

    async def park(self) -> None:
        await trio.lowlevel.checkpoint()

    async def release(self) -> None:
        if self._logs.let_go(self):
            await self._attempt(
                partial(statements.release, fences={self.stream_id: self.fence}, master=self._logs.master)
            )

    @property
    def _held(self) -> dict[str, Any]:
        return {"stream_id": self.stream_id, "master": self._logs.master, "fence": self.fence}

    async def _append(self, entries: Sequence[Entry], *, durable: bool) -> None:
        self._entries.extend(entries)
        if self._failed:
            return
        run = self._logs.database.run_durably if durable else self._logs.database.run
        count = len(self._entries)
        for pause in RETRIES:
            losses = self._logs.losses
            first = self._kept if losses == self._losses else 0
            write = partial(
                self._write,
                new=self._losses is None,
                first=first,
                entries=self._entries[first:count],
                notify=not durable,
            )
            try:
                held = await run(write, alone=first > 0)
            except LogUnavailable as error:
                if self._losses is None:  # nobody else knows of it: the session may go on alone
                    self._failed = True
                    self._logs.let_go(self)
                    self._logs.failed(error)
                    return
                if not self._logs.has_lease:
                    self._logs.give_up(self)
                    raise LogTakenOver("the database is away and others may take the session over") from error
                await trio.sleep(pause)
            else:
                if not held:
                    self._logs.let_go(self)
                    raise LogTakenOver(f"{self!r} is another master's")
                self._kept, self._losses = max(self._kept, count), losses
                return

    def _write(self, connection: Any, new: bool, first: int, entries: Sequence[Entry], notify: bool) -> bool:
        """One statement where the session has entries already."""
        if new:
            statements.create(connection, self.owner, **self._held)
        elif first == 0:
            statements.create_again(connection, self.owner, **self._held)
        return statements.append(connection, **self._held, first=first, entries=entries, notify=notify)

    async def _attempt(
        self, function: Callable[[Any], None], run: Callable[..., Awaitable[None]] | None = None
    ) -> None:
        """What is not done is made good by who takes the log over, should that be ever needed."""
        if self._failed:
            return
        try:
            await (run or self._logs.database.run_durably)(function)
        except LogUnavailable as error:
            log.warning("log not brought to its end", stream=self.stream_id[:8], error=str(error))
            self._logs.give_up(self)
