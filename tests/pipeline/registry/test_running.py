"""Running sessions: what ends with their last reader, and logs that come back to who gave them up."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from pinactors.pipeline.session import Session
from pinactors.storage.logs.files import LogFiles, StoredFile
from pinactors.storage.logs.packet_logs import Entry, StoredLog
from tests.pipeline.fakes import InPlace, Pipeline, open_pipeline, upload, watch


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
