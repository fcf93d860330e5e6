"""A phone whose connection is cut repeatedly, compared with the same phone on the same link without cuts.

Both send the same photographs over the same link, from the same time of its trace, and run at the same time,
so that other load of the machine affects both. The benchmark compares the time to the authentication result.
The link's relay counts the bytes that the phone sent and those that reached the server: bytes sent beyond the
size of the upload were on the link when it broke; bytes that reached the server beyond that size were sent
twice.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks import Say, phones
from benchmarks.figures import machine
from benchmarks.links import limits
from benchmarks.load.arrivals import prepare
from pinactors.client import Received, analyze
from pinactors.client.uploads import UploadContent
from pinactors.protocol import View
from pinactors.simulation.link import Relay, relay
from pinactors.simulation.profiles import Profile

CLIENTS = ("python", "javascript")
PINS, CATALOGUE = 3, 4
"""Number of pins that are photographed, and of pins in the catalogue."""

BLANK_BYTES = 300_000

GIVE_UP_SECONDS = 600.0
"""Seconds after which a phone counts as lost."""

SCRIPT = Path(__file__).with_name("cuts.mjs")
VERDICT = "AUTHENTICATION_RESULT"


@dataclass(frozen=True, slots=True)
class Run:
    """One phone's run: seconds to its authentication result, connections, and bytes. `offered` and
    `delivered` include the heads of requests."""

    authenticated: float
    connections: int
    cuts: int
    upload: int
    offered: int
    delivered: int


async def measure(
    say: Say,
    links: Sequence[Profile],
    *,
    folder: Path,
    every: float = 20.0,
    rounds: int = 3,
    clients: Sequence[str] = CLIENTS,
    analysis: bool = True,
    quick: bool = False,
) -> dict[str, Any]:
    """Runs `rounds` pairs on each of `links` with each of `clients`; they begin at evenly spaced times of the
    trace. Each phone sends the drawn pin with the largest photographs, as a camera stores them (`quick`:
    blank files). Without `analysis` components return immediately, so that only the transfer is measured.
    Raises `OSError`, `RuntimeError`."""
    data: Path | None = None
    if quick:
        chosen: Mapping[View, Path] = blank(folder)
    else:
        say("drawing the catalogue and the photographs")
        data, pins = await trio.to_thread.run_sync(prepare, folder, PINS, CATALOGUE)
        chosen = max(pins, key=lambda pin: sum(path.stat().st_size for path in pin.values()))
    body = await UploadContent(chosen).multipart()
    results: dict[str, Any] = {}
    async with phones.server("real" if analysis else "workers", data=data) as server:
        for link in links:
            lap = link.up.opportunities[-1] / 1000 if link.up.opportunities else 0.0
            for client in clients:
                pairs = []
                for number in range(rounds):
                    say(f"{link.name}, {client}: pair {number + 1} of {rounds}")
                    begun = limits.shifted(link, number / rounds * lap)
                    pairs.append(await _pair(begun, server.port, client, chosen, every))
                results.setdefault(link.name, {})[client] = summary(pairs)
    return {
        "benchmark": "cuts",
        "machine": machine(),
        "every": every,
        "analysis": analysis,
        "upload": body.size,
        "links": results,
    }


def summary(pairs: Sequence[tuple[Run, Run]]) -> dict[str, Any]:
    """The figures of each pair, and of all: the ratio of times with and without cuts, and bytes that were
    sent twice."""
    return {
        "pairs": [{"uncut": asdict(uncut), "cut": asdict(cut)} for uncut, cut in pairs],
        "ratio": statistics.median(cut.authenticated / uncut.authenticated for uncut, cut in pairs),
        "worst_ratio": max(cut.authenticated / uncut.authenticated for uncut, cut in pairs),
        "delivered_twice": max(cut.delivered - uncut.delivered for uncut, cut in pairs),
        "lost_in_flight": max(cut.offered - cut.delivered for _, cut in pairs),
    }


async def _pair(
    link: Profile, port: int, client: str, images: Mapping[View, Path], every: float
) -> tuple[Run, Run]:
    runs: dict[bool, Run] = {}

    async def run(cut: bool) -> None:
        runs[cut] = await _phone(link, port, client, images, every if cut else None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, False)
        nursery.start_soon(run, True)
    return runs[False], runs[True]


async def _phone(
    link: Profile, port: int, client: str, images: Mapping[View, Path], every: float | None
) -> Run:
    """Runs one phone. Raises `RuntimeError` if its session did not complete."""
    size = (await UploadContent(images).multipart()).size or 0
    send = _python if client == "python" else _javascript
    cuts, found = 0, None
    with trio.move_on_after(GIVE_UP_SECONDS):
        async with trio.open_nursery() as nursery:
            link_relay: Relay = await nursery.start(partial(relay, link, "127.0.0.1", port))
            began = trio.current_time()

            async def disconnect_repeatedly() -> None:
                nonlocal cuts
                while every is not None:
                    await trio.sleep(every)
                    link_relay.disconnect_all()
                    cuts += 1

            nursery.start_soon(disconnect_repeatedly)
            seen = await send(f"http://127.0.0.1:{link_relay.port}", images)
            nursery.cancel_scope.cancel()
            found = Run(
                seen - began, link_relay.connections, cuts, size, link_relay.offered, link_relay.delivered
            )
    if found is None:
        raise RuntimeError(f"{client} got no answer in {GIVE_UP_SECONDS:g} s")
    return found


async def _python(url: str, images: Mapping[View, Path]) -> float:
    seen = 0.0
    async with analyze(url, images, unreachable_seconds=GIVE_UP_SECONDS) as packets:
        async for packet in packets:
            if packet.kind == VERDICT:
                seen = trio.current_time()
            _check(packet)
    return seen


def _check(packet: Received) -> None:
    if packet.kind == "ERROR":
        raise RuntimeError(f"the session failed: {packet.fields}")


async def _javascript(url: str, images: Mapping[View, Path]) -> float:
    """Uploads with the JavaScript client in Node; returns the time at which Node reports the verdict."""
    command = ["node", str(SCRIPT), url, json.dumps({view: str(path) for view, path in images.items()})]
    seen = 0.0
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=sys.stderr, check=False)
        process = await nursery.start(run)
        printed = b""
        while data := await process.stdout.receive_some(1000):
            printed += data
            if not seen and VERDICT.encode() in printed:
                seen = trio.current_time()
    if b"ANALYSIS_COMPLETE" not in printed:
        raise RuntimeError(f"the session failed: {printed!r}")
    return seen


def blank(folder: Path) -> dict[View, Path]:
    """Files in place of photographs, for components that do not read them; large enough for resumable
    uploads."""
    paths = {view: folder / f"blank_{view}.jpg" for view in (View.FRONT, View.BACK)}
    for path in paths.values():
        path.write_bytes(bytes(BLANK_BYTES))
    return paths
