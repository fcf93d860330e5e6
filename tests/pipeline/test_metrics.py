"""What operators can observe: metrics, and stalls of the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import MockClock, wait_all_tasks_blocked

from pinactors.pipeline.metrics import Metrics, StallInstrument
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records import AnalysisRecord
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import Die, FakeRecords, Pipeline, open_pipeline, upload


def sample(pipeline: Pipeline, name: str, **labels: str) -> float | None:
    return pipeline.registry.metrics.registry.get_sample_value(name, labels)


async def test_sessions_and_components_are_counted(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.plan("authenticity", 2.0)
    pipeline.compute.always["characters"] = [ValueError("a bug")]
    pipeline.compute.plan("details", Die)
    await pipeline.analyse()
    await pipeline.analyse(upload())
    assert sample(pipeline, "pinactors_sessions_total", outcome="complete") == 1
    assert sample(pipeline, "pinactors_joined_total") == 1
    assert sample(pipeline, "pinactors_components_total", component="authenticity", outcome="full") == 1
    assert sample(pipeline, "pinactors_components_total", component="characters", outcome="basic") == 1
    assert sample(pipeline, "pinactors_component_seconds_sum", component="authenticity") == pytest.approx(2.0)
    assert sample(pipeline, "pinactors_worker_deaths_total", work="details") == 1
    assert sample(pipeline, "pinactors_shared_step_seconds_count", step="match") == 1
    text = generate_latest(pipeline.registry.metrics.registry).decode()
    assert "pinactors_live_sessions 0.0" in text
    assert "pinactors_compute_workers 1.0" in text


async def test_what_alarms_count_begins_with_zero(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    assert sample(pipeline, "pinactors_refused_total", reason="503") == 0
    assert sample(pipeline, "pinactors_breaker_trips_total", component="characters") == 0
    for work in ("match", "details"):
        assert sample(pipeline, "pinactors_worker_deaths_total", work=work) == 0


class Unhurried(FakeRecords):
    """Records whose transactions take half a second, and as in a thread, cannot be cancelled."""

    async def save(self, record: AnalysisRecord, final_packet: Callable[[int], bytes]) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.5)
            return await super().save(record, final_packet)


async def test_a_session_that_is_cancelled_while_its_record_is_stored_is_counted_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_pipeline(tmp_path, records=Unhurried()) as pipeline:
        log = await pipeline.registry.open(upload())
        await wait_all_tasks_blocked()
        await pipeline.registry.cancel(log.stream_id, "")
        assert b"ANALYSIS_COMPLETE" in log.packets[-1]
        assert sample(pipeline, "pinactors_sessions_total", outcome="complete") == 1
        assert sample(pipeline, "pinactors_sessions_total", outcome="cancelled") is None
        assert sample(pipeline, "pinactors_session_seconds_count") == 1


async def test_refusals_are_counted(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    await pipeline.registry.drain()
    with pytest.raises(PinactorsError):
        await pipeline.registry.open(upload())
    assert sample(pipeline, "pinactors_refused_total", reason="503") == 1


async def test_a_step_that_holds_the_loop_up_is_measured(error_logs: ErrorLogs) -> None:
    registry = CollectorRegistry()
    stalls = StallInstrument(Metrics(registry))
    trio.lowlevel.add_instrument(stalls)
    with trio.fail_after(120):
        await trio.lowlevel.checkpoint()
        held = stalls.longest + 0.06  # the machine may have held it up already
        time.sleep(held)  # noqa: ASYNC251 - that is the point
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(stalls)
    assert stalls.longest >= held
    longest = registry.get_sample_value("pinactors_loop_longest_stall_seconds")
    assert longest == stalls.longest
    lines = [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]
    longest_line = max(lines, key=lambda line: line["milliseconds"])
    assert longest_line["milliseconds"] >= 60
    assert "test_a_step" in longest_line["task"]


async def test_an_error_of_the_client_is_no_error_line(autojump_clock: MockClock, pipeline: Pipeline) -> None:
    pipeline.compute.always["front"] = [PinactorsError(ErrorCode.INVALID_FORMAT, "Not an image")]
    await pipeline.analyse()
    await pipeline.idle()
    assert sample(pipeline, "pinactors_sessions_total", outcome="invalid_format") == 1
