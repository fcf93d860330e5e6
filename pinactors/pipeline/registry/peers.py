"""Other masters on the same database: this master follows the packets of their running sessions, and takes
over the sessions of masters that have died.

A master that stores its logs in files has no peers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.state import replay
from pinactors.protocol.merge import ends
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.logs.rows import HEARTBEAT_SECONDS, LogRows
from pinactors.storage.logs.statements import LEASE_SECONDS

UNREAD_SECONDS = 60.0
"""Time without a reader after which another master's session is no longer followed."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """Another master's session: its packets, how many entries of its stored log have been read, and when it
    last had a reader."""

    log: PacketLog
    entries: int
    read_at: float


class Peers:
    """Follows sessions of other masters. `follow_changes` has to be called repeatedly meanwhile."""

    def __init__(self, rows: LogRows) -> None:
        self.rows = rows
        self._followed: dict[str, _Followed] = {}
        self._changed: set[str] = set()
        self._wake = trio.Event()
        rows.changed = self._mark_changed

    def find(self, stream_id: str) -> PacketLog | None:
        """The log of a session that is already followed, or None."""
        followed = self._followed.get(stream_id)
        return followed.log if followed is not None else None

    async def follow(self, stream_id: str) -> PacketLog | None:
        """Follows another master's session and returns its log, which grows with the stored one; None if
        there is no such session. Raises `LogUnavailable`, and `ValueError` for entries in another format."""
        entries = await self.rows.load(stream_id)
        state = replay(entries) if entries else None
        if entries is None or state is None:
            return None
        if (already_followed := self.find(stream_id)) is not None:  # begun by another task meanwhile
            return already_followed
        followed = PacketLog.of(state, closed=ends(state.packets))
        if not followed.closed:
            self._followed[stream_id] = _Followed(followed, len(entries), trio.current_time())
            self._mark_changed(stream_id)  # entries may have been added between `load` and this line
        return followed

    def follow_taken_over(self, own_log: PacketLog, entries: int) -> None:
        """Follows a session that another master has taken over from this one, so that its readers get the
        further packets. If the database is unreachable the log is closed, and clients reconnect elsewhere."""
        if self.rows.reachable:
            self._followed[own_log.stream_id] = _Followed(own_log, entries, trio.current_time())
            self._mark_changed(own_log.stream_id)
        else:
            own_log.close()

    def stop_following(self, stream_id: str, packets: list[bytes]) -> PacketLog | None:
        """Stops following a session that this master takes over; returns the log that its readers have, with
        all `packets`, or None if it was not followed."""
        followed = self._followed.pop(stream_id, None)
        if followed is None:
            return None
        for packet in packets[len(followed.log.packets) :]:
            followed.log.append(packet, terminal=False)
        return followed.log

    async def follow_changes(self) -> None:
        """Waits for changes, at most `HEARTBEAT_SECONDS`, and reads them; to be called repeatedly."""
        with trio.move_on_after(HEARTBEAT_SECONDS):
            await self._wake.wait()
        self._wake = trio.Event()
        changed, self._changed = self._changed, set()
        try:
            await self._catch_up(changed)
        except OSError as error:
            self._changed |= changed
            log.debug("other masters' packets not readable", error=str(error))
            await trio.sleep(HEARTBEAT_SECONDS)
        self._prune()

    async def _catch_up(self, changed: set[str]) -> None:
        await trio.lowlevel.checkpoint()
        ids = self._followed.keys() if "" in changed else changed
        wanted = {
            stream_id: followed
            for stream_id in ids
            if (followed := self._followed.get(stream_id)) is not None
        }
        if not wanted:
            return
        found = await self.rows.load_all(
            {stream_id: followed.entries for stream_id, followed in wanted.items()}
        )
        for stream_id, followed in wanted.items():
            if self._followed.get(stream_id) is not followed:  # this master has taken it over meanwhile
                continue
            if (entries := found.get(stream_id)) is None:  # dropped or removed: its readers ask again
                followed.log.close()
            else:
                self._add(followed, entries)
            if followed.log.closed:
                del self._followed[stream_id]

    def _add(self, followed: _Followed, entries: list[Entry]) -> None:
        followed.entries += len(entries)
        for kind, body in entries:
            if kind.startswith("P") and not followed.log.closed:
                followed.log.append(body, terminal=ends([body]))

    def _prune(self) -> None:
        now = trio.current_time()
        unavailable = not self.rows.reachable and not self.rows.has_lease_within(LEASE_SECONDS)
        for stream_id, followed in list(self._followed.items()):
            if followed.log.readers:
                followed.read_at = now
            if unavailable or followed.read_at < now - UNREAD_SECONDS:
                # No packet will be added any more: who has the log has to ask for the stream again, here or,
                # if the database is unavailable, at another master.
                followed.log.close()
                del self._followed[stream_id]

    def _mark_changed(self, stream_id: str) -> None:
        self._changed.add(stream_id)
        self._wake.set()


async def adopt_orphans(rows: LogRows, adopt: Callable[[], Awaitable[None]]) -> None:
    """Calls `adopt` when there may be sessions that no living master holds, and at least every
    `HEARTBEAT_SECONDS` seconds; to be called repeatedly."""
    with trio.move_on_after(HEARTBEAT_SECONDS):
        await rows.orphaned.wait()
    rows.orphaned = trio.Event()  # before `adopt`, during which there may be others
    try:
        await adopt()
    except OSError as error:
        log.debug("sessions to take over not readable", error=str(error))
        await trio.sleep(HEARTBEAT_SECONDS)
