"""Sessions of masters that share their packet logs in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry, open_registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.settings import Settings
from pinactors.storage.logs.rows import LogRows
from pinactors.storage.logs.stored_rows import StoredRows
from tests.pipeline.fakes import ANALYSIS, FakeCompute, FakeRecords, image, upload
from tests.postgres_server import empty_database
from tests.records.conftest import postgres  # noqa: F401 - a fixture

TIMEOUT = 120


@asynccontextmanager
async def masters(folder: Path, url: str, count: int = 2) -> AsyncIterator[list[Registry]]:
    """The registries of that many masters, on which a session takes a minute."""
    compute: Any = FakeCompute()
    compute.always["authenticity"] = [60.0]
    records: Any = FakeRecords()
    with trio.fail_after(TIMEOUT):
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    open_registry(
                        ANALYSIS, compute, records, Settings(data=folder / f"{number}", database_url=url)
                    )
                )
                for number in range(count)
            ]


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
    postgres: Path,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    async with masters(tmp_path, empty_database(postgres), 3) as registries:
        logs = await repeated_elsewhere(registries[0], registries[1])
        await registries[asked].cancel(logs[1].stream_id, "")
        for log in logs:
            await log.wait_closed()
            assert b'"cancelled"' in log.packets[-1]


async def test_cancelling_does_not_report_an_end_that_was_not_seen(
    postgres: Path,  # noqa: F811 - a fixture
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
    postgres: Path,  # noqa: F811 - a fixture
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
    postgres: Path,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    url = empty_database(postgres)
    async with master(tmp_path, url) as first:
        begun, log = await begin_upload(first)
        async with master(tmp_path, url) as second:
            assert second.unfinished(*TUS) is None
            assert second.statistics()["sessions"] == 0
            await complete(begun, log)


async def test_a_stream_id_that_a_database_cannot_store_is_not_found(
    postgres: Path,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    """The database fails for it, which must not be told as an outage."""
    async with masters(tmp_path, empty_database(postgres), 1) as [registry]:
        with pytest.raises(PinactorsError) as refused:
            await registry.find("a\0", "")
        assert refused.value.code is ErrorCode.STREAM_NOT_FOUND
