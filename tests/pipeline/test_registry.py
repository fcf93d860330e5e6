"""Opening, joining, finding, cancelling, draining and adopting sessions."""

from __future__ import annotations

import gc
import time
import weakref
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.compute import GracePeriod, Priority
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.recorder import Recorder
from pinactors.pipeline.registry.admission import Admission
from pinactors.pipeline.session import Session
from pinactors.pipeline.upload import Upload, fingerprint_of
from pinactors.protocol import (
    TIMEOUT_NOTE,
    AuthenticationResult,
    ErrorCode,
    ErrorPacket,
    PinactorsError,
    View,
    decode,
)
from pinactors.settings import Settings
from pinactors.storage.logs.files import LogFiles, StoredFile
from pinactors.storage.logs.packet_logs import Entry, StoredLog
from tests.conftest import ErrorLogs
from tests.failing import fail_once
from tests.pipeline.fakes import (
    NAMES,
    FakeCompute,
    FakeRecords,
    InPlace,
    Pipeline,
    final,
    image,
    only,
    open_pipeline,
    types,
    upload,
    watch,
)

# -- joining -----------------------------------------------------------------------------------------------


async def test_the_same_upload_joins_the_running_session(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["display"] = [5.0]
    first = await pipeline.registry.open(upload())
    await trio.sleep(1)
    assert await pipeline.registry.open(upload()) is first
    await watch(first)
    assert pipeline.compute.started.count("display") == 1


async def test_the_same_upload_joins_the_finished_session(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    first = await pipeline.registry.open(upload())
    await watch(first)
    again = await pipeline.registry.open(upload())
    assert again is first
    assert len(pipeline.records.saved) == 1


async def test_two_equal_uploads_at_the_same_time_are_one_session(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    sent = [upload(complete=False), upload(complete=False)]
    opened = [await pipeline.registry.open(each) for each in sent]
    pipeline.records.lookup = trio.Event()
    answers: dict[int, PacketLog] = {}

    async def settle(number: int) -> None:
        answers[number] = await pipeline.registry.answer(sent[number], opened[number])

    async with trio.open_nursery() as nursery:
        for number in range(2):
            sent[number].close()
            nursery.start_soon(settle, number)
        await wait_all_tasks_blocked()
        assert answers == {}
        pipeline.records.lookup.set()
    assert answers[0] is answers[1]
    dropped = opened[1] if answers[0] is opened[0] else opened[0]
    await watch(answers[0])
    assert dropped.closed
    assert not any(b"ANALYSIS_COMPLETE" in packet or b"ERROR" in packet for packet in dropped.packets)
    assert len(pipeline.records.saved) == 1
    with pytest.raises(PinactorsError):
        await pipeline.registry.find(dropped.stream_id, "")


async def test_an_announced_duplicate_whose_other_session_cannot_be_followed_fails(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other session is another master's. Its log is closed here if it was removed there, or if the
    database was unavailable for too long."""
    other = PacketLog("elsewhere", "250101120000", "")

    async def claim(sent: Upload, own: PacketLog) -> PacketLog:
        await trio.lowlevel.checkpoint()
        return other

    monkeypatch.setattr(pipeline.registry._duplicates, "claim", claim)
    sent = upload(complete=False)
    sent.announced = True
    log = await pipeline.registry.open(sent)
    sent.close()
    await wait_all_tasks_blocked()
    assert other.readers == 1
    other.close()
    packets = await watch(log)
    error = packets[-1]
    assert isinstance(error, ErrorPacket)
    assert (error.error_code, error.message) == (ErrorCode.PROCESSING_ERROR, "Upload interrupted")
    await pipeline.idle()
    assert await pipeline.registry.find(log.stream_id, "") is log
    assert list(pipeline.settings.journal_folder.iterdir()) != []
    await trio.sleep(pipeline.settings.replay + 1)
    await pipeline.analyse(upload(session_id="later"))  # every upload removes what has expired
    await wait_all_tasks_blocked()
    assert list(pipeline.settings.journal_folder.iterdir()) == []


async def test_joining_costs_no_worker(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    """Work on an upload's last photograph begins only after the comparison with earlier uploads, so that a
    duplicate starts no further job."""
    first = await pipeline.registry.open(upload())
    await watch(first)
    again = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(again)
    await wait_all_tasks_blocked()
    before = list(pipeline.compute.started)
    again.put(View.BACK, image("pin back"))
    again.close()
    assert await pipeline.registry.answer(again, log) is first
    await pipeline.idle()
    assert pipeline.compute.started == before
    assert pipeline.compute.cancelled == []


async def test_a_slow_look_up_does_not_hold_work_up(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.records.lookup = trio.Event()
    sent = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(sent)
    await wait_all_tasks_blocked()
    sent.put(View.BACK, image("pin back"))
    sent.close()
    await trio.sleep(0.9)
    assert "back" not in pipeline.compute.started
    await trio.sleep(0.2)
    assert "back" in pipeline.compute.started
    assert b"AUTHENTICATION_RESULT" in b"".join(log.packets)
    assert not log.closed
    pipeline.records.lookup.set()
    assert final(await watch(log)).missing == []


@pytest.mark.parametrize(
    "other",
    [{"session_id": "another"}, {"owner": "another"}, {"content": "another"}],
    ids=["session", "owner", "images"],
)
async def test_another_upload_is_another_session(
    other: dict[str, str], autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    first = await pipeline.registry.open(upload())
    second = await pipeline.registry.open(upload(**other))
    assert second is not first
    assert second.stream_id != first.stream_id


async def test_a_finished_session_is_joined_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        first = await pipeline.registry.open(upload())
        await watch(first)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        again = await pipeline.registry.open(upload())
        assert (again.stream_id, again.packets, again.closed) == (first.stream_id, first.packets, True)
        assert pipeline.compute.started == []
        found = await pipeline.registry.find(first.stream_id, "")
        assert found.packets == first.packets


async def test_an_idempotency_key_joins_whatever_the_session_id(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    first = await pipeline.registry.open(upload(idempotency_key="k"))
    assert await pipeline.registry.open(upload(idempotency_key="k", session_id="another")) is first


async def test_a_key_that_came_with_a_duplicate_stands_for_its_images(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    first = await pipeline.registry.open(upload())
    assert await pipeline.registry.open(upload(idempotency_key="later")) is first
    with pytest.raises(PinactorsError) as conflict:
        await pipeline.registry.open(upload(idempotency_key="later", content="another"))
    assert (conflict.value.code, conflict.value.status) == (ErrorCode.SESSION_CONFLICT, 422)


async def test_a_key_that_came_with_a_duplicate_is_known_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await pipeline.analyse(upload())
        await pipeline.registry.open(upload(idempotency_key="in memory"))
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await pipeline.registry.open(upload(idempotency_key="recorded"))
    async with open_pipeline(tmp_path, records=records) as pipeline:
        for key in ("in memory", "recorded"):
            with pytest.raises(PinactorsError) as conflict:
                await pipeline.registry.open(upload(idempotency_key=key, content="another"))
            assert (conflict.value.code, conflict.value.status) == (ErrorCode.SESSION_CONFLICT, 422)


async def test_a_key_of_other_images_is_no_duplicates(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The key was used before the restart, and now comes with a duplicate of another upload."""
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await pipeline.analyse(upload(idempotency_key="k"))
    async with open_pipeline(tmp_path, records=records) as pipeline:
        first = await pipeline.registry.open(upload(content="another"))
        with pytest.raises(PinactorsError) as conflict:
            await pipeline.registry.open(upload(idempotency_key="k", content="another"))
        assert conflict.value.code is ErrorCode.SESSION_CONFLICT
        assert await pipeline.registry.open(upload(content="another")) is first


async def test_an_idempotency_key_with_other_images_is_a_conflict(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await pipeline.analyse(upload(idempotency_key="k"))
        with pytest.raises(PinactorsError) as conflict:
            await pipeline.registry.open(upload(idempotency_key="k", content="another"))
        assert (conflict.value.code, conflict.value.status) == (ErrorCode.SESSION_CONFLICT, 422)
    async with open_pipeline(tmp_path, records=records) as pipeline:  # only the records have the key
        with pytest.raises(PinactorsError) as conflict:
            await pipeline.registry.open(upload(idempotency_key="k", content="another"))
        assert conflict.value.code is ErrorCode.SESSION_CONFLICT
        assert pipeline.registry.statistics()["sessions"] == 0


async def test_a_conflict_found_late_ends_the_session_it_was_opened_for(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    await pipeline.analyse(upload(idempotency_key="k"))
    sent = upload(idempotency_key="k", content="another", complete=False)
    log = await pipeline.registry.open(sent)
    await wait_all_tasks_blocked()
    sent.close()
    with pytest.raises(PinactorsError) as conflict:
        await pipeline.registry.answer(sent, log)
    assert conflict.value.code is ErrorCode.SESSION_CONFLICT
    await log.wait_closed()
    assert only([decode(packet) for packet in log.packets], ErrorPacket).error_code == "session_conflict"
    assert len(pipeline.records.saved) == 1


async def test_a_session_that_ended_in_error_is_tried_again(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.plan("display", 50.0)
    first = await pipeline.registry.open(upload(idempotency_key="k"))
    await pipeline.registry.cancel(first.stream_id, "")
    second = await pipeline.registry.open(upload(idempotency_key="k"))
    assert second is not first
    assert final(await watch(second)).missing == []


async def test_without_a_database_nothing_is_joined_and_all_goes_on(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.records.failures = 1
    assert final(await pipeline.analyse(upload(idempotency_key="k"))).id == 1


async def test_settling_an_upload_that_has_no_session_of_its_own(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    first = await pipeline.registry.open(upload())
    again = upload()
    log = await pipeline.registry.open(again)
    assert await pipeline.registry.answer(again, log) is first


# -- finding and cancelling --------------------------------------------------------------------------------


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


async def test_finished_sessions_are_found_as_long_as_replay_says(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.records.away = True  # so that only memory has it
    sent = upload(View.BACK)
    log = await pipeline.registry.open(sent)
    await watch(log)
    await trio.sleep(pipeline.settings.replay - 1)
    assert await pipeline.registry.find(log.stream_id, "") is log
    await trio.sleep(2)
    with pytest.raises(PinactorsError) as away:
        await pipeline.registry.find(log.stream_id, "")
    assert (away.value.status, away.value.retry_after) == (503, 2.0)
    assert pipeline.registry.statistics()["finished"] == 0


async def test_memory_for_finished_sessions_is_bounded(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinactors.pipeline.registry.finished.FINISHED_BYTES", 5000)
    logs = []
    for number in range(5):
        logs.append(await pipeline.registry.open(upload(content=f"pin {number}")))
        await watch(logs[-1])
        await pipeline.idle()
    assert 1 <= pipeline.registry.statistics()["finished"] < 5
    for log in logs:  # the others come from the records
        found = await pipeline.registry.find(log.stream_id, "")
        assert found.packets == log.packets


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


async def test_the_disconnect_policy(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, disconnect="cancel") as pipeline:
        pipeline.compute.always["display"] = [5.0]
        log = await pipeline.registry.open(upload())
        with log.watching():
            await log.wait_beyond(0)  # an answered poll: the reader polls again
        with trio.move_on_after(2), log.watching():
            with trio.move_on_after(1), log.watching():
                await log.wait_closed()
            await trio.sleep(0.5)
            assert not log.closed  # one reader is left
            await log.wait_closed()
        await log.wait_closed()
        assert b'"cancelled"' in log.packets[-1]
        assert trio.current_time() == pytest.approx(2.0)


# -- admission and draining --------------------------------------------------------------------------------


async def test_uploads_that_stall_are_no_queue(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Neither those without a photograph, nor those whose rest has not come within the deadline."""
    async with open_pipeline(tmp_path) as pipeline:
        deadline = pipeline.settings.deadline
        pipeline.registry._services.cost.add(deadline)
        workers = pipeline.compute.statistics()["workers"]
        for number in range(workers + 1):
            await pipeline.registry.open(Upload(f"empty-{number}"))
            await pipeline.registry.open(upload(View.FRONT, content=f"{number}", complete=False))
        with pytest.raises(PinactorsError, match="queue"):
            await pipeline.registry.open(upload(content="early"))
        await trio.sleep(deadline)
        await watch(await pipeline.registry.open(upload(content="later")))


async def test_more_sessions_than_places(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, max_sessions=2) as pipeline:
        pipeline.compute.always["display"] = [5.0]
        logs = [await pipeline.registry.open(upload(content=f"pin {number}")) for number in range(2)]
        with pytest.raises(PinactorsError) as refused:
            await pipeline.registry.open(upload(content="pin 2"))
        assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)
        assert refused.value.retry_after is not None
        assert (
            await pipeline.registry.open(upload(content="pin 1")) is logs[1]
        )  # a joined upload takes no place
        for log in logs:
            await watch(log)
        await pipeline.idle()
        assert final(await pipeline.analyse(upload(content="pin 2"))).id == 3


async def test_what_one_key_may_have_under_way(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, max_sessions_per_key=1) as pipeline:
        await pipeline.registry.open(upload(owner="1"))
        with pytest.raises(PinactorsError) as refused:
            await pipeline.registry.open(upload(owner="1", content="b"))
        assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 429)
        await pipeline.registry.open(upload(owner="2", content="b"))
        await pipeline.registry.open(upload(owner="", content="c"))
        await pipeline.registry.open(upload(owner="", content="d"))  # without keys there is no limit


async def test_the_rate_of_a_key(mock_clock: MockClock) -> None:
    admission = Admission(Settings(rate_per_minute=3))
    for _ in range(3):
        admission.check_rate("1")
    with pytest.raises(PinactorsError) as refused:
        admission.check_rate("1")
    assert (refused.value.status, refused.value.retry_after) == (429, 20.0)
    admission.check_rate("2")
    mock_clock.jump(20.5)
    admission.check_rate("1")
    with pytest.raises(PinactorsError):
        admission.check_rate("1")
    mock_clock.jump(1000)
    for _ in range(3):
        admission.check_rate("1")
    with pytest.raises(PinactorsError):
        admission.check_rate("1")


async def test_a_queue_longer_than_the_deadline_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    class Costly(FakeCompute):
        seconds = 50.0

    async with open_pipeline(tmp_path, compute=Costly()) as pipeline:
        await pipeline.analyse()
        pipeline.compute.always["display"] = [5.0]
        await pipeline.registry.open(upload(content="a"))
        await pipeline.registry.open(upload(content="b"))
        with pytest.raises(PinactorsError) as refused:  # two sessions of 50 s each, one worker, 90 s
            await pipeline.registry.open(upload(content="c"))
        assert (refused.value.status, refused.value.retry_after) == (503, 10.0)


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


# -- the next process --------------------------------------------------------------------------------------


async def killed(data: Path, records: FakeRecords, *, until: float = 1.0, complete: bool = True) -> PacketLog:
    """Ends a server `until` seconds after an upload, during its session; returns the log with the delivered
    packets."""
    compute = FakeCompute()
    for name in ("authenticity", "authenticity_basic", "characters"):
        compute.always[name] = [1000.0]
    async with open_pipeline(data, compute=compute, records=records) as pipeline:
        log = await pipeline.registry.open(upload(complete=complete))
        await trio.sleep(until)
    assert not log.ended
    return log


async def test_an_unfinished_session_is_adopted(autojump_clock: MockClock, tmp_path: Path) -> None:
    records = FakeRecords()
    before = await killed(tmp_path, records)
    assert len(before.packets) == 5
    async with open_pipeline(tmp_path, records=records) as pipeline:
        log = await pipeline.registry.find(before.stream_id, "")
        packets = await watch(log)
        assert log.packets[:5] == before.packets
        assert [packet.sequence for packet in packets] == list(range(8))
        assert len(set(types(packets))) == 8
        assert final(packets).degraded == []
        ran = {name for name in pipeline.compute.started if name in NAMES}
        assert ran == {"authenticity", "characters"}  # the others' packets were stored
        assert await pipeline.registry.open(upload()) is log
        await pipeline.idle()
    assert records.saved[before.stream_id][2] == log.packets
    assert list((tmp_path / "journal").iterdir()) == []


async def test_adoption_keeps_the_deadline(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = FakeRecords()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    before = await killed(tmp_path, records)
    monkeypatch.setattr(time, "time", lambda: now + 60)
    compute = FakeCompute()
    compute.always["authenticity"] = compute.always["authenticity_basic"] = [1000.0]
    async with open_pipeline(tmp_path, compute=compute, records=records) as pipeline:
        started = trio.current_time()
        await watch(await pipeline.registry.find(before.stream_id, ""))
        assert trio.current_time() - started == pytest.approx(30.0, abs=1.0)


async def test_adoption_after_the_deadline_times_out(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = FakeRecords()
    before = await killed(tmp_path, records)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        packets = await watch(await pipeline.registry.find(before.stream_id, ""))
        assert only(packets, AuthenticationResult).note == TIMEOUT_NOTE
        assert final(packets).missing == ["characters"]
        assert pipeline.compute.started == []


async def test_an_upload_the_crash_cut_off_ends_in_an_error(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    before = await killed(tmp_path, records, complete=False)
    async with open_pipeline(tmp_path, records=records) as pipeline:
        packets = await watch(await pipeline.registry.find(before.stream_id, ""))
        assert types(packets)[: len(before.packets)] == types([decode(each) for each in before.packets])
        error = packets[-1]
        assert isinstance(error, ErrorPacket)
        assert (error.error_code, error.message) == (ErrorCode.PROCESSING_ERROR, "Upload interrupted")
        await pipeline.idle()
        await wait_all_tasks_blocked()
    assert list((tmp_path / "journal").iterdir()) == []


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
        async def save(self, record, seal):  # type: ignore[no-untyped-def]
            if record.session_id == "bad":
                raise ValueError("a constraint")
            return await super().save(record, seal)

    async with open_pipeline(tmp_path, records=Picky()) as pipeline:
        packets = await pipeline.analyse(upload(session_id="bad"))
        assert only(packets, ErrorPacket).error_code is ErrorCode.PROCESSING_ERROR
        assert final(await pipeline.analyse(upload(session_id="good"))).id == 1
        await wait_all_tasks_blocked()
        assert [path.suffix for path in (tmp_path / "journal").iterdir()] == [".refused"]
    error_logs.take("record not stored")
    error_logs.take("record refused")


async def test_without_a_journal_the_session_goes_on(
    autojump_clock: MockClock, tmp_path: Path, error_logs: ErrorLogs
) -> None:
    async with open_pipeline(tmp_path) as pipeline:
        (tmp_path / "journal").rmdir()
        (tmp_path / "journal").touch()
        assert final(await pipeline.analyse()).id == 1
        assert {type(error) for error in pipeline.failures} == {NotADirectoryError}


# -- what is left ------------------------------------------------------------------------------------------


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


async def test_images_are_known_by_what_they_hold() -> None:
    first, second = upload(), upload()
    assert fingerprint_of(first.images) == fingerprint_of(second.images)
    second.images[View.BACK] = replace(image("pin back"), path="/elsewhere")
    assert fingerprint_of(first.images) == fingerprint_of(second.images)
    second.images[View.ANGLED] = second.images.pop(View.BACK)
    assert fingerprint_of(first.images) != fingerprint_of(second.images)


# -- a log that comes back to the process that gave it up --------------------------------------------------


def come_back(pipeline: Pipeline, stream_id: str, monkeypatch: pytest.MonkeyPatch) -> StoredFile:
    """Makes the next adoption return the log of a session that is still live in this process, as happens
    after a shared database was unreachable for a while. Returns that log."""
    logs = LogFiles(pipeline.settings.journal_folder, InPlace(), pipeline.failures.append)
    stored = logs.create(stream_id)

    async def adopt(self: LogFiles) -> list[tuple[StoredLog, list[Entry]]]:
        entries = await logs.load(stream_id)
        assert entries
        return [(stored, entries)]

    monkeypatch.setattr(LogFiles, "adopt", adopt)
    return stored


async def test_one_that_is_given_up_goes_on_once_it_has_ended_here(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.compute.always["display"] = [5.0]
    log = await pipeline.registry.open(upload())
    await trio.sleep(1)
    come_back(pipeline, log.stream_id, monkeypatch)
    adopted = trio.Event()

    async def adopt() -> None:
        await pipeline.registry.adopt()
        adopted.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(adopt)
        await trio.sleep(1)
        assert (adopted.is_set(), pipeline.registry.statistics()["sessions"]) == (False, 1)
        await watch(log)
        await adopted.wait()
    again = await pipeline.registry.find(log.stream_id, "")
    assert again is not log
    await watch(again)
    await pipeline.idle()
    assert len(pipeline.records.saved) == 1


async def test_one_whose_session_goes_on_without_is_removed(
    autojump_clock: MockClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.compute.always["display"] = [5.0]
    log = await pipeline.registry.open(upload())
    await trio.sleep(1)
    stored = come_back(pipeline, log.stream_id, monkeypatch)
    monkeypatch.setattr(Session, "is_kept", False)
    removed: list[StoredFile] = []

    async def remove(self: StoredFile) -> None:
        await trio.lowlevel.checkpoint()
        removed.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(StoredFile, "remove", remove)
        await pipeline.registry.adopt()
    assert removed == [stored]
    assert await pipeline.registry.find(log.stream_id, "") is log
    await watch(log)


async def test_two_duplicates_that_a_kill_left_undecided_are_one_analysis(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        pipeline.compute.always["display"] = [5.0]
        sent = [upload(complete=False), upload(complete=False)]
        logs = [await pipeline.registry.open(each) for each in sent]
        records.lookup = trio.Event()
        for each in sent:
            each.close()
        await trio.sleep(2)
    records.lookup = None
    async with open_pipeline(tmp_path, records=records) as pipeline:
        found = [await pipeline.registry.find(log.stream_id, "") for log in logs]
        packets = [await watch(log) for log in found]
        await pipeline.idle()
    assert len(records.saved) == 1
    assert final(packets[0]).id == final(packets[1]).id
    for log, before in zip(found, logs, strict=True):
        assert log.packets[: len(before.packets)] == before.packets


async def test_a_duplicate_that_a_kill_left_undecided_is_answered_by_the_record(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        first = await pipeline.analyse()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        sent = upload(complete=False)
        log = await pipeline.registry.open(sent)
        pipeline.compute.always["display"] = [5.0]
        records.lookup = trio.Event()
        sent.close()
        await trio.sleep(2)
    records.lookup = None
    async with open_pipeline(tmp_path, records=records) as pipeline:
        packets = await watch(await pipeline.registry.find(log.stream_id, ""))
        await pipeline.idle()
    assert len(records.saved) == 1
    assert final(packets).id == final(first).id


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
