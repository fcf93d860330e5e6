"""Sessions that a killed process left: they go on, or end in an error."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry, open_registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import TIMEOUT_NOTE, AuthenticationResult, ErrorCode, ErrorPacket, View, decode
from pinactors.settings import Settings
from pinactors.storage.logs.rows import LogRows
from pinactors.storage.logs.stored_rows import StoredRows
from tests.pipeline.fakes import (
    ANALYSIS,
    NAMES,
    FakeCompute,
    FakeRecords,
    final,
    image,
    only,
    open_pipeline,
    types,
    upload,
    watch,
)
from tests.pipeline.registry.shared import TIMEOUT
from tests.postgres_server import empty_database


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


TUS = ("", "tus:a")
"""Owner and `Idempotency-Key` of a session whose upload is incomplete."""


@asynccontextmanager
async def master(folder: Path, url: str) -> AsyncIterator[Registry]:
    """A master whose data folder has an incomplete upload."""
    compute: Any = FakeCompute()
    records: Any = FakeRecords()
    settings = Settings(data=folder, database_url=url)
    with trio.fail_after(TIMEOUT):
        async with open_registry(ANALYSIS, compute, records, settings, resumed={TUS}) as registry:
            yield registry


async def begin_upload(registry: Registry) -> tuple[Upload, PacketLog]:
    begun = Upload("session", TUS[0], TUS[1], announced=True, resumable=True)
    begun.put(View.FRONT, image("front"), "front")
    log = await registry.open(begun)
    await log.wait_beyond(1)  # a component's packet
    return begun, log


async def complete(begun: Upload, log: PacketLog) -> None:
    begun.put(View.BACK, image("back"), "back")
    begun.close()
    await log.wait_closed()
    assert b"ANALYSIS_COMPLETE" in log.packets[-1]


@pytest.mark.parametrize("killed", [True, False])
async def test_a_restarted_master_continues_the_session_of_an_incomplete_upload(
    killed: bool,
    postgres: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = empty_database(postgres)
    with monkeypatch.context() as patched:
        if killed:  # its lease is still valid, and its sessions are its own
            for owner, method in ((LogRows, "leave"), (StoredRows, "release")):
                patched.setattr(owner, method, nothing)
        async with master(tmp_path, url) as registry:
            _, before = await begin_upload(registry)
    async with master(tmp_path, url) as registry:
        found = registry.unfinished(*TUS)
        assert found is not None
        begun, log = found
        assert (log.stream_id, log.packets[: len(before.packets)]) == (before.stream_id, before.packets)
        await complete(begun, log)


async def nothing(stored: object) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_second_process_with_the_same_data_folder_leaves_the_first_its_sessions(
    postgres: Path,
    tmp_path: Path,
) -> None:
    url = empty_database(postgres)
    async with master(tmp_path, url) as first:
        begun, log = await begin_upload(first)
        async with master(tmp_path, url) as second:
            assert second.unfinished(*TUS) is None
            assert second.statistics()["sessions"] == 0
            await complete(begun, log)
