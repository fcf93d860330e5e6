"""What keeps the logs of sessions under way, so that another process can go on where one was killed.

A log is a list of entries: packets, each kept before any reader is given it, and facts about the session.
Here it is a file (`storage.logs.files`); several machines share a database instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """`kind` begins with `P` for a packet and is `M` for a fact; `body` is JSON without a newline.

    What follows the `P` (the component that made the packet and how it ended) is for `pipeline.state` to
    read.
    """

    kind: str
    body: bytes


class LogTakenOver(Exception):
    """Another process has the session by now. This one must not write to its log any more, nor tell anybody
    what it would have written."""


class StoredLog(Protocol):
    """The log of one session, held by this process until it is released, sealed, removed or set aside.

    `append` is done within seconds, whatever it comes to: it is not cancelled.
    """

    stream_id: str
    cancelled: bool
    """Whether the session was cancelled where it could not be ended: with the master that held it gone."""

    @property
    def healthy(self) -> bool:
        """Whether a later process would find the whole session in it."""
        ...

    @property
    def length(self) -> int:
        """Entries that are kept in it."""
        ...

    @property
    def age(self) -> float:
        """Seconds between its last entry and its adoption; 0 for one that this process created."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Returns when `entries` are kept, all of them or none, behind everything appended before.

        Storage that fails makes the log unhealthy, once and for all, and is reported to the owner of the
        logs; the session goes on without. Raises `LogTakenOver`.
        """
        ...

    async def seal(self, final: Entry) -> None:
        """The session is recorded, and its last packet with it. What the log still has to keep is up to the
        storage: readers of other machines, if there are any, must find `final`. Raises `LogTakenOver`."""
        ...

    async def finish(self) -> None:
        """Nothing is left to be done: it is there to be read, until it is removed or too old."""
        ...

    async def park(self) -> None:
        """Nothing is written for a while. It stays this process's as long as that lives, where others could
        take it."""
        ...

    async def remove(self) -> None:
        """Nothing in it is needed any more."""
        ...

    async def set_aside(self) -> None:
        """Keeps it for a person to look at, where `PacketLogs.adopt` does not find it."""
        ...

    async def release(self) -> None:
        """Leaves it as it is to whoever adopts it next."""
        ...


class PacketLogs(Protocol):
    """All logs of one storage."""

    def create(self, stream_id: str, owner: str = "") -> StoredLog:
        """A new log of a session of `owner`'s. Nothing is kept before the first `append`."""
        ...

    async def load(self, stream_id: str) -> list[Entry] | None:
        """The entries of a log, whoever holds it; None where there is none that can be read.

        `stream_id` may be anything a client sends.
        """
        ...

    async def adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        """The logs nobody alive holds, from now on held here. Empty ones are removed."""
        ...

    async def photographs(self) -> set[str]:
        """Hashes of the photographs that any log refers to, the ones set aside included."""
        ...
