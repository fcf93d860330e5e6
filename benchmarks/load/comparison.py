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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trio

from benchmarks import Say, phones
from benchmarks.figures import SAMPLE_SECONDS, Usage, machine, total
from benchmarks.links import limits
from benchmarks.load.arrivals import arrive, prepare
from benchmarks.load.capacity import CAPACITY_SECONDS, saturate
from benchmarks.load.visits import Visit, Workload, compare, summary
from benchmarks.peers.start import OURS, running, unavailable
from pinactors import components
from pinactors.catalog.demo import DESIGNS
from pinactors.client import NetworkError, NotPinactors, analyze
from pinactors.client.uploads import UploadContent
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings
from pinactors.simulation.link import Relay, relay
from pinactors.simulation.profiles import Profile

PATIENCE_SECONDS = 150.0
"""Seconds after which a phone counts its session as lost."""


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
        async with usage.sampling(server.pid), trio.open_nursery() as nursery:
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
