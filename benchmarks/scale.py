"""Scaling: memory and packet delay by open sessions, search time and memory by catalogue size."""

from __future__ import annotations

import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import trio

from benchmarks import Say, overhead, phones
from benchmarks.figures import Percentiles, machine, percentiles
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.matching import inverted_index, keypoints, sightings
from pinactors.analysis.matching.inverted_index import InvertedIndex
from pinactors.analysis.matching.reranking import CandidateFront
from pinactors.catalog import index
from pinactors.catalog.demo import draw_demo
from pinactors.catalog.demo.designs import DESIGNS, Design
from pinactors.catalog.demo.photo import photograph
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.importing.preparing import MAX_FEATURES
from pinactors.catalog.pictures import MAX_PIXELS
from pinactors.catalog.reader import Catalog
from pinactors.evaluation import dataset
from pinactors.evaluation.dataset import CATALOGUED_KINDS
from pinactors.protocol import View

SESSIONS = (10, 100, 1000, 5000)
SIZES = (100, 1000, 10_000, 100_000)

PROBES = 20
PROBE_SPREAD = 2.0
"""Number of sessions that begin and end while delays are measured, and the seconds that each takes: about ten
begin, and fifty results arrive, per second, for any number of sessions that wait meanwhile."""

PHOTOGRAPHS = 60
"""Most photographs that are searched in each catalogue."""
OTHER_LIST_ONE_IN = 3
"""One in so many of a made-up pin's features is in another list than the feature from which it was made."""
SPARE_FILES = 200


async def measure(
    say: Say,
    *,
    sessions: Sequence[int] = SESSIONS,
    sizes: Sequence[int] = SIZES,
    seconds: float = 8.0,
    spread: float = PROBE_SPREAD,
    labelled: Path | None = None,
    photographs: int = PHOTOGRAPHS,
    drawn: int = len(DESIGNS),
) -> dict[str, Any]:
    """Measures both. `sessions` and `sizes` must be ascending; `labelled`, `photographs` and `drawn` are
    arguments of `prepare`.

    Raises `RuntimeError` if this process may not open that many connections.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if max(sessions) + SPARE_FILES > most:
        raise RuntimeError(
            f"{max(sessions)} sessions need more than the {most} open files allowed (ulimit -n)"
        )
    result: dict[str, Any] = {
        "benchmark": "scale",
        "machine": machine(),
        "sessions": {},
        "catalogue": {},
    }
    async with (
        phones.server("inline", spread=spread, deadline=1e6) as server,
        trio.open_nursery() as nursery,
    ):
        await delay(server, spread, spread)  # warm-up: loads and allocates what is needed only once
        already, before = 0, server.resident()
        for count in sessions:
            say(f"opening {count} sessions")
            began, cpu = time.perf_counter(), server.cpu_seconds()
            await overhead.hold(nursery, server, count, already)
            opened, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
            say(f"packet delay beside {count} open sessions")
            result["sessions"][str(count)] = {
                "kilobytes_per_session": (server.resident() - before) / count / 1024,
                "packet_delay_seconds": await delay(server, seconds, spread),
                "opened_per_second": (count - already) / opened,
                "cpu_milliseconds_to_open": 1000 * cpu / (count - already),
            }
            already = count
        nursery.cancel_scope.cancel()
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        await trio.to_thread.run_sync(prepare, Path(folder), labelled, photographs, drawn)
        for size in sizes:
            say(f"a catalogue of {size} pins")
            result["catalogue"][str(size)] = await trio.to_thread.run_sync(catalogue, Path(folder), size)
    return result


async def delay(
    server: phones.ServerProcess, seconds: float, spread: float = PROBE_SPREAD
) -> Percentiles | None:
    """The time from a result to its bytes in this process, for sessions that begin and end."""
    delays: list[float] = []
    ends = trio.current_time() + spread + seconds

    async def phone(number: int) -> None:
        await trio.sleep(spread * number / PROBES)
        while trio.current_time() < ends:
            await phones.upload(server.port, overhead.PHOTOGRAPH, delays)

    async with trio.open_nursery() as nursery:
        for number in range(PROBES):
            nursery.start_soon(phone, number)
    return percentiles(delays)


def prepare(folder: Path, labelled: Path | None, photographs: int, drawn: int) -> None:
    """Imports the catalogue of a `labelled` set (None: the demonstration's first `drawn` pins) into
    `folder`/catalog, and writes a list of at most `photographs` photographs of its pins to search, evenly
    chosen."""
    fronts = _drawn(folder, DESIGNS[:drawn]) if labelled is None else _fronts(labelled)
    import_catalog(folder / "drawn" if labelled is None else labelled / "catalog", folder / "catalog")
    (folder / "fronts.json").write_text(json.dumps(fronts[:: -(-len(fronts) // photographs)]))


def catalogue(folder: Path, size: int) -> dict[str, Any]:
    """Searches the catalogue in `folder`, enlarged to `size` pins with made-up ones, in a separate process
    that has nothing else in memory."""
    original = Catalog.open(folder / "catalog").index
    assert original is not None
    began = time.perf_counter()
    enlarged = _enlarged(original, size)
    built = time.perf_counter() - began
    index.save_index(folder / "grown", enlarged)
    bytes_ = sum(getattr(enlarged, field.name).nbytes for field in fields(enlarged))
    del enlarged
    command = [sys.executable, "-m", "benchmarks.scale", str(folder)]
    searched = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"file_megabytes": bytes_ / 1e6, "build_seconds": built, **json.loads(searched)}


def _drawn(folder: Path, designs: Sequence[Design]) -> list[tuple[str, str]]:
    """Draws the demonstration as a folder to import, and photographs of its pins; returns files and pin
    ids."""
    draw_demo(folder / "drawn", dt.date(2025, 12, 31), designs=designs)
    fronts = []
    for design in designs:
        path = folder / f"{design.pin_id}.jpg"
        path.write_bytes(photograph(design, View.FRONT))
        fronts.append((str(path), design.pin_id))
    return fronts


def _fronts(labelled: Path) -> list[tuple[str, str]]:
    """The set's photographs of pins that are in its catalogue: files and pin ids."""
    known = [photo for photo in dataset.load(labelled).photos if photo.kind in CATALOGUED_KINDS]
    return [(str(photo.images[View.FRONT]), photo.pin_id or "") for photo in known]


def _enlarged(own: InvertedIndex, size: int) -> InvertedIndex:
    """The index enlarged to `size` pins with made-up ones. Each has `MAX_FEATURES` altered features of real
    pins: one in `OTHER_LIST_ONE_IN` is in another list, with the lists' sizes distributed as for real
    features, and in each signature about a fifth of the bits are inverted."""
    lists = np.repeat(np.arange(inverted_index.LISTS, dtype=np.int32), np.diff(own.starts))
    signatures, chance = np.asarray(own.signatures), np.random.default_rng(1)
    first = len(own.offsets) - 1
    columns = [(lists, np.asarray(own.pins), np.asarray(own.places), signatures)]
    for pin in range(first, size):
        chosen = chance.integers(0, len(lists), MAX_FEATURES)
        moved = np.where(
            chance.integers(0, OTHER_LIST_ONE_IN, MAX_FEATURES), chosen, chance.permutation(chosen)
        )
        one, two, three, four = chance.integers(0, 1 << 64, (4, MAX_FEATURES, 2), np.uint64)
        altered = signatures[chosen] ^ (one & two & (three | four))
        numbers = np.full(MAX_FEATURES, pin, np.uint32), np.arange(MAX_FEATURES, dtype=np.uint16)
        columns.append((lists[moved], *numbers, altered))
    return inverted_index.of(*(np.concatenate(column) for column in zip(*columns, strict=True)))


class EnlargedCatalog(Catalog):
    """A catalogue whose index also has made-up pins. A made-up pin is verified like a real one, with the
    features of a real pin in random order, so that verification costs as much and rejects it."""

    def candidates(self, numbers: Collection[int]) -> dict[int, CandidateFront]:
        stand_ins = {number: number if self._has(number) else 1 + number % self.size for number in numbers}
        real = super().candidates(sorted(set(stand_ins.values())))
        found = {}
        for number, stand_in in stand_ins.items():
            if stand_in in real:
                candidate = real[stand_in]
                if number != stand_in:
                    order = np.random.default_rng(number).permutation(len(candidate.features))
                    features = replace(candidate.features, descriptors=candidate.features.descriptors[order])
                    candidate = replace(candidate, number=number, features=features)
                found[number] = candidate
        return found

    def _has(self, number: int) -> bool:
        return number <= self.size


def _search(folder: Path) -> dict[str, Any]:
    """Search times, memory used by the search, and the shares of photographs whose pin is verified (`found`)
    and first."""
    fronts = json.loads((folder / "fronts.json").read_text())
    grown = EnlargedCatalog(folder / "catalog", index.read_state(folder / "catalog"))
    pictures = [decode(Path(path).read_bytes(), View.FRONT, MAX_PIXELS).rgb for path, _ in fronts]
    sightings.find_pins(grown, pictures[0])  # warm-up: loads and allocates what is needed only once
    before = psutil.Process().memory_info()
    grown.index = index.open_index(folder / "grown")
    voted, looked, found, first = [], [], 0, 0
    for rgb, (_, pin_id) in zip(pictures, fronts, strict=True):
        number = grown.number(pin_id)
        query = keypoints.extract(rgb, None, sightings.PHOTOGRAPH_SIDES, sightings.PHOTOGRAPH_FEATURES)
        began = time.process_time()
        numbers = grown.index.votes(query).numbers
        voted.append(time.process_time() - began)
        found += number in numbers[: sightings.MAX_VERIFIED]
        began = time.process_time()
        seen = sightings.find_pins(grown, rgb)
        looked.append(time.process_time() - began)
        first += bool(seen) and seen[0].candidate.number == number
    after = psutil.Process().memory_info()
    private = (after.rss - after.shared) - (before.rss - before.shared)
    return {
        "photographs": len(fronts),
        "search_seconds": percentiles(looked),
        "vote_seconds": percentiles(voted),
        "found": found / len(fronts),
        "first": first / len(fronts),
        "resident_megabytes": private / 1e6,
        "mapped_megabytes": (after.shared - before.shared) / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(_search(Path(sys.argv[1]))))
