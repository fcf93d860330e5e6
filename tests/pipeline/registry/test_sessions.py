"""Opening, finding, cancelling and draining sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry
from pinactors.protocol import ErrorCode, ErrorPacket, PinactorsError, decode
from tests.pipeline.fakes import Pipeline, open_pipeline, types, upload, watch
from tests.pipeline.registry.shared import masters
from tests.postgres_server import empty_database


async def test_a_stream_belongs_to_its_owner(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    log = await pipeline.registry.open(upload(owner="mine"))
    assert await pipeline.registry.find(log.stream_id, "mine") is log
    for stream_id, owner in ((log.stream_id, "yours"), (log.stream_id, ""), ("unknown-stream-id", "mine")):
        with pytest.raises(PinactorsError) as unknown:
            await pipeline.registry.find(stream_id, owner)
        assert (unknown.value.code, unknown.value.status) == (ErrorCode.STREAM_NOT_FOUND, 404)
        with pytest.raises(PinactorsError):
            await pipeline.registry.cancel(stream_id, owner)
    assert not log.closed


async def test_cancelling_stops_the_work_and_tells_the_readers(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["authenticity"] = [50.0]
    log = await pipeline.registry.open(upload())
    await trio.sleep(1)
    started = trio.current_time()
    await pipeline.registry.cancel(log.stream_id, "")
    assert trio.current_time() == started
    error = decode(log.packets[-1])
    assert isinstance(error, ErrorPacket)
    assert error.error_code is ErrorCode.CANCELLED
    assert pipeline.compute.cancelled == ["authenticity"]
    packets = list(log.packets)
    await pipeline.registry.cancel(log.stream_id, "")
    assert log.packets == packets


async def test_cancelling_a_complete_session_changes_nothing(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    log = await pipeline.registry.open(upload())
    packets = await watch(log)
    await pipeline.registry.cancel(log.stream_id, "")
    assert types([decode(packet) for packet in log.packets]) == types(packets)


async def test_cancelling_while_the_database_is_away(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.records.away = True
    log = await pipeline.registry.open(upload())
    await trio.sleep(10)
    await pipeline.registry.cancel(log.stream_id, "")
    assert b'"cancelled"' in log.packets[-1]
    pipeline.records.away = False
    await trio.sleep(10)
    ((_, record, _),) = pipeline.records.saved.values()
    assert (record.error_code, record.verdict) == ("cancelled", None)


async def test_a_session_outlives_its_reader(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["display"] = [5.0]
    log = await pipeline.registry.open(upload())
    with trio.move_on_after(1), log.watching():
        await log.wait_closed()
    assert log.readers == 0
    await log.wait_closed()
    assert b"ANALYSIS_COMPLETE" in log.packets[-1]


async def test_draining(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["display"] = [5.0]
    log = await pipeline.registry.open(upload())
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipeline.registry.drain)
        await wait_all_tasks_blocked()
        with pytest.raises(PinactorsError) as refused:
            await pipeline.registry.open(upload(content="late"))
        assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)
    assert b"ANALYSIS_COMPLETE" in log.packets[-1]
    assert trio.current_time() == pytest.approx(5.0)
    await pipeline.registry.drain()


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_of_everything_ends_a_session_that_is_being_opened(
    autojump_clock: MockClock, tmp_path: Path, steps: int
) -> None:
    """The caller waits, shielded, for a first packet that a cancelled session does not write."""
    with trio.fail_after(60), trio.CancelScope() as everything:
        async with open_pipeline(tmp_path) as pipeline, trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.registry.open, upload())
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            everything.cancel()
    assert everything.cancelled_caught


async def repeated_elsewhere(one: Registry, two: Registry) -> tuple[PacketLog, PacketLog]:
    """The logs of a session of `one` that has begun, and of a session of `two` that repeats it."""
    earlier = await one.open(upload())
    await earlier.wait_beyond(1)  # a log of a session that has not begun is removed if it is cancelled
    again = upload(complete=False)
    again.announced = True
    later = await two.open(again)
    again.close()
    await two.answer(again, later)
    return earlier, later


@pytest.mark.parametrize("asked", [0, 1, 2])
async def test_cancelling_a_session_that_repeats_another_masters_ends_both(
    asked: int,
    postgres: Path,
    tmp_path: Path,
) -> None:
    async with masters(tmp_path, empty_database(postgres), 3) as registries:
        logs = await repeated_elsewhere(registries[0], registries[1])
        await registries[asked].cancel(logs[1].stream_id, "")
        for log in logs:
            await log.wait_closed()
            assert b'"cancelled"' in log.packets[-1]


async def test_cancelling_does_not_report_an_end_that_was_not_seen(
    postgres: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The master that runs the session does not end it, and this one no longer follows it."""
    monkeypatch.setattr(Registry, "cancel_here", lambda registry, stream_id: None)
    async with masters(tmp_path, empty_database(postgres)) as (one, two):
        stream_id = (await one.open(upload())).stream_id
        followed = await two.find(stream_id, "")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_unanswered, two, stream_id)
            await wait_all_tasks_blocked()
            followed.close()


async def _unanswered(registry: Registry, stream_id: str) -> None:
    with pytest.raises(PinactorsError) as refused:
        await registry.cancel(stream_id, "")
    assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)
