"""Packet assembly: the actor that turns messages into packets. It is the only writer of a session's log."""

from __future__ import annotations

import msgspec
import trio

from pinactors.pipeline.actors.messages import (
    Connected,
    Dropped,
    Failed,
    Finish,
    Flush,
    Message,
    Repeat,
    Result,
    Started,
)
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.state import NO_COMPONENT, Began, Ended, Fact, SessionState, entry_of, packet_entry
from pinactors.protocol import (
    TERMINAL,
    ConnectionEstablished,
    EncodedPacket,
    ErrorPacket,
    Packet,
    PinactorsError,
    ProcessingStarted,
    timestamp,
)
from pinactors.protocol.merge import kind_of
from pinactors.storage.logs.packet_logs import Entry, StoredLog

DETAIL_LIMIT = 1000
"""Largest number of characters of an error's message, and of its detail, in a packet."""


class Assembly:
    """Adds session id, time and sequence to each packet, stores it, and then gives it to the readers, so that
    readers get only stored packets.

    Drops a second packet of the same type, and all packets after a terminal one. Messages that are ready
    together are stored with one write and wake the readers once. `run` returns when the last sender is
    closed.
    """

    def __init__(
        self,
        state: SessionState,
        log: PacketLog,
        stored: StoredLog,
        messages: trio.MemoryReceiveChannel[Message],
    ) -> None:
        self._state, self._log, self._stored = state, log, stored
        self._messages = messages
        self._session_id = msgspec.json.encode(state.session_id)
        self._types = {kind_of(packet) for packet in state.packets}
        self._pending = _Pending()

    def __repr__(self) -> str:
        return f"<Assembly {self._state.session_id} {len(self._state.packets)} packets>"

    async def run(self) -> None:
        """Handles messages until the last sender is closed. Raises `LogTakenOver`."""
        async for message in self._messages:
            self._take(message)
            for _ in range(self._messages.statistics().current_buffer_used):
                self._take(self._messages.receive_nowait())
            with trio.CancelScope(shield=True):  # packets that may be stored must reach the readers
                await self._write()

    async def _write(self) -> None:
        pending, self._pending = self._pending, _Pending()
        if pending.entries:
            await self._stored.append(pending.entries)
        if pending.final is not None:
            await self._stored.seal(packet_entry(pending.final))
            pending.packets.append((pending.final, NO_COMPONENT, NO_COMPONENT, {}))
        for fact in pending.facts:
            self._state.add_fact(fact)
        for number, packet in enumerate(pending.packets, 1):
            self._state.add_packet(*packet)
            self._log.append(packet[0], terminal=self._ended and number == len(pending.packets))
        if pending.dropped:
            self._log.close()
        for event in pending.written:
            event.set()

    @property
    def _ended(self) -> bool:
        return not self._types.isdisjoint(TERMINAL)

    def _take(self, message: Message) -> None:
        match message:
            case Flush(written):
                self._pending.written.append(written)
            case _ if self._ended or self._log.closed or self._pending.dropped:
                pass  # the log has ended
            case Connected(deadline_ms):
                if not self._state.packets:
                    self._fact(self._state.opened())
                opening = ConnectionEstablished(
                    message="Connected", stream_id=self._state.stream_id, deadline_ms=deadline_ms
                )
                self._packet(opening)
            case Started(at, waiting):
                if self._state.started_at is None:
                    self._fact(Began(at))
                self._packet(ProcessingStarted(message=_started(waiting)))
            case Result():
                self._result(message)
            case Repeat(packet):
                self._encoded(EncodedPacket.of(packet))
            case Finish(packet):
                self._types.add(kind_of(packet))
                self._pending.final = packet
            case Failed(error):
                self._packet(_error_packet(error))
            case Dropped():
                self._pending.dropped = True
            case Fact():
                self._fact(message)

    def _result(self, result: Result) -> None:
        """Handles the end of a component; ignores a second result of the same component."""
        name = result.component.name
        if name in self._state.outcomes or name in self._pending.components:
            return
        self._pending.components.add(name)
        if result.packet is None:
            self._fact(Ended(name, result.outcome))
        else:
            self._encoded(result.packet, name, result.outcome)

    def _fact(self, fact: Fact) -> None:
        self._pending.facts.append(fact)
        self._pending.entries.append(entry_of(fact))

    def _packet(self, packet: Packet) -> None:
        self._encoded(packet.encoded())

    def _encoded(
        self, packet: EncodedPacket, component: str = NO_COMPONENT, outcome: str = NO_COMPONENT
    ) -> None:
        if packet.packet_type in self._types:
            return
        if self._state.facts.get("demonstration"):
            packet = packet.marked()
        self._types.add(packet.packet_type)
        sequence = len(self._state.packets) + len(self._pending.packets)
        stamped = packet.stamped(self._session_id, timestamp(), sequence)
        self._pending.packets.append((stamped, component, outcome, packet.facts))
        self._pending.entries.append(packet_entry(stamped, component, outcome))


class _Pending:
    """The changes from the messages received since the last write."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.facts: list[Fact] = []
        self.packets: list[tuple[bytes, str, str, dict[str, object]]] = []
        self.components: set[str] = set()
        self.written: list[trio.Event] = []
        self.final: bytes | None = None
        self.dropped = False


def _started(waiting: int) -> str:
    if not waiting:
        return "Analysis started"
    before = "another is waiting" if waiting == 1 else f"{waiting} others are waiting"
    return f"Analysis started; {before} for this server"


def _error_packet(error: PinactorsError) -> ErrorPacket:
    short = PinactorsError(
        error.code,
        error.message[:DETAIL_LIMIT],
        error.detail[:DETAIL_LIMIT],
        field=error.field[:DETAIL_LIMIT],
        view=error.view,
    )
    return ErrorPacket.of(short)
