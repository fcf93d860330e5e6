"""The interface of packet logs: they are stored so that another process can continue the sessions of a
process that was killed.

A log is a list of entries: packets, each stored before any reader receives it, and facts about the session.
On one machine it is a file (`storage.logs.files`); several machines share a database (`storage.logs.rows`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

_PHOTOGRAPH_HASH = re.compile(rb'"sha256":"([0-9a-f]{64})"')


class Entry(NamedTuple):
    """An entry of a log. `kind` begins with `P` for a packet and is `M` for a fact; `body` is JSON without a
    newline.

    The text after the `P` (the component that made the packet and how it ended) is read by `pipeline.state`.
    """

    kind: str
    body: bytes


def photographs_in(facts: bytes) -> set[str]:
    """Hashes of the photographs that facts refer to; `facts` is their JSON, with any text around it."""
    return {sha256.decode() for sha256 in _PHOTOGRAPH_HASH.findall(facts)}


class LogTakenOver(Exception):
    """Another process has taken the session over. This one must no longer write to its log, nor send anyone
    what it would have written."""


class StoredLog(Protocol):
    """The log of one session, held by this process until it is released, sealed, removed or set aside.

    `append` ends within seconds, with success or failure, and cannot be cancelled.
    """

    stream_id: str
    cancelled: bool
    """Whether the session was cancelled while its master was dead and so could not end it."""

    @property
    def healthy(self) -> bool:
        """Whether a later process would find the whole session in the log."""
        ...

    @property
    def length(self) -> int:
        """Number of stored entries."""
        ...

    @property
    def age(self) -> float:
        """Seconds between the last entry and the adoption of the log; 0 if this process created the log."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores `entries`, all or none of them, after all entries appended before.

        A failure of the storage makes the log unhealthy for good and is reported to the owner of the logs;
        the session continues without its log. Raises `LogTakenOver`.
        """
        ...

    async def seal(self, final: Entry) -> None:
        """Ends the log of a session that is recorded, including its last packet `final`. A storage that
        machines share must still give `final` to readers on other machines; others may drop the log. Raises
        `LogTakenOver`."""
        ...

    async def finish(self) -> None:
        """Marks the session as finished: the log can be read until it is removed or expires."""
        ...

    async def park(self) -> None:
        """Pauses writing for a while. A storage that machines share keeps the log for this process as long as
        the process lives."""
        ...

    async def remove(self) -> None:
        """Deletes the log."""
        ...

    async def set_aside(self) -> None:
        """Keeps the log for inspection by a person, where `PacketLogs.adopt` does not find it."""
        ...

    async def release(self) -> None:
        """Stops holding the log and leaves it unchanged for the next process that adopts it."""
        ...


class PacketLogs(Protocol):
    """All logs of one storage."""

    def create(self, stream_id: str, owner: str = "") -> StoredLog:
        """A new log of a session of `owner`. Nothing is stored before the first `append`."""
        ...

    async def load(self, stream_id: str) -> list[Entry] | None:
        """The entries of a log, whichever process holds it; None if there is none. Raises `OSError` if it
        cannot be read now.

        `stream_id` may be any string that a client sends.
        """
        ...

    async def adopt(self) -> list[tuple[StoredLog, list[Entry]]]:
        """Takes over the logs that no living process holds, and returns them. Removes empty ones."""
        ...

    async def photographs(self) -> set[str]:
        """Hashes of the photographs that any log refers to, including logs that were set aside."""
        ...
