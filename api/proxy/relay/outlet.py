"""The phone's packet log, and its writer, which also writes the journal. Packets may come from several
masters."""

from __future__ import annotations

from typing import NamedTuple

import trio

from pinactors.api.proxy.masters.packets import MasterPacket, restamped
from pinactors.api.proxy.relay.journal import Relayed
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.state import Fact, entry_of, packet_entry
from pinactors.protocol import TERMINAL, Packet, timestamp
from pinactors.protocol.merge import kind_of
from pinactors.storage.logs.packet_logs import Entry, StoredLog


class RelayedLog(PacketLog):
    """A packet log with the time at which each packet arrived from its master (`arrivals`, trio's clock).
    `measured` is True if a reader measures when it passes the packets on; only one does, because later
    readers would measure their own delay."""

    def __init__(self, stream_id: str, session_id: str, owner: str, packets: list[bytes]) -> None:
        super().__init__(stream_id, session_id, owner, packets=packets)
        self.arrivals: list[float] = []
        self.measured = False


class _Packet(NamedTuple):
    encoded: bytes
    kind: str
    arrived_at: float


class Outlet:
    """The only writer of a log. Drops packets whose type the log has; nothing is added behind a terminal
    packet.

    Added packets reach the log's readers with `flush`, which writes all of them to the journal first, in one
    write. `journal` is None while the masters share a packet log that has everything that the journal would.
    """

    def __init__(self, log: RelayedLog, journal: StoredLog | None = None) -> None:
        self.log = log
        self._types = {kind_of(packet) for packet in log.packets}
        self._journal = journal
        self._entries: list[Entry] = []
        self._packets: list[_Packet] = []
        self._flushing = trio.Lock()
        self._count = len(log.packets)

    @property
    def ended(self) -> bool:
        """Whether a terminal packet was added, flushed or not."""
        return self.log.closed or not self._types.isdisjoint(TERMINAL)

    @property
    def journaled(self) -> bool:
        return self._journal is not None

    def begin_journal(self, relayed: Relayed, journal: StoredLog) -> None:
        """Sets the journal of a log that has none. The next `flush` writes to it what the log has already."""
        self._journal = journal
        self._entries = [entry_of(relayed), *map(packet_entry, self.log.packets), *self._entries]

    def note(self, fact: Fact) -> None:
        """Adds a fact to the journal, for the next process."""
        self._entries.append(entry_of(fact))

    def add(self, raw: bytes, packet: MasterPacket) -> None:
        """Adds a master's packet with the phone's sequence number and session id. Raises `NotPinactors` if it
        gets too long."""
        if packet.packet_type not in self._types:
            self._add(restamped(raw, packet, self._count, self.log.session_id), packet.packet_type)

    def write(self, packet: Packet) -> None:
        """Adds a packet made by the proxy."""
        packet.session_id, packet.timestamp = self.log.session_id, timestamp()
        packet.sequence = self._count
        self._add(packet.encode(), packet.packet_type)

    async def flush(self) -> None:
        """Writes added entries to the journal, then appends the packets to the log. Shielded from
        cancellation, so that journal and log agree."""
        with trio.CancelScope(shield=True):
            async with self._flushing:
                entries, self._entries = self._entries, []
                packets, self._packets = self._packets, []
                if entries and self._journal is not None:
                    await self._journal.append(entries)
                for packet in packets:
                    self.log.arrivals.append(packet.arrived_at)
                    self.log.append(packet.encoded, terminal=packet.kind in TERMINAL)

    async def release(self) -> None:
        """Closes the journal, so that another session object or process can continue it."""
        self.log.on_abandoned(None)
        if self._journal is None:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(shield=True):
            await self._journal.release()

    def _add(self, raw: bytes, kind: str) -> None:
        self._types.add(kind)
        self._count += 1
        self._entries.append(packet_entry(raw))
        self._packets.append(_Packet(raw, kind, trio.current_time()))
