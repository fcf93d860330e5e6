"""Phones on cellular links and desktops, arriving by chance, against ours and the peers in turn.

Open loop: arrivals are a Poisson process fixed by a seed before anything starts, so that a slow server is not
flattered by phones that wait for it. Every design meets the same arrivals, photographs, links and drops,
one design after the other on the same machine. A phone has a link of its own, met at a random moment of its
trace, and uploads with the project's client: after a break ours is resumed, a peer, which has no resume, gets
the upload again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import trio

from benchmarks import limits, phones
from benchmarks.overhead import machine
from benchmarks.peers.start import OURS, running, unavailable
from pinactors import components
from pinactors.catalog.demo import DESIGNS, draw_demo, photograph
from pinactors.catalog.importer import import_catalog
from pinactors.client import NetworkError, NotPinactors, analyze
from pinactors.client.link import Relay, relay
from pinactors.client.profiles import Profile
from pinactors.client.uploads import Photographs
from pinactors.pipeline.component import Analysis
from pinactors.protocol import PinactorsError, View
from pinactors.settings import Settings

PATIENCE = 150.0
"""Seconds after which a phone puts its session down as lost."""

SAMPLE_SECONDS = 0.5
OFFSET_SECONDS = 120.0
"""Phones meet their link's trace at a random moment of this many seconds."""

TIMES = ("first", "authenticated", "completed")
STALL_STEPS = ("0.01", "0.05", "0.1")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody taps `at` seconds after the start. `cut` seconds later the connection breaks, if at all."""

    number: int
    at: float
    phone: bool
    pin: int
    offset: float
    cut: float | None


@dataclass(slots=True)
class Visit:
    """What one of them saw, seconds after the tap; `limit` is of a phone whose connection was not cut."""

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
class Scene:
    """Who comes when, over which link, with what."""

    profile: Profile
    arrivals: tuple[Arrival, ...]
    data: Path
    pins: list[dict[View, Path]]
    costs: list[dict[str, float]]
    analysis: Analysis


@dataclass(slots=True)
class Usage:
    """Of a server and what it started, sampled."""

    cpu: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0

    def sample(self, pid: int) -> None:
        try:
            root = psutil.Process(pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        resident = 0
        for process in tree:
            try:
                times = process.cpu_times()
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.cpu[process.pid] = times.user + times.system
        self.peak_bytes = max(self.peak_bytes, resident)

    @property
    def seconds(self) -> float:
        return sum(self.cpu.values())


def arrive(phones_: int, desktops: int, seconds: float, pins: int, drops: float, seed: int) -> list[Arrival]:
    """A Poisson process given its count: so many moments, evenly spread by chance.

    `drops` is the share of phones whose connection breaks once, within the first ten seconds.
    """
    chance = random.Random(seed)
    kinds = [True] * phones_ + [False] * desktops
    chance.shuffle(kinds)
    moments = sorted(chance.uniform(0, seconds) for _ in kinds)
    arrivals = []
    for number, (at, phone) in enumerate(zip(moments, kinds, strict=True)):
        pin, offset = chance.randrange(pins), chance.uniform(0, OFFSET_SECONDS)
        breaks, cut = chance.random() < drops, chance.uniform(0.5, 10.0)
        arrivals.append(Arrival(number, at, phone, pin, offset, cut if phone and breaks else None))
    return arrivals


async def measure(
    say: Say,
    profile: Profile,
    designs: list[str],
    *,
    phones_: int,
    desktops: int,
    seconds: float,
    drops: float,
    pins: int,
    seed: int,
    folder: Path,
    catalogue: int = len(DESIGNS),
) -> dict[str, Any]:
    """Runs every design on the same scene. `folder` keeps the drawn catalogue of so many pins
    and the photographs."""
    skipped = {design: why for design in designs if (why := unavailable(design))}
    say("drawing the catalogue and the photographs")
    data, drawn = await trio.to_thread.run_sync(prepare, folder, pins, catalogue)
    say("measuring each component alone")
    costs = await trio.to_thread.run_sync(limits.alone, data, drawn)
    arrivals = tuple(arrive(phones_, desktops, seconds, len(drawn), drops, seed))
    analysis = components.declare(Settings(data=data))
    scene = Scene(profile, arrivals, data, drawn, costs, analysis)
    result: dict[str, Any] = {
        "benchmark": "load",
        "machine": machine(),
        "link": profile.name,
        "phones": phones_,
        "desktops": desktops,
        "seconds": seconds,
        "drops": drops,
        "seed": seed,
        "skipped": skipped,
        "photograph_bytes": int(np.mean([path.stat().st_size for pin in drawn for path in pin.values()])),
        "alone_seconds": {
            name: float(np.mean([each[name] for each in costs if name in each]))
            for name in sorted({name for each in costs for name in each})
        },
        "designs": {},
    }
    for design in designs:
        if design not in skipped:
            result["designs"][design] = await _run(say, design, scene)
    return result


def prepare(folder: Path, pins: int, catalogue: int = len(DESIGNS)) -> tuple[Path, list[dict[View, Path]]]:
    """A data folder with an imported catalogue, and photographs of its first `pins` pins; drawn once."""
    data, photographs = folder / "data", folder / "photographs"
    if not (data / "catalog" / "CURRENT").exists():
        draw_demo(folder / "drawn", dt.datetime.now(dt.UTC).date(), designs=DESIGNS[:catalogue])
        import_catalog(folder / "drawn", data / "catalog")
    photographs.mkdir(exist_ok=True)
    drawn = []
    for design in DESIGNS[:pins]:
        paths = {view: photographs / f"{design.pin_id}_{view}.jpg" for view in View}
        for view, path in paths.items():
            if not path.exists():
                path.write_bytes(photograph(design, view, 5))
        drawn.append(paths)
    return data, drawn


async def _run(say: Say, design: str, scene: Scene) -> dict[str, Any]:
    say(f"{design}: starting")
    async with running(design, scene.data) as server:
        await phones.upload(
            server.port, {str(view): path.read_bytes() for view, path in scene.pins[0].items()}
        )
        usage, before = Usage(), Usage()
        before.sample(server.pid)
        counted = await _sessions(design, server.port)
        visits = [Visit(arrival) for arrival in scene.arrivals]
        began = trio.current_time()
        async with _sampling(usage, server.pid), trio.open_nursery() as nursery:
            nursery.start_soon(_progress, say, design, visits, began, nursery.cancel_scope)
            for visit in visits:
                nursery.start_soon(_visit, visit, began, server.port, scene)
        elapsed = trio.current_time() - began
        analyses = await _sessions(design, server.port) - counted
        metrics = await phones.fetch(server.port, "/metrics") if design == OURS else ""
    return summary(visits, analyses, usage.seconds - before.seconds, usage.peak_bytes, elapsed, metrics)


async def _visit(visit: Visit, began: float, port: int, scene: Scene) -> None:
    arrival = visit.arrival
    await trio.sleep_until(began + arrival.at)
    try:
        with trio.fail_after(PATIENCE):
            await (_phone if arrival.phone else _desktop)(visit, port, scene)
    except (trio.TooSlowError, NetworkError, NotPinactors, PinactorsError, OSError) as error:
        visit.error = repr(error)


async def _phone(visit: Visit, port: int, scene: Scene) -> None:
    arrival = visit.arrival
    profile = limits.shifted(scene.profile, arrival.offset)
    # What the client sends, for the limit.
    photographs = Photographs(scene.pins[arrival.pin], session_id=f"bench_{secrets.token_hex(6)}")
    if arrival.cut is None:
        visit.limit = await limits.limit(profile, photographs, scene.analysis, scene.costs[arrival.pin])
    sent_before, sent = 0, 0

    def note_sent(now: int, _: int) -> None:
        nonlocal sent_before, sent
        if now < sent:  # another connection has begun
            sent_before += sent
        sent = now

    async with trio.open_nursery() as nursery:
        tap = trio.current_time()
        way: Relay = await nursery.start(partial(relay, profile, "127.0.0.1", port, seed=arrival.number))
        if arrival.cut is not None:
            nursery.start_soon(_cut, way, arrival.cut)
        async with analyze(
            f"http://127.0.0.1:{way.port}",
            scene.pins[arrival.pin],
            session_id=photographs.session_id,
            on_progress=note_sent,
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
        visit.up_bytes, visit.connections = sent_before + sent, way.connections
        nursery.cancel_scope.cancel()


async def _cut(way: Relay, after: float) -> None:
    await trio.sleep(after)
    way.cut()


async def _desktop(visit: Visit, port: int, scene: Scene) -> None:
    """On the machine's own network, wanting one object; a peer that cannot do that streams to it."""
    images = {str(view): path.read_bytes() for view, path in scene.pins[visit.arrival.pin].items()}
    request = phones.request(images, stream=False)
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
    """Ends the run when everybody is served or lost."""
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
    """How many analyses the server has begun."""
    if design != OURS:
        found = re.search(r"\d+", await phones.fetch(port, "/stats"))
        return int(found[0]) if found else 0
    text = await phones.fetch(port, "/metrics")
    return round(total(text, "pinactors_sessions_total"))


def total(metrics: str, name: str) -> float:
    """The sum over a metric's labels."""
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", metrics, re.M))


def summary(
    visits: list[Visit], analyses: int, cpu: float, peak: int, elapsed: float, metrics: str
) -> dict[str, Any]:
    """One design's figures. Percentiles are of those that completed; `lost` counts the others."""
    phones_ = [visit for visit in visits if visit.arrival.phone]
    complete = [visit for visit in visits if visit.completed is not None]
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
        "desktop_completed": percentiles([visit.completed for visit in visits if not visit.arrival.phone]),
        "phones": {name: percentiles([getattr(visit, name) for visit in phones_]) for name in TIMES},
        "times_over_limit": {
            name: percentiles(
                [
                    value / getattr(visit.limit, name)
                    for visit in phones_
                    if visit.limit is not None and (value := getattr(visit, name)) is not None
                ]
            )
            for name in TIMES
        },
        "first_after_upload": percentiles(
            [
                visit.first - visit.limit.upload
                for visit in phones_
                if visit.first is not None and visit.limit is not None
            ]
        ),
        "visits": [_row(visit) for visit in visits],
    }
    if metrics:
        result["refused"] = total(metrics, "pinactors_refused_total")
        result["longest_stall_seconds"] = total(metrics, "pinactors_loop_longest_stall_seconds")
        count = total(metrics, "pinactors_loop_stall_seconds_count")
        result["stalls_over"] = {step: count - _bucket(metrics, step) for step in STALL_STEPS}
    return result


def _bucket(metrics: str, step: str) -> float:
    found = re.search(rf'^pinactors_loop_stall_seconds_bucket{{le="{step}"}} (\S+)$', metrics, re.M)
    return float(found[1]) if found else 0.0


def _row(visit: Visit) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(visit, name) for name in TIMES}
    row["phone"], row["cut"] = visit.arrival.phone, visit.arrival.cut is not None
    row["limit"] = dataclasses.asdict(visit.limit) if visit.limit else None
    return row


def percentiles(values: list[float | None]) -> dict[str, float | int] | None:
    """Of those that are there; None without any."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    p50, p95, p99 = np.percentile(there, (50, 95, 99))
    return {"n": len(there), "p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(there)}
