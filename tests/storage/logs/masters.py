"""Masters that share their packet logs in a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from pinactors.settings import Settings
from pinactors.storage.logs.packet_logs import Entry
from pinactors.storage.logs.rows import LogRows, open_log_rows
from pinactors.supervision import Supervision
from tests.storage.logs.conftest import TIMEOUT

ONE, TWO, THREE = (Entry("P - -", b'{"n":%d}' % number) for number in range(3))
STREAM = "some-stream-0001"


def never(error: OSError) -> None:
    raise AssertionError("no log fails here") from error


@asynccontextmanager
async def masters(url: str, count: int = 2) -> AsyncIterator[list[LogRows]]:
    settings = Settings(database_url=url)
    with trio.fail_after(TIMEOUT):
        async with AsyncExitStack() as stack:
            opened = [open_log_rows(settings, never, Supervision()) for _ in range(count)]
            yield [await stack.enter_async_context(each) for each in opened]


async def until_stored(logs: LogRows, entries: list[Entry]) -> None:
    while await logs.load(STREAM) != entries:  # noqa: ASYNC110 - the database does not wake us
        await trio.sleep(0.02)
