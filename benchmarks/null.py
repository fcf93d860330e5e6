"""The cost of each design around components that return immediately: sessions a second, eight packets per
session.

All designs run during the whole benchmark and are driven in turn, a few rounds each, by the same closed loop
of phones, so that other load of the machine affects all of them equally. The driver shares the machine, so
that the CPU time of the server's event loop per session says more than its throughput: both are given.
Components run in the event loop in every design. `recorded` designs insert a row before the last packet, as
ours must; the others do not. Our server also keeps a journal, a log to resume from and every photograph.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks import Say, phones
from benchmarks.figures import machine, percentiles
from benchmarks.overhead import CLOSED_LOOP, PHOTOGRAPH
from benchmarks.peers.start import OURS, running, unavailable


@dataclass(slots=True)
class DesignTally:
    """One design's sessions over all rounds. CPU is that of the server process, without workers."""

    seconds: float = 0.0
    server_cpu: float = 0.0
    driver_cpu: float = 0.0
    took: list[float | None] = field(default_factory=list)


async def measure(say: Say, designs: Sequence[str], *, rounds: int, seconds: float) -> dict[str, Any]:
    """Runs `rounds` rounds, with `seconds` for each design in each."""
    skipped = {design: why for design in designs if (why := unavailable(design))}
    tallies: dict[str, DesignTally] = {}
    async with AsyncExitStack() as stack:
        servers = {}
        for design in [design for design in designs if design not in skipped]:
            for recorded in (True,) if design == OURS else (True, False):
                name = design if design == OURS else f"{design}{', recorded' if recorded else ''}"
                say(f"{name}: starting")
                servers[name] = await stack.enter_async_context(running(design, null=True, record=recorded))
                tallies[name] = DesignTally()
                await _drive(servers[name], DesignTally(), min(1.0, seconds))
        for number in range(rounds):
            for name, server in servers.items():
                say(f"round {number + 1} of {rounds}: {name}")
                await _drive(server, tallies[name], seconds)
    return {
        "benchmark": "null",
        "machine": machine(),
        "phones": CLOSED_LOOP,
        "rounds": rounds,
        "seconds": seconds,
        "skipped": skipped,
        "designs": _figures(tallies),
    }


async def _drive(server: phones.ServerProcess, tally: DesignTally, seconds: float) -> None:
    began, cpu, own = time.perf_counter(), server.cpu_seconds(), time.process_time()
    tally.took += await phones.closed_loop(server.port, [PHOTOGRAPH], CLOSED_LOOP, seconds)
    tally.seconds += time.perf_counter() - began
    tally.server_cpu += server.cpu_seconds() - cpu
    tally.driver_cpu += time.process_time() - own


def _figures(tallies: dict[str, DesignTally]) -> dict[str, Any]:
    ours = tallies.get(OURS)
    figures: dict[str, Any] = {}
    for name, tally in tallies.items():
        count = len(tally.took)
        figures[name] = {
            "sessions_per_second": count / tally.seconds,
            "server_cpu_milliseconds": 1000 * tally.server_cpu / count,
            "driver_cpu_milliseconds": 1000 * tally.driver_cpu / count,
            "seconds_per_session": percentiles(tally.took),
        }
        if ours is not None and ours is not tally:
            figures[name] |= {
                "ours_over_it": (len(ours.took) / ours.seconds) / (count / tally.seconds),
                "ours_over_it_by_server_cpu": (tally.server_cpu / count) / (ours.server_cpu / len(ours.took)),
            }
    return figures
