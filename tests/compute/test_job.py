"""What a worker makes of a function that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from pinactors.compute.engines import open_compute
from pinactors.compute.job import FunctionFailed
from pinactors.compute.pool import Pool
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.settings import Settings
from tests.compute import jobs
from tests.compute.local.test_processes import run

TIMEOUT = 120


@pytest.fixture
async def processes(tmp_path: Path, engine: str) -> AsyncIterator[Pool]:
    async with open_compute(Settings(data=tmp_path, compute=engine, workers=2), jobs.warm) as compute:
        yield compute


async def test_exceptions_come_back_as_they_are(processes: Pool) -> None:
    with trio.fail_after(TIMEOUT):
        with pytest.raises(PinactorsError) as refused:
            await run(processes, jobs.refuse)
        assert (refused.value.code, refused.value.field) == (ErrorCode.TOO_LARGE, "front")
        assert refused.value.retry_after == 2.0
        with pytest.raises(FunctionFailed, match="Awkward: awkward"):
            await run(processes, jobs.awkward)
        with pytest.raises(FunctionFailed, match="SystemExit: 3"):
            await run(processes, jobs.leave)
        with pytest.raises(FunctionFailed, match="CancelledError: the request"):
            await run(processes, jobs.cancel)
        assert processes.statistics()["restarts"] == 0
        assert processes.statistics()["workers"] == 2
