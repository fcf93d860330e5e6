"""What a master does for its peers: it follows their sessions and takes over those without a holder."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pinactors.pipeline.registry.peers import UNREAD_SECONDS, Peers, adopt_orphans
from pinactors.pipeline.state import Opened, entry_of
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.logs.rows import HEARTBEAT_SECONDS

STREAM = "stream-0001"


class Rows:
    """The stored logs of other masters: one session, which makes no progress."""

    reachable = True

    async def load(self, stream_id: str) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        return [entry_of(Opened(stream_id, "session", "", None))]

    async def load_all(self, firsts: Mapping[str, int]) -> dict[str, list[Entry]]:
        await trio.lowlevel.checkpoint()
        return {stream_id: [] for stream_id in firsts}


async def test_who_holds_the_log_of_a_session_that_is_followed_no_longer_is_told(
    autojump_clock: MockClock,
) -> None:
    rows: Any = Rows()
    peers = Peers(rows)
    log = await peers.follow(STREAM)
    assert log is not None
    began = trio.current_time()
    with trio.fail_after(2 * UNREAD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.wait_closed)
            while peers.find(STREAM) is log:
                await peers.follow_changes()
    assert trio.current_time() - began == pytest.approx(UNREAD_SECONDS, abs=2 * HEARTBEAT_SECONDS)
    assert (log.closed, log.ended) == (True, False)


async def test_a_master_that_takes_nothing_over_waits_for_the_next_notification(
    autojump_clock: MockClock,
) -> None:
    """As while it drains: `adopt` then does not look for sessions at all."""
    rows: Any = SimpleNamespace(orphaned=trio.Event())
    calls: list[float] = []

    async def adopt() -> None:
        await trio.lowlevel.checkpoint()
        calls.append(trio.current_time() - began)

    began = trio.current_time()
    rows.orphaned.set()
    for _ in range(3):
        await adopt_orphans(rows, adopt)
    assert calls == pytest.approx([0, HEARTBEAT_SECONDS, 2 * HEARTBEAT_SECONDS])
