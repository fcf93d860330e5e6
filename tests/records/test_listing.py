"""Tests of lists of analyses: filters, pages, and the fields of a row."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pinactors.records import Filter, Records
from pinactors.settings import Settings
from tests.records.samples import NOW, Clock, final_packets, record


async def filled(settings: Settings) -> tuple[Records, list[int]]:
    """Records with five analyses of two keys, an hour apart: with each verdict, and one that failed. The
    first one has feedback."""
    clock = Clock()
    records = await Records.open(settings, clock)
    for name in ("shop", "home"):
        await records.add_key(name)
    numbers = []
    changes: list[dict[str, Any]] = [
        {"owner": "1", "verdict": "authentic"},
        {"owner": "1", "verdict": "counterfeit", "pin_id": "P2"},
        {"owner": "2", "verdict": "undetermined", "pin_id": None, "pin_name": None},
        {"owner": "1", "verdict": None, "error_code": "invalid_format"},
        {"owner": "2", "verdict": "authentic"},
    ]
    for number, change in enumerate(changes):
        numbers.append(await records.save(record(f"stream-{number}", **change), final_packets()[0]))
        clock.advance(3600)
    await records.confirm(numbers[0], "260630120000", "disagree", "it is blue", "1")
    return records, numbers


HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [4, 3, 2, 1, 0]),
        (Filter(owner="1"), [3, 1, 0]),
        (Filter(key="home"), [4, 2]),
        (Filter(key="nobody"), []),
        (Filter(verdict="authentic"), [4, 0]),
        (Filter(verdict="error"), [3]),
        (Filter(pin="P2"), [1]),
        (Filter(since=NOW + HOUR, until=NOW + 3 * HOUR), [2, 1]),
        (Filter(owner="1", verdict="authentic", pin="P1"), [0]),
    ],
)
async def test_filters(wanted: Filter, found: list[int], settings: Settings) -> None:
    records, numbers = await filled(settings)
    rows, total = await records.page(wanted)
    assert [numbers.index(row.number) for row in rows] == found
    assert total == len(found) == await records.count(wanted)
    newest = await records.record(wanted)
    assert (newest.record_number if newest else None) == (numbers[found[0]] if found else None)
    await records.close()


async def test_pages_go_on_below_a_number_however_many_come_on_top(settings: Settings) -> None:
    records, numbers = await filled(settings)
    first, total = await records.page(Filter(), limit=2)
    assert ([row.number for row in first], total) == ([numbers[4], numbers[3]], 5)
    await records.save(record("stream-new"), final_packets()[0])
    second, _ = await records.page(Filter(), limit=2, before=first[-1].number)
    assert [row.number for row in second] == [numbers[2], numbers[1]]
    await records.close()


async def test_a_row_says_what_it_was_and_what_a_person_said(settings: Settings) -> None:
    records, numbers = await filled(settings)
    (row,), _ = await records.page(Filter(number=numbers[0]))
    assert (row.session_id, row.owner, row.finished_at) == ("260630120000", "1", NOW)
    assert (row.verdict, row.rating, row.pin_id, row.pin_name) == (
        "authentic",
        81,
        "P1",
        "Fox in the Garden",
    )
    assert (row.missing, row.degraded, row.error_code) == (["pricing"], [], None)
    assert row.agreement == "disagree"
    assert row.images == {"front": "front.jpg", "back": "back.jpg"}
    await records.close()
