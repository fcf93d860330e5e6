"""Packets a second to many readers of one stream, compared with the public Durable Streams server.

Both servers use the same protocol (`GET …?offset=-1&live=sse`). All readers are connected before the first
packet is written; then five packets of about a kilobyte are written at once and the stream is closed: on our
server by the components of one session, on the other by five appends and a closing one. The load generator
shares the machine, so that the server's CPU per packet says more than the rate.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from benchmarks import Say, phones
from benchmarks.figures import machine, percentiles
from benchmarks.overhead import PHOTOGRAPH
from benchmarks.peers import start
from benchmarks.server import stamp

PACKETS = 5
"""Number of results of a session, and of appends to the peer."""

ATTACHING_AT_ONCE = 50
ATTACH_SECONDS = 6.0
"""Seconds from a session's begin to its results: all readers must be connected by then."""

PEER = "durable-streams"
PEERS = {PEER: True, f"{PEER}, in memory": False}
"""The peer's variants, each with whether it stores files. Our server writes a journal, and serves readers
from memory."""

Fill = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class ServerRounds:
    """One server's rounds; `seconds` is the time from a round's first result to the last byte at the last
    reader."""

    seconds: float = 0.0
    server_cpu: float = 0.0
    received_bytes: int = 0
    delays: list[float | None] = field(default_factory=list)


async def measure(
    say: Say, *, readers: int, rounds: int, peer: bool = True, quick: bool = False
) -> dict[str, Any]:
    """Measures our server, then the peer. Raises `RuntimeError` if a reader missed a packet or connected too
    late."""
    pause = 1.0 if quick else ATTACH_SECONDS
    tallies = {name: ServerRounds() for name in (start.OURS, *PEERS)}
    why = start.unavailable(PEER) if peer else "not asked for"
    async with phones.server("burst", spread=pause) as our_server:
        for number in range(rounds):
            say(f"ours: round {number + 1} of {rounds}")
            async with _session(our_server) as path:
                await _round(our_server, path, readers, tallies[start.OURS])
    for name, files in PEERS.items() if not why else ():
        async with start.durable_streams(files=files) as there:
            for number in range(rounds):
                say(f"{name}: round {number + 1} of {rounds}")
                path = f"/stream-{number}"
                await _send(there.port, "PUT", path)
                await _round(there, path, readers, tallies[name], partial(_append, there.port, path))
    return {
        "benchmark": "readers",
        "machine": machine(),
        "readers": readers,
        "rounds": rounds,
        "skipped": {PEER: why} if why else {},
        "servers": {name: _figures(tally) for name, tally in tallies.items() if tally.delays},
    }


def _figures(tally: ServerRounds) -> dict[str, Any]:
    count = len(tally.delays)
    return {
        "packets": count,
        "packets_per_second": count / tally.seconds,
        "server_cpu_microseconds_per_packet": 1e6 * tally.server_cpu / count,
        "bytes_per_packet": tally.received_bytes / count,
        "seconds_from_result_to_reader": percentiles(tally.delays),
    }


async def _round(
    server: phones.ServerProcess, path: str, readers: int, tally: ServerRounds, fill: Fill | None = None
) -> None:
    """Connects `readers` to a stream, fills it with `fill` (ours fills itself) and reads it to its end."""
    attaching = trio.Semaphore(ATTACHING_AT_ONCE)
    attached, everybody = 0, trio.Event()
    first_stamp, last_byte = 2**63, 0

    async def reader() -> None:
        nonlocal attached, first_stamp, last_byte
        stamps: list[int] = []
        async with await _opened(server.port, path, attaching) as stream:
            attached += 1
            if attached == readers:
                everybody.set()
            tail = b""
            while data := await stream.receive_some(phones.PIECE_BYTES):
                now = time.perf_counter_ns()
                tally.received_bytes += len(data)
                found = [int(made) for made in phones.STAMP.findall(tail[-30:] + data)]
                tail = data
                tally.delays.extend((now - made) / 1e9 for made in found)
                stamps += found
                last_byte = max(last_byte, now)
        if len(stamps) != PACKETS:
            raise RuntimeError(f"a reader got {len(stamps)} of {PACKETS} packets")
        first_stamp = min(first_stamp, *stamps)

    async with trio.open_nursery() as nursery:
        for _ in range(readers):
            nursery.start_soon(reader)
        await everybody.wait()
        together, cpu = time.perf_counter_ns(), server.cpu_seconds()
        if fill is not None:
            await fill()
    if first_stamp < together:
        raise RuntimeError("the first packet came before all readers were there")
    tally.server_cpu += server.cpu_seconds() - cpu
    tally.seconds += (last_byte - first_stamp) / 1e9


async def _opened(port: int, path: str, attaching: trio.Semaphore) -> trio.SocketStream:
    """Opens a connection and waits until its answer has begun, so that the server has registered its
    reader."""
    async with attaching:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        head = f"GET {path}?offset=-1&live=sse HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        if not (await stream.receive_some(phones.PIECE_BYTES)).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a reader was refused")
        return stream


@asynccontextmanager
async def _session(server: phones.ServerProcess) -> AsyncIterator[str]:
    """Starts a session on a server that gives all its results at once, later; yields the path of its
    stream."""
    begun, path = trio.Event(), ""

    def note(packet: dict[str, Any]) -> None:
        nonlocal path
        path = path or f"/streams/{packet['streamId']}"
        begun.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(phones.watch, server.port, PHOTOGRAPH, note)
        await begun.wait()
        yield path


async def _append(port: int, path: str) -> None:
    for number in range(PACKETS):
        packet = {"type": "DETAILED_ANALYSIS", "sequence": number, "analysis": stamp()}
        await _send(port, "POST", path, json.dumps([packet]).encode())
    await _send(port, "POST", path, closing=True)


async def _send(port: int, method: str, path: str, body: bytes = b"", *, closing: bool = False) -> None:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nStream-Closed: {str(closing).lower()}\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(head.encode() + body)
        answer = await stream.receive_some(phones.PIECE_BYTES)
    if not answer.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"the peer refused a {method}: {answer[:200]!r}")
