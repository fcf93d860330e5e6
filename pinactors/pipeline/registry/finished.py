"""Sessions that have ended, as long as their readers may come back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import trio

from pinactors.pipeline.log import PacketLog
from pinactors.storage.logs.packet_logs import StoredLog

FINISHED_BYTES = 64 << 20
"""Memory of finished sessions; what is beyond, and older than `replay`, is read from the records."""

LOG_BYTES, PACKET_BYTES = 2500, 50
"""What a finished session has in memory beside its packets (its log, and the names by which a duplicate finds
it), and a packet beside its bytes. Measured with tracemalloc: 1,400 to 2,700 a session."""


class Finished:
    """Logs of ended sessions, oldest first: each for `replay` seconds, all of at most `FINISHED_BYTES`.

    `forgotten` is called with the stream id of one that is let go of, `expired` with the stored log of a
    session that repeated an earlier one's packets, when nobody reads it again: no record has those.
    """

    def __init__(
        self, replay: float, forgotten: Callable[[str], None], expired: Callable[[StoredLog], None]
    ) -> None:
        self._replay = replay
        self._forgotten = forgotten
        self._expired = expired
        self._logs: OrderedDict[str, tuple[float, PacketLog]] = OrderedDict()
        self._bytes = 0
        self._repeated: OrderedDict[str, tuple[float, StoredLog]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logs)

    def add(self, log: PacketLog) -> None:
        """A session of this process has ended."""
        self._logs[log.stream_id] = (trio.current_time(), log)
        self._bytes += _size(log)
        self.prune()

    def keep_repeated(self, stream_id: str, stored: StoredLog, age: float = 0.0) -> None:
        """The stored log of a session that repeated an earlier one's packets and ended `age` seconds ago."""
        self._repeated[stream_id] = trio.current_time() - age, stored

    def find(self, stream_id: str) -> PacketLog | None:
        """The log in memory; None where there is none."""
        found = self._logs.get(stream_id)
        return found[1] if found is not None else None

    def prune(self) -> None:
        """Lets go of what is too old to be read again, or too much to keep here."""
        oldest_kept = trio.current_time() - self._replay
        while self._repeated and next(iter(self._repeated.values()))[0] < oldest_kept:
            _, (_, stored) = self._repeated.popitem(last=False)
            self._expired(stored)
        while self._logs:
            stream_id, (ended, log) = next(iter(self._logs.items()))
            if ended >= oldest_kept and self._bytes <= FINISHED_BYTES:
                return
            del self._logs[stream_id]
            self._bytes -= _size(log)
            self._forgotten(stream_id)


def _size(log: PacketLog) -> int:
    return LOG_BYTES + sum(PACKET_BYTES + len(packet) for packet in log.packets)
