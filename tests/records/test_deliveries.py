"""Tests of delivery rows: one per stream is claimed at a time, by one process; a record adds missing ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import trio

from pinactors.records import DeliveryTally, Filter, Records
from pinactors.records.models import Delivery
from pinactors.settings import Settings
from tests.records.samples import NOW, Clock, record

SOON = NOW + dt.timedelta(seconds=60)
URL = "https://example.com/events"
COMPONENTS = ["", "authenticity", "pricing"]


def packet(kind: str, sequence: int) -> bytes:
    return b'{"packetType":"%b","timestamp":"2026-06-30T12:00:00.000Z","sequence":%d}' % (
        kind.encode(),
        sequence,
    )


PACKETS = [
    packet(kind, number)
    for number, kind in enumerate(["PROCESSING_STARTED", "AUTHENTICATION_RESULT", "PRICING_ANALYSIS"])
]


def final_packet(number: int) -> bytes:
    return packet("ANALYSIS_COMPLETE", len(PACKETS))


@pytest.fixture
async def records(settings: Settings, clock: Clock) -> AsyncIterator[Records]:
    with trio.fail_after(120):
        records = await Records.open(settings, clock)
        await records.add_key("shop", URL)
        await records.add_key("quiet")
        yield records
        await records.close()


async def add(records: Records, stream: str, owner: str = "1", webhook: str = "") -> bool:
    return await records.add_deliveries(stream, owner, webhook, PACKETS, COMPONENTS, 0)


async def claimed(records: Records, limit: int = 100, per_owner: int = 100) -> list[tuple[str, int]]:
    found = await records.claim_deliveries(SOON, limit, {}, per_owner)
    return [(one.stream_id, one.sequence) for one in found]


async def test_a_key_without_a_webhook_has_none(records: Records) -> None:
    assert not await add(records, "stream", "2")
    assert not await add(records, "stream", "")
    assert not await records.has_webhook("2")
    assert await records.delivery_tallies(["stream"]) == {}
    assert await records.set_webhook(2, URL)
    assert await records.has_webhook("2")
    assert await add(records, "stream", "2")


async def test_the_uploads_own_webhook_goes_before_the_keys(records: Records) -> None:
    assert await add(records, "stream", "1", "https://elsewhere.example/")
    [one] = await records.claim_deliveries(SOON, 10, {}, 10)
    assert one.url == "https://elsewhere.example/"
    assert one.secret == await records.webhook_secret(1)


async def test_one_of_a_stream_at_a_time(records: Records, clock: Clock) -> None:
    assert await records.next_delivery() is None
    await add(records, "a")
    await add(records, "b")
    assert await records.next_delivery() == NOW
    assert await claimed(records) == [("a", 1), ("b", 1)]
    assert await claimed(records) == []
    assert await records.next_delivery() == SOON
    clock.now = SOON
    [first, _] = await records.claim_deliveries(SOON + dt.timedelta(seconds=60), 100, {}, 100)
    assert (first.stream_id, first.attempts) == ("a", 2)
    await records.delivered(first.id)
    assert await claimed(records) == [("a", 2)]


async def test_a_failed_one_waits_and_keeps_the_rest_waiting(records: Records, clock: Clock) -> None:
    await add(records, "a")
    [first] = await records.claim_deliveries(SOON, 10, {}, 10)
    later = NOW + dt.timedelta(seconds=5)
    await records.delivery_failed(first.id, "x" * 1000, later)
    assert (await records.delivery_tallies(["a"]))["a"] == DeliveryTally(2, 0, 0, "x" * 500)
    assert await claimed(records) == []
    clock.now = later
    assert await claimed(records) == [("a", 1)]


async def test_what_is_given_up_is_so_to_the_end(records: Records) -> None:
    await add(records, "a")
    [first] = await records.claim_deliveries(SOON, 10, {}, 10)
    await records.delivered(first.id)
    assert await records.give_up_deliveries("a", "it answered 500") == 1
    assert (await records.delivery_tallies(["a", "b"])) == {"a": DeliveryTally(0, 1, 1, "it answered 500")}
    assert await records.next_delivery() is None


async def test_only_pending_events_are_stored_with_their_packets(records: Records) -> None:
    for stream in ("delivered", "given up", "pending"):
        await add(records, stream)
    for one in await records.claim_deliveries(SOON, 10, {}, 10):
        if one.stream_id == "delivered":
            await records.delivered(one.id)
    await records.give_up_deliveries("given up", "it answered 500")
    bodies = Delivery.select(Delivery.stream_id, Delivery.state, Delivery.body).tuples()
    rows = await records._store.read(lambda database: list(bodies.execute(database)))
    assert sorted({(stream, state, len(body) > 0) for stream, state, body in rows}) == [
        ("delivered", "delivered", False),
        ("delivered", "pending", True),
        ("given up", "dead", False),
        ("pending", "pending", True),
    ]


async def test_bounds_for_all_and_for_one_owner(records: Records) -> None:
    for number in range(4):
        await add(records, f"a{number}")
        await add(records, f"b{number}", "2", URL)
    assert len(await claimed(records, limit=3, per_owner=2)) == 3
    found = await records.claim_deliveries(SOON, 10, {"1": 1}, 2)
    assert [one.owner for one in found].count("1") == 1


async def test_two_processes_do_not_send_the_same(settings: Settings, records: Records, clock: Clock) -> None:
    for number in range(20):
        await add(records, f"s{number}")
    other = await Records.open(settings, clock)
    found: list[tuple[str, int]] = []

    async def claim(which: Records) -> None:
        for _ in range(10):
            found.extend(await claimed(which, limit=3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(claim, records)
        nursery.start_soon(claim, other)
    await other.close()
    assert sorted(found) == sorted((f"s{number}", 1) for number in range(20))


async def test_the_record_brings_along_what_is_missing(records: Records) -> None:
    """Saving a record adds each missing delivery once, even if some exist or the record is saved twice."""
    await records.add_deliveries("stream-1", "1", "", PACKETS[:2], COMPONENTS[:2], 0)
    sample = record(packets=PACKETS, components=COMPONENTS)
    await records.save(sample, final_packet)
    await records.save(sample, final_packet)
    await add(records, "stream-1")
    assert (await records.delivery_tallies(["stream-1"]))["stream-1"] == DeliveryTally(3, 0, 0, None)
    events = []
    for _ in range(3):
        [one] = await records.claim_deliveries(SOON, 10, {}, 10)
        events.append(one.event)
        await records.delivered(one.id)
    assert events == ["result.authenticity", "result.pricing", "session.completed"]


async def test_they_go_with_their_record_and_with_time(records: Records, clock: Clock) -> None:
    await records.save(record(packets=PACKETS, components=COMPONENTS), final_packet)
    await add(records, "unrecorded")
    assert (await records.erase(Filter(number=1))).analyses == 1
    assert list(await records.delivery_tallies(["stream-1", "unrecorded"])) == ["unrecorded"]
    assert await records.forget_deliveries(SOON) == 0
    await records.give_up_deliveries("unrecorded", "enough")
    assert await records.forget_deliveries(NOW) == 0
    assert await records.forget_deliveries(SOON) == 2
    assert await records.delivery_tallies(["unrecorded"]) == {}
