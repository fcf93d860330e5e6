"""Logs of sessions that have ended, kept as long as readers may return."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import trio

from pinactors.pipeline.log import PacketLog
from pinactors.storage.logs.packet_logs import StoredLog

FINISHED_BYTES = 64 << 20
"""Memory for finished sessions. Beyond it the oldest are dropped; their packets are read from the records."""

LOG_BYTES, PACKET_BYTES = 2500, 50
"""Bytes of memory of a finished session besides its packets (its log, and its claims for duplicates), and of
a packet besides its content. Measured with tracemalloc: 1,400 to 2,700 bytes per session."""


class Finished:
    """Logs of ended sessions, oldest first: each for `replay` seconds, all together at most `FINISHED_BYTES`.

    `forgotten` is called with the stream id of a log that is dropped. Sessions that repeated an earlier one's
    packets have no record, so that their stored logs are kept; `expired` is called with each after `replay`
    seconds.
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
        """Adds the log of a session of this process that has ended."""
        self._logs[log.stream_id] = (trio.current_time(), log)
        self._bytes += _size(log)
        self.prune()

    def keep_repeated(self, stream_id: str, stored: StoredLog, age: float = 0.0) -> None:
        """Keeps the stored log of a session that repeated an earlier one's packets and ended `age` seconds
        ago."""
        self._repeated[stream_id] = trio.current_time() - age, stored

    def find(self, stream_id: str) -> PacketLog | None:
        """The log in memory; None if there is none."""
        found = self._logs.get(stream_id)
        return found[1] if found is not None else None

    def prune(self) -> None:
        """Drops logs that have expired, and the oldest beyond `FINISHED_BYTES`."""
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
