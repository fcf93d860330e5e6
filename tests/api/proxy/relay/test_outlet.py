"""The writer of a phone's log: each type of packet once, nothing behind the end, the journal first."""

from __future__ import annotations

import json
from pathlib import Path

from pinactors.api.proxy.masters.packets import read
from pinactors.api.proxy.relay.journal import Relayed, replay
from pinactors.api.proxy.relay.outlet import Outlet, RelayedLog
from pinactors.protocol import ProcessingStarted
from pinactors.storage.logs.files import open_log_files
from tests.api.proxy.scripted import COMPLETE, OPENING, STARTED

STREAM_ID = "a" * 24


def failed(error: OSError) -> None:
    raise error


async def test_packets_of_several_masters_are_one_stream() -> None:
    log = RelayedLog(STREAM_ID, "phone", "", [])
    outlet = Outlet(log)
    for raw in (OPENING, STARTED):
        outlet.add(raw, read(raw))
    await outlet.flush()
    for raw in (OPENING, STARTED, COMPLETE):  # another master, from its first packet
        outlet.add(raw, read(raw))
    assert outlet.ended
    assert not log.closed, "not flushed"
    await outlet.flush()
    packets = [json.loads(packet) for packet in log.packets]
    assert [packet["packetType"] for packet in packets] == [
        "CONNECTION_ESTABLISHED",
        "PROCESSING_STARTED",
        "ANALYSIS_COMPLETE",
    ]
    assert [packet["sequence"] for packet in packets] == [0, 1, 2]
    assert {packet["sessionId"] for packet in packets} == {"phone"}
    assert len(log.arrivals) == 3
    assert log.closed


async def test_a_packet_of_the_proxy_gets_the_next_number() -> None:
    log = RelayedLog(STREAM_ID, "phone", "", [OPENING])
    outlet = Outlet(log)
    outlet.write(ProcessingStarted(message="m"))
    outlet.add(STARTED, read(STARTED))
    await outlet.flush()
    (written,) = (json.loads(packet) for packet in log.packets[1:])
    assert (written["sequence"], written["sessionId"], written["message"]) == (1, "phone", "m")


async def test_a_journal_that_begins_late_has_everything(tmp_path: Path) -> None:
    log = RelayedLog(STREAM_ID, "s", "", [])
    outlet = Outlet(log)
    outlet.add(OPENING, read(OPENING))
    await outlet.flush()
    assert not outlet.journaled
    relayed = Relayed(STREAM_ID, "s", "", 9.0, "x.spool", "text/plain", "k")
    async with open_log_files(tmp_path, failed) as journals:
        outlet.begin_journal(relayed, journals.create(STREAM_ID))
        outlet.add(STARTED, read(STARTED))
        await outlet.flush()
        kept = replay(await journals.load(STREAM_ID) or [])
        assert kept is not None
        assert (kept.relayed, kept.packets) == (relayed, log.packets)
        await outlet.release()
