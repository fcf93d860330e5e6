"""Uploads that were sent before: they join the session of the earlier one, which may be over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.duplicates import Duplicates
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, ErrorPacket, PinactorsError, View, decode
from tests.pipeline.fakes import FakeRecords, Pipeline, final, image, only, open_pipeline, upload, watch


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


ERROR = b'{"packetType":"ERROR"}'


class OtherMasters:
    """The claims that other masters have stored: one session has claimed every name, until it is
    forgotten."""

    def __init__(self, log: PacketLog) -> None:
        self.rows = self
        self.log = log
        self.known = True

    async def claim(self, names: Any, fingerprint: str, stream_id: str) -> tuple[str, str] | None:
        await trio.lowlevel.checkpoint()
        return (self.log.stream_id, fingerprint) if self.known else None

    async def forget(self, stream_id: str) -> None:
        await trio.lowlevel.checkpoint()
        assert stream_id == self.log.stream_id
        self.known = False

    async def find(self, stream_id: str, owner: str) -> PacketLog:
        await trio.lowlevel.checkpoint()
        assert stream_id == self.log.stream_id
        return self.log


async def test_those_of_another_masters_session_that_fails_are_analysed_when_sent_again() -> None:
    followed = PacketLog("elsewhere", "session", "")
    others: Any = OtherMasters(followed)
    records: Any = FakeRecords(lookup=trio.Event())
    duplicates = Duplicates(records, others, others.find)
    answers: list[PacketLog] = []

    async def claim(sent: Upload, own: PacketLog) -> None:
        answers.append(await duplicates.claim(sent, own))

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(claim, upload(), PacketLog(f"duplicate {number}", "session", ""))
            await wait_all_tasks_blocked()
            records.lookup.set()
        assert answers == [followed, followed]
        followed.append(ERROR, terminal=True)
        own = PacketLog("again", "session", "")
        assert await duplicates.claim(upload(), own) is own
        assert await duplicates.claim(upload(), PacketLog("third", "session", "")) is own


async def test_those_of_an_erased_record_are_analysed(autojump_clock: MockClock, tmp_path: Path) -> None:
    records = FakeRecords()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        await pipeline.analyse()
    async with open_pipeline(tmp_path, records=records) as pipeline:
        records.lookup = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(pipeline.registry.open, upload())
            await wait_all_tasks_blocked()
            records.lookup.set()
        assert pipeline.compute.started == []
        records.saved.clear()
        await pipeline.analyse()
        assert pipeline.compute.started != []
