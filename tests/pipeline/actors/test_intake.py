"""Photographs as they arrive: none of the front, one that fails, and when work and deadline begin."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from pinactors.protocol import ErrorCode, ErrorPacket, PinactorsError, View
from tests.pipeline.fakes import Pipeline, only, types, upload


async def test_missing_front(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    packets = await pipeline.analyse(upload(View.BACK))
    assert types(packets) == ["CONNECTION_ESTABLISHED", "ERROR"]
    error = only(packets, ErrorPacket)
    assert (error.error_code, error.message) == (ErrorCode.MISSING_IMAGE, "Front image required")
    assert pipeline.compute.started == []
    assert pipeline.records.saved == {}


async def test_an_upload_that_fails_ends_the_session_with_its_error(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    sent = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(sent)
    await trio.testing.wait_all_tasks_blocked()
    sent.fail(PinactorsError(ErrorCode.TOO_LARGE, "Upload too large"))
    await log.wait_closed()
    assert b'"too_large"' in log.packets[-1]
    assert pipeline.compute.running == []


async def test_work_begins_with_the_front_and_the_clock_with_the_last_photograph(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.always["authenticity_basic"] = [1000.0]
    sent = upload(View.FRONT, complete=False)
    log = await pipeline.registry.open(sent)
    await trio.sleep(200)
    assert b"PROCESSING_STARTED" in log.packets[1]
    assert b"HTML_DISPLAY_DATA" in b"".join(log.packets)  # needs the front only
    assert not log.closed
    complete = trio.current_time()
    sent.close()
    await log.wait_closed()
    assert trio.current_time() - complete == pytest.approx(90.0)
