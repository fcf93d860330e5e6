"""Analyses whose record could not be stored in time, and whose log cannot be read for a while."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.logs.files import SUFFIX
from tests.pipeline.fakes import Pipeline, upload


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


async def test_a_reader_may_ask_again_for_a_log_that_cannot_be_read_now(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    with no_descriptors(), pytest.raises(PinactorsError) as refused:
        await pipeline.registry.find("a-stream-of-an-earlier-process", "")
    assert (refused.value.code, refused.value.status) == (ErrorCode.OVERLOADED, 503)
