"""Masters that share their packet logs in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from pinactors.pipeline.registry import Registry, open_registry
from pinactors.settings import Settings
from tests.pipeline.fakes import ANALYSIS, FakeCompute, FakeRecords

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
