"""One session from its first packet to its last, on a mock clock."""

from __future__ import annotations

import gc
import weakref
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.compute import GracePeriod, Priority
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.session import Session
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    ConnectionEstablished,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    ProcessingStarted,
    View,
)
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import (
    NAMES,
    FakeCompute,
    Pipeline,
    final,
    only,
    open_pipeline,
    types,
    upload,
    watch,
)


async def test_a_long_queue_is_told(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.seconds = 3.0  # of a worker, for each session
    await pipeline.analyse(upload(session_id="1", content="a"))
    pipeline.compute.waiting = 1
    short = only(await pipeline.analyse(upload(session_id="2", content="b")), ProcessingStarted)
    pipeline.compute.waiting = 4
    long = only(await pipeline.analyse(upload(session_id="3", content="c")), ProcessingStarted)
    assert short.message == "Analysis started"
    assert long.message == "Analysis started; 4 others are waiting for this server"


async def test_the_whole_walk(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse()
    assert types(packets)[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert sorted(types(packets)[2:-1]) == [
        "AUTHENTICATION_RESULT",
        "CHARACTER_IDENTIFICATION",
        "DETAILED_ANALYSIS",
        "HTML_DISPLAY_DATA",
        "PRICING_ANALYSIS",
    ]
    assert [packet.sequence for packet in packets] == list(range(8))
    assert {packet.session_id for packet in packets} == {"250101120000"}
    end = final(packets)
    assert (end.id, end.degraded, end.missing) == (1, [], [])
    opening = packets[0]
    assert isinstance(opening, ConnectionEstablished)
    assert opening.deadline_ms == 90_000
    number, record, stored = pipeline.records.saved[opening.stream_id]
    assert number == 1
    assert (record.verdict, record.rating, record.pin_id, record.error_code) == ("authentic", 77, "p1", None)
    log = await pipeline.registry.find(opening.stream_id, "")
    assert stored == log.packets


async def test_components_run_at_the_same_time(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    for name in NAMES:
        pipeline.compute.plan(name, 10.0)
    started = trio.current_time()
    await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(10.0)


async def test_each_packet_goes_out_when_it_is_ready(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.plan("display", 1.0)
    pipeline.compute.plan("authenticity", 20.0)
    log = await pipeline.registry.open(upload())
    started = trio.current_time()
    with log.watching():
        while b"HTML_DISPLAY_DATA" not in log.packets[-1]:
            await log.wait_beyond(len(log.packets))
    assert trio.current_time() - started == pytest.approx(1.0)


async def test_an_exception_of_the_pipeline_itself_is_an_error_packet_and_no_more(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_begin", broken)
        packets = await pipeline.analyse()
    assert only(packets, ErrorPacket).error_code is ErrorCode.PROCESSING_ERROR
    error_logs.take("session failed")
    assert types(await pipeline.analyse(upload(content="another")))[-1] == "ANALYSIS_COMPLETE"


class Asked(FakeCompute):
    """Keeps the priority function of each session."""

    def __init__(self) -> None:
        super().__init__()
        self.priorities: list[Priority] = []

    def session(
        self, name: str, priority: Priority, grace: GracePeriod
    ) -> AbstractAsyncContextManager[FakeCompute]:
        self.priorities.append(priority)
        return super().session(name, priority, grace)


async def test_who_is_short_of_time_goes_first_then_who_is_watched(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    compute = Asked()
    compute.always["authenticity"] = [1000.0]
    compute.always["authenticity_basic"] = [10.0]
    async with open_pipeline(tmp_path, compute=compute) as pipeline:
        sending = upload(View.FRONT, content="sending", complete=False)
        await pipeline.registry.open(sending)
        left = await pipeline.registry.open(upload(content="left"))
        await trio.sleep(70)
        watched = await pipeline.registry.open(upload(content="watched"))
        await wait_all_tasks_blocked()
        with watched.watching():
            of_sending, of_left, of_watched = compute.priorities
            assert of_watched() < of_sending() < of_left()
            await trio.sleep(6)  # `left` has only its reserve left
            assert of_left() < of_watched()
        sending.close()
        await left.wait_closed()


async def test_workers_go_to_the_nearest_deadline_and_to_uploads_under_way_last(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    compute = Asked()
    compute.always["display"] = [50.0]
    async with open_pipeline(tmp_path, compute=compute) as pipeline:
        sending = upload(content="sending", complete=False)
        logs = [await pipeline.registry.open(sending)]
        await trio.sleep(1)
        for content in ("first", "second"):
            logs.append(await pipeline.registry.open(upload(content=content)))
            await trio.sleep(1)
        with logs[0].watching(), logs[1].watching(), logs[2].watching():
            of_sending, of_first, of_second = compute.priorities
            assert of_first() < of_second() < of_sending()
            sending.close()
            await wait_all_tasks_blocked()
            assert of_first() < of_second() < of_sending(), "its time has begun with its last photograph"


async def test_without_a_journal_the_session_goes_on(
    autojump_clock: MockClock, tmp_path: Path, error_logs: ErrorLogs
) -> None:
    async with open_pipeline(tmp_path) as pipeline:
        (tmp_path / "journal").rmdir()
        (tmp_path / "journal").touch()
        assert final(await pipeline.analyse()).id == 1
        assert {type(error) for error in pipeline.failures} == {NotADirectoryError}


async def test_a_session_that_leaves_its_log_open_keeps_no_reader(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leaves_out_the_end(self: Session) -> None:
        self.log.append(b'{"packetType":"CONNECTION_ESTABLISHED"}', terminal=False)
        await trio.lowlevel.checkpoint()

    with monkeypatch.context() as patched:
        patched.setattr(Session, "run", leaves_out_the_end)
        log = await pipeline.registry.open(upload())
        await log.wait_closed()
    assert (log.closed, log.ended) == (True, False)
    with pytest.raises(PinactorsError):
        await pipeline.registry.find(log.stream_id, "")
    assert final(await pipeline.analyse()).missing == []


async def test_nothing_of_a_session_is_left(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    seen: list[weakref.ref[Session]] = []
    sent = upload()
    log = await pipeline.registry.open(sent)
    session = pipeline.registry._running.find(log.stream_id)
    assert session is not None
    seen.append(weakref.ref(session))
    del session
    await watch(log)
    await pipeline.idle()
    await wait_all_tasks_blocked()
    gc.collect()
    assert seen[0]() is None
    assert sent.complete  # the upload still exists, because this test holds it
    assert list(pipeline.settings.journal_folder.iterdir()) == []


async def test_sessions_leave_no_cycles_to_the_collector(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A session's memory is freed at once, not by the next full garbage collection, which would block the
    event loop."""
    async with open_pipeline(tmp_path, replay=0.0) as pipeline:
        await pipeline.analyse(upload(content="first"))
        await pipeline.idle()
        gc.collect()
        gc.disable()
        try:
            left: list[weakref.ref[Upload | PacketLog]] = []
            for number in range(10):
                sent = upload(content=f"pin {number}")
                log = await pipeline.registry.open(sent)
                await watch(log)
                left += [weakref.ref(sent), weakref.ref(log)]
            await pipeline.idle()
            await trio.sleep(1)
            del sent, log
            await pipeline.analyse(upload(content="last"))  # drops the logs of the others
            assert not any(reference() for reference in left)
            assert gc.collect() < 100  # a session has some 700 objects
        finally:
            gc.enable()
