"""Sample records of analyses, and a clock that tests set."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import peewee
import trio

from pinactors.protocol import View
from pinactors.records import AnalysisRecord, Records
from pinactors.storage.stored_image import StoredImage

NOW = dt.datetime(2026, 6, 30, 12, 0, 0, 123000, dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


def record(stream_id: str = "stream-1", **changes: Any) -> AnalysisRecord:
    sample = AnalysisRecord(
        stream_id=stream_id,
        session_id="260630120000",
        owner="1",
        idempotency_key=None,
        fingerprint="f" * 64,
        images={
            View.FRONT: StoredImage("front.jpg", "a" * 64, 10),
            View.BACK: StoredImage("back.jpg", "b" * 64, 20),
        },
        started_at=NOW,
        processing_ms=1500,
        verdict="authentic",
        authentic=True,
        rating=81,
        confidence=0.62,
        pin_id="P1",
        pin_name="Fox in the Garden",
        degraded=[],
        missing=["pricing"],
        packets=[b'{"sequence":0}' + b" " * 600, '{"name":"Füchsin \U0001f98a"}'.encode(), bytes(range(256))],
    )
    return dataclasses.replace(sample, **changes)


def final_packets() -> tuple[Callable[[int], bytes], list[int]]:
    """A `final_packet` function that returns a new packet on each call, and the list of ids it was called
    with."""
    calls: list[int] = []

    def final_packet(number: int) -> bytes:
        calls.append(number)
        return b'{"id":%d,"attempt":%d}' % (number, len(calls))

    return final_packet, calls


async def rows(records: Records, query: peewee.BaseQuery) -> list[tuple[object, ...]]:
    with trio.fail_after(120):
        return await records._store.read(lambda database: list(query.tuples().execute(database)))
