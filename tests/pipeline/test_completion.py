"""What a session ends with at its deadline."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from pinactors.protocol import TIMEOUT_NOTE, AuthenticationResult, Verdict
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import Pipeline, final, only, types


async def test_the_deadline_decides_for_authenticity(
    autojump_clock: MockClock, pipeline: Pipeline, error_logs: ErrorLogs
) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.always["authenticity_basic"] = [1000.0]
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(90.0)
    decided = only(packets, AuthenticationResult)
    assert decided.authentic is False
    assert (decided.authenticity_rating, decided.confidence) == (0, 0.0)
    assert decided.note == TIMEOUT_NOTE == "Analysis timed out"
    assert decided.verdict is Verdict.UNDETERMINED
    end = final(packets)
    assert (end.degraded, end.missing) == (["authenticity"], [])
    assert end.processing_time == 90_000
    assert pipeline.compute.cancelled == ["authenticity", "authenticity_basic"]
    assert pipeline.compute.running == []


async def test_the_deadline_leaves_the_rest_missing(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["characters"] = [1000.0]
    pipeline.compute.always["characters_basic"] = [1000.0]
    packets = await pipeline.analyse()
    end = final(packets)
    assert (end.degraded, end.missing) == ([], ["characters"])
    assert "CHARACTER_IDENTIFICATION" not in types(packets)
    assert end.message == "Analysis complete without characters"
