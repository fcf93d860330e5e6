"""Each result becomes a webhook event when its packet is made, or when the database is available again."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from tests.pipeline.fakes import FakeRecords, Pipeline, open_pipeline, upload, watch

URL = "https://example.com/events"
RESULTS = {f"result.{name}" for name in ("authenticity", "characters", "pricing", "details", "display")}


def events(records: FakeRecords) -> list[str]:
    """The stored events, in the order of the stream."""
    assert {url for url, _ in records.deliveries.values()} <= {URL}
    return [event for _, (_, event) in sorted(records.deliveries.items())]


async def stored(pipeline: Pipeline, count: int) -> None:
    while len(pipeline.records.deliveries) < count:  # noqa: ASYNC110 - on a clock that jumps
        await trio.sleep(0.01)


async def test_each_result_is_an_event_the_moment_it_is_there(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["display"] = [5.0]
    sent = upload()
    sent.webhook = URL
    log = await pipeline.registry.open(sent)
    await stored(pipeline, 4)
    assert not log.closed
    assert set(events(pipeline.records)) == RESULTS - {"result.display"}
    await watch(log)
    await stored(pipeline, 6)
    assert events(pipeline.records)[-1] == "session.completed"
    assert set(events(pipeline.records)) == RESULTS | {"session.completed"}
    record = next(iter(pipeline.records.saved.values()))[1]
    assert record.webhook == URL
    assert set(record.components) == {"", "authenticity", "characters", "pricing", "details", "display"}


async def test_a_keys_webhook_hears_of_its_sessions_alone(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.records.webhooks["1"] = URL
    for owner in ("1", "2", ""):
        await watch(await pipeline.registry.open(upload(owner=owner)))
    await stored(pipeline, 6)
    assert len(pipeline.records.deliveries) == 6


async def test_events_wait_for_the_database(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["display"] = [20.0]
    pipeline.records.deliveries_away = True
    sent = upload()
    sent.webhook = URL
    log = await pipeline.registry.open(sent)
    await trio.sleep(10)
    assert pipeline.records.deliveries == {}
    pipeline.records.deliveries_away = False
    await watch(log)
    await stored(pipeline, 6)
    assert set(events(pipeline.records)) == RESULTS | {"session.completed"}


async def test_nobody_waits_for_it_once_the_session_has_ended(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    """After the end, events that were not stored are dropped: saving the record stores all events (not in
    `FakeRecords`)."""
    pipeline.records.deliveries_away = True
    sent = upload()
    sent.webhook = URL
    await watch(await pipeline.registry.open(sent))
    await trio.sleep(60)
    pipeline.records.deliveries_away = False
    await trio.sleep(60)
    assert pipeline.records.deliveries == {}
    assert next(iter(pipeline.records.saved.values()))[1].webhook == URL


async def test_a_duplicate_has_no_events_of_its_own(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    first, again = upload(), upload(complete=False)
    first.webhook = again.webhook = URL
    log = await pipeline.registry.open(first)
    other = await pipeline.registry.open(again)
    again.close()
    assert await pipeline.registry.answer(again, other) is log
    await watch(log)
    await stored(pipeline, 6)
    await pipeline.idle()
    assert {stream for stream, _ in pipeline.records.deliveries} == {log.stream_id}


async def test_the_next_process_goes_on_with_the_webhook(autojump_clock: MockClock, tmp_path: Path) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        pipeline.compute.always["display"] = [50.0]
        sent = upload()
        sent.webhook = URL
        await pipeline.registry.open(sent)
        await stored(pipeline, 4)
    before = dict(records.deliveries)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await stored(pipeline, 6)
    assert before.items() <= records.deliveries.items()
    assert set(events(records)) == RESULTS | {"session.completed"}
