"""What a phone gets: one log, journalled, whatever masters its packets come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import trio

from pinactors.api.proxy import journal as journals
from pinactors.api.proxy.journal import Journal, Kept, Moved, Relayed, Uploaded
from pinactors.api.proxy.packets import Line, restamped
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import TERMINAL, Packet, timestamp
from pinactors.protocol.merge import kind_of


class RelayedLog(PacketLog):
    """A log that knows when each packet arrived here from its master (trio's clock). `measured`: a reader
    notes when it hands them on; one does, the others may come late."""

    def __init__(self, stream_id: str, session_id: str, owner: str, packets: list[bytes]) -> None:
        super().__init__(stream_id, session_id, owner, packets=packets)
        self.arrivals: list[float] = []
        self.measured = False

    def append(self, encoded: bytes, *, terminal: bool) -> None:
        self.arrivals.append(trio.current_time())
        super().append(encoded, terminal=terminal)


class Outlet:
    """The only writer of a log. No packet type gets through twice, and nothing behind a terminal packet."""

    def __init__(self, relayed: Relayed, packets: list[bytes], journal: Journal) -> None:
        self.log = RelayedLog(relayed.stream_id, relayed.session_id, relayed.owner, packets)
        self._had = {kind_of(packet) for packet in packets}
        self._journal = journal

    @classmethod
    def create(cls, folder: Path, relayed: Relayed, failed: Callable[[OSError], None]) -> Self:
        return cls(relayed, [], journals.create(folder, relayed, failed))

    @classmethod
    def reopen(cls, folder: Path, kept: Kept, failed: Callable[[OSError], None]) -> Self:
        """Goes on where another process was."""
        journal = journals.reopen(folder, kept.relayed.stream_id, failed)
        return cls(kept.relayed, kept.packets, journal)

    def moved(self, master: str, stream_id: str) -> None:
        """The next packets are from there."""
        self._journal.mark(Moved(master, stream_id))

    def uploaded(self, spool: str, ends_at: float) -> None:
        """The upload is whole."""
        self._journal.mark(Uploaded(spool, ends_at))

    def take(self, raw: bytes, line: Line) -> None:
        """A master's packet, put in the phone's order. Raises `NotPinactors` when it does not fit."""
        if line.packet_type not in self._had:
            raw = restamped(raw, line, len(self.log.packets), self.log.session_id)
            self._append(raw, line.packet_type)

    def write(self, packet: Packet) -> None:
        """A packet of our own."""
        packet.session_id, packet.timestamp = self.log.session_id, timestamp()
        packet.sequence = len(self.log.packets)
        self._append(packet.encode(), packet.packet_type)

    def release(self) -> None:
        """Leaves the journal to whoever comes next."""
        self._journal.release()
        self.log.on_abandoned(None)

    def _append(self, raw: bytes, kind: str) -> None:
        """The journal first: whatever a phone has is in it."""
        self._had.add(kind)
        self._journal.packet(raw)
        self.log.append(raw, terminal=kind in TERMINAL)
