"""Retention by settings: expired records are removed with their files, the others stay, and the log says
so."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from pinactors.api.housekeeping.retention import Retention
from pinactors.protocol import View
from pinactors.records import Filter, Records, erasure
from pinactors.settings import CENTURY_DAYS, Settings
from pinactors.storage.stored_image import StoredImage
from tests.records.samples import NOW, Clock, final_packets, record


async def kept(tmp_path: Path, **settings: Any) -> tuple[list[int], list[str], list[dict[str, Any]]]:
    """Applies retention after five analyses, one a day, each with its own photograph. Returns the numbers of
    the records that stay, the first characters of the removed hashes, and the log lines."""
    given = Settings(data=tmp_path / "data", **settings)
    clock = Clock()
    records = await Records.open(given, clock)
    for number in range(5):
        image = StoredImage(f"{number}.jpg", str(number) * 64, 10)
        await records.save(record(f"s{number}", images={View.FRONT: image}), final_packets()[0])
        clock.advance(24 * 3600)
    removed: list[str] = []

    async def remove(hashes: list[str]) -> int:
        removed.extend(sha256[0] for sha256 in hashes)
        return len(hashes)

    with capture_logs() as lines:
        await Retention(records, remove, given).apply(NOW + dt.timedelta(days=10))
    rows, _ = await records.page(Filter())
    await records.close()
    return sorted(row.number for row in rows), removed, [dict(line) for line in lines]


async def test_nothing_goes_by_default(tmp_path: Path) -> None:
    assert await kept(tmp_path) == ([1, 2, 3, 4, 5], [], [])


async def test_nothing_goes_at_the_largest_values_either(tmp_path: Path) -> None:
    settings = {"retention_photographs": CENTURY_DAYS, "retention_records": CENTURY_DAYS}
    assert await kept(tmp_path, **settings) == ([1, 2, 3, 4, 5], [], [])


async def test_records_go_with_their_photographs(tmp_path: Path) -> None:
    numbers, removed, lines = await kept(tmp_path, retention_records=7.5)
    assert (numbers, removed) == ([4, 5], ["0", "1", "2"])
    assert [(line["event"], line["done"], line["total"]) for line in lines] == [("old analyses erased", 3, 3)]


async def test_photographs_go_before_records_a_batch_at_a_time(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(erasure, "BATCH_ANALYSES", 2)
    numbers, removed, lines = await kept(tmp_path, retention_photographs=6.5, retention_records=9.5)
    assert numbers == [2, 3, 4, 5]
    assert removed == ["0", "1", "2", "3"]
    assert [(line["done"], line["total"]) for line in lines] == [(2, 4), (4, 4), (1, 1)]
