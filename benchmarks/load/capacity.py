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
from benchmarks.figures import SAMPLE_SECONDS, Usage, machine, machine_seconds, percentiles, total
from benchmarks.load.arrivals import Pin, arrive, prepare
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
    outcomes = [UploadOutcome() for _ in arrivals]
    async with running(OURS, data, deadline=deadline) as server:
        await phones.upload(server.port, images[0])

        async def one(outcome: UploadOutcome, at: float, pin: int) -> None:
            await trio.sleep_until(began + at)
            tap = trio.current_time()
            with trio.move_on_after(deadline + PATIENCE_SECONDS) as scope:
                try:
                    outcome.status = await phones.watch(server.port, images[pin], partial(outcome.note, tap))
                except* (trio.BrokenResourceError, OSError) as group:
                    outcome.lost = repr(group.exceptions[0])
            if scope.cancelled_caught:
                outcome.lost = "no end came"
            elif outcome.status == 200 and outcome.ended is None:
                outcome.lost = outcome.lost or "the answer broke off"

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_progress, say, outcomes, began, nursery.cancel_scope)
            for outcome, arrival in zip(outcomes, arrivals, strict=True):
                nursery.start_soon(one, outcome, arrival.at, arrival.pin)
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
        **summary(outcomes, deadline),
        "longest_stall_seconds": total(metrics, "pinactors_loop_longest_stall_seconds"),
    }


async def _progress(say: Say, outcomes: list[UploadOutcome], began: float, scope: trio.CancelScope) -> None:
    while True:
        ended = sum(outcome.ended is not None for outcome in outcomes)
        refused = sum(outcome.status in (429, 503) for outcome in outcomes)
        lost = sum(bool(outcome.lost) for outcome in outcomes)
        took = trio.current_time() - began
        say(f"overload: {took:.0f} s, {len(outcomes)} come: {ended} ended, {refused} refused, {lost} lost")
        if ended + refused + lost >= len(outcomes):
            break
        await trio.sleep(SAMPLE_SECONDS)
    await trio.sleep(SAMPLE_SECONDS)  # the last ones close their connections
    scope.cancel()


def summary(outcomes: Sequence[UploadOutcome], deadline: float) -> dict[str, Any]:
    """The figures of a run. `past_deadline` counts sessions that, from the begin of their upload, took over
    `MARGIN_SECONDS` longer than their deadline."""
    ends = [outcome.ended for outcome in outcomes if outcome.ended is not None]
    return {
        "arrived": len(outcomes),
        "refused": sum(outcome.status in (429, 503) for outcome in outcomes),
        "complete": sum(outcome.complete for outcome in outcomes),
        "failed": sum(outcome.ended is not None and not outcome.complete for outcome in outcomes),
        "degraded": sum(outcome.degraded for outcome in outcomes),
        "timed_out": sum(outcome.timed_out for outcome in outcomes),
        "lost": sum(bool(outcome.lost) for outcome in outcomes),
        "errors": sorted({outcome.lost for outcome in outcomes if outcome.lost})[:10],
        "past_deadline": sum(end > deadline + MARGIN_SECONDS for end in ends),
        "first": percentiles(outcome.first for outcome in outcomes),
        "named": percentiles(outcome.named for outcome in outcomes),
        "priced": percentiles(outcome.priced for outcome in outcomes),
        "authenticated": percentiles(outcome.authenticated for outcome in outcomes),
        "ended": percentiles(ends),
        "priced_soon": sum(
            outcome.priced is not None and outcome.priced <= SOON_SECONDS for outcome in outcomes
        ),
        "visits": [
            {
                "first": outcome.first,
                "named": outcome.named,
                "priced": outcome.priced,
                "ended": outcome.ended,
                "status": outcome.status,
            }
            for outcome in outcomes
        ],
    }
