"""The time limit of the full analysis, before the session's own."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from pinactors.protocol import BASIC_NOTE, AuthenticationResult
from tests.pipeline.fakes import Pipeline, final, only, types


async def test_full_leaves_its_reserve_to_basic(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["authenticity"] = [1000.0]
    pipeline.compute.plan("authenticity_basic", 14.0)
    started = trio.current_time()
    packets = await pipeline.analyse()
    assert trio.current_time() - started == pytest.approx(75.0 + 14.0)
    assert only(packets, AuthenticationResult).note == BASIC_NOTE
    assert final(packets).degraded == ["authenticity"]


async def test_a_late_result_does_not_follow_its_fallback(
    autojump_clock: MockClock, pipeline: Pipeline
) -> None:
    """Full analysis ends at the same moment as its time limit."""
    for name in ("authenticity", "characters"):
        pipeline.compute.plan(name, 75.0)
    pipeline.compute.plan("details", 90.0)
    packets = await pipeline.analyse()
    assert len(types(packets)) == len(set(types(packets)))
    assert types(packets).count("AUTHENTICATION_RESULT") == 1
