"""The capacity of our server, and its behaviour at four times that load.

`saturate` keeps more sessions under way than the cores can work on and counts those that end: sessions a
second, CPU per session, and the share of the machine that this is. `measure` then lets uploads arrive at a
multiple of that rate, independent of how they end, and measures what must hold under overload: an immediate
first packet, no session past its deadline; all other uploads are refused before they have sent anything, or
degraded, and are counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks import Say, phones
from benchmarks.arrivals import Pin, arrive, prepare
from benchmarks.figures import Usage, machine, machine_seconds, percentiles, total
from benchmarks.peers.start import OURS, running
from pinactors.catalog.demo import DESIGNS
from pinactors.settings import Settings

CAPACITY_SECONDS = 15.0
MIN_ENDED = 3
SESSIONS_A_CORE = 3
"""Sessions under way for each core."""

MARGIN_SECONDS = 1.0
"""Seconds after its deadline in which a session may still store its record and send its last packet."""

PATIENCE_SECONDS = 30.0
"""Seconds after the deadline from which a phone counts its session as lost."""

SAMPLE_SECONDS = 0.5


async def saturate(
    say: Say,
    server: phones.ServerProcess,
    pins: Sequence[Pin],
    seconds: float,
    *,
    root: int | None = None,
    sessions_a_core: int = SESSIONS_A_CORE,
    least: int = MIN_ENDED,
) -> dict[str, float | int]:
    """Runs a closed loop of uploads over loopback for `seconds`, and until `least` sessions have ended.
    Returns when all sessions have ended, because the next server on the same data folder would continue them.

    `root` is the process that started the workers, if that is not the server. `share_of_cores` is the
    throughput divided by (cores ÷ CPU per session). `share_of_available` is the same for the CPU time that no
    other process used, this load generator included: with the generator on another machine and no other load
    the two are equal.
    """
    images = [phones.read(pin) for pin in pins]
    cores = os.cpu_count() or 1
    ended: list[float] = []

    over = False

    async def phone(number: int) -> None:
        while not over:
            number += 1
            await phones.upload(server.port, images[number % len(images)])
            ended.append(time.perf_counter())

    async def until(passed: float, count: int) -> None:
        ends = trio.current_time() + passed
        while trio.current_time() < ends or len(ended) < count:
            say(f"our capacity: {len(ended)} sessions have ended")
            await trio.sleep(SAMPLE_SECONDS)

    await phones.upload(server.port, images[0])
    async with trio.open_nursery() as nursery:
        for number in range(sessions_a_core * cores):
            nursery.start_soon(phone, number)
        await until(seconds / 3, 1)  # so that the sessions are at different stages
        before, after = Usage(), Usage()
        before.sample(root or server.pid)
        began, all_before, ended_before = time.perf_counter(), machine_seconds(), len(ended)
        await until(seconds, ended_before + least)
        after.sample(root or server.pid)
        elapsed, others = time.perf_counter() - began, machine_seconds() - all_before
        count = len(ended) - ended_before
        over = True
    cpu = after.seconds - before.seconds
    others = max(0.0, others - cpu)
    return {
        "sessions": count,
        "sessions_per_second": count / elapsed,
        "cpu_seconds_per_session": cpu / count,
        "cores": cores,
        "share_of_cores": cpu / (cores * elapsed),
        "share_of_available": cpu / (cores * elapsed - others),
        "others_cpu_share": others / (cores * elapsed),
    }


SOON_SECONDS = 10.0
"""Seconds within which most sessions should have a name and a price, under any load."""


@dataclass(slots=True)
class UploadOutcome:
    """The outcome of one upload; times in seconds after its begin."""

    status: int = 0
    first: float | None = None
    named: float | None = None
    priced: float | None = None
    authenticated: float | None = None
    ended: float | None = None
    complete: bool = False
    degraded: bool = False
    timed_out: bool = False
    lost: str = ""

    def note(self, tap: float, packet: Mapping[str, Any]) -> None:
        now, kind = trio.current_time() - tap, packet["packetType"]
        if self.first is None:
            self.first = now
        if kind == "CHARACTER_IDENTIFICATION":
            self.named = now
        elif kind == "PRICING_ANALYSIS":
            self.priced = now
        elif kind == "AUTHENTICATION_RESULT":
            self.authenticated = now
            self.timed_out = packet.get("note") == "Analysis timed out"
        elif kind in ("ANALYSIS_COMPLETE", "ERROR"):
            self.ended = now
            self.complete = kind == "ANALYSIS_COMPLETE"
            self.degraded = bool(packet.get("degraded") or packet.get("missing"))


async def measure(
    say: Say,
    *,
    folder: Path,
    times: float = 4.0,
    seconds: float = 30.0,
    capacity_seconds: float = CAPACITY_SECONDS,
    sessions_a_core: int = SESSIONS_A_CORE,
    least: int = MIN_ENDED,
    pins: int = 6,
    seed: int = 1,
    deadline: float | None = None,
    catalogue: int = len(DESIGNS),
) -> dict[str, Any]:
    """Measures the capacity, then `times` as many arrivals for `seconds`; this takes up to a deadline longer.

    Raises `OSError`, `RuntimeError`.
    """
    deadline = deadline or float(Settings.model_fields["deadline"].default)
    say("drawing the catalogue and the photographs")
    data, drawn = await trio.to_thread.run_sync(prepare, folder, pins, catalogue)
    async with running(OURS, data, deadline=deadline) as server:
        capacity = await saturate(
            say, server, drawn, capacity_seconds, sessions_a_core=sessions_a_core, least=least
        )
    rate = times * capacity["sessions_per_second"]
    arrivals = arrive(rate, seconds, desktops=0.0, pins=len(drawn), links=1, drops=0.0, seed=seed)
    images = [phones.read(pin) for pin in drawn]
    visits = [UploadOutcome() for _ in arrivals]
    async with running(OURS, data, deadline=deadline) as server:
        await phones.upload(server.port, images[0])

        async def one(visit: UploadOutcome, at: float, pin: int) -> None:
            await trio.sleep_until(began + at)
            tap = trio.current_time()
            with trio.move_on_after(deadline + PATIENCE_SECONDS) as scope:
                try:
                    visit.status = await phones.watch(server.port, images[pin], partial(visit.note, tap))
                except* (trio.BrokenResourceError, OSError) as group:
                    visit.lost = repr(group.exceptions[0])
            if scope.cancelled_caught:
                visit.lost = "no end came"
            elif visit.status == 200 and visit.ended is None:
                visit.lost = visit.lost or "the answer broke off"

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_progress, say, visits, began, nursery.cancel_scope)
            for visit, arrival in zip(visits, arrivals, strict=True):
                nursery.start_soon(one, visit, arrival.at, arrival.pin)
        metrics = await phones.fetch(server.port, "/metrics")
    return {
        "benchmark": "overload",
        "machine": machine(),
        "capacity": capacity,
        "times": times,
        "seconds": seconds,
        "rate_per_second": rate,
        "deadline_seconds": deadline,
        "seed": seed,
        **summary(visits, deadline),
        "longest_stall_seconds": total(metrics, "pinactors_loop_longest_stall_seconds"),
    }


async def _progress(say: Say, visits: list[UploadOutcome], began: float, scope: trio.CancelScope) -> None:
    while True:
        ended = sum(visit.ended is not None for visit in visits)
        refused = sum(visit.status in (429, 503) for visit in visits)
        lost = sum(bool(visit.lost) for visit in visits)
        took = trio.current_time() - began
        say(f"overload: {took:.0f} s, {len(visits)} come: {ended} ended, {refused} refused, {lost} lost")
        if ended + refused + lost >= len(visits):
            break
        await trio.sleep(SAMPLE_SECONDS)
    await trio.sleep(SAMPLE_SECONDS)  # the last ones close their connections
    scope.cancel()


def summary(visits: Sequence[UploadOutcome], deadline: float) -> dict[str, Any]:
    """The figures of a run. `past_deadline` counts sessions that, from the begin of their upload, took over
    `MARGIN_SECONDS` longer than their deadline."""
    ends = [visit.ended for visit in visits if visit.ended is not None]
    return {
        "arrived": len(visits),
        "refused": sum(visit.status in (429, 503) for visit in visits),
        "complete": sum(visit.complete for visit in visits),
        "failed": sum(visit.ended is not None and not visit.complete for visit in visits),
        "degraded": sum(visit.degraded for visit in visits),
        "timed_out": sum(visit.timed_out for visit in visits),
        "lost": sum(bool(visit.lost) for visit in visits),
        "errors": sorted({visit.lost for visit in visits if visit.lost})[:10],
        "past_deadline": sum(end > deadline + MARGIN_SECONDS for end in ends),
        "first": percentiles(visit.first for visit in visits),
        "named": percentiles(visit.named for visit in visits),
        "priced": percentiles(visit.priced for visit in visits),
        "authenticated": percentiles(visit.authenticated for visit in visits),
        "ended": percentiles(ends),
        "priced_soon": sum(visit.priced is not None and visit.priced <= SOON_SECONDS for visit in visits),
        "visits": [
            {
                "first": visit.first,
                "named": visit.named,
                "priced": visit.priced,
                "ended": visit.ended,
                "status": visit.status,
            }
            for visit in visits
        ],
    }
