"""Other masters on the same database, as this one sees them: their sessions' packets, live, and what they
have claimed.

A master without peers keeps its logs in files and has none of this.
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
from pinactors.storage.logs.rows import BEAT_SECONDS, LogRows
from pinactors.storage.logs.statements import LEASE_SECONDS

UNREAD_SECONDS = 60.0
"""After so long without a reader another master's session is not followed any more."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """Another master's session: its packets here, and how many entries of its log they come from."""

    log: PacketLog
    entries: int
    read_at: float


class Peers:
    """Follows sessions of other masters. `follow_changes` has to be repeated as long as logs are followed."""

    def __init__(self, rows: LogRows) -> None:
        self.rows = rows
        self._followed: dict[str, _Followed] = {}
        self._changed: set[str] = set()
        self._wake = trio.Event()
        rows.changed = self._note

    def find(self, stream_id: str) -> PacketLog | None:
        """The log of a session that is followed already."""
        followed = self._followed.get(stream_id)
        return followed.log if followed is not None else None

    async def follow(self, stream_id: str) -> PacketLog | None:
        """The log of a session of another master, which grows as that does; None where there is none. Raises
        `LogUnavailable`, and `ValueError` for entries that are not as we write them."""
        entries = await self.rows.load(stream_id)
        state = replay(entries) if entries else None
        if entries is None or state is None:
            return None
        if (known := self.find(stream_id)) is not None:  # somebody else has asked meanwhile
            return known
        followed = PacketLog(
            stream_id, state.session_id, state.owner, packets=list(state.packets), closed=ends(state.packets)
        )
        if not followed.closed:
            self._followed[stream_id] = _Followed(followed, len(entries), trio.current_time())
            self._note(stream_id)  # what was written before anybody listened for it
        return followed

    def lost(self, taken: PacketLog, entries: int) -> None:
        """A session of this master is another's now: its readers get the packets that one adds. Where they
        cannot be had the log is closed, and clients go on elsewhere."""
        if self.rows.reachable:
            self._followed[taken.stream_id] = _Followed(taken, entries, trio.current_time())
            self._note(taken.stream_id)
        else:
            taken.close()

    def take(self, stream_id: str, packets: list[bytes]) -> PacketLog | None:
        """A session that was followed is this master's now: its readers' log, with all `packets`."""
        followed = self._followed.pop(stream_id, None)
        if followed is None:
            return None
        for packet in packets[len(followed.log.packets) :]:
            followed.log.append(packet, terminal=False)
        return followed.log

    async def follow_changes(self) -> None:
        """One look at what has changed, within `BEAT_SECONDS`; to be repeated for ever."""
        with trio.move_on_after(BEAT_SECONDS):
            await self._wake.wait()
        self._wake = trio.Event()
        changed, self._changed = self._changed, set()
        try:
            await self._catch_up(changed)
        except OSError as error:
            self._changed |= changed
            log.debug("other masters' packets not readable", error=str(error))
            await trio.sleep(BEAT_SECONDS)
        self._prune()

    async def _catch_up(self, changed: set[str]) -> None:
        await trio.lowlevel.checkpoint()
        ids = self._followed.keys() if "" in changed else changed
        wanted = {each: followed for each in ids if (followed := self._followed.get(each)) is not None}
        if not wanted:
            return
        found = await self.rows.load_all({each: followed.entries for each, followed in wanted.items()})
        for stream_id, followed in wanted.items():
            if self._followed.get(stream_id) is not followed:  # it is ours by now
                continue
            if (entries := found.get(stream_id)) is None:  # dropped, or removed: whoever reads on asks again
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
        away = not self.rows.reachable and not self.rows.has_lease_within(LEASE_SECONDS)
        for stream_id, followed in list(self._followed.items()):
            if followed.log.readers:
                followed.read_at = now
            if away:  # its readers go on elsewhere
                followed.log.close()
            if away or followed.read_at < now - UNREAD_SECONDS:
                del self._followed[stream_id]

    def _note(self, stream_id: str) -> None:
        self._changed.add(stream_id)
        self._wake.set()


async def adopt_orphans(rows: LogRows, adopt: Callable[[], Awaitable[None]]) -> None:
    """Calls `adopt` once, when there may be sessions that nobody alive holds; to be repeated for ever."""
    with trio.move_on_after(BEAT_SECONDS):
        await rows.orphaned.wait()
    try:
        await adopt()
    except OSError as error:
        log.debug("no sessions to take over to be had", error=str(error))
        await trio.sleep(BEAT_SECONDS)
