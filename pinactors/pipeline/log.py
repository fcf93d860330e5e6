"""The log of one session's packets: packet assembly appends to it, and readers are cursors on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import trio

from pinactors.pipeline.state import SessionState
from pinactors.records import StoredStream


class PacketLog:
    """A session's packets, encoded, in order, without their newline.

    A reader keeps an index into `packets` and nothing else, so that a slow reader delays no other. `closed`
    is true when nothing more will follow here; `ended` only if the terminal packet is in the log. Without
    it, an earlier session answers the upload, or the session continues or has ended at another master:
    readers have to ask for the stream again.
    """

    def __init__(
        self,
        stream_id: str,
        session_id: str,
        owner: str,
        *,
        packets: list[bytes] | None = None,
        closed: bool = False,
    ) -> None:
        self.stream_id = stream_id
        self.session_id = session_id
        self.owner = owner
        self.packets: list[bytes] = packets if packets is not None else []
        self.closed = self.ended = closed
        self.readers = 0
        self._waiting = trio.lowlevel.ParkingLot()
        self._abandoned: Callable[[], None] | None = None

    @classmethod
    def of(cls, session: SessionState | StoredStream, *, closed: bool = False) -> Self:
        """A log with the packets that `session` has so far; `closed` if the last one is terminal."""
        packets = list(session.packets)
        return cls(session.stream_id, session.session_id, session.owner, packets=packets, closed=closed)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<PacketLog {self.session_id} {len(self.packets)} packets {state} {self.readers} readers>"

    def append(self, encoded: bytes, *, terminal: bool) -> None:
        """Adds a packet and wakes the readers, which find all packets appended before they run.

        For packet assembly only. Raises `ValueError` if the log is closed.
        """
        if self.closed:
            raise ValueError(f"{self!r} is closed")
        self.packets.append(encoded)
        self.closed = self.ended = terminal
        self._waiting.unpark_all()

    def close(self) -> None:
        """Closes the log without a terminal packet; an ended one stays as it is."""
        self.closed = True
        self._waiting.unpark_all()

    async def wait_beyond(self, count: int) -> None:
        """Returns when there are more than `count` packets, or none will follow. Always a checkpoint."""
        if len(self.packets) > count or self.closed:
            await trio.lowlevel.checkpoint()
        while len(self.packets) <= count and not self.closed:
            await self._waiting.park()

    async def wait_closed(self) -> None:
        """Returns when nothing more will follow. Always a checkpoint."""
        while not self.closed:
            await self.wait_beyond(len(self.packets))
        await trio.lowlevel.checkpoint()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts a reader while inside. A reader that leaves with an exception or a cancellation has lost its
        connection; one that leaves without may return with its next poll, or has read everything. Calls the
        callback of `on_abandoned` if the last reader has lost its connection."""
        self.readers += 1
        connection_lost = True
        try:
            yield
            connection_lost = False
        finally:
            self.readers -= 1
            if connection_lost and not self.readers and not self.closed and self._abandoned is not None:
                self._abandoned()

    def on_abandoned(self, callback: Callable[[], None] | None) -> None:
        """Sets the function that is called when the last reader loses its connection before the log is
        closed."""
        self._abandoned = callback
