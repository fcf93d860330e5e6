"""How it grows: open sessions against memory and packet delay, catalogue size against search and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import trio

from benchmarks import overhead, phones
from benchmarks.figures import Percentiles, percentiles
from pinactors.analysis.imaging.portrait import Floats
from pinactors.analysis.matching.features import CHANNELS, RINGS, SECTORS
from pinactors.catalog import index

SESSIONS = (10, 100, 1000, 5000)
SIZES = (100, 1000, 10_000, 100_000)

PROBES = 20
PROBE_SPREAD = 2.0
"""Sessions that come and go while delays are measured, and how long each takes: about ten begin, and fifty
results come, a second, whatever the number of sessions that wait beside them."""

QUERIES = 300
SHORTLIST = 6
SPARE_FILES = 200
NOISE = 0.5
"""Of a query against its entry's length: another photograph of the same pin (cosine about 0.9)."""

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
    """Builds an index of made-up entries, then searches it in a process that has nothing else in memory."""
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        began = time.perf_counter()
        name = index.build(Path(folder), 1, None, enumerate(_entries(size)))
        built = time.perf_counter() - began
        command = [sys.executable, "-m", "benchmarks.scale", f"{folder}/{name}", str(size)]
        searched = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        bytes_ = (Path(folder) / name).stat().st_size
    return {"file_megabytes": bytes_ / 1e6, "build_seconds": built, **json.loads(searched)}


def _entries(size: int) -> Iterator[Floats]:
    """Layouts of length 1 in every direction alike: no structure that would help the search."""
    chance = np.random.default_rng(size)
    for _ in range(size):
        layout = chance.standard_normal((RINGS, SECTORS, CHANNELS)).astype(np.float32)
        yield layout / np.linalg.norm(layout)


def _search(path: Path, size: int) -> dict[str, Any]:
    """Search times, memory taken by it, and the share of queries whose entry is on the short list."""
    wanted = np.random.default_rng(1).integers(0, size, QUERIES)
    chosen = set(wanted.tolist())
    entries = {key: vector for key, vector in enumerate(_entries(size)) if key in chosen}
    before = psutil.Process().memory_info().rss
    opened = index.SearchIndex(path)
    noise = np.random.default_rng(2)
    took: list[float | None] = []
    found = 0
    for key in wanted.tolist():
        shift = noise.standard_normal((RINGS, SECTORS, CHANNELS)).astype(np.float32)
        query = entries[key] + NOISE * shift / np.linalg.norm(shift)
        query = np.roll(query / np.linalg.norm(query), int(noise.integers(SECTORS)), axis=1)
        began = time.perf_counter()
        (rows,) = opened.search([query], SHORTLIST)
        took.append(time.perf_counter() - began)
        found += key in [number for number, _ in rows]
    return {
        "search_seconds": percentiles(took[QUERIES // 10 :]),
        "found": found / QUERIES,
        "resident_megabytes": (psutil.Process().memory_info().rss - before) / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_search(Path(sys.argv[1]), int(sys.argv[2]))))
