"""The delay of a packet from one master's log to another master, without HTTP and analysis.

This process appends to the logs of sessions that begin and end. `python -m benchmarks.machines.hop URL`
follows them over the same PostgreSQL, as another master does, and reports how long after the begin of its
append each packet arrived. PostgreSQL waits for its disk here (not so in the tests): sessions are sealed
durably while packets of other sessions are being sent.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.figures import percentiles
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.peers import Peers
from pinactors.pipeline.state import Opened, entry_of, packet_entry
from pinactors.protocol import new_stream_id
from pinactors.settings import Settings
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.logs.rows import LogRows, open_log_rows
from pinactors.supervision import Supervision

SESSIONS = 20
"""Number of sessions under way at the same time."""

PACKETS = 7
"""Number of packets of a session, including the terminal one."""

PAUSE_SECONDS = 0.6
"""Longest pause before a packet; the average is half of it: about 60 packets and 8 seals a second."""

PACKET_BYTES = 1500
WARM_UP_SECONDS = 5.0
"""Packets of the first seconds do not count, because masters open database connections only when they need
them."""


async def measure(url: str, seconds: float, warm_up: float = WARM_UP_SECONDS) -> dict[str, Any]:
    """Measures for `seconds`. `seen_seconds`: from the begin of a packet's append until another master has
    the packet; `kept_seconds`: until the append has returned here, for packets that are not a session's
    last."""
    append_delays: list[float] = []
    command = [sys.executable, "-m", "benchmarks.machines.hop", url]
    async with _opened(url) as logs, trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        other_master: trio.Process = await nursery.start(start)
        control = other_master.stdin
        assert control is not None
        assert other_master.stdout is not None
        await other_master.stdout.receive_some(1)  # until it listens
        announcing = trio.Lock()
        counted_from = time.perf_counter() + warm_up

        async def session() -> None:
            while time.perf_counter() < counted_from + seconds:
                await _write_session(
                    logs, append_delays, counted_from, partial(_announce, control, announcing)
                )

        async with trio.open_nursery() as sessions:
            for _ in range(SESSIONS):
                sessions.start_soon(session)
        await control.aclose()
        answer = b"".join([bytes(piece) async for piece in other_master.stdout])
    arrival_delays = [delay for made, delay in json.loads(answer) if made > counted_from]
    return {"kept_seconds": percentiles(append_delays), "seen_seconds": percentiles(arrival_delays)}


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[LogRows]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), database_url=url)
        async with open_log_rows(settings, _failed, Supervision()) as logs:
            yield logs


def _failed(error: OSError) -> None:
    raise error


async def _announce(pipe: trio.abc.SendStream, lock: trio.Lock, stream_id: str) -> None:
    async with lock:
        await pipe.send_all(f"{stream_id}\n".encode())


async def _write_session(
    logs: LogRows, append_delays: list[float], counted_from: float, announce: Any
) -> None:
    """Writes one session from its first entry to its seal."""
    stream_id = new_stream_id()
    stored = logs.create(stream_id, "")
    await stored.append([entry_of(Opened(stream_id, f"hop-{stream_id}", "", None))])
    await announce(stream_id)
    for _ in range(PACKETS - 1):
        await trio.sleep(random.uniform(0, PAUSE_SECONDS))
        began = time.perf_counter()
        await stored.append([_packet("DETAILED_ANALYSIS")])
        if began > counted_from:
            append_delays.append(time.perf_counter() - began)
    await stored.seal(_packet("ANALYSIS_COMPLETE"))


def _packet(kind: str) -> Entry:
    """A packet with the time at which it was made, on a clock that all processes of a machine share."""
    fields = {"packetType": kind, "made": time.perf_counter(), "filler": "x" * PACKET_BYTES}
    return packet_entry(json.dumps(fields).encode())


async def follow(url: str) -> None:
    """The other master: follows the streams whose ids it reads from standard input, until that is closed."""
    arrivals: list[tuple[float, float]] = []
    async with _opened(url) as logs, trio.open_nursery() as nursery:
        peers = Peers(logs)
        nursery.start_soon(Supervision().repeat, "changes", peers.follow_changes)
        while not logs.reachable:  # noqa: ASYNC110 - another thread connects
            await trio.sleep(0.01)
        sys.stdout.write("\n")
        sys.stdout.flush()
        async with trio.open_nursery() as readers:
            rest = b""
            async for piece in trio.lowlevel.FdStream(sys.stdin.fileno()):
                *ids, rest = (rest + bytes(piece)).split(b"\n")
                for stream_id in ids:
                    readers.start_soon(_read, peers, stream_id.decode(), arrivals)
        nursery.cancel_scope.cancel()
    sys.stdout.write(json.dumps(arrivals))


async def _read(peers: Peers, stream_id: str, arrivals: list[tuple[float, float]]) -> None:
    """Notes when each packet was made and how much later it arrived here, except packets that were already in
    the log when this process began to follow the stream."""
    log: PacketLog | None = await peers.follow(stream_id)
    assert log is not None
    position = len(log.packets)
    with log.watching():
        while not log.closed or position < len(log.packets):
            await log.wait_beyond(position)
            now = time.perf_counter()
            made = [json.loads(packet)["made"] for packet in log.packets[position:]]
            arrivals.extend((each, now - each) for each in made)
            position = len(log.packets)


if __name__ == "__main__":
    trio.run(follow, sys.argv[1])
