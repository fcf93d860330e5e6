"""Packet assembly: the only writer of a session's packets."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from pinactors.pipeline.component import Component
from pinactors.pipeline.course import Course, Outcome
from pinactors.pipeline.journal import Ended, Journal
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import Packet, decode, timestamp


@dataclass(frozen=True, slots=True)
class Result:
    """How a component ended; `packet` is None when it has nothing to say."""

    component: Component
    outcome: Outcome
    packet: Packet | None


class Assembly:
    """Stamps, encodes once, journals, then appends: in that order, so that no reader sees what is not kept.

    At most one packet of a type gets through, and none after a terminal one.
    """

    def __init__(self, course: Course, log: PacketLog, journal: Journal) -> None:
        self._course = course
        self._log = log
        self._journal = journal
        self._written = {packet.packet_type for packet in course.decoded()}

    def __repr__(self) -> str:
        return f"<Assembly {self._course.session_id} {len(self._course.packets)} packets>"

    async def run(self, results: trio.MemoryReceiveChannel[Result]) -> None:
        """Takes results until the last sender is closed. Those ready together wake the readers once."""
        async for result in results:
            self.take(result)

    def take(self, result: Result) -> None:
        """A component's end; a later one of the same component, or of its session, changes nothing."""
        name = result.component.name
        if name in self._course.outcomes or self._log.closed:
            return
        self._course.outcomes[name] = result.outcome
        if result.packet is None:
            self._journal.mark(Ended(name, result.outcome))
        else:
            self._course.packed.add(name)
            self.write(result.packet, name, result.outcome)

    def write(self, packet: Packet, component: str = "-", outcome: str = "-") -> None:
        """Stamps and appends `packet`, unless its type was written before or the log is closed."""
        if packet.packet_type not in self._written and not self._log.closed:
            self._written.add(packet.packet_type)
            sealed = self.seal(packet)
            self._append(sealed, terminal=packet.terminal, component=component, outcome=outcome)

    def repeat(self, encoded: bytes) -> None:
        """A packet of an equal session, as the next one of this."""
        self.write(decode(encoded))

    def seal(self, packet: Packet) -> bytes:
        """`packet` encoded as the next one, without appending it. Safe on another thread."""
        packet.session_id = self._course.session_id
        packet.sequence = len(self._course.packets)
        packet.timestamp = timestamp()
        return packet.encode()

    def finish(self, sealed: bytes) -> None:
        """Appends the terminal packet as `seal` made it."""
        self._append(sealed, terminal=True)

    def _append(self, encoded: bytes, *, terminal: bool, component: str = "-", outcome: str = "-") -> None:
        self._journal.packet(encoded, component, outcome)
        self._log.append(encoded, terminal=terminal)
