"""The cost of the pipeline itself: components that do nothing, in an otherwise real server.

- sessions a second, closed loop, with components in the event loop and in worker processes
- time from a component's result until another process has read its bytes, at several numbers of open sessions
- memory of the server per open, waiting session
- the event loop's longest stall while all workers are busy with drawn photographs
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

from benchmarks import Say, phones
from benchmarks.figures import bucket, machine, percentile, total
from benchmarks.server import HELD_BYTES
from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.catalog.importing.importer import import_catalog
from pinactors.protocol import View

PHOTOGRAPH = {"front": b"\xff\xd8 no component looks at it \xff\xd9"}
HELD_PHOTOGRAPH = {"front": b"\xff\xd8" + bytes(HELD_BYTES)}
"""A photograph whose session waits for ever."""

CLOSED_LOOP = 32
OPENING_AT_ONCE = 32
STALL_STEPS = ("0.005", "0.01", "0.02", "0.05", "0.1")
STALL_DESIGNS = 6


async def measure(say: Say, *, quick: bool = False) -> dict[str, Any]:
    """Runs all measurements, one after the other; about two minutes, or fifteen seconds if `quick`."""
    seconds = 2.0 if quick else 12.0
    result: dict[str, Any] = {"benchmark": "overhead", "machine": machine(), "quick": quick}
    result["throughput"] = {}
    for kind in ("inline", "workers"):
        say(f"throughput, {kind}: {seconds:.0f} s")
        result["throughput"][kind] = await throughput(kind, seconds)
    result["delay"] = {}
    for open_sessions in (1, 20) if quick else (1, 50, 500):
        say(f"result to socket with {open_sessions} open sessions")
        result["delay"][str(open_sessions)] = await delay(open_sessions, seconds)
    count = 100 if quick else 1000
    say(f"memory of {count} open sessions")
    result["memory"] = await memory(count)
    say("loop stalls while all workers are busy")
    result["stalls"] = await stalls(4.0 if quick else 30.0)
    return result


async def throughput(kind: str, seconds: float) -> dict[str, float]:
    """Sessions a second with `CLOSED_LOOP` phones that upload again and again."""
    async with phones.server(kind) as server:
        await phones.upload(server.port, PHOTOGRAPH)
        began, cpu = time.perf_counter(), server.cpu_seconds()
        took = await phones.closed_loop(server.port, [PHOTOGRAPH], CLOSED_LOOP, seconds)
        elapsed, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
    return {
        "sessions_per_second": len(took) / elapsed,
        "milliseconds_p50": 1000 * percentile(took, 50),
        "milliseconds_p99": 1000 * percentile(took, 99),
        "loop_cpu_milliseconds_per_session": 1000 * cpu / len(took),
    }


async def delay(open_sessions: int, seconds: float) -> dict[str, float]:
    """The time from a result to its bytes, with always that many sessions open, their results spread evenly
    over time.

    A session stays open for `spread` seconds, so that about 25 sessions begin and 125 results arrive per
    second, for any number of sessions (one session alone: 5 results in 2 s).
    """
    spread = max(2.0, open_sessions / 25)
    delays: list[float] = []
    async with phones.server("inline", spread=spread) as server:
        ends = trio.current_time() + spread + seconds

        async def phone(number: int) -> None:
            await trio.sleep(spread * number / open_sessions)
            while trio.current_time() < ends:
                sample: list[float] = []
                await phones.upload(server.port, PHOTOGRAPH, sample)
                if trio.current_time() > ends - seconds:
                    delays.extend(sample)

        async with trio.open_nursery() as nursery:
            for number in range(open_sessions):
                nursery.start_soon(phone, number)
    return {
        "results": len(delays),
        "milliseconds_p50": 1000 * percentile(delays, 50),
        "milliseconds_p99": 1000 * percentile(delays, 99),
        "milliseconds_max": 1000 * max(delays),
    }


async def memory(count: int) -> dict[str, float]:
    """The resident memory of the server per waiting session with its connection, without photographs."""
    async with phones.server("inline", deadline=1e6) as server, trio.open_nursery() as nursery:
        await hold(nursery, server, count // 10, 0)
        before = server.resident()
        await hold(nursery, server, count, count // 10)
        after = server.resident()
        nursery.cancel_scope.cancel()
    return {"kilobytes_per_session": (after - before) / (count - count // 10) / 1024, "sessions": count}


async def hold(nursery: trio.Nursery, server: phones.ServerProcess, wanted: int, already: int) -> None:
    """Opens sessions that never get a result, until there are `wanted`; they stay open as long as the
    nursery.

    Opens a few at a time, each until its first packet has arrived: all at once would be a test of the listen
    queue.
    """
    opening = trio.CapacityLimiter(OPENING_AT_ONCE)

    async def one(*, task_status: trio.TaskStatus[None]) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(phones.request(HELD_PHOTOGRAPH))
            await stream.receive_some()
            task_status.started()
            while await stream.receive_some():
                pass

    async def open_one() -> None:
        async with opening:
            await nursery.start(one)

    async with trio.open_nursery() as openers:
        for _ in range(wanted - already):
            openers.start_soon(open_one)


async def stalls(seconds: float) -> dict[str, Any]:
    """The durations of the server's event loop steps while twice as many uploads as workers are under way,
    with real analysis."""
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        data, drawn = Path(folder) / "data", Path(folder) / "drawn"
        designs = DESIGNS[:STALL_DESIGNS]
        draw_demo(drawn, dt.datetime.now(dt.UTC).date(), designs=designs)
        import_catalog(drawn, data / "catalog")
        pins = [{str(view): photograph(design, view, 5) for view in View} for design in designs]
        async with phones.server("real", data=data) as server:
            await phones.upload(server.port, pins[0])
            before = await _steps(server.port)
            began = time.perf_counter()
            took = await phones.closed_loop(server.port, pins, 2 * (os.cpu_count() or 1), seconds)
            elapsed = time.perf_counter() - began
            after = await _steps(server.port)
    over = {step: after["count"] - after[step] - (before["count"] - before[step]) for step in STALL_STEPS}
    none_over = [step for step, count in over.items() if not count]
    return {
        "longest_milliseconds_at_most": 1000 * (float(none_over[0]) if none_over else after["longest"]),
        "over_milliseconds": {f"{1000 * float(step):g}": count for step, count in over.items()},
        "uploads": len(took),
        "uploads_per_second": len(took) / elapsed,
        "seconds_per_upload_p50": percentile(took, 50),
    }


async def _steps(port: int) -> dict[str, float]:
    """The loop's histogram of long steps, cumulative by upper bound, and the longest step in seconds."""
    text = await phones.fetch(port, "/metrics")
    name = "pinactors_loop_stall_seconds"
    steps = {step: bucket(text, name, step) for step in STALL_STEPS}
    longest = total(text, "pinactors_loop_longest_stall_seconds")
    return steps | {"count": total(text, f"{name}_count"), "longest": longest}
