"""Phones on cellular links and desktops, arriving at random, against our server and the peers in turn.

Open loop: arrivals are a Poisson process fixed by a seed before anything starts, so that a slow server does
not look better because phones wait for it. Unless it is given, their rate is a share of our server's
capacity, measured before: near saturation every design queues, and the figures would be those of the queue.
Every design gets the same arrivals, photographs, links and drops, one design after the other on the same
machine, so that visits can be compared in pairs. Each phone has a separate link, starts at a random time of
its trace, and uploads with the project's client: after a break an upload to our server is resumed; a peer,
which cannot resume, gets it again.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio

from benchmarks import Say, phones
from benchmarks.arrivals import Arrival, Pin, arrive, prepare
from benchmarks.capacity import CAPACITY_SECONDS, saturate
from benchmarks.figures import Percentiles, Usage, bucket, machine, percentiles, total
from benchmarks.links import limits
from benchmarks.peers.start import OURS, running, unavailable
from pinactors import components
from pinactors.catalog.demo import DESIGNS
from pinactors.client import NetworkError, NotPinactors, analyze
from pinactors.client.transports import RESUMABLE_BYTES
from pinactors.client.uploads import UploadContent
from pinactors.pipeline.declaration import Analysis
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings
from pinactors.simulation.link import Relay, relay
from pinactors.simulation.profiles import Profile

PATIENCE_SECONDS = 150.0
"""Seconds after which a phone counts its session as lost."""

SAMPLE_SECONDS = 0.5
TIMES = ("first", "authenticated", "completed")
STALL_STEPS = ("0.01", "0.05", "0.1")


@dataclass(slots=True)
class Visit:
    """The outcome of one arrival; times in seconds after its begin. `limit` is set for a phone whose
    connection was not cut."""

    arrival: Arrival
    first: float | None = None
    authenticated: float | None = None
    completed: float | None = None
    up_bytes: int = 0
    down_bytes: int = 0
    connections: int = 1
    degraded: bool = False
    error: str = ""
    limit: limits.Limit | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The arrivals, links and photographs that every design gets. Uploads of `resumable_bytes` or more are
    sent as resumable uploads."""

    links: Sequence[Profile]
    arrivals: Sequence[Arrival]
    data: Path
    pins: Sequence[Pin]
    costs: Sequence[limits.Costs]
    analysis: Analysis
    resumable_bytes: int = RESUMABLE_BYTES


async def measure(
    say: Say,
    links: Sequence[Profile],
    designs: Sequence[str],
    *,
    folder: Path,
    seconds: float = 60.0,
    rate: float | None = None,
    share: float = 0.5,
    capacity: dict[str, Any] | None = None,
    desktops: float = 0.15,
    drops: float = 0.1,
    pins: int = 6,
    seed: int = 1,
    catalogue: int = len(DESIGNS),
    repeats: int = limits.REPEATS,
) -> dict[str, Any]:
    """Runs every design on the same scene: `rate` arrivals a second, or `share` of our capacity, which is
    measured unless `capacity` gives it.

    `folder` keeps the drawn catalogue and the photographs. Raises `OSError`, `RuntimeError`.
    """
    skipped = {design: why for design in designs if (why := unavailable(design))}
    say("drawing the catalogue and the photographs")
    data, drawn = await trio.to_thread.run_sync(prepare, folder, pins, catalogue)
    say("measuring each component alone")
    costs = await trio.to_thread.run_sync(limits.alone, data, drawn, repeats)
    if rate is None:
        if capacity is None:
            async with running(OURS, data) as server:
                capacity = await saturate(say, server, drawn, CAPACITY_SECONDS)
        rate = share * capacity["sessions_per_second"]
    arrivals = arrive(
        rate, seconds, desktops=desktops, pins=len(drawn), links=len(links), drops=drops, seed=seed
    )
    workload = Workload(links, arrivals, data, drawn, costs, components.declare(Settings(data=data)))
    sizes = [path.stat().st_size for pin in drawn for path in pin.values()]
    result: dict[str, Any] = {
        "benchmark": "load",
        "machine": machine(),
        "links": [link.name for link in links],
        "phones": sum(arrival.phone for arrival in arrivals),
        "desktops": sum(not arrival.phone for arrival in arrivals),
        "rate_per_second": rate,
        "capacity": capacity,
        "seconds": seconds,
        "drops": drops,
        "seed": seed,
        "skipped": skipped,
        "photograph_bytes": {"least": min(sizes), "mean": int(np.mean(sizes)), "most": max(sizes)},
        "alone_seconds": {
            name: float(np.mean([each[name] for each in costs if name in each]))
            for name in sorted({name for each in costs for name in each})
        },
        "designs": {},
    }
    for design in designs:
        if design not in skipped:
            result["designs"][design] = await _run(say, design, workload)
    compare(result["designs"])
    return result


async def _run(say: Say, design: str, workload: Workload) -> dict[str, Any]:
    say(f"{design}: starting")
    if design != OURS:  # a peer would take the first piece of an upload for the whole upload
        workload = dataclasses.replace(workload, resumable_bytes=sys.maxsize)
    async with running(design, workload.data) as server:
        await phones.upload(server.port, phones.read(workload.pins[0]))
        usage, before = Usage(), Usage()
        before.sample(server.pid)
        counted = await _sessions(design, server.port)
        visits = [Visit(arrival) for arrival in workload.arrivals]
        began = trio.current_time()
        async with _sampling(usage, server.pid), trio.open_nursery() as nursery:
            nursery.start_soon(_progress, say, design, visits, began, nursery.cancel_scope)
            for visit in visits:
                nursery.start_soon(_visit, visit, began, server.port, workload)
        elapsed = trio.current_time() - began
        analyses = await _sessions(design, server.port) - counted
        metrics = await phones.fetch(server.port, "/metrics") if design == OURS else ""
    used = usage.seconds - before.seconds, usage.peak_bytes
    return summary(visits, workload, analyses, used, elapsed, metrics)


async def _visit(visit: Visit, began: float, port: int, workload: Workload) -> None:
    arrival = visit.arrival
    await trio.sleep_until(began + arrival.at)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            await (_phone if arrival.phone else _desktop)(visit, port, workload)
    except (trio.TooSlowError, NetworkError, NotPinactors, PinactorsError, OSError) as error:
        visit.error = repr(error)


async def _phone(visit: Visit, port: int, workload: Workload) -> None:
    arrival = visit.arrival
    profile = limits.shifted(workload.links[arrival.link], arrival.offset)
    # The same content as the client sends, to compute the limit.
    photographs = UploadContent(workload.pins[arrival.pin], session_id=f"bench_{secrets.token_hex(6)}")
    if arrival.cut is None:
        visit.limit = await limits.limit(profile, photographs, workload.analysis, workload.costs[arrival.pin])
    sent_before, sent = 0, 0

    def note_sent(now: int, _: int) -> None:
        nonlocal sent_before, sent
        if now < sent:  # the client has begun again on another connection
            sent_before += sent
        sent = now

    async with trio.open_nursery() as nursery:
        tap = trio.current_time()
        link_relay: Relay = await nursery.start(
            partial(relay, profile, "127.0.0.1", port, seed=arrival.number)
        )
        if arrival.cut is not None:
            nursery.start_soon(_cut, link_relay, arrival.cut)
        async with analyze(
            f"http://127.0.0.1:{link_relay.port}",
            workload.pins[arrival.pin],
            session_id=photographs.session_id,
            on_progress=note_sent,
            resumable_bytes=workload.resumable_bytes,
        ) as packets:
            async for packet in packets:
                now = trio.current_time() - tap
                visit.down_bytes += len(packet.raw) + 1
                if visit.first is None:
                    visit.first = now
                if packet.kind == "AUTHENTICATION_RESULT":
                    visit.authenticated = now
                elif packet.kind == "ANALYSIS_COMPLETE":
                    visit.completed = now
                    visit.degraded = bool(packet.fields["degraded"] or packet.fields["missing"])
                elif packet.kind == "ERROR":
                    visit.error = str(packet.fields.get("errorCode"))
        visit.up_bytes, visit.connections = sent_before + sent, link_relay.connections
        nursery.cancel_scope.cancel()


async def _cut(link_relay: Relay, after: float) -> None:
    await trio.sleep(after)
    link_relay.disconnect_all()


async def _desktop(visit: Visit, port: int, workload: Workload) -> None:
    """An upload over loopback that asks for one object; a peer that cannot do that streams."""
    request = phones.request(phones.read(workload.pins[visit.arrival.pin]), stream=False)
    tap = trio.current_time()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        answer = b"".join([bytes(data) async for data in stream])
    visit.up_bytes, visit.down_bytes = len(request), len(answer)
    if b'"success":true' in answer:
        visit.completed = trio.current_time() - tap
    else:
        visit.error = answer[:15].decode("latin-1")


@asynccontextmanager
async def _sampling(usage: Usage, pid: int) -> AsyncIterator[None]:
    async def sample() -> None:
        while True:
            usage.sample(pid)
            await trio.sleep(SAMPLE_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sample)
        yield
        usage.sample(pid)
        nursery.cancel_scope.cancel()


async def _progress(
    say: Say, design: str, visits: list[Visit], began: float, scope: trio.CancelScope
) -> None:
    """Reports progress, and ends the run when every visit is complete or lost."""
    while True:
        now = trio.current_time() - began
        come = sum(visit.arrival.at <= now for visit in visits)
        done = sum(visit.completed is not None for visit in visits)
        lost = sum(bool(visit.error) for visit in visits)
        say(f"{design}: {now:.0f} s, {come} of {len(visits)} have come, {done} complete, {lost} lost")
        if done + lost >= len(visits):
            break
        await trio.sleep(SAMPLE_SECONDS)
    await trio.sleep(SAMPLE_SECONDS)  # the last ones close their connections
    scope.cancel()


async def _sessions(design: str, port: int) -> int:
    """The number of analyses that the server has done."""
    if design != OURS:
        found = re.search(r"\d+", await phones.fetch(port, "/stats"))
        return int(found[0]) if found else 0
    text = await phones.fetch(port, "/metrics")
    return round(total(text, "pinactors_sessions_total"))


def summary(
    visits: list[Visit],
    workload: Workload,
    analyses: int,
    usage: tuple[float, int],
    elapsed: float,
    metrics: str,
) -> dict[str, Any]:
    """One design's figures. Percentiles are of visits that completed; `lost` counts the others.

    `usage` is the server's CPU seconds and its largest resident bytes, workers included.
    """
    phones_ = [visit for visit in visits if visit.arrival.phone]
    complete = [visit for visit in visits if visit.completed is not None]
    cpu, peak = usage
    result: dict[str, Any] = {
        "sessions": len(visits),
        "complete": len(complete),
        "lost": len(visits) - len(complete),
        "errors": sorted({visit.error for visit in visits if visit.error})[:10],
        "cut": sum(visit.arrival.cut is not None for visit in visits),
        "analyses_beyond_one_each": analyses - len(visits),
        "degraded": sum(visit.degraded for visit in visits),
        "elapsed_seconds": elapsed,
        "up_bytes": sum(visit.up_bytes for visit in visits),
        "down_bytes": sum(visit.down_bytes for visit in visits),
        "connections": sum(visit.connections for visit in visits),
        "cpu_seconds_per_session": cpu / max(1, len(complete)),
        "peak_megabytes": peak / 1e6,
        "desktop_completed": percentiles(visit.completed for visit in visits if not visit.arrival.phone),
        "phones": {name: percentiles(getattr(visit, name) for visit in phones_) for name in TIMES},
        "times_over_limit": _over_limit(phones_),
        "links": {
            link.name: _over_limit([visit for visit in phones_ if visit.arrival.link == number])
            for number, link in enumerate(workload.links)
        },
        "first_after_upload": percentiles(
            visit.first - visit.limit.upload
            for visit in phones_
            if visit.first is not None and visit.limit is not None
        ),
        "visits": [_row(visit, workload) for visit in visits],
    }
    if metrics:
        result["refused"] = total(metrics, "pinactors_refused_total")
        result["longest_stall_seconds"] = total(metrics, "pinactors_loop_longest_stall_seconds")
        stalls = "pinactors_loop_stall_seconds"
        count = total(metrics, f"{stalls}_count")
        result["stalls_over"] = {step: count - bucket(metrics, stalls, step) for step in STALL_STEPS}
    return result


def _over_limit(visits: Sequence[Visit]) -> dict[str, Percentiles | None]:
    """Percentiles of measured time divided by the physical limit, for phones that were not cut off."""
    return {
        name: percentiles(
            value / getattr(visit.limit, name)
            for visit in visits
            if visit.limit is not None and (value := getattr(visit, name)) is not None
        )
        for name in TIMES
    }


def _row(visit: Visit, workload: Workload) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(visit, name) for name in TIMES}
    row["phone"], row["cut"] = visit.arrival.phone, visit.arrival.cut is not None
    row["link"] = workload.links[visit.arrival.link].name if visit.arrival.phone else None
    row["limit"] = dataclasses.asdict(visit.limit) if visit.limit else None
    return row


def compare(designs: dict[str, dict[str, Any]]) -> None:
    """Adds to each peer a comparison of its phones with the same phones on our server: the same photographs,
    links and times. `median_ratio` is the peer's time to the authentication result divided by ours."""
    ours = designs.get(OURS)
    for name, figures in designs.items():
        if ours is None or name == OURS:
            continue
        pairs = [
            (our_row["authenticated"], their_row["authenticated"])
            for our_row, their_row in zip(ours["visits"], figures["visits"], strict=True)
            if our_row["authenticated"] is not None and their_row["authenticated"] is not None
        ]
        if pairs:
            figures["paired"] = {
                "n": len(pairs),
                "ours_sooner": sum(our_row < their_row for our_row, their_row in pairs) / len(pairs),
                "median_ratio": float(np.median([their_row / our_row for our_row, their_row in pairs])),
            }
