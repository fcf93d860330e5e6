"""The physical limit of a session: the least time that its link and its components allow, for any server.

A result cannot reach the phone before three things have happened: the photographs it needs have crossed the
link at full use of every delivery opportunity; the functions between them and the result have run, each in
its time on an idle machine and in parallel where possible; and the link has carried the first byte back. Lost
packets, silences and jitter of a defined profile are ignored, so that the limit is a lower bound. Opening the
connection takes the link's round trip.
"""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.work import shared_values, warm_worker
from pinactors import components
from pinactors.client.uploads import UploadContent, sizes_of
from pinactors.pipeline.declaration import INPUTS, Analysis
from pinactors.protocol import View
from pinactors.settings import Settings
from pinactors.simulation.link import Shaper
from pinactors.simulation.profiles import Direction, Profile

REPEATS = 2
"""How often each function is run."""

HEAD_BYTES = 300
"""Size of the request line and header fields before the body."""

Costs = Mapping[str, float]
"""Seconds of each shared step and component by name; a step that was not run, because an earlier step
decided, is missing."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The earliest possible times in seconds after the begin: upload complete, first packet, authenticity,
    last result."""

    upload: float
    first: float
    authenticated: float
    completed: float


def alone(data: Path, pins: list[dict[View, Path]], repeats: int = REPEATS) -> list[dict[str, float]]:
    """The seconds of each function for each of `pins`, measured in a warm process without other work: the
    fastest of `repeats` runs.

    A separate process, so that the memory that OCR and OpenCV allocate is freed with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        order, answer = Path(folder) / "order", Path(folder) / "answer"
        order.write_bytes(pickle.dumps((data, pins, repeats)))
        subprocess.run([sys.executable, "-m", "benchmarks.links.limits", str(order), str(answer)], check=True)
        costs: list[dict[str, float]] = pickle.loads(answer.read_bytes())  # noqa: S301 - our own file
    return costs


def _costs(analysis: Analysis, photographs: dict[View, Path], repeats: int = 1) -> dict[str, float]:
    fastest: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any], needs: list[Any]) -> Any:
        began = time.perf_counter()
        value = function(analysis.context, *needs)
        seconds = time.perf_counter() - began
        fastest[name] = min(seconds, fastest.get(name, seconds))
        return value

    sent = {str(view): str(path) for view, path in photographs.items()}
    for _ in range(repeats):
        values = shared_values(analysis, sent, lambda step, needs: timed(step.name, step.function, needs))
        for component in analysis.components:
            timed(component.name, component.full, [values[name] for name in component.needs])
    return fastest


def shifted(profile: Profile, seconds: float) -> Profile:
    """The same link with a start `seconds` later in its trace, so that phones do not all start at its first
    line."""
    return dataclasses.replace(
        profile, up=_shifted(profile.up, seconds), down=_shifted(profile.down, seconds)
    )


def _shifted(direction: Direction, seconds: float) -> Direction:
    """The direction with times counted from the new start; its period stays the same."""
    if not direction.opportunities:
        return direction
    times = np.asarray(direction.opportunities, np.int64)
    period = int(times[-1])
    start = int(seconds * 1000) % period
    first = int(np.searchsorted(times, start, "right"))
    moved = np.concatenate([times[first:] - start, times[:first] + period - start])
    if not len(moved) or moved[-1] < period:  # the last time is the period's length: add it if it is missing
        moved = np.append(moved, period)
    return dataclasses.replace(direction, opportunities=moved.tolist())


def plain(direction: Direction) -> Direction:
    """The direction without jitter, losses and silences."""
    return dataclasses.replace(direction, jitter=0.0, loss=0.0, stall_every=0.0, stall=0.0)


async def limit(profile: Profile, photographs: UploadContent, analysis: Analysis, costs: Costs) -> Limit:
    """The limit of one session that begins at the start of `profile`'s trace.

    Raises `OSError` for a photograph that cannot be read.
    """
    body = await photographs.multipart()
    ends: dict[View, int] = {}
    sent = HEAD_BYTES
    for content, size in zip(body.contents, await sizes_of(body), strict=True):
        sent += size
        for view, photograph in photographs.images.items():
            if content is photograph:
                ends[view] = sent
    arrivals, upload = arrive(profile, ends, sent)
    results = finish(analysis, costs, arrivals)
    down = plain(profile.down)
    required = [each.name for each in analysis.components if each.required]
    authenticated = max(results[name] for name in required)
    return Limit(
        upload=upload,
        first=_arrival_at_phone(down, upload),
        authenticated=_arrival_at_phone(down, authenticated),
        completed=_arrival_at_phone(down, max(upload, *results.values())),
    )


def arrive(profile: Profile, ends: Mapping[View, int], total: int) -> tuple[dict[View, float], float]:
    """When each photograph has arrived, whose last byte is at offset `ends`; and when all `total` bytes
    have."""
    shaper = Shaper(plain(profile.up), 0.0)
    arrivals: dict[View, float] = {}
    sent, now = 0, profile.round_trip
    arrival = now
    while sent < total:
        count, arrival = shaper.take(now, total - sent)
        sent += count
        for view, end in ends.items():
            if view not in arrivals and sent >= end:
                arrivals[view] = arrival
    return arrivals, arrival


def finish(analysis: Analysis, costs: Costs, arrivals: Mapping[View, float]) -> dict[str, float]:
    """The earliest time of each component's result, with enough cores for everything that can run in
    parallel."""
    ready = {name: arrivals.get(view, 0.0) for view, name in INPUTS.items()}
    for step in analysis.shared_steps:
        if step.name in costs:
            ready[step.name] = max(ready[name] for name in step.needs) + costs[step.name]
        else:
            ready[step.name] = ready[step.decided_by] if step.decided_by else 0.0
    return {
        component.name: max(ready[name] for name in component.needs) + costs[component.name]
        for component in analysis.components
    }


def _arrival_at_phone(down: Direction, at: float) -> float:
    """When a byte sent at `at` arrives at the phone."""
    _, arrival = Shaper(down, 0.0).take(at, 1)
    return arrival


def main() -> None:
    data, pins, repeats = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - our own file
    warm_worker(null=False)
    analysis = components.declare(Settings(data=data))
    _costs(analysis, pins[0])  # warm-up: loads what is loaded at first use
    Path(sys.argv[2]).write_bytes(
        pickle.dumps([_costs(analysis, photographs, repeats) for photographs in pins])
    )


if __name__ == "__main__":
    main()
