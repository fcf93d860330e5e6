"""Simultaneous duplicates of a session that another master runs or the records have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry.duplicates import Duplicates
from pinactors.pipeline.upload import Upload
from tests.pipeline.fakes import FakeRecords, open_pipeline, upload

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
