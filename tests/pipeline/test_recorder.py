"""Storing the records of analyses: in time, after an outage or a kill, from logs that cannot be read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.recorder import STORED_TOGETHER, Recorder
from pinactors.protocol import ErrorCode, ErrorPacket, PinactorsError
from pinactors.storage.logs.files import SUFFIX
from tests.conftest import ErrorLogs
from tests.failing import fail_once
from tests.pipeline.fakes import FakeRecords, Pipeline, final, only, open_pipeline, types, upload, watch


@contextmanager
def no_descriptors(of: str = "") -> Iterator[None]:
    """Makes reading a log, or the one with `of` in its name, fail as in a process that has too many files
    open."""
    read = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path.suffix == SUFFIX and of in path.name:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        yield


async def not_recorded(pipeline: Pipeline, session_id: str = "s1") -> PacketLog:
    """Runs a session while the database is away, which leaves its analysis in the outbox."""
    pipeline.records.away = True
    log = await pipeline.registry.open(upload(session_id=session_id, content=session_id))
    await log.wait_closed()
    await pipeline.idle()
    return log


async def test_an_analysis_waits_until_its_log_can_be_read(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    with no_descriptors():
        log = await not_recorded(pipeline)
        pipeline.records.away = False
        await trio.sleep(60)
        assert pipeline.registry.statistics()["outbox"] == 1
    await trio.sleep(10)
    assert pipeline.registry.statistics()["outbox"] == 0
    assert pipeline.records.saved[log.stream_id][2] == log.packets
    assert list(pipeline.settings.journal_folder.iterdir()) == []


async def test_a_log_that_cannot_be_read_blocks_no_other(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    logs = [await not_recorded(pipeline, name) for name in ("first", "second", "third")]
    with no_descriptors(logs[1].stream_id):
        pipeline.records.away = False
        await trio.sleep(60)
        assert set(pipeline.records.saved) == {logs[0].stream_id, logs[2].stream_id}
    await trio.sleep(10)
    assert set(pipeline.records.saved) == {log.stream_id for log in logs}


async def test_analyses_that_wait_are_stored_several_at_a_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    class Slow(FakeRecords):
        async def save(self, record, final_packet):  # type: ignore[no-untyped-def]
            await trio.sleep(1)
            return await super().save(record, final_packet)

    count = STORED_TOGETHER + 1
    async with open_pipeline(tmp_path, records=Slow()) as pipeline:
        pipeline.compute.always["front"] = [PinactorsError(ErrorCode.INVALID_FORMAT, "Not an image")]
        for number in range(count):
            await watch(await pipeline.registry.open(upload(session_id=str(number), content=str(number))))
        await trio.sleep(2.5)
        assert len(pipeline.records.saved) == count


async def test_a_reader_may_ask_again_for_a_log_that_cannot_be_read_now(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    with no_descriptors(), pytest.raises(PinactorsError) as refused:
        await pipeline.registry.find("a-stream-of-an-earlier-process", "")
    assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)


async def test_the_record_exists_before_the_last_packet(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.plan("display", 5.0)
    log = await pipeline.registry.open(upload())
    while not log.closed:
        await log.wait_beyond(len(log.packets))
        complete = b"ANALYSIS_COMPLETE" in log.packets[-1]
        assert (log.stream_id in pipeline.records.saved) == complete
    assert complete


async def test_a_busy_database_is_tried_again(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.records.failures = 6  # one look-up, five attempts to save
    packets = await pipeline.analyse()
    assert final(packets).id == 1
    assert pipeline.records.attempts == 6


async def test_without_a_database_the_client_is_told_and_the_analysis_is_stored_later(
    autojump_clock: MockClock,
    pipeline: Pipeline,
) -> None:
    pipeline.records.away = True
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(90.0)
    error = packets[-1]
    assert isinstance(error, ErrorPacket)
    assert error.error_code is ErrorCode.PROCESSING_ERROR
    assert "will be stored" in error.error
    assert "AUTHENTICATION_RESULT" in types(packets)
    await pipeline.idle()
    assert pipeline.registry.statistics()["outbox"] == 1
    pipeline.records.away = False
    await trio.sleep(10)
    ((number, record, stored),) = pipeline.records.saved.values()
    assert (number, record.verdict, record.error_code) == (1, "authentic", None)
    assert [len(packet) for packet in stored] == [len(packet.encode()) for packet in packets]
    assert pipeline.registry.statistics()["outbox"] == 0
    assert list(pipeline.settings.journal_folder.iterdir()) == []


async def test_a_session_that_failed_is_recorded(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["front"] = [PinactorsError(ErrorCode.INVALID_FORMAT, "Not an image")]
    await pipeline.analyse()
    await trio.testing.wait_all_tasks_blocked()
    ((_, record, stored),) = pipeline.records.saved.values()
    assert (record.error_code, record.verdict) == ("invalid_format", None)
    assert b'"ERROR"' in stored[-1]


async def test_the_outbox_survives_a_restart(autojump_clock: MockClock, tmp_path: Path) -> None:
    records = FakeRecords(away=True)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        log = await pipeline.registry.open(upload())
        await watch(log)
    assert records.saved == {}
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await trio.sleep(20)
        found = await pipeline.registry.find(log.stream_id, "")  # not in memory, not in the records yet
        assert (found.packets, found.closed) == (log.packets, True)
        records.away = False
        await trio.sleep(20)
    assert records.saved[log.stream_id][2] == log.packets
    assert records.saved[log.stream_id][1].error_code is None


async def test_the_recorder_goes_on_when_one_analysis_fails_it(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    records = FakeRecords(away=True)
    fail_once(monkeypatch, Recorder, "_store")
    async with open_pipeline(tmp_path, records=records) as pipeline:
        for content in ("one", "two"):
            await watch(await pipeline.registry.open(upload(content=content)))
        records.away = False
        await trio.sleep(20)
        assert pipeline.registry.statistics()["outbox"] == 0
        assert error_logs.take("iteration failed")["task"] == "recorder"
        assert len(records.saved) == 1
    async with open_pipeline(tmp_path, records=records):  # the first analysis is still in its log
        await trio.sleep(20)
    assert len(records.saved) == 2


async def test_a_record_stored_just_before_the_kill_is_not_stored_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The process was killed after it had committed the transaction, and before it wrote the last packet."""
    records = FakeRecords()
    folder = tmp_path / "journal"
    async with open_pipeline(tmp_path, records=records) as pipeline:
        pipeline.compute.plan("display", 5.0)
        log = await pipeline.registry.open(upload())
        await trio.sleep(4)
        (path,) = folder.iterdir()
        kept = path.read_bytes()
        await watch(log)
        await pipeline.idle()
    path.write_bytes(kept)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        again = await pipeline.registry.find(log.stream_id, "")
        await watch(again)
        assert again.packets[-1] == log.packets[-1]
    assert len(records.saved) == 1


async def test_a_refused_record_is_set_aside_and_blocks_nobody(
    autojump_clock: MockClock, tmp_path: Path, error_logs: ErrorLogs
) -> None:
    class Picky(FakeRecords):
        async def save(self, record, final_packet):  # type: ignore[no-untyped-def]
            if record.session_id == "bad":
                raise ValueError("a constraint")
            return await super().save(record, final_packet)

    async with open_pipeline(tmp_path, records=Picky()) as pipeline:
        packets = await pipeline.analyse(upload(session_id="bad"))
        assert only(packets, ErrorPacket).error_code is ErrorCode.PROCESSING_ERROR
        assert final(await pipeline.analyse(upload(session_id="good"))).id == 1
        await wait_all_tasks_blocked()
        assert [path.suffix for path in (tmp_path / "journal").iterdir()] == [".refused"]
    error_logs.take("record not stored")
    error_logs.take("record refused")
