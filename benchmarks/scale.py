"""How it grows: open sessions against memory and packet delay, catalogue size against search and memory."""

from __future__ import annotations

import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import trio

from benchmarks import overhead, phones
from benchmarks.figures import Percentiles, percentiles
from pinactors.analysis.matching import keypoints, sightings
from pinactors.analysis.matching.keypoints import Features
from pinactors.catalog import index
from pinactors.catalog.demo import draw_demo
from pinactors.catalog.preparing import FEATURES, SIDES

SESSIONS = (10, 100, 1000, 5000)
SIZES = (100, 1000, 10_000, 100_000)

PROBES = 20
PROBE_SPREAD = 2.0
"""Sessions that come and go while delays are measured, and how long each takes: about ten begin, and fifty
results come, a second, whatever the number of sessions that wait beside them."""

QUERIES = 60
SHORTLIST = sightings.VOTED
DRAWN = 40
DISTINCT = 0.5
"""Length of the noise that makes made-up pins differ: features of one drawing are then two thirds alike."""
SEEN = 4
"""Of a pin's features one in so many is found again in a query, beside as many of another's as a pin has."""
SPARE_FILES = 200
NOISE = 0.5
"""On each descriptor of a query: another photograph of the same pin (cosine about 0.9)."""

Say = Callable[[str], None]


async def measure(
    say: Say, *, sessions: Sequence[int] = SESSIONS, sizes: Sequence[int] = SIZES, seconds: float = 8.0
) -> dict[str, Any]:
    """Both ascending. Raises `RuntimeError` where this process may not open that many connections."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if max(sessions) + SPARE_FILES > most:
        raise RuntimeError(
            f"{max(sessions)} sessions need more than the {most} open files allowed (ulimit -n)"
        )
    result: dict[str, Any] = {
        "benchmark": "scale",
        "machine": overhead.machine(),
        "sessions": {},
        "catalogue": {},
    }
    async with (
        phones.server("inline", spread=PROBE_SPREAD, deadline=1e6) as server,
        trio.open_nursery() as nursery,
    ):
        await delay(server, PROBE_SPREAD)  # what is loaded and allocated once
        already, before = 0, server.resident()
        for count in sessions:
            say(f"opening {count} sessions")
            began, cpu = time.perf_counter(), server.cpu_seconds()
            await overhead.hold(nursery, server, count, already)
            opened, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
            say(f"packet delay beside {count} open sessions")
            result["sessions"][str(count)] = {
                "kilobytes_per_session": (server.resident() - before) / count / 1024,
                "packet_delay_seconds": await delay(server, seconds),
                "opened_per_second": (count - already) / opened,
                "cpu_milliseconds_to_open": 1000 * cpu / (count - already),
            }
            already = count
        nursery.cancel_scope.cancel()
    for size in sizes:
        say(f"a catalogue of {size} pins")
        result["catalogue"][str(size)] = await trio.to_thread.run_sync(catalogue, size)
    return result


async def delay(server: phones.Server, seconds: float) -> Percentiles | None:
    """From a result to its bytes in this process, of sessions that come and go."""
    delays: list[float] = []
    ends = trio.current_time() + PROBE_SPREAD + seconds

    async def phone(number: int) -> None:
        await trio.sleep(PROBE_SPREAD * number / PROBES)
        while trio.current_time() < ends:
            await phones.upload(server.port, overhead.PHOTOGRAPH, delays)

    async with trio.open_nursery() as nursery:
        for number in range(PROBES):
            nursery.start_soon(phone, number)
    return percentiles(delays)


def catalogue(size: int) -> dict[str, Any]:
    """Builds an index of made-up pins, then searches it in a process that has nothing else in memory."""
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        pool = _pool()
        began = time.perf_counter()
        name = index.build(Path(folder), 1, None, ((pin, _pin(pool, pin).encode()) for pin in range(size)))
        built = time.perf_counter() - began
        np.save(f"{folder}/pool.npy", pool.descriptors)
        np.save(f"{folder}/axes.npy", pool.axes)
        command = [sys.executable, "-m", "benchmarks.scale", folder, name, str(size)]
        searched = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        bytes_ = sum(path.stat().st_size for path in (Path(folder) / index.INDEX_FOLDER).iterdir())
    return {"file_megabytes": bytes_ / 1e6, "build_seconds": built, **json.loads(searched)}


def _pool() -> Features:
    """Features of drawn pins, of which made-up ones are put together."""
    with tempfile.TemporaryDirectory(prefix="pinactors-drawn-") as folder:
        draw_demo(Path(folder), dt.date(2025, 12, 31))
        pictures = sorted((Path(folder) / "images").glob("*front*"))[:DRAWN]
        drawn = [cv2.imread(str(path)) for path in pictures]
    found = [keypoints.extract(np.ascontiguousarray(one[..., ::-1]), None, SIDES, FEATURES) for one in drawn]
    return Features(
        *(np.concatenate([getattr(one, field.name) for one in found]) for field in fields(Features))
    )


def _pin(pool: Features, number: int) -> Features:
    """One made-up pin: features of all drawn pins, changed a little: none of its own, none the same."""
    chance = np.random.default_rng([1, number])
    chosen = pool.take(chance.integers(0, len(pool), FEATURES))
    return _changed(chosen, chance, DISTINCT)


def _changed(features: Features, chance: np.random.Generator, by: float) -> Features:
    """The features with noise of length `by` on each descriptor."""
    noise = chance.standard_normal(features.descriptors.shape).astype(np.float32)
    noise *= by / np.linalg.norm(noise, axis=1, keepdims=True)
    moved = np.maximum(features.descriptors + noise, 0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return replace(features, descriptors=moved, points=np.clip(features.points, 0, 1023))


def _search(folder: Path, name: str, size: int) -> dict[str, Any]:
    """Search times, memory taken by it, and the share of queries whose pin is on the short list."""
    descriptors = np.load(folder / "pool.npy")
    blank = np.zeros(len(descriptors), np.float32)
    axes = np.load(folder / "axes.npy")
    pool = Features(np.zeros((len(descriptors), 2), np.float32), blank + 1, blank, axes, descriptors)
    before = psutil.Process().memory_info().rss
    opened = index.open_index(folder / name)
    chance = np.random.default_rng(1)
    took: list[float | None] = []
    found = 0
    for number in chance.integers(0, size, QUERIES).tolist():
        seen = _changed(_pin(pool, number), chance, NOISE).take(np.arange(0, FEATURES, SEEN))
        clutter = _pin(pool, size + int(chance.integers(1 << 30)))
        query = Features(
            *(
                np.concatenate([getattr(seen, field.name), getattr(clutter, field.name)])
                for field in fields(Features)
            )
        )
        began = time.perf_counter()
        numbers = opened.votes(query).numbers
        took.append(time.perf_counter() - began)
        found += number in numbers[:SHORTLIST]
    return {
        "search_seconds": percentiles(took[QUERIES // 10 :]),
        "found": found / QUERIES,
        "resident_megabytes": (psutil.Process().memory_info().rss - before) / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_search(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
